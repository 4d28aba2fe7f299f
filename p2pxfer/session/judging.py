"""What the sender lists, until it is decided on: enough of it, judged page by page, asked about.

What is here already is offered before a file is decided on. Whether the offer is accepted at all,
and what becomes of content, is not known here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from math import inf
from typing import Final, Never

from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.manifest import EntryKind, Failure, TransferKind, block_count
from p2pxfer.session.sinks import Sink
from p2pxfer.transfer.actions import NewEntries, Totals
from p2pxfer.transfer.credit import MAX_HELD
from p2pxfer.transfer.messages import RESUME
from p2pxfer.transfer.receiver import Receiver

SETTLING: Final = 0.5  # seconds that the sender's walk may take before somebody is asked
UNASKED: Final = 0.02  # the same, where nobody is: what was found before comes whole by then
MANY: Final = 500  # entries: no small tree, of which nobody who is not asked waits for the rest
ALONE: Final = 3.0  # the same, while it may still turn out to be a single file
JUDGED: Final = 1024  # entries judged in one trip to the worker


class Judging:
    """Entries that were listed and are not decided on yet.

    Args:
        machine: is told what is decided.
        pool: where sinks work.
        reasons: takes why an entry is refused, by its number.
        choose: asks what is to be done about a path that is there already.
        wake: called when the machine was told something.

    Attributes:
        pages: those that wait, as they were listed.
        totals: what was listed so far.
    """

    def __init__(
        self,
        machine: Receiver,
        pool: Executor,
        reasons: dict[int, str],
        choose: Callable[[bytes], Awaitable[ExistingPolicy]],
        wake: Callable[[], None],
    ) -> None:
        self.pages: deque[NewEntries] = deque()
        self.totals = Totals(0, 0, complete=False, skipped=0)
        self._machine = machine
        self._pool = pool
        self._reasons = reasons
        self._choose = choose
        self._wake = wake
        self._changed = asyncio.Event()  # pages or totals came, or entries were settled

    def listed(self, news: NewEntries | Totals) -> None:
        """More was listed, or it is known how much there is."""
        if isinstance(news, Totals):
            self.totals = news
        else:
            self.pages.append(news)
        self._changed.set()

    def settled(self) -> None:
        """Entries were settled: the machine may have room for more offers of blocks."""
        self._changed.set()

    def is_single(self, kind: TransferKind) -> bool:
        """Whether all that is offered is certainly one file."""
        return kind is TransferKind.STREAM or (
            self.totals.complete
            and self.totals.entries == 1
            and self.pages[0].entries[0].kind is EntryKind.FILE
        )

    def _may_be_single(self, kind: TransferKind) -> bool:
        """Whether what is listed may yet turn out to be one file."""
        if kind is not TransferKind.FILES or self.totals.entries > 1:
            return False
        return not self.pages or self.pages[0].entries[0].kind is EntryKind.FILE

    def tops(self) -> set[bytes]:
        """What the paths of the first page begin with, as the sender has it."""
        entries = self.pages[0].entries if self.pages else ()
        return {entry.path.split(b"/", 1)[0] for entry in entries}

    async def enough(self, kind: TransferKind, *, asks: bool, matters: bool) -> None:
        """Wait until it is known what is offered: all of it, or as much as a short time shows.

        Args:
            kind: of the offer.
            asks: whether somebody is going to be asked about it.
            matters: a single file goes elsewhere than what only looks like one at first.
        """
        began = time.monotonic()
        while not self.totals.complete:
            alone = inf if matters else ALONE
            shown = SETTLING if asks else UNASKED
            if not asks and self.totals.entries >= MANY:
                return
            left = began + (alone if self._may_be_single(kind) else shown) - time.monotonic()
            if left <= 0:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def run(self, sink: Sink) -> Never:
        """Decide on every page that comes, until cancelled."""
        while True:
            while self.pages:
                await self._judge(sink, self._next_pages())
            self._changed.clear()
            await self._changed.wait()

    def _next_pages(self) -> NewEntries:
        """Pages that wait, as one: each trip to the worker waits until it has written something.

        A sender that has nothing to send before it is told what is wanted would wait as well.
        """
        page = self.pages.popleft()
        entries = page.entries
        while self.pages and len(entries) + len(self.pages[0].entries) <= JUDGED:
            entries += self.pages.popleft().entries
        return NewEntries(page.first, entries)

    async def _judge(self, sink: Sink, page: NewEntries) -> None:
        """Decide on one page, asking where somebody has to be asked."""
        loop, pool = asyncio.get_running_loop(), self._pool
        skip: dict[int, Failure] = {}
        reasons = self._reasons
        refusals = await loop.run_in_executor(pool, sink.admit, page.first, page.entries)
        for number, failure, reason in refusals:
            skip[number], reasons[number] = failure, reason
        for number, entry in sink.questions():
            choice = await self._choose(entry.path)
            refused = await loop.run_in_executor(pool, sink.answer, number, choice)
            if refused is not None:
                skip[number], reasons[number] = refused
        stop = page.first + len(page.entries)
        if self._machine.capabilities & RESUME:
            await self._offer_held(sink, page, skip)
        self._machine.decide(stop, skip)
        self._wake()

    async def _offer_held(self, sink: Sink, page: NewEntries, skip: Mapping[int, Failure]) -> None:
        """Offer what is here of each file, and decide on those before it meanwhile."""
        loop, decided = asyncio.get_running_loop(), page.first
        for number in sink.likely():
            if number in skip:
                continue
            wanted = min(block_count(page.entries[number - page.first].size), MAX_HELD)
            digests = await loop.run_in_executor(self._pool, sink.held, number, wanted)
            if not digests:
                continue
            if decided < number:
                self._machine.decide(number, _below(skip, number))
                decided = number
                self._wake()
            while self._machine.hold_room() < len(digests):
                self._changed.clear()
                await self._changed.wait()
            self._machine.offer_blocks(number, 0, digests)


def _below(skip: Mapping[int, Failure], stop: int) -> dict[int, Failure]:
    return {number: failure for number, failure in skip.items() if number < stop}
