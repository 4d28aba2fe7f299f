"""Writing past the page cache: from memory of our own to the disk, without a copy by the kernel.

What is received is synced before it gets its name, so the disk has to take all of it in any case;
the copy, and its way out of the cache later, would cost a quarter of a receiver's processor time.
Only fast disks are written so: a slow one is better left to the system, which gathers.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import sys
import time
from collections.abc import Sequence

with contextlib.suppress(ImportError):  # Windows
    from fcntl import F_GETFL, F_SETFL, fcntl

GRAIN = 4096  # bytes; places and lengths are multiples of it, as every usual disk wants (open(2))
LEAST = 128 * 1024  # bytes; a shorter write saves less than it costs
PIECE = 1024 * 1024  # bytes written with one call
LOOK = 32 * 1024 * 1024  # bytes after which is seen how fast the disk was,
FAST = 100e6  # and bytes a second from which it goes on so: waits for the interpreter count, too

_UNFIT = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.ENOTTY)
_CAN = sys.platform.startswith("linux") and hasattr(os, "O_DIRECT")


class DirectWriting:
    """Writes to one file that others may read and write meanwhile in the usual way.

    Args:
        fd: open for writing; one thread at a time uses it.
    """

    __slots__ = ("_bytes", "_fd", "_fits", "_flags", "_memory", "_seconds")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._fits = _CAN
        self._flags: int | None = None
        self._memory: mmap.mmap | None = None  # begins at a page
        self._bytes = 0
        self._seconds = 0.0

    def write(self, offset: int, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
        """Write the beginning of ``buffers``; returns how many bytes, often none.

        The rest, a last piece that is no multiple of `GRAIN` for instance, is to be written in the
        usual way. Nothing is sure before `os.fsync`.

        Raises:
            OSError: the disk said no.
        """
        length = sum(map(len, buffers))
        if not self._fits or length < LEAST or offset % GRAIN:
            return 0
        if self._memory is None:
            self._memory = mmap.mmap(-1, PIECE)
        began = time.monotonic()
        try:
            if self._flags is None:
                self._flags = fcntl(self._fd, F_GETFL)
            fcntl(self._fd, F_SETFL, self._flags | os.O_DIRECT)
            try:
                done = self._write(self._memory, offset, buffers, length // GRAIN * GRAIN)
            finally:
                fcntl(self._fd, F_SETFL, self._flags)
        except OSError as error:
            if error.errno not in _UNFIT:
                raise
            self._stop()
            return 0  # what was written by then is written again
        self._bytes += done
        self._seconds += time.monotonic() - began
        if self._bytes >= LOOK:
            if self._bytes < FAST * self._seconds:
                self._stop()
            self._bytes, self._seconds = 0, 0.0
        return done

    def _stop(self) -> None:
        self._fits = False
        self._memory = None

    def _write(
        self,
        memory: mmap.mmap,
        offset: int,
        buffers: Sequence[bytes | bytearray | memoryview],
        length: int,
    ) -> int:
        done = filled = 0
        with memoryview(memory) as target:
            for buffer in buffers:
                rest = memoryview(buffer)
                while rest and done + filled < length:
                    room = min(PIECE, length - done) - filled
                    some = rest[:room]
                    target[filled : filled + len(some)] = some
                    rest = rest[len(some) :]
                    filled += len(some)
                    if filled == min(PIECE, length - done):
                        with target[:filled] as piece:
                            taken = os.pwritev(self._fd, [piece], offset + done)
                        done += taken
                        if taken < filled:  # a disk that is full, for instance
                            return done // GRAIN * GRAIN
                        filled = 0
        return done
