"""QR: a code drawn on the terminal, two rows of modules in one line of half blocks."""

from __future__ import annotations

import segno

from p2pxfer.cli.screen import Style

BORDER = 2  # modules of quiet zone; ISO/IEC 18004 asks for 4, cameras for less
BLOCKS = {(False, False): "█", (True, False): "▄", (False, True): "▀", (True, True): " "}


def drawn(text: str, style: Style) -> str:
    """``text`` as lines that a camera reads on dark and on light terminals.

    Without colours the modules are right for light text on a dark ground, as most terminals have;
    cameras of today read either. Without Unicode there is nothing to draw with, and nothing drawn.
    """
    if not style.unicode:
        return ""
    rows = [
        [bool(module) for module in row]
        for row in segno.make(text, error="m", micro=False).matrix_iter(border=BORDER)
    ]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        line = "".join(BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        lines.append(f"  \x1b[97;40m{line}\x1b[0m\n" if style.colour else f"  {line}\n")
    return "".join(lines)
