"""Wording: numbers and names as people read them.

Fixed shapes, so that nothing jitters while it moves: a size has three digits, a time left has a
colon. Names that came from a peer are escaped here before anything measures or cuts them.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from p2pxfer.files.escaping import escaped

if TYPE_CHECKING:
    from p2pxfer.progress import ConnectTimes

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
THOUSAND = 1000
MINUTE = 60
HOUR = 3600
DAY = 86400
PARTS = {"pake": "PAKE", "dtls": "DTLS", "sctp": "SCTP"}  # of connecting; the rest as they are


def size(count: float) -> str:
    """Bytes in three digits: ``0 B``, ``999 B``, ``4.20 GB``, ``41.2 MB``, ``512 kB``."""
    value = float(count)
    for unit in UNITS:
        digits = 0 if unit == "B" or value >= 99.95 else 1 if value >= 9.995 else 2  # noqa: PLR2004  # where rounding adds a digit
        if round(value, digits) < THOUSAND:
            return f"{value:.{digits}f} {unit}"
        value /= THOUSAND
    return f"{value:.0f} EB"


def rate(bytes_per_second: float | None) -> str:
    """A speed: ``41.2 MB/s``; empty while nobody can say."""
    return "" if bytes_per_second is None else size(bytes_per_second) + "/s"


def clock(seconds: float) -> str:
    """A time left or taken: ``0:07``, ``1:43``, ``2:03:07``, ``3 d 4 h``."""
    whole = max(0, round(seconds))
    if whole >= DAY:
        return f"{whole // DAY} d {whole % DAY // HOUR} h"
    if whole >= HOUR:
        return f"{whole // HOUR}:{whole % HOUR // MINUTE:02}:{whole % MINUTE:02}"
    return f"{whole // MINUTE}:{whole % MINUTE:02}"


def duration(seconds: float) -> str:
    """A life or a wait in words: ``45 seconds``, ``10 minutes``, ``2.5 hours``."""
    if seconds >= MINUTE:
        seconds = round(seconds)
    for length, unit in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second")):
        if seconds >= length:
            amount = f"{seconds / length:.1f}".removesuffix(".0")
            return f"{amount} {unit}" if amount == "1" else f"{amount} {unit}s"
    return f"{seconds:.1f} seconds"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number of things: ``1 file``, ``1,204 files``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def connect_times(took: ConnectTimes) -> str:
    """``Connected in 0.42 s: rendezvous 12 ms, PAKE 48 ms, …``, all parts in their order."""
    parts = asdict(took)
    each = ", ".join(f"{PARTS.get(name, name)} {1000 * s:.0f} ms" for name, s in parts.items())
    return f"Connected in {sum(parts.values()):.2f} s: {each}"


def name(path: bytes) -> str:
    """A peer's path, safe on any terminal."""
    return escaped(path)


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes; it holds no control characters."""
    return sum(_columns(character) for character in text)


def shortened(text: str, width: int, dots: str = "…") -> str:
    """``text`` in at most ``width`` columns; what falls out is in front, as endings tell files."""
    if columns(text) <= width:
        return text
    room = width - len(dots)
    kept = len(text)
    while kept and room >= _columns(text[kept - 1]):
        kept -= 1
        room -= _columns(text[kept])
    return (dots + text[kept:]) if width >= len(dots) else ""


def padded(text: str, width: int) -> str:
    """``text`` with spaces up to ``width`` columns."""
    return text + " " * max(0, width - columns(text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
