"""Which number a new room gets: short while there are few, at random among the free ones.

Random, so that a mistyped or guessed nameplate rarely meets somebody waiting. Pure; the caller
brings the randomness.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

Tiers = tuple[tuple[int, int], ...]  # first and last of each

# LAN rooms have what lies between the first two.
PUBLIC: Final[Tiers] = (
    (1, 99),
    (1_000, 9_999),
    (10_000, 99_999),
    (100_000, 999_999),
    (1_000_000, 999_999_999),
)


def draw(taken: Collection[int], below: Callable[[int], int], tiers: Tiers = PUBLIC) -> int | None:
    """A free nameplate of the lowest tier that has one, None if there is none at all.

    Args:
        taken: nameplates in use.
        below: draws an integer of ``range(argument)`` evenly.
        tiers: what may be drawn.
    """
    for first, last in tiers:
        held = sorted(number for number in taken if first <= number <= last)
        free = last - first + 1 - len(held)
        if free <= 0:
            continue
        number = first + below(free)
        for other in held:  # step over what is taken: the number-th of the free ones
            if other > number:
                break
            number += 1
        return number
    return None
