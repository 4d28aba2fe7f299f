"""Files that have no name until they are whole, on the systems and filesystems that have such.

Linux makes them (open(2), O_TMPFILE) and lets them be linked to a name. Nobody can open one before,
a killed process leaves nothing of it, and a folder changes once for each, not three times as for a
temporary that is renamed. Where any of that can't be had, there are temporaries (``placing.py``).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

from p2pxfer.files.folders import OutFolder
from p2pxfer.files.handles import NAME_LIMIT, FolderHandles
from p2pxfer.files.naming import temporary
from p2pxfer.files.native import link_handle

_BATCHES = 3  # of a tree that are open at once: one is written, two are synced
_BATCH = 1024  # files, where as many may be open; each sync takes its time
_LEAST_BATCH = 64  # below that temporaries serve better
_SPARED = 256  # handles that are left to others
_DESCRIPTORS = "/proc/self/fd"  # its names lead to what has none elsewhere (open(2))
_TMPFILE = getattr(os, "O_TMPFILE", 0)
_CREATE = _TMPFILE | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)


class _Process:
    """How many this process has open: its trees, each in a thread, share what it may open."""

    lock = threading.Lock()
    open = 0


class UnnamedFiles:
    """Those of one tree.

    Args:
        handles: the tree's.
    """

    def __init__(self, handles: FolderHandles) -> None:
        self._handles = handles
        self._open = 0
        self._most = 0
        self._works: dict[int, bool] = {}  # by device
        # A handle on the folder in which each open file has a name, where that is what is needed.
        self._descriptors = -1

    def take(self, files: int) -> int:
        """How many of so many files may be open beside what is; they count as open from now on."""
        with _Process.lock:
            taken = max(0, min(files, self._most - _Process.open))
            _Process.open += taken
        self._open += taken
        return taken

    def works(self, folder: OutFolder, intend: Callable[[OutFolder, bytes], None]) -> bool:
        """Whether there are such files in ``folder``; tried once on each filesystem.

        Args:
            folder: where they are to be.
            intend: told the name of a file in the folder that is about to be made and removed.
        """
        works = self._works.get(folder.device)
        if works is None:
            self._most = _BATCHES * _open_together()
            works = self._works[folder.device] = self._try(folder, intend)
        return works

    def link(self, fd: int, folder: OutFolder, name: bytes) -> None:
        """Give it its name.

        Raises:
            FileExistsError: something has that name.
            OSError: it can't be had.
        """
        path, at = self._handles.locate(folder, name)
        assert at is not None
        link_at(fd, self._descriptors, at, path)

    @property
    def descriptors(self) -> int:
        """What `link_at` goes by; good until `finish`."""
        return self._descriptors

    def closed(self, files: int) -> None:
        """So many are closed, or were never made."""
        self._open -= files
        with _Process.lock:
            _Process.open -= files

    def finish(self) -> None:
        """Nothing of the tree is open any more; idempotent."""
        self.closed(self._open)
        if self._descriptors >= 0:
            os.close(self._descriptors)
            self._descriptors = -1

    def close(self, fd: int) -> None:
        """Let go of it: without a name it is gone."""
        self.closed(1)
        with contextlib.suppress(OSError):  # what is to stay was synced
            os.close(fd)

    def _try(self, folder: OutFolder, intend: Callable[[OutFolder, bytes], None]) -> bool:
        """Whether the folder's filesystem has such files, and links to them."""
        if not self._most:
            return False
        try:
            _, at = self._handles.locate(folder)
            assert at is not None
            fd = make_at(at, 0o600)
        except OSError:
            return False
        probe = temporary(b"", NAME_LIMIT)
        try:
            intend(folder, probe)
            self._link_first(fd, folder, probe)
        except OSError:
            return False
        finally:
            os.close(fd)
        with contextlib.suppress(OSError):
            path, at = self._handles.locate(folder, probe)
            os.unlink(path, dir_fd=at)
        return True

    def _link_first(self, fd: int, folder: OutFolder, name: bytes) -> None:
        """Give a file its name in either way, and stay with that way."""
        try:
            self.link(fd, folder, name)
        except OSError:
            if self._descriptors >= 0:
                raise
            self._descriptors = os.open(_DESCRIPTORS, os.O_RDONLY | os.O_DIRECTORY)
            self.link(fd, folder, name)


def make_at(at: int, mode: int) -> int:
    """A handle on a new one that can be linked into the folder ``at``.

    Args:
        at: a handle on the folder.
        mode: permission bits, from which the system takes those of the umask.

    Raises:
        OSError: there can be none.
    """
    return os.open(b".", _CREATE, mode, dir_fd=at)


def link_at(fd: int, descriptors: int, at: int, name: bytes) -> None:
    """Give it a name in the folder ``at``; errors as of `UnnamedFiles.link`.

    Args:
        fd: a handle on it.
        descriptors: a handle on `_DESCRIPTORS`; below 0 where the system needs none.
        at: a handle on the folder.
        name: one component.
    """
    if descriptors < 0:
        link_handle(fd, at, name)
        return
    os.link(b"%d" % fd, name, src_dir_fd=descriptors, dst_dir_fd=at)


def best_together() -> int:
    """How many small files serve best in one batch."""
    return _open_together() or _BATCH


def _open_together() -> int:
    """How many files of one batch may be open at once; 0 where none can be without a name."""
    if not _TMPFILE:
        return 0
    import resource  # noqa: PLC0415  # Windows lacks it

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _BATCHES * (_BATCH + most_folders(_BATCH)) + _SPARED
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _BATCH
    room = _BATCH * (soft - _SPARED) // (wanted - _SPARED)
    return room if room >= _LEAST_BATCH else 0


def most_folders(files: int) -> int:
    """On how many folders of a batch of so many files handles may be kept beside theirs."""
    return files // 4
