"""Reading what is sent: one file as blocks, or many small ones in one go.

A file is opened from its argument's folder down, component by component, and no symlink is followed
on the way unless all are (``--symlinks follow``): one that is swapped in while sending leads
nowhere. Only regular files are opened; a pipe in a file's place does not block. Synchronous; one
thread at a time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

from p2pxfer.files.failures import EntryError, reading
from p2pxfer.files.handles import HANDLES, Folder, FolderHandles
from p2pxfer.manifest import MIN_BLOCK, Entry, Failure

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
        size: bytes, when it was opened; likewise ``mode`` (permission bits) and ``mtime_ns``.
    """

    __slots__ = ("_data_at", "_fd", "_hole_at", "mode", "mtime_ns", "size")

    def __init__(self, fd: int, found: os.stat_result) -> None:
        self._fd = fd
        self.size = found.st_size
        self.mode = stat.S_IMODE(found.st_mode)
        self.mtime_ns = found.st_mtime_ns
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
        if found.st_size != self.size or found.st_mtime_ns != self.mtime_ns:
            return Failure.CHANGED
        return Failure.VANISHED if found.st_nlink == 0 else None

    def close(self) -> None:
        """Close it; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Content(NamedTuple):
    """What `SourceTree.read_small` found.

    Attributes:
        size: bytes, when it was opened; likewise ``mode`` and ``mtime_ns``.
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
        self._base = b""
        self._chain: list[tuple[bytes, Folder]] = []  # folders from the base down, by their path

    def open(self, source: bytes, entry: Entry) -> SourceFile:
        """Open the file that the walk found at ``source`` and called ``entry``.

        Raises:
            EntryError: it is gone, forbidden, or a regular file no longer.
        """
        try:
            return SourceFile(*self._open(source, entry))
        except OSError as error:
            raise reading(error) from error

    def read_small(
        self, wanted: Sequence[tuple[bytes, Entry]], limit: int = SMALL
    ) -> list[Content]:
        """Read many files of at most ``limit`` bytes whole."""
        found = []
        for source, entry in wanted:
            try:
                found.append(self._read_whole(source, entry, limit))
            except OSError as error:
                refusal = reading(error)
                found.append(Content(failure=refusal.failure, reason=refusal.message))
            except EntryError as error:
                found.append(Content(failure=error.failure, reason=error.message))
        return found

    def close(self) -> None:
        """Let go of the folders; idempotent. Open files stay open."""
        if self._handles is not None:
            self._handles.close()
            self._handles = None
            self._chain.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _read_whole(self, source: bytes, entry: Entry, limit: int) -> Content:
        fd, before = self._open(source, entry)
        try:
            size, mode, mtime_ns = before.st_size, stat.S_IMODE(before.st_mode), before.st_mtime_ns
            if size > limit:
                return Content(size, mode, mtime_ns)
            data = pread(fd, size + 1, 0)
            after = os.fstat(fd)
        finally:
            os.close(fd)
        if len(data) != size or after.st_size != size or after.st_mtime_ns != mtime_ns:
            raise EntryError(Failure.CHANGED, "it changed while it was read")
        return Content(size, mode, mtime_ns, data)

    def _open(self, source: bytes, entry: Entry) -> tuple[int, os.stat_result]:
        _, _, inner = entry.path.partition(b"/")
        if not inner:  # an argument itself, which may be a symlink
            fd = os.open(source, _FLAGS)
        else:
            folder, name = self._folder(source, inner)
            assert self._handles is not None
            path, at = self._handles.locate(folder, name)
            fd = os.open(path, _FLAGS | (0 if self._follow else _NOFOLLOW), dir_fd=at)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise EntryError(Failure.CHANGED, "it is a regular file no longer")
        return fd, found

    def _folder(self, source: bytes, inner: bytes) -> tuple[Folder, bytes]:
        """The folder that holds the file at ``inner`` below its argument, and the file's name."""
        base = source[: -len(inner)]
        if self._handles is None or base != self._base:
            self.close()
            root = Folder(None, b"")
            self._handles = FolderHandles(base, root, limit=self._limit, follow=self._follow)
            self._base = base
            self._chain = [(b"", root)]
        directory, _, name = inner.rpartition(b"/")
        path, folder = self._chain[-1]
        while path != directory and path and not directory.startswith(path + b"/"):
            self._chain.pop()
            self._handles.forget(folder)
            path, folder = self._chain[-1]
        if path != directory:
            below = directory[len(path) + 1 :] if path else directory
            for component in below.split(b"/"):
                folder = Folder(folder, component)
                path = path + b"/" + component if path else component
                self._chain.append((path, folder))
        return folder, name


def pread(fd: int, length: int, offset: int) -> bytes:
    """Read what the system gives at once at ``offset``; empty at the end."""
    if _HAS_PREAD:
        return os.pread(fd, length, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, length)
