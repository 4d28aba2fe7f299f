"""RangeSet against Python's own sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.ranges import RangeSet

numbers = st.integers(0, 60)
ranges = st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair)))


def members(held: RangeSet) -> set[int]:
    return {number for start, stop in held for number in range(start, stop)}


@given(st.lists(ranges), ranges)
def test_adding_and_asking_agree_with_a_set(added: list[tuple[int, int]], asked: tuple[int, int]):
    """Whatever is added, in whatever order, the same integers are held and missing."""
    held = RangeSet(added)
    plain = {number for start, stop in added for number in range(start, stop)}
    assert members(held) == plain
    assert held.total() == len(plain)
    assert all((number in held) == (number in plain) for number in range(62))
    assert members(held.missing(*asked)) == set(range(*asked)) - plain


@given(st.lists(ranges))
def test_ranges_stay_sorted_and_apart(added: list[tuple[int, int]]):
    """Neighbours merge, so that equal sets compare equal."""
    held = RangeSet(added)
    borders = [border for pair in held for border in pair]
    assert borders == sorted(set(borders))
    assert held == RangeSet(reversed(added))
    assert len(held) == len(list(held))


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 4)])
def test_what_is_no_range_is_refused(start: int, stop: int):
    """A negative or reversed range is the caller's mistake."""
    with pytest.raises(ValueError, match="not a range"):
        RangeSet([(start, stop)])
