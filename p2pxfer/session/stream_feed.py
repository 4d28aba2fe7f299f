"""Content that is no file: one stream, whose end shows only when it is there, or a text.

The same faces as `feed.FileFeed`. A stream is read on the loop and hashed in the worker thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Protocol

from p2pxfer.files.hashing import FileRoot, block_digest, is_zero
from p2pxfer.manifest import UNKNOWN_SIZE, block_size
from p2pxfer.session.feed import AHEAD, Closed, Content, Job, Opened, Piece, blocks, charge


class AsyncReader(Protocol):
    """What a stream is read from: `asyncio.StreamReader` and aiofiles' files fit."""

    async def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none at the end."""


class TextFeed:
    """A text that is all there already."""

    def __init__(self, content: bytes, on_ready: Callable[[], None]) -> None:
        self.pieces: deque[Piece] = deque()
        self._content = content
        self._on_ready = on_ready

    def add(self, jobs: list[Job]) -> None:
        """The text's own entry."""
        number, entry = jobs[0].number, jobs[0].entry
        self.pieces.append(Opened(number, entry.size, entry.mode, entry.mtime_ns))
        root = FileRoot()
        for offset, length in blocks(entry.size):
            data = self._content[offset : offset + length]
            digest = block_digest(data)
            root.update(digest)
            self.pieces.append(Content(number, length, digest, False, data))
        self.pieces.append(Closed(number, None, root.digest(entry.size)))
        self._on_ready()

    def backlog(self) -> int:
        """Nothing ever waits."""
        return 0

    def drop(self, number: int) -> None:  # there is only one
        """Nothing is under way."""

    def taken(self, pieces: Sequence[Piece]) -> None:
        """Nothing more will come."""

    def done_with(self, content: Content) -> None:
        """The text stays."""

    async def run(self) -> None:
        """Nothing to read."""

    def close(self) -> None:
        """Nothing to let go."""


class StreamFeed:
    """Reads one stream, whose end shows only when it is there."""

    def __init__(
        self,
        stream: AsyncReader,
        pool: Executor,
        on_ready: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.pieces: deque[Piece] = deque()
        self._stream = stream
        self._pool = pool
        self._on_ready = on_ready
        self._on_error = on_error
        self._jobs: deque[Job] = deque()
        self._more = asyncio.Event()
        self._waiting = 0  # bytes that were read and not taken

    def add(self, jobs: list[Job]) -> None:
        """The stream's own entry."""
        self._jobs.extend(jobs)
        self._more.set()

    def backlog(self) -> int:
        """1 until the stream is begun."""
        return len(self._jobs)

    def drop(self, number: int) -> None:  # noqa: ARG002  # there is only one
        """Read no more."""
        self.pieces.clear()
        self._waiting = 0

    def taken(self, pieces: Sequence[Piece]) -> None:
        """These pieces were taken from the front."""
        self._waiting -= sum(map(charge, pieces))
        self._more.set()

    def done_with(self, content: Content) -> None:
        """Each block has bytes of its own."""

    async def run(self) -> None:
        """Read to the end of the stream."""
        try:
            while not self._jobs:
                self._more.clear()
                await self._more.wait()
            job = self._jobs.popleft()
            entry, number = job.entry, job.number
            self._put(Opened(number, UNKNOWN_SIZE, entry.mode, entry.mtime_ns))
            root, size, last = FileRoot(), 0, False
            while not last:
                await self._room()
                data = await self._read_block()
                last = len(data) < block_size(UNKNOWN_SIZE)
                zero = is_zero(data)
                digest = await asyncio.get_running_loop().run_in_executor(
                    self._pool, block_digest, data
                )
                if data:
                    root.update(digest)
                size += len(data)
                self._put(Content(number, len(data), digest, zero, b"" if zero else data, last))
            self._put(Closed(number, None, root.digest(size)))
        except Exception as error:  # noqa: BLE001  # told, and raised where the transfer is driven
            self._on_error(error)

    def close(self) -> None:
        """The stream is its giver's."""

    async def _room(self) -> None:
        while self._waiting >= AHEAD:
            self._more.clear()
            await self._more.wait()

    async def _read_block(self) -> bytes:
        wanted = block_size(UNKNOWN_SIZE)
        parts: list[bytes] = []
        size = 0
        while size < wanted and (part := await self._stream.read(wanted - size)):
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def _put(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self._waiting += charge(piece)
        self._on_ready()
