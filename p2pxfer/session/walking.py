"""The walk of what is sent: in the worker thread, and ahead of what is asked for where time allows.

While a path to the other side is looked for, processor and disk have little else to do: what is
found then goes out as soon as there is a channel. Nothing is read of any file, and no protocol is
known here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeAlias

from p2pxfer.files.walk import Found, Skipped

Walk: TypeAlias = Generator[Found | Skipped, None, None]

AHEAD: Final = 16_384  # entries that nobody has asked for yet
STEP: Final = 128  # of these in one trip to the thread: half a millisecond


class Walking:
    """Walks what is sent, from the start for each who comes for it.

    Args:
        entries: finds them, from the start at each call.

    Attributes:
        pool: has the one thread in which files and folders are touched.
    """

    def __init__(self, entries: Callable[[], Iterator[Found | Skipped]]) -> None:
        self.pool = ThreadPoolExecutor(1, "p2pxfer-disk")
        self._entries = entries
        self._found = _lazily(entries)
        self._begun = self._asked = False
        self._ahead: deque[Found | Skipped] = deque()
        self._going: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Walk from the start, until somebody asks for what was found."""
        await self.stop()
        self._going = asyncio.create_task(self._go_ahead())

    async def some(self, room: int) -> list[Found | Skipped]:
        """The next ``room`` of what is found, fewer only at the end; one call at a time.

        Raises:
            UsageError, LocalFileError: there is nothing to walk any more.
        """
        self._asked = True
        if self._going is not None:
            await self._going
        ahead = self._ahead
        taken = [ahead.popleft() for _ in range(min(room, len(ahead)))]
        if len(taken) < room:
            taken += await self._step(room - len(taken))
        return taken

    async def stop(self) -> None:
        """Let go of the folders that are open, and of what was found; whoever asks begins anew."""
        if self._going is not None:
            self._going.cancel()
            await asyncio.gather(self._going, return_exceptions=True)
            self._going = None
        found, self._found = self._found, _lazily(self._entries)
        self._ahead.clear()
        if self._begun:
            await asyncio.get_running_loop().run_in_executor(self.pool, found.close)
        self._begun = self._asked = False

    async def close(self) -> None:
        """The end, also of the thread."""
        try:
            await self.stop()
        finally:
            self.pool.shutdown(wait=False, cancel_futures=True)

    async def _go_ahead(self) -> None:
        while not self._asked and len(self._ahead) < AHEAD:
            step = await self._step(STEP)
            self._ahead.extend(step)
            if len(step) < STEP:
                return

    async def _step(self, room: int) -> list[Found | Skipped]:
        self._begun = True
        return await asyncio.get_running_loop().run_in_executor(self.pool, _some, self._found, room)


def _lazily(entries: Callable[[], Iterator[Found | Skipped]]) -> Walk:
    """The same, but nothing is looked at before the first is asked for."""
    yield from entries()


def _some(found: Walk, room: int) -> list[Found | Skipped]:
    return list(islice(found, room))
