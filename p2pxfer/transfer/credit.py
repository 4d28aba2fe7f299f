"""What is charged for blocks and entries, and how much of either may be under way.

Both sides count alike, so that neither has to trust the other's sums. Plain functions.
"""

from __future__ import annotations

from typing import Final

from p2pxfer.manifest import Entry

BYTE_WINDOW: Final = 32 * 1024 * 1024  # credit that a receiver has out; 320 MB/s at 100 ms
MAX_BYTE_WINDOW: Final = 256 * 1024 * 1024  # more than this out at once is refused by a sender
ENTRY_WINDOW: Final = 32_768  # weight of the entries that are listed and not settled
MIN_COST: Final = 8_192  # of a block, whose record takes memory too: 4,096 small files under way
NAME_UNIT: Final = 256
MAX_HELD: Final = 262_144  # digests that a receiver offers of files that have not ended; 8 MiB


def block_cost(payload: int) -> int:
    """Credit that a block takes: its payload in bytes, at least `MIN_COST`."""
    return max(payload, MIN_COST)


def entry_weight(entry: Entry) -> int:
    """Share of the entry window: 1, and 1 more for every whole 256 bytes of path and target."""
    return 1 + (len(entry.path) + len(entry.target)) // NAME_UNIT
