"""What has come, until it is written: carried out in the worker thread, in the order it came.

One trip to the worker takes what has come while the last one was under way. Where there is enough
for another, that one is on its way already when the first ends: the worker waits for no turn of the
loop. What a deed is about is not known here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, Never

from p2pxfer.session.sinks import ArrivedWhole, Deed, Result, Sink

TURN: Final = 512  # small files written in one trip to the worker
TRIPS: Final = 2  # on their way at once
QUIET: Final = 0.1  # seconds without content after which small files wait for no more of them


class Writing:
    """Deeds that wait, and what has come of the others.

    Args:
        pool: where sinks work, in one thread.
        expecting: whether more content is to come.
        wake: called when there are results.

    Attributes:
        results: of what is done, in order; whoever needs them takes them from here.
    """

    def __init__(
        self, pool: Executor, expecting: Callable[[], bool], wake: Callable[[], None]
    ) -> None:
        self.results: deque[Result] = deque()
        self._pool = pool
        self._expecting = expecting
        self._wake = wake
        self._deeds: deque[Deed] = deque()
        self._files = 0  # small ones among them
        self._begun = 0  # trips
        self._failed = False
        self._more = asyncio.Event()

    def add(self, deed: Deed) -> None:
        """Something is to be done, after all that was added before."""
        self._deeds.append(deed)
        if isinstance(deed, ArrivedWhole):
            self._files += len(deed.files)
        self._more.set()

    async def run(self, sink: Sink) -> Never:
        """Carry out what is added, until cancelled; what is not begun by then is not done.

        Raises:
            Exception: whatever the sink did; nothing is done after that.
        """
        trips: deque[asyncio.Future[list[Result]]] = deque()
        try:
            while True:
                while self._deeds or trips:
                    while self._deeds and self._may_go(len(trips)):
                        trips.append(self._send(sink, self._next()))
                    self._done(await trips[0])
                    trips.popleft()
                self._more.clear()
                try:
                    async with asyncio.timeout(QUIET if sink.waits() else None):
                        await self._more.wait()
                except TimeoutError:
                    trips.append(self._send(sink, [], idle=True))
        finally:
            for trip in trips:
                if not trip.cancel() and not trip.cancelled():
                    trip.exception()  # nobody else is told of it any more

    def _may_go(self, under_way: int) -> bool:
        return not under_way or (under_way < TRIPS and self._files >= TURN)

    def _next(self) -> list[Deed]:
        """What is carried out in one trip; entries that wait to be judged have their turn after it.

        A sender that was told of too few that are wanted would have nothing to send while it is
        told of the next ones.
        """
        deeds: list[Deed] = []
        files = 0
        while self._deeds and files < TURN:
            deed = self._deeds.popleft()
            deeds.append(deed)
            if isinstance(deed, ArrivedWhole):
                files += len(deed.files)
        self._files -= files
        return deeds

    def _send(
        self, sink: Sink, deeds: list[Deed], *, idle: bool = False
    ) -> asyncio.Future[list[Result]]:
        self._begun = trip = self._begun + 1

        def carry_out() -> list[Result]:
            if self._failed:
                return []
            try:
                return sink.apply(deeds, idle=idle or self._is_last(trip))
            except BaseException:
                self._failed = True
                raise

        return asyncio.get_running_loop().run_in_executor(self._pool, carry_out)

    def _is_last(self, trip: int) -> bool:
        """Whether nothing more has come, and nothing more will soon."""
        return trip == self._begun and not self._deeds and not self._expecting()

    def _done(self, results: list[Result]) -> None:
        self.results.extend(results)
        self._wake()
