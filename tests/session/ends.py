"""Two ends in memory, keys from a real handshake, and a peer that speaks raw frames.

`MemoryChannel` is a `Channel` without WebRTC; `Peer` holds one end of it and says whatever a test
wants said. The other end belongs to the real `send` or `receive`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from p2pxfer.errors import PeerGone, PeerMisbehaved
from p2pxfer.files.hashing import FileRoot, TransferRoot, block_digest
from p2pxfer.manifest import Entry, EntryKind, Failure, TransferKind, block_size
from p2pxfer.pairing.handshake import Handshake
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import Role, SessionKeys
from p2pxfer.peer.channel import HIGH_WATER
from p2pxfer.progress import Connected
from p2pxfer.session.summary import RECEIPT
from p2pxfer.transfer import messages as m
from p2pxfer.transfer import receipt as r
from p2pxfer.transfer.frames import LINK_TYPES, decode, encode

PASSWORD = b"7-orbit-lamp"
MTIME = 1_700_000_000_123_456_789
PATIENCE = 60.0  # seconds until a test is called hung
BIG = 1 << 30  # more credit than any test uses


def paired() -> tuple[SessionKeys, SessionKeys]:
    """Keys of both sides, from a handshake with nobody in between."""
    a, b = Handshake(Role.A, PASSWORD, Hello()), Handshake(Role.B, PASSWORD, Hello())
    for_b, for_a = deque(a.start()), deque(b.start())
    while for_a or for_b:
        if for_b:
            for_a += b.receive(for_b.popleft())
        if for_a:
            for_b += a.receive(for_a.popleft())
    assert a.keys is not None
    assert b.keys is not None
    return a.keys, b.keys


class MemoryChannel:
    """One end. ``reading`` is whether it takes what the other end sends."""

    def __init__(self, max_message: int = 64 * 1024) -> None:
        self.max_message = max_message
        self.error = None
        self.arriving = 0
        self.other: MemoryChannel = self
        self.closed = asyncio.Event()
        self.most_buffered = 0
        self._reading = True
        self._sent: deque[bytes] = deque()
        self._size = 0
        self._flushing = False
        self._moved = asyncio.Event()
        self._receiver: Callable[[bytes], None] | None = None
        self._watchers: list[Callable[[], None]] = []

    @property
    def reading(self) -> bool:
        return self._reading

    @reading.setter
    def reading(self, reading: bool) -> None:
        self._reading = reading
        self.other._flush_soon()

    @property
    def buffered(self) -> int:
        return self._size

    def on_message(self, callback: Callable[[bytes], None]) -> None:
        self._receiver = callback
        self.other._flush_soon()

    def on_closed(self, callback: Callable[[], None]) -> None:
        if self.closed.is_set():
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._watchers.append(callback)

    async def send(self, message: bytes) -> None:
        while self._size > HIGH_WATER and not self.closed.is_set():
            self._moved.clear()
            await self._moved.wait()
        if self.closed.is_set():
            raise PeerGone("the connection to the other side is closed")
        assert len(message) > 0
        self._sent.append(bytes(message))
        self._size += len(message)
        self.most_buffered = max(self.most_buffered, self._size)
        self._flush_soon()

    async def drain(self) -> None:
        while self._size and not self.closed.is_set():
            self._moved.clear()
            await self._moved.wait()
        if self._size:
            raise PeerGone("the connection to the other side is closed")

    def close(self) -> None:
        """Both ends learn it, once what was sent has arrived."""
        for end in (self, self.other):
            end._flush()
        for end in (self, self.other):
            if not end.closed.is_set():
                end.closed.set()
                end._moved.set()
                for watcher in end._watchers:
                    asyncio.get_running_loop().call_soon(watcher)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        other = self.other
        while self._sent and other._reading and other._receiver and not self.closed.is_set():
            message = self._sent.popleft()
            self._size -= len(message)
            other._receiver(message)
        self._moved.set()


def channels() -> tuple[MemoryChannel, MemoryChannel]:
    one, two = MemoryChannel(), MemoryChannel()
    one.other, two.other = two, one
    return one, two


class MemoryLink:
    """What a session needs of `connect.Link`."""

    def __init__(self, channel: MemoryChannel, keys: SessionKeys, *, relayed: bool = False) -> None:
        self.channel = channel
        self.keys = keys
        self.path = Connected("relay" if relayed else "direct", "", "", None)
        self.relayed = relayed
        self.is_settled = False
        self.is_closed = False
        self.offers: list[str] = []

    async def renegotiate(self, sdp: str) -> str:
        """What a connection would say to an offer, if it could be had."""
        self.offers.append(sdp)
        if sdp == "anew":
            raise PeerMisbehaved("an offer that would begin the connection anew")
        if sdp == "odd":
            raise ValueError("what nobody thought of")
        return f"to {sdp}"

    def settled(self) -> None:
        self.is_settled = True

    async def close(self) -> None:
        self.is_closed = True
        self.channel.close()


class Peer:
    """The far end: says anything, hears everything.

    It answers pings if it is ``alive``, and says what it has had if it ``acknowledges``.
    """

    def __init__(self, channel: MemoryChannel, keys: SessionKeys, *, attaches: bool = True) -> None:
        self.channel = channel
        self.keys = keys
        self.receipt_key = keys.key(RECEIPT, Role.B)
        self.heard: list[m.Message] = []
        self.raw: list[bytes] = []
        self.alive = self.acknowledges = True
        self._had = 0  # messages of the dialogue
        self._news = asyncio.Event()
        self._at: dict[type, int] = {}
        channel.on_message(self._take)
        channel.on_closed(self._news.set)
        if attaches:
            self.blurt(m.Attach(0, fresh=True))

    def _take(self, message: bytes) -> None:
        self.raw.append(message)
        self._had += message[0] not in LINK_TYPES
        if self.acknowledges and self._had % 16 == 1 and not self.channel.closed.is_set():
            self.blurt(m.Received(self._had))
        for frame in decode(message):
            self.heard.append(frame)
            if isinstance(frame, m.Ping) and self.alive and not self.channel.closed.is_set():
                self.blurt(m.Pong(frame.time))
        self._news.set()

    def blurt(self, *messages: m.Message) -> None:
        """Send without waiting for room, so that all of it arrives at once."""
        for body in map(encode, messages):
            self.channel._sent.append(body)
            self.channel._size += len(body)
        self.channel._flush_soon()

    async def say(self, *messages: m.Message) -> None:
        """Send each frame as a message of its own."""
        for message in messages:
            await self.channel.send(encode(message))

    async def hear(self, kind: type) -> m.Message:
        """The next message of ``kind`` that was not asked for before."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for at in range(self._at.get(kind, 0), len(self.heard)):
                    if isinstance(self.heard[at], kind):
                        self._at[kind] = at + 1
                        return self.heard[at]
                assert not self.channel.closed.is_set(), f"it hung up: {self.all(m.Abort)}"
                self._news.clear()
                await self._news.wait()

    def dialogue(self) -> list[bytes]:
        """What came so far, without what only tells where the other side stands."""
        return [message for message in self.raw if message[0] not in LINK_TYPES]

    def all(self, kind: type) -> list[m.Message]:
        return [message for message in self.heard if isinstance(message, kind)]


