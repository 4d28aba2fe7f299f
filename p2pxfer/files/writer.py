"""The tree that is received: what was admitted is written below one directory, and nowhere else.

All of it goes through handles that follow no symlink below that directory, so neither a symlink
just sent nor one swapped in leads anywhere. A file is a temporary until its bytes are on the disk;
only then does it get its name, and never that of something the user did not give up. What the
bytes are, and whether they are the right ones, is decided elsewhere.

Entries are admitted in the order of the manifest: depth first, a folder before what is in it;
they are written in any order. Synchronous; one thread at a time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

from p2pxfer.errors import LocalFileError
from p2pxfer.files.admission import Admission, ExistingPolicy, Gate
from p2pxfer.files.failures import EntryError, writing
from p2pxfer.files.folders import OutFolders
from p2pxfer.files.handles import HANDLES
from p2pxfer.files.native import sync_filesystem
from p2pxfer.files.partial import PartialFile, set_attributes, write_all
from p2pxfer.files.paths import NameRules
from p2pxfer.files.placing import Placing
from p2pxfer.files.space import Space, free_space
from p2pxfer.manifest import Entry, Failure

NAME_LIMIT = 255  # bytes in a name where the filesystem does not say (NAME_MAX)
SPACE_CHECKED = 1024 * 1024  # bytes from which a file's room is looked up before it is opened


class SmallFile(NamedTuple):
    """A file's whole content with its attributes, for `OutputTree.write_small`."""

    admission: Admission
    data: bytes
    mode: int
    mtime_ns: int


