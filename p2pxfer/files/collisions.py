"""Two sent names that the target filesystem holds as one: ``A`` and ``a``, or é spelt two ways.

The filesystem itself is asked, folder by folder, since ext4 and NTFS fold by folder and a mount
may lie below the root. How it folds is never guessed: where it folds at all, two names collide
when they lead to the same inode.
"""

from __future__ import annotations

import contextlib
import os
import stat
import unicodedata
from collections.abc import Callable

from p2pxfer.files.failures import EntryError
from p2pxfer.files.folders import OutFolder
from p2pxfer.files.handles import NAME_LIMIT, FolderHandles
from p2pxfer.files.naming import temporary
from p2pxfer.manifest import Failure

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)


def folds(
    handles: FolderHandles, folder: OutFolder, intend: Callable[[bytes], None] = lambda _: None
) -> bool:
    """Whether ``folder`` takes two spellings for one name. Tried once, then remembered.

    A probe file is made and removed; the folder's mtime is put back.

    Args:
        handles: the tree's.
        folder: to be tried.
        intend: told the probe's name before it is made.
    """
    if folder.folds is None:
        try:
            folder.folds = _probe(handles, folder, intend)
        except OSError:  # nothing can be made here, so nothing can collide here
            folder.folds = False
    return folder.folds


def claim(handles: FolderHandles, folder: OutFolder, name: bytes, found: os.stat_result) -> bool:
    """Note that ``name`` of this transfer leads to ``found``, in a folder that folds.

    Returns:
        False when another name of this transfer already does.
    """
    if found.st_ino not in folder.claimed:
        folder.claimed.add(found.st_ino)
        return True
    if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
        return False
    path, at = handles.locate(folder)  # a hard link beside the other name is a file of its own
    return os.fsdecode(name) in os.listdir(path if at is None else at)


def _probe(handles: FolderHandles, folder: OutFolder, intend: Callable[[bytes], None]) -> bool:
    path, at = handles.locate(folder)
    before = os.stat(path, dir_fd=at)
    try:
        return _is_found_as(handles, folder, temporary("a\u00e9".encode(), NAME_LIMIT), intend)
    except OSError:  # a filesystem without such a character
        return _is_found_as(handles, folder, temporary(b"a", NAME_LIMIT), intend)
    finally:
        path, at = handles.locate(folder)
        with contextlib.suppress(OSError):
            os.utime(path if at is None else at, ns=(before.st_atime_ns, before.st_mtime_ns))


def _is_found_as(
    handles: FolderHandles, folder: OutFolder, probe: bytes, intend: Callable[[bytes], None]
) -> bool:
    name = probe.decode()
    intend(probe)
    path, at = handles.locate(folder, probe)
    os.close(os.open(path, _CREATE, 0o600, dir_fd=at))
    try:
        for other in (name.replace(".a", ".A"), unicodedata.normalize("NFD", name)):
            if other == name:
                continue
            with contextlib.suppress(OSError):
                path, at = handles.locate(folder, other.encode())
                os.stat(path, dir_fd=at, follow_symlinks=False)
                return True
        return False
    finally:
        path, at = handles.locate(folder, probe)
        os.unlink(path, dir_fd=at)


def note(handles: FolderHandles, folder: OutFolder, name: bytes) -> None:
    """``name`` of this transfer is in ``folder`` now: remember it where that counts."""
    if folder.folds:
        path, at = handles.locate(folder, name)
        folder.claimed.add(os.stat(path, dir_fd=at, follow_symlinks=False).st_ino)


def taken(handles: FolderHandles, folder: OutFolder) -> EntryError:
    """Why a name that nothing had when it was judged has something now."""
    if folds(handles, folder):
        return collision()
    return EntryError(Failure.EXISTS, "something of that name has appeared meanwhile")


def collision() -> EntryError:
    """Another entry has this name already, in another spelling."""
    return EntryError(
        Failure.COLLISION, "this filesystem takes it and another name of the transfer for one"
    )