HELLO = m.Hello(m.OLDEST_VERSION, m.VERSION, 0)
OFFER = m.Offer(b"i" * m.ID_SIZE, TransferKind.FILES, b"label")


def file(name: bytes, size: int, mode: int = 0o644) -> Entry:
    return Entry(EntryKind.FILE, name, size, mode, MTIME)


def folder(name: bytes) -> Entry:
    return Entry(EntryKind.DIRECTORY, name, 0, 0o755, MTIME)


def link(name: bytes, target: bytes) -> Entry:
    return Entry(EntryKind.SYMLINK, name, 0, 0o777, MTIME, target)


def manifest(*entries: Entry, first: int = 0) -> list[m.Message]:
    """A page and the end of it."""
    size = sum(max(entry.size, 0) for entry in entries)
    return [m.Page(first, entries), m.ManifestEnd(first + len(entries), size, 0)]


def blocks(number: int, data: bytes) -> list[m.Message]:
    """Blocks of a file that holds ``data``, with their payload."""
    said: list[m.Message] = []
    step = block_size(len(data))
    for index, at in enumerate(range(0, len(data), step)):
        part = data[at : at + step]
        said.append(m.Block(number, index, len(part), block_digest(part)))
        said += [m.Data(part[at : at + 60_000]) for at in range(0, len(part), 60_000)]
    return said


def file_root(data: bytes) -> bytes:
    root = FileRoot()
    step = block_size(len(data))
    for at in range(0, len(data), step):
        root.update(block_digest(data[at : at + step]))
    return root.digest(len(data))


def whole(number: int, data: bytes) -> list[m.Message]:
    """A file as an honest sender sends it."""
    begin = m.FileBegin(number, len(data), 0o644, MTIME)
    return [begin, *blocks(number, data), m.FileEnd(number, None, len(data), file_root(data))]


Outcome = tuple[Entry, bytes | None, Failure | None]  # with what was sent of a file


def ending(outcomes: Sequence[Outcome]) -> m.TransferEnd:
    """The end of a transfer in which each entry became what is told of it."""
    root, size, failed = TransferRoot(), 0, 0
    for entry, data, failure in outcomes:
        root.add([(entry, failure, file_root(data) if data is not None else b"")])
        failed += failure is not None
        size += len(data or b"") if failure is None else 0
    return m.TransferEnd(root.digest(), len(outcomes), size, failed)


def receipt(
    key: bytes,
    offer: m.Offer,
    end: m.TransferEnd,
    failures: Sequence[tuple[int, Failure]] = (),
    **changes: object,
) -> m.Receipt:
    """The receipt of a receiver that agrees with ``end``, but for ``changes``."""
    listed = r.FailureList()
    for number, failure in failures:
        listed.add(number, failure)
    own = m.Receipt(
        offer.transfer_id,
        end.root,
        end.entries,
        end.size,
        end.failed,
        listed.digest(),
        bytes(m.MAC_SIZE),
    )
    return r.signed(key, replace(own, **changes))
