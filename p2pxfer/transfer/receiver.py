"""Receiver: what to decide, write or refuse. It sees numbers and lengths; no paths, no payload.

The session feeds every message, keeps the payload of `Data` in a queue, drains `next_action` and
answers each action with the method that its docstring names. Payload leaves that queue by
`WriteBlock` and `DropData` alone, in the order it came. After ``entry_failed`` nothing more comes
for that entry. An entry is forgotten once settled, so memory is bounded by the windows of `credit`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar, Final

from p2pxfer.errors import IntegrityError, PeerMisbehaved
from p2pxfer.manifest import UNKNOWN_SIZE, Entry, EntryKind, Failure, TransferKind
from p2pxfer.transfer import messages as m
from p2pxfer.transfer import receipt as r
from p2pxfer.transfer.actions import (
    AskAccept,
    BeginFile,
    Common,
    Done,
    DropData,
    EndFile,
    MakeEntry,
    NeedRoot,
    NewEntries,
    Outcome,
    ReceiverAction,
    Send,
    Settled,
    Totals,
    WriteBlock,
)
from p2pxfer.transfer.credit import BYTE_WINDOW, ENTRY_WINDOW, block_cost, entry_weight
from p2pxfer.transfer.dialogue import Dialogue, Phase, Rules
from p2pxfer.transfer.incoming import Incoming


class Stage(IntEnum):
    """Where one entry is, as the receiver knows it."""

    LISTED = 0
    AWAITED = 1  # a wanted file: its FileEnd is to come
    MAKING = 2  # a directory or symlink, with the session
    ENDED = 3  # a file whose end is with the session
    DRAINING = 4  # failed here; its FileEnd is to come
    OVER = 5


class Step(IntEnum):
    """What moves an entry on; all but END are the session's."""

    SKIP = 0
    WANT = 1
    MAKE = 2
    END = 3
    DONE = 4
    FAIL = 5


MOVES: Final[Mapping[tuple[Stage, Step], Stage]] = {
    (Stage.LISTED, Step.SKIP): Stage.OVER,
    (Stage.LISTED, Step.WANT): Stage.AWAITED,
    (Stage.LISTED, Step.MAKE): Stage.MAKING,
    (Stage.MAKING, Step.DONE): Stage.OVER,
    (Stage.MAKING, Step.FAIL): Stage.OVER,
    (Stage.AWAITED, Step.END): Stage.ENDED,
    (Stage.AWAITED, Step.FAIL): Stage.DRAINING,
    (Stage.DRAINING, Step.END): Stage.OVER,
    (Stage.ENDED, Step.DONE): Stage.OVER,
    (Stage.ENDED, Step.FAIL): Stage.OVER,
}


class _Slot:
    """An entry that is not settled."""

    __slots__ = ("entry", "failure", "number", "owed", "refused", "root", "size", "stage", "weight")

    def __init__(self, number: int, entry: Entry, weight: int) -> None:
        self.number = number
        self.entry = entry
        self.weight = weight
        self.stage = Stage.LISTED
        self.failure: Failure | None = None
        self.refused = False  # the failure is ours, and the sender was or will be told
        self.owed = 0  # credit taken by blocks that are not written
        self.size = 0
        self.root: bytes | None = None

    def move(self, step: Step) -> None:
        """Raises ValueError when the session may not take this step."""
        stage = MOVES.get((self.stage, step))
        if stage is None:
            raise ValueError(f"{step.name} of entry {self.number}, which is {self.stage.name}")
        self.stage = stage


