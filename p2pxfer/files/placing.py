"""From temporary to name: making temporaries, putting them in place once they are on the disk.

How they get to the disk is not known here (``syncing.py``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from p2pxfer.files import collisions
from p2pxfer.files.admission import Admission, Naming
from p2pxfer.files.failures import EntryError, writing
from p2pxfer.files.folders import OutFolder, OutFolders
from p2pxfer.files.journal import Journal
from p2pxfer.files.leftovers import matches
from p2pxfer.files.nameless import Nameless, SmallFile, placed
from p2pxfer.files.naming import numbered, temporary
from p2pxfer.files.native import rename_new
from p2pxfer.files.partial import CREATE, set_attributes, write_all
from p2pxfer.files.records import Identity, Partial, Placed
from p2pxfer.files.syncing import Syncing
from p2pxfer.files.unnamed import UnnamedFiles, make_at
from p2pxfer.manifest import Failure

_REPLACE = Naming.REPLACE  # a look into the enumeration for each file takes its time


class Placing:
    """Names in the folders of one tree.

    Args:
        folders: the tree's.
        name_limit: bytes in a name.

    Attributes:
        journal: takes down what is made before it is made, and named before it is named.
        syncing: brings to the disk what is written.
    """

    def __init__(self, folders: OutFolders, name_limit: int) -> None:
        self._handles = folders.handles
        self._whole = folders.whole
        self._name_limit = name_limit
        self.journal: Journal | None = None
        self._unnamed = UnnamedFiles(self._handles)
        self.syncing = Syncing(folders, self._unnamed, self._note_all)

    def close(self) -> None:
        """Let go of what is open; idempotent."""
        self.syncing.close()
        self._unnamed.finish()

    def draw(self, admissions: Sequence[Admission]) -> list[bytes]:
        """Names for temporaries that are about to be made beside their targets.

        What earlier runs have left for these entries, and nobody adopted, is removed.
        """
        names = [temporary(admission.name, self._name_limit) for admission in admissions]
        if self.journal is not None:
            self._remove_earlier(self.journal, admissions)
            paths = (admission.entry.path for admission in admissions)
            self.journal.intend(zip(paths, names, strict=True))
        return names

    def create(self, admission: Admission, name: bytes) -> tuple[bytes, int]:
        """Make the empty temporary ``name``, 0600: its name, another if that is taken, and handle.

        Raises:
            OSError: it can't be made.
        """
        while True:
            path, at = self._handles.locate(admission.folder, name)
            with contextlib.suppress(FileExistsError):
                return name, os.open(path, CREATE, 0o600, dir_fd=at)
            (name,) = self.draw([admission])

    def drop(self, nameless: Nameless) -> None:
        """Remove what was written, if it can be done and it did not get its name."""
        if nameless.linked:
            self._unnamed.closed(1)
        elif nameless.fd is not None:
            self._unnamed.close(nameless.fd)
            nameless.fd = None
        elif nameless.name:
            self.remove(nameless.admission, nameless.name)

    def remove(self, admission: Admission, name: bytes) -> None:
        """Remove the temporary ``name``, if it can be done."""
        with contextlib.suppress(OSError):
            path, at = self._handles.locate(admission.folder, name)
            os.unlink(path, dir_fd=at)

    def still_there(self, admission: Admission, name: bytes) -> Partial | None:
        """The temporary ``name``, if it could not be removed."""
        with contextlib.suppress(OSError):
            if name:
                path, at = self._handles.locate(admission.folder, name)
                found = os.stat(path, dir_fd=at, follow_symlinks=False)
                return Partial.of(admission.entry, name, found)
        return None

    def write_all(self, batch: Sequence[SmallFile]) -> list[Nameless]:
        """Write files: without any name where the system has such, else as temporaries.

        Where they can't be synced with their filesystem, each is by itself, at once.
        Nothing is linked in another's place, so what replaces a file is a temporary in any case.
        """
        if self.journal is not None:
            self._remove_earlier(self.journal, [small.admission for small in batch])
        written: list[Nameless] = []
        named: list[tuple[Nameless, SmallFile]] = []
        folder = at = taken = None
        left = 0
        each = False
        for small in batch:
            admission = small.admission
            nameless = Nameless(admission)
            written.append(nameless)
            if admission.folder is not folder:
                folder = admission.folder
                at = self._entered(folder)
                each = not self._whole(folder)
                if at is not None and taken is None:
                    taken = left = self._unnamed.take(len(batch))
            if at is not None and left and admission.naming is not _REPLACE:
                try:
                    nameless.fd = make_at(at, small.mode & 0o777)
                except OSError:  # making a temporary will say what is wrong, if it fails as well
                    named.append((nameless, small))
                    continue
                left -= 1
                _fill(nameless, nameless.fd, small, sync=each)
            else:
                named.append((nameless, small))
        self._unnamed.closed(left)
        if named:
            self._write_named(named)
        return written

    def _entered(self, folder: OutFolder) -> int | None:
        """A handle on a folder that files are written into, where they need no names; else None.

        Good until the next folder.
        """
        try:
            self.syncing.watch([folder])
            if self._unnamed.works(folder, self._intend):
                return self._handles.locate(folder)[1]
        except OSError:  # the sync, or making a temporary, will say so again
            pass
        return None

    def _write_named(self, named: Sequence[tuple[Nameless, SmallFile]]) -> None:
        names = self.draw([small.admission for _, small in named])
        for (nameless, small), name in zip(named, names, strict=True):
            try:
                nameless.name, fd = self.create(small.admission, name)
            except OSError as error:
                nameless.error = writing(error)
                continue
            _fill(nameless, fd, small, sync=not self._whole(small.admission.folder))
            try:
                os.close(fd)
            except OSError as error:
                nameless.error = nameless.error or writing(error)

    def _intend(self, folder: OutFolder, name: bytes) -> None:
        if self.journal is not None:
            self.journal.intend([(folder.below(name), name)])

    def place_all(
        self, batch: Sequence[Nameless], lost: EntryError | None = None
    ) -> list[EntryError | None]:
        """Name what was written, or remove what failed.

        Args:
            batch: each on the disk already, unless
            lost: says why none may be.

        Returns:
            For each None, or why it was removed.
        """
        if self.journal is not None and lost is None:
            self.journal.placed(placed(nameless for nameless in batch if not nameless.noted))
        gone, stuck = [], []
        linked = 0
        for nameless in batch:
            if nameless.linked:  # by the thread that synced it
                linked += 1
                continue
            admission = nameless.admission
            nameless.error = nameless.error or lost
            wanted = admission.name
            if nameless.error is None:
                nameless.error = self._place(nameless)
            else:
                self.drop(nameless)
            if nameless.error is not None:
                gone.append(admission.entry.path)
                stuck.append(self.still_there(admission, nameless.name))
            elif self.journal is not None and admission.name != wanted:
                self.journal.placed(placed([nameless]))
        self._unnamed.closed(linked)
        if self.journal is not None:
            self.journal.forgotten(gone)
            self.journal.settled(nameless.admission.entry.path for nameless in batch)
            for partial in filter(None, stuck):
                self.journal.partial(partial)
        return [nameless.error for nameless in batch]

    def _place(self, nameless: Nameless) -> EntryError | None:
        """Give a file its target's name, or remove it and say why not."""
        admission, fd = nameless.admission, nameless.fd
        try:
            if fd is None:
                name = nameless.name
                self._give_name(admission, lambda target: self._rename(admission, name, target))
            else:
                folder = admission.folder
                self._give_name(admission, lambda target: self._unnamed.link(fd, folder, target))
                self.drop(nameless)  # the handle: it has a name that stays
        except OSError as error:
            self.drop(nameless)
            return writing(error)
        except EntryError as error:
            self.drop(nameless)
            return error
        return None

    def link(self, admission: Admission, target: bytes, mtime_ns: int) -> EntryError | None:
        """Make a symlink that leads to ``target``; returns why not, if so."""
        (name,) = self.draw([admission])
        nameless = Nameless(admission, name)
        try:
            path, at = self._handles.locate(admission.folder, name)
            os.symlink(target, path, dir_fd=at)
            with contextlib.suppress(OSError, OverflowError, NotImplementedError):
                os.utime(path, ns=(mtime_ns, mtime_ns), dir_fd=at, follow_symlinks=False)
            nameless.identity = Identity.of(os.stat(path, dir_fd=at, follow_symlinks=False))
        except OSError as error:
            nameless.error = writing(error)
        (outcome,) = self.place_all([nameless])
        return outcome

    def note(self, admission: Admission, identity: Identity) -> None:
        """A file that is in place already is what was sent, or is about to be: take it down."""
        if self.journal is not None:
            self.journal.placed([Placed(admission.entry.path, admission.name, identity)])

    def _note_all(self, batch: Sequence[Nameless]) -> None:
        """These are about to be named by the thread that syncs them: take them down."""
        if self.journal is not None:
            self.journal.placed(placed(batch))
            for nameless in batch:
                nameless.noted = True

    def _remove_earlier(self, journal: Journal, admissions: Sequence[Admission]) -> None:
        if not journal.earlier_partials:
            return
        for admission in admissions:
            partial = journal.take_partial(admission.entry.path)
            if partial is not None:
                with contextlib.suppress(OSError):
                    path, at = self._handles.locate(admission.folder, partial.temporary)
                    if matches(os.stat(path, dir_fd=at, follow_symlinks=False), partial):
                        os.unlink(path, dir_fd=at)

    def _give_name(self, admission: Admission, attempt: Callable[[bytes], None]) -> None:
        try:
            attempt(admission.name)
        except FileExistsError:
            if admission.naming is not Naming.RENAME:
                raise collisions.taken(self._handles, admission.folder) from None
            admission.name = self._first_free(admission.name, attempt)
        collisions.note(self._handles, admission.folder, admission.name)

    def _first_free(self, name: bytes, attempt: Callable[[bytes], None]) -> bytes:
        for candidate in numbered(name, self._name_limit):
            with contextlib.suppress(FileExistsError):
                attempt(candidate)
                return candidate
        raise EntryError(Failure.EXISTS, "too many copies of it are already there")

    def _rename(self, admission: Admission, name: bytes, target: bytes) -> None:
        source, at = self._handles.locate(admission.folder, name)
        path, at = self._handles.locate(admission.folder, target)
        if admission.naming is Naming.REPLACE:
            if admission.ours is not None:
                _require_untouched(path, at, admission.ours)
            os.replace(source, path, src_dir_fd=at, dst_dir_fd=at)
        else:
            rename_new(source, path, at)


def _require_untouched(path: bytes, at: int | None, ours: Identity) -> None:
    """See that nobody wrote to what an earlier run put there since it was admitted."""
    with contextlib.suppress(FileNotFoundError):
        if Identity.of(os.stat(path, dir_fd=at, follow_symlinks=False)) != ours:
            raise EntryError(Failure.EXISTS, "it was changed here meanwhile, and was kept")


def _fill(nameless: Nameless, fd: int, small: SmallFile, *, sync: bool) -> None:
    """Write all that is to be in a file, and bring it to the disk with ``sync``."""
    _, data, mode, mtime_ns = small
    try:
        written = os.write(fd, data)
        if written < len(data):
            write_all(fd, written, [memoryview(data)[written:]])
        found = set_attributes(fd, mode, mtime_ns)
        if sync:
            os.fsync(fd)
        nameless.identity = Identity.of(found)
    except OSError as error:
        nameless.error = writing(error)
