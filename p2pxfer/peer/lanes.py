"""Ways for SCTP's packets to the far end: in batches past aiortc, or through it one by one.

A lane encrypts and sends a flight, and hands over what was decrypted; what SCTP is, it doesn't
know. Which lane a connection gets is decided when its DTLS is up, by looking whether every private
name of the faster one is there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from OpenSSL import SSL

from p2pxfer.peer import sockets
from p2pxfer.peer.records import (
    APPLICATION_DATA,
    MOST_OVERHEAD,
    Records,
    segment_size,
    split,
    usable,
)
from p2pxfer.peer.relay import FRAME, Relay, inner_protocol
from p2pxfer.peer.udp import BatchTransport, Sink

SMALLEST = (
    1200  # bytes of UDP payload that any path takes: RFC 8831 section 5, RFC 8899 section 5.1.2
)
COMMON = (1280, 1400, 1452, 1472)  # what tunnels, PPPoE and Ethernet leave of IPv4 or IPv6
LARGER = (4052, 8952, 8972, 16_421)  # jumbo frames, and the longest record where nothing limits
MOST_WAITING = 256 * 1024  # bytes in front of aiortc at which nothing more is sent

_ICE_NAMES = ("_nominated", "_protocols", "data_received")


class Lane(Protocol):
    """One way to the far end.

    Attributes:
        sizes: packets of SCTP, in bytes, that may be tried on the path, the smallest first.
        blocked: whether nothing more should be sent before there is room again.
    """

    sizes: tuple[int, ...]

    @property
    def blocked(self) -> bool: ...  # noqa: D102  # above

    def send(self, packets: Sequence[bytes], *, whole: bool) -> None:
        """Send a flight; unless ``whole``, it may be cut up on the way."""

    async def stop(self) -> None:
        """Let the last packets out, and take nothing more."""


def ice_connection(dtls: Any) -> Any:
    """What aioice has under a DTLS transport, or None if it isn't as expected."""
    connection = getattr(getattr(dtls, "transport", None), "_connection", None)
    return connection if all(hasattr(connection, name) for name in _ICE_NAMES) else None


def can_batch(dtls: Any) -> bool:
    """Whether a connection whose DTLS is up, and whose path is found, can have `BatchLane`."""
    connection = ice_connection(dtls)
    tls = getattr(dtls, "_ssl", None)
    if connection is None or tls is None or not usable(tls):
        return False
    pair = connection._nominated.get(1)
    transport = getattr(getattr(pair, "protocol", None), "transport", None)
    return isinstance(transport, BatchTransport) or inner_protocol(transport) is not None


class _Direct:
    """The socket itself."""

    overhead = 0

    def __init__(self, transport: BatchTransport, sink: Sink, room: Callable[[], None]) -> None:
        self._transport = transport
        transport.divert(APPLICATION_DATA, sink)
        transport.on_room(room)

    @property
    def blocked(self) -> bool:
        return self._transport.blocked

    def send(
        self, records: Sequence[memoryview], segment: int, address: Any, *, whole: bool
    ) -> None:
        self._transport.send_batch(records, segment, address, whole=whole)

    def detach(self) -> None:
        self._transport.divert(b"", None)
        self._transport.on_room(None)


