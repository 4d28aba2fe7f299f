"""From temporary to name: making temporaries, bringing them to the disk, putting them in place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

from p2pxfer.files import collisions
from p2pxfer.files.admission import Admission, Naming
from p2pxfer.files.closing import close_all
from p2pxfer.files.failures import EntryError, writing
from p2pxfer.files.folders import OutFolder
from p2pxfer.files.handles import FolderHandles
from p2pxfer.files.journal import Journal
from p2pxfer.files.leftovers import matches
from p2pxfer.files.nameless import Batch, Nameless, SmallFile
from p2pxfer.files.naming import numbered, temporary
from p2pxfer.files.native import CAN_SYNC_FILESYSTEM, rename_new, sync_filesystem
from p2pxfer.files.partial import CREATE, set_attributes, write_all
from p2pxfer.files.records import Identity, Partial, Placed
from p2pxfer.files.unnamed import UnnamedFiles, best_together, link_at, make_at, most_folders
from p2pxfer.manifest import Failure

SYNC_EACH = 3  # up to so many files are synced one by one, more of them with their filesystem

_REPLACE = Naming.REPLACE  # a look into the enumeration for each file takes its time


class Placing:
    """Names in the folders of one tree.

    Args:
        handles: the tree's.
        name_limit: bytes in a name.

    Attributes:
        journal: takes down what is made before it is made, and named before it is named.
    """

    def __init__(self, handles: FolderHandles, name_limit: int) -> None:
        self._handles = handles
        self._name_limit = name_limit
        self.journal: Journal | None = None
        self._syncing: ThreadPoolExecutor | None = None
        self._unnamed = UnnamedFiles(handles)
        self._filesystems: dict[int, int] = {}  # a handle on each, by device

    def close(self) -> None:
        """Let go of the thread that syncs, and of what it syncs; idempotent."""
        if self._syncing is not None:
            self._syncing.shutdown()
            self._syncing = None
        self._unnamed.finish()
        while self._filesystems:
            os.close(self._filesystems.popitem()[1])

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

        Nothing is linked in another's place, so what replaces a file is a temporary in any case.
        """
        if self.journal is not None:
            self._remove_earlier(self.journal, [small.admission for small in batch])
        written: list[Nameless] = []
        named: list[tuple[Nameless, SmallFile]] = []
        folder = at = taken = None
        left = 0
        for small in batch:
            admission = small.admission
            nameless = Nameless(admission)
            written.append(nameless)
            if admission.folder is not folder:
                folder = admission.folder
                at = self._entered(folder)
                if at is not None and taken is None:
                    taken = left = self._unnamed.take(len(batch))
            if at is not None and left and admission.naming is not _REPLACE:
                try:
                    nameless.fd = make_at(at, small.mode & 0o777)
                except OSError:  # making a temporary will say what is wrong, if it fails as well
                    named.append((nameless, small))
                    continue
                left -= 1
                _fill(nameless, nameless.fd, small)
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
            self._watch([folder])
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
            _fill(nameless, fd, small)
            try:
                os.close(fd)
            except OSError as error:
                nameless.error = nameless.error or writing(error)

    def _intend(self, folder: OutFolder, name: bytes) -> None:
        if self.journal is not None:
            self.journal.intend([(folder.below(name), name)])

    def syncs_together(self, count: int) -> bool:
        """Whether `sync` serves ``count`` files better than an fsync each.

        Measured on ext4 over virtio: 256 files of 4 KiB take 10 ms with their filesystem, 70 ms
        one by one.
        """
        return count > SYNC_EACH and CAN_SYNC_FILESYSTEM

    def sync(self, admissions: Iterable[Admission]) -> EntryError | None:
        """Bring all that was written to the filesystems of ``admissions`` to the disk."""
        try:
            return _sync(self._places(admissions))
        except OSError as error:
            return writing(error)

    def begin_sync(self, files: list[Nameless], before: Sequence[Batch]) -> Batch:
        """Do the same in a thread of its own, which then names what has no name at all.

        So that is told the journal now, and found out with `place_all` whether it went well. A few
        files are synced one by one, at once.
        """
        batch = Batch(files, before)
        if not CAN_SYNC_FILESYSTEM:  # each was, as it was written
            return batch
        if not self.syncs_together(len(files)) and all(
            nameless.fd is not None for nameless in files
        ):
            for nameless in files:
                _sync_one(nameless)
            return batch
        try:
            places = self._places(nameless.admission for nameless in files)
        except OSError as error:
            batch.synced = Future()
            batch.synced.set_result(writing(error))
            return batch
        links = self._links(files)
        earlier = [each.synced for each in before if each.synced is not None]
        if self._syncing is None:
            self._syncing = ThreadPoolExecutor(1, "p2pxfer-sync")
        try:
            batch.synced = self._syncing.submit(
                _sync_and_link, places, links, earlier, self._unnamed.descriptors
            )
        except RuntimeError:  # no thread is to be had: nobody will run what was queued
            self._syncing = None
            batch.synced = Future()
            batch.synced.set_result(
                _sync_and_link(places, links, earlier, self._unnamed.descriptors)
            )
        return batch

    def _links(self, files: list[Nameless]) -> dict[int, list[Nameless]]:
        """What has no name, by handles of its own on the folders; nothing if these are many.

        Where names fold, each has to be noted before the next entry is judged: by the worker.
        """
        whole: dict[OutFolder, list[Nameless]] = {}
        for nameless in files:
            folder = nameless.admission.folder
            if nameless.fd is not None and nameless.error is None and not folder.folds:
                whole.setdefault(folder, []).append(nameless)
        links: dict[int, list[Nameless]] = {}
        if len(whole) > most_folders(best_together()):
            return links
        for folder, some in whole.items():
            with contextlib.suppress(OSError):  # then naming them will fail, and say why
                _, at = self._handles.locate(folder)
                assert at is not None
                links[os.dup(at)] = some
        if self.journal is not None:
            noted = list(chain.from_iterable(links.values()))
            self.journal.placed(_placed(noted))
            for nameless in noted:
                nameless.noted = True
        return links

    def _places(self, admissions: Iterable[Admission]) -> list[int]:
        """A handle of its own on each filesystem of ``admissions``.

        Raises:
            OSError: there is none.
        """
        folders = [admission.folder for admission in admissions]
        self._watch(folders)
        places: list[int] = []
        try:
            for device in {folder.device for folder in folders} & self._filesystems.keys():
                places.append(os.dup(self._filesystems[device]))  # noqa: PERF401  # one may fail
        except OSError:
            for place in places:
                os.close(place)
            raise
        return places

    def _watch(self, folders: Iterable[OutFolder]) -> None:
        """Have a handle on each of their filesystems, before they are written to.

        A sync tells of errors since its handle was opened, but for those that another program has
        been told of before: one that was opened later may be told of none.

        Raises:
            OSError: it can't be had.
        """
        for folder in folders:
            if folder.device not in self._filesystems:
                path, at = self._handles.locate(folder)
                if at is not None:
                    self._filesystems[folder.device] = os.open(path, os.O_RDONLY, dir_fd=at)

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
            self.journal.placed(_placed(nameless for nameless in batch if not nameless.noted))
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
                self.journal.placed(_placed([nameless]))
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


