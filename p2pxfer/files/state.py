"""Small private files that outlive a run, one for each thing remembered, in a directory of ours.

The directory is 0700 and a file 0600; what is a symlink, hard-linked, somebody else's or open to
others counts as absent. One file has one writer, which holds its lock as long as it lives, kill -9
included; so two processes never meet in one file. What is in the files is not known here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from p2pxfer.errors import LocalFileError
from p2pxfer.files.handles import HAS_HANDLES

MAX_FILES = 4096  # looked at in one directory
MAX_FILE = 256 * 1024 * 1024  # bytes read of one
LOCK_TRIES = 5  # somebody who only looks holds the lock for microseconds
LOCK_PAUSE = 0.02  # seconds

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_PRIVATE = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_DIRECTORY = (
    os.O_RDONLY
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


def state_path(kind: str) -> Path:
    """Where this user's state of one kind is: ``~/.local/state/p2pxfer/KIND`` on Linux."""
    import platformdirs  # noqa: PLC0415  # 20 ms, which not every command need pay

    return platformdirs.user_state_path("p2pxfer", appauthor=False) / kind


class StateFolder:
    """The files with one ending in one directory, which is made when the first one is.

    Args:
        directory: may be reached through symlinks, but is none itself.
        suffix: the files' ending, such as ``.journal``.
    """

    def __init__(self, directory: str | os.PathLike[str], suffix: str) -> None:
        self._directory = os.path.abspath(directory)
        self._suffix = suffix

    def names(self) -> list[str]:
        """What is there by name, at most `MAX_FILES`; empty where it can't be looked at."""
        try:
            with self._entered() as at:
                found = os.listdir(self._directory if at is None else at)
        except OSError:
            return []
        return sorted(name for name in found if name.endswith(self._suffix))[:MAX_FILES]

    def create(self, start: str = "") -> tuple[str, int]:
        """A new empty file whose name begins with ``start``: name and descriptor, locked.

        Raises:
            LocalFileError: it can't be made.
        """
        name = f"{start}{secrets.token_hex(8)}{self._suffix}"
        try:
            os.makedirs(os.path.dirname(self._directory), 0o700, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._directory, 0o700)
            with self._entered() as at:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | _PRIVATE
                fd = os.open(self._located(name, at), flags, 0o600, dir_fd=at)
        except OSError as error:
            raise LocalFileError(
                f"{self._directory} can't be written to: {error.strerror}"
            ) from error
        lock(fd)
        return name, fd

    def open(self, name: str) -> int | None:
        """A descriptor of the file, not locked; None unless it is there and private."""
        try:
            with self._entered() as at:
                fd = os.open(self._located(name, at), os.O_RDWR | _PRIVATE, dir_fd=at)
        except OSError:
            return None
        if not _is_private(os.fstat(fd)):
            os.close(fd)
            return None
        return fd

    def modified(self, name: str) -> float | None:
        """When the file was last written to, in seconds since the epoch; None if it is gone."""
        try:
            with self._entered() as at:
                path = self._located(name, at)
                return os.stat(path, dir_fd=at, follow_symlinks=False).st_mtime
        except OSError:
            return None

    def remove(self, name: str) -> None:
        """Remove the file, if it is there: only its name, whatever it leads to."""
        with contextlib.suppress(OSError), self._entered() as at:
            os.unlink(self._located(name, at), dir_fd=at)

    def _located(self, name: str, at: int | None) -> str:
        return name if at is not None else os.path.join(self._directory, name)

    @contextlib.contextmanager
    def _entered(self) -> Iterator[int | None]:
        if not HAS_HANDLES:  # Windows, where the profile's own rights keep others out
            if not stat.S_ISDIR(os.lstat(self._directory).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            yield None
            return
        at = os.open(self._directory, _DIRECTORY)
        try:
            found = os.fstat(at)
            if found.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "it belongs to another user")
            if found.st_mode & _OTHERS:
                os.fchmod(at, stat.S_IRWXU)
            yield at
        finally:
            os.close(at)


def read_whole(fd: int, limit: int = MAX_FILE) -> bytes:
    """Everything in a file, at most ``limit`` bytes; what can't be read is left out."""
    parts = []
    with contextlib.suppress(OSError):
        os.lseek(fd, 0, os.SEEK_SET)
        while limit > 0 and (part := os.read(fd, min(limit, 1024 * 1024))):
            parts.append(part)
            limit -= len(part)
    return b"".join(parts)


def lock(fd: int) -> bool:
    """Hold a file until it is closed; False when another process does, or has removed it."""
    for tried in range(LOCK_TRIES):
        if tried:
            time.sleep(LOCK_PAUSE)
        if _locked(fd, exclusive=True):
            return os.fstat(fd).st_nlink > 0
    return False


def is_held(fd: int) -> bool:
    """Whether another process holds the file. Takes a lock that lasts until it is closed."""
    return not _locked(fd, exclusive=False)


def _locked(fd: int, *, exclusive: bool) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl  # noqa: PLC0415  # Windows has none

    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a filesystem without locks
        return True
    return True


def is_ours(found: os.stat_result) -> bool:
    """Whether it is a regular file of this user with no second name."""
    mine = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and mine


def _is_private(found: os.stat_result) -> bool:
    return is_ours(found) and (os.name == "nt" or not found.st_mode & _OTHERS)
