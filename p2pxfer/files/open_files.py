"""The files of one tree that are being written block by block: begun, found again, let go of.

Where the names of finished ones come from is not known here (``placing.py``).
"""

from __future__ import annotations

import contextlib
import os

from p2pxfer.files.admission import Admission
from p2pxfer.files.basis import open_partial
from p2pxfer.files.failures import EntryError, writing
from p2pxfer.files.handles import FolderHandles
from p2pxfer.files.leftovers import matches
from p2pxfer.files.nameless import Nameless
from p2pxfer.files.partial import Home, PartialFile
from p2pxfer.files.placing import Placing
from p2pxfer.files.records import Partial
from p2pxfer.files.space import free_space
from p2pxfer.manifest import UNKNOWN_SIZE, Failure

MOST_OPEN = 64  # at once, most of them adopted
SPACE_CHECKED = 1024 * 1024  # bytes from which a file's room is looked up before it is opened
_SECTOR = 512  # bytes; st_blocks counts these (stat(2))


class OpenFiles:
    """Every `PartialFile` of a tree that is not finished, with what it is to become."""

    def __init__(self, handles: FolderHandles, placing: Placing) -> None:
        self._handles = handles
        self._placing = placing
        self._open: dict[PartialFile, tuple[Admission, bytes]] = {}

    def create(self, admission: Admission, size: int, home: Home) -> PartialFile:
        """Begin a file of ``size`` bytes, or of `UNKNOWN_SIZE`.

        Raises:
            EntryError: there is no room for it.
            OSError: it can't be made.
        """
        self._require(size)
        (name,) = self._placing.draw([admission])
        name, fd = self._placing.create(admission, name)
        partial = PartialFile(fd, size, home)
        self._open[partial] = (admission, name)
        if self._placing.journal is not None and size != UNKNOWN_SIZE:
            self._placing.journal.partial(Partial.of(admission.entry, name, os.fstat(fd)))
        return partial

    def may_adopt(self, admission: Admission) -> bool:
        """Whether the journal tells of something that an earlier run has left."""
        journal = self._placing.journal
        return journal is not None and admission.entry.path in journal.earlier_partials

    def kept(self, admission: Admission) -> int:
        """Bytes on the disk of what the journal says that an earlier run has left, if any."""
        journal = self._placing.journal
        earlier = journal and journal.earlier_partials.get(admission.entry.path)
        if not earlier:
            return 0
        with contextlib.suppress(OSError):
            path, at = self._handles.locate(admission.folder, earlier.temporary)
            found = os.stat(path, dir_fd=at, follow_symlinks=False)
            if matches(found, earlier):
                return getattr(found, "st_blocks", 0) * _SECTOR
        return 0

    def adopt(self, admission: Admission, size: int, home: Home) -> PartialFile | None:
        """Go on with what the journal says that an earlier run has left, if it is there.

        Raises:
            EntryError: there is no room for the rest.
        """
        journal = self._placing.journal
        if journal is None or len(self._open) >= MOST_OPEN:
            return None
        earlier = journal.take_partial(admission.entry.path)
        if earlier is None:
            return None
        fd = open_partial(self._handles, admission.folder, earlier)
        if fd is None:
            return None
        found = os.fstat(fd)
        try:
            self._require(size - getattr(found, "st_blocks", 0) * _SECTOR)
        except BaseException:
            os.close(fd)
            raise
        journal.partial(Partial.of(admission.entry, earlier.temporary, found))  # as it is known now
        partial = PartialFile(fd, size, home, stale=found.st_size)
        self._open[partial] = (admission, earlier.temporary)
        return partial

    def admission(self, partial: PartialFile) -> Admission:
        """What it is to become."""
        return self._open[partial][0]

    def seal(self, partial: PartialFile, mode: int, mtime_ns: int, *, sync: bool) -> Nameless:
        """It is whole: close it, with its attributes."""
        nameless = Nameless(*self._open[partial])
        try:
            nameless.identity = partial.seal(mode, mtime_ns, sync=sync)
        except OSError as error:
            nameless.error = writing(error)
        del self._open[partial]
        os.close(partial.fd)
        return nameless

    def drop(self, partial: PartialFile) -> Admission | None:
        """Remove it; returns what it was to become, unless it is gone already."""
        if partial not in self._open:
            return None
        admission, name = self._open.pop(partial)
        os.close(partial.fd)
        self._placing.remove(admission, name)
        if self._placing.journal and not self._placing.still_there(admission, name):
            self._placing.journal.forgotten([admission.entry.path])
        return admission

    def close(self, *, keep: bool) -> list[Admission]:
        """Let go of all; returns what was removed: at least what no other run can go on with."""
        journal = self._placing.journal
        keep = keep and journal is not None and not journal.lost
        removed = []
        for partial in list(self._open):
            if keep and partial.size != UNKNOWN_SIZE and (partial.written or partial.stale):
                del self._open[partial]
                os.close(partial.fd)
            elif (admission := self.drop(partial)) is not None:
                removed.append(admission)
        return removed

    def _require(self, size: int) -> None:
        if size < SPACE_CHECKED:
            return
        path, at = self._handles.locate(self._handles.root)
        if size > free_space(path if at is None else at).size:
            raise EntryError(Failure.NO_SPACE, "no space left on the disk")
