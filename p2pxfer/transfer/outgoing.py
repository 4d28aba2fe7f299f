"""Outgoing: one file as it is sent, and the credit that its blocks take.

Knows lengths of one file's blocks; no frames, no payload.
"""

from __future__ import annotations

from collections import deque

from p2pxfer.manifest import UNKNOWN_SIZE, block_size
from p2pxfer.transfer.actions import SendBlock
from p2pxfer.transfer.credit import block_cost
from p2pxfer.transfer.holdings import Held


class Outgoing:
    """The file between its OpenFile and its FileEnd.

    Attributes:
        number: of its entry.
        opened: its size is known, if only as -1 for a stream.
        closing: the session was asked to close it.
        sent: bytes in the blocks that went out.
    """

    __slots__ = (
        "_block",
        "_held",
        "_out",
        "_planned",
        "_size",
        "closing",
        "number",
        "opened",
        "sent",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.opened = self.closing = False
        self.sent = 0
        self._size = self._block = 0
        self._planned = 0  # bytes asked for by SendBlock
        self._held: Held | None = None
        self._out: deque[SendBlock] = deque()  # without an answer

    def open(self, size: int, held: Held | None) -> None:
        """The session opened it; ``held`` is what the receiver has of a file of this size.

        Raises:
            ValueError: for the second time.
        """
        if self.opened:
            raise ValueError("opened twice")
        self.opened = True
        self._size, self._block, self._held = size, block_size(size), held

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
        index = offset // self._block
        self._planned += length
        held = None if self._held is None else self._held.digest(index, length)
        block = SendBlock(self.number, index, offset, length, held)
        self._out.append(block)
        return block

    def answer(self, length: int, *, zero: bool, kept: bool, last: bool) -> int:
        """A block went out; returns how much less credit it takes than was set aside.

        Raises:
            ValueError: none was asked for, not of this length, or kept where nothing is held.
        """
        if not self._out:
            raise ValueError("no block was asked for")
        asked = self._out[0].length
        if kept and (zero or self._out[0].held is None):
            raise ValueError("a block is kept that the receiver does not hold, or that is zeros")
        ends = last and self._size == UNKNOWN_SIZE
        if length != asked and not (ends and 0 <= length < asked):
            raise ValueError(f"a block of {length} bytes where {asked} were asked for")
        self._out.popleft()
        self.sent += length
        if ends:
            self._size = self._planned = self.sent
        cost = block_cost(0 if zero or kept else length) if length else 0
        return block_cost(asked) - cost

    def unused(self) -> int:
        """Credit set aside for blocks that never went out."""
        return sum(block_cost(block.length) for block in self._out)
