"""Sender: what to send next. It sees numbers and lengths; no files, no payload, no clock.

The session drains `next_action`, does what each action says and answers with the method that its
docstring names. Files go one at a time in the order of the manifest, their blocks in order. An
entry is forgotten once the receiver settled it, so memory is bounded by the windows of `credit`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar, Final

from p2pxfer.errors import Declined, IntegrityError, PeerMisbehaved
from p2pxfer.manifest import UNKNOWN_SIZE, Entry, EntryKind, Failure, block_size
from p2pxfer.transfer import messages as m
from p2pxfer.transfer import receipt as r
from p2pxfer.transfer.actions import (
    CloseFile,
    Common,
    Done,
    NeedRoot,
    OpenFile,
    Outcome,
    Send,
    SendBlock,
    SenderAction,
    Settled,
    Walk,
)
from p2pxfer.transfer.credit import ENTRY_WINDOW, MAX_BYTE_WINDOW, block_cost, entry_weight
from p2pxfer.transfer.dialogue import Dialogue, Phase, Rules
from p2pxfer.transfer.frames import MAX_ENTRIES_BYTES, encoded_size

WALK_ROOM: Final = 512
PAGE_BYTES: Final = 16 * 1024  # a page is cut here, so that content gets between pages


class Stage(IntEnum):
    """Where one entry is, as the sender knows it."""

    LISTED = 0
    SKIPPED = 1
    MAKING = 2  # a directory or symlink: the receiver's to make
    WANTED = 3
    SENT = 4  # its FileEnd is out


SETTLABLE: Final = (Stage.SKIPPED, Stage.MAKING, Stage.SENT)


class _Slot:
    """An entry that is not settled."""

    __slots__ = ("entry", "failure", "refused", "root", "size", "stage", "weight")

    def __init__(self, entry: Entry, weight: int) -> None:
        self.entry = entry
        self.weight = weight
        self.stage = Stage.LISTED
        self.failure: Failure | None = None
        self.refused = False  # the failure is the receiver's
        self.size = 0
        self.root: bytes | None = None


class _OpenFile:
    """The file that is being sent."""

    __slots__ = ("block", "closing", "number", "opened", "out", "planned", "sent", "size", "slot")

    def __init__(self, number: int, slot: _Slot) -> None:
        self.number = number
        self.slot = slot
        self.opened = self.closing = False
        self.size = self.block = 0
        self.planned = 0  # bytes asked for by SendBlock
        self.sent = 0
        self.out: deque[int] = deque()  # lengths of SendBlocks without an answer

    def complete(self) -> bool:
        """Whether nothing more is to be read."""
        return not self.out and self.planned == self.size


class Sender(Dialogue[SenderAction]):
    """The sending side of one transfer.

    Args:
        offer: what is offered.
        receipt_key: 32 bytes under which the receiver signs; never leaves the machine.
        now: the time in seconds, of the same steady clock as in every later call.

    Attributes:
        sent: content bytes that went out so far.
    """

    def __init__(self, offer: m.Offer, receipt_key: bytes, now: float) -> None:
        super().__init__(now)
        self._offer = offer
        self._key = receipt_key
        self._unpaged: deque[Entry] = deque()
        self._slots: dict[int, _Slot] = {}
        self._wanted: deque[int] = deque()
        self._file: _OpenFile | None = None
        self._listed = self._decided = self._settled = 0
        self._listed_size = self._held = 0
        self._skipped: int | None = None  # set by end_manifest
        self._walking = self._told_end = self._asked_root = False
        self._credit = self._spent = 0
        self._done_size = 0
        self._failures = r.FailureList()
        self._own: m.Receipt | None = None

    @property
    def sent(self) -> int:
        """Content bytes that went out so far."""
        return self._size_moved

    def add_entries(self, entries: Sequence[Entry]) -> None:
        """Entries found, in the manifest's order; also answers `Walk`.

        Raises:
            ValueError: one that the protocol can't carry (see `frames.encoded_size`), or after
                the end.
        """
        if self._skipped is not None:
            raise ValueError("the manifest has ended")
        for entry in entries:
            encoded_size(entry)
        self._unpaged.extend(entries)
        self._walking = False

    def end_manifest(self, skipped: int) -> None:
        """Nothing more will be found; ``skipped`` were found and never listed."""
        self._skipped = skipped
        self._walking = False

    def file_opened(self, number: int, size: int, mode: int, mtime_ns: int) -> None:
        """Answers `OpenFile`: values as of now, ``size`` -1 for a stream."""
        file = self._current(number)
        if file.opened:
            raise ValueError("opened twice")
        file.opened = True
        file.size, file.block = size, block_size(size)
        self._queue.append(Send(m.FileBegin(number, size, mode, mtime_ns)))

    def block_sent(
        self, number: int, length: int, *, zero: bool = False, last: bool = False
    ) -> None:
        """Answers the oldest open `SendBlock`: its frames are in the outbox.

        ``last`` ends a stream; with a ``length`` of 0 no block was made.

        Raises:
            ValueError: not the length that was asked for.
        """
        file = self._current(number)
        if not file.out:
            raise ValueError("no block was asked for")
        stream = file.size == UNKNOWN_SIZE
        asked = file.out[0]
        if length != asked and not (stream and last and 0 <= length < asked):
            raise ValueError(f"a block of {length} bytes where {asked} were asked for")
        file.out.popleft()
        cost = block_cost(length, zero=zero) if length else 0
        self._spent -= block_cost(asked, zero=False) - cost
        file.sent += length
        self._size_moved += length
        if stream and last:
            file.size = file.planned = file.sent

    def file_closed(self, number: int, failure: Failure | None, root: bytes) -> None:
        """Answers `CloseFile`, or comes by itself with a failure, at any time since `OpenFile`."""
        file = self._current(number)
        slot = file.slot
        if failure is None and not slot.refused and not (file.opened and file.complete()):
            raise ValueError("a file without all of its blocks has failed")
        self._spent -= sum(block_cost(length, zero=False) for length in file.out)
        self._file = None
        slot.stage = Stage.SENT
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
        self._own = r.unsigned(
            self._offer.transfer_id, root, self._listed, self._done_size, self._failures
        )
        self.phase = Phase.CLOSING
        end = m.TransferEnd(root, self._listed, self._done_size, self._failures.count)
        self._queue.append(Send(end))

    def upcoming(self, count: int) -> list[tuple[int, Entry]]:
        """Up to ``count`` files that will be opened next, for reading ahead."""
        ahead: list[tuple[int, Entry]] = []
        for number in self._wanted:
            if len(ahead) >= count:
                break
            slot = self._slots[number]
            if not slot.refused:
                ahead.append((number, slot.entry))
        return ahead

    def _current(self, number: int) -> _OpenFile:
        if self._file is None or self._file.number != number:
            raise ValueError(f"entry {number} is not the file being sent")
        return self._file

    def _activity(self) -> m.Activity:
        file = self._file
        if file is not None and (not file.opened or file.out or file.closing):
            return m.Activity.READING
        return m.Activity.WALKING if self._walking else m.Activity.IDLE

    def _take(self) -> SenderAction | Common | None:
        if self._queue:
            return self._queue.popleft()
        if self.phase is Phase.MOVING or self.phase is Phase.OFFERED:
            action = self._next_listing()
            if action is None and self.phase is Phase.MOVING:
                action = self._next_block() if self._file else self._next_file()
            return action
        return None

    def _next_listing(self) -> SenderAction | Common | None:
        if self._unpaged:
            page = self._cut_page()
            return Send(page) if page.entries else None
        if self._skipped is None:
            if self._walking:
                return None
            self._walking = True
            return Walk(WALK_ROOM)
        if self._told_end:
            return None
        self._told_end = True
        return Send(m.ManifestEnd(self._listed, self._listed_size, self._skipped))

    def _cut_page(self) -> m.Page:
        first, taken, size = self._listed, [], 0
        unpaged = self._unpaged
        while unpaged and size < PAGE_BYTES:
            entry = unpaged[0]
            weight = entry_weight(entry)
            size += encoded_size(entry)
            if self._held + weight > ENTRY_WINDOW or size > MAX_ENTRIES_BYTES:
                break
            unpaged.popleft()
            taken.append(entry)
            self._slots[self._listed] = _Slot(entry, weight)
            self._held += weight
            self._listed += 1
            self._listed_size += max(entry.size, 0)
        return m.Page(first, tuple(taken))

    def _next_file(self) -> SenderAction | Common | None:
        if self._wanted:
            number = self._wanted.popleft()
            slot = self._slots[number]
            if slot.refused:
                slot.stage = Stage.SENT
                return Send(m.FileEnd(number, slot.failure, 0, m.NO_DIGEST))
            self._file = _OpenFile(number, slot)
            return OpenFile(number, slot.entry)
        if self._told_end and self._settled == self._listed and not self._asked_root:
            self._asked_root = True
            return NeedRoot()
        return None

    def _next_block(self) -> SenderAction | None:
        file = self._file
        if file is None or not file.opened or file.closing:
            return None
        if file.slot.refused or file.complete():
            file.closing = True
            return CloseFile(file.number)
        offset = file.planned
        if file.size == UNKNOWN_SIZE:
            length = 0 if file.out else file.block
        else:
            length = min(file.block, file.size - offset)
        if length == 0:
            return None
        cost = block_cost(length, zero=False)
        if self._spent + cost > self._credit:
            return None
        self._spent += cost
        file.planned += length
        file.out.append(length)
        return SendBlock(file.number, offset // file.block, offset, length)

    def _greeted(self) -> None:
        self.phase = Phase.OFFERED
        self._queue.append(Send(self._offer))

    def _on_accept(self, _: m.Accept) -> None:
        self.phase = Phase.MOVING

    def _on_decline(self, decline: m.Decline) -> None:
        self.phase = Phase.OVER
        self._queue.clear()
        why = f": {decline.reason}" if decline.reason else ""
        raise Declined(f"the other side declined{why}")

    def _on_want(self, want: m.Want) -> None:
        if not self._decided < want.through <= self._listed:
            raise PeerMisbehaved("the other side decided on entries that it has not to")
        at = self._decided
        for skip in want.skips:
            stop = skip.first + skip.count
            if (
                skip.first < at
                or skip.count < 1
                or stop > want.through
                or skip.failure < m.FIRST_RECEIVER_FAILURE
            ):
                raise PeerMisbehaved("the other side skips what it can't")
            self._want(at, skip.first)
            for number in range(skip.first, stop):
                slot = self._slots[number]
                slot.stage, slot.failure, slot.refused = Stage.SKIPPED, skip.failure, True
            at = stop
        self._want(at, want.through)
        self._decided = want.through

    def _want(self, start: int, stop: int) -> None:
        for number in range(start, stop):
            slot = self._slots[number]
            if slot.entry.kind is EntryKind.FILE:
                slot.stage = Stage.WANTED
                self._wanted.append(number)
            else:
                slot.stage = Stage.MAKING

    def _on_failed(self, failed: m.Failed) -> None:
        slot = self._slots.get(failed.number)
        if (
            slot is None
            or slot.refused
            or failed.number >= self._decided
            or failed.failure < m.FIRST_RECEIVER_FAILURE
        ):
            raise PeerMisbehaved("the other side failed an entry that it has not to")
        slot.failure, slot.refused = failed.failure, True

    def _on_credit(self, credit: m.Credit) -> None:
        if not self._credit <= credit.size <= self._spent + MAX_BYTE_WINDOW:
            raise PeerMisbehaved("the other side took credit back, or gave without bound")
        if not self._settled <= credit.settled <= self._decided:
            raise PeerMisbehaved("the other side settled entries out of order")
        self._credit = credit.size
        outcomes = []
        for number in range(self._settled, credit.settled):
            slot = self._slots.pop(number)
            if slot.stage not in SETTLABLE:
                raise PeerMisbehaved("the other side settled a file that was not sent")
            self._held -= slot.weight
            if slot.failure is not None:
                self._failures.add(number, slot.failure)
                outcomes.append(Outcome(number, slot.entry, slot.failure, 0, None))
            else:
                self._done_size += slot.size
                outcomes.append(Outcome(number, slot.entry, None, slot.size, slot.root))
        self._settled = credit.settled
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
        m.Want: ((Phase.MOVING,), _on_want),
        m.Credit: ((Phase.MOVING,), _on_credit),
        m.Failed: ((Phase.MOVING,), _on_failed),
        m.Receipt: ((Phase.CLOSING,), _on_receipt),
    }
