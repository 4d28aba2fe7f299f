"""Older copies: what is on the disk already and may hold blocks of the file that is to come.

A basis is a temporary of an earlier run, or the file that now has the target's name. Nothing is
believed of it but what is read and hashed now, and what was copied is hashed once more: a program
may write to it meanwhile without moving its mtime, through a mapping. Which blocks of it are wanted
is not known here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from p2pxfer.files.failures import EntryError, writing
from p2pxfer.files.folders import OutFolder
from p2pxfer.files.handles import FolderHandles
from p2pxfer.files.hashing import block_digest, file_root, zero_digest
from p2pxfer.files.leftovers import matches
from p2pxfer.files.partial import PartialFile, set_attributes
from p2pxfer.files.reader import SourceFile, pread
from p2pxfer.files.records import Identity, Partial
from p2pxfer.files.state import is_ours
from p2pxfer.manifest import Failure, block_size

_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
# What copy_file_range(2) says where it can't serve: other filesystems, old kernels, odd files.
_NO_RANGES = frozenset((errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM))


class Basis:
    """An older copy, open for reading.

    Attributes:
        size: bytes that it holds.
        identity: which file it is, as it was opened.
    """

    __slots__ = ("_fd", "_partial", "identity", "size")

    def __init__(self, fd: int, partial: PartialFile | None = None) -> None:
        found = os.fstat(fd)
        self.identity = Identity.of(found)
        self.size = found.st_size
        self._fd = fd
        self._partial = partial  # it is that file itself, whose descriptor is not ours to close

    @classmethod
    def of(cls, partial: PartialFile) -> Basis:
        """What an adopted file holds already."""
        return cls(partial.fd, partial)

    def digests(self, block_size: int, size: int) -> Iterator[bytes]:
        """The digests of its blocks, as a file of ``size`` bytes would be cut; lazily, in order.

        It ends at the first block that the basis does not hold whole. A last block that is short
        counts only where the basis ends as well: whoever names the size could else have every
        prefix digested, and so find out byte after byte. A block that is a hole costs no reading,
        and has the digest of zeros.

        Args:
            block_size: bytes in a block; the last may be shorter.
            size: of the file that is to come.
        """
        source = SourceFile(self._fd, os.fstat(self._fd))
        for offset in range(0, min(size, self.size), block_size):
            length = min(block_size, size - offset)
            if offset + length > self.size or (length < block_size and size != self.size):
                return
            if source.is_hole(offset, length):
                yield zero_digest(length)
                continue
            try:
                data = source.read_at(offset, length)
            except EntryError:
                return
            yield block_digest(data)

    def root(self, size: int) -> bytes:
        """The root that it has as a file of ``size`` bytes: all of it is read and hashed."""
        return file_root(self.digests(block_size(size), size), size)

    def holds(self, offset: int, data: bytes | memoryview) -> bool:
        """Whether just these bytes are at ``offset``."""
        try:
            return SourceFile(self._fd, os.fstat(self._fd)).read_at(offset, len(data)) == data
        except EntryError:
            return False

    def has(self, offset: int, length: int, digest: bytes) -> bool:
        """Whether the block of ``length`` bytes at ``offset`` has this digest now."""
        try:
            return block_digest(_read(self._fd, offset, length)) == digest
        except OSError:
            return False

    def copy_to(self, partial: PartialFile, offset: int, length: int, digest: bytes) -> None:
        """Put the block of ``length`` bytes at ``offset`` into the same place of ``partial``.

        Where the filesystem shares blocks between files, nothing is copied, but read and hashed.
        A temporary that is its own basis has the block in place, where nobody else writes.

        Args:
            partial: what it is for.
            offset: of the block, in bytes.
            length: bytes in it.
            digest: that it had when it was offered.

        Raises:
            ValueError: past the file's size.
            EntryError: it can't be read or written, or is another one by now.
        """
        if self._partial is partial:
            partial.keep(offset, length)
            return
        partial.check(offset, length)
        try:
            done = _copy_range(self._fd, partial.fd, offset, length)
            copied = _read(partial.fd, offset, done)
            rest = _read(self._fd, offset + done, length - done)
        except OSError as error:
            raise writing(error) from error
        if block_digest(copied, rest) != digest:
            raise EntryError(Failure.WRITE_FAILED, "the older copy changed while it was used")
        if rest:
            partial.write_at(offset + done, [rest])
        partial.keep(offset, length)

    def changed(self) -> bool:
        """Whether somebody has written to it since it was opened."""
        return self._partial is None and Identity.of(os.fstat(self._fd)) != self.identity

    def has_attributes(self, mode: int, mtime_ns: int) -> bool:
        """Whether it has these permissions and this mtime."""
        found = os.fstat(self._fd)
        return found.st_mtime_ns == mtime_ns and found.st_mode & 0o777 == mode & 0o777

    def take_attributes(self, mode: int, mtime_ns: int) -> Identity | None:
        """Set permissions and mtime; None if they belong to another name or user, too."""
        if not is_ours(os.fstat(self._fd)):
            return None
        set_attributes(self._fd, mode, mtime_ns)
        return Identity.of(os.fstat(self._fd))

    def close(self) -> None:
        """Close it; idempotent. A temporary stays open."""
        if self._fd >= 0 and self._partial is None:
            os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _read(fd: int, offset: int, length: int) -> bytes:
    """So many bytes, or fewer where the file ends by now."""
    data = b""
    while len(data) < length and (more := pread(fd, length - len(data), offset + len(data))):
        data = data + more if data else more
    return data


def _copy_range(source: int, target: int, offset: int, length: int) -> int:
    """Let the system copy, sharing blocks where it can; returns how far it came."""
    done = 0
    if hasattr(os, "copy_file_range"):
        try:
            while done < length:
                at = offset + done
                some = os.copy_file_range(source, target, length - done, at, at)
                if not some:
                    break
                done += some
        except OSError as error:
            if error.errno not in _NO_RANGES:
                raise
    return done


def open_older(
    handles: FolderHandles, folder: OutFolder, name: bytes, identity: Identity
) -> int | None:
    """A descriptor of the regular file ``name``, for reading, if it is still that one."""
    with contextlib.suppress(OSError):
        path, at = handles.locate(folder, name)
        fd = os.open(path, os.O_RDONLY | _FLAGS, dir_fd=at)
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and Identity.of(found) == identity:
            return fd
        os.close(fd)
    return None


def open_partial(handles: FolderHandles, folder: OutFolder, partial: Partial) -> int | None:
    """A descriptor of an earlier temporary, 0600, for reading and writing, if it is still that one.

    It may have got its final mode already, which need not allow writing.
    """
    for flags in (os.O_RDWR, os.O_RDONLY, os.O_RDWR):
        try:
            path, at = handles.locate(folder, partial.temporary)
            fd = os.open(path, flags | _FLAGS, dir_fd=at)
        except PermissionError:
            if flags != os.O_RDWR:
                return None
            continue
        except OSError:
            return None
        if not partial.inode or not matches(os.fstat(fd), partial):
            os.close(fd)
            return None
        with contextlib.suppress(OSError, AttributeError):  # Windows lacks it
            os.fchmod(fd, stat.S_IRUSR | stat.S_IWUSR)
        if flags == os.O_RDWR:
            return fd
        os.close(fd)
    return None
