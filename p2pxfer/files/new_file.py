"""One new file that is there whole or not at all: written beside its name, synced, then named.

For what this machine makes itself, such as a still; what a peer sends goes through `writer`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from p2pxfer.errors import LocalFileError
from p2pxfer.files.failures import writing
from p2pxfer.files.handles import HAS_HANDLES, NAME_LIMIT
from p2pxfer.files.naming import temporary
from p2pxfer.files.native import rename_new


class NewFile:
    """A file under way.

    Args:
        path: what it is to be called.
        replace: whether a file of that name may be replaced.

    Attributes:
        file: to write and to seek in.

    Raises:
        LocalFileError: it can't be made, or the name is taken.
    """

    def __init__(self, path: Path, *, replace: bool) -> None:
        self._path = path
        self._replace = replace
        require_free(path, replace=replace)
        name = os.fsencode(path.name)
        self._temporary = path.with_name(os.fsdecode(temporary(name, NAME_LIMIT)))
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            self.file: BinaryIO = open(os.open(self._temporary, flags, 0o666), "w+b")  # noqa: SIM115  # closed below
        except OSError as error:
            raise _unwritable(path, error) from error

    def place(self, *, cut: Callable[[BinaryIO], None] | None = None) -> None:
        """Bring it to the disk, and give it its name.

        Args:
            cut: be content with what a full disk has taken, and leave what this makes of it.

        Raises:
            LocalFileError: that can't be done; the file is gone.
        """
        try:
            if cut is None:
                self.file.flush()
                os.fsync(self.file.fileno())
                self.file.close()
            else:
                with open(os.dup(self.file.fileno()), "r+b") as taken:
                    with contextlib.suppress(OSError):
                        self.file.close()  # with what waits to be written, as far as it can be
                    cut(taken)
                    taken.flush()
                    os.fsync(taken.fileno())
            if self._replace:
                self._temporary.replace(self._path)
            else:
                _rename(self._temporary, self._path)
        except OSError as error:
            self.discard()
            raise _unwritable(self._path, error) from error

    def discard(self) -> None:
        """Remove it."""
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()


def require_free(path: Path, *, replace: bool) -> None:
    """Refuse a name that is taken, unless what has it is a file that may be replaced.

    Raises:
        LocalFileError: so it is, it can be no file's, or its folder is missing.
    """
    if not os.path.isdir(path.parent):  # Path.is_dir may raise
        raise LocalFileError(f"there is no folder {path.parent}", "make it, or name another")
    try:
        path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from error
    if not os.path.isfile(path):
        raise LocalFileError(f"{path} is there already, and no file", "choose another name")
    if not replace:
        raise LocalFileError(
            f"{path} is there already", "choose another name, or replace it with --overwrite"
        )


def _rename(source: Path, target: Path) -> None:
    if not HAS_HANDLES:
        rename_new(os.fsencode(source), os.fsencode(target), None)
        return
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        rename_new(os.fsencode(source.name), os.fsencode(target.name), folder)
    finally:
        os.close(folder)


def _unwritable(path: Path, error: OSError) -> LocalFileError:
    return LocalFileError(f"{path} can't be written: {writing(error).message}")
