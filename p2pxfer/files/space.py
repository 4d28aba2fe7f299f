"""How much room a filesystem has left. Knows nothing of what is to be put there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from msgspec import Struct

from p2pxfer.errors import LocalFileError, NoSpace


class Space(Struct, frozen=True):
    """Room for an ordinary user: ``size`` in bytes; ``inodes`` None where nothing limits them."""

    size: int
    inodes: int | None

    def require(self, size: int, inodes: int = 0) -> None:
        """Check that ``size`` bytes and ``inodes`` further files and folders fit.

        Raises:
            NoSpace: with both figures.
        """
        if size > self.size:
            raise NoSpace(f"{size:,} bytes are to come, and the disk has room for {self.size:,}")
        if self.inodes is not None and inodes > self.inodes:
            raise NoSpace(
                f"{inodes:,} files and folders are to come, and the disk takes {self.inodes:,} more"
            )


def free_space(where: int | bytes | Path) -> Space:
    """The room on the filesystem of ``where``: a descriptor, or a path that need not exist yet.

    Of a missing path the nearest parent that exists is asked.

    Raises:
        LocalFileError: it can't be told.
    """
    try:
        if isinstance(where, int):
            return _of(where)
        path = Path(os.fsdecode(where)).absolute()
        while not path.exists() and path != path.parent:
            path = path.parent
        return _of(path)
    except OSError as error:
        raise LocalFileError(f"the free space can't be told: {error.strerror}") from error


def _of(where: int | Path) -> Space:
    if not hasattr(os, "statvfs"):  # Windows
        return Space(shutil.disk_usage(where).free, None)
    found = os.statvfs(where)
    # Filesystems that make inodes as they go (btrfs, some network ones) say 0 in all.
    return Space(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)
