"""A picture in the terminal: as an image where it shows those, else as coloured half blocks."""

from __future__ import annotations

import base64
import os
import shutil
import sys
from collections.abc import Mapping
from typing import Final, Protocol

CHUNK: Final = 4096  # characters of one kitty command
MAX_COLUMNS: Final = 100
MARGIN: Final = 2  # rows that stay free under the picture
UPPER_HALF: Final = "\u2580"


class Picture(Protocol):
    """What can be drawn."""

    def png(self) -> bytes:
        """As a PNG."""

    def rows(self, width: int, height: int) -> list[list[tuple[int, int, int]]]:
        """As rows of red, green and blue."""


def drawn(picture: Picture, environ: Mapping[str, str] = os.environ) -> str | None:
    """What shows ``picture`` on standard output; None where that shows no pictures."""
    if not sys.stdout.isatty():
        return None
    terminal, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if "kitty" in terminal or environ.get("KITTY_WINDOW_ID") or program == "ghostty":
        return _kitty(picture.png())
    if program in {"iTerm.app", "WezTerm"}:
        return _iterm(picture.png())
    if environ.get("COLORTERM") in {"truecolor", "24bit"} and not environ.get("NO_COLOR"):
        size = shutil.get_terminal_size()
        width = min(size.columns, MAX_COLUMNS)
        return _half_blocks(picture.rows(width, 2 * max(1, size.lines - MARGIN)))
    return None


def _kitty(png: bytes) -> str:
    """The kitty graphics protocol: transmit and show, in chunks."""
    data = base64.b64encode(png).decode()
    parts = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    shown = ""
    for number, part in enumerate(parts):
        first = "a=T,f=100," if number == 0 else ""
        shown += f"\x1b_G{first}m={int(number < len(parts) - 1)};{part}\x1b\\"
    return shown + "\n"


def _iterm(png: bytes) -> str:
    """iTerm2's inline images protocol."""
    data = base64.b64encode(png).decode()
    return f"\x1b]1337;File=inline=1;size={len(png)}:{data}\x07\n"


def _half_blocks(rows: list[list[tuple[int, int, int]]]) -> str:
    """Two rows of pixels in a line: the upper one as the character, the lower behind it."""
    lines = []
    for at in range(0, len(rows) - 1, 2):
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m{UPPER_HALF}"
            for a, b in zip(rows[at], rows[at + 1], strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m\n")
    return "".join(lines)
