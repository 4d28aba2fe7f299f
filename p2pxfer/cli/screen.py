"""Screen: lines that stay, and under them one thing that moves: bars, a status or a prompt.

All human output goes through here to standard error. Whatever moves is a `Live`: it is hidden
while lines are written above it. A second one, such as a question in the middle of a transfer,
covers the first until it is answered.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol, TextIO

from p2pxfer.cli.outlet import Outlet

FALLBACK_COLUMNS = 80
CLEAR_BELOW = "\r\x1b[J"  # from the cursor's line to the end of the screen


class Live(Protocol):
    """Something drawn at the bottom that can step aside."""

    def show(self) -> None:
        """Draw it, the cursor being at the start of an empty line."""

    def hide(self) -> None:
        """Wipe it, leaving the cursor at the start of the line it began on."""


class Style:
    """Colours and marks, or none: ``NO_COLOR``, a pipe, a dumb terminal, an old encoding."""

    def __init__(self, *, colour: bool, unicode: bool) -> None:
        self.colour = colour
        self.unicode = unicode

    def _sgr(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def bold(self, text: str) -> str:
        """What the eye should find first."""
        return self._sgr("1", text)

    def dim(self, text: str) -> str:
        """What may be skipped."""
        return self._sgr("2", text)

    def red(self, text: str) -> str:
        """What went wrong."""
        return self._sgr("31", text)

    def yellow(self, text: str) -> str:
        """What wants attention."""
        return self._sgr("33", text)

    def green(self, text: str) -> str:
        """What went well."""
        return self._sgr("32", text)

    def code(self, text: str) -> str:
        """The code itself."""
        return self._sgr("1;36", text)

    @property
    def tick(self) -> str:
        """Before a line that says it is done."""
        return self.green("✓") + " " if self.unicode else ""

    @property
    def dots(self) -> str:
        """After what goes on."""
        return "…" if self.unicode else "..."


class Screen:
    """Standard error, with or without a terminal behind it."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self.outlet = Outlet(stream)
        self.moves = stream.isatty() and environ.get("TERM", "") not in {"", "dumb"}
        self.style = Style(
            colour=self.moves and not environ.get("NO_COLOR"),
            unicode=_holds(self.outlet.encoding, "…✓━╾─"),
        )
        self._lives: list[Live] = []

    def is_on(self, stream: TextIO) -> bool:
        """Whether ``stream`` writes to the same terminal as this."""
        try:
            ours, other = os.fstat(self.outlet.fileno()), os.fstat(stream.fileno())
        except OSError:
            return False
        return self.moves and (ours.st_dev, ours.st_ino) == (other.st_dev, other.st_ino)

    @property
    def columns(self) -> int:
        """The terminal's width now."""
        try:
            return os.get_terminal_size(self.outlet.fileno()).columns or FALLBACK_COLUMNS
        except OSError:
            return FALLBACK_COLUMNS

    def write(self, text: str) -> None:
        """Write whole lines, above what moves."""
        if self._lives:
            self._lives[-1].hide()
        self.outlet.write(text)
        if self._lives:
            self._lives[-1].show()

    def push(self, live: Live) -> None:
        """Let ``live`` have the bottom; what was there waits."""
        if self._lives:
            self._lives[-1].hide()
        self._lives.append(live)
        live.show()

    def drop(self, live: Live) -> None:
        """Wipe ``live``; what it covered comes back."""
        if live not in self._lives:
            return
        if self._lives[-1] is live:
            live.hide()
            self._lives.pop()
            if self._lives:
                self._lives[-1].show()
        else:
            self._lives.remove(live)

    def shows(self, live: Live) -> bool:
        """Whether ``live`` is the one at the bottom now."""
        return bool(self._lives) and self._lives[-1] is live

    @property
    def busy(self) -> bool:
        """Whether anything is at the bottom."""
        return bool(self._lives)

    def close(self) -> None:
        """Wipe what moves and wait for the last line to be out."""
        while self._lives:
            self.drop(self._lives[-1])
        self.outlet.close()


def _holds(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
