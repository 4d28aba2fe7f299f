"""One file being written: a temporary beside its target, readable by nobody else until it is whole.

Which folder it is in and how it gets its name is the tree's business (``writer.py``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Protocol

from p2pxfer.files.failures import writing
from p2pxfer.manifest import UNKNOWN_SIZE

Buffers = Sequence[bytes | bytearray | memoryview]

CREATE = (
    os.O_CREAT
    | os.O_EXCL
    | os.O_WRONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_MOST_BUFFERS = 1024  # IOV_MAX of Linux and macOS


class Home(Protocol):
    """Who gives a finished file its name."""

    def commit_one(self, partial: PartialFile, mode: int, mtime_ns: int) -> bytes:
        """Make it durable and name it; returns the name."""

    def drop(self, partial: PartialFile) -> None:
        """Remove it."""


class PartialFile:
    """A file under way; made by `OutputTree.open_file`.

    Attributes:
        size: bytes it will have; `UNKNOWN_SIZE` for a stream.
        written: the furthest byte written or left as a hole.
    """

    __slots__ = ("fd", "home", "size", "written")

    def __init__(self, fd: int, size: int, home: Home) -> None:
        self.fd = fd
        self.size = size
        self.written = 0
        self.home = home

    def write_at(self, offset: int, buffers: Buffers) -> None:
        """Write ``buffers`` one after another from ``offset`` on.

        Raises:
            ValueError: past the file's size.
            EntryError: the disk said no.
        """
        self._reach(offset, sum(map(len, buffers)))
        try:
            write_all(self.fd, offset, buffers)
        except OSError as error:
            raise writing(error) from error

    def hole(self, offset: int, length: int) -> None:
        """Leave ``length`` zeros at ``offset``, which was never written to, without storing them.

        Raises:
            ValueError: past the file's size.
        """
        self._reach(offset, length)

    def commit(self, mode: int, mtime_ns: int) -> bytes:
        """Bring it to the disk, then give it its name; for many files see `OutputTree.commit`.

        Returns:
            The name it got: another one when it was to be renamed.

        Raises:
            EntryError: it is removed.
        """
        return self.home.commit_one(self, mode, mtime_ns)

    def discard(self) -> None:
        """Remove it; idempotent, and harmless after `commit`."""
        self.home.drop(self)

    def seal(self, mode: int, mtime_ns: int, *, sync: bool) -> None:
        """Set the final size, mode and mtime.

        Raises:
            OSError: the size can't be set, or the bytes can't be synced. Attributes that the
                filesystem does not take are no failure.
        """
        os.ftruncate(self.fd, self.written if self.size == UNKNOWN_SIZE else self.size)
        set_attributes(self.fd, mode, mtime_ns)
        if sync:
            os.fsync(self.fd)

    def _reach(self, offset: int, length: int) -> None:
        end = offset + length
        if offset < 0 or (end > self.size and self.size != UNKNOWN_SIZE):
            raise ValueError(f"[{offset}, {end}) is not within {self.size} bytes")
        self.written = max(self.written, end)


def set_attributes(fd: int, mode: int, mtime_ns: int) -> None:
    """Set a file's permissions, never setuid, setgid or sticky, and its mtime, where possible."""
    with contextlib.suppress(OSError, OverflowError):
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    with contextlib.suppress(OSError):
        os.fchmod(fd, mode & 0o777)


def write_all(fd: int, offset: int, buffers: Buffers) -> None:
    """Write all of ``buffers`` at ``offset``, however little the system takes at once."""
    if not hasattr(os, "pwritev"):
        os.lseek(fd, offset, os.SEEK_SET)
        write_stream(fd, buffers)
        return
    for first in range(0, len(buffers), _MOST_BUFFERS):
        some = buffers[first : first + _MOST_BUFFERS]
        length = sum(map(len, some))
        done = os.pwritev(fd, some, offset)
        if done < length:
            rest = memoryview(b"".join(some))
            while done < length:
                done += os.pwritev(fd, [rest[done:]], offset + done)
        offset += length


def write_stream(fd: int, buffers: Buffers) -> int:
    """Write all of ``buffers`` where ``fd`` is; returns how many bytes that were."""
    for buffer in buffers:
        view = memoryview(buffer)
        while view:
            view = view[os.write(fd, view) :]
    return sum(map(len, buffers))
