"""A command in a pseudo-terminal of its own, and the screen that a person would see."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pexpect
import pyte


class Terminal:
    """A program that runs in a terminal.

    Attributes:
        process: the program.
        screen: what it has drawn.
        raw: the bytes that it has written.
        frames: what the screen has shown so far, one text after another.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: dict[str, str],
        patience: float,
        cwd: Path | None = None,
        columns: int = 100,
        rows: int = 40,
    ) -> None:
        self.process = pexpect.spawn(
            words[0],
            list(words[1:]),
            env=env,
            cwd=None if cwd is None else str(cwd),
            dimensions=(rows, columns),
            timeout=patience,
        )
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self.raw = b""
        self.frames: list[str] = []
        self._stream = pyte.ByteStream(self.screen)
        self._patience = patience

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

    def wait(self, holds: Callable[[], object], what: str) -> None:
        """Watch until something holds."""
        deadline = time.monotonic() + self._patience
        while not holds():
            if not self.read():
                assert holds(), f"it ended before {what} came; the screen shows:\n{self.text}"
                return
            assert time.monotonic() < deadline, f"never saw {what}; the screen shows:\n{self.text}"

    def type(self, keys: str) -> None:
        """Press keys."""
        self.process.send(keys)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal."""
        self.process.setwinsize(rows, columns)
        self.screen.resize(rows, columns)

    def end(self) -> int:
        """Watch until it ends; its exit code."""
        deadline = time.monotonic() + self._patience
        while self.read():
            assert time.monotonic() < deadline, f"it does not end; the screen shows:\n{self.text}"
        self.process.wait()
        status = self.process.exitstatus
        assert status is not None, f"killed by {self.process.signalstatus}"
        return status

    def read(self) -> bool:
        """Take what is drawn next, for a tenth of a second; False once it has ended."""
        try:
            data = self.process.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        for piece in re.split(rb"(?=\r)", data):  # what was drawn since the last look, step by step
            self._stream.feed(piece)
            self.frames.append(self.text)
        return True
