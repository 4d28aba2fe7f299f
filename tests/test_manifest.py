"""Block sizes: both sides of a transfer must cut alike for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.manifest import MAX_BLOCK, MIN_BLOCK, UNKNOWN_SIZE, block_count, block_size

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("size", "block"),
    [
        (0, MIN_BLOCK),
        (512 * MIB, MIN_BLOCK),
        (512 * MIB + 1, 2 * MIN_BLOCK),
        (8192 * MIB, 4 * MIB),
        (2**50, MAX_BLOCK),
        (UNKNOWN_SIZE, MIB),
    ],
)
def test_the_block_size_is_fixed_by_the_file_size(size: int, block: int):
    """The table that a resumed transfer relies on."""
    assert block_size(size) == block


@given(st.integers(0, 2**45))
def test_blocks_cover_the_file(size: int):
    """The last block holds the rest, and none is empty."""
    count, block = block_count(size), block_size(size)
    assert (count - 1) * block < size <= count * block or (size == 0 and count == 0)
