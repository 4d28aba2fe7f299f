"""Holdings: digests of the blocks that a receiver has already of files that are to come.

Both machines keep them from the offer until the file ends, under one bound. Knows entries by their
number and size; no frames, no content.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from p2pxfer.manifest import DIGEST_SIZE, EntryKind, block_count, block_size
from p2pxfer.transfer.credit import MAX_HELD
from p2pxfer.transfer.ledger import Ledger, Slot


class Held:
    """What is held of one file: digests in runs, which ascend.

    Attributes:
        size: of the file, as it was listed.
        count: digests.
    """

    __slots__ = ("_block", "_firsts", "_runs", "count", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self._block = block_size(size)
        self._firsts: list[int] = []
        self._runs: list[bytearray] = []

    def end(self) -> int:
        """The index after the last one held."""
        return self._firsts[-1] + len(self._runs[-1]) // DIGEST_SIZE if self._runs else 0

    def add(self, first: int, digests: Sequence[bytes]) -> None:
        """Add digests of blocks from ``first`` on, which is not before `end`."""
        if not self._runs or first > self.end():
            self._firsts.append(first)
            self._runs.append(bytearray())
        self._runs[-1] += b"".join(digests)
        self.count += len(digests)

    def digest(self, index: int, length: int) -> bytes | None:
        """The digest held of block ``index``; None if that block would not have this length."""
        run = bisect_right(self._firsts, index) - 1
        if run < 0 or length != min(self._block, self.size - index * self._block):
            return None
        at = (index - self._firsts[run]) * DIGEST_SIZE
        return bytes(self._runs[run][at : at + DIGEST_SIZE]) or None


class Holdings:
    """What is held of all files that have not ended.

    Attributes:
        room: how many more digests may be added.
    """

    __slots__ = ("_held", "_ledger", "room")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._held: dict[int, Held] = {}
        self.room = MAX_HELD

    def add(self, number: int, first: int, digests: Sequence[bytes]) -> None:
        """Blocks of an entry that nobody decided on yet.

        Raises:
            ValueError: beyond the room or the file, not in order, decided already, no file.
        """
        slot = self._undecided(number)
        held = self._held.get(number) or Held(slot.entry.size)
        if any(len(digest) != DIGEST_SIZE for digest in digests):
            raise ValueError(f"digests of entry {number} that do not have {DIGEST_SIZE} bytes")
        if not 0 < len(digests) <= self.room:
            raise ValueError(f"{len(digests)} blocks of entry {number}, with room for {self.room}")
        if not held.end() <= first <= block_count(held.size) - len(digests):
            raise ValueError(f"blocks of entry {number} that are not in order, or not in the file")
        held.add(first, digests)
        self._held[number] = held
        self.room -= len(digests)

    def of(self, number: int, size: int) -> Held | None:
        """What is held of a file that was opened with ``size``; None if it is cut otherwise now."""
        held = self._held.get(number)
        return held if held is not None and block_size(size) == block_size(held.size) else None

    def __contains__(self, number: int) -> bool:
        """Whether anything is held of a file."""
        return number in self._held

    def forget(self, number: int) -> None:
        """The file ended, or is not wanted."""
        held = self._held.pop(number, None)
        if held is not None:
            self.room += held.count

    def _undecided(self, number: int) -> Slot:
        slot = self._ledger.get(number)
        if slot is None or number < self._ledger.decided:
            raise ValueError(f"entry {number} is not listed, or decided already")
        if slot.entry.kind is not EntryKind.FILE or slot.entry.size <= 0:
            raise ValueError(f"entry {number} is no file with blocks")
        return slot