class Receiver(Dialogue[ReceiverAction]):
    """The receiving side of one transfer.

    Args:
        receipt_key: 32 bytes to sign the receipt with; never leaves the machine.
        now: the time in seconds, of the same steady clock as in every later call.

    Attributes:
        complete: the receipt is out: everything is in place, even if the channel closes now.
    """

    def __init__(self, receipt_key: bytes, now: float) -> None:
        super().__init__(now)
        self.complete = False
        self._key = receipt_key
        self._offer: m.Offer | None = None
        self._slots: dict[int, _Slot] = {}
        self._awaited: deque[int] = deque()
        self._file: Incoming | None = None
        self._outcomes: list[Outcome] = []
        self._listed = self._decided = self._settled = self._told_settled = 0
        self._listed_size = self._held = self._freed = 0
        self._skipped: int | None = None  # set by ManifestEnd
        self._streaming = self._new_totals = self._asked = self._accepted = False
        self._taken = self._returned = self._granted = 0  # credit, cumulative
        self._done_size = 0
        self._failures = r.FailureList()
        self._end: m.TransferEnd | None = None
        self._asked_root = False
        self._receipt: m.Receipt | None = None

    def accept(self) -> None:
        """Answers `AskAccept`: yes."""
        self._answer()
        self.phase = Phase.MOVING
        self._queue.append(Send(m.Accept()))

    def decline(self, reason: str) -> None:
        """Answers `AskAccept`: no; all that follows is the `Send` that says so."""
        self._answer()
        self.phase = Phase.OVER
        self._queue.clear()
        self._queue.append(Send(m.Decline(reason)))

    def decide(self, through: int, skip: Mapping[int, Failure]) -> None:
        """Answers `NewEntries`: every entry below ``through`` is wanted, but for ``skip``.

        Raises:
            ValueError: before ``accept``, backwards, beyond what is listed, or a sender's failure.
        """
        if self.phase is not Phase.MOVING or not self._decided < through <= self._listed:
            raise ValueError("nothing to decide there")
        skips: list[m.Skip] = []
        for number in range(self._decided, through):
            failure = skip.get(number)
            slot = self._slots[number]
            if failure is not None:
                self._skip(slot, failure, skips)
            elif slot.entry.kind is EntryKind.FILE:
                slot.move(Step.WANT)
                self._awaited.append(number)
            else:
                slot.move(Step.MAKE)
                self._queue.append(MakeEntry(number, slot.entry))
        self._decided = through
        while len(skips) > m.MAX_SKIPS:
            part, skips = skips[: m.MAX_SKIPS], skips[m.MAX_SKIPS :]
            self._queue.append(Send(m.Want(part[-1].first + part[-1].count, tuple(part))))
        self._queue.append(Send(m.Want(through, tuple(skips))))
        self._settle()

    def written(self, block: WriteBlock) -> None:
        """Answers `WriteBlock`: on the disk, or handed to whoever reads it."""
        slot = self._slots.get(block.number)
        if slot is None or slot.stage not in (Stage.AWAITED, Stage.ENDED):
            return
        cost = block_cost(block.length, zero=block.zero)
        if cost > slot.owed:
            raise ValueError(f"a block of entry {block.number} is written twice")
        slot.owed -= cost
        self._returned += cost

    def entry_done(self, number: int) -> None:
        """Answers `MakeEntry` and `EndFile`; blocks of it without `written` count as written."""
        slot = self._slot(number)
        slot.move(Step.DONE)
        self._close(slot)

    def entry_failed(self, number: int, failure: Failure) -> None:
        """Instead of ``entry_done``, or at any time since ``decide`` wanted the entry.

        Its remains are the session's to remove; nothing more will come for it. A failure of the
        sender's that was told by `EndFile` stands.
        """
        if failure < m.FIRST_RECEIVER_FAILURE:
            raise ValueError(f"{failure.name} is for the sender to say")
        slot = self._slot(number)
        slot.move(Step.FAIL)
        if slot.failure is None:
            slot.failure, slot.refused = failure, True
            self._queue.append(Send(m.Failed(number, failure)))
        self._close(slot)

    def transfer_root(self, root: bytes) -> None:
        """Answers `NeedRoot`, when everything is safely on the disk.

        Raises:
            IntegrityError: the sender's root is another.
        """
        if not self._asked_root or self._end is None or self._offer is None or self.complete:
            raise ValueError("no root is needed")
        if root != self._end.root:
            raise IntegrityError("what arrived is not what the other side says it sent")
        own = r.unsigned(
            self._offer.transfer_id, root, self._listed, self._done_size, self._failures
        )
        self._receipt = r.signed(self._key, own)
        self.complete = True
        self._queue.append(Send(self._receipt))

    def _answer(self) -> None:
        if self.phase is not Phase.OFFERED or not self._asked:
            raise ValueError("nothing was asked")

    def _slot(self, number: int) -> _Slot:
        slot = self._slots.get(number)
        if slot is None:
            raise ValueError(f"entry {number} is not known, or over")
        return slot

    def _skip(self, slot: _Slot, failure: Failure, skips: list[m.Skip]) -> None:
        if failure < m.FIRST_RECEIVER_FAILURE:
            raise ValueError(f"{failure.name} is for the sender to say")
        slot.move(Step.SKIP)
        slot.failure, slot.refused = failure, True
        last = skips[-1] if skips else None
        if last and last.failure is failure and last.first + last.count == slot.number:
            skips[-1] = m.Skip(last.first, last.count + 1, failure)
        else:
            skips.append(m.Skip(slot.number, 1, failure))

    def _close(self, slot: _Slot) -> None:
        self._returned += slot.owed
        slot.owed = 0
        if slot.stage is Stage.OVER:
            self._settle()

    def _settle(self) -> None:
        """Forget what is over, from the front."""
        slots = self._slots
        while (slot := slots.get(self._settled)) is not None and slot.stage is Stage.OVER:
            del slots[self._settled]
            self._settled += 1
            self._freed += slot.weight
            failure = slot.failure
            if failure is None:
                self._done_size += slot.size
                outcome = Outcome(slot.number, slot.entry, None, slot.size, slot.root)
            else:
                self._failures.add(slot.number, failure)
                outcome = Outcome(slot.number, slot.entry, failure, 0, None)
            self._outcomes.append(outcome)

    def _activity(self) -> m.Activity:
        if self.phase is Phase.OFFERED and self._asked:
            return m.Activity.PROMPTING
        if self.phase is Phase.MOVING:
            if self._taken != self._returned or self._unfinished():
                return m.Activity.WRITING
            if self._decided < self._listed:
                return m.Activity.DECIDING
        return m.Activity.WRITING if self._asked_root and not self.complete else m.Activity.IDLE

    def _unfinished(self) -> bool:
        front = self._slots.get(self._settled)
        return front is not None and front.stage in (Stage.MAKING, Stage.ENDED)

    def _take(self) -> ReceiverAction | Common | None:
        while self._queue:
            action = self._queue.popleft()
            if isinstance(action, WriteBlock | BeginFile | EndFile | MakeEntry):
                slot = self._slots.get(action.number)
                if slot is None or slot.refused:
                    if isinstance(action, WriteBlock) and action.payload:
                        return DropData(action.payload)
                    continue
            return action
        return self._next_report()

    def _next_report(self) -> ReceiverAction | Common | None:
        if self._new_totals:
            self._new_totals = False
            size = None if self._streaming else self._listed_size
            return Totals(self._listed, size, self._skipped is not None, self._skipped or 0)
        if self.phase is Phase.OFFERED and not self._asked and self._offer and self._told_any():
            self._asked = True
            return AskAccept(self._offer)
        if self._outcomes:
            settled = Settled(tuple(self._outcomes))
            self._outcomes = []
            return settled
        if self.phase is Phase.MOVING:
            granted = self._returned + BYTE_WINDOW
            if granted != self._granted or self._settled != self._told_settled:
                self._granted, self._told_settled = granted, self._settled
                self._held -= self._freed
                self._freed = 0
                return Send(m.Credit(granted, self._settled))
        if self._end is not None and not self._asked_root:
            self._asked_root = True
            return NeedRoot()
        return None

    def _told_any(self) -> bool:
        return self._listed > 0 or self._skipped is not None

    def _greeted(self) -> None:
        self.phase = Phase.GREETED

    def _on_offer(self, offer: m.Offer) -> None:
        self._offer = offer
        self.phase = Phase.OFFERED

    def _on_page(self, page: m.Page) -> None:
        weights = [entry_weight(entry) for entry in page.entries]
        if self._skipped is not None or page.first != self._listed:
            raise PeerMisbehaved("the other side listed entries out of order")
        if self._held + sum(weights) > ENTRY_WINDOW:
            raise PeerMisbehaved("the other side listed more entries than it may")
        for entry, weight in zip(page.entries, weights, strict=True):
            self._check_kind(entry)
            self._slots[self._listed] = _Slot(self._listed, entry, weight)
            self._listed += 1
            self._held += weight
            self._listed_size += max(entry.size, 0)
        self._new_totals = True
        self._queue.append(NewEntries(page.first, page.entries))

    def _check_kind(self, entry: Entry) -> None:
        """A stream or text is one file; files have a size."""
        kind = self._offer.kind if self._offer else TransferKind.FILES
        self._streaming = entry.size == UNKNOWN_SIZE
        alone = self._listed == 0 and entry.kind is EntryKind.FILE
        if kind is TransferKind.FILES:
            alone = True
        if not alone or (self._streaming and kind is not TransferKind.STREAM):
            raise PeerMisbehaved(f"the other side listed an entry that no {kind.name} has")

    def _on_manifest_end(self, end: m.ManifestEnd) -> None:
        if (
            self._skipped is not None
            or end.entries != self._listed
            or end.size != self._listed_size
        ):
            raise PeerMisbehaved("the other side ended its list with other sums")
        self._skipped = end.skipped
        self._new_totals = True

    def _on_file_begin(self, begin: m.FileBegin) -> None:
        number = begin.number
        if self._file is not None or not self._awaited or self._awaited[0] != number:
            raise PeerMisbehaved("the other side began a file that is not the next one wanted")
        slot = self._slots[number]
        if begin.size == UNKNOWN_SIZE != slot.entry.size:
            raise PeerMisbehaved("the other side began a file without its size")
        self._file = Incoming(number, begin.size)
        if slot.stage is Stage.AWAITED:
            self._queue.append(
                BeginFile(number, slot.entry, begin.size, begin.mode, begin.mtime_ns)
            )

    def _on_block(self, block: m.Block) -> None:
        file = self._file
        if file is None:
            raise PeerMisbehaved("the other side sent a block of no file")
        file.begin_block(block)
        cost = block_cost(block.length, zero=block.zero)
        self._taken += cost
        if self._taken > self._granted:
            raise PeerMisbehaved("the other side sent more than it had credit for")
        slot = self._slots[block.number]
        if slot.stage is Stage.DRAINING:
            self._returned += cost
        else:
            slot.owed += cost
        if block.zero:
            self._finish_block(file)

    def _on_data(self, data: m.Data) -> None:
        if self._file is None:
            raise PeerMisbehaved("the other side sent bytes of no file")
        length = len(data.payload)
        self._file.add_data(length)
        self._size_moved += length
        self._finish_block(self._file)

    def _finish_block(self, file: Incoming) -> None:
        block = file.take_block()
        if block is not None:
            self._queue.append(block)

    def _on_file_end(self, end: m.FileEnd) -> None:
        number, file = end.number, self._file
        if not self._awaited or self._awaited[0] != number:
            raise PeerMisbehaved("the other side ended a file that is not the next one wanted")
        slot = self._slots[number]
        failure = end.failure
        if failure is not None and failure >= m.FIRST_RECEIVER_FAILURE and failure != slot.failure:
            raise PeerMisbehaved("the other side failed a file in this side's name")
        if file is not None:
            file.end(end.size, whole=failure is None)
        elif failure is None or end.size:
            raise PeerMisbehaved("the other side ended a file that it never began")
        self._file = None
        self._awaited.popleft()
        slot.move(Step.END)
        if slot.stage is Stage.OVER:
            self._settle()
            return
        slot.size, slot.root, slot.failure = end.size, end.root, failure
        self._queue.append(EndFile(number, end.size, end.root, failure))

    def _on_transfer_end(self, end: m.TransferEnd) -> None:
        own = (self._listed, self._done_size, self._failures.count)
        if self._skipped is None or self._told_settled != self._listed:
            raise PeerMisbehaved("the other side ended the transfer before its entries")
        if (end.entries, end.size, end.failed) != own:
            raise PeerMisbehaved("the other side ended the transfer with other sums")
        self._end = end
        self.phase = Phase.CLOSING

    def _on_bye(self, _: m.Bye) -> None:
        if self._receipt is None:
            raise PeerMisbehaved("the other side left before it had a receipt")
        self.phase = Phase.OVER
        self._queue.append(Done(self._receipt))

    rules: ClassVar[Rules] = {
        **Dialogue.common,
        m.Offer: ((Phase.GREETED,), _on_offer),
        m.Page: ((Phase.OFFERED, Phase.MOVING), _on_page),
        m.ManifestEnd: ((Phase.OFFERED, Phase.MOVING), _on_manifest_end),
        m.FileBegin: ((Phase.MOVING,), _on_file_begin),
        m.Block: ((Phase.MOVING,), _on_block),
        m.Data: ((Phase.MOVING,), _on_data),
        m.FileEnd: ((Phase.MOVING,), _on_file_end),
        m.TransferEnd: ((Phase.MOVING,), _on_transfer_end),
        m.Bye: ((Phase.CLOSING,), _on_bye),
    }
