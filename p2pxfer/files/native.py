"""Six system calls that Python lacks, each with what to do where the system lacks it too.

Loaded with ctypes at first use; nothing here knows what the files are for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from functools import cache

_RENAME_NOREPLACE = 1  # linux/fs.h
_RENAME_EXCL = 4  # sys/stdio.h of macOS
_EMPTY_PATH = 0x1000  # linux/fcntl.h: AT_EMPTY_PATH
_PUNCH_HOLE = 0x01 | 0x02  # linux/falloc.h: KEEP_SIZE, PUNCH_HOLE
_WRITE = 2  # sync_file_range(2): SYNC_FILE_RANGE_WRITE
_UNSUPPORTED = frozenset((errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM, errno.EMLINK))

_Rename = Callable[[int, bytes, int, bytes], None]


def sync_filesystem(fd: int) -> None:
    """Bring everything written to the filesystem that holds ``fd`` to the disk, in one go.

    Not every filesystem does it, or says that it did not: see `durable.syncs_whole`.

    Raises:
        OSError: something could not be written, or the system has no such call.
    """
    call = _syncfs()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    call(fd)


def filesystem_type(fd: int) -> int | None:
    """The number of the kind of filesystem that holds ``fd`` (statfs(2)); None if it can't be told.

    Linux' numbers; other systems have others, or none.
    """
    call = _fstatfs()
    return None if call is None else call(fd)


def rename_new(source: bytes, target: bytes, dir_fd: int | None) -> None:
    """Rename within one directory unless the new name is taken.

    Atomic where the system or a hard link can do it; else the name is looked at just before.

    Raises:
        FileExistsError: something is there; nothing has changed.
        OSError: as rename gives it.
    """
    if dir_fd is None:  # Windows, whose rename never replaces
        os.rename(source, target)
        return
    call = _rename_exclusive()
    if call is not None:
        try:
            call(dir_fd, source, dir_fd, target)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        else:
            return
    try:
        os.link(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    else:
        os.unlink(source, dir_fd=dir_fd)
        return
    with contextlib.suppress(FileNotFoundError):
        os.lstat(target, dir_fd=dir_fd)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)


def punch_hole(fd: int, offset: int, length: int) -> bool:
    """Make zeros of what is stored there, and give the room back; the size stays.

    Returns:
        False where the system or the filesystem can't, and nothing was done.
    """
    call = _fallocate()
    return call is not None and call(fd, offset, length)


def link_handle(fd: int, dir_fd: int, name: bytes) -> None:
    """Give the file that ``fd`` is a handle on a name in the folder ``dir_fd``.

    Raises:
        FileExistsError: something has that name.
        OSError: the system lacks this, or allows it to nobody else than root: Linux before 6.10.
    """
    call = _linkat()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    call(fd, dir_fd, name)


def start_writing(fd: int, offset: int, length: int) -> None:
    """Have the system begin to write these bytes to the disk, without waiting for it.

    Nothing is sure before `os.fsync`, which then has less left to do. Nothing happens where the
    system has no such call, or refuses it.
    """
    call = _sync_file_range()
    if call is not None:
        call(fd, offset, length)


@cache
def _syncfs() -> Callable[[int], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # noqa: PLC0415  # only writers need it, and only at first use

    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int]

    def call(fd: int) -> None:
        if function(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return call


@cache
def _fstatfs() -> Callable[[int], int | None] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # noqa: PLC0415  # only writers need it, and only at first use

    library = ctypes.CDLL(None, use_errno=True)
    # 32-bit systems tell of large filesystems by a name of its own in glibc; musl has only this.
    function = getattr(library, "fstatfs64", None) or getattr(library, "fstatfs", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_void_p]

    def call(fd: int) -> int | None:
        found = (ctypes.c_long * 64)()  # more than struct statfs has; the type comes first
        return found[0] & 0xFFFFFFFF if function(fd, found) == 0 else None

    return call


@cache
def _linkat() -> Callable[[int, int, bytes], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # noqa: PLC0415  # only writers need it, and only at first use

    function = ctypes.CDLL(None, use_errno=True).linkat
    function.argtypes = [
        ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int,
    ]  # fmt: skip

    def call(fd: int, dir_fd: int, name: bytes) -> None:
        if function(fd, b"", dir_fd, name, _EMPTY_PATH) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return call


@cache
def _sync_file_range() -> Callable[[int, int, int], object] | None:
    if not sys.platform.startswith("linux") or sys.maxsize < 2**32:  # where offsets are split up
        return None
    import ctypes  # noqa: PLC0415  # only writers need it, and only at first use

    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return lambda fd, offset, length: function(fd, offset, length, _WRITE)


@cache
def _fallocate() -> Callable[[int, int, int], bool] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # noqa: PLC0415  # only writers need it, and only at first use

    library = ctypes.CDLL(None, use_errno=True)
    # 64-bit offsets on 32-bit systems have a name of their own in glibc; musl has only these.
    function = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]

    def call(fd: int, offset: int, length: int) -> bool:
        return bool(function(fd, _PUNCH_HOLE, offset, length) == 0)

    return call


@cache
def _rename_exclusive() -> _Rename | None:
    if os.name != "posix":
        return None
    import ctypes  # noqa: PLC0415  # only writers need it, and only at first use

    darwin = sys.platform == "darwin"
    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, "renameatx_np" if darwin else "renameat2", None)
    if function is None:
        return None
    function.argtypes = [
        ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint,
    ]  # fmt: skip
    flag = _RENAME_EXCL if darwin else _RENAME_NOREPLACE

    def call(source_fd: int, source: bytes, target_fd: int, target: bytes) -> None:
        if function(source_fd, source, target_fd, target, flag) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return call
