"""Folders whose mode keeps even their owner out: opened for a while, and closed again.

They are reached through handles that follow no symlink. When that is wanted, and of which folders,
is not known here.
"""

from __future__ import annotations

import os
import stat

from p2pxfer.files.handles import Folder, FolderHandles

_LEADING = getattr(os, "O_PATH", 0)  # 0 where there is none


def keeps_out(found: os.stat_result, wanted: int = stat.S_IRWXU) -> bool:
    """Whether a folder's mode keeps its owner from any of what is ``wanted`` (S_IRUSR, …)."""
    return found.st_mode & wanted != wanted


def open_up(handles: FolderHandles, parent: Folder, name: bytes, found: os.stat_result) -> bool:
    """Have the folder ``name`` in ``parent`` let us in; whether it does.

    One that is not readable has a handle that only leads there (open(2), O_PATH), on Linux.

    Args:
        handles: lead to the parent.
        parent: the folder it is in.
        name: its own.
        found: what is there now.

    Raises:
        OSError: there is no way to the parent.
    """
    path, at = handles.locate(parent, name)
    if at is None:  # Windows, where folders have no such modes
        return False
    wanted = os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
    readable = found.st_mode & stat.S_IRUSR
    try:
        fd = os.open(path, wanted | (os.O_RDONLY if readable else _LEADING), dir_fd=at)
        try:
            mode = stat.S_IMODE(os.fstat(fd).st_mode) | stat.S_IRWXU
            os.chmod(fd if readable else b"/proc/self/fd/%d" % fd, mode)
        finally:
            os.close(fd)
    except OSError:  # somebody else's, perhaps: what follows will say
        return False
    return True


class Opened:
    """Folders that are open until `close`, unless they are done before.

    Args:
        handles: lead to them.
    """

    def __init__(self, handles: FolderHandles) -> None:
        self._handles = handles
        self._reached: set[Folder] = {handles.root}
        self._modes: dict[Folder, int] = {}  # that each had; an outer one before what is in it

    def add(self, folder: Folder, mode: int) -> None:
        """A folder was opened, which had ``mode``."""
        self._modes[folder] = mode

    def done(self, folder: Folder) -> None:
        """It has the mode that it is to have, whether or not it was opened."""
        self._modes.pop(folder, None)

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
            if (
                stat.S_ISDIR(found.st_mode)
                and keeps_out(found, wanted)
                and open_up(self._handles, below.parent, below.name, found)
            ):
                self.add(below, stat.S_IMODE(found.st_mode))
            self._reached.add(below)

    def close(self) -> int:
        """Close them again, the innermost first: the way there leads through the others.

        Returns:
            How many could not be; idempotent.
        """
        lost = 0
        while self._modes:
            folder, mode = self._modes.popitem()
            try:
                path, at = self._handles.locate(folder)
                os.chmod(path if at is None else at, mode)
            except OSError:
                lost += 1
        return lost
