"""How a recording ends: what was collected is in it, and its encoder never has two threads."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

from p2pxfer.progress import NullProgress
from p2pxfer.session.record import Desk
from tests.session.conftest import eventually


class Film:
    """Takes as long for its first frame as a test wants, and counts who is inside."""

    full = False
    seconds = 0.0

    def __init__(self):
        self.go_on = threading.Event()
        self.inside = self.most = 0
        self.added = []

    def advance(self, now):
        """It has no end."""

    def add(self, kind, received, number):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.go_on.wait()
        self.added.append((kind, received, number))
        self.inside -= 1


class Watcher:
    """Shows two pictures, then nothing, until somebody stops looking."""

    def __init__(self):
        self.pictures = asyncio.Queue()
        for number in range(2):
            self.pictures.put_nowait(number)

    def cameras(self):
        return [("x", SimpleNamespace(kind="video", frame=self.pictures.get))]

    def sound(self):
        return None

    async def unless_ended(self, work):
        await work


async def test_what_is_being_encoded_is_waited_for():
    """Ctrl-C in the middle: the worker ends its frame before the rest is added, and all is kept."""
    film, watcher = Film(), Watcher()
    desk = Desk(watcher, film, NullProgress())
    running = asyncio.create_task(desk.run())
    await eventually(lambda: film.inside)
    watcher.pictures.put_nowait(2)
    await eventually(watcher.pictures.empty)
    running.cancel()
    closing = asyncio.create_task(desk.close())
    await asyncio.wait({closing}, timeout=0.5)  # time enough to go wrong
    film.go_on.set()
    assert await closing == 0
    assert film.most == 1
    assert film.added == [("video", number, 0) for number in range(3)]
