"""Sender: what to send next. It sees numbers and lengths; no files, no payload, no clock.

The session drains `next_action`, does what each action says and answers with the method that its
docstring names. Files go one at a time in the order of the manifest, their blocks in order. An
entry is forgotten once the receiver settled it, so memory is bounded by the windows of `credit`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import ClassVar, Final

from p2pxfer.errors import Declined, IntegrityError, PeerMisbehaved
from p2pxfer.manifest import Entry, Failure
from p2pxfer.transfer import messages as m
from p2pxfer.transfer import receipt as r
from p2pxfer.transfer.actions import (
    CloseFile,
    Common,
    Done,
    NeedRoot,
    OpenFile,
    Send,
    SenderAction,
    Settled,
)
from p2pxfer.transfer.credit import MAX_BYTE_WINDOW, block_cost
from p2pxfer.transfer.dialogue import Dialogue, Phase, Rules
from p2pxfer.transfer.holdings import Holdings
from p2pxfer.transfer.ledger import END, LISTED, OVER, Ledger, Stage, Step
from p2pxfer.transfer.outgoing import Outgoing
from p2pxfer.transfer.paging import Paging

SETTLABLE: Final = (Stage.ENDED, OVER, Stage.MAKING)  # by the receiver, from there on


class Sender(Dialogue[SenderAction]):
    """The sending side of one transfer.

    Args:
        offer: what is offered.
        receipt_key: 32 bytes under which the receiver signs; never leaves the machine.
        now: the time in seconds, of the same steady clock as in every later call.
        proofs: of earlier transfers, see `messages.Proof`; told to a receiver that can resume.

    Raises:
        ValueError: more proofs than a receiver takes.
    """

    def __init__(
        self,
        offer: m.Offer,
        receipt_key: bytes,
        now: float,
        *,
        proofs: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(now)
        if len(proofs) > m.MAX_PROOFS:
            raise ValueError(f"{len(proofs)} proofs; at most {m.MAX_PROOFS} are taken")
        self._offer = offer
        self._proofs = tuple(proofs)
        self._key = receipt_key
        self._ledger = Ledger()
        self._paging = Paging(self._ledger)
        self._holdings = Holdings(self._ledger)
        self._wanted: deque[int] = deque()
        self._file: Outgoing | None = None
        self._asked_root = False
        self._credit = self._spent = 0
        self._own: m.Receipt | None = None

    @property
    def sent(self) -> int:
        """Content bytes in the blocks that went out so far, without those kept."""
        return self._size_moved

    @property
    def all_sent(self) -> bool:
        """Whether all content is sent, and the other side has yet to settle some of it."""
        listed = self.phase is Phase.MOVING and self._paging.complete
        over = not self._wanted and self._file is None and not self._asked_root
        return listed and over and self._ledger.decided == self._ledger.listed

    def add_entries(self, entries: Sequence[Entry]) -> None:
        """Entries found, in the manifest's order; also answers `Walk`.

        Raises:
            ValueError: one that the protocol can't carry (see `entries.encoded_size`), or after
                the end.
        """
        self._paging.add(entries)

    def end_manifest(self, skipped: int) -> None:
        """Nothing more will be found; ``skipped`` were found and never listed."""
        self._paging.end(skipped)

    def file_opened(self, number: int, size: int, mode: int, mtime_ns: int) -> None:
        """Answers `OpenFile`: values as of now, ``size`` -1 for a stream."""
        self._current(number).open(size, self._holdings.of(number, size))
        self._queue.append(Send(m.FileBegin(number, size, mode, mtime_ns)))

    def files_sent(self, files: Sequence[m.WholeFile]) -> int | None:
        """Answers `OpenFile` with all of that file, and of those wanted next, as far as can be.

        Args:
            files: the first is the one to be opened; each of `messages.MAX_WHOLE` bytes at most.

        Returns:
            How many went: put a `WholeFiles` of these in the outbox. 0 if none can for now; None
            if the first has to go the long way.
        """
        first = files[0][0]
        if self._current(first).opened or not self.capabilities & m.WHOLE:
            return None
        ledger, wanted, holdings = self._ledger, self._wanted, self._holdings
        if ledger[first].refused or first in holdings:
            return None
        if self._queue:
            return 0
        wanted.appendleft(first)
        count = 0
        for number, size, _, _, root in files:
            if not wanted or wanted[0] != number:
                break
            slot = ledger[number]
            cost = block_cost(size) if size else 0
            if slot.refused or number in holdings or self._spent + cost > self._credit:
                break
            wanted.popleft()
            self._spent += cost
            self._size_moved += size
            slot.move(END)
            slot.size, slot.root = size, root
            count += 1
        if count:
            self._file = None
        else:
            wanted.popleft()
        return count

    def block_sent(
        self,
        number: int,
        length: int,
        *,
        zero: bool = False,
        kept: bool = False,
        last: bool = False,
    ) -> None:
        """Answers the oldest open `SendBlock`: its frames are in the outbox.

        ``zero`` and ``kept`` are as in the block's header. ``last`` ends a stream; with a
        ``length`` of 0 no block was made.

        Raises:
            ValueError: not the length that was asked for, or kept where nothing was held.
        """
        file = self._current(number)
        self._spent -= file.answer(length, zero=zero, kept=kept, last=last)
        if not kept:
            self._size_moved += length

    def file_closed(self, number: int, failure: Failure | None, root: bytes) -> None:
        """Answers `CloseFile`, or comes by itself with a failure, at any time since `OpenFile`."""
        file = self._current(number)
        slot = self._ledger[number]
        if failure is None and not slot.refused and not file.complete():
            raise ValueError("a file without all of its blocks has failed")
        self._spent -= file.unused()
        self._file = None
        self._holdings.forget(number)
        slot.move(END)
        if not slot.refused:
            slot.failure = failure
        slot.size, slot.root = file.sent, root
        ending = failure or slot.failure
        root = root if ending is None else m.NO_DIGEST
        self._queue.append(Send(m.FileEnd(number, ending, file.sent, root)))

    def transfer_root(self, root: bytes) -> None:
        """Answers `NeedRoot`."""
        if not self._asked_root or self._own is not None:
            raise ValueError("no root is needed")
        ledger = self._ledger
        self._own = r.unsigned(
            self._offer.transfer_id, root, ledger.listed, ledger.done_size, ledger.failures
        )
        self.phase = Phase.CLOSING
        end = m.TransferEnd(root, ledger.listed, ledger.done_size, ledger.failures.count)
        self._queue.append(Send(end))

    def upcoming(self, count: int, after: int = -1) -> list[tuple[int, Entry]]:
        """Up to ``count`` files beyond entry ``after`` that will be opened next: to read ahead."""
        wanted, ledger = self._wanted, self._ledger
        begin = bisect_right(wanted, after)
        slots = (ledger[number] for number in islice(wanted, begin, None))
        ahead = ((slot.number, slot.entry) for slot in slots if not slot.refused)
        return list(islice(ahead, count))

    def _current(self, number: int) -> Outgoing:
        if self._file is None or self._file.number != number:
            raise ValueError(f"entry {number} is not the file being sent")
        return self._file

    def _activity(self) -> m.Activity:
        if self._file is not None and self._file.reading():
            return m.Activity.READING
        return m.Activity.WALKING if self._paging.walking else m.Activity.IDLE

    def _take(self) -> SenderAction | Common | None:
        if self._queue:
            return self._queue.popleft()
        if self.phase is Phase.MOVING or self.phase is Phase.OFFERED:
            paging = self._paging
            action: SenderAction | Common | None = None if paging.idle else paging.next_action()
            if action is None and self.phase is Phase.MOVING:
                action = self._next_block(self._file) if self._file else self._next_file()
            return action
        return None

    def _next_file(self) -> SenderAction | Common | None:
        if self._wanted:
            number = self._wanted.popleft()
            slot = self._ledger[number]
            if slot.refused:
                slot.move(END)
                self._holdings.forget(number)
                return Send(m.FileEnd(number, slot.failure, 0, m.NO_DIGEST))
            self._file = Outgoing(number)
            return OpenFile(number, slot.entry)
        listed = self._paging.complete and not self._asked_root
        if listed and self._ledger.settled == self._ledger.listed:
            self._asked_root = True
            return NeedRoot()
        return None

    def _next_block(self, file: Outgoing) -> SenderAction | None:
        if not file.opened or file.closing:
            return None
        if file.complete() or self._ledger[file.number].refused:
            file.closing = True
            return CloseFile(file.number)
        length = file.next_length()
        cost = block_cost(length)
        if not length or self._spent + cost > self._credit:
            return None
        self._spent += cost
        return file.ask(length)

    def _greeted(self) -> None:
        self.phase = Phase.OFFERED
        self._queue.append(Send(self._offer))
        if self._proofs and self.capabilities & m.RESUME:
            self._queue.append(Send(m.Proof(self._proofs)))

    def _on_accept(self, _: m.Accept) -> None:
        self.phase = Phase.MOVING

    def _on_decline(self, decline: m.Decline) -> None:
        self.phase = Phase.OVER
        self._queue.clear()
        why = f": {decline.reason}" if decline.reason else ""
        raise Declined(f"the other side declined{why}")

    def _on_have(self, have: m.Have) -> None:
        if not self.capabilities & m.RESUME:
            raise PeerMisbehaved("the other side offered blocks, which it said it can't")
        try:
            self._holdings.add(have.number, have.first, have.digests)
        except ValueError as error:
            raise PeerMisbehaved(f"the other side offered {error}") from error

    def _on_want(self, want: m.Want) -> None:
        ledger = self._ledger
        if not ledger.decided < want.through <= ledger.listed:
            raise PeerMisbehaved("the other side decided on entries that it has not to")
        for skip in want.skips:
            stop = skip.first + skip.count
            if not ledger.decided <= skip.first < stop <= want.through:
                raise PeerMisbehaved("the other side skips entries that it has not to")
            if skip.failure < m.FIRST_RECEIVER_FAILURE:
                raise PeerMisbehaved("the other side skips in this side's name")
            self._want(skip.first)
            for number in range(skip.first, stop):
                ledger[number].move(Step.SKIP)
                ledger[number].refuse(skip.failure)
                self._holdings.forget(number)
            ledger.decided = stop
        self._want(want.through)

    def _want(self, through: int) -> None:
        ledger = self._ledger
        for number in range(ledger.decided, through):
            if ledger.want(ledger[number]):
                self._wanted.append(number)
        ledger.decided = through

    def _on_failed(self, failed: m.Failed) -> None:
        slot = self._ledger.get(failed.number)
        if slot is None or slot.refused or slot.stage is LISTED:
            raise PeerMisbehaved("the other side failed an entry that it has not to")
        if failed.failure < m.FIRST_RECEIVER_FAILURE:
            raise PeerMisbehaved("the other side failed an entry in this side's name")
        slot.refuse(failed.failure)

    def _on_credit(self, credit: m.Credit) -> None:
        ledger = self._ledger
        if not self._credit <= credit.size <= self._spent + MAX_BYTE_WINDOW:
            raise PeerMisbehaved("the other side took credit back, or gave without bound")
        if not ledger.settled <= credit.settled <= ledger.decided:
            raise PeerMisbehaved("the other side settled entries out of order")
        self._credit = credit.size
        for number in range(ledger.settled, credit.settled):
            if ledger[number].stage not in SETTLABLE:
                raise PeerMisbehaved("the other side settled a file that was not sent")
        outcomes = ledger.settle(credit.settled)
        ledger.release()
        if outcomes:
            self._queue.append(Settled(tuple(outcomes)))

    def _on_receipt(self, receipt: m.Receipt) -> None:
        if self._own is None or not r.is_genuine(self._key, self._own, receipt):
            raise IntegrityError("the other side's receipt is not of what was sent")
        self.phase = Phase.OVER
        self._queue.append(Send(m.Bye()))
        self._queue.append(Done(receipt))

    rules: ClassVar[Rules] = {
        **Dialogue.common,
        m.Accept: ((Phase.OFFERED,), _on_accept),
        m.Decline: ((Phase.OFFERED,), _on_decline),
        m.Have: ((Phase.MOVING,), _on_have),
        m.Want: ((Phase.MOVING,), _on_want),
        m.Credit: ((Phase.MOVING,), _on_credit),
        m.Failed: ((Phase.MOVING,), _on_failed),
        m.Receipt: ((Phase.CLOSING,), _on_receipt),
    }
