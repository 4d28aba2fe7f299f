"""Bytes that go past the page cache are the same bytes, and where they can't they go through it."""

from __future__ import annotations

import os
import random
import resource
import sys

import pytest

from p2pxfer.files import direct
from p2pxfer.files.direct import GRAIN, LEAST, PIECE, DirectWriting
from p2pxfer.files.failures import EntryError
from p2pxfer.manifest import Entry, EntryKind, Failure

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux writes past its page cache"
)


def begin(tree, size):
    """A file under way."""
    return tree.open_file(tree.admit(Entry(EntryKind.FILE, b"f", size, 0o644, 0)), size)


@pytest.fixture
def fd(tmp_path):
    """An empty file."""
    number = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield number
    os.close(number)


def test_whatever_comes_is_what_is_read(out):
    """Long and short, beside each other and one over the other, in pieces of any length."""
    size = 6 * PIECE + 1234
    chance = random.Random(5)
    expected = bytearray(size)
    partial = begin(out, size)
    partial.write_at(size - 1, [bytes(1)])
    for _ in range(60):
        offset = chance.choice((chance.randrange(size // GRAIN) * GRAIN, chance.randrange(size)))
        length = min(chance.choice((GRAIN, LEAST, 5 * LEAST, 3 * PIECE)), size - offset)
        data = chance.randbytes(length)
        cut = sorted(chance.choices(range(length), k=3))
        pieces = [data[a:b] for a, b in zip((0, *cut), (*cut, length), strict=True)]
        partial.write_at(offset, [memoryview(piece) for piece in pieces])
        expected[offset : offset + length] = data
        assert partial.read_at(offset, length) == data
    assert partial.read_at(0, size) == expected


def test_the_rest_that_fits_no_disk_is_left(fd):
    """What is said to be written is, and nothing beyond it is touched."""
    data = random.Random(6).randbytes(PIECE + LEAST + 77)
    done = DirectWriting(fd).write(0, [data])
    assert os.pread(fd, len(data), 0) == data[:done]
    assert not done % GRAIN
    assert done in (0, PIECE + LEAST)  # nothing where the tests' own filesystem can't


def test_short_or_crooked_writes_are_left_to_the_system(fd):
    """They would have to be read first."""
    writing = DirectWriting(fd)
    assert not writing.write(1, [bytes(PIECE)])
    assert not writing.write(0, [bytes(LEAST - 1)])
    assert not os.fstat(fd).st_size


def test_what_can_not_be_written_so_is_left():
    """A device, or a filesystem that refuses."""
    null = os.open(os.devnull, os.O_RDWR)
    writing = DirectWriting(null)
    assert [writing.write(0, [bytes(PIECE)]) for _ in range(2)] == [0, 0]
    os.close(null)


def test_a_slow_disk_is_left_to_the_system(fd, monkeypatch):
    """That gathers, where this waits."""
    monkeypatch.setattr(direct, "FAST", float("inf"))
    monkeypatch.setattr(direct, "LOOK", PIECE)
    writing = DirectWriting(fd)
    writing.write(0, [bytes(PIECE)])
    assert not writing.write(PIECE, [bytes(PIECE)])


def test_a_limit_in_the_middle_is_a_failure(out):
    """As a disk that is full: what did not fit is not taken for written."""
    partial = begin(out, 2 * PIECE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PIECE + LEAST, before[1]))
    try:
        with pytest.raises(EntryError) as caught:
            partial.write_at(0, [bytes(2 * PIECE)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.failure is Failure.NO_SPACE
    assert not partial.written
