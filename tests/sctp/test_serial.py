"""Numbers that wrap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.sctp.serial import newer

TSNS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (1, 0, True),
        (0, 1, False),
        (5, 5, False),
        (0, 0xFFFFFFFF, True),
        (0xFFFFFFFF, 0, False),
        (0x7FFFFFFF, 0, True),
        (0x80000000, 0, False),
        (0, 0x80000000, False),
        (0x80000001, 0, False),
    ],
)
def test_newer_goes_around_the_end(a, b, expected):
    """RFC 9260 section 1.6: zero comes after 2^32 - 1; half the circle away is neither."""
    assert newer(a, b) is expected


@given(TSNS, st.integers(1, 2**31 - 1))
def test_what_lies_ahead_is_newer(tsn, ahead):
    """Wherever on the circle."""
    later = (tsn + ahead) % 2**32
    assert newer(later, tsn)
    assert not newer(tsn, later)
