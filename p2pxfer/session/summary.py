"""What both sides say of a transfer that is over, and of entries that did not make it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from p2pxfer.errors import PartlyDone
from p2pxfer.files.hashing import TransferRoot
from p2pxfer.manifest import EntryKind, Failure
from p2pxfer.progress import EntryFailed, FilesFinished, Finished, FinishedFile, Progress
from p2pxfer.transfer.actions import Outcome
from p2pxfer.transfer.messages import Receipt

AGAIN: Final = (
    "the lines above name what is missing, and why\n"
    "mend that, and run the same command again on both sides: only what is missing is sent"
)
ELSEWHERE: Final = (
    "the sender names what it could not read, and the lines above whatever else is missing\n"
    "mend that, and run the same command again on both sides: only what is missing is sent"
)
FILE: Final = EntryKind.FILE
RECEIPT: Final = "receipt"  # label of the key that the receipt is signed with

REASONS: Final = {
    Failure.CHANGED: "it changed while it was being sent",
    Failure.VANISHED: "it vanished before it was sent",
    Failure.UNREADABLE: "the sender can't read it",
    Failure.UNSAFE_NAME: "its name can't be used on the receiving side",
    Failure.EXISTS: "it is already there on the receiving side",
    Failure.COLLISION: "another name that the receiving side holds as the same came before",
    Failure.UNSAFE_TARGET: "a symlink that leads out of the tree; --unsafe-symlinks allows it",
    Failure.NO_SPACE: "no space left on the receiving side",
    Failure.WRITE_FAILED: "the receiving side can't write it",
    Failure.TOO_LARGE: "it is over the receiver's --max-size",
    Failure.PARENT_FAILED: "the folder that it is in did not arrive",
}

# What may arrive when the same is sent again; what the receiver does not want stays away.
MENDABLE: Final = frozenset(
    {
        Failure.CHANGED,
        Failure.VANISHED,
        Failure.UNREADABLE,
        Failure.NO_SPACE,
        Failure.WRITE_FAILED,
        Failure.PARENT_FAILED,
    }
)


class Summary(Struct, frozen=True):
    """A transfer that is over, with the receipt exchanged.

    Attributes:
        size: content bytes that crossed and are in place.
        files: files among them.
        seconds: from the receiver's yes to the receipt.
        root: BLAKE3 root over every entry; both sides have the same.
    """

    size: int
    files: int
    seconds: float
    root: bytes


class Tally:
    """Counts outcomes as they settle, tells them, and sums them up in a root.

    Attributes:
        reasons: by entry number, where more is known than the failure.
        mendable: some entry did not arrive for a reason that can be mended.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._root = TransferRoot()
        self._files = 0
        self._failed = 0
        self.reasons: dict[int, str] = {}
        self.mendable = False

    @property
    def failed(self) -> int:
        """Entries that did not arrive, so far."""
        return self._failed

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Take the next outcomes, in the order of the manifest."""
        self._root.add([(entry, failure, root) for _, entry, failure, _, root in outcomes])
        arrived: list[FinishedFile] = []
        for number, entry, failure, size, root in outcomes:
            if failure is not None:
                self._tell(arrived)
                arrived = []
                self._failed += 1
                self.mendable |= failure in MENDABLE
                reason = self.reasons.pop(number, None) or REASONS[failure]
                self._progress.emit(EntryFailed(entry.path, reason))
            elif entry.kind is FILE:
                arrived.append(FinishedFile(entry.path, size, root))
        self._tell(arrived)

    def _tell(self, arrived: Sequence[FinishedFile]) -> None:
        if arrived:
            self._files += len(arrived)
            self._progress.emit(FilesFinished(arrived))

    def root(self) -> bytes:
        """The root over every outcome taken."""
        return self._root.digest()

    def finish(
        self, receipt: Receipt, skipped: int, seconds: float, *, again: str = AGAIN
    ) -> Summary:
        """The transfer is over: tell it and sum it up.

        Args:
            receipt: what came of it.
            skipped: entries that the sender could not list.
            seconds: that it took.
            again: what to do about entries that were skipped.

        Raises:
            PartlyDone: some entries did not arrive.
        """
        self._progress.emit(
            Finished(receipt.size, self._files, self._failed + skipped, seconds, receipt.root)
        )
        missing = self._failed + skipped
        if missing:
            entries = "1 entry" if missing == 1 else f"{missing:,} entries"
            rest = "; all the rest did" if self._files else ""
            hint = again if skipped else AGAIN if self.mendable else None
            raise PartlyDone(f"{entries} did not arrive{rest}", hint)
        return Summary(receipt.size, self._files, seconds, receipt.root)
