"""Folders whose mode keeps even their owner out: opened for a while, and closed again.

They are reached through handles that follow no symlink. When that is wanted, and of which folders,
is not known here.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from p2pxfer.files.handles import Folder, FolderHandles

_LEADING = getattr(os, "O_PATH", 0)  # 0 where there is none


class _Former(NamedTuple):
    """What a folder was before it was opened: its mode, and which one it is."""

    mode: int
    device: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> _Former:
        return cls(stat.S_IMODE(found.st_mode), found.st_dev, found.st_ino)

    def is_same(self, found: os.stat_result) -> bool:
        return (self.device, self.inode) == (found.st_dev, found.st_ino)


def keeps_out(found: os.stat_result, wanted: int = stat.S_IRWXU) -> bool:
    """Whether a folder's mode keeps its owner from any of what is ``wanted`` (S_IRUSR, …)."""
    return found.st_mode & wanted != wanted


class Opened:
    """Folders that are open until `close`, unless they are done before.

    Args:
        handles: lead to them.
    """

    def __init__(self, handles: FolderHandles) -> None:
        self._handles = handles
        self._reached: set[Folder] = {handles.root}
        self._former: dict[Folder, _Former] = {}  # an outer one before what is in it

    def open(self, folder: Folder, found: os.stat_result) -> int | None:
        """Have ``folder`` let us in, which keeps us out.

        One that is not readable has a handle that only leads there (open(2), O_PATH), on Linux.

        Args:
            folder: which.
            found: what is there now.

        Returns:
            The mode that it had, or None if it is not open: somebody else's, perhaps, or swapped.

        Raises:
            OSError: there is no way to its parent.
        """
        assert folder.parent is not None
        path, at = self._handles.locate(folder.parent, folder.name)
        if at is None or not _can_be_closed_again(found):  # Windows' folders have no such modes
            return None
        former = _Former.of(found)
        wanted = os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
        readable = found.st_mode & stat.S_IRUSR
        try:
            fd = os.open(path, wanted | (os.O_RDONLY if readable else _LEADING), dir_fd=at)
            try:
                if not former.is_same(os.fstat(fd)):
                    return None
                where = fd if readable else b"/proc/self/fd/%d" % fd
                os.chmod(where, former.mode | stat.S_IRWXU)
            finally:
                os.close(fd)
        except OSError:  # what follows will say
            return None
        self._former[folder] = former
        return former.mode

    def is_there(self, folder: Folder, found: os.stat_result) -> bool:
        """Whether what was found in the place of ``folder`` is what was opened, if it was."""
        return folder not in self._former or self._former[folder].is_same(found)

    def done(self, folder: Folder) -> None:
        """It has the mode that it is to have, whether or not it was opened."""
        self._former.pop(folder, None)

    def reach(self, folder: Folder, wanted: int) -> None:
        """Open what keeps us out on the way to ``folder``, and that itself.

        Args:
            folder: where to.
            wanted: what is to be done in each, as of `keeps_out`; the same each time.

        Raises:
            OSError: something on the way is not there.
        """
        way: list[Folder] = []
        while folder not in self._reached:
            assert folder.parent is not None
            way.append(folder)
            folder = folder.parent
        for below in reversed(way):
            assert below.parent is not None
            path, at = self._handles.locate(below.parent, below.name)
            found = os.stat(path, dir_fd=at, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) and keeps_out(found, wanted):
                self.open(below, found)
            self._reached.add(below)

    def close(self) -> int:
        """Close them again, the innermost first: the way there leads through the others.

        Returns:
            How many could not be, or are not there any more; idempotent.
        """
        lost = 0
        while self._former:
            folder, former = self._former.popitem()
            try:
                _, at = self._handles.locate(folder)
                assert at is not None
                if former.is_same(os.fstat(at)):
                    os.chmod(at, former.mode)
                    continue
            except OSError:
                pass
            lost += 1
        return lost


def _can_be_closed_again(found: os.stat_result) -> bool:
    """Whether it is this user's, who may set all of the mode that it has (chmod(2), S_ISGID)."""
    if found.st_uid != os.geteuid():
        return False
    groups = (os.getegid(), *os.getgroups())
    return not found.st_mode & stat.S_ISGID or found.st_gid in groups
