"""Small files on their way to the disk, before they have their names: values. No disk in here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from msgspec import Struct

from p2pxfer.discreet import Discreet
from p2pxfer.files.admission import Admission
from p2pxfer.files.failures import EntryError
from p2pxfer.files.records import Identity, Placed


class SmallFile(NamedTuple):
    """A file's whole content with its attributes, for `OutputTree.write_small`."""

    admission: Admission
    data: bytes | memoryview
    mode: int
    mtime_ns: int


class Nameless(Struct):
    """A file that is written, and does not have its own name yet.

    Attributes:
        admission: what it is to become.
        name: its temporary name; empty if it has none, or could not be made.
        fd: a handle on it, while it has no name at all.
        identity: which file it is.
        error: why it is to be removed instead of named.
        noted: the journal has it as placed.
        linked: it has its name by now, and no handle.
    """

    admission: Admission
    name: bytes = b""
    fd: int | None = None
    identity: Identity | None = None
    error: EntryError | None = None
    noted: bool = False
    linked: bool = False


class Batch(Discreet, Struct):
    """Small files that are written, and on their way to the disk together.

    Attributes:
        files: those, in order.
        before: the batches that were on their way when these were written.
        synced: what bringing them there came to; None if each was synced by itself. Until then
            the files are not to be touched.
    """

    hidden = ("before",)

    files: list[Nameless]
    before: Sequence[Batch]
    synced: Future[EntryError | None] | None = None

    def known(self) -> bool:
        """Whether what bringing them there came to is known, without waiting for it."""
        return self.synced is None or self.synced.done()

    @property
    def own(self) -> EntryError | None:
        """Why what was written may not be on the disk; waits until that is known."""
        return None if self.synced is None else self.synced.result()

    def lost(self) -> EntryError | None:
        """The same, where a sync before may have been told of an error of these files."""
        before, self.before = self.before, ()
        return next(filter(None, (batch.own for batch in (self, *before))), None)


def placed(batch: Iterable[Nameless]) -> list[Placed]:
    """What a journal takes down of them: of those that are to have their names."""
    return [
        Placed((admission := nameless.admission).entry.path, admission.name, nameless.identity)
        for nameless in batch
        if nameless.error is None and nameless.identity is not None
    ]
