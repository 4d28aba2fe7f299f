"""The sending side at work: walks, reads ahead, and answers the sender machine.

Content comes from a `Feed`, what to do from `transfer.Sender`, and the `Exchange` carries it. How
the link came about is not known here.
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from msgspec import Struct

from p2pxfer.errors import StreamLost
from p2pxfer.files.walk import Found, Skipped
from p2pxfer.manifest import UNKNOWN_SIZE, Entry, Failure, TransferKind
from p2pxfer.pairing.keys import Role
from p2pxfer.progress import (
    Advanced,
    EntryFailed,
    FileStarted,
    Offered,
    Progress,
    Restarted,
    Waiting,
)
from p2pxfer.session.exchange import Exchange, Ways
from p2pxfer.session.feed import (
    Closed,
    Content,
    Feed,
    FileFeed,
    Job,
    Opened,
    Piece,
    Whole,
)
from p2pxfer.session.link import Link
from p2pxfer.session.resume import SenderMemory
from p2pxfer.session.side import to_the_end
from p2pxfer.session.stream_feed import AsyncReader, StreamFeed, TextFeed
from p2pxfer.session.summary import FILE, RECEIPT, Summary, Tally
from p2pxfer.session.walking import Walking
from p2pxfer.transfer.actions import CloseFile, NeedRoot, OpenFile, SendBlock, Settled, Walk
from p2pxfer.transfer.continuity import Continuity, PeerRestarted
from p2pxfer.transfer.messages import ID_SIZE, MAX_LABEL, Activity, Block, Offer, Receipt
from p2pxfer.transfer.sender import Sender

READ_AHEAD_FILES: Final = 512
MOST_WHOLE: Final = 256  # files that are sent in one frame
BACKLOG: Final = 128  # files; below that the feed is told of more
SLICE: Final = 0.001  # seconds of packing before other tasks get the loop
UNSAID: Final = 2.0  # seconds that the receipt may take before it is told that it is awaited


class Cargo(Struct, frozen=True):
    """What is offered.

    Attributes:
        kind: files, a stream or a text.
        label: for people: the first name, or empty.
        entries: finds them, from the start at each call.
        content: the stream's reader, or the text's bytes; None for files.
        follow: whether symlinks are read through.
        paths: the arguments, for files.
    """

    kind: TransferKind
    label: bytes
    entries: Callable[[], Iterator[Found | Skipped]]
    content: AsyncReader | bytes | None = None
    follow: bool = False
    paths: tuple[str | bytes | os.PathLike[str], ...] = ()


class SendSide:
    """What a sender does beside the machine: an `exchange.Side`."""

    def __init__(
        self,
        machine: Sender,
        cargo: Cargo,
        walking: Walking,
        progress: Progress,
    ) -> None:
        self._machine = machine
        self._walk = walking
        self._pool = pool = walking.pool
        self._progress = progress
        self._feed: Feed
        if isinstance(cargo.content, bytes):
            self._feed = TextFeed(cargo.content, self._wake)
        elif cargo.content is not None:
            self._feed = StreamFeed(cargo.content, pool, self._wake, self._fail)
        else:
            self._feed = FileFeed(pool, self._wake, self._fail, follow=cargo.follow)
        self._reading = asyncio.create_task(self._feed.run())
        self._sources: dict[int, bytes] = {}
        self._listed = 0
        self._listed_size: int | None = 0
        self._queued = -1  # the last file that the feed was told of
        self._number = -1  # the file that is being sent, if ``_live``, else the last one
        self._live = False
        self._closing = False
        self._current: Entry | None = None
        self._blocks: deque[SendBlock] = deque()
        self._walking: asyncio.Task[None] | None = None
        self._all_sent: float | None = None  # when; infinite once it is told
        self.tally = Tally(progress)
        self.accepted: float | None = None
        self.skipped = 0
        self.doing: Activity | None = None
        self.exchange: Exchange  # set by whoever makes both

    def perform(self, action: object) -> None:
        """Begin what the machine asks for."""
        match action:
            case SendBlock():
                self._blocks.append(action)
            case OpenFile(number, entry):
                self._note_acceptance()
                self._number, self._current, self._live = number, entry, True
            case CloseFile():
                if self._blocks:  # the receiver has no use for the rest
                    self._feed.drop(self._number)
                    self._close(None, b"")
                else:
                    self._closing = True
            case Settled(outcomes):
                self._note_acceptance()
                for outcome in outcomes:
                    self._sources.pop(outcome.number, None)
                self.tally.settle(outcomes)
            case Walk(room):
                self._walking = asyncio.create_task(self._list(room))
            case NeedRoot():
                self._note_acceptance()
                self._machine.transfer_root(self.tally.root())

    def _note_acceptance(self) -> None:
        """Something that only an accepted offer brings about has come."""
        if self.accepted is None:
            self.accepted = time.monotonic()

    def elapsed(self) -> float:
        """Seconds since the offer was accepted."""
        return 0.0 if self.accepted is None else time.monotonic() - self.accepted

    def outcome(self) -> Receipt | None:
        """Nothing is sure until the receipt is here."""
        return None

    def take(self, payload: bytes | memoryview) -> None:
        """No content ever comes to a sender; the machine has refused it already."""

    def advance(self, exchange: Exchange) -> bool:
        """Answer the machine with what the feed holds."""
        self._tell_feed()
        if self._machine.all_sent:
            self._tell_end(time.monotonic())
        pieces, answered = self._feed.pieces, False
        stop = time.monotonic() + SLICE
        while pieces and exchange.has_room() and self._answer(exchange):
            answered = True
            exchange.drain()
            if time.monotonic() > stop:
                break
        return answered

    def _tell_end(self, now: float) -> None:
        """Say what is awaited when what was sent takes its time to get there, and be verified."""
        if self._all_sent is None:
            self._all_sent = now
        elif now - self._all_sent >= UNSAID:
            self._all_sent = math.inf
            self._progress.emit(Waiting("receipt"))

    async def close(self) -> None:
        """Stop reading and walking."""
        tasks = [self._reading, *([self._walking] if self._walking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(self._pool, self._feed.close)
        await self._walk.stop()

    def _wake(self) -> None:
        self.exchange.wake()

    def _fail(self, error: BaseException) -> None:
        self.exchange.fail(error)

    def _tell_feed(self) -> None:
        """Have the feed know what comes next, without asking the machine for every file."""
        if self._feed.backlog() >= BACKLOG:
            return
        ahead = self._machine.upcoming(READ_AHEAD_FILES, self._queued)
        if self._live and self._current is not None and self._number > self._queued:
            ahead.insert(0, (self._number, self._current))
        if ahead:
            sources = self._sources
            jobs = [Job(number, entry, sources.get(number, b"")) for number, entry in ahead]
            self._queued = jobs[-1].number
            self._feed.add(jobs)

    def _answer(self, exchange: Exchange) -> bool:
        """Answer with the feed's first piece; False when it has to wait."""
        piece = self._feed.pieces[0]
        number = piece.number
        if number > self._number:
            return False
        if number < self._number or not self._live:
            self._pop()  # of a file that the receiver has no use for
            return True
        return self._send_whole(exchange) if type(piece) is Whole else self._send(exchange, piece)

    def _send(self, exchange: Exchange, piece: Piece) -> bool:
        """Answer with a piece of the present file; False when it has to wait."""
        number = piece.number
        match piece:
            case Opened(size=size, mode=mode, mtime_ns=mtime_ns):
                self._machine.file_opened(number, size, mode, mtime_ns)
                self._tell_started(size)
            case Content():
                if self._closing:  # the receiver has no use for the rest
                    self._feed.drop(number)
                    self._close(None, b"")
                    return True
                if not self._blocks:
                    return False
                self._send_block(exchange, self._blocks.popleft(), piece)
            case Closed(failure=failure, root=root):
                if failure is None and not self._closing:
                    return False
                self._close(failure, root)
        self._pop()
        return True

    def _pop(self) -> None:
        self._feed.taken((self._feed.pieces.popleft(),))

    def _tell_started(self, size: int) -> None:
        assert self._current is not None
        shown = None if size == UNKNOWN_SIZE else size
        self._progress.emit(FileStarted(self._current.path, shown))

    def _send_whole(self, exchange: Exchange) -> bool:
        """Send the small files at the front in one go; False when they have to wait."""
        pieces, outbox = self._feed.pieces, exchange.outbox
        count = outbox.fits_whole(_small_sizes(pieces))
        run = [piece for piece in islice(pieces, count) if isinstance(piece, Whole)]
        files = [piece[:5] for piece in run]
        sent = self._machine.files_sent(files)
        if sent is None:
            pieces.popleft()
            pieces.extendleft(reversed(run[0].parts()))
            return True
        if not sent:
            return False
        del files[sent:], run[sent:]
        exchange.post(outbox.add_whole(files, [piece.data for piece in run]))
        for _ in run:
            pieces.popleft()
        self._feed.taken(run)
        last = run[-1]
        self._number, self._live = last.number, False
        self._progress.emit(FileStarted(last.path, last.size))
        self._progress.emit(Advanced(sum([piece.size for piece in run])))
        return True

    def _send_block(self, exchange: Exchange, wanted: SendBlock, content: Content) -> None:
        number, length = wanted.number, content.length
        kept = content.digest == wanted.held
        if length:
            block = Block(
                number, wanted.index, length, content.digest, content.zero and not kept, kept
            )
            exchange.post(exchange.outbox.add_block(block, content.data))
            self._feed.done_with(content)
            self._progress.emit(Advanced(length, 0 if block.payload else length))
        self._machine.block_sent(
            number, length, zero=content.zero and not kept, kept=kept, last=content.last
        )

    def _close(self, failure: Failure | None, root: bytes) -> None:
        self._machine.file_closed(self._number, failure, root)
        self._blocks.clear()
        self._closing = self._live = False

    async def _list(self, room: int) -> None:
        """Have the machine know more entries."""
        try:
            self._add(await self._walk.some(room), room)
        except Exception as error:  # noqa: BLE001  # raised where the transfer is driven
            self.exchange.fail(error)

    def _add(self, found: Sequence[Found | Skipped], room: int) -> None:
        entries: list[Entry] = []
        for item in found:
            if isinstance(item, Skipped):
                self.skipped += 1
                self._progress.emit(EntryFailed(item.path, item.reason))
                continue
            if item.entry.kind is FILE:
                self._sources[self._listed + len(entries)] = item.source
                if item.entry.size == UNKNOWN_SIZE:
                    self._listed_size = None
                elif self._listed_size is not None:
                    self._listed_size += item.entry.size
            entries.append(item.entry)
        self._machine.add_entries(entries)
        self._listed += len(entries)
        complete = len(found) < room
        if complete:
            self._machine.end_manifest(self.skipped)
        self._progress.emit(Offered(self._listed, self._listed_size, complete))
        self.exchange.wake()


