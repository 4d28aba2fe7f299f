"""Where received content goes: a tree, a stream, a text. Everything here runs in a worker thread.

A sink checks each block's digest before a byte of it goes anywhere, and each file's root before the
file gets its name. It answers with `Result`s, which the receiving session hands to the machine. No
event loop, no machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from p2pxfer.errors import IntegrityError, LocalFileError
from p2pxfer.files.admission import Admission, ExistingPolicy
from p2pxfer.files.failures import EntryError
from p2pxfer.files.hashing import FileRoot, block_digest, zero_digest
from p2pxfer.files.partial import PartialFile
from p2pxfer.files.writer import OutputTree, SmallFile
from p2pxfer.manifest import MIN_BLOCK, UNKNOWN_SIZE, Entry, EntryKind, Failure
from p2pxfer.transfer.actions import BeginFile, EndFile, MakeEntry, WriteBlock

Payload = bytes | memoryview
MAX_TEXT: Final = 1024 * 1024  # bytes of a text that is shown
SMALL_BATCH: Final = 512  # files whose syncs are shared
SMALL_BYTES: Final = 8 * 1024 * 1024  # of their content, held until they are written


@dataclass(frozen=True, slots=True)
class Arrived:
    """A block with its payload."""

    block: WriteBlock
    payload: list[Payload]


@dataclass(frozen=True, slots=True)
class Written:
    """A block is where it belongs."""

    block: WriteBlock


@dataclass(frozen=True, slots=True)
class Ended:
    """An entry is in place, or failed for the reason given."""

    number: int
    failure: Failure | None = None
    reason: str = ""


Deed = BeginFile | Arrived | EndFile | MakeEntry
Result = Written | Ended


class Sink(Protocol):
    """Takes what a transfer brings, in its order."""

    def admit(self, first: int, entries: Sequence[Entry]) -> list[tuple[int, Failure, str]]:
        """Judge entries; returns those that are not taken, and why."""

    def questions(self) -> list[tuple[int, Entry]]:
        """Admitted entries about which somebody has to be asked."""

    def answer(self, number: int, choice: ExistingPolicy) -> tuple[Failure, str] | None:
        """What was said about one; returns why it is now not taken, if so."""

    def apply(self, deeds: Sequence[Deed], *, idle: bool) -> list[Result]:
        """Do what has come; ``idle`` tells that no more is waiting.

        Raises:
            IntegrityError: a digest or root is wrong.
        """

    def require(self, size: int, entries: int) -> None:
        """Check that so many bytes and entries fit.

        Raises:
            NoSpace: they do not.
        """

    def finish(self) -> None:
        """All is in place: bring it to the disk."""

    def close(self) -> None:
        """Remove what is unfinished."""


def checked(arrived: Arrived) -> bytes | memoryview:
    """The block's payload in one piece, empty for zeros, once its digest has been compared.

    Raises:
        IntegrityError: it is another.
    """
    block, payload = arrived.block, arrived.payload
    if block.zero:
        data: Payload = b""
        digest = zero_digest(block.length)
    else:
        data = payload[0] if len(payload) == 1 else b"".join(payload)
        digest = block_digest(data)
    if digest != block.digest:
        raise IntegrityError("a block arrived damaged; nothing of it was written")
    return data


class _File:
    """One file between its begin and its end."""

    __slots__ = ("begin", "failed", "partial", "parts", "root")

    def __init__(self, begin: BeginFile) -> None:
        self.begin = begin
        self.root = FileRoot()
        self.partial: PartialFile | None = None
        self.parts: list[Payload] = []
        self.failed = False

    def check(self, end: EndFile) -> None:
        """Compare the file's root with what the sender says.

        Raises:
            IntegrityError: it is another.
        """
        if self.root.digest(end.size) != end.root:
            raise IntegrityError("a file arrived damaged; it was removed")


class TreeSink:
    """Files, directories and symlinks below a directory.

    Args:
        tree: takes them.
        name: the one file's name there, where it is not to be the sender's.
        max_size: content bytes that are taken in all.
    """

    def __init__(
        self, tree: OutputTree, *, name: bytes | None = None, max_size: int | None = None
    ) -> None:
        self._tree = tree
        self._name = name
        self._max_size = max_size
        self._listed_size = 0  # of what was admitted, and may still come
        self._begun_size = 0
        self._admissions: dict[int, Admission] = {}
        self._asking: list[int] = []
        self._file: _File | None = None
        self._small: list[tuple[int, SmallFile]] = []
        self._small_bytes = 0
        self._whole: list[tuple[int, tuple[PartialFile, int, int]]] = []

    def admit(self, first: int, entries: Sequence[Entry]) -> list[tuple[int, Failure, str]]:
        """Judge entries; directories that pass are made."""
        refused: list[tuple[int, Failure, str]] = []
        for number, entry in enumerate(entries, first):
            size = max(entry.size, 0)
            if self._over(self._listed_size + size):
                refused.append((number, Failure.TOO_LARGE, "it is over --max-size"))
                continue
            renamed = entry if self._name is None else replace(entry, path=self._name)
            admission = self._tree.admit(renamed)
            if admission.failure is not None:
                refused.append((number, admission.failure, admission.reason))
                continue
            self._listed_size += size
            if entry.kind is not EntryKind.DIRECTORY:
                self._admissions[number] = admission
            if admission.question:
                self._asking.append(number)
        self.require(max(self._listed_size - self._begun_size, 0), len(self._admissions))
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
        self._listed_size -= max(admission.entry.size, 0)
        return admission.failure, admission.reason

    def require(self, size: int, entries: int) -> None:
        """Check that so much fits on the disk."""
        self._tree.space().require(size, entries)

    def apply(self, deeds: Sequence[Deed], *, idle: bool) -> list[Result]:
        """Write what has come; small files are written, synced and named together."""
        results: list[Result] = []
        for deed in deeds:
            if isinstance(deed, Arrived):
                self._write(deed, results)
            elif isinstance(deed, BeginFile):
                self._begin(deed, results)
            elif isinstance(deed, EndFile):
                self._end(deed, results)
            else:
                self._make(deed, results)
            if len(self._small) >= SMALL_BATCH or self._small_bytes >= SMALL_BYTES:
                self._flush(results)
        if idle:
            self._flush(results)
        return results

    def finish(self) -> None:
        """Set what folders lack, and bring all to the disk."""
        self._tree.finish()

    def close(self) -> None:
        """Remove temporaries."""
        self._tree.close()

    def _over(self, size: int) -> bool:
        return self._max_size is not None and size > self._max_size

    def _begin(self, begin: BeginFile, results: list[Result]) -> None:
        self._file = file = _File(begin)
        self._begun_size += max(begin.size, 0)
        if self._over(self._begun_size):
            self._fail(file, Failure.TOO_LARGE, "it is over --max-size", results)
        elif not 0 <= begin.size <= MIN_BLOCK:
            try:
                file.partial = self._tree.open_file(self._admissions[begin.number], begin.size)
            except EntryError as error:
                self._fail(file, error.failure, error.message, results)

    def _write(self, arrived: Arrived, results: list[Result]) -> None:
        file, block = self._file, arrived.block
        assert file is not None
        data = checked(arrived)
        if file.failed:
            return
        file.root.update(block.digest)
        if file.partial is None:
            file.parts.append(bytes(block.length) if block.zero else data)
            return
        if file.begin.size == UNKNOWN_SIZE:
            self._begun_size += block.length
            if self._over(self._begun_size):
                self._fail(file, Failure.TOO_LARGE, "it is over --max-size", results)
                return
        try:
            if block.zero:
                file.partial.hole(block.offset, block.length)
            else:
                file.partial.write_at(block.offset, [data])
        except EntryError as error:
            self._fail(file, error.failure, error.message, results)
            return
        results.append(Written(block))

    def _end(self, end: EndFile, results: list[Result]) -> None:
        file, self._file = self._file, None
        if file is not None and file.failed:  # that was told already
            return
        admission = self._admissions.pop(end.number)
        if file is None or end.failure is not None:  # it failed at the sender
            if file is not None and file.partial is not None:
                file.partial.discard()
            self._tree.abandon(admission)
            results.append(Ended(end.number))
            return
        file.check(end)
        begin = file.begin
        if file.partial is not None:
            self._whole.append((end.number, (file.partial, begin.mode, begin.mtime_ns)))
            self._flush_whole(results)
        else:
            content = file.parts[0] if len(file.parts) == 1 else b"".join(file.parts)
            small = SmallFile(admission, bytes(content), begin.mode, begin.mtime_ns)
            self._small.append((end.number, small))
            self._small_bytes += len(small.data)

    def _make(self, make: MakeEntry, results: list[Result]) -> None:
        failure, reason = None, ""
        if make.entry.kind is EntryKind.SYMLINK:
            try:
                self._tree.make_symlink(self._admissions.pop(make.number))
            except EntryError as error:
                failure, reason = error.failure, error.message
        results.append(Ended(make.number, failure, reason))

    def _fail(self, file: _File, failure: Failure, reason: str, results: list[Result]) -> None:
        file.failed = True
        if file.partial is not None:
            file.partial.discard()
            file.partial = None
        self._begun_size -= max(file.begin.size, 0)
        self._listed_size -= max(file.begin.entry.size, 0)
        self._tree.abandon(self._admissions.pop(file.begin.number))
        results.append(Ended(file.begin.number, failure, reason))

    def _flush(self, results: list[Result]) -> None:
        batch, self._small, self._small_bytes = self._small, [], 0
        if not batch:
            return
        outcomes = self._tree.write_small([small for _, small in batch])
        for (number, _), error in zip(batch, outcomes, strict=True):
            results.append(_ended(number, error))

    def _flush_whole(self, results: list[Result]) -> None:
        whole, self._whole = self._whole, []
        outcomes = self._tree.commit([finished for _, finished in whole])
        for (number, _), error in zip(whole, outcomes, strict=True):
            results.append(_ended(number, error))


def _ended(number: int, error: EntryError | None) -> Ended:
    return Ended(number) if error is None else Ended(number, error.failure, error.message)


class ByteWriter(Protocol):
    """What a `StreamSink` writes to: binary files and standard output's buffer fit."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Take some of ``data``; returns how many bytes."""

    def flush(self) -> object:
        """Let it go on."""


