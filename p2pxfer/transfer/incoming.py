"""Incoming: one file as it arrives, checked block by block against what was announced.

Knows order and lengths of one file's frames; no entries, no credit, no payload.
"""

from __future__ import annotations

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.manifest import UNKNOWN_SIZE, block_size
from p2pxfer.transfer.actions import WriteBlock
from p2pxfer.transfer.holdings import Held
from p2pxfer.transfer.messages import MIN_PIECE, Block


class Incoming:
    """The file between its FileBegin and its FileEnd.

    Attributes:
        number: of its entry.
        size: as announced, -1 for a stream.
        received: bytes in the blocks so far, the unfinished one included.
    """

    __slots__ = (
        "_block",
        "_held",
        "_index",
        "_left",
        "_pending",
        "_short",
        "number",
        "received",
        "size",
    )

    def __init__(self, number: int, size: int, held: Held | None) -> None:
        self.number = number
        self.size = size
        self.received = 0
        self._block = block_size(size)
        self._held = held  # what was offered of a file of this size
        self._index = 0
        self._left = 0  # payload that the pending block still needs
        self._pending: Block | None = None
        self._short = False  # a stream's last block was seen

    def begin_block(self, block: Block) -> None:
        """Take a block's header.

        Raises:
            PeerMisbehaved: not this file's next block, not as long as that must be, or kept
                although not offered.
        """
        if block.number != self.number or block.index != self._index or self._pending is not None:
            raise PeerMisbehaved("the other side sent a block out of order")
        length = block.length
        if self.size == UNKNOWN_SIZE:
            fits = not self._short and length <= self._block
            self._short = length < self._block
        else:
            fits = length == min(self._block, self.size - self.received)
        if not fits:
            raise PeerMisbehaved("the other side sent a block of the wrong length")
        if block.kept and not self._offered(block):
            raise PeerMisbehaved("the other side left out a block that it was not offered")
        self._pending = block
        self._left = block.payload
        self._index += 1
        self.received += length

    def _offered(self, block: Block) -> bool:
        held = self._held
        return held is not None and held.digest(block.index, block.length) == block.digest

    def add_data(self, length: int) -> None:
        """Take payload of the pending block.

        Raises:
            PeerMisbehaved: more than the block has, or a small piece that is not its last.
        """
        if length > self._left or (length < MIN_PIECE and length != self._left):
            raise PeerMisbehaved("the other side sent bytes beyond a block, or crumbs of it")
        self._left -= length

    def take_block(self) -> WriteBlock | None:
        """The pending block if it is whole; once."""
        block = self._pending
        if block is None or self._left:
            return None
        self._pending = None
        offset = self.received - block.length
        return WriteBlock(
            block.number, block.index, offset, block.length, block.digest, block.zero, block.kept
        )

    def end(self, size: int, *, whole: bool) -> None:
        """Check the file's end; ``whole`` when neither side failed it.

        Raises:
            PeerMisbehaved: in the middle of a block, or another size than was sent.
        """
        short = whole and self.size not in (UNKNOWN_SIZE, self.received)
        if self._pending is not None or size != self.received or short:
            raise PeerMisbehaved("the other side ended a file that is not whole")
