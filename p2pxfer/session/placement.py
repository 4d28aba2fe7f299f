"""Where an offer goes: decided before anybody is asked, and nothing is touched until it is opened.

Knows what the caller accepts and what `--output` can mean. Synchronous, for the worker thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from p2pxfer.errors import LocalFileError, UnsafeName, UsageError
from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.files.paths import NameRules, SafePath
from p2pxfer.files.space import free_space
from p2pxfer.files.writer import OutputTree
from p2pxfer.session.sinks import ByteWriter, Sink, StreamSink
from p2pxfer.session.tree_sink import TreeSink


class Acceptance(Struct, frozen=True, kw_only=True):
    """What is taken, and where it goes.

    Attributes:
        output: a directory, the path of a single file, or something with ``write`` and ``flush``.
        folder: ``output`` is a directory, also where nothing is there yet.
        existing: what becomes of files that are there already.
        max_size: content bytes that are taken in all, None for any number.
        unsafe_symlinks: keep symlinks that are absolute or leave the tree.
        portable_names: refuse names that other systems can't hold.
    """

    output: Path | ByteWriter
    folder: bool = False
    existing: ExistingPolicy = ExistingPolicy.FAIL
    max_size: int | None = None
    unsafe_symlinks: bool = False
    portable_names: bool = False

    def names_one(self) -> bool:
        """Whether ``output`` would be a single file itself, and not the folder it goes to."""
        output = self.output
        return not isinstance(output, Path) or not (self.folder or os.path.isdir(output))


class Placement(Struct, frozen=True):
    """One offer's place: a directory, in which a single file may get a ``name``, or a writer."""

    acceptance: Acceptance
    directory: Path | None = None
    name: bytes | None = None
    device: Path | None = None

    def require(self, size: int, entries: int, tops: Iterable[bytes]) -> None:
        """Check that so many bytes and entries fit, unless much of it may be here already.

        Args:
            size: bytes.
            entries: files, folders and symlinks.
            tops: what their paths begin with, as the sender has it.

        Raises:
            NoSpace: they do not.
        """
        if self.directory is not None and not self._may_hold(self.directory, tops):
            free_space(self.directory).require(size, entries)

    def _may_hold(self, directory: Path, tops: Iterable[bytes]) -> bool:
        """Whether some of it may be here, and count: each page is looked at closely later."""
        names = tops if self.name is None else [self.name]
        return self.acceptance.existing is ExistingPolicy.UPDATE or any(
            _is_there(directory, name) for name in names
        )

    def open(self) -> Sink:
        """What takes the content.

        Raises:
            LocalFileError: the directory can't be made, or the device not be written.
        """
        acceptance = self.acceptance
        limit = acceptance.max_size
        if self.directory is not None:
            tree = OutputTree(
                self.directory,
                rules=NameRules.PORTABLE if acceptance.portable_names else NameRules.host(),
                existing=acceptance.existing,
                unsafe_symlinks=acceptance.unsafe_symlinks,
            )
            return TreeSink(tree, self.directory, name=self.name, max_size=limit)
        if self.device is not None:
            try:
                device = self.device.open("wb", buffering=0)
            except OSError as error:
                what = f"{self.device} can't be written: {error.strerror}"
                raise LocalFileError(what) from error
            return StreamSink(device, own=device, max_size=limit)
        assert not isinstance(acceptance.output, Path)
        return StreamSink(acceptance.output, max_size=limit)


def _is_there(directory: Path, name: bytes) -> bool:
    try:
        path = SafePath.parse(name, NameRules.host())
    except UnsafeName:
        return False
    return os.path.lexists(os.path.join(os.fsencode(directory), path.raw))


def place(acceptance: Acceptance, *, single: bool) -> Placement:
    """Decide where an offer goes; ``single`` tells that it is one file, or a stream.

    Raises:
        UsageError: a stream can't take what is offered.
        LocalFileError: there is no such folder.
    """
    output = acceptance.output
    if not isinstance(output, Path):
        if not single:
            raise UsageError(
                "only a single file or a stream can be written to standard output",
                "give a folder with --output",
            )
        return Placement(acceptance)
    if not single or not acceptance.names_one():
        return Placement(acceptance, output)
    target = Path(os.path.realpath(output))  # a symlink here is the user's own
    if os.path.exists(target) and not os.path.isfile(target):
        return Placement(acceptance, device=target)
    if not os.path.isdir(target.parent):
        raise LocalFileError(
            f"the folder of {output} does not exist",
            f"make it, or give {output}/ with a slash for a new folder",
        )
    return Placement(acceptance, target.parent, os.fsencode(target.name))
