"""Temporaries that a run has left behind: finding and removing those of one journal.

They are reached through handles that follow no symlink below the output directory. What is taken
for one is a file of this user, with no second name, under the name that was drawn for it: 48 random
bits that nobody else draws. Numbers of device and inode would tell no more, and change when a disk
is mounted anew. Everything else is left alone; a folder on the way that is closed even to its owner
is open meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from p2pxfer.errors import UnsafeName
from p2pxfer.files.handles import Folder, FolderHandles
from p2pxfer.files.naming import is_temporary
from p2pxfer.files.opening import Opened
from p2pxfer.files.paths import NameRules, SafePath
from p2pxfer.files.records import Partial
from p2pxfer.files.state import is_ours

_LOOK = stat.S_IRUSR | stat.S_IXUSR  # what `FolderHandles` needs


class Leftover(NamedTuple):
    """One temporary that is there.

    Attributes:
        path: where, absolute.
        size: bytes that it takes on the disk.
    """

    path: bytes
    size: int


def leftovers(output: bytes, partials: Iterable[Partial]) -> list[Leftover]:
    """Which of ``partials`` are still there below the directory ``output``."""
    return [leftover for leftover, _, _ in _found(output, partials, _LOOK)]


def remove_leftovers(output: bytes, partials: Iterable[Partial]) -> list[Leftover]:
    """Remove them; returns those that are gone now."""
    removed = []
    for leftover, path, at in _found(output, partials, stat.S_IRWXU):
        with contextlib.suppress(OSError):
            os.unlink(path, dir_fd=at)
            removed.append(leftover)
    return removed


def is_away(output: bytes) -> bool:
    """Whether ``output`` is not there, or closed: its disk may not be mounted; nothing is known."""
    try:
        handles = FolderHandles(output, Folder(None, b""))
    except OSError:
        return True
    handles.close()
    return False


def matches(found: os.stat_result, partial: Partial) -> bool:
    """Whether what was found under the temporary's name is that temporary."""
    if not is_temporary(partial.temporary):
        return False
    # One that was only about to be made may have become a symlink, which is removed as such.
    return is_ours(found) or (partial.inode == 0 and stat.S_ISLNK(found.st_mode))


def _found(
    output: bytes, partials: Iterable[Partial], wanted: int
) -> Iterator[tuple[Leftover, bytes, int | None]]:
    root = Folder(None, b"")
    try:
        handles = FolderHandles(output, root)
    except OSError:
        return
    folders = {b"": root}
    opened = Opened(handles)
    try:
        for partial in partials:
            with contextlib.suppress(OSError, UnsafeName):
                parent = SafePath.parse(partial.path, NameRules.POSIX).parent
                folder = _folder(folders, parent)
                opened.reach(folder, wanted)
                path, at = handles.locate(folder, partial.temporary)
                found = os.stat(path, dir_fd=at, follow_symlinks=False)
                if matches(found, partial):
                    whole = os.path.join(output, parent, partial.temporary)
                    yield Leftover(whole, getattr(found, "st_blocks", 0) * 512), path, at
    finally:
        opened.close()
        handles.close()


def _folder(folders: dict[bytes, Folder], path: bytes) -> Folder:
    missing = []
    while path not in folders:
        missing.append(path)
        path = path.rpartition(b"/")[0]
    folder = folders[path]
    for below in reversed(missing):
        folder = folders[below] = Folder(folder, below.rpartition(b"/")[2])
    return folder
