"""From temporary to name: making temporaries, bringing them to the disk, putting them in place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

from p2pxfer.files import collisions
from p2pxfer.files.admission import Admission, Naming
from p2pxfer.files.failures import EntryError, writing
from p2pxfer.files.handles import FolderHandles
from p2pxfer.files.naming import numbered, temporary
from p2pxfer.files.native import CAN_SYNC_FILESYSTEM, rename_new, sync_filesystem
from p2pxfer.files.partial import CREATE
from p2pxfer.manifest import Failure

SYNC_EACH = 3  # up to so many files are synced one by one, more of them with their filesystem


class Placing:
    """Names in the folders of one tree.

    Args:
        handles: the tree's.
        name_limit: bytes in a name.
    """

    def __init__(self, handles: FolderHandles, name_limit: int) -> None:
        self._handles = handles
        self._name_limit = name_limit

    def create(self, admission: Admission) -> tuple[bytes, int]:
        """A new empty temporary beside the target, 0600: its name and descriptor.

        Raises:
            OSError: it can't be made.
        """
        while True:
            name = temporary(admission.name, self._name_limit)
            path, at = self._handles.locate(admission.folder, name)
            with contextlib.suppress(FileExistsError):
                return name, os.open(path, CREATE, 0o600, dir_fd=at)

    def remove(self, admission: Admission, name: bytes) -> None:
        """Remove the temporary ``name``, if it can be done."""
        with contextlib.suppress(OSError):
            path, at = self._handles.locate(admission.folder, name)
            os.unlink(path, dir_fd=at)

    def syncs_together(self, count: int) -> bool:
        """Whether `sync` serves ``count`` files better than an fsync each.

        Measured on ext4 over virtio: 256 files of 4 KiB take 10 ms with their filesystem, 70 ms
        one by one.
        """
        return count > SYNC_EACH and CAN_SYNC_FILESYSTEM

    def sync(self, admissions: Iterable[Admission]) -> EntryError | None:
        """Bring all that was written to the filesystems of ``admissions`` to the disk."""
        places = {admission.folder.device: admission.folder for admission in admissions}
        try:
            for folder in places.values():
                _, at = self._handles.locate(folder)
                if at is not None:
                    sync_filesystem(at)
        except OSError as error:
            return writing(error)
        return None

    def place(self, admission: Admission, name: bytes) -> EntryError | None:
        """Give the temporary ``name`` its target's name, or remove it and say why not."""
        try:
            self._give_name(admission, lambda target: self._rename(admission, name, target))
        except OSError as error:
            self.remove(admission, name)
            return writing(error)
        except EntryError as error:
            self.remove(admission, name)
            return error
        return None

    def link(self, admission: Admission, target: bytes) -> None:
        """Make a symlink that leads to ``target``.

        Raises:
            EntryError: its name is taken.
            OSError: it can't be made.
        """
        if admission.naming is Naming.REPLACE:
            name = temporary(admission.name, self._name_limit)
            self._symlink(admission, target, name)
            outcome = self.place(admission, name)
            if outcome is not None:
                raise outcome
            return
        self._give_name(admission, lambda name: self._symlink(admission, target, name))

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
            os.replace(source, path, src_dir_fd=at, dst_dir_fd=at)
        else:
            rename_new(source, path, at)

    def _symlink(self, admission: Admission, target: bytes, name: bytes) -> None:
        path, at = self._handles.locate(admission.folder, name)
        os.symlink(target, path, dir_fd=at)
