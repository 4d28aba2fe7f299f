"""A real pseudo-terminal around a stand-in session, and the screen that a person would see."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.terminal import Terminal

STAND_IN = Path(__file__).parent / "stand_in.py"
PATIENCE = 120.0  # seconds until a screen that does not come fails the test


class Watched(Terminal):
    """A scene in a terminal of its own."""

    def __init__(
        self, arguments: list[str], *, columns: int, rows: int, env: dict[str, str]
    ) -> None:
        environ = {
            **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
            "PYTHONUTF8": "1",
            **env,
        }
        words = [sys.executable, *arguments]
        super().__init__(words, env=environ, patience=PATIENCE, columns=columns, rows=rows)

    def until(self, wanted: str | Callable[[], bool]) -> None:
        """Watch until the screen shows ``wanted``."""
        seen = (lambda: wanted in self.text) if isinstance(wanted, str) else wanted
        self.wait(seen, repr(wanted))

    def go_on(self) -> None:
        """Let a scene that is held go on."""
        self.process.kill(signal.SIGUSR1)


@pytest.fixture(autouse=True)
def hang_ups_count() -> Iterator[None]:
    """In a suite under nohup, too, whose children would inherit that they are ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    """Starts a scenario of `stand_in.py` in a terminal; what still runs is ended."""
    started: list[Watched] = []

    def start(
        *scenario: str,
        columns: int = 80,
        rows: int = 30,
        command: list[str] | None = None,
        **env: str,
    ) -> Watched:
        arguments = command if command is not None else [str(STAND_IN), *scenario]
        watched = Watched(arguments, columns=columns, rows=rows, env=env)
        started.append(watched)
        return watched

    yield start
    for watched in started:
        watched.process.close(force=True)
