"""Intake: the wanted files in their order, as their frames arrive, and the credit they take.

Refuses what is out of order or over the credit; gives the actions that follow. Knows nothing of
the manifest, the offer or the end of a transfer.
"""

from __future__ import annotations

from collections import deque

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.manifest import UNKNOWN_SIZE
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.actions import BeginFile, EndFile, TakeFile, TakeFiles, WriteBlock
from p2pxfer.transfer.credit import BYTE_WINDOW, block_cost
from p2pxfer.transfer.holdings import Holdings
from p2pxfer.transfer.incoming import Incoming
from p2pxfer.transfer.ledger import END, OVER, Ledger, Slot, Stage


class Intake:
    """Content on its way in.

    Attributes:
        granted: credit that the sender was told of, cumulative.
    """

    __slots__ = ("_awaited", "_file", "_holdings", "_ledger", "_returned", "_taken", "granted")

    def __init__(self, ledger: Ledger, holdings: Holdings) -> None:
        self._ledger = ledger
        self._holdings = holdings
        self._awaited: deque[int] = deque()
        self._file: Incoming | None = None
        self._taken = self._returned = 0  # credit, cumulative
        self.granted = 0

    def expect(self, number: int) -> None:
        """One more wanted file."""
        self._awaited.append(number)

    def expecting(self) -> bool:
        """Whether wanted files have not ended."""
        return bool(self._awaited)

    def grantable(self) -> int:
        """Credit to tell the sender of: what is written, and a window more."""
        return self._returned + BYTE_WINDOW

    def busy(self) -> bool:
        """Whether blocks are here that are not written."""
        return self._taken != self._returned

    def give_back(self, slot: Slot, cost: int) -> None:
        """A block is written.

        Raises:
            ValueError: the entry has no such block open.
        """
        if cost > slot.owed:
            raise ValueError(f"a block of entry {slot.number} is written twice")
        slot.owed -= cost
        self._returned += cost

    def begin(self, begin: m.FileBegin) -> BeginFile | None:
        """A file's content follows; None: it failed here already.

        Raises:
            PeerMisbehaved: not the next wanted file, or a stream where none was listed.
        """
        slot = self._next(begin.number)
        if self._file is not None or (begin.size == UNKNOWN_SIZE != slot.entry.size):
            raise PeerMisbehaved("the other side began a file twice, or without its size")
        held = self._holdings.of(begin.number, begin.size)
        self._file = Incoming(begin.number, begin.size, held)
        if slot.stage is Stage.DRAINING:
            return None
        return BeginFile(slot.number, slot.entry, begin.size, begin.mode, begin.mtime_ns)

    def add_block(self, block: m.Block) -> WriteBlock | None:
        """A block's header; gives it at once if no data follows.

        Raises:
            PeerMisbehaved: of no file, out of order, of a wrong length, over the credit, or kept
                although not offered.
        """
        if self._file is None:
            raise PeerMisbehaved("the other side sent a block of no file")
        self._file.begin_block(block)
        cost = block_cost(block.payload)
        self._taken += cost
        if self._taken > self.granted:
            raise PeerMisbehaved("the other side sent more than it had credit for")
        slot = self._ledger[block.number]
        if slot.stage is Stage.DRAINING:
            self._returned += cost
        else:
            slot.owed += cost
        return self._file.take_block()

    def add_data(self, length: int) -> WriteBlock | None:
        """Payload of the block; gives the block once it is whole.

        Raises:
            PeerMisbehaved: more than the block has, or needlessly small pieces of it.
        """
        if self._file is None:
            raise PeerMisbehaved("the other side sent bytes of no file")
        self._file.add_data(length)
        return self._file.take_block()

    def end(self, end: m.FileEnd) -> EndFile | None:
        """A file's end, begun or not; None: it failed here already and is over now.

        Raises:
            PeerMisbehaved: not the file under way, not whole, or failed in this side's name.
        """
        slot, file, failure = self._next(end.number), self._file, end.failure
        if failure is not None and failure >= m.FIRST_RECEIVER_FAILURE and failure != slot.failure:
            raise PeerMisbehaved("the other side failed a file in this side's name")
        if file is not None:
            file.end(end.size, whole=failure is None)
        elif failure is None or end.size:
            raise PeerMisbehaved("the other side ended a file that it never began")
        self._file = None
        self._awaited.popleft()
        self._holdings.forget(end.number)
        slot.move(END)
        if slot.stage is OVER:
            return None
        slot.size, slot.root, slot.failure = end.size, end.root, failure
        return EndFile(end.number, end.size, end.root, failure)

    def take(self, whole: m.WholeFiles) -> TakeFiles:
        """Small files with all of their content, but for those that failed here already.

        Raises:
            PeerMisbehaved: in the middle of another file, not the next ones wanted, or over the
                credit.
        """
        if self._file is not None:
            raise PeerMisbehaved("the other side began a file within another")
        awaited, ledger, holdings = self._awaited, self._ledger, self._holdings
        credit = self.granted - self._taken
        taken: list[TakeFile] = []
        offset = 0
        for number, size, mode, mtime_ns, root in whole.files:
            if not awaited or awaited[0] != number:
                raise _not_next()
            slot = ledger[number]
            cost = block_cost(size) if size else 0
            credit -= cost
            if credit < 0:
                raise PeerMisbehaved("the other side sent more than it had credit for")
            awaited.popleft()
            if number in holdings:
                holdings.forget(number)
            slot.move(END)
            if slot.stage is OVER:
                self._returned += cost
            else:
                slot.owed = cost
                slot.size, slot.root = size, root
                taken.append(TakeFile(number, slot.entry, offset, size, mode, mtime_ns, root))
            offset += size
        self._taken = self.granted - credit
        return TakeFiles(tuple(taken), offset)

    def _next(self, number: int) -> Slot:
        if not self._awaited or self._awaited[0] != number:
            raise _not_next()
        return self._ledger[number]


def _not_next() -> PeerMisbehaved:
    return PeerMisbehaved("the other side sent a file that is not the next one wanted")
