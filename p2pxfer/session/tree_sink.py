"""Files, directories and symlinks that go below a directory: the `Sink` for trees.

Runs in a worker thread. It judges what is offered, and sees to one larger file after another; small
ones go through `SmallFiles`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from p2pxfer.errors import IntegrityError
from p2pxfer.files.admission import Admission, ExistingPolicy
from p2pxfer.files.basis import Basis
from p2pxfer.files.failures import EntryError
from p2pxfer.files.journal import Journal
from p2pxfer.files.partial import PartialFile
from p2pxfer.files.writer import OutputTree, SmallFile
from p2pxfer.manifest import MIN_BLOCK, UNKNOWN_SIZE, Entry, EntryKind, Failure, block_size
from p2pxfer.session.sinks import (
    Arrived,
    ArrivedWhole,
    Deed,
    Ended,
    IncomingFile,
    Payload,
    Result,
    Twin,
    Written,
    checked,
    in_parts,
)
from p2pxfer.session.small_files import SmallFiles
from p2pxfer.transfer.actions import BeginFile, EndFile, MakeEntry, WriteBlock

_FILE: Final = EntryKind.FILE  # looked up in the enumeration it takes as long as much of the rest
_DIRECTORY: Final = EntryKind.DIRECTORY


class TreeSink:
    """Files, directories and symlinks below a directory.

    Args:
        tree: takes them.
        directory: where that is.
        name: the one file's name there, where it is not to be the sender's.
        max_size: content bytes that are taken in all.
    """

    def __init__(
        self,
        tree: OutputTree,
        directory: Path,
        *,
        name: bytes | None = None,
        max_size: int | None = None,
    ) -> None:
        self.directory = directory
        self._tree = tree
        self._journal: Journal | None = None
        self._adopted: dict[int, PartialFile] = {}
        self._name = name
        self._max_size = max_size
        self._listed_size = 0  # of what was admitted, and may still come
        self._begun_size = 0
        self._spared: dict[int, int] = {}  # bytes of those to come that may be here, by number
        self._spared_size = 0
        self._admissions: dict[int, Admission] = {}
        self._asking: list[int] = []
        self._likely: list[int] = []
        self._file: IncomingFile | None = None
        self._small = SmallFiles(tree)

    def record(self, journal: Journal) -> None:
        """Go by what an earlier run did, and take down what a later one would need."""
        self._journal = journal
        self._tree.record(journal)

    def admit(self, first: int, entries: Sequence[Entry]) -> list[tuple[int, Failure, str]]:
        """Judge entries; directories that pass are made."""
        refused: list[tuple[int, Failure, str]] = []
        judge, may_hold, limited = self._tree.admit, self._tree.may_hold, self._max_size is not None
        for number, entry in enumerate(entries, first):
            size = max(entry.size, 0)
            if limited and self._over(self._listed_size + size):
                refused.append((number, Failure.TOO_LARGE, "it is over --max-size"))
                continue
            renamed = entry if self._name is None else entry._replace(path=self._name)
            admission = judge(renamed)
            if admission.failure is not None:
                refused.append((number, admission.failure, admission.reason))
                continue
            self._listed_size += size
            if entry.kind is not _DIRECTORY:
                self._admissions[number] = admission
            if admission.question:
                self._asking.append(number)
            if entry.kind is _FILE and may_hold(admission):
                self._likely.append(number)
                self._spare(number, self._tree.spared(admission))
            elif admission.twin is not None:
                self._spare(number, entry.size)
        to_come = self._listed_size - self._begun_size - self._spared_size
        self.require(max(to_come, 0), max(len(self._admissions) - len(self._spared), 0))
        return refused

    def questions(self) -> list[tuple[int, Entry]]:
        """Entries that are there already, when somebody is to be asked."""
        asking, self._asking = self._asking, []
        return [(number, self._admissions[number].entry) for number in asking]

    def answer(self, number: int, choice: ExistingPolicy) -> tuple[Failure, str] | None:
        """What was said about one."""
        admission = self._admissions[number]
        self._tree.answer(admission, choice)
        if admission.failure is None:
            return None
        del self._admissions[number]
        self._needs_room(number)
        self._listed_size -= max(admission.entry.size, 0)
        return admission.failure, admission.reason

    def likely(self) -> list[int]:
        """Files admitted since this was last asked of which blocks may be here already."""
        likely, self._likely = self._likely, []
        return likely

    def held(self, number: int, most: int) -> list[bytes]:
        """Digests of the leading blocks of an admitted file that are here, at most ``most``."""
        admission = self._admissions.get(number)
        size = admission.entry.size if admission else UNKNOWN_SIZE
        if admission is None or size <= 0:
            return []
        basis = self._tree.twin(admission) if admission.placed else self._basis(number, admission)
        if basis is None:
            return []
        with basis:
            return list(islice(basis.digests(block_size(size), size), most))

    def _basis(self, number: int, admission: Admission) -> Basis | None:
        try:
            partial = self._tree.adopt(admission, admission.entry.size)
        except EntryError:
            return None  # it says so again when the file begins
        if partial is None:
            return self._tree.older(admission)
        self._adopted[number] = partial
        return Basis.of(partial)

    def require(self, size: int, entries: int) -> None:
        """Check that so much fits on the disk."""
        self._tree.space().require(size, entries)

    def waits(self) -> bool:
        """Whether small files are held back."""
        return self._small.waiting

    def apply(self, deeds: Sequence[Deed], *, idle: bool) -> list[Result]:
        """Write what has come; small files are written, synced and named together."""
        results: list[Result] = []
        for deed in deeds:
            if isinstance(deed, ArrivedWhole):
                self._take(deed, results)
            else:
                self._do(deed, results)
        self._small.go_on(results, idle=idle)
        return results

    def _do(self, deed: BeginFile | Arrived | EndFile | MakeEntry, results: list[Result]) -> None:
        if isinstance(deed, Arrived):
            self._write(deed, results)
        elif isinstance(deed, BeginFile):
            self._begin(deed, results)
        elif isinstance(deed, EndFile):
            self._end(deed, results)
        else:
            self._make(deed, results)

    def finish(self) -> None:
        """Set what folders lack, and bring all to the disk."""
        self._tree.finish()

    def close(self, *, keep: bool) -> None:
        """Remove temporaries, or leave those that a journal tells another run of.

        With ``keep`` small files that are whole still get their names.
        """
        self._small.close(keep=keep)
        if self._file is not None:
            self._file.close()
        self._tree.close(keep=keep and self._journal is not None)

    def _spare(self, number: int, size: int) -> None:
        """So much of one that is to come needs no room."""
        self._spared[number] = spared = max(size, 0)
        self._spared_size += spared

    def _needs_room(self, number: int) -> None:
        """It is no longer to come: from here on the disk tells what room it needs."""
        if self._spared:
            self._spared_size -= self._spared.pop(number, 0)

    def _over(self, size: int) -> bool:
        return self._max_size is not None and size > self._max_size

    def _take(self, deed: ArrivedWhole, results: list[Result]) -> None:
        """Take small files at once, where nothing of them is here and there is no limit."""
        admissions, adopted, limited = self._admissions, self._adopted, self._max_size is not None
        add = self._small.add
        for file, content in deed.contents():
            number, _, _, size, mode, mtime_ns, _ = file
            admission = admissions[number]
            fresh = admission.older is None and admission.twin is None and number not in adopted
            if limited or not fresh:
                for part in in_parts(file, content):
                    self._do(part, results)
                continue
            self._begun_size += size
            self._needs_room(number)
            del admissions[number]
            small = SmallFile(admission, content, mode, mtime_ns)
            add(number, small, len(admissions), results)

    def _begin(self, begin: BeginFile, results: list[Result]) -> None:
        self._file = file = IncomingFile(begin)
        self._begun_size += max(begin.size, 0)
        self._needs_room(begin.number)
        if self._over(self._begun_size):
            self._fail(file, Failure.TOO_LARGE, "it is over --max-size", results)
            return
        admission = self._admissions[begin.number]
        if admission.twin is not None:
            file.twin = Twin(self._tree.twin(admission))
            return
        adopted = self._adopted.pop(begin.number, None)
        if adopted is not None:  # what was offered is in there, and in no other copy
            adopted.size = begin.size  # which may have changed since it was listed
            file.partial, file.basis = adopted, Basis.of(adopted)
            return
        file.basis = self._tree.older(admission)
        if file.basis is None and not 0 <= begin.size <= MIN_BLOCK:
            self._open(file, results)

    def _open(self, file: IncomingFile, results: list[Result]) -> bool:
        """Make the file's temporary, with the blocks in it that were kept so far."""
        try:
            file.partial = self._tree.open_file(
                self._admissions[file.begin.number], file.begin.size
            )
            for block in file.kept:
                assert file.basis is not None
                file.basis.copy_to(file.partial, block.offset, block.length, block.digest)
        except EntryError as error:
            self._fail(file, error.failure, error.message, results)
            return False
        file.kept.clear()
        return True

    def _write(self, arrived: Arrived, results: list[Result]) -> None:
        file, block = self._file, arrived.block
        assert file is not None
        parts = checked(arrived)
        if file.failed or not self._takes(file, block, results):
            return
        file.root.update(block.digest)
        if file.twin is not None:
            if block.kept:
                file.twin.compare_kept(block)
            else:
                file.twin.compare(block.offset, [bytes(block.length)] if block.zero else parts)
            results.append(Written(block))
            return
        if file.partial is None and self._held_back(file, block, parts, results):
            return
        if file.partial is None and not self._open(file, results):
            return
        assert file.partial is not None
        try:
            if block.kept:
                assert file.basis is not None
                file.basis.copy_to(file.partial, block.offset, block.length, block.digest)
            elif block.zero:
                file.partial.hole(block.offset, block.length)
            else:
                file.partial.write_at(block.offset, parts)
        except EntryError as error:
            self._fail(file, error.failure, error.message, results)
            return
        results.append(Written(block))

    def _takes(self, file: IncomingFile, block: WriteBlock, results: list[Result]) -> bool:
        """Whether a block is within the limit, and what it builds on still there."""
        if file.begin.size == UNKNOWN_SIZE:
            self._begun_size += block.length
            if self._over(self._begun_size):
                self._fail(file, Failure.TOO_LARGE, "it is over --max-size", results)
                return False
        if block.kept and file.basis is None and file.twin is None:
            changed = "the older copy changed while it was used"
            self._fail(file, Failure.WRITE_FAILED, changed, results)
            return False
        return True

    def _held_back(
        self, file: IncomingFile, block: WriteBlock, parts: list[Payload], results: list[Result]
    ) -> bool:
        """Put a block off until the file needs a temporary; whether that was done."""
        if block.kept:
            file.kept.append(block)
            results.append(Written(block))
        elif 0 <= file.begin.size <= MIN_BLOCK:
            file.parts += [bytes(block.length)] if block.zero else parts
        else:
            return False
        return True

    def _end(self, end: EndFile, results: list[Result]) -> None:
        file, self._file = self._file, None
        if file is not None and file.begin.number != end.number:
            file = None  # one that failed here, of whose end nobody is told
        if file is not None and file.failed:  # that was told already
            return
        if file is None or end.failure is not None:  # it failed at the sender
            self._give_up(end.number, file)
            results.append(Ended(end.number))
            return
        try:
            file.check(end)
        except IntegrityError:
            file.close()
            raise
        begin = file.begin
        admission = self._admissions[end.number]
        if file.twin is not None:
            self._compared(file, file.twin, end.size, results)
            return
        if file.kept and not file.parts:  # all of it is in place already
            if self._tree.keep(admission, end.root, begin.size, begin.mode, begin.mtime_ns):
                del self._admissions[end.number]
                file.close()
                results.append(Ended(end.number))
                return
            if not self._open(file, results):
                return
        file.close()
        del self._admissions[end.number]
        if file.partial is not None:
            (error,) = self._tree.commit([(file.partial, begin.mode, begin.mtime_ns)])
            results.append(Ended.of(end.number, error))
            return
        content = file.parts[0] if len(file.parts) == 1 else b"".join(file.parts)
        small = SmallFile(admission, content, begin.mode, begin.mtime_ns)
        self._small.add(end.number, small, len(self._admissions), results)

    def _compared(self, file: IncomingFile, twin: Twin, size: int, results: list[Result]) -> None:
        """Settle a file of which something like it is there, and stays."""
        begin, failure, reason = file.begin, None, ""
        same = twin.equals(size)
        file.close()
        admission = self._admissions.pop(begin.number)
        entry = admission.entry
        unchanged = begin.mtime_ns == entry.mtime_ns and (begin.mode ^ entry.mode) & 0o777 == 0
        try:
            self._tree.leave(admission, same=same and unchanged)  # since it was listed
        except EntryError as error:
            failure, reason = error.failure, error.message
        results.append(Ended(begin.number, failure, reason))

    def _make(self, make: MakeEntry, results: list[Result]) -> None:
        failure, reason = None, ""
        if make.entry.kind is EntryKind.SYMLINK:
            try:
                self._tree.make_symlink(self._admissions.pop(make.number))
            except EntryError as error:
                failure, reason = error.failure, error.message
        results.append(Ended(make.number, failure, reason))

    def _fail(
        self, file: IncomingFile, failure: Failure, reason: str, results: list[Result]
    ) -> None:
        file.failed = True
        self._give_up(file.begin.number, file)
        results.append(Ended(file.begin.number, failure, reason))

    def _give_up(self, number: int, file: IncomingFile | None) -> None:
        """It will not come, and needs no room; what is here of one not begun stays for later."""
        admission = self._admissions.pop(number)
        self._listed_size -= max(admission.entry.size, 0)
        if file is None:
            self._needs_room(number)
        else:
            self._begun_size -= max(file.begin.size, 0)
            file.close()
            if file.partial is not None:
                file.partial.discard()
                file.partial = None
        self._tree.abandon(admission)
