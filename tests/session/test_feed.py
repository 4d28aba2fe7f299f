"""Reading ahead: order, bounds, streams that end anywhere, files that go away."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from p2pxfer.files.hashing import FileRoot, block_digest, zero_digest
from p2pxfer.files.walk import Found, walk
from p2pxfer.manifest import MIN_BLOCK, UNKNOWN_SIZE, Entry, EntryKind, Failure
from p2pxfer.session.feed import (
    AHEAD,
    Closed,
    Content,
    FileFeed,
    Job,
    Opened,
    Piece,
    Whole,
    blocks,
    charge,
)
from p2pxfer.session.stream_feed import StreamFeed, TextFeed
from tests.session.conftest import eventually
from tests.session.ends import file, file_root

MIB = 1 << 20


class Reading:
    """A feed at work, and what it gave."""

    def __init__(self, feed: FileFeed | StreamFeed) -> None:
        self.feed = feed
        self.taken: list[Piece] = []
        self.task = asyncio.create_task(feed.run())

    async def take(self, *, until: int) -> list[Piece]:
        """Take pieces until so many files are closed."""

        def closed() -> bool:
            while self.feed.pieces:
                self.taken.append(self.feed.pieces.popleft())
                self.feed.taken(self.taken[-1:])
            return sum(isinstance(piece, Closed | Whole) for piece in self.taken) >= until

        await eventually(closed)
        whole, self.taken = self.taken, []
        for piece in whole:
            parts = piece.parts() if isinstance(piece, Whole) else [piece]
            assert sum(map(charge, parts)) == charge(piece)
            self.taken += parts
        return self.taken


@pytest.fixture
async def pool():
    """One thread, as a session has it."""
    with ThreadPoolExecutor(1, "p2pxfer-disk") as pool:
        yield pool


@pytest.fixture
async def errors():
    """What a feed could not do."""
    return []


@pytest.fixture
async def read(pool, errors):
    """Starts reading files, or a stream; stops with the test."""
    started: list[Reading] = []

    def start(stream=None) -> Reading:
        if stream is None:
            feed = FileFeed(pool, lambda: None, errors.append, follow=False)
        else:
            feed = StreamFeed(stream, pool, lambda: None, errors.append)
        started.append(Reading(feed))
        return started[-1]

    yield start
    for reading in started:
        reading.task.cancel()
        await asyncio.gather(reading.task, return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(pool, reading.feed.close)


def jobs(*paths) -> list[Job]:
    """Files as the walk finds them, numbered."""
    found = [item for item in walk(paths) if isinstance(item, Found)]
    files = [item for item in found if item.entry.kind is EntryKind.FILE]
    return [Job(number, item.entry, item.source) for number, item in enumerate(files)]


def content_of(pieces: list[Piece], number: int) -> bytes:
    """What the blocks of a file hold."""
    return b"".join(
        bytes(piece.length) if piece.zero else piece.data
        for piece in pieces
        if isinstance(piece, Content) and piece.number == number
    )


async def test_a_small_file_of_zeros_is_told_as_such(read, tmp_path):
    """Beside others that cross whole, one without a byte among them."""
    for name, content in (("a", b"a"), ("b", bytes(50_000)), ("c", b"")):
        (tmp_path / name).write_bytes(content)
    reading = read()
    reading.feed.add(jobs(*(tmp_path / name for name in "abc")))
    pieces = await reading.take(until=3)
    (zeros,) = [piece for piece in pieces if isinstance(piece, Content) and piece.number == 1]
    assert (zeros.length, zeros.digest) == (50_000, zero_digest(50_000))
    assert zeros.zero
    assert not zeros.data


async def test_files_come_in_their_order_and_whole(read, tmp_path):
    """Small and large, empty and holes, each opened, cut, hashed and closed."""
    contents = {
        "a": b"",
        "b": b"small",
        "c": os.urandom(3 * MIB + 1),
        "d": bytes(MIB),
        "e": b"small again",
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    reading = read()
    reading.feed.add(jobs(*(tmp_path / name for name in contents)))
    pieces = await reading.take(until=5)
    numbers = [piece.number for piece in pieces]
    assert numbers == sorted(numbers)
    for number, data in enumerate(contents.values()):
        assert content_of(pieces, number) == data
        closed = [p for p in pieces if isinstance(p, Closed) and p.number == number]
        assert closed == [Closed(number, None, file_root(data))]
    zeros = [p for p in pieces if isinstance(p, Content) and p.number == 3]
    assert all(piece.zero and not piece.data for piece in zeros)
    assert zeros[0].digest == zero_digest(zeros[0].length)


async def test_reading_ahead_is_bounded(read, tmp_path):
    """Nobody takes anything: no more is read than may wait."""
    (tmp_path / "large").write_bytes(os.urandom(AHEAD + 8 * MIB))
    reading = read()
    reading.feed.add(jobs(tmp_path / "large"))

    def waiting() -> int:
        return sum(len(piece.data) for piece in reading.feed.pieces if isinstance(piece, Content))

    await eventually(lambda: waiting() >= AHEAD)
    await asyncio.sleep(0.2)  # for more than should come
    assert AHEAD <= waiting() <= AHEAD + 4 * MIB
    pieces = await reading.take(until=1)
    assert isinstance(pieces[-1], Closed)
    assert pieces[-1].failure is None


async def test_what_can_t_be_read_fails_alone(read, tmp_path):
    """Gone, or no file any more: told where it would have been."""
    top = tmp_path / "top"
    top.mkdir()
    for name in ("a", "b", "c", "d"):
        (top / name).write_bytes(os.urandom(2 * MIB))
    wanted = jobs(top)
    (top / "b").unlink()
    (top / "c").unlink()
    (top / "c").symlink_to(top / "a")
    reading = read()
    reading.feed.add(wanted)
    pieces = await reading.take(until=4)
    failures = {
        wanted[piece.number].entry.path: piece.failure
        for piece in pieces
        if isinstance(piece, Closed)
    }
    assert failures == {
        b"top/a": None,
        b"top/b": Failure.VANISHED,
        b"top/c": Failure.CHANGED,
        b"top/d": None,
    }


async def test_a_small_file_that_has_grown_is_sent_as_it_is(read, tmp_path):
    """Whatever the walk saw."""
    (tmp_path / "a").write_bytes(b"small")
    wanted = jobs(tmp_path / "a")
    data = os.urandom(2 * MIB)
    (tmp_path / "a").write_bytes(data)
    reading = read()
    reading.feed.add(wanted)
    pieces = await reading.take(until=1)
    assert isinstance(pieces[0], Opened)
    assert pieces[0].size == len(data)
    assert content_of(pieces, 0) == data


async def test_a_dropped_file_is_not_read_on(read, tmp_path):
    """The next one follows."""
    (tmp_path / "a").write_bytes(os.urandom(AHEAD + 32 * MIB))
    (tmp_path / "b").write_bytes(b"next")
    reading = read()
    reading.feed.add(jobs(tmp_path / "a", tmp_path / "b"))
    await eventually(lambda: reading.feed.pieces)
    reading.feed.drop(0)
    pieces = await reading.take(until=1)
    assert content_of(pieces, 1) == b"next"
    assert len(content_of(pieces, 0)) < AHEAD + 8 * MIB


@pytest.mark.parametrize("size", [0, 1, MIB, 3 * MIB, 3 * MIB + 7])
async def test_a_stream_s_last_block_is_marked(read, size):
    """Exactly one, short or empty, whatever sizes the reader gives."""
    data = os.urandom(size)
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    reading = read(stream)
    reading.feed.add([Job(0, file(b"s", UNKNOWN_SIZE), b"")])
    pieces = await reading.take(until=1)
    found = [piece for piece in pieces if isinstance(piece, Content)]
    assert [piece.last for piece in found] == [False] * (size // MIB) + [True]
    assert content_of(pieces, 0) == data
    root = FileRoot()
    for piece in found:
        if piece.length:
            root.update(piece.digest)
    assert pieces[-1] == Closed(0, None, root.digest(size))


async def test_a_stream_that_breaks_is_told(read, errors):
    """Its own error, once."""

    class Broken:
        async def read(self, _size: int) -> bytes:
            raise OSError("torn")

    reading = read(Broken())
    reading.feed.add([Job(0, file(b"s", UNKNOWN_SIZE), b"")])
    await eventually(lambda: errors)
    assert [str(error) for error in errors] == ["torn"]


@pytest.mark.parametrize("data", [b"", b"text", bytes(1000), b"x" * (MIN_BLOCK + 1)])
async def test_a_text_is_there_at_once(data):
    """Cut and hashed like a file."""
    told = []
    feed = TextFeed(data, lambda: told.append(1))
    feed.add([Job(0, Entry(EntryKind.FILE, b"text", len(data), 0o600, 0), b"")])
    pieces = list(feed.pieces)
    assert isinstance(pieces[0], Opened)
    assert content_of(pieces, 0) == data
    assert all(p.digest == block_digest(p.data) for p in pieces if isinstance(p, Content))
    assert pieces[-1] == Closed(0, None, file_root(data))
    assert told


@pytest.mark.parametrize("size", [0, 1, MIN_BLOCK, MIN_BLOCK + 1, 5 * MIN_BLOCK - 1])
def test_blocks_cover_a_file(size):
    """Each byte once."""
    cut = list(blocks(size))
    assert sum(length for _, length in cut) == size
    assert [offset for offset, _ in cut] == [MIN_BLOCK * at for at in range(len(cut))]
