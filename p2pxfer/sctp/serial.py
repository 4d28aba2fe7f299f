"""Serial numbers that wrap: TSNs and RE-CONFIG sequence numbers of 32 bits, SSNs of 16 (RFC 1982).

RFC 9260 section 1.6. Of two numbers half the circle apart neither is newer, as RFC 1982
section 3.2 leaves it open.
"""

from __future__ import annotations

from typing import Final

TSN_MASK: Final = 0xFFFFFFFF
SSN_MASK: Final = 0xFFFF

_TSN_HALF = 0x80000000
_SSN_HALF = 0x8000


def newer(a: int, b: int) -> bool:
    """Whether TSN ``a`` comes after TSN ``b``."""
    return 0 < (a - b) & TSN_MASK < _TSN_HALF


def distance(a: int, b: int) -> int:
    """How many steps lead from TSN ``b`` on to TSN ``a``, around the circle: 0 to 2^32 - 1."""
    return (a - b) & TSN_MASK


def newer_ssn(a: int, b: int) -> bool:
    """Whether stream sequence number ``a`` comes after ``b``."""
    return 0 < (a - b) & SSN_MASK < _SSN_HALF


def distance_ssn(a: int, b: int) -> int:
    """How many steps lead from SSN ``b`` on to SSN ``a``, around the circle: 0 to 65,535."""
    return (a - b) & SSN_MASK
