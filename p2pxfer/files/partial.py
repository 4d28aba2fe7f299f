"""One file being written: a temporary beside its target, readable by nobody else until it is whole.

Which folder it is in and how it gets its name is the tree's business (``writer.py``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Protocol

from p2pxfer.files.direct import DirectWriting
from p2pxfer.files.failures import reading, writing
from p2pxfer.files.native import punch_hole, start_writing
from p2pxfer.files.reader import pread
from p2pxfer.files.records import Identity
from p2pxfer.manifest import UNKNOWN_SIZE
from p2pxfer.ranges import RangeSet

Buffers = Sequence[bytes | bytearray | memoryview]

CREATE = (
    os.O_CREAT
    | os.O_EXCL
    | os.O_RDWR
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_MOST_BUFFERS = 1024  # IOV_MAX of Linux and macOS
_ZEROS = bytes(256 * 1024)
_WRITTEN_TOGETHER = 8 * 1024 * 1024  # bytes; so much at once is no slower than all at the end


class Home(Protocol):
    """Who gives a finished file its name."""

    def commit_one(self, partial: PartialFile, mode: int, mtime_ns: int) -> bytes:
        """Make it durable and name it; returns the name."""

    def drop(self, partial: PartialFile) -> None:
        """Remove it."""


class PartialFile:
    """A file under way; made by `OutputTree.open_file`, or found by `OutputTree.adopt`.

    Attributes:
        size: bytes it will have; `UNKNOWN_SIZE` for a stream.
        written: the furthest byte written or left as a hole.
        stale: bytes of an earlier run that it began with: what is in them must be written, left as
            a hole, or said to be right (`keep`) before it can be committed.
    """

    __slots__ = ("_begun", "_direct", "_end", "_sure", "fd", "home", "size", "stale", "written")

    def __init__(self, fd: int, size: int, home: Home, *, stale: int = 0) -> None:
        self.fd = fd
        self.size = size
        self.written = 0
        self.home = home
        self.stale = stale
        self._direct = DirectWriting(fd)
        self._sure = RangeSet()
        self._begun = self._end = 0  # between them is what the disk was not told of yet

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset`` on; fewer where the file ends by now.

        Raises:
            EntryError: it can't be read.
        """
        try:
            data = pread(self.fd, length, offset)
            while len(data) < length:
                more = pread(self.fd, length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise reading(error) from error
        return data

    def write_at(self, offset: int, buffers: Buffers) -> None:
        """Write ``buffers`` one after another from ``offset`` on.

        Raises:
            ValueError: past the file's size.
            EntryError: the disk said no.
        """
        length = sum(map(len, buffers))
        self.check(offset, length)
        try:
            done = self._direct.write(offset, buffers)
            if done < length:
                write_all(self.fd, offset + done, _from(buffers, done))
        except OSError as error:
            raise writing(error) from error
        self._reach(offset, length)
        if offset != self._end:
            self._begun = offset
        self._end = offset + length
        if self._end - self._begun >= _WRITTEN_TOGETHER:
            start_writing(self.fd, self._begun, self._end - self._begun)
            self._begun = self._end

    def hole(self, offset: int, length: int) -> None:
        """Leave ``length`` zeros at ``offset``, without storing them where that can be had.

        In this run nothing was written there; what an earlier one has left there is wiped.

        Raises:
            ValueError: past the file's size.
            EntryError: the disk said no.
        """
        self.check(offset, length)
        stale = min(offset + length, self.stale) - offset
        try:
            if stale > 0 and not punch_hole(self.fd, offset, stale):
                for start in range(0, stale, len(_ZEROS)):
                    zeros = memoryview(_ZEROS)[: stale - start]
                    write_all(self.fd, offset + start, [zeros])
        except OSError as error:
            raise writing(error) from error
        self._reach(offset, length)

    def keep(self, offset: int, length: int) -> None:
        """What is at ``offset`` was compared and is right.

        Raises:
            ValueError: past the file's size.
        """
        self.check(offset, length)
        self._reach(offset, length)

    def check(self, offset: int, length: int) -> None:
        """Refuse what is not within the file.

        Raises:
            ValueError: past its size.
        """
        end = offset + length
        if offset < 0 or (end > self.size and self.size != UNKNOWN_SIZE):
            raise ValueError(f"[{offset}, {end}) is not within {self.size} bytes")

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

    def seal(self, mode: int, mtime_ns: int, *, sync: bool) -> Identity:
        """Set the final size, mode and mtime; returns which file it is from now on.

        Raises:
            ValueError: bytes of an earlier run are in it that nobody said were right.
            OSError: the size can't be set, or the bytes can't be synced. Attributes that the
                filesystem does not take are no failure.
        """
        if self._sure.missing(0, min(self.stale, self.size)).total():
            raise ValueError("bytes of an earlier run would be taken for the sender's")
        os.ftruncate(self.fd, self.written if self.size == UNKNOWN_SIZE else self.size)
        set_attributes(self.fd, mode, mtime_ns)
        if sync:
            os.fsync(self.fd)
        return Identity.of(os.fstat(self.fd))

    def _reach(self, offset: int, length: int) -> None:
        self.written = max(self.written, offset + length)
        if self.stale:
            self._sure.add(offset, offset + length)


def set_attributes(fd: int, mode: int, mtime_ns: int) -> os.stat_result:
    """Set a file's permissions, never setuid, setgid or sticky, and its mtime, where possible.

    Returns:
        What it is then, but perhaps for its permissions.

    Raises:
        OSError: it can't be looked at.
    """
    try:  # noqa: SIM105  # there may be very many files
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    except (OSError, OverflowError):
        pass
    found = os.fstat(fd)
    if found.st_mode & 0o7777 != mode & 0o777:
        with contextlib.suppress(OSError, AttributeError):  # Windows lacks it
            os.fchmod(fd, mode & 0o777)
    return found


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


def _from(buffers: Buffers, done: int) -> Buffers:
    """What is left of ``buffers`` after ``done`` bytes."""
    rest = []
    for buffer in buffers:
        if done < len(buffer):
            rest.append(memoryview(buffer)[done:] if done else buffer)
        done = max(0, done - len(buffer))
    return rest


def write_stream(fd: int, buffers: Buffers) -> int:
    """Write all of ``buffers`` where ``fd`` is; returns how many bytes that were."""
    for buffer in buffers:
        view = memoryview(buffer)
        while view:
            view = view[os.write(fd, view) :]
    return sum(map(len, buffers))
