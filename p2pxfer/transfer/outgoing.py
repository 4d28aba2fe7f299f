"""Outgoing: one file as it is sent, and the credit that its blocks take.

Knows lengths of one file's blocks; no frames, no payload.
"""

from __future__ import annotations

from collections import deque

from p2pxfer.manifest import UNKNOWN_SIZE, block_size
from p2pxfer.transfer.actions import SendBlock
from p2pxfer.transfer.credit import block_cost


class Outgoing:
    """The file between its OpenFile and its FileEnd.

    Attributes:
        number: of its entry.
        opened: its size is known, if only as -1 for a stream.
        closing: the session was asked to close it.
        sent: bytes in the blocks that went out.
    """

    __slots__ = ("_block", "_out", "_planned", "_size", "closing", "number", "opened", "sent")

    def __init__(self, number: int) -> None:
        self.number = number
        self.opened = self.closing = False
        self.sent = 0
        self._size = self._block = 0
        self._planned = 0  # bytes asked for by SendBlock
        self._out: deque[int] = deque()  # lengths of SendBlocks without an answer

    def open(self, size: int) -> None:
        """The session opened it.

        Raises:
            ValueError: for the second time.
        """
        if self.opened:
            raise ValueError("opened twice")
        self.opened = True
        self._size, self._block = size, block_size(size)

    def reading(self) -> bool:
        """Whether the session has something to do for this file."""
        return not self.opened or self.closing or bool(self._out)

    def complete(self) -> bool:
        """Whether all of it went out."""
        return self.opened and not self._out and self._planned == self._size

    def next_length(self) -> int:
        """Bytes of the block to ask for next; 0 for none now. A stream has one out at a time."""
        if self._size == UNKNOWN_SIZE:
            return 0 if self._out else self._block
        return min(self._block, self._size - self._planned)

    def ask(self, length: int) -> SendBlock:
        """Ask for the block of `next_length`."""
        offset = self._planned
        self._planned += length
        self._out.append(length)
        return SendBlock(self.number, offset // self._block, offset, length)

    def answer(self, length: int, *, zero: bool, last: bool) -> int:
        """A block went out; returns how much less credit it takes than was set aside.

        Raises:
            ValueError: none was asked for, or not of this length.
        """
        if not self._out:
            raise ValueError("no block was asked for")
        asked = self._out[0]
        ends = last and self._size == UNKNOWN_SIZE
        if length != asked and not (ends and 0 <= length < asked):
            raise ValueError(f"a block of {length} bytes where {asked} were asked for")
        self._out.popleft()
        self.sent += length
        if ends:
            self._size = self._planned = self.sent
        cost = block_cost(length, zero=zero) if length else 0
        return block_cost(asked, zero=False) - cost

    def unused(self) -> int:
        """Credit set aside for blocks that never went out."""
        return sum(block_cost(length, zero=False) for length in self._out)
