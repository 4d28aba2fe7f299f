"""Where received content goes: a tree, a stream, a text. Everything here runs in a worker thread.

A sink checks each block's digest before a byte of it goes anywhere, and each file's root before the
file gets its name. It answers with `Result`s, which the receiving session hands to the machine. No
event loop, no machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import BinaryIO, Final, NamedTuple, Protocol

from p2pxfer.errors import IntegrityError, LocalFileError
from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.files.basis import Basis
from p2pxfer.files.durable import sync_output
from p2pxfer.files.failures import EntryError
from p2pxfer.files.hashing import FileRoot, WholeRoots, block_digest, zero_digest
from p2pxfer.files.partial import PartialFile
from p2pxfer.manifest import Entry, EntryKind, Failure
from p2pxfer.transfer.actions import BeginFile, EndFile, MakeEntry, TakeFile, WriteBlock

Payload = bytes | memoryview
MAX_TEXT: Final = 1024 * 1024  # bytes of a text that is shown


class Arrived(NamedTuple):
    """A block with its payload."""

    block: WriteBlock
    payload: list[Payload]


class ArrivedWhole(NamedTuple):
    """Small files with all of their payload."""

    files: tuple[TakeFile, ...]
    payload: Payload

    def contents(self) -> Iterator[tuple[TakeFile, memoryview]]:
        """Each file with its content, once its root has been compared.

        Raises:
            IntegrityError: it is another.
        """
        payload = memoryview(self.payload)
        root_of = WholeRoots().of
        for file in self.files:
            offset = file.offset
            content = payload[offset : offset + file.size]
            if root_of(content) != file.root:
                raise IntegrityError("a file arrived damaged; nothing of it was written")
            yield file, content


def in_parts(file: TakeFile, content: memoryview) -> Iterator[BeginFile | Arrived | EndFile]:
    """A small file as it would have come in parts."""
    number, entry, _, size, mode, mtime_ns, root = file
    yield BeginFile(number, entry, size, mode, mtime_ns)
    if size:
        block = WriteBlock(number, 0, 0, size, block_digest(content), zero=False)
        yield Arrived(block, [content])
    yield EndFile(number, size, root, None)


class Written(NamedTuple):
    """A block is where it belongs."""

    block: WriteBlock


class Ended(NamedTuple):
    """An entry is in place, or failed for the reason given."""

    number: int
    failure: Failure | None = None
    reason: str = ""

    @classmethod
    def of(cls, number: int, error: EntryError | None) -> Ended:
        """What became of an entry that ``error`` tells of."""
        return cls(number) if error is None else cls(number, error.failure, error.message)


class EndedWell(NamedTuple):
    """Entries are in place."""

    numbers: list[int]


Deed = BeginFile | Arrived | EndFile | MakeEntry | ArrivedWhole
Result = Written | Ended | EndedWell


class Sink(Protocol):
    """Takes what a transfer brings, in its order."""

    def admit(self, first: int, entries: Sequence[Entry]) -> list[tuple[int, Failure, str]]:
        """Judge entries; returns those that are not taken, and why."""

    def questions(self) -> list[tuple[int, Entry]]:
        """Admitted entries about which somebody has to be asked."""

    def answer(self, number: int, choice: ExistingPolicy) -> tuple[Failure, str] | None:
        """What was said about one; returns why it is now not taken, if so."""

    def likely(self) -> list[int]:
        """Files admitted since this was last asked of which blocks may be here already."""

    def held(self, number: int, most: int) -> list[bytes]:
        """Digests of the leading blocks of an admitted file that are here already."""

    def waits(self) -> bool:
        """Whether something is held back until more has come, or nothing more will."""

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

    def close(self, *, keep: bool) -> None:
        """Remove what is unfinished, or ``keep`` what another run can go on with."""


def checked(arrived: Arrived) -> list[Payload]:
    """The block's payload as it came, nothing for zeros, once its digest has been compared.

    Raises:
        IntegrityError: it is another.
    """
    block, payload = arrived.block, arrived.payload
    if block.kept:  # the machine has compared it with what was offered
        return []
    digest = zero_digest(block.length) if block.zero else block_digest(*payload)
    if digest != block.digest:
        raise IntegrityError("a block arrived damaged; nothing of it was written")
    return [] if block.zero else payload


def _in_parts(deed: Deed) -> Iterator[Deed]:
    if isinstance(deed, ArrivedWhole):
        for file, content in deed.contents():
            yield from in_parts(file, content)
    else:
        yield deed


class Twin:
    """A file that is there and stays, compared with what comes in its name.

    However it turns out, all of it is read, and takes as long: the sender is to learn no more
    than the end of it, unless blocks of it were offered.
    """

    __slots__ = ("_basis", "_same")

    def __init__(self, basis: Basis | None) -> None:
        self._basis = basis
        self._same = basis is not None

    def compare(self, offset: int, parts: Iterable[Payload]) -> None:
        """Compare a block with what is at ``offset``."""
        for part in parts:
            held = self._basis is not None and self._basis.holds(offset, part)
            self._same = self._same and held
            offset += len(part)

    def compare_kept(self, block: WriteBlock) -> None:
        """See that a block that was offered is still what it was."""
        held = self._basis is not None and self._basis.has(block.offset, block.length, block.digest)
        self._same = self._same and held

    def equals(self, size: int) -> bool:
        """Whether all blocks were there, and nothing beyond these ``size`` bytes."""
        return self._same and self._basis is not None and self._basis.size == size

    def close(self) -> None:
        """Let go of it; idempotent."""
        if self._basis is not None:
            self._basis.close()


class IncomingFile:
    """One file between its begin and its end."""

    __slots__ = ("basis", "begin", "failed", "kept", "partial", "parts", "root", "twin")

    def __init__(self, begin: BeginFile) -> None:
        self.begin = begin
        self.root = FileRoot()
        self.partial: PartialFile | None = None
        self.parts: list[Payload] = []
        self.basis: Basis | None = None
        self.twin: Twin | None = None  # then nothing is written
        self.kept: list[WriteBlock] = []  # of the basis, while there is no temporary
        self.failed = False

    def close(self) -> None:
        """Let go of the older copy."""
        for older in (self.basis, self.twin):
            if older is not None:
                older.close()

    def check(self, end: EndFile) -> None:
        """Compare the file's root with what the sender says.

        Raises:
            IntegrityError: it is another.
        """
        if self.root.digest(end.size) != end.root:
            raise IntegrityError("a file arrived damaged; it was removed")


class ByteWriter(Protocol):
    """What a `StreamSink` writes to: binary files and standard output's buffer fit."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Take some of ``data``; returns how many bytes."""

    def flush(self) -> object:
        """Let it go on."""


