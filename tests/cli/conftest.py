"""A real pseudo-terminal around a stand-in session, and the screen that a person would see."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

STAND_IN = Path(__file__).parent / "stand_in.py"
PATIENCE = 120.0  # seconds until a screen that does not come fails the test


class Watched:
    """A program in a terminal of its own."""

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
        self.process = pexpect.spawn(
            sys.executable, arguments, dimensions=(rows, columns), env=environ, timeout=PATIENCE
        )
        self.screen = pyte.Screen(columns, rows)
        self.raw = b""
        self._stream = pyte.ByteStream(self.screen)

    @property
    def lines(self) -> list[str]:
        """What the screen shows, without the empty lines at its end."""
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def text(self) -> str:
        """The same as one string."""
        return "\n".join(self.lines)

    def until(self, wanted: str | Callable[[], bool]) -> None:
        """Watch until the screen shows ``wanted``."""
        seen = (lambda: wanted in self.text) if isinstance(wanted, str) else wanted
        deadline = time.monotonic() + PATIENCE
        while not seen():
            if not self._read() or time.monotonic() > deadline:
                if seen():
                    return
                raise AssertionError(f"never saw {wanted!r}; the screen shows:\n{self.text}")

    def type(self, keys: str) -> None:
        """Press keys."""
        self.process.send(keys)

    def go_on(self) -> None:
        """Let a scene that is held go on."""
        self.process.kill(signal.SIGUSR1)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal."""
        self.process.setwinsize(rows, columns)
        self.screen.resize(rows, columns)

    def end(self) -> int:
        """Watch until it ends; its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not end; the screen shows:\n{self.text}")
        self.process.wait()
        status = self.process.exitstatus
        assert status is not None, f"killed by {self.process.signalstatus}"
        return status

    def _read(self) -> bool:
        try:
            data = self.process.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True


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
