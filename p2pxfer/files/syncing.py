"""What is written on its way to the disk: file by file, or many with their filesystem in a thread.

That thread then names what has no name at all; anything else is named elsewhere (``placing.py``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

from p2pxfer.files.admission import Admission
from p2pxfer.files.closing import close_all
from p2pxfer.files.failures import EntryError, writing
from p2pxfer.files.folders import OutFolder, OutFolders
from p2pxfer.files.nameless import Batch, Nameless
from p2pxfer.files.native import sync_filesystem
from p2pxfer.files.unnamed import UnnamedFiles, best_together, link_at, most_folders

SYNC_EACH = 3  # up to so many files are synced one by one, more of them with their filesystem


class Syncing:
    """Brings what is written in one tree to the disk.

    Args:
        folders: the tree's.
        unnamed: those of the tree that have no names.
        note: told what the thread is about to name, before it does.
    """

    def __init__(
        self,
        folders: OutFolders,
        unnamed: UnnamedFiles,
        note: Callable[[Sequence[Nameless]], None],
    ) -> None:
        self._handles = folders.handles
        self._whole = folders.whole
        self._unnamed = unnamed
        self._note = note
        self._thread: ThreadPoolExecutor | None = None
        self._filesystems: dict[int, int] = {}  # a handle on each, by device, if it serves

    def close(self) -> None:
        """Let go of the thread that syncs, and of what it syncs; idempotent."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        while self._filesystems:
            os.close(self._filesystems.popitem()[1])

    def watch(self, folders: Iterable[OutFolder]) -> None:
        """Have a handle on each filesystem that `sync` serves, before these are written to.

        A sync tells of errors since its handle was opened, but for those that another program has
        been told of before: one that was opened later may be told of none.

        Raises:
            OSError: it can't be had.
        """
        for folder in folders:
            if folder.device not in self._filesystems and self._whole(folder):
                path, at = self._handles.locate(folder)
                if at is not None:
                    self._filesystems[folder.device] = os.open(path, os.O_RDONLY, dir_fd=at)

    def together(self, admissions: Sequence[Admission]) -> bool:
        """Whether `sync` serves these files, and better than an fsync each.

        Measured on ext4 over virtio: 256 files of 4 KiB take 10 ms with their filesystem, 70 ms
        one by one.
        """
        return len(admissions) > SYNC_EACH and all(
            self._whole(admission.folder) for admission in admissions
        )

    def sync(self, admissions: Iterable[Admission]) -> EntryError | None:
        """Bring all that was written to the filesystems of ``admissions`` to the disk."""
        try:
            return _sync(self._places(admissions))
        except OSError as error:
            return writing(error)

    def begin(self, files: list[Nameless], before: Sequence[Batch]) -> Batch:
        """Do the same in a thread of its own, which then names what has no name at all.

        So that is noted now, and `Placing.place_all` finds out whether it went well. A few files
        are synced one by one, at once.
        """
        batch = Batch(files, before)
        if not any(map(self._whole, {nameless.admission.folder for nameless in files})):
            return batch  # each was synced as it was written
        if len(files) <= SYNC_EACH and all(nameless.fd is not None for nameless in files):
            for nameless in files:
                _sync_one(nameless)
            return batch
        whole = _linked_together(files)
        self._note(list(chain.from_iterable(whole.values())))
        try:
            places = self._places(nameless.admission for nameless in files)
        except OSError as error:
            batch.synced = Future()
            batch.synced.set_result(writing(error))
            return batch
        links = self._links(whole)
        earlier = [each.synced for each in before if each.synced is not None]
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "p2pxfer-sync")
        try:
            batch.synced = self._thread.submit(
                _sync_and_link, places, links, earlier, self._unnamed.descriptors
            )
        except RuntimeError:  # no thread is to be had: nobody will run what was queued
            self._thread = None
            batch.synced = Future()
            batch.synced.set_result(
                _sync_and_link(places, links, earlier, self._unnamed.descriptors)
            )
        return batch

    def _links(self, whole: Mapping[OutFolder, list[Nameless]]) -> dict[int, list[Nameless]]:
        """The same by handles of its own on the folders, as far as these can be had."""
        links: dict[int, list[Nameless]] = {}
        for folder, some in whole.items():
            with contextlib.suppress(OSError):  # then naming them will fail, and say why
                _, at = self._handles.locate(folder)
                assert at is not None
                links[os.dup(at)] = some
        return links

    def _places(self, admissions: Iterable[Admission]) -> list[int]:
        """A handle of its own on each filesystem of ``admissions``.

        Raises:
            OSError: there is none.
        """
        folders = [admission.folder for admission in admissions]
        self.watch(folders)
        places: list[int] = []
        try:
            for device in {folder.device for folder in folders} & self._filesystems.keys():
                places.append(os.dup(self._filesystems[device]))  # noqa: PERF401  # one may fail
        except OSError:
            for place in places:
                os.close(place)
            raise
        return places


def _linked_together(files: Sequence[Nameless]) -> dict[OutFolder, list[Nameless]]:
    """What has no name, by its folder; nothing if these are many.

    Where names fold, each has to be noted before the next entry is judged: by the worker.
    """
    whole: dict[OutFolder, list[Nameless]] = {}
    for nameless in files:
        folder = nameless.admission.folder
        if nameless.fd is not None and nameless.error is None and not folder.folds:
            whole.setdefault(folder, []).append(nameless)
    return whole if len(whole) <= most_folders(best_together()) else {}


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
