"""Sending: walks, reads ahead, answers the sender machine, until the receipt is there.

`send` is the whole of it for callers. Content comes from a `Feed`, what to do from
`transfer.Sender`, and the `Exchange` carries it. No terminal.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

from p2pxfer.errors import UsageError
from p2pxfer.files.walk import Found, Skipped, WalkOptions, walk
from p2pxfer.manifest import UNKNOWN_SIZE, Entry, EntryKind, Failure, TransferKind
from p2pxfer.pairing.keys import Role
from p2pxfer.progress import (
    Advanced,
    EntryFailed,
    FileStarted,
    NullProgress,
    Offered,
    Progress,
)
from p2pxfer.session.connect import Connector, Network, Sending
from p2pxfer.session.exchange import Exchange
from p2pxfer.session.feed import (
    AsyncReader,
    Closed,
    Content,
    Feed,
    FileFeed,
    Job,
    Opened,
    StreamFeed,
    TextFeed,
)
from p2pxfer.session.interaction import Interaction, Unattended
from p2pxfer.session.link import Link
from p2pxfer.session.summary import RECEIPT, Summary, Tally
from p2pxfer.transfer.actions import CloseFile, NeedRoot, OpenFile, SendBlock, Settled, Walk
from p2pxfer.transfer.messages import ID_SIZE, MAX_LABEL, Activity, Block, Offer, Receipt
from p2pxfer.transfer.sender import Sender

READ_AHEAD_FILES: Final = 512
BACKLOG: Final = 128  # files; below that the feed is told of more
ANSWERS: Final = 256  # pieces packed before other tasks get the loop
MAX_TEXT: Final = 1024 * 1024  # bytes of a --text transfer


class SendSide:
    """What a sender does beside the machine: an `exchange.Side`."""

    def __init__(
        self,
        machine: Sender,
        feed: Feed,
        found: Iterator[Found | Skipped],
        pool: ThreadPoolExecutor,
        progress: Progress,
    ) -> None:
        self._machine = machine
        self._feed = feed
        self._found = found
        self._pool = pool
        self._progress = progress
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
        self.tally = Tally(progress)
        self.skipped = 0
        self.doing: Activity | None = None
        self.exchange: Exchange  # set by whoever makes both

    def perform(self, action: object) -> None:
        """Begin what the machine asks for."""
        match action:
            case SendBlock():
                self._blocks.append(action)
            case OpenFile(number, entry):
                self._number, self._current, self._live = number, entry, True
            case CloseFile():
                if self._blocks:  # the receiver has no use for the rest
                    self._feed.drop(self._number)
                    self._close(None, b"")
                else:
                    self._closing = True
            case Settled(outcomes):
                for outcome in outcomes:
                    self._sources.pop(outcome.number, None)
                    self.tally.settle(outcome)
            case Walk(room):
                self._walking = asyncio.create_task(self._walk(room))
            case NeedRoot():
                self._machine.transfer_root(self.tally.root())

    def outcome(self) -> Receipt | None:
        """Nothing is sure until the receipt is here."""
        return None

    def take(self, payload: bytes | memoryview) -> None:
        """No content ever comes to a sender; the machine has refused it already."""

    def advance(self, exchange: Exchange) -> bool:
        """Answer the machine with what the feed holds."""
        self._tell_feed()
        pieces, answered = self._feed.pieces, 0
        while pieces and answered < ANSWERS and exchange.has_room():
            if not self._answer(exchange):
                break
            answered += 1
            exchange.drain()
        if answered:
            self._feed.taken()
        return answered > 0

    def _tell_feed(self) -> None:
        """Have the feed know what comes next, without asking the machine for every file."""
        if self._feed.backlog() >= BACKLOG:
            return
        ahead = self._machine.upcoming(READ_AHEAD_FILES)
        if self._live and self._current is not None:
            ahead.insert(0, (self._number, self._current))
        jobs = [
            Job(number, entry, self._sources.get(number, b""))
            for number, entry in ahead
            if number > self._queued
        ]
        if jobs:
            self._queued = jobs[-1].number
            self._feed.add(jobs)

    def _answer(self, exchange: Exchange) -> bool:
        """Answer with the feed's first piece; False when it has to wait."""
        piece = self._feed.pieces[0]
        number = piece.number
        if number > self._number:
            return False
        if number < self._number or not self._live:
            self._feed.pieces.popleft()  # of a file that the receiver has no use for
            return True
        match piece:
            case Opened(size=size, mode=mode, mtime_ns=mtime_ns):
                self._machine.file_opened(number, size, mode, mtime_ns)
                assert self._current is not None
                shown = None if size == UNKNOWN_SIZE else size
                self._progress.emit(FileStarted(self._current.path, shown))
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
        self._feed.pieces.popleft()
        return True

    def _send_block(self, exchange: Exchange, wanted: SendBlock, content: Content) -> None:
        number, length = wanted.number, content.length
        if length:
            block = Block(number, wanted.index, length, content.digest, content.zero)
            exchange.post(exchange.outbox.add_block(block, content.data))
            self._progress.emit(Advanced(length))
        self._machine.block_sent(number, length, zero=content.zero, last=content.last)

    def _close(self, failure: Failure | None, root: bytes) -> None:
        self._machine.file_closed(self._number, failure, root)
        self._blocks.clear()
        self._closing = self._live = False

    async def _walk(self, room: int) -> None:
        """Find more entries, in the worker thread."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._pool, _some, self._found, room
            )
        except Exception as error:  # noqa: BLE001  # raised where the transfer is driven
            self.exchange.fail(error)
            return
        entries: list[Entry] = []
        for item in found:
            if isinstance(item, Skipped):
                self.skipped += 1
                self._progress.emit(EntryFailed(item.path, item.reason))
                continue
            if item.entry.kind is EntryKind.FILE:
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


def _some(found: Iterator[Found | Skipped], room: int) -> list[Found | Skipped]:
    return list(islice(found, room))


async def send(
    paths: Sequence[str | bytes | os.PathLike[str]] = (),
    *,
    network: Network,
    text: str | None = None,
    stream: AsyncReader | None = None,
    stream_name: bytes = b"stdin",
    code: str | None = None,
    words: int = 2,
    wait: float = 3600.0,
    verify: bool = False,
    options: WalkOptions | None = None,
    code_out: Path | None = None,
    progress: Progress | None = None,
    interaction: Interaction | None = None,
) -> Summary:
    """Offer files, a stream or a text, and send it to whoever has the code.

    Args:
        paths: files and folders. Exactly one of ``paths``, ``stream`` and ``text`` is given.
        network: how to find the other side.
        text: a text to show on the other side.
        stream: anything with ``await read(n)``; its end is found when it is there.
        stream_name: what a stream's file is called on the other side, unless it says otherwise.
        code: a code of your own, of at least 64 bits, which both sides know beforehand; None
            draws one, told by `CodeReady`.
        words: how many words to draw.
        wait: seconds that the code lives.
        verify: have both sides show four words and wait for a yes.
        options: what of ``paths`` is left out, and what becomes of symlinks.
        code_out: a file for the drawn code, made with mode 0600.
        progress: told what happens.
        interaction: asked what only a human can answer; None refuses.

    Raises:
        PartlyDone: over, but some entries did not arrive; each was told by `EntryFailed`.
        TransferError: any other of the tree in `p2pxfer.errors`.
    """
    progress = progress or NullProgress()
    options = options or WalkOptions()
    if sum((bool(paths), text is not None, stream is not None)) != 1:
        raise UsageError("give files, or a stream, or a text: one of them")
    kind, found = _offered(paths, text, stream_name if stream else None, options)
    connector = Connector(
        network, verify=verify, progress=progress, interaction=interaction or Unattended()
    )
    sending = Sending(chosen=code, words=words, wait=wait, code_out=code_out)
    content = stream if text is None else text.encode()
    label = b"" if content else os.path.basename(os.fsencode(paths[0]).rstrip(b"/"))
    offer = Offer(secrets.token_bytes(ID_SIZE), kind, label[:MAX_LABEL])
    try:
        link = await connector.offer(sending)
        try:
            return await _transfer(
                link, offer, found=found, content=content, options=options, progress=progress
            )
        finally:
            await link.close()
    finally:
        await connector.close()


async def _transfer(
    link: Link,
    offer: Offer,
    *,
    found: Iterator[Found | Skipped],
    content: AsyncReader | bytes | None,
    options: WalkOptions,
    progress: Progress,
) -> Summary:
    began = time.monotonic()
    machine = Sender(offer, link.keys.key(RECEIPT, Role.B), began)
    pool = ThreadPoolExecutor(1, "p2pxfer-disk")
    feed: Feed
    side: SendSide

    def wake() -> None:
        side.exchange.wake()

    def fail(error: BaseException) -> None:
        side.exchange.fail(error)

    if isinstance(content, bytes):
        feed = TextFeed(content, wake)
    elif content is not None:
        feed = StreamFeed(content, pool, wake, fail)
    else:
        feed = FileFeed(pool, wake, fail, follow=options.symlinks == "follow")
    side = SendSide(machine, feed, found, pool, progress)
    exchange = side.exchange = Exchange(link, machine, side, progress)
    reading = asyncio.create_task(feed.run())
    try:
        receipt = await exchange.run()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        pool.shutdown(wait=False, cancel_futures=True)
    return side.tally.finish(receipt, side.skipped, time.monotonic() - began)


def _offered(
    paths: Sequence[str | bytes | os.PathLike[str]],
    text: str | None,
    stream_name: bytes | None,
    options: WalkOptions,
) -> tuple[TransferKind, Iterator[Found | Skipped]]:
    """What is offered, and its entries, found as they are asked for."""
    if paths:
        return TransferKind.FILES, walk(paths, options)
    now = time.time_ns()
    if text is not None:
        size = len(text.encode())
        if size > MAX_TEXT:
            raise UsageError(f"a text of {size:,} bytes; at most {MAX_TEXT:,} can be sent as one")
        entry = Entry(EntryKind.FILE, b"text", size, 0o600, now)
        return TransferKind.TEXT, iter([Found(entry, b"")])
    entry = Entry(EntryKind.FILE, stream_name or b"stdin", UNKNOWN_SIZE, 0o644, now)
    return TransferKind.STREAM, iter([Found(entry, b"")])