class StreamSink:
    """One file's content, written on as it comes, each block once it is verified."""

    def __init__(self, out: ByteWriter, *, max_size: int | None = None) -> None:
        self._out = out
        self._max_size = max_size
        self._size = 0
        self._file: _File | None = None

    def admit(self, first: int, entries: Sequence[Entry]) -> list[tuple[int, Failure, str]]:
        """Take the first file; anything else has no place in a stream."""
        return [
            (number, Failure.EXISTS, "only one file can be written to a stream")
            for number, entry in enumerate(entries, first)
            if number > 0 or entry.kind is not EntryKind.FILE
        ]

    def questions(self) -> list[tuple[int, Entry]]:
        """Nothing can be there already."""
        return []

    def answer(self, number: int, choice: ExistingPolicy) -> tuple[Failure, str] | None:
        """Nothing is asked."""
        raise ValueError(f"nothing was asked about {number}, not even {choice}")

    def require(self, size: int, entries: int) -> None:
        """A stream has no limit that is known beforehand."""

    def apply(self, deeds: Sequence[Deed], *, idle: bool) -> list[Result]:  # noqa: ARG002
        """Write blocks on; what can't be written ends the transfer."""
        results: list[Result] = []
        for deed in deeds:
            if isinstance(deed, BeginFile):
                self._file = _File(deed)
            elif isinstance(deed, Arrived):
                assert self._file is not None
                data = checked(deed)
                self._size += deed.block.length
                if self._max_size is not None and self._size > self._max_size:
                    raise LocalFileError("the stream is over --max-size")
                self._file.root.update(deed.block.digest)
                self._put(bytes(deed.block.length) if deed.block.zero else data)
                results.append(Written(deed.block))
            elif isinstance(deed, EndFile):
                if deed.failure is None and self._file is not None:
                    self._file.check(deed)
                results.append(Ended(deed.number))
        return results

    def finish(self) -> None:
        """Let the last bytes go."""
        self._put(b"")

    def close(self) -> None:
        """Nothing to remove: what was written on is gone."""

    def _put(self, data: Payload) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._out.write(rest) :]
            self._out.flush()
        except OSError as error:
            raise LocalFileError(f"the output can't be written: {error.strerror}") from error


class TextSink(StreamSink):
    """A text, kept until all of it is there."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        super().__init__(self, max_size=MAX_TEXT)

    def write(self, data: Payload, /) -> int:
        """Keep ``data``."""
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing to let go."""

    @property
    def text(self) -> str:
        """All of it, with anything that is no UTF-8 replaced."""
        return b"".join(self._parts).decode("utf-8", "replace")
