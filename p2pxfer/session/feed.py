"""Content read ahead of the network: files, in the order they will be sent.

A feed fills a queue of `Piece`s in the background, bounded in bytes, and the sending session takes
from its front. Reading and hashing happen in a worker thread, in batches that make few trips to it.
No protocol: a feed knows numbers, entries and digests.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from p2pxfer.files.failures import EntryError
from p2pxfer.files.hashing import (
    FileRoot,
    WholeRoots,
    block_digest,
    file_root,
    is_zero,
    zero_digest,
)
from p2pxfer.files.reader import SMALL, SourceFile, SourceTree
from p2pxfer.manifest import Entry, Failure, block_size
from p2pxfer.transfer.messages import MAX_WHOLE

AHEAD: Final = 8 * 1024 * 1024  # bytes read and not yet taken
BATCH_BYTES: Final = 2 * 1024 * 1024  # read in one trip to the worker thread
BATCH_PIECES: Final = 384
BATCH_SMALL: Final = 128  # files
BARE: Final = 64  # bytes charged for a piece without content, so that these are bounded too


class Opened(NamedTuple):
    """A file was opened; its values as of then. ``size`` is -1 for a stream."""

    number: int
    size: int
    mode: int
    mtime_ns: int


class Content(NamedTuple):
    """One block. ``data`` is empty for a block of zeros. ``last`` matters for streams only.

    A view of ``data`` goes back to its feed when it is no longer needed: see `Feed.done_with`.
    """

    number: int
    length: int
    digest: bytes
    zero: bool
    data: bytes | memoryview
    last: bool = False


class Whole(NamedTuple):
    """A small file with all of it; its first five fields are a `messages.WholeFile`."""

    number: int
    size: int
    mode: int
    mtime_ns: int
    root: bytes
    data: bytes
    path: bytes

    def parts(self) -> list[Opened | Content | Closed]:
        """The same as three pieces, or two of an empty file, charged alike."""
        number, size, mode, mtime_ns, root, data, _ = self
        opened, closed = Opened(number, size, mode, mtime_ns), Closed(number, None, root)
        if not data:
            return [opened, closed]
        return [opened, Content(number, size, block_digest(data), zero=False, data=data), closed]


class Closed(NamedTuple):
    """No more of this file: its root, or why it failed."""

    number: int
    failure: Failure | None
    root: bytes


Piece = Opened | Content | Closed | Whole


class Job(Struct, frozen=True):
    """A file to be read. ``source`` is its path on this machine."""

    number: int
    entry: Entry
    source: bytes


class Feed(Protocol):
    """Where a sender takes content from."""

    pieces: deque[Piece]

    def add(self, jobs: list[Job]) -> None:
        """Files that will be sent next."""

    def backlog(self) -> int:
        """Files added that have not been begun."""

    def drop(self, number: int) -> None:
        """Nothing more of this file is wanted."""

    def taken(self, pieces: Sequence[Piece]) -> None:
        """These pieces were taken from the front."""

    def done_with(self, content: Content) -> None:
        """Nobody looks at this block's bytes any more."""

    async def run(self) -> None:
        """Read until cancelled."""

    def close(self) -> None:
        """Let go of what is open; called where the reading was done."""


def charge(piece: Piece) -> int:
    """Bytes that a piece counts for while it waits."""
    if type(piece) is Whole:
        return len(piece.data) + 2 * BARE
    return len(piece.data) if type(piece) is Content else BARE


class Buffers:
    """Memory of blocks that were sent, for those that are read next: all of one size at a time.

    Fresh memory for each block would cost more than reading into it.
    """

    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self._size = 0

    def take(self, size: int) -> memoryview:
        """A buffer of ``size`` bytes, whatever is in it."""
        if size != self._size:
            self._free, self._size = [], size
        return self._free.pop() if self._free else memoryview(bytearray(size))

    def put(self, buffer: memoryview) -> None:
        """It is no longer needed."""
        if len(buffer) == self._size:
            self._free.append(buffer)


