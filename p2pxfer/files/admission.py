"""Who gets in: every entry of a manifest is judged once, against names, links and what is there.

A directory that passes is made at once, since those after it are judged by what is in it. Nothing
else is written here.
"""

from __future__ import annotations

import contextlib
import os
import stat
from enum import Enum

from msgspec import Struct

from p2pxfer.errors import UnsafeName
from p2pxfer.files import collisions
from p2pxfer.files.failures import EntryError, writing
from p2pxfer.files.folders import OutFolder, OutFolders
from p2pxfer.files.journal import Journal
from p2pxfer.files.naming import is_temporary
from p2pxfer.files.opening import keeps_out
from p2pxfer.files.paths import NameRules, SafePath, safe_target
from p2pxfer.files.records import Identity, Placed
from p2pxfer.manifest import Entry, EntryKind, Failure

_SYMLINK = EntryKind.SYMLINK  # a look into the enumeration for each entry takes its time
_DIRECTORY = EntryKind.DIRECTORY


class ExistingPolicy(Enum):
    """What to do about a file that is already there. Folders are merged into in any case."""

    ASK = "ask"
    OVERWRITE = "overwrite"
    RENAME = "rename"  # the new one becomes ``name (1).ext``
    SKIP = "skip"
    FAIL = "fail"
    UPDATE = "update"  # what is there is a basis, and replaced


class Naming(Enum):
    """How a finished file or symlink gets its name."""

    NEW = "new"  # unless something is there
    REPLACE = "replace"  # whatever is there, but never a folder
    RENAME = "rename"  # the first free ``name (1).ext``


class Admission(Struct, eq=False):
    """One entry, judged. Hand it back to the tree to write, answer or abandon the entry.

    Attributes:
        entry: as the manifest has it.
        folder: where it goes.
        name: its name there; `ExistingPolicy.RENAME` changes it when it is written.
        failure: why it is not taken, or None.
        reason: the same for people; empty without a failure.
        exists: a file or symlink of that name is there already.
        question: ``exists``, and somebody has to say what to do: see `OutputTree.answer`.
        naming: how it will get its name.
        held: its folder waits for it.
        older: the file that it replaces, where that may serve as a basis; else None.
        ours: what an earlier run of this transfer put there and nobody has touched; None where
            there is none, or what is there may be replaced in any case.
        twin: what is there, and stays in any case: it may be just what is sent. Nothing of it may
            be told before all of that has come, unless it is ``placed``; None where nothing
            suggests so.
        placed: an earlier run of this transfer seems to have put the twin there.
    """

    entry: Entry
    folder: OutFolder
    name: bytes = b""
    failure: Failure | None = None
    reason: str = ""
    exists: bool = False
    question: bool = False
    naming: Naming = Naming.NEW
    held: bool = False
    older: Identity | None = None
    ours: Identity | None = None
    twin: Identity | None = None
    placed: bool = False

    def refuse(self, error: EntryError) -> None:
        """Note why it is not taken."""
        self.failure = error.failure
        self.reason = error.message