def _placed(batch: Iterable[Nameless]) -> list[Placed]:
    return [
        Placed((admission := nameless.admission).entry.path, admission.name, nameless.identity)
        for nameless in batch
        if nameless.error is None and nameless.identity is not None
    ]


def _fill(nameless: Nameless, fd: int, small: SmallFile) -> None:
    """Write all that is to be in a file."""
    _, data, mode, mtime_ns = small
    try:
        written = os.write(fd, data)
        if written < len(data):
            write_all(fd, written, [memoryview(data)[written:]])
        found = set_attributes(fd, mode, mtime_ns)
        if not CAN_SYNC_FILESYSTEM:
            os.fsync(fd)
        nameless.identity = Identity.of(found)
    except OSError as error:
        nameless.error = writing(error)


def _sync_one(nameless: Nameless) -> None:
    """Bring one that has a handle to the disk."""
    if nameless.error is None and nameless.fd is not None:
        try:
            os.fsync(nameless.fd)
        except OSError as error:
            nameless.error = writing(error)


def _sync_and_link(
    places: Sequence[int],
    links: Mapping[int, Sequence[Nameless]],
    before: Sequence[Future[EntryError | None]],
    descriptors: int,
) -> EntryError | None:
    """Sync, then name, unless files may be lost; what can't be named keeps its handle."""
    lost = _sync(places)
    safe = lost is None and all(earlier.result() is None for earlier in before)
    over: list[int] = []
    for at, some in links.items():
        for nameless in some if safe else ():
            fd = nameless.fd
            assert fd is not None
            try:
                link_at(fd, descriptors, at, nameless.admission.name)
            except OSError:  # naming it will fail again, and say why
                continue
            nameless.fd, nameless.linked = None, True
            over.append(fd)
        over.append(at)
    close_all(over)
    return lost


def _sync(places: Sequence[int]) -> EntryError | None:
    """Sync the filesystems of these handles, and close them."""
    lost = None
    for place in places:
        try:
            sync_filesystem(place)
        except OSError as error:
            lost = writing(error)
        finally:
            os.close(place)
    return lost
