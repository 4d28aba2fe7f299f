"""Deeds carried out in the worker: in order, a trip ahead, none after one that failed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from p2pxfer.manifest import Entry, EntryKind
from p2pxfer.session.sinks import ArrivedWhole, Deed, EndedWell, Result
from p2pxfer.session.writing import TURN, Writing
from p2pxfer.transfer.actions import TakeFile
from tests.session.conftest import eventually


class Slow:
    """A sink that takes each trip when it is let, and says what it was given."""

    def __init__(self) -> None:
        self.trips: list[tuple[int, int, bool]] = []  # the first number, how many files, idle
        self.let = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.broken_at = -1

    def waits(self) -> bool:
        """Nothing is held back."""
        return False

    def apply(self, deeds: Sequence[Deed], *, idle: bool) -> list[Result]:
        """Take what is given."""
        self.begun.release()
        self.let.acquire()
        numbers = [f.number for deed in deeds if isinstance(deed, ArrivedWhole) for f in deed.files]
        self.trips.append((numbers[0], len(numbers), idle))
        if self.broken_at in numbers:
            raise OSError("the disk is gone")
        return [EndedWell(numbers)]


class Bench:
    """A `Writing` at work over a slow sink."""

    def __init__(self) -> None:
        self.sink = Slow()
        self.expecting = True
        self.pool = ThreadPoolExecutor(1)
        self.writing = Writing(self.pool, lambda: self.expecting, lambda: None)
        self.number = 0
        self.task = asyncio.create_task(self.writing.run(self.sink))

    def come(self, files: int) -> None:
        """So many small files have come, in one frame."""
        entry = Entry(EntryKind.FILE, b"a", 0, 0o644, 0, b"")
        taken = range(self.number, self.number + files)
        self.number += files
        whole = tuple(TakeFile(number, entry, 0, 0, 0o644, 0, bytes(32)) for number in taken)
        self.writing.add(ArrivedWhole(whole, b""))

    def numbers(self) -> list[int]:
        """Those that are done."""
        return [n for result in self.writing.results for n in result.numbers]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """One, ended afterwards."""
    made = Bench()
    yield made
    made.sink.let.release(100)
    made.task.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError):
        await made.task
    made.pool.shutdown()


async def test_a_second_trip_is_on_its_way_when_the_first_ends(bench):
    """Where there is enough for one; then nothing is told late, twice or out of order."""
    bench.come(10)
    for _ in range(30):
        bench.come(63)
    sink = bench.sink
    await eventually(lambda: sink.begun.acquire(blocking=False))
    sink.let.release()
    assert sink.begun.acquire(timeout=10)  # the loop has no turn here
    bench.expecting = False
    sink.let.release(100)
    await eventually(lambda: len(bench.numbers()) == bench.number)
    assert bench.numbers() == list(range(bench.number))
    assert all(files < TURN + 63 for _, files, _ in sink.trips)
    assert [idle for *_, idle in sink.trips] == [False] * (len(sink.trips) - 1) + [True]


async def test_nothing_is_done_after_a_failure(bench):
    """Not even what was on its way already."""
    sink = bench.sink
    sink.broken_at = 10 + 5
    bench.come(10)
    await eventually(lambda: sink.begun.acquire(blocking=False))
    for _ in range(2 * TURN // 64):
        bench.come(64)
    sink.let.release()
    await eventually(lambda: sink.begun.acquire(blocking=False))
    sink.let.release(100)
    with pytest.raises(OSError, match="the disk is gone"):
        await bench.task
    bench.pool.shutdown()
    assert [first for first, *_ in sink.trips] == [0, 10]
    assert bench.numbers() == list(range(10))