def _small_sizes(pieces: Iterable[Piece]) -> Iterator[int]:
    """Those of the small files at the front, as many as a frame is to have at most."""
    for piece in islice(pieces, MOST_WHOLE):
        if type(piece) is not Whole:
            return
        yield piece.size


async def transfer(
    link: Link, cargo: Cargo, walking: Walking, progress: Progress, ways: Ways | None
) -> Summary:
    """Send ``cargo`` over ``link``, and over those that replace it; close the last one.

    A receiver that was started again is offered all of it again, and takes what it lacks.

    Args:
        link: to the other side, open.
        cargo: what is sent.
        walking: finds its entries, and may have begun to.
        progress: told what happens.
        ways: to a new link to the same peer; None if there are none.

    Raises:
        PartlyDone: over, but some entries did not arrive.
        StreamLost: a stream, and the receiver was started again.
        TransferError: whatever else ended it early.
    """
    began: float | None = None
    key = link.keys.key(RECEIPT, Role.B)
    continuity = Continuity()
    unheard: list[bytes] = []
    lost: StreamLost | None = None
    try:
        memory = SenderMemory(cargo.paths) if cargo.paths else None
        proofs = memory.begin(link.keys) if memory else ()
        while True:
            offer = Offer(secrets.token_bytes(ID_SIZE), cargo.kind, cargo.label[:MAX_LABEL])
            machine = Sender(offer, key, time.monotonic(), proofs=proofs)
            side = SendSide(machine, cargo, walking, progress)
            side.accepted = began
            exchange = side.exchange = Exchange(
                link,
                machine,
                side,
                progress,
                ways=ways,
                continuity=continuity,
                unheard=unheard,
            )
            if lost is not None:
                exchange.fail(lost)  # which it tells the receiver
            progress.emit(Waiting("accept"))
            try:
                receipt = await exchange.run()
                if memory and not (side.tally.mendable or side.skipped):
                    memory.finish()
                return side.tally.finish(receipt, side.skipped, side.elapsed())
            except PeerRestarted:
                if cargo.kind is TransferKind.STREAM:
                    lost = StreamLost(
                        "the receiver was started again, and a stream can't be read twice"
                    )
                continuity = Continuity.begun()
                began = side.accepted
                progress.emit(Restarted())
            finally:
                link = exchange.link
                await to_the_end(side.close())
                unheard = exchange.unheard
                await exchange.close()
    finally:
        await link.close()