class OutputTree:
    """What is received goes below ``directory``, which is made if it is missing.

    Args:
        directory: where to; may be, or be reached through, a symlink.
        rules: which names pass; on Windows the portable rules hold in any case.
        existing: what to do about files that are already there.
        unsafe_symlinks: take symlinks whose targets are absolute or leave the tree.
        handles: directory handles kept open at once.

    Raises:
        LocalFileError: the directory can't be made or opened.
    """

    def __init__(
        self,
        directory: str | bytes | os.PathLike[str],
        *,
        rules: NameRules = NameRules.POSIX,
        existing: ExistingPolicy = ExistingPolicy.FAIL,
        unsafe_symlinks: bool = False,
        handles: int = HANDLES,
    ) -> None:
        base = os.path.join(os.getcwdb(), os.fsencode(directory))
        try:
            os.makedirs(base, exist_ok=True)
            self._folders = OutFolders(base, limit=handles)
        except OSError as error:
            raise LocalFileError(
                f"{os.fsdecode(directory)} can't be written to: {error.strerror}"
            ) from error
        self._handles = self._folders.handles
        name_limit = self._ask_name_limit()
        self._placing = Placing(self._handles, name_limit)
        self._partials: dict[PartialFile, tuple[Admission, bytes]] = {}
        self._gate = Gate(
            self._folders,
            rules=rules if NameRules.host() is NameRules.POSIX else NameRules.PORTABLE,
            existing=existing,
            unsafe_symlinks=unsafe_symlinks,
            name_limit=name_limit,
        )

    def admit(self, entry: Entry) -> Admission:
        """Judge the next entry of the manifest; a directory that passes is made at once.

        Never raises for an entry's sake: see `Admission.failure`. A file or symlink that passes
        keeps its folder waiting until it is written, abandoned, or answered with skip.
        """
        return self._gate.judge(entry)

    def answer(self, admission: Admission, choice: ExistingPolicy) -> None:
        """Say what to do about ``admission``, which has a question.

        Raises:
            ValueError: it has none, or the choice is to ask.
        """
        if not admission.question or choice is ExistingPolicy.ASK:
            raise ValueError("nothing to answer, or no answer")
        admission.question = False
        self._gate.decide(admission, choice)
        if admission.failure is not None:
            self._settle(admission)

    def abandon(self, admission: Admission) -> None:
        """This entry will not be written after all; idempotent, harmless after a failure."""
        self._settle(admission)

    def make_symlink(self, admission: Admission) -> None:
        """Make an admitted symlink, with its mtime.

        Raises:
            EntryError: it can't be made.
        """
        entry = admission.entry
        try:
            self._placing.link(admission, entry.target)
            path, at = self._handles.locate(admission.folder, admission.name)
            with contextlib.suppress(OSError, OverflowError, NotImplementedError):
                times = (entry.mtime_ns, entry.mtime_ns)
                os.utime(path, ns=times, dir_fd=at, follow_symlinks=False)
        except OSError as error:
            raise writing(error) from error
        finally:
            self._settle(admission)

    def open_file(self, admission: Admission, size: int) -> PartialFile:
        """Begin an admitted file of ``size`` bytes, or of `UNKNOWN_SIZE`.

        Raises:
            EntryError: it can't be made, or there is no room for it; the entry is settled.
        """
        try:
            if size >= SPACE_CHECKED and size > self.space().size:
                raise EntryError(Failure.NO_SPACE, "no space left on the disk")
            name, fd = self._placing.create(admission)
        except OSError as error:
            self._settle(admission)
            raise writing(error) from error
        except LocalFileError:
            self._settle(admission)
            raise
        partial = PartialFile(fd, size, self)
        self._partials[partial] = (admission, name)
        return partial

    def commit(self, finished: Sequence[tuple[PartialFile, int, int]]) -> list[EntryError | None]:
        """Bring whole files to the disk together, then name each.

        Args:
            finished: each with its mode and its mtime in nanoseconds.

        Returns:
            For each None, or why it was removed.
        """
        outcomes: list[EntryError | None] = [None] * len(finished)
        together = self._placing.syncs_together(len(finished))
        for index, (partial, mode, mtime_ns) in enumerate(finished):
            try:
                partial.seal(mode, mtime_ns, sync=not together)
            except OSError as error:
                outcomes[index] = writing(error)
        lost = None
        if together:
            lost = self._placing.sync(self._partials[partial][0] for partial, _, _ in finished)
        for index, (partial, _, _) in enumerate(finished):
            outcomes[index] = outcomes[index] or lost
            if outcomes[index] is not None:
                self.drop(partial)
                continue
            admission, name = self._partials.pop(partial)
            os.close(partial.fd)
            outcomes[index] = self._placing.place(admission, name)
            self._settle(admission)
        return outcomes

    def write_small(self, batch: Sequence[SmallFile]) -> list[EntryError | None]:
        """Write, sync and name many small files in one go; some 256 to 1,024 serve best.

        Returns:
            For each None, or why it was not written.
        """
        outcomes: list[EntryError | None] = [None] * len(batch)
        names: list[bytes] = []
        together = self._placing.syncs_together(len(batch))
        for index, small in enumerate(batch):
            name = b""
            try:
                name = self._write_temporary(small, sync=not together)
            except OSError as error:
                outcomes[index] = writing(error)
            names.append(name)
        lost = self._placing.sync(small.admission for small in batch) if together else None
        for index, (small, name) in enumerate(zip(batch, names, strict=True)):
            if outcomes[index] is None:
                if lost is not None:
                    self._placing.remove(small.admission, name)
                outcomes[index] = lost or self._placing.place(small.admission, name)
            self._settle(small.admission)
        return outcomes

    def space(self) -> Space:
        """The room left below the directory.

        Raises:
            LocalFileError: it can't be told.
        """
        path, at = self._handles.locate(self._folders.root)
        return free_space(path if at is None else at)

    @property
    def attributes_lost(self) -> int:
        """Folders whose mode or mtime could not be set."""
        return self._folders.attributes_lost

    def finish(self) -> None:
        """All entries are settled: set what folders still lack, and bring all to the disk.

        Raises:
            LocalFileError: the disk reported that something written earlier is lost.
        """
        self._folders.finish()
        _, at = self._handles.locate(self._folders.root)
        try:
            if at is not None and not sync_filesystem(at):
                os.fsync(at)
        except OSError as error:
            raise LocalFileError(f"the disk failed: {error.strerror}") from error

    def close(self) -> None:
        """Remove what is unfinished and let go of the tree; idempotent."""
        for partial in list(self._partials):
            self.drop(partial)
        self._handles.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def commit_one(self, partial: PartialFile, mode: int, mtime_ns: int) -> bytes:
        """What `PartialFile.commit` does."""
        admission, _ = self._partials[partial]
        (outcome,) = self.commit([(partial, mode, mtime_ns)])
        if outcome is not None:
            raise outcome
        return admission.name

    def drop(self, partial: PartialFile) -> None:
        """What `PartialFile.discard` does."""
        if partial in self._partials:
            admission, name = self._partials.pop(partial)
            os.close(partial.fd)
            self._placing.remove(admission, name)
            self._settle(admission)

    def _write_temporary(self, small: SmallFile, *, sync: bool) -> bytes:
        name, fd = self._placing.create(small.admission)
        try:
            if small.data:
                write_all(fd, 0, [small.data])
            set_attributes(fd, small.mode, small.mtime_ns)
            if sync:
                os.fsync(fd)
        except BaseException:
            os.close(fd)
            self._placing.remove(small.admission, name)
            raise
        os.close(fd)
        return name

    def _settle(self, admission: Admission) -> None:
        if admission.held:
            admission.held = False
            self._folders.release(admission.folder)

    def _ask_name_limit(self) -> int:
        _, at = self._handles.locate(self._folders.root)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if at is not None:
                return min(os.fpathconf(at, "PC_NAME_MAX"), NAME_LIMIT)
        return NAME_LIMIT
