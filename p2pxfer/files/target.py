"""One file that the user named as the place for what comes: ``--output FILE``.

A regular file is written like one of a tree: a temporary beside it, renamed when it is whole. A
device or a named pipe can only be written through. A symlink is followed: it is the user's own.
"""

from __future__ import annotations

import os
import stat
from types import TracebackType
from typing import Protocol, Self

from p2pxfer.errors import LocalFileError
from p2pxfer.files.admission import Admission, ExistingPolicy
from p2pxfer.files.failures import writing
from p2pxfer.files.partial import Buffers, PartialFile, write_stream
from p2pxfer.files.writer import OutputTree
from p2pxfer.manifest import UNKNOWN_SIZE, Entry, EntryKind

_ZEROS = bytes(64 * 1024)


class Writing(Protocol):
    """What takes a file's content, in a tree or not; see `PartialFile`."""

    def write_at(self, offset: int, buffers: Buffers) -> None:
        """Write ``buffers`` at ``offset``."""

    def hole(self, offset: int, length: int) -> None:
        """Leave zeros at ``offset``."""

    def commit(self, mode: int, mtime_ns: int) -> bytes:
        """It is whole; returns the name it got."""

    def discard(self) -> None:
        """It will not be whole."""


class StreamFile:
    """A device or pipe, written in order. What was written can't be taken back."""

    __slots__ = ("_at", "_fd", "_name")

    def __init__(self, fd: int, name: bytes) -> None:
        self._fd = fd
        self._name = name
        self._at = 0

    def write_at(self, offset: int, buffers: Buffers) -> None:
        """Write ``buffers``, which come next.

        Raises:
            ValueError: they don't.
            EntryError: it takes no more.
        """
        if offset != self._at:
            raise ValueError(f"{offset} comes after {self._at}")
        try:
            self._at += write_stream(self._fd, buffers)
        except OSError as error:
            raise writing(error) from error

    def hole(self, offset: int, length: int) -> None:
        """Write ``length`` zeros, which come next."""
        while length > 0:
            size = min(length, len(_ZEROS))
            self.write_at(offset, [memoryview(_ZEROS)[:size]])
            offset += size
            length -= size

    def commit(self, mode: int, mtime_ns: int) -> bytes:  # noqa: ARG002  # a device keeps its own
        """Nothing is left to do but to let go."""
        self.discard()
        return self._name

    def discard(self) -> None:
        """Let go of it; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class OutputFile:
    """Where one file goes; its own name counts for nothing.

    Args:
        path: the file, device or pipe; its folder must exist.
        existing: what to do when a regular file is there.

    Raises:
        LocalFileError: a folder is there, or its own folder can't be written to; also when a file
            is there, and is to be kept.
    """

    def __init__(
        self,
        path: str | bytes | os.PathLike[str],
        *,
        existing: ExistingPolicy = ExistingPolicy.FAIL,
    ) -> None:
        shown = os.fsdecode(path)
        self.path = os.path.realpath(os.fsencode(path))
        self._tree: OutputTree | None = None
        self._admission: Admission | None = None
        folder, name = os.path.split(self.path)
        if os.path.isdir(self.path) or not name:
            raise LocalFileError(f"{shown} is a folder")
        if not os.path.isdir(folder):
            raise LocalFileError(f"the folder of {shown} does not exist")
        if os.path.exists(self.path) and not stat.S_ISREG(os.stat(self.path).st_mode):
            return
        self._tree = OutputTree(folder, existing=existing)
        entry = Entry(EntryKind.FILE, name, UNKNOWN_SIZE, 0o600, 0)
        self._admission = self._tree.admit(entry)
        if self._admission.failure is not None:
            self._tree.close()
            raise LocalFileError(f"{shown}: {self._admission.reason}")

    @property
    def question(self) -> bool:
        """Whether somebody has to say what to do about the file that is there."""
        return self._admission is not None and self._admission.question

    def answer(self, choice: ExistingPolicy) -> None:
        """Say it.

        Raises:
            LocalFileError: the file is to be kept, so there is no place.
        """
        assert self._tree is not None
        assert self._admission is not None
        self._tree.answer(self._admission, choice)
        if self._admission.failure is not None:
            raise LocalFileError(f"{os.fsdecode(self.path)}: {self._admission.reason}")

    def open(self, size: int) -> PartialFile | StreamFile:
        """Begin, once, with ``size`` bytes or `UNKNOWN_SIZE`.

        Raises:
            EntryError: it can't be opened, or there is no room.
        """
        if self._tree is not None and self._admission is not None:
            return self._tree.open_file(self._admission, size)
        try:
            flags = os.O_WRONLY | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0)
            return StreamFile(os.open(self.path, flags), os.path.basename(self.path))
        except OSError as error:
            raise writing(error) from error

    def finish(self) -> None:
        """It was committed: bring its name to the disk."""
        if self._tree is not None:
            self._tree.finish()

    def close(self) -> None:
        """Remove what is unfinished; idempotent."""
        if self._tree is not None:
            self._tree.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()
