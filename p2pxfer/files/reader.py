"""Reading what is sent: one file as blocks, or many small ones in one go.

A file is opened from its argument's folder down, component by component, and no symlink is followed
on the way unless all are (``--symlinks follow``): one that is swapped in while sending leads
nowhere. Only regular files are sent; a pipe in a file's place does not block. Synchronous; one
thread at a time.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from msgspec import Struct

from p2pxfer.files.closing import close_all
from p2pxfer.files.failures import EntryError, reading
from p2pxfer.files.handles import HANDLES, Folder, FolderHandles
from p2pxfer.manifest import MIN_BLOCK, Entry, Failure, carried

TICK = 20_000_000  # nanoseconds: what a file system dates by is no later than that behind the clock
TOGETHER = 32  # files that were read and are closed together
SMALL = MIN_BLOCK  # bytes: a file of one block at most is read whole by `SourceTree.read_small`

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
_HAS_PREAD = hasattr(os, "pread")
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class SourceFile:
    """A regular file, open; made by `SourceTree.open`.

    Attributes:
        size: bytes, when it was opened; likewise ``mode`` (permission bits) and ``mtime_ns``, as
            an entry carries it.
    """

    __slots__ = ("_data_at", "_dated", "_fd", "_hole_at", "mode", "mtime_ns", "size")

    def __init__(self, fd: int, found: os.stat_result) -> None:
        self._fd = fd
        self.size = found.st_size
        self.mode = stat.S_IMODE(found.st_mode)
        self._dated = found.st_mtime_ns
        self.mtime_ns = carried(self._dated)
        self._hole_at = self._data_at = 0  # a hole known to be there: from one to the other

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset`` on.

        Raises:
            EntryError: the file ends before that by now, or can't be read.
        """
        try:
            data = pread(self._fd, length, offset)
            while len(data) < length:
                more = pread(self._fd, length - len(data), offset + len(data))
                if not more:
                    raise EntryError(Failure.CHANGED, "it became shorter while it was read")
                data += more
        except OSError as error:
            raise reading(error) from error
        return data

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill ``target`` with the bytes from ``offset`` on.

        Raises:
            EntryError: the file ends before that by now, or can't be read.
        """
        if not hasattr(os, "preadv"):
            target[:] = self.read_at(offset, len(target))
            return
        done = 0
        try:
            while done < len(target):
                more = os.preadv(self._fd, [target[done:]], offset + done)
                if not more:
                    raise EntryError(Failure.CHANGED, "it became shorter while it was read")
                done += more
        except OSError as error:
            raise reading(error) from error

    def is_hole(self, offset: int, length: int) -> bool:
        """Whether nothing is stored for these bytes, so that all are zeros; False if unknown."""
        if not self._hole_at <= offset < self._data_at:
            if not hasattr(os, "SEEK_DATA"):
                return False
            self._hole_at = offset
            try:
                self._data_at = os.lseek(self._fd, offset, os.SEEK_DATA)
            except OSError as error:
                # ENXIO: no data from here to the end (lseek(2)).
                self._data_at = self.size if error.errno == errno.ENXIO else offset
        return length > 0 and offset + length <= self._data_at

    def changed(self) -> Failure | None:
        """What has happened to the file since it was opened: nothing, changed, or deleted."""
        try:
            found = os.fstat(self._fd)
        except OSError:
            return Failure.UNREADABLE
        if found.st_size != self.size or found.st_mtime_ns != self._dated:
            return Failure.CHANGED
        return Failure.VANISHED if found.st_nlink == 0 else None

    def close(self) -> None:
        """Close it; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Content(Struct, frozen=True):
    """What `SourceTree.read_small` found.

    Attributes:
        size: bytes, when it was opened; likewise ``mode``, and ``mtime_ns`` as an entry carries it.
        data: all of them; None with a failure, or when the file has outgrown the limit and is to
            be opened and read in blocks.
        failure: why it can't be sent as a whole, or None.
        reason: the same for people.
    """

    size: int = 0
    mode: int = 0
    mtime_ns: int = 0
    data: bytes | None = None
    failure: Failure | None = None
    reason: str = ""


