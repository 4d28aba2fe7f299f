"""The receiving side at work: asks, decides, writes in a worker thread, answers the machine.

Content goes into a `Sink`, what to do comes from `transfer.Receiver`; the `Exchange` carries it.
How the link came about is not known here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from p2pxfer.errors import Declined, IntegrityError, PeerMisbehaved
from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.files.journal import Journal
from p2pxfer.manifest import EntryKind, Failure, TransferKind, block_count
from p2pxfer.pairing.keys import Role
from p2pxfer.progress import Advanced, FileStarted, Offered, Progress, TextReceived, Waiting
from p2pxfer.session.exchange import Exchange, Ways
from p2pxfer.session.interaction import Interaction, view
from p2pxfer.session.link import Link
from p2pxfer.session.placement import Acceptance, Placement, place
from p2pxfer.session.resume import Proofs, SessionMemory
from p2pxfer.session.side import to_the_end
from p2pxfer.session.sinks import (
    Arrived,
    ArrivedWhole,
    Deed,
    EndedWell,
    Result,
    Sink,
    StreamSink,
    TextSink,
    Written,
)
from p2pxfer.session.summary import RECEIPT, Summary, Tally
from p2pxfer.session.tree_sink import TreeSink
from p2pxfer.transfer.actions import (
    AskAccept,
    BeginFile,
    DropData,
    EndFile,
    MakeEntry,
    NeedRoot,
    NewEntries,
    Proven,
    Settled,
    TakeFiles,
    Totals,
    WriteBlock,
)
from p2pxfer.transfer.continuity import PeerRestarted
from p2pxfer.transfer.credit import MAX_HELD
from p2pxfer.transfer.messages import RESUME, Activity, Offer, Receipt
from p2pxfer.transfer.receiver import Receiver

SETTLING: Final = 0.5  # seconds that the sender's walk may take before somebody is asked
UNASKED: Final = 0.02  # the same, where nobody is: what was found before comes whole by then
MANY: Final = 500  # entries: no small tree, of which nobody who is not asked waits for the rest
ALONE: Final = 3.0  # the same, while it may still turn out to be a single file
ANSWERS: Final = 128  # results told to the machine before other tasks get the loop
JUDGED: Final = 1024  # entries judged in one trip to the worker
STUCK: Final = 1.0  # seconds that a pipe which nobody reads may hold up the end
QUIET: Final = 0.1  # seconds without content after which small files wait for no more of them
Value = TypeVar("Value")


class ReceiveSide:
    """What a receiver does beside the machine: an `exchange.Side`."""

    def __init__(
        self,
        machine: Receiver,
        acceptance: Acceptance,
        *,
        pool: ThreadPoolExecutor,
        progress: Progress,
        interaction: Interaction,
        memory: SessionMemory,
    ) -> None:
        self._memory = memory
        self._proofs: Proofs = ()
        self._journal: Journal | None = None
        self._lasts = False  # another run can go on with it: it is no stream
        self._machine = machine
        self._acceptance = acceptance
        self._pool = pool
        self._progress = progress
        self._interaction = interaction
        self._sink: Sink | None = None
        self._payload: deque[bytes | memoryview] = deque()
        self._deeds: deque[Deed] = deque()
        self._results: deque[Result] = deque()
        self._pages: deque[NewEntries] = deque()
        self._changed = asyncio.Event()  # pages or totals came
        self._to_do = asyncio.Event()  # deeds came
        self._totals = Totals(0, 0, complete=False, skipped=0)
        self._advanced = self._saved = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.doing: Activity | None = None
        self.tally = Tally(progress)
        self.accepted = time.monotonic()
        self.exchange: Exchange  # set by whoever makes both

    @property
    def skipped(self) -> int:
        """Entries that the sender could not list."""
        return self._totals.skipped

    def take(self, payload: bytes | memoryview) -> None:
        """Bytes of content have arrived; an action says later what they are."""
        self._payload.append(payload)
        self._advanced += len(payload)

    def outcome(self) -> Receipt | None:
        """The receipt, once all is in place, whether or not it was heard."""
        return self._machine.receipt

    def perform(self, action: object) -> None:
        """Begin what the machine asks for."""
        match action:
            case WriteBlock():
                if not action.payload:
                    self._advanced += action.length
                    self._saved += action.length
                self._deeds.append(Arrived(action, self._take_payload(action.payload)))
            case BeginFile():
                self._progress.emit(
                    FileStarted(action.entry.path, None if action.size < 0 else action.size)
                )
                self._deeds.append(action)
            case TakeFiles(files, size):
                payload = self._take_payload(size)
                if files:
                    last = files[-1]
                    self._progress.emit(FileStarted(last.entry.path, last.size))
                    whole = payload[0] if len(payload) == 1 else b"".join(payload)
                    self._deeds.append(ArrivedWhole(files, whole))
            case EndFile() | MakeEntry():
                self._deeds.append(action)
            case DropData(payload):
                self._take_payload(payload)
            case NewEntries():
                self._pages.append(action)
                self._changed.set()
            case Totals():
                self._totals = action
                self._progress.emit(Offered(action.entries, action.size, action.complete))
                self._changed.set()
            case _:
                self._perform_rarely(action)
        if self._deeds:
            self._to_do.set()

    def _perform_rarely(self, action: object) -> None:
        match action:
            case Proven(proofs):
                self._proofs = proofs
            case AskAccept(offer):
                self._start(self._decide(offer))
            case Settled(outcomes):
                self.tally.settle(outcomes)
                self._changed.set()
            case NeedRoot():
                self._start(self._finish())

    def advance(self, exchange: Exchange) -> bool:  # noqa: ARG002  # the protocol's shape
        """Answer the machine with what has been done."""
        if self._advanced:
            self._progress.emit(Advanced(self._advanced, self._saved))
            self._advanced = self._saved = 0
        results = self._results
        answered = min(len(results), ANSWERS)
        for _ in range(answered):
            result = results.popleft()
            if isinstance(result, EndedWell):
                self._machine.entries_done(result.numbers)
            elif isinstance(result, Written):
                self._machine.written(result.block)
            elif result.failure is None:
                self._machine.entry_done(result.number)
            else:
                self.tally.reasons[result.number] = result.reason
                self._machine.entry_failed(result.number, result.failure)
        return answered > 0

    async def close(self, *, keep: bool) -> None:
        """Stop working; remove what is unfinished, or ``keep`` what another run can go on with."""
        keep = keep and self._lasts
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sink is not None:
            closing = asyncio.ensure_future(self._in_thread(partial(self._sink.close, keep=keep)))
            limit = STUCK if isinstance(self._sink, StreamSink) else None
            if closing in (await asyncio.wait([closing], timeout=limit))[0]:
                closing.result()
        if self._journal is not None:
            await self._in_thread(self._journal.close if keep else self._journal.finish)

    def _take_payload(self, size: int) -> list[bytes | memoryview]:
        taken: list[bytes | memoryview] = []
        while size:
            part = self._payload.popleft()
            taken.append(part)
            size -= len(part)
        return taken

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(self._guarded(work)))

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  # raised where the transfer is driven
            self.exchange.fail(error)

    async def _in_thread(self, function: Callable[..., Value], *arguments: object) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    async def _decide(self, offer: Offer) -> None:
        """Ask, open the sink, then judge every page."""
        await self._wait_for_totals(offer)
        placement = None
        if offer.kind is not TransferKind.TEXT:
            placement = await self._in_thread(self._placed, offer)
        self._progress.emit(Waiting("accept"))
        self.doing = Activity.PROMPTING
        accepted = await self._interaction.accept(view(offer, self._totals, self._pages))
        self.doing = None
        if not accepted:
            self._machine.decline("")
            raise Declined("you declined: nothing was written", "")
        self.accepted = time.monotonic()
        sink = await self._in_thread(self._open_sink, placement)
        if isinstance(sink, TreeSink):
            self._lasts = offer.kind is TransferKind.FILES
            await self._in_thread(self._record, sink, offer.label)
        self._machine.accept()
        self._start(self._work(sink))
        self.exchange.wake()
        while True:
            while self._pages:
                await self._judge(sink, self._next_pages())
            self._changed.clear()
            await self._changed.wait()

    async def _wait_for_totals(self, offer: Offer) -> None:
        """Until it is known what is offered: all of it, or as much as a short time shows."""
        several = 2  # entries: certainly no single file
        began = time.monotonic()
        while not self._totals.complete:
            single = self._totals.entries < several and offer.kind is TransferKind.FILES
            shown = SETTLING if self._interaction.asks else UNASKED
            if not self._interaction.asks and self._totals.entries >= MANY:
                return
            left = began + (ALONE if single else shown) - time.monotonic()
            if left <= 0:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _placed(self, offer: Offer) -> Placement:
        totals = self._totals
        single = offer.kind is TransferKind.STREAM or (
            totals.complete
            and totals.entries == 1
            and self._pages[0].entries[0].kind is EntryKind.FILE
        )
        placement = place(self._acceptance, single=single)
        directory = placement.directory
        if directory is None or not self._memory.continues(directory, self._proofs):
            placement.require(totals.size or 0, totals.entries)  # else much of it may be here
        return placement

    def _open_sink(self, placement: Placement | None) -> Sink:
        """Open it, and keep it at once: whoever waits for it may be cancelled."""
        self._sink = sink = TextSink() if placement is None else placement.open()
        return sink

    def _record(self, sink: TreeSink, label: bytes) -> None:
        self._journal = self._memory.begin(sink.directory, label, self._proofs)
        if self._journal is not None:
            sink.record(self._journal)

    def _next_pages(self) -> NewEntries:
        """Pages that wait, as one: each trip to the worker waits until it has written something.

        A sender that has nothing to send before it is told what is wanted would wait as well.
        """
        page = self._pages.popleft()
        entries = page.entries
        while self._pages and len(entries) + len(self._pages[0].entries) <= JUDGED:
            entries += self._pages.popleft().entries
        return NewEntries(page.first, entries)

    async def _judge(self, sink: Sink, page: NewEntries) -> None:
        """Decide on one page, asking where somebody has to be asked."""
        skip: dict[int, Failure] = {}
        reasons = self.tally.reasons
        for number, failure, reason in await self._in_thread(sink.admit, page.first, page.entries):
            skip[number], reasons[number] = failure, reason
        for number, entry in sink.questions():
            self.doing = Activity.PROMPTING
            choice = ExistingPolicy(await self._interaction.existing(entry.path))
            self.doing = None
            refused = await self._in_thread(sink.answer, number, choice)
            if refused is not None:
                skip[number], reasons[number] = refused
        stop = page.first + len(page.entries)
        if self._machine.capabilities & RESUME:
            await self._offer_held(sink, page, skip)
        self._machine.decide(stop, skip)
        self.exchange.wake()

    async def _offer_held(self, sink: Sink, page: NewEntries, skip: Mapping[int, Failure]) -> None:
        """Offer what is here of each file, and decide on those before it meanwhile."""
        decided = page.first
        for number in sink.likely():
            if number in skip:
                continue
            wanted = min(block_count(page.entries[number - page.first].size), MAX_HELD)
            digests = await self._in_thread(sink.held, number, wanted)
            if not digests:
                continue
            if decided < number:
                self._machine.decide(number, _below(skip, number))
                decided = number
                self.exchange.wake()
            while self._machine.hold_room() < len(digests):
                self._changed.clear()
                await self._changed.wait()
            self._machine.offer_blocks(number, 0, digests)

    async def _work(self, sink: Sink) -> None:
        """Carry out what arrives, in batches: whatever has come while the last one was written."""
        while True:
            while self._deeds:
                deeds = list(self._deeds)
                self._deeds.clear()
                await self._apply(sink, deeds, self._is_last)
            self._to_do.clear()
            try:
                async with asyncio.timeout(QUIET if sink.waits() else None):
                    await self._to_do.wait()
            except TimeoutError:
                await self._apply(sink, [], lambda: True)

    async def _apply(self, sink: Sink, deeds: list[Deed], idle: Callable[[], bool]) -> None:
        results = await self._in_thread(_apply, sink, deeds, idle)
        self._results.extend(results)
        self.exchange.wake()

    def _is_last(self) -> bool:
        """Whether nothing more has come, and nothing more will soon."""
        return not self._deeds and not self._machine.expecting

    async def _finish(self) -> None:
        """Everything is settled: make it last, then say so."""
        assert self._sink is not None
        await self._in_thread(self._sink.finish)
        if isinstance(self._sink, TextSink):
            self._progress.emit(TextReceived(self._sink.text))
        self._machine.transfer_root(self.tally.root())
        self.exchange.wake()


def _below(skip: Mapping[int, Failure], stop: int) -> dict[int, Failure]:
    return {number: failure for number, failure in skip.items() if number < stop}


def _apply(sink: Sink, deeds: list[Deed], idle: Callable[[], bool]) -> list[Result]:
    return sink.apply(deeds, idle=idle())


async def transfer(
    link: Link,
    acceptance: Acceptance,
    progress: Progress,
    *,
    interaction: Interaction,
    ways: Ways | None,
    memory: SessionMemory,
) -> Summary:
    """Receive over ``link``, and over those that replace it; close the last one.

    The journal stays where the same commands may yet bring it further.
    """
    machine = Receiver(link.keys.key(RECEIPT, Role.B), time.monotonic())
    pool = ThreadPoolExecutor(1, "p2pxfer-disk")
    side = ReceiveSide(
        machine,
        acceptance,
        pool=pool,
        progress=progress,
        interaction=interaction,
        memory=memory,
    )
    keep = True
    exchange = side.exchange = Exchange(link, machine, side, progress, ways=ways)
    try:
        receipt = await exchange.run()
        # Else the sender may still have to be told that it is done, or come with what is missing.
        keep = side.tally.mendable or side.skipped > 0 or not exchange.confirmed
        return side.tally.finish(receipt, side.skipped, time.monotonic() - side.accepted)
    except PeerRestarted:
        raise PeerMisbehaved("the sender began again under an old code") from None
    except IntegrityError:
        keep = False  # nothing of such a sender is worth to go on with
        raise
    finally:
        await to_the_end(_end(side, exchange, pool, keep=keep))


async def _end(
    side: ReceiveSide, exchange: Exchange, pool: ThreadPoolExecutor, *, keep: bool
) -> None:
    try:
        await side.close(keep=keep)
    finally:
        await asyncio.gather(exchange.link.close(), exchange.close())
        pool.shutdown(wait=False, cancel_futures=True)
