"""The tree that is received: what was admitted is written below one directory, and nowhere else.

All of it goes through handles that follow no symlink below that directory, so neither a symlink
just sent nor one swapped in leads anywhere. A file is a temporary, or has no name at all, until its
bytes are on the disk; only then does it get its name, and never that of something the user did not
give up. What the bytes are, and whether they are the right ones, is decided elsewhere.

Entries are admitted in the order of the manifest: depth first, a folder before what is in it;
they are written in any order. Synchronous; one thread at a time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from p2pxfer.errors import LocalFileError
from p2pxfer.files.admission import Admission, ExistingPolicy, Gate, kept
from p2pxfer.files.basis import Basis, open_older
from p2pxfer.files.durable import make_folders
from p2pxfer.files.failures import EntryError, writing
from p2pxfer.files.folders import OutFolder, OutFolders
from p2pxfer.files.handles import HANDLES
from p2pxfer.files.journal import Journal
from p2pxfer.files.nameless import Batch, Nameless, SmallFile
from p2pxfer.files.open_files import OpenFiles
from p2pxfer.files.partial import PartialFile
from p2pxfer.files.paths import NameRules
from p2pxfer.files.placing import Placing
from p2pxfer.files.records import Identity
from p2pxfer.files.space import Space, free_space
from p2pxfer.files.unnamed import best_together
from p2pxfer.manifest import Entry, Failure

__all__ = ["Batch", "Nameless", "OutputTree", "SmallFile"]


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
            make_folders(base)
            self._folders = OutFolders(base, limit=handles)
        except OSError as error:
            shown = os.fsdecode(directory)
            if isinstance(error, FileExistsError):
                reason = f"{shown} is no folder, and what comes is more than one file"
                raise LocalFileError(reason, "give a folder with --output") from error
            raise LocalFileError(f"{shown} can't be written to: {error.strerror}") from error
        self._handles = self._folders.handles
        name_limit = self._handles.name_limit()
        self._placing = Placing(self._folders, name_limit)
        self._open_files = OpenFiles(self._handles, self._placing)
        self._gate = Gate(
            self._folders,
            rules=rules if NameRules.host() is NameRules.POSIX else NameRules.PORTABLE,
            existing=existing,
            unsafe_symlinks=unsafe_symlinks,
            name_limit=name_limit,
        )

    def record(self, journal: Journal) -> None:
        """Take down from now on what another run would need, and go by what an earlier one did.

        To be said before the first entry is admitted, and after somebody has accepted the offer.
        """
        self._placing.journal = self._gate.journal = journal

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
        if admission.twin is not None:
            self.leave(admission, same=True)
            return
        outcome = self._placing.link(admission, entry.target, entry.mtime_ns)
        self._settle(admission)
        if outcome is not None:
            raise outcome

    def open_file(self, admission: Admission, size: int) -> PartialFile:
        """Begin an admitted file of ``size`` bytes, or of `UNKNOWN_SIZE`.

        Raises:
            EntryError: it can't be made, or there is no room for it; the entry is settled.
        """
        with self._settling(admission):
            return self._open_files.create(admission, size, self)

    def commit(self, finished: Sequence[tuple[PartialFile, int, int]]) -> list[EntryError | None]:
        """Bring whole files to the disk together, then name each.

        Args:
            finished: each with its mode and its mtime in nanoseconds.

        Returns:
            For each None, or why it was removed.
        """
        admissions = [self._open_files.admission(partial) for partial, _, _ in finished]
        together = self._placing.syncing.together(admissions)
        batch = []
        for partial, mode, mtime_ns in finished:
            batch.append(self._open_files.seal(partial, mode, mtime_ns, sync=not together))
        lost = self._placing.syncing.sync(admissions) if together else None
        return self._named(batch, lost)

    def write_small(self, files: Sequence[SmallFile]) -> list[Nameless]:
        """Write small files, which get their names by `sync_small` and `name_small`."""
        return self._placing.write_all(files)

    def sync_small(self, files: list[Nameless], before: Iterable[Batch] = ()) -> Batch:
        """Begin to sync what was written; `together` serve best.

        Args:
            files: what `write_small` gave.
            before: what was written before, and had no names when the first of these was written.

        Returns:
            What `name_small` or `drop_small` has to be told.
        """
        return self._placing.syncing.begin(files, list(before))

    def name_small(self, batch: Batch) -> list[EntryError | None]:
        """Name what was written, once it is on the disk; of two batches, the earlier one first.

        Returns:
            For each None, or why it was removed.
        """
        return self._named(batch.files, batch.lost())

    def drop_small(self, batch: Batch) -> None:
        """Remove what was written, but for what has its name already."""
        batch.lost()  # until then it is in use
        for nameless in batch.files:
            self._placing.drop(nameless)
            self._settle(nameless.admission)

    @property
    def together(self) -> int:
        """How many small files share a sync at best: each takes its time, whatever it brings."""
        return best_together()

    def may_hold(self, admission: Admission) -> bool:
        """Whether `adopt`, `older` or `twin` may have blocks of an admitted file to offer."""
        return admission.placed or (
            admission.twin is None
            and (admission.older is not None or self._open_files.may_adopt(admission))
        )

    def spared(self, admission: Admission) -> int:
        """Content bytes of an admitted file that may be here already, and then need no room."""
        if admission.older is not None or admission.placed:
            return admission.entry.size
        return min(self._open_files.kept(admission), admission.entry.size)

    def adopt(self, admission: Admission, size: int) -> PartialFile | None:
        """Go on with what an earlier run has left of an admitted file; see `PartialFile.stale`.

        Returns:
            None when the journal tells of nothing, or it is no longer there as it was.

        Raises:
            EntryError: there is no room for the rest; the entry is settled.
        """
        with self._settling(admission):
            return self._open_files.adopt(admission, size, self)

    def older(self, admission: Admission) -> Basis | None:
        """The file that an admitted one replaces, where it may serve as a basis.

        May be asked again: None once it is not what it was when it was admitted.
        """
        if admission.older is None:
            return None
        fd = open_older(self._handles, admission.folder, admission.name, admission.older)
        return None if fd is None else Basis(fd)

    def twin(self, admission: Admission) -> Basis | None:
        """What is there, and may be what is sent; None once it is not what was admitted."""
        if admission.twin is None:
            return None
        fd = open_older(self._handles, admission.folder, admission.name, admission.twin)
        return None if fd is None else Basis(fd)

    def leave(self, admission: Admission, *, same: bool) -> None:
        """All of what was sent has come, and was compared with `twin`, which stays as it is.

        Args:
            admission: the entry, which is settled.
            same: every byte was there, and nothing beyond.

        Raises:
            EntryError: it is something else, or was changed meanwhile.
        """
        try:
            if not same:
                raise kept()
            with contextlib.suppress(OSError):
                path, at = self._handles.locate(admission.folder, admission.name)
                found = os.stat(path, dir_fd=at, follow_symlinks=False)
                if Identity.of(found) == admission.twin:
                    return
            raise EntryError(Failure.EXISTS, "it was changed here meanwhile, and was kept")
        finally:
            self._settle(admission)

    def keep(self, admission: Admission, root: bytes, size: int, mode: int, mtime_ns: int) -> bool:
        """All of `older` was found right: let it stay, with these attributes.

        It is read once more: some of it may have been hashed hours ago, and an mtime does not tell
        of what a program writes through a mapping.

        Args:
            admission: the entry, which is settled if so.
            root: the file's, as the sender has it.
            size: bytes in it.
            mode: permission bits.
            mtime_ns: nanoseconds since the epoch.

        Returns:
            False when it is not what it was, or a hard link would change with it: the file then
            has to be written, if only from its own basis.
        """
        basis = self.older(admission)
        if basis is None:
            return False
        with basis:
            if basis.size != size or basis.root(size) != root or basis.changed():
                return False
            if not basis.has_attributes(mode, mtime_ns):
                self._placing.note(admission, basis.identity._replace(mtime_ns=mtime_ns))
                identity = basis.take_attributes(mode, mtime_ns)
                if identity is None:
                    return False
                self._placing.note(admission, identity)
        self._settle(admission)
        return True

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
            LocalFileError: the disk reported that something written earlier is lost, or somebody
                removed it.
        """
        self._folders.finish()
        if not self._folders.all_there():
            raise LocalFileError(
                "a folder was removed while files arrived in it",
                "run the same command again on both sides",
            )
        try:
            self._folders.sync()
        except OSError as error:
            raise LocalFileError(f"the disk failed: {error.strerror}") from error

    def close(self, *, keep: bool = False) -> None:
        """Let go of the tree, and remove what is unfinished; idempotent.

        Args:
            keep: leave what the journal lets another run go on with.
        """
        try:
            for admission in self._open_files.close(keep=keep):
                self._settle(admission)
            self._placing.close()
        finally:
            self._folders.shut()
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
        admission = self._open_files.admission(partial)
        (outcome,) = self.commit([(partial, mode, mtime_ns)])
        if outcome is not None:
            raise outcome
        return admission.name

    def drop(self, partial: PartialFile) -> None:
        """What `PartialFile.discard` does."""
        admission = self._open_files.drop(partial)
        if admission is not None:
            self._settle(admission)

    def _named(self, batch: Sequence[Nameless], lost: EntryError | None) -> list[EntryError | None]:
        outcomes = self._placing.place_all(batch, lost)
        settled: dict[OutFolder, int] = {}
        for nameless in batch:
            admission = nameless.admission
            if admission.held:
                admission.held = False
                settled[admission.folder] = settled.get(admission.folder, 0) + 1
        for folder, entries in settled.items():
            self._folders.release(folder, entries)
        return outcomes

    @contextlib.contextmanager
    def _settling(self, admission: Admission) -> Iterator[None]:
        """Settle an entry that can't be begun."""
        try:
            yield
        except OSError as error:
            self._settle(admission)
            raise writing(error) from error
        except LocalFileError:
            self._settle(admission)
            raise

    def _settle(self, admission: Admission) -> None:
        if admission.held:
            admission.held = False
            self._folders.release(admission.folder)
