"""Skips: entries that a receiver does not want, as ranges, cut into as many Wants as they need.

Knows numbers and failures; not why an entry is not wanted.
"""

from __future__ import annotations

from p2pxfer.manifest import Failure
from p2pxfer.transfer.messages import MAX_SKIPS, Skip, Want


class Skips:
    """Ranges of entries, which ascend."""

    __slots__ = ("_ranges",)

    def __init__(self) -> None:
        self._ranges: list[Skip] = []

    def add(self, number: int, failure: Failure) -> None:
        """Add one entry, growing the last range where that fits."""
        last = self._ranges[-1] if self._ranges else None
        if last and last.failure is failure and last.first + last.count == number:
            self._ranges[-1] = Skip(last.first, last.count + 1, failure)
        else:
            self._ranges.append(Skip(number, 1, failure))

    def wants(self, through: int) -> list[Want]:
        """What decides on all entries below ``through``, wanting those that were not added."""
        wants, rest = [], self._ranges
        while len(rest) > MAX_SKIPS:
            part, rest = rest[:MAX_SKIPS], rest[MAX_SKIPS:]
            wants.append(Want(part[-1].first + part[-1].count, tuple(part)))
        wants.append(Want(through, tuple(rest)))
        return wants
