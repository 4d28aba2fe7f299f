"""What a transfer machine asks of the session that runs it: frozen values, one per deed.

Each docstring names the method that answers; an action that names none needs no answer. No bytes
and no state here.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from p2pxfer.manifest import Entry, Failure
from p2pxfer.progress import Resumed, Stalled
from p2pxfer.transfer.messages import Message, Offer, Receipt


class Send(NamedTuple):
    """Put this message in the outbox, after everything put there before."""

    message: Message


class Outcome(NamedTuple):
    """How one entry ended, as both sides see it.

    ``size`` and ``root`` are of a file that arrived; 0 and empty for anything else.
    """

    number: int
    entry: Entry
    failure: Failure | None
    size: int
    root: bytes


class Settled(Struct, frozen=True):
    """Entries that are over, in the order of their numbers, each exactly once: feed the root."""

    outcomes: tuple[Outcome, ...]


class NeedRoot(Struct, frozen=True):
    """Everything is settled. Answer: ``transfer_root``."""


class Done(Struct, frozen=True):
    """The transfer is over; the receipt is on both sides, and right."""

    receipt: Receipt


class Lost(Struct, frozen=True):
    """Nothing was heard for ``seconds``: the connection is gone."""

    seconds: float


class Walk(Struct, frozen=True):
    """Find up to ``room`` more entries. Answer: ``add_entries`` (any number), ``end_manifest``."""

    room: int


class OpenFile(NamedTuple):
    """Open the next file. Answer: ``file_opened``, or ``file_closed`` with a failure."""

    number: int
    entry: Entry


class SendBlock(NamedTuple):
    """Read, hash, put Block and Data in the outbox. Answer: ``block_sent``, or ``file_closed``.

    More of these may come before the first is answered; answers go in order. Of a stream
    ``length`` is the most that the block may hold, and only its last block holds less. ``held`` is
    the digest of the block that the receiver has there: if it is this one's, the header says
    ``kept`` and no Data follows.
    """

    number: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    offset: int
    length: int
    held: bytes | None = None


class CloseFile(NamedTuple):
    """No more of this file is needed. Answer: ``file_closed``, dropping unanswered SendBlocks."""

    number: int


class Proven(Struct, frozen=True):
    """The other side says that it was in these transfers: ids of 16 bytes, MACs of 32 to check.

    Comes before `AskAccept`, or not at all.
    """

    proofs: tuple[tuple[bytes, bytes], ...]


class AskAccept(Struct, frozen=True):
    """Ask whoever decides. Answer: ``accept`` or ``decline``; what is known comes as NewEntries."""

    offer: Offer


class NewEntries(Struct, frozen=True):
    """More of the manifest. Answer, after ``accept``: ``decide``, for these or several at once.

    Before it ``offer_blocks`` may tell which blocks of a file are here already.
    """

    first: int
    entries: tuple[Entry, ...]


class Totals(Struct, frozen=True):
    """What is listed so far. ``size`` is None for a stream; ``skipped`` counts at the end."""

    entries: int
    size: int | None
    complete: bool
    skipped: int


class MakeEntry(NamedTuple):
    """Make a directory or symlink. Answer: ``entry_done`` or ``entry_failed``."""

    number: int
    entry: Entry


class BeginFile(NamedTuple):
    """Open the temporary of a file. ``size`` is -1 for a stream; values as of its opening."""

    number: int
    entry: Entry
    size: int
    mode: int
    mtime_ns: int


class WriteBlock(NamedTuple):
    """Check the digest over the next ``payload`` bytes fed, and write. Answer: ``written``.

    ``payload`` is ``length``, or 0 for a block of zeros, whose digest is checked all the same. A
    wrong digest is for the session to raise as an integrity error. A block that is ``kept`` has no
    payload either: it is the one at this index that was offered, under this digest.
    """

    number: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    offset: int
    length: int
    digest: bytes
    zero: bool
    kept: bool = False

    @property
    def payload(self) -> int:
        """Bytes of `Data` that belong to this block."""
        return 0 if self.zero or self.kept else self.length


class DropData(NamedTuple):
    """The next ``payload`` bytes fed are of a file that failed here: forget them."""

    payload: int


class EndFile(NamedTuple):
    """A file is whole, or failed at the sender, begun or not.

    Answer: ``entry_done`` when it is in place (or its remains are gone, if ``failure``), or
    ``entry_failed``.
    """

    number: int
    size: int
    root: bytes
    failure: Failure | None


class TakeFile(NamedTuple):
    """A small file of `TakeFiles`; its content is ``size`` bytes at ``offset`` of their payload."""

    number: int
    entry: Entry
    offset: int
    size: int
    mode: int
    mtime_ns: int
    root: bytes


class TakeFiles(NamedTuple):
    """Check each file's root over its part of the next ``payload`` bytes fed, and write it.

    Answer: as to `EndFile`, for each. A wrong root is for the session to raise as an integrity
    error.
    """

    files: tuple[TakeFile, ...]
    payload: int


Common = Send | Settled | NeedRoot | Done | Stalled | Resumed | Lost
SenderAction = Walk | OpenFile | SendBlock | CloseFile
ReceiverAction = (
    Proven
    | AskAccept
    | NewEntries
    | Totals
    | MakeEntry
    | BeginFile
    | WriteBlock
    | DropData
    | EndFile
    | TakeFiles
)
