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


def shut(handles: FolderHandles, folder: Folder, mode: int) -> bool:
    """Give a folder that was opened its mode again; whether it has that now."""
    try:
        path, at = handles.locate(folder)
        os.chmod(path if at is None else at, mode)
    except OSError:
        return False
    return True


class Opened:
    """Folders on the way to something, open until `close`.

    Args:
        handles: lead to them.
        wanted: what is to be done in them, as of `keeps_out`.
    """

    def __init__(self, handles: FolderHandles, wanted: int) -> None:
        self._handles = handles
        self._wanted = wanted
        self._reached: set[Folder] = {handles.root}
        self._opened: list[tuple[Folder, int]] = []  # with the mode that each had

    def reach(self, folder: Folder) -> None:
        """Open what keeps us out on the way to ``folder``, and that itself.

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
                and keeps_out(found, self._wanted)
                and open_up(self._handles, below.parent, below.name, found)
            ):
                self._opened.append((below, stat.S_IMODE(found.st_mode)))
            self._reached.add(below)

    def close(self) -> None:
        """Close them again, the innermost first: the way there leads through the others."""
        while self._opened:
            shut(self._handles, *self._opened.pop())
