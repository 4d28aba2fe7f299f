"""Serial numbers that wrap: TSNs, and the numbers of RE-CONFIG requests (RFC 1982).

RFC 9260 section 1.6. Of two numbers half the circle apart neither is newer, as RFC 1982
section 3.2 leaves it open.
"""

from __future__ import annotations

from typing import Final

TSN_MASK: Final = 0xFFFFFFFF

_HALF = 0x80000000


def newer(a: int, b: int) -> bool:
    """Whether TSN ``a`` comes after TSN ``b``."""
    return 0 < (a - b) & TSN_MASK < _HALF