class BatchLane:
    """A whole flight encrypted, and sent with one call where the system can.

    Args:
        dtls: a transport for which `can_batch`.
        take: called with what was decrypted and the time at which it could be read.
        room: called when the lane is no longer blocked.
        ended: called when nothing more will come.
        moved: called when packets take another path from now on.
    """

    def __init__(
        self,
        dtls: Any,
        take: Callable[[list[bytes], float], None],
        room: Callable[[], None],
        ended: Callable[[], None],
        moved: Callable[[], None],
    ) -> None:
        self._ice = ice_connection(dtls)
        self._nominated: dict[int, Any] = self._ice._nominated
        self._records = Records(dtls._ssl)
        self._on_packets = take
        self._on_room = room
        self._on_ended = ended
        self._on_moved = moved
        self._ways: dict[int, _Direct | Relay] = {}
        self._pair: Any = None
        self._way: _Direct | Relay | None = None
        self._address: Any = None
        self._ended = False
        for protocol in self._ice._protocols:
            self._attach(protocol.transport)
        self._follow()
        relayed = FRAME if isinstance(self._way, Relay) else 0
        ladder = (SMALLEST, *COMMON) if relayed else (SMALLEST, *COMMON, *LARGER)
        self.sizes = tuple(size - self._records.overhead - relayed for size in ladder)

    @property
    def blocked(self) -> bool:
        """Whether the socket, or the stream to a relay, takes no more for now.

        What waits on another path than the one in use holds nobody up.
        """
        way = self._way
        return way is not None and way.blocked and self._nominated.get(1) is self._pair

    def send(self, packets: Sequence[bytes], *, whole: bool) -> None:
        """Encrypt and send; without a path it is lost."""
        if self._nominated.get(1) is not self._pair:
            self._follow()
            self._on_moved()
        way = self._way
        if way is None or self._ended:
            return
        longest = max(map(len, packets)) + self._records.overhead + way.overhead
        most = min(sockets.MAX_SEGMENTS, sockets.LONGEST // longest)
        for at in range(0, len(packets), most):
            self._send(
                way, packets[at : at + most] if at or len(packets) > most else packets, whole
            )

    def _send(self, way: _Direct | Relay, packets: Sequence[bytes], whole: bool) -> None:
        joined = self._records.encrypt(packets)
        if not joined:
            return
        segment = segment_size(joined, len(packets))
        if segment and isinstance(way, _Direct):
            way.send([joined], segment, self._address, whole=whole)
        elif segment:
            way.send(split(joined), segment, self._address, whole=whole)
        else:
            for record in split(joined):
                way.send([record], len(record), self._address, whole=whole)

    async def stop(self) -> None:
        """Leave what comes to aiortc again."""
        self._ended = True
        for way in self._ways.values():
            way.detach()

    def _attach(self, transport: Any) -> None:
        key = id(transport)
        if key in self._ways:
            return
        if isinstance(transport, BatchTransport):
            self._ways[key] = _Direct(transport, self._take, self._on_room)
        elif inner_protocol(transport) is not None:
            self._ways[key] = Relay(transport, self._take, self._on_room)

    def _follow(self) -> None:
        """The pair in use can change."""
        self._pair = pair = self._nominated.get(1)
        self._way = None
        if pair is not None:
            transport = pair.protocol.transport
            self._attach(transport)
            self._way, self._address = self._ways.get(id(transport)), pair.remote_addr

    def _take(self, records: list[bytes], now: float) -> None:
        if self._ended:
            return
        packets = self._records.decrypt(records)
        answer = self._records.pending()
        if answer and self._way is not None:
            self._way.send([answer], len(answer), self._address, whole=True)
        if packets:
            self._on_packets(packets, now)
        if self._records.ended and not self._ended:
            self._ended = True
            self._ice.data_received(records[-1], 1)  # aiortc learns of the end by reading
            self._on_ended()


class SingleLane:
    """aiortc's own way, a packet at a time.

    Args:
        dtls: any transport of aiortc's.
        room: called when the lane is no longer blocked.
    """

    def __init__(self, dtls: Any, room: Callable[[], None]) -> None:
        self.sizes: tuple[int, ...] = (
            SMALLEST - MOST_OVERHEAD,
        )  # cut up on the way or not: unknown
        self._dtls = dtls
        self._on_room = room
        self._queue: deque[bytes] = deque()
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def blocked(self) -> bool:
        """Whether enough is waiting already."""
        return self._waiting > MOST_WAITING

    def send(self, packets: Sequence[bytes], *, whole: bool) -> None:  # noqa: ARG002  # can't tell it
        """Queue for aiortc."""
        self._queue.extend(packets)
        self._waiting += sum(map(len, packets))
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Wait until the last packets are out."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        was_blocked = False
        try:
            while self._queue:
                packet = self._queue.popleft()
                was_blocked = was_blocked or self.blocked
                self._waiting -= len(packet)
                await self._dtls._send_data(packet)
                if was_blocked and self._waiting < MOST_WAITING // 2:
                    was_blocked = False
                    self._on_room()
        except (ConnectionError, SSL.Error):
            self._queue.clear()
            self._waiting = 0
        finally:
            self._task = None