class Gate:
    """Judges entries in the order of the manifest. See `OutputTree` for what it takes.

    Attributes:
        journal: tells what an earlier run has put in place, and takes down which folders are made.
    """

    def __init__(
        self,
        folders: OutFolders,
        *,
        rules: NameRules,
        existing: ExistingPolicy,
        unsafe_symlinks: bool,
        name_limit: int,
    ) -> None:
        self._folders = folders
        self._handles = folders.handles
        self._rules = rules
        self._existing = existing
        self._unsafe_symlinks = unsafe_symlinks
        self._name_limit = name_limit
        self.journal: Journal | None = None

    def judge(self, entry: Entry) -> Admission:
        """Judge ``entry``; never raises for its sake."""
        admission = Admission(entry, self._folders.root)
        try:
            self._judge(admission)
        except UnsafeName as error:
            admission.refuse(EntryError(Failure.UNSAFE_NAME, error.message))
        except EntryError as error:
            admission.refuse(error)
        except OSError as error:
            admission.refuse(writing(error))
        return admission

    def decide(self, admission: Admission, choice: ExistingPolicy) -> None:
        """Settle what happens to the file that is there."""
        if choice in (ExistingPolicy.OVERWRITE, ExistingPolicy.UPDATE):
            admission.naming = Naming.REPLACE
        elif choice is ExistingPolicy.RENAME:
            admission.naming = Naming.RENAME
        else:
            admission.refuse(kept())

    def _judge(self, admission: Admission) -> None:
        entry = admission.entry
        path = SafePath.parse(entry.path, self._rules)
        name = path.name
        if len(name) > self._name_limit:
            raise EntryError(Failure.UNSAFE_NAME, "the name is too long for this filesystem")
        folder = self._folders.enter(path.parent)
        if folder is None:
            raise EntryError(Failure.PARENT_FAILED, "the folder that it belongs into was not made")
        admission.folder, admission.name = folder, name
        kind = entry.kind
        if kind is _SYMLINK and not self._unsafe_symlinks:
            wrong = safe_target(entry.target, len(path.parts) - 1, self._rules)
            if wrong is not None:
                raise EntryError(Failure.UNSAFE_TARGET, wrong)
        # Nothing of anybody's is in a fresh folder; two entries of one name meet as they are named.
        found = None if folder.fresh else self._look(folder, name)
        if kind is _DIRECTORY:
            self._make_directory(admission, found)
            return
        if not folder.fresh and not self._is_ours(admission, found) and found is not None:
            self._judge_existing(admission, found)
        if admission.failure is None:
            admission.held = True
            self._folders.hold(folder)

    def _look(self, folder: OutFolder, name: bytes) -> os.stat_result | None:
        folding = collisions.folds(self._handles, folder, lambda name: self._intend(folder, name))
        path, at = self._handles.locate(folder, name)
        try:
            found = os.stat(path, dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if folding and not collisions.claim(self._handles, folder, name, found):
            raise collisions.collision()
        return found

    def _intend(self, folder: OutFolder, name: bytes) -> None:
        if self.journal is not None:
            self.journal.intend([(folder.below(name), name)])

    def _judge_existing(self, admission: Admission, found: os.stat_result) -> None:
        if stat.S_ISDIR(found.st_mode):
            raise EntryError(Failure.EXISTS, "a folder is in the way")
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
            raise EntryError(Failure.EXISTS, "a device, pipe or socket is in the way")
        if is_temporary(admission.name):
            raise EntryError(Failure.EXISTS, "an unfinished file of another transfer is in the way")
        admission.exists = True
        if self._existing is ExistingPolicy.UPDATE:
            admission.older = _basis(admission.entry, found)
        if self._existing in (ExistingPolicy.ASK, ExistingPolicy.FAIL) and self._resembles(
            admission, found
        ):
            admission.twin = Identity.of(found)
        elif self._existing is ExistingPolicy.ASK:
            admission.question = True
        else:
            self.decide(admission, self._existing)

    def _resembles(self, admission: Admission, found: os.stat_result) -> bool:
        """Whether what is there looks like what an earlier run of the same would have left there.

        The mtime does, to the nanosecond: whoever tells the right one has set it, or had the file.
        """
        entry = admission.entry
        if found.st_mtime_ns != entry.mtime_ns:
            return False
        if entry.kind is EntryKind.SYMLINK and stat.S_ISLNK(found.st_mode):
            path, at = self._handles.locate(admission.folder, admission.name)
            return os.readlink(path, dir_fd=at) == entry.target
        alike = found.st_size == entry.size and (found.st_mode ^ entry.mode) & 0o777 == 0
        return entry.kind is EntryKind.FILE and stat.S_ISREG(found.st_mode) and alike

    def _placed(self, path: bytes) -> list[Placed]:
        return [] if self.journal is None else self.journal.placed_earlier(path)

    def _is_ours(self, admission: Admission, found: os.stat_result | None) -> bool:
        """Whether an earlier run of this transfer put it there, and nobody touched it since.

        Where files are numbered anew at each mount (FAT), size and mtime are all there is to know
        one by. That will do to compare it, not to replace it.
        """
        wanted, alike = admission.name, None
        for placed in self._placed(admission.entry.path):
            there = found
            if placed.name != wanted:  # it had to take another name then
                there = None
                path, at = self._handles.locate(admission.folder, placed.name)
                with contextlib.suppress(FileNotFoundError):
                    there = os.stat(path, dir_fd=at, follow_symlinks=False)
            if there is None or stat.S_ISDIR(there.st_mode):
                continue
            if Identity.of(there) == placed.identity:
                admission.name = placed.name
                admission.exists = True
                admission.naming = Naming.REPLACE
                admission.older = _basis(admission.entry, there)
                if self._existing not in (ExistingPolicy.OVERWRITE, ExistingPolicy.UPDATE):
                    admission.ours = placed.identity
                return True
            if self._seems_placed(admission.entry, there, placed):
                alike = placed.name, Identity.of(there)
        if alike is None:
            return False
        admission.name, admission.twin = alike
        admission.exists = admission.placed = True
        return True

    def _seems_placed(self, entry: Entry, there: os.stat_result, placed: Placed) -> bool:
        if self._existing in (ExistingPolicy.OVERWRITE, ExistingPolicy.UPDATE):
            return False  # it may be replaced in any case
        regular = entry.kind is EntryKind.FILE and stat.S_ISREG(there.st_mode)
        alike = Identity.of(there)[1:] == placed.identity[1:]
        return regular and alike and there.st_size == entry.size

    def _make_directory(self, admission: Admission, found: os.stat_result | None) -> None:
        entry, parent, name = admission.entry, admission.folder, admission.name
        if found is not None and not stat.S_ISDIR(found.st_mode):
            raise EntryError(Failure.EXISTS, "something that is no folder is in the way")
        if found is None:
            if self.journal is not None:
                self.journal.placed([Placed(entry.path, name, Identity(0, 0, 0))])
            path, at = self._handles.locate(parent, name)
            try:
                # Ours to write into until it is done, whatever its mode is to be.
                os.mkdir(path, (entry.mode & 0o777) | 0o700, dir_fd=at)
            except FileExistsError:
                raise collisions.taken(self._handles, parent) from None
            collisions.note(self._handles, parent, name)
        replaces = self._existing in (ExistingPolicy.OVERWRITE, ExistingPolicy.UPDATE)
        ours = found is not None and self._was_made(entry.path, found)
        attributes: tuple[int, int | None] | None = None
        if found is None or replaces or ours:
            attributes = (entry.mode, entry.mtime_ns)
        folder = OutFolder(
            parent,
            name,
            entry.path,
            fresh=found is None,
            device=parent.device if found is None else found.st_dev,
            attributes=attributes,
        )
        former = None
        if found is not None and keeps_out(found):
            # As an earlier run has left it, or in the way of what replaces it; else it stays shut.
            alike = (found.st_mode ^ entry.mode) & 0o777 == 0
            if alike or attributes is not None:
                former = self._folders.open(folder, found)
        if former is not None and attributes is None:
            folder.attributes = (former, None)
        self._folders.add(folder)
        if self.journal is not None and (ours or former is not None or found is None):
            path, at = self._handles.locate(folder)
            made = Identity.of(os.stat(path if at is None else at))
            self.journal.placed([Placed(entry.path, name, made)])

    def _was_made(self, path: bytes, found: os.stat_result) -> bool:
        which = Identity.of(found).inode
        return any(placed.identity.inode in (which, 0) for placed in self._placed(path))


def kept() -> EntryError:
    """What is there was not given up."""
    return EntryError(Failure.EXISTS, "it is already there, and was kept")


def _basis(entry: Entry, found: os.stat_result) -> Identity | None:
    regular = stat.S_ISREG(found.st_mode) and entry.kind is EntryKind.FILE
    return Identity.of(found) if regular else None