class StreamSink:
    """One file's content, written on as it comes, each block once it is verified.

    Args:
        out: takes it; a file or a disk below it is synced in the end.
        own: what `close` closes with the sink, if anything: ``out`` may be the caller's.
        max_size: bytes that are taken, None for any number.
    """

    def __init__(
        self, out: ByteWriter, *, own: BinaryIO | None = None, max_size: int | None = None
    ) -> None:
        self._out = out
        self._own = own
        self._max_size = max_size
        self._size = 0
        self._file: IncomingFile | None = None

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

    def likely(self) -> list[int]:
        """Nothing is here already."""
        return []

    def held(self, number: int, most: int) -> list[bytes]:  # noqa: ARG002  # the protocol's shape
        """Nothing is here already."""
        return []

    def waits(self) -> bool:
        """Every block is written on at once."""
        return False

    def require(self, size: int, entries: int) -> None:
        """A stream has no limit that is known beforehand."""

    def apply(self, deeds: Sequence[Deed], *, idle: bool) -> list[Result]:  # noqa: ARG002
        """Write blocks on; what can't be written ends the transfer."""
        results: list[Result] = []
        for deed in chain.from_iterable(map(_in_parts, deeds)):
            if isinstance(deed, BeginFile):
                self._file = IncomingFile(deed)
            elif isinstance(deed, Arrived):
                assert self._file is not None
                parts = checked(deed)
                self._size += deed.block.length
                if self._max_size is not None and self._size > self._max_size:
                    raise LocalFileError("the stream is over --max-size")
                self._file.root.update(deed.block.digest)
                for part in [bytes(deed.block.length)] if deed.block.zero else parts:
                    self._put(part)
                results.append(Written(deed.block))
            elif isinstance(deed, EndFile):
                if deed.failure is None and self._file is not None:
                    self._file.check(deed)
                results.append(Ended(deed.number))
        return results

    def finish(self) -> None:
        """Let the last bytes go; what can be synced is on the disk after that.

        Raises:
            LocalFileError: it can't be.
        """
        self._put(b"")
        try:
            fd = self._out.fileno()  # type: ignore[attr-defined]
        except (AttributeError, OSError):  # nothing that the system knows
            return
        try:
            sync_output(fd)
        except OSError as error:
            raise _unwritable(error) from error

    def close(self, *, keep: bool) -> None:  # noqa: ARG002  # the protocol's shape
        """Nothing to remove: what was written on is gone."""
        if self._own is not None:
            with contextlib.suppress(OSError):  # what had to get there was synced
                self._own.close()

    def _put(self, data: Payload) -> None:
        rest = memoryview(data)
        try:
            while rest:
                written = self._out.write(rest)
                if not written:
                    raise LocalFileError("the output takes nothing more")
                rest = rest[written:]
            self._out.flush()
        except OSError as error:
            raise _unwritable(error) from error


def _unwritable(error: OSError) -> LocalFileError:
    return LocalFileError(f"the output can't be written: {error.strerror}")


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
