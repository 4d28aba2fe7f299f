"""What goes wrong with one entry while the rest goes on, and what the system's errors mean.

The seam where `OSError` ends: above this room nobody reads an errno. Messages never quote a name;
whoever reports one has the entry.
"""

from __future__ import annotations

import errno

from p2pxfer.errors import LocalFileError
from p2pxfer.manifest import Failure

_READ = {
    errno.ENOENT: (Failure.VANISHED, "it is gone"),
    errno.ENOTDIR: (Failure.CHANGED, "a folder above it was replaced while sending"),
    errno.ELOOP: (Failure.CHANGED, "it was replaced by a symlink while sending"),
    errno.ESTALE: (Failure.VANISHED, "it is gone"),
}
_WRITE = {
    errno.ENOSPC: (Failure.NO_SPACE, "no space left on the disk"),
    errno.EDQUOT: (Failure.NO_SPACE, "the disk quota is used up"),
    errno.EFBIG: (Failure.NO_SPACE, "this filesystem can't hold a file of that size"),
    errno.ENAMETOOLONG: (Failure.UNSAFE_NAME, "the name is too long for this filesystem"),
    errno.EILSEQ: (Failure.UNSAFE_NAME, "this filesystem does not take such a name"),
    errno.ENOTDIR: (Failure.EXISTS, "something that is no folder is in the way above it"),
    errno.ELOOP: (Failure.EXISTS, "a symlink is in the way above it"),
    errno.EISDIR: (Failure.EXISTS, "a folder is in the way"),
    errno.EEXIST: (Failure.EXISTS, "something of that name is already there"),
}


class EntryError(LocalFileError):
    """One entry can't be read or written; ``failure`` is what the other side is told."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


def reading(error: OSError) -> EntryError:
    """What ``error`` means for an entry that is being read."""
    return _translated(error, _READ, Failure.UNREADABLE, "it can't be read")


def writing(error: OSError) -> EntryError:
    """What ``error`` means for an entry that is being written."""
    return _translated(error, _WRITE, Failure.WRITE_FAILED, "it can't be written")


def _translated(
    error: OSError, known: dict[int, tuple[Failure, str]], otherwise: Failure, what: str
) -> EntryError:
    if error.errno in known:
        return EntryError(*known[error.errno])
    reason = error.strerror or type(error).__name__
    return EntryError(otherwise, f"{what}: {reason[:1].lower()}{reason[1:]}")
