"""Receiver: what to decide, write or refuse. It sees numbers and lengths; no paths, no payload.

The session feeds every message, keeps the payload of `Data` in a queue, drains `next_action` and
answers each action with the method that its docstring names. Payload leaves that queue by
`WriteBlock` and `DropData` alone, in the order it came. After ``entry_failed`` nothing more comes
for that entry. An entry is forgotten once settled, so memory is bounded by the windows of `credit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from p2pxfer.errors import IntegrityError, PeerMisbehaved
from p2pxfer.manifest import Failure
from p2pxfer.transfer import actions as a
from p2pxfer.transfer import messages as m
from p2pxfer.transfer import receipt as r
from p2pxfer.transfer.credit import block_cost
from p2pxfer.transfer.dialogue import Dialogue, Phase, Rules
from p2pxfer.transfer.holdings import Holdings
from p2pxfer.transfer.intake import Intake
from p2pxfer.transfer.ledger import DONE, OVER, Ledger, Slot, Stage, Step
from p2pxfer.transfer.listing import Listing
from p2pxfer.transfer.skips import Skips

# Not once the entry has failed here.
_OF_ENTRIES = (a.WriteBlock, a.BeginFile, a.EndFile, a.MakeEntry)


def _check_own(failure: Failure) -> None:
    if failure < m.FIRST_RECEIVER_FAILURE:
        raise ValueError(f"{failure.name} is for the sender to say")


class Receiver(Dialogue[a.ReceiverAction]):
    """The receiving side of one transfer.

    Args:
        receipt_key: 32 bytes to sign the receipt with; never leaves the machine.
        now: the time in seconds, of the same steady clock as in every later call.

    Attributes:
        receipt: once it is out; everything is in place then, even if the channel closes.
    """

    def __init__(self, receipt_key: bytes, now: float) -> None:
        super().__init__(now)
        self._key = receipt_key
        self._offer: m.Offer | None = None
        self._ledger = Ledger()
        self._listing = Listing(self._ledger)
        self._holdings = Holdings(self._ledger)
        self._intake = Intake(self._ledger, self._holdings)
        self._outcomes: list[a.Outcome] = []
        self._told_settled = 0
        self._asked = self._asked_root = self._proven = False
        self._end: m.TransferEnd | None = None
        self.receipt: m.Receipt | None = None

    @property
    def expecting(self) -> bool:
        """Whether more files are wanted, or more entries may be."""
        ledger = self._ledger
        decided = self._listing.complete and ledger.decided == ledger.listed
        return not decided or self._intake.expecting()

    def accept(self) -> None:
        """Answers `AskAccept`: yes."""
        self._answer()
        self.phase = Phase.MOVING
        self._queue.append(a.Send(m.Accept()))

    def decline(self, reason: str) -> None:
        """Answers `AskAccept`: no; all that follows is the `Send` that says so."""
        self._answer()
        self.phase = Phase.OVER
        self._queue.clear()
        self._queue.append(a.Send(m.Decline(reason)))

    def hold_room(self) -> int:
        """How many digests `offer_blocks` may take now; 0 if the other side can't resume."""
        ready = self.phase is Phase.MOVING and self.capabilities & m.RESUME
        return self._holdings.room if ready else 0

    def offer_blocks(self, number: int, first: int, digests: Sequence[bytes]) -> None:
        """Tell of blocks ``first``, ``first + 1``, … here, cut as a file of the entry's size is.

        They count against `hold_room` until it ends, and may come back as kept `WriteBlock`s.

        Raises:
            ValueError: beyond the room or the file, not ascending, on an entry that is decided or
                no file of known size.
        """
        if not self.hold_room():
            raise ValueError("no blocks may be offered")
        self._holdings.add(number, first, digests)
        for at in range(0, len(digests), m.MAX_DIGESTS):
            part = tuple(digests[at : at + m.MAX_DIGESTS])
            self._queue.append(a.Send(m.Have(number, first + at, part)))

    def decide(self, through: int, skip: Mapping[int, Failure]) -> None:
        """Answers `NewEntries`: every entry below ``through`` is wanted, but for ``skip``.

        Raises:
            ValueError: before ``accept``, backwards, beyond what is listed, or a sender's failure.
        """
        ledger = self._ledger
        if self.phase is not Phase.MOVING or not ledger.decided < through <= ledger.listed:
            raise ValueError("nothing to decide there")
        for failure in skip.values():
            _check_own(failure)
        skips = Skips()
        for number in range(ledger.decided, through):
            slot = ledger[number]
            if number in skip:
                slot.move(Step.SKIP)
                slot.refuse(skip[number])
                skips.add(number, skip[number])
                self._holdings.forget(number)
            elif ledger.want(slot):
                self._intake.expect(number)
            else:
                self._queue.append(a.MakeEntry(number, slot.entry))
        ledger.decided = through
        self._queue.extend(map(a.Send, skips.wants(through)))
        self._settle()

    def written(self, block: a.WriteBlock) -> None:
        """Answers `WriteBlock`: on the disk, or handed to whoever reads it."""
        slot = self._ledger.get(block.number)
        if slot is None or slot.stage not in (Stage.AWAITED, Stage.ENDED):
            return
        self._intake.give_back(slot, block_cost(block.payload))

    def entry_done(self, number: int) -> None:
        """Answers `MakeEntry` and `EndFile`; blocks of it without `written` count as written."""
        slot = self._slot(number)
        slot.move(DONE)
        self._close(slot)

    def entries_done(self, numbers: Sequence[int]) -> None:
        """The same as ``entry_done``, for each."""
        intake = self._intake
        for number in numbers:
            slot = self._slot(number)
            slot.move(DONE)
            intake.give_back(slot, slot.owed)
        self._settle()

    def entry_failed(self, number: int, failure: Failure) -> None:
        """Instead of ``entry_done``, or at any time since ``decide`` wanted the entry.

        Its remains are the session's to remove; nothing more will come for it. A failure of the
        sender's that was told by `EndFile` stands.
        """
        _check_own(failure)
        slot = self._slot(number)
        slot.move(Step.FAIL)
        if slot.failure is None:
            slot.refuse(failure)
            self._queue.append(a.Send(m.Failed(number, failure)))
        self._close(slot)

    def transfer_root(self, root: bytes) -> None:
        """Answers `NeedRoot`, when everything is safely on the disk.

        Raises:
            IntegrityError: the sender's root is another.
        """
        if not self._asked_root or self._end is None or self._offer is None or self.receipt:
            raise ValueError("no root is needed")
        if root != self._end.root:
            raise IntegrityError("what arrived is not what the other side says it sent")
        ledger = self._ledger
        own = r.unsigned(
            self._offer.transfer_id, root, ledger.listed, ledger.done_size, ledger.failures
        )
        self.receipt = r.signed(self._key, own)
        self._queue.append(a.Send(self.receipt))

    def _answer(self) -> None:
        if self.phase is not Phase.OFFERED or not self._asked:
            raise ValueError("nothing was asked")

    def _slot(self, number: int) -> Slot:
        slot = self._ledger.get(number)
        if slot is None:
            raise ValueError(f"entry {number} is not known, or over")
        return slot

    def _close(self, slot: Slot) -> None:
        self._intake.give_back(slot, slot.owed)
        if slot.stage is OVER:
            self._settle()

    def _settle(self) -> None:
        self._outcomes += self._ledger.settle_over()

    def _activity(self) -> m.Activity:
        if self.phase is Phase.OFFERED and self._asked:
            return m.Activity.PROMPTING
        if self.phase is Phase.MOVING:
            if self._intake.busy() or self._unfinished():
                return m.Activity.WRITING
            if self._ledger.decided < self._ledger.listed:
                return m.Activity.DECIDING
        return m.Activity.WRITING if self._asked_root and not self.receipt else m.Activity.IDLE

    def _unfinished(self) -> bool:
        front = self._ledger.get(self._ledger.settled)
        return front is not None and front.stage in (Stage.MAKING, Stage.ENDED)

    def _take(self) -> a.ReceiverAction | a.Common | None:
        while self._queue:
            action = self._queue.popleft()
            if isinstance(action, _OF_ENTRIES):
                slot = self._ledger.get(action.number)
                if slot is None or slot.refused:
                    if isinstance(action, a.WriteBlock) and action.payload:
                        return a.DropData(action.payload)
                    continue
            elif isinstance(action, a.TakeFiles):
                return self._still_wanted(action)
            return action
        return self._next_report()

    def _still_wanted(self, take: a.TakeFiles) -> a.TakeFiles:
        """``take`` without what has failed here since it arrived."""
        known = self._ledger.get
        files = take.files
        if all((slot := known(file.number)) and not slot.refused for file in files):
            return take
        left = [f for f in files if (slot := known(f.number)) and not slot.refused]
        return a.TakeFiles(tuple(left), take.payload)

    def _next_report(self) -> a.ReceiverAction | a.Common | None:
        if self._listing.changed:
            return self._listing.totals()
        known = self._ledger.listed or self._listing.complete
        if self.phase is Phase.OFFERED and known and self._offer and not self._asked:
            self._asked = True
            return a.AskAccept(self._offer)
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, []
            return a.Settled(tuple(outcomes))
        if self.phase is Phase.MOVING:
            intake, front = self._intake, self._ledger.settled
            if intake.grantable() != intake.granted or front != self._told_settled:
                intake.granted, self._told_settled = intake.grantable(), front
                self._ledger.release()
                return a.Send(m.Credit(intake.granted, front))
        if self._end is not None and not self._asked_root:
            self._asked_root = True
            return a.NeedRoot()
        return None

    def _greeted(self) -> None:
        self.phase = Phase.GREETED

    def _on_offer(self, offer: m.Offer) -> None:
        self._offer = offer
        self._listing.kind = offer.kind
        self.phase = Phase.OFFERED

    def _on_proof(self, proof: m.Proof) -> None:
        early = not (self._ledger.listed or self._listing.complete or self._proven)
        if not (early and self.capabilities & m.RESUME):
            raise PeerMisbehaved("the other side sent proofs late, twice or out of the blue")
        self._proven = True
        self._queue.append(a.Proven(proof.proofs))

    def _on_page(self, page: m.Page) -> None:
        self._listing.add_page(page)
        self._queue.append(a.NewEntries(page.first, page.entries))

    def _on_manifest_end(self, end: m.ManifestEnd) -> None:
        self._listing.end(end)

    def _on_file_begin(self, begin: m.FileBegin) -> None:
        self._enqueue(self._intake.begin(begin))

    def _on_block(self, block: m.Block) -> None:
        self._enqueue(self._intake.add_block(block))

    def _on_data(self, data: m.Data) -> None:
        self._size_moved += len(data.payload)
        self._enqueue(self._intake.add_data(len(data.payload)))

    def _on_file_end(self, end: m.FileEnd) -> None:
        self._enqueue(self._intake.end(end))
        self._settle()

    def _on_whole_files(self, whole: m.WholeFiles) -> None:
        if not self.capabilities & m.WHOLE:
            raise PeerMisbehaved("the other side sent whole files, which it said it can't")
        self._size_moved += len(whole.payload)
        self._queue.append(self._intake.take(whole))
        self._settle()

    def _enqueue(self, action: a.BeginFile | a.WriteBlock | a.EndFile | None) -> None:
        if action is not None:
            self._queue.append(action)

    def _on_transfer_end(self, end: m.TransferEnd) -> None:
        ledger = self._ledger
        if not self._listing.complete or self._told_settled != ledger.listed:
            raise PeerMisbehaved("the other side ended the transfer before its entries")
        failed = ledger.failures.count
        if (end.entries, end.size, end.failed) != (ledger.listed, ledger.done_size, failed):
            raise PeerMisbehaved("the other side ended the transfer with other sums")
        self._end = end
        self.phase = Phase.CLOSING

    def _on_bye(self, _: m.Bye) -> None:
        if self.receipt is None:
            raise PeerMisbehaved("the other side left before it had a receipt")
        self.phase = Phase.OVER
        self._queue.append(a.Done(self.receipt))

    rules: ClassVar[Rules] = {
        **Dialogue.common,
        m.Offer: ((Phase.GREETED,), _on_offer),
        m.Proof: ((Phase.OFFERED,), _on_proof),
        m.Page: ((Phase.OFFERED, Phase.MOVING), _on_page),
        m.ManifestEnd: ((Phase.OFFERED, Phase.MOVING), _on_manifest_end),
        m.FileBegin: ((Phase.MOVING,), _on_file_begin),
        m.Block: ((Phase.MOVING,), _on_block),
        m.Data: ((Phase.MOVING,), _on_data),
        m.FileEnd: ((Phase.MOVING,), _on_file_end),
        m.WholeFiles: ((Phase.MOVING,), _on_whole_files),
        m.TransferEnd: ((Phase.MOVING,), _on_transfer_end),
        m.Bye: ((Phase.CLOSING,), _on_bye),
    }
