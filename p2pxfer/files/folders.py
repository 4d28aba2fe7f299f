"""The folders of a tree that is being received: which one entries now go to, and when one is done.

Entries come depth first, so the folders that can still get entries are one chain from the root.
A folder is done when the chain has left it and every file below it is settled; only then are its
mode and mtime set, since writing into it would change them, or be forbidden. What is remembered
is the chain, and folders whose files are still under way. Then its names are brought to the disk as
well, or are with all of its filesystem at the very end. Files are not known here.
"""

from __future__ import annotations

import errno
import os
import stat

from p2pxfer.files.durable import sync_drive, sync_folder, syncs_whole
from p2pxfer.files.handles import HANDLES, Folder, FolderHandles
from p2pxfer.files.native import sync_filesystem
from p2pxfer.files.opening import Opened


class OutFolder(Folder):
    """One folder of the tree that is received.

    Attributes:
        path: relative to the root, components joined by ``/``; empty for the root.
        fresh: made by this transfer, so that nothing in it is anybody else's.
        device: number of the filesystem that holds it.
        attributes: mode and mtime in ns to set in the end, or None to leave it as it is; the same
            for the mtime.
        folds: whether two spellings can name one file in it; None until it was tried.
        claimed: where it folds, the inodes that names of this transfer stand for.
        pending: entries in it that are not settled.
        closed: no further entry may come into it.
    """

    __slots__ = ("attributes", "claimed", "closed", "device", "folds", "fresh", "path", "pending")

    parent: OutFolder | None

    def __init__(
        self,
        parent: OutFolder | None,
        name: bytes,
        path: bytes,
        *,
        fresh: bool,
        device: int,
        attributes: tuple[int, int | None] | None,
    ) -> None:
        super().__init__(parent, name)
        self.path = path
        self.fresh = fresh
        self.device = device
        self.attributes = attributes
        self.folds: bool | None = None
        self.claimed: set[int] = set()
        self.pending = 0
        self.closed = False

    def below(self, name: bytes) -> bytes:
        """The path of ``name`` in it, relative to the root."""
        return self.path + b"/" + name if self.path else name


class OutFolders:
    """The chain of open folders, and those that wait for their files.

    Args:
        base: the output directory; may be a symlink to one.
        limit: directory handles kept open at once.

    Raises:
        OSError: the base can't be opened as a directory.
    """

    def __init__(self, base: bytes, *, limit: int = HANDLES) -> None:
        found = os.stat(base)
        self.root = OutFolder(None, b"", b"", fresh=False, device=found.st_dev, attributes=None)
        self.handles = FolderHandles(base, self.root, limit=limit)
        self.attributes_lost = 0
        self._counts_links = found.st_nlink > 0  # not every filesystem does
        self._removed = False
        self._unsynced: OSError | None = None
        _, at = self.handles.locate(self.root)
        self._whole = {found.st_dev: at is not None and syncs_whole(at)}  # by device
        self._chain = [self.root]
        self._opened = Opened(self.handles)

    def enter(self, path: bytes) -> OutFolder | None:
        """The folder that has ``path``; None unless it is on the chain.

        Folders that the chain leaves on the way are closed: nothing more may come below them.
        """
        top = self._chain[-1]
        while top.path != path:
            if top is self.root or path.startswith(top.path + b"/"):
                return None
            self._chain.pop()
            self._close(top)
            top = self._chain[-1]
        return top

    def open(self, folder: OutFolder, found: os.stat_result) -> int | None:
        """Have ``folder``, found so, let us in until it is done; as of `Opened.open`."""
        return self._opened.open(folder, found)

    def add(self, folder: OutFolder) -> None:
        """Let entries come below ``folder``, whose parent `enter` has just given."""
        assert folder.parent is self._chain[-1]
        self._chain.append(folder)
        self.hold(self._chain[-2])

    def hold(self, folder: OutFolder) -> None:
        """One more entry of ``folder`` is under way."""
        folder.pending += 1

    def release(self, folder: OutFolder, entries: int = 1) -> None:
        """So many entries of ``folder`` are settled, one way or the other."""
        folder.pending -= entries
        self._finish(folder)

    def finish(self) -> None:
        """Close the whole chain. Folders that still wait are done when their files are settled."""
        while len(self._chain) > 1:
            self._close(self._chain.pop())

    def shut(self) -> None:
        """Close again what was opened and will not be done; nothing more is written."""
        self.attributes_lost += self._opened.close()

    def whole(self, folder: OutFolder) -> bool:
        """Whether all that is written into ``folder`` can be synced with its filesystem.

        Elsewhere each file is, and each folder. Found out once for each filesystem.
        """
        whole = self._whole.get(folder.device)
        if whole is None:
            try:
                _, at = self.handles.locate(folder)
            except OSError:  # syncing each is right in any case
                return False
            whole = self._whole[folder.device] = at is not None and syncs_whole(at)
        return whole

    def sync(self) -> None:
        """Bring to the disk what is not there yet, once all folders are done.

        Raises:
            OSError: a filesystem failed, now or earlier.
        """
        if self._unsynced is not None:
            raise self._unsynced
        self._sync(self.root)

    def all_there(self) -> bool:
        """Whether nobody has removed a folder, with what had arrived in it; told at the end."""
        return not (self._removed or self._is_gone(self.root))

    def _is_gone(self, folder: OutFolder) -> bool:
        try:
            path, at = self.handles.locate(folder)
            links = os.stat(path if at is None else at).st_nlink
        except FileNotFoundError:
            return True
        except OSError:  # something else has its name now, and what is in it tells of itself
            return False
        return links == 0 and self._counts_links and folder.device == self.root.device

    def _close(self, folder: OutFolder) -> None:
        folder.closed = True
        self._finish(folder)

    def _finish(self, folder: OutFolder) -> None:
        while folder.closed and folder.pending == 0 and folder.parent is not None:
            self._removed |= self._is_gone(folder)
            try:
                self._set_attributes(folder)
            except (OSError, OverflowError):
                self.attributes_lost += 1
            else:
                self._opened.done(folder)
            try:
                self._sync(folder)
            except OSError as error:
                self._unsynced = error
            self.handles.forget(folder)
            folder = folder.parent
            folder.pending -= 1

    def _sync(self, folder: OutFolder) -> None:
        """Bring what is in a folder that is done to the disk, if that is not done with one above.

        Names of an earlier run are in it, perhaps, that never got there: so it does not matter
        whether this one has made any.
        """
        top = folder.parent is None or folder.device != folder.parent.device
        whole = self.whole(folder)
        if whole and not top:
            return
        _, at = self.handles.locate(folder)
        if at is None:  # Windows has no handles on folders
            return
        if whole:
            sync_filesystem(at)
        if top:
            sync_drive(at)
        else:
            sync_folder(at)

    def _set_attributes(self, folder: OutFolder) -> None:
        if folder.attributes is None:
            return
        path, at = self.handles.locate(folder)
        mode, mtime_ns = folder.attributes
        found = os.stat(path if at is None else at)
        if not self._opened.is_there(folder, found):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if mtime_ns is not None:
            os.utime(path if at is None else at, ns=(mtime_ns, mtime_ns))
        if at is not None:
            # A group that folders here inherit (setgid) is this machine's choice, and stays.
            os.fchmod(at, mode & 0o3777 | found.st_mode & stat.S_ISGID)
