"""The receiving side at work: asks, writes in a worker thread, answers the machine.

Content goes into a `Sink`, what to do comes from `transfer.Receiver`; the `Exchange` carries it.
Entries are decided on by `Judging`. How the link came about is not known here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from p2pxfer.errors import Declined, IntegrityError, PeerMisbehaved
from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.files.journal import Journal
from p2pxfer.manifest import TransferKind
from p2pxfer.pairing.keys import Role
from p2pxfer.progress import Advanced, FileStarted, Offered, Progress, TextReceived, Waiting
from p2pxfer.session.exchange import Exchange, Ways
from p2pxfer.session.interaction import Interaction, view
from p2pxfer.session.judging import Judging
from p2pxfer.session.link import Link
from p2pxfer.session.placement import Acceptance, Placement, place
from p2pxfer.session.resume import Proofs, SessionMemory
from p2pxfer.session.side import to_the_end
from p2pxfer.session.sinks import (
    Arrived,
    ArrivedWhole,
    EndedWell,
    Sink,
    TextSink,
    Written,
)
from p2pxfer.session.summary import ELSEWHERE, RECEIPT, Summary, Tally
from p2pxfer.session.tree_sink import TreeSink
from p2pxfer.session.writing import Writing
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
from p2pxfer.transfer.messages import Activity, Offer, Receipt
from p2pxfer.transfer.receiver import Receiver

ANSWERS: Final = 128  # results told to the machine before other tasks get the loop
STUCK: Final = 1.0  # seconds that a pipe which nobody reads may hold up the end
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
        self._below_folder = False  # else it may go into a pipe that nobody reads
        self._machine = machine
        self._acceptance = acceptance
        self._pool = pool
        self._progress = progress
        self._interaction = interaction
        self._sink: Sink | None = None
        self._payload: deque[bytes | memoryview] = deque()
        self._advanced = self._saved = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.doing: Activity | None = None
        self.tally = Tally(progress)
        self._judging = Judging(machine, pool, self.tally.reasons, self._choose, self._wake)
        self._writing = Writing(pool, lambda: machine.expecting, self._wake)
        self.accepted = time.monotonic()
        self.exchange: Exchange  # set by whoever makes both

    @property
    def skipped(self) -> int:
        """Entries that the sender could not list."""
        return self._judging.totals.skipped

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
                self._writing.add(Arrived(action, self._take_payload(action.payload)))
            case BeginFile():
                self._progress.emit(
                    FileStarted(action.entry.path, None if action.size < 0 else action.size)
                )
                self._writing.add(action)
            case TakeFiles(files, size):
                payload = self._take_payload(size)
                if files:
                    last = files[-1]
                    self._progress.emit(FileStarted(last.entry.path, last.size))
                    whole = payload[0] if len(payload) == 1 else b"".join(payload)
                    self._writing.add(ArrivedWhole(files, whole))
            case EndFile() | MakeEntry():
                self._writing.add(action)
            case DropData(payload):
                self._take_payload(payload)
            case NewEntries():
                self._judging.listed(action)
            case Totals():
                self._judging.listed(action)
                self._progress.emit(Offered(action.entries, action.size, action.complete))
            case _:
                self._perform_rarely(action)

    def _perform_rarely(self, action: object) -> None:
        match action:
            case Proven(proofs):
                self._proofs = proofs
            case AskAccept(offer):
                self._start(self._decide(offer))
            case Settled(outcomes):
                self.tally.settle(outcomes)
                self._judging.settled()
            case NeedRoot():
                self._start(self._finish())

    def advance(self, exchange: Exchange) -> bool:  # noqa: ARG002  # the protocol's shape
        """Answer the machine with what has been done."""
        if self._advanced:
            self._progress.emit(Advanced(self._advanced, self._saved))
            self._advanced = self._saved = 0
        results = self._writing.results
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
        closing = asyncio.ensure_future(self._in_thread(partial(self._let_go, keep=keep)))
        limit = None if self._below_folder else STUCK
        if closing in (await asyncio.wait([closing], timeout=limit))[0]:
            closing.result()

    def _let_go(self, *, keep: bool) -> None:
        """In the worker: what it was opening when it was called off is open only by now."""
        closed = False
        try:
            if self._sink is not None:
                self._sink.close(keep=keep)
            closed = True
        finally:
            if self._journal is not None:
                if self.exchange.confirmed:
                    self._journal.over()
                self._journal.finish() if closed and not keep else self._journal.close()

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
        """Ask, open the sink, then have every page judged."""
        judging = self._judging
        files = offer.kind is TransferKind.FILES
        matters = files and await self._in_thread(self._acceptance.names_one)
        await judging.enough(offer.kind, asks=self._interaction.asks, matters=matters)
        placement = None
        if offer.kind is not TransferKind.TEXT:
            placement = await self._in_thread(self._placed, offer, judging.tops())
        self._progress.emit(Waiting("accept"))
        self.doing = Activity.PROMPTING
        accepted = await self._interaction.accept(view(offer, judging.totals, judging.pages))
        self.doing = None
        if not accepted:
            self._machine.decline("")
            raise Declined("you declined: nothing was written", "")
        self.accepted = time.monotonic()
        self._below_folder = placement is not None and placement.directory is not None
        sink = await self._in_thread(self._open_sink, placement)
        if isinstance(sink, TreeSink):
            self._lasts = offer.kind is TransferKind.FILES
            await self._in_thread(self._record, sink, offer.label)
        self._machine.accept()
        self._start(self._writing.run(sink))
        self.exchange.wake()
        await judging.run(sink)

    async def _choose(self, path: bytes) -> ExistingPolicy:
        """Ask what is to be done about a path that is there already."""
        self.doing = Activity.PROMPTING
        choice = ExistingPolicy(await self._interaction.existing(path))
        self.doing = None
        return choice

    def _wake(self) -> None:
        self.exchange.wake()

    def _placed(self, offer: Offer, tops: set[bytes]) -> Placement:
        totals = self._judging.totals
        placement = place(self._acceptance, single=self._judging.is_single(offer.kind))
        directory = placement.directory
        if directory is None or not self._memory.continues(directory, self._proofs):
            placement.require(totals.size or 0, totals.entries, tops)
        return placement

    def _open_sink(self, placement: Placement | None) -> Sink:
        """Open it, and keep it for `_let_go`: whoever waits for it may be cancelled."""
        self._sink = sink = TextSink() if placement is None else placement.open()
        return sink

    def _record(self, sink: TreeSink, label: bytes) -> None:
        self._journal = self._memory.begin(sink.directory, label, self._proofs)
        if self._journal is not None:
            sink.record(self._journal)

    async def _finish(self) -> None:
        """Everything is settled: make it last, then say so."""
        assert self._sink is not None
        await self._in_thread(self._sink.finish)
        if isinstance(self._sink, TextSink):
            self._progress.emit(TextReceived(self._sink.text))
        self._machine.transfer_root(self.tally.root())
        self.exchange.wake()


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
        took = time.monotonic() - side.accepted
        return side.tally.finish(receipt, side.skipped, took, again=ELSEWHERE)
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
        pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.gather(exchange.link.close(), exchange.close())