class SourceTree:
    """Opens what `walk` has found.

    Args:
        follow: symlinks were followed by the walk.
        handles: directory handles kept open at once.
    """

    def __init__(self, *, follow: bool = False, handles: int = HANDLES) -> None:
        self._follow = follow
        self._limit = handles
        self._handles: FolderHandles | None = None
        self._flags = _FLAGS | (0 if follow else _NOFOLLOW)
        self._base = b""
        self._chain: list[tuple[bytes, Folder]] = []  # folders from the base down, by their path
        self._place = b"", b""  # where the last file was: as listed, and here
        self._folder = Folder(None, b"")

    def open(self, source: bytes, entry: Entry) -> SourceFile:
        """Open the file that the walk found at ``source`` and called ``entry``.

        Raises:
            EntryError: it is gone, forbidden, or a regular file no longer.
        """
        try:
            fd = self._handle(source, entry)
            try:
                return SourceFile(fd, _regular(fd))
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            raise reading(error) from error

    def read_small(
        self, wanted: Sequence[tuple[bytes, Entry]], limit: int = SMALL
    ) -> list[Content]:
        """Read many files of at most ``limit`` bytes whole."""
        found: list[Content] = []
        read: list[int] = []
        try:
            for source, entry in wanted:
                try:
                    fd = self._handle_beside(read, source, entry)
                    read.append(fd)
                    found.append(self._read_whole(fd, entry, limit))
                except OSError as error:
                    refusal = reading(error)
                    found.append(Content(failure=refusal.failure, reason=refusal.message))
                except EntryError as error:
                    found.append(Content(failure=error.failure, reason=error.message))
                if len(read) == TOGETHER:
                    close_all(read)
                    read.clear()
        finally:
            close_all(read)
        return found

    def close(self) -> None:
        """Let go of the folders; idempotent. Open files stay open."""
        if self._handles is not None:
            self._handles.close()
            self._handles = None
            self._chain.clear()
            self._place = b"", b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _read_whole(self, fd: int, entry: Entry, limit: int) -> Content:
        listed = entry.size <= limit and not self._follow and b"/" in entry.path
        return (_as_listed(fd, entry) if listed else None) or _as_it_is(fd, limit)

    def _handle_beside(self, read: list[int], source: bytes, entry: Entry) -> int:
        """Open whatever is there; where no more may be open, those that were ``read`` no longer."""
        try:
            return self._handle(source, entry)
        except OSError as error:
            if not read or error.errno not in {errno.EMFILE, errno.ENFILE}:
                raise
        close_all(read)
        read.clear()
        return self._handle(source, entry)

    def _handle(self, source: bytes, entry: Entry) -> int:
        """Open whatever is there."""
        directory, below, name = entry.path.rpartition(b"/")
        if not below:  # an argument itself, which may be a symlink
            return os.open(source, _FLAGS)
        place = directory, source[: -len(name)]
        if place != self._place:
            self._folder = self._enter(source, entry.path)
            self._place = place
        assert self._handles is not None
        path, at = self._handles.locate(self._folder, name)
        return os.open(path, self._flags, dir_fd=at)

    def _enter(self, source: bytes, path: bytes) -> Folder:
        """The folder that holds the file with this path, below its argument."""
        _, _, inner = path.partition(b"/")
        base = source[: -len(inner)]
        if self._handles is None or base != self._base:
            self.close()
            root = Folder(None, b"")
            self._handles = FolderHandles(base, root, limit=self._limit, follow=self._follow)
            self._base = base
            self._chain = [(b"", root)]
        directory, _, _ = inner.rpartition(b"/")
        above, folder = self._chain[-1]
        while above != directory and above and not directory.startswith(above + b"/"):
            self._chain.pop()
            self._handles.forget(folder)
            above, folder = self._chain[-1]
        if above != directory:
            below = directory[len(above) + 1 :] if above else directory
            for component in below.split(b"/"):
                folder = Folder(folder, component)
                above = above + b"/" + component if above else component
                self._chain.append((above, folder))
        return folder


def _as_listed(fd: int, entry: Entry) -> Content | None:
    """All of a file that is still as it was listed; None where it is not, or can't be read.

    One look tells: afterwards it is as long and as old, and nothing about it, its date included,
    has changed of late (ctime, which nobody can set back; a server's clock may be another). What
    is no regular file any more was opened without waiting, and can't be read from a place.
    """
    began = time.time_ns() - TICK
    try:
        data = pread(fd, entry.size + 1, 0)
        found = os.fstat(fd)
    except OSError:
        return None
    size, mtime_ns, mode = len(data), carried(found.st_mtime_ns), found.st_mode
    if size != entry.size or size != found.st_size or mtime_ns != entry.mtime_ns:
        return None
    if found.st_ctime_ns >= began:
        return None
    return Content(size, stat.S_IMODE(mode), mtime_ns, data) if stat.S_ISREG(mode) else None


def _as_it_is(fd: int, limit: int) -> Content:
    """All of a file, as long as it does not change meanwhile.

    Raises:
        EntryError: it did, or is a regular file no longer.
    """
    before = _regular(fd)
    size, mode, mtime_ns = before.st_size, stat.S_IMODE(before.st_mode), carried(before.st_mtime_ns)
    if size > limit:
        return Content(size, mode, mtime_ns)
    data = pread(fd, size + 1, 0)
    after = os.fstat(fd)
    if len(data) != size or after.st_size != size or after.st_mtime_ns != before.st_mtime_ns:
        raise EntryError(Failure.CHANGED, "it changed while it was read")
    return Content(size, mode, mtime_ns, data)


def _regular(fd: int) -> os.stat_result:
    """What is known of an open file.

    Raises:
        EntryError: it is no regular one.
    """
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise EntryError(Failure.CHANGED, "it is a regular file no longer")
    return found


def pread(fd: int, length: int, offset: int) -> bytes:
    """Read what the system gives at once at ``offset``; empty at the end."""
    if _HAS_PREAD:
        return os.pread(fd, length, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, length)
