"""Open handles on the folders of one tree, a bounded number of them, symlinks never followed.

A `Folder` is a place in the tree, known by its parent and its name; `FolderHandles` opens it
component by component from the base, so that neither a swapped-in symlink nor PATH_MAX matters.
The handles used last stay open. What the folders are for is not known here.

Where the system has no directory handles (Windows), the full path is used and each component is
looked at first: best effort, a swap in between is not caught.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections import OrderedDict

HANDLES = 48  # open at once: two trees and a connection fit into macOS' default of 256 descriptors
NAME_LIMIT = 255  # bytes in a name where the filesystem does not say (NAME_MAX)
MANY = 4096  # files that a process may have open if it asks, on most systems at least
HAS_HANDLES = os.open in os.supports_dir_fd and hasattr(os, "O_DIRECTORY")

_BASE_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_BELOW_FLAGS = _BASE_FLAGS | getattr(os, "O_NOFOLLOW", 0)
_CLOSED = -1


def more_handles(wanted: int = MANY) -> int:
    """Let this process have ``wanted`` files open, where the system does if it is asked.

    Returns how many it may have now: fewer, if the administrator says so, or more.

    To be called before there are threads: Linux makes room for handles when they are needed, and
    each time lets whoever opens a file wait for all processors, some 10 ms, if it has any.
    """
    if sys.platform == "win32":
        return wanted  # only memory bounds them there
    import fcntl  # noqa: PLC0415  # Windows lacks both
    import resource  # noqa: PLC0415  # likewise

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not sys.platform.startswith("linux"):
        return wanted if soft == resource.RLIM_INFINITY else soft
    enough = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < enough:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    with contextlib.suppress(OSError):
        fd = os.open(os.devnull, os.O_RDONLY)
        try:
            os.close(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, enough - 1))
        finally:
            os.close(fd)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else soft


class Folder:
    """One folder of a tree: ``name`` in ``parent``, open as ``fd`` or not (-1)."""

    __slots__ = ("fd", "name", "parent")

    def __init__(self, parent: Folder | None, name: bytes) -> None:
        self.parent = parent
        self.name = name
        self.fd = _CLOSED


class FolderHandles:
    """Opens folders below ``base``, which may itself be reached through symlinks.

    Args:
        base: the tree's own directory.
        root: the `Folder` that stands for it; its name is not used.
        limit: handles kept open besides the base's.
        follow: let symlinks below the base lead where they will (a sender who asked for it).

    Raises:
        OSError: the base is missing, forbidden, or no directory.
    """

    def __init__(
        self, base: bytes, root: Folder, *, limit: int = HANDLES, follow: bool = False
    ) -> None:
        self._base = base
        self._limit = limit
        self._follow = follow
        self._flags = _BASE_FLAGS if follow else _BELOW_FLAGS
        self._open: OrderedDict[Folder, None] = OrderedDict()
        self._last = root
        self.root = root
        if HAS_HANDLES:
            root.fd = os.open(base, _BASE_FLAGS)
        elif not stat.S_ISDIR(os.stat(base).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def locate(self, folder: Folder, name: bytes = b".") -> tuple[bytes, int | None]:
        """Where ``name`` in ``folder`` is: a path, and the ``dir_fd`` it is relative to.

        The handle is good until the next few calls; do not keep it.

        Raises:
            OSError: a folder on the way is gone, forbidden, or is one no longer (a symlink).
        """
        if not HAS_HANDLES:
            return self._path(folder, name), None
        if folder is not self._last:
            if folder.fd == _CLOSED:
                self._reopen(folder)
            elif folder is not self.root:
                self._open.move_to_end(folder)
            self._last = folder
        return name, folder.fd

    def name_limit(self) -> int:
        """Bytes that a name may have in the base."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if HAS_HANDLES:
                return min(os.fpathconf(self.root.fd, "PC_NAME_MAX"), NAME_LIMIT)
        return NAME_LIMIT

    def forget(self, folder: Folder) -> None:
        """Close the handle of ``folder``, if any: it is not needed soon."""
        if self._last is folder:
            self._last = self.root
        if folder in self._open:
            del self._open[folder]
            os.close(folder.fd)
            folder.fd = _CLOSED

    def close(self) -> None:
        """Close every handle; idempotent."""
        for folder in list(self._open):
            self.forget(folder)
        if self.root.fd != _CLOSED:
            os.close(self.root.fd)
            self.root.fd = _CLOSED

    def _reopen(self, folder: Folder) -> None:
        closed = []
        at = folder
        while at.fd == _CLOSED:
            closed.append(at)
            if at.parent is None:
                raise OSError(errno.EBADF, "the tree is closed")
            at = at.parent
        for below in reversed(closed):
            below.fd = os.open(below.name, self._flags, dir_fd=at.fd)
            self._open[below] = None
            if len(self._open) > self._limit:
                oldest, _ = self._open.popitem(last=False)
                os.close(oldest.fd)
                oldest.fd = _CLOSED
                if self._last is oldest:
                    self._last = self.root
            at = below

    def _path(self, folder: Folder, name: bytes) -> bytes:
        names = []
        at = folder
        while at.parent is not None:
            names.append(at.name)
            at = at.parent
        path = self._base
        for component in reversed(names):
            path = os.path.join(path, component)
            if not self._follow and not stat.S_ISDIR(os.lstat(path).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return path if name == b"." else os.path.join(path, name)
