"""RangeSet: a set of non-negative integers kept as sorted, disjoint, half-open ranges.

A pure value's home: byte offsets, block indices and entry numbers all use it. It must not know
what its integers count.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """Integers as ranges ``[start, stop)``, merged as they are added.

    Adding and asking cost O(log n) in the number of ranges, plus the ranges that merge.
    """

    __slots__ = ("_starts", "_stops")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in ranges:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        """Add every integer of ``[start, stop)``; an empty range adds nothing.

        Raises:
            ValueError: a negative start, or a stop before the start.
        """
        if start < 0 or stop < start:
            raise ValueError(f"not a range: [{start}, {stop})")
        if start == stop:
            return
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._stops[at]

    def missing(self, start: int, stop: int) -> RangeSet:
        """What of ``[start, stop)`` this set does not hold."""
        gaps = RangeSet()
        for held_start, held_stop in self:
            if held_stop <= start:
                continue
            if held_start >= stop:
                break
            if start < held_start:
                gaps.add(start, held_start)
            start = max(start, held_stop)
        if start < stop:
            gaps.add(start, stop)
        return gaps

    def total(self) -> int:
        """How many integers the set holds."""
        return sum(self._stops) - sum(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._stops, strict=True)

    def __len__(self) -> int:
        """How many ranges, not how many integers: see `total`."""
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RangeSet)
            and self._starts == other._starts
            and self._stops == other._stops
        )

    __hash__ = None  # type: ignore[assignment]  # a mutable value

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"