class FileFeed:
    """Reads files, one after another, in the worker thread.

    Args:
        pool: has one thread, which is the only one to touch the files.
        on_ready: called when pieces were added.
        on_error: called with what reading raised, other than a file's own failure.
        follow: whether symlinks are read through.
    """

    def __init__(
        self,
        pool: Executor,
        on_ready: Callable[[], None],
        on_error: Callable[[BaseException], None],
        *,
        follow: bool,
    ) -> None:
        self.pieces: deque[Piece] = deque()
        self._pool = pool
        self._on_ready = on_ready
        self._on_error = on_error
        self._tree = SourceTree(follow=follow)
        self._jobs: deque[Job] = deque()
        self._more = asyncio.Event()
        self._buffers = Buffers()
        self._waiting = 0  # bytes that were read and not taken
        self._dropped = -1
        self._reading: Generator[Piece, None, None] | None = None

    def add(self, jobs: list[Job]) -> None:
        """Files that will be sent next."""
        self._jobs.extend(jobs)
        self._more.set()

    def backlog(self) -> int:
        """Files added that have not been begun."""
        return len(self._jobs)

    def drop(self, number: int) -> None:
        """Nothing more of this file is wanted."""
        self._dropped = number
        self._more.set()

    def taken(self, pieces: Sequence[Piece]) -> None:
        """These pieces were taken from the front."""
        self._waiting -= sum(map(charge, pieces))
        if self._waiting < AHEAD:
            self._more.set()

    def done_with(self, content: Content) -> None:
        """Nobody looks at this block's bytes any more."""
        if isinstance(content.data, memoryview):
            self._buffers.put(content.data)

    async def run(self) -> None:
        """Read until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._more.clear()
                if (self._jobs or self._reading) and self._waiting < AHEAD:
                    batch = await loop.run_in_executor(self._pool, self._read_batch)
                    if batch:
                        self.pieces.extend(batch)
                        self._waiting += sum(map(charge, batch))
                        self._on_ready()
                    continue
                await self._more.wait()
        except Exception as error:  # noqa: BLE001  # told, and raised where the transfer is driven
            self._on_error(error)

    def close(self) -> None:
        """Let go of what is open; called where the reading was done."""
        if self._reading is not None:
            self._reading.close()
        self._tree.close()

    def _read_batch(self) -> list[Piece]:
        batch: list[Piece] = []
        size = 0
        while size < BATCH_BYTES and len(batch) < BATCH_PIECES:
            if self._reading is None:
                small = self._small_ones()
                if small:
                    size += self._read_small(small, batch)
                    continue
                if not self._jobs:
                    break
                self._reading = self._read(self._jobs.popleft())
            piece = next(self._reading, None)
            if piece is None:
                self._reading = None
                continue
            batch.append(piece)
            size += len(piece.data) if isinstance(piece, Content) else 0
        return batch

    def _small_ones(self) -> list[Job]:
        """The next jobs, as long as they are small."""
        small: list[Job] = []
        size = 0
        while self._jobs and len(small) < BATCH_SMALL and size < BATCH_BYTES:
            job = self._jobs[0]
            if job.entry.size > SMALL:
                break
            size += job.entry.size
            small.append(self._jobs.popleft())
        return small

    def _read_small(self, jobs: list[Job], batch: list[Piece]) -> int:
        """Read small files whole; returns how many bytes they had."""
        total, root_of = 0, WholeRoots().of
        found = self._tree.read_small([(job.source, job.entry) for job in jobs])
        for job, small in zip(jobs, found, strict=True):
            number, size, data = job.number, small.size, small.data
            if small.failure is not None:
                batch.append(Closed(number, small.failure, b""))
                continue
            if data is None:  # it has grown since it was listed
                batch.extend(self._read(job))
                continue
            total += size
            if size > MAX_WHOLE or (size and is_zero(data)):  # zeros cross bare
                block = _content(number, data)
                root = file_root([block.digest], size)
                batch.append(Opened(number, size, small.mode, small.mtime_ns))
                batch.append(block)
                batch.append(Closed(number, None, root))
            else:
                root, path = root_of(data), job.entry.path
                batch.append(Whole(number, size, small.mode, small.mtime_ns, root, data, path))
        return total

    def _read(self, job: Job) -> Generator[Piece, None, None]:
        number = job.number
        try:
            source = self._tree.open(job.source, job.entry)
        except EntryError as error:
            yield Closed(number, error.failure, b"")
            return
        try:
            yield Opened(number, source.size, source.mode, source.mtime_ns)
            root = FileRoot()
            for offset, length in blocks(source.size):
                if number == self._dropped:
                    return
                if source.is_hole(offset, length):
                    content = Content(number, length, zero_digest(length), True, b"")
                else:
                    content = _content(number, self._block(source, offset, length))
                root.update(content.digest)
                yield content
            changed = source.changed()
            yield Closed(number, changed, root.digest(source.size) if changed is None else b"")
        except EntryError as error:
            yield Closed(number, error.failure, b"")
        finally:
            source.close()

    def _block(self, source: SourceFile, offset: int, length: int) -> bytes | memoryview:
        """A block's bytes: in a buffer, unless it is the short last one."""
        if length < block_size(source.size):
            return source.read_at(offset, length)
        buffer = self._buffers.take(length)
        source.read_into(offset, buffer)
        return buffer


def blocks(size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of each block of a file of ``size`` bytes."""
    block = block_size(size)
    for offset in range(0, size, block):
        yield offset, min(block, size - offset)


def _content(number: int, data: bytes | memoryview) -> Content:
    if is_zero(data):
        return Content(number, len(data), zero_digest(len(data)), True, b"")
    return Content(number, len(data), block_digest(data), False, data)
