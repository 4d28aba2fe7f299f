"""What it takes until the disk has something for good, by system and by filesystem.

Handles come in, nothing of what they are for is known here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys

from p2pxfer.files.native import filesystem_type

# Whose syncfs(2) brings all that was written to the disk and tells what was lost (linux/magic.h).
# Any other's may do nothing, and say that it went well: so it is with FUSE, whose servers are not
# told. NFS writes a file back when it is closed in any case, so there is little to win.
# With overlayfs what the disk below lost is told by fsync, but need not be by syncfs.
_WHOLE = frozenset(
    (
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # XFS
        0x9123683E,  # Btrfs
        0xF2F52010,  # F2FS
        0x2FC12FC1,  # ZFS
        0xCA451A4E,  # bcachefs
        0x01021994,  # tmpfs
        0x858458F6,  # ramfs
    )
)
_TELLS = (5, 8)  # Linux; before, syncfs(2) kept most errors of the disk to itself
_NOTHING_TO_SYNC = frozenset(  # fsync(2): a pipe, a terminal, a filesystem without such a call
    (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY)
)


def syncs_whole(fd: int) -> bool:
    """Whether `sync_filesystem` does for all on ``fd``'s filesystem what fsync does for a file."""
    return _tells_what_is_lost() and filesystem_type(fd) in _WHOLE


def sync_folder(fd: int) -> None:
    """Bring the names in a folder to the disk, where its filesystem has a way to.

    Raises:
        OSError: the disk failed.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NOTHING_TO_SYNC:
            raise


def sync_drive(fd: int) -> None:
    """Bring a file or a folder to the disk, and with it what the drive keeps in memory.

    Linux and Windows have the drive do so at each fsync, macOS only here (fcntl(2), F_FULLFSYNC);
    there it also saves what was synced before.

    Raises:
        OSError: the disk failed.
    """
    sync_folder(fd)
    if sys.platform == "win32":
        return
    import fcntl  # noqa: PLC0415  # Windows lacks it

    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is None:
        return
    try:
        fcntl.fcntl(fd, full)
    except OSError as error:
        if error.errno not in _NOTHING_TO_SYNC:
            raise


def sync_output(fd: int) -> None:
    """The same for what a stream was written to, if that is a file or a disk.

    Raises:
        OSError: the disk failed.
    """
    kind = os.fstat(fd).st_mode
    if stat.S_ISREG(kind) or stat.S_ISBLK(kind):
        sync_drive(fd)


def make_folders(path: bytes) -> None:
    """Make a folder and those above it that are missing, each with its name on the disk.

    Raises:
        OSError: they can't be made, or the disk failed.
    """
    missing: list[bytes] = []
    above = path
    while not os.path.lexists(above) and os.path.dirname(above) != above:
        missing.append(above)
        above = os.path.dirname(above)
    os.makedirs(path, exist_ok=True)
    for folder in reversed(missing):
        with contextlib.suppress(PermissionError):  # one that may be written, but not read
            _sync_names(os.path.dirname(folder))


def _sync_names(folder: bytes) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows has no handles on folders
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not syncs_whole(fd):  # else it is synced with what comes
            sync_folder(fd)
    finally:
        os.close(fd)


def _tells_what_is_lost() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return version is not None and (int(version[1]), int(version[2])) >= _TELLS
