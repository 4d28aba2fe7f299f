"""Datagrams in batches: a transport for asyncio, and the event loop that hands it out.

Sockets that this loop opens for ICE and TURN move many datagrams a call where the system can.
What is received is told apart datagram by datagram: the kinds that somebody diverted go to them in
lists, the rest to the protocol one by one, as from any transport. What is in a datagram, beyond its
first byte (RFC 7983), is not known here.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from p2pxfer.peer import sockets
from p2pxfer.peer.outgoing import Address, Buffers, Outgoing

READS = 96  # calls in one turn of the loop, so that it stays under a millisecond,
READ = 640 * 1024  # and bytes after which there is no further one,
TAKEN = 160  # and datagrams

Sink = Callable[[list[bytes], float], None]

_UNREADABLE = (struct.error, ValueError, LookupError)  # what parsers raise over a datagram


def hand_over(protocol: Any, data: bytes, address: Any) -> None:
    """Have ``protocol`` take what anybody may have sent: if it chokes on it, that alone is lost."""
    try:  # noqa: SIM105  # a context manager takes longer, and this may be each of many
        protocol.datagram_received(data, address)
    except _UNREADABLE:
        pass


class BatchTransport(asyncio.DatagramTransport):
    """A UDP socket that sends and receives in batches, and drops nothing that it can keep.

    Args:
        loop: a loop that watches sockets.
        sock: bound, and connected if ``peer`` is given.
        protocol: takes what nobody diverted.
        peer: where everything goes.

    Attributes:
        abilities: what the socket can do.
        dropped: datagrams that found the system's buffer full.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        protocol: asyncio.DatagramProtocol,
        peer: Address | None = None,
    ) -> None:
        # "socket" stays unknown: aioice would make its buffer small again.
        super().__init__({"sockname": sock.getsockname(), "peername": peer})
        self.abilities = sockets.prepare(sock)
        self.dropped = 0
        self._loop = loop
        self._sock = sock
        self._protocol = protocol
        self._connected = peer is not None
        self._closing = False
        self._diverted = b""
        self._sink: Sink | None = None
        self._on_room: Callable[[], None] | None = None
        self._outgoing = Outgoing(
            loop,
            sock,
            segmentation=self.abilities.segmentation,
            on_error=protocol.error_received,
            on_empty=self._emptied,
        )
        loop.add_reader(sock.fileno(), self._readable)

    # Receiving

    def divert(self, first_bytes: bytes, sink: Sink | None) -> None:
        """Have datagrams that begin with one of ``first_bytes`` handed to ``sink`` in lists.

        It gets them in order, with the loop's time at which the socket was found readable.
        """
        self._diverted, self._sink = (first_bytes if sink is not None else b""), sink

    def _readable(self) -> None:
        now = self._loop.time()
        taken: list[bytes] = []
        total = 0
        receive = self._sock.recvmsg
        for _ in range(READS):
            try:
                data, ancillary, _, address = receive(65_536, sockets.ANCILLARY_SIZE)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:  # what ICMP told of something sent before
                self._protocol.error_received(error)
                continue
            segment = len(data)
            if ancillary:
                size, dropped = sockets.read_ancillary(ancillary)
                segment = size or segment
                self.dropped = self.dropped if dropped is None else dropped
            self._sort(data, segment, address, taken)
            if self._closing:
                return
            total += len(data)
            if total > READ or len(taken) > TAKEN:
                break
        if taken and self._sink is not None:
            self._sink(taken, now)

    def _sort(self, data: bytes, segment: int, address: Address, taken: list[bytes]) -> None:
        """Tell the datagrams of one batch apart: the kernel joins what differs in kind."""
        size = len(data)
        if not size:
            return
        if not data[::segment].strip(self._diverted):
            if size <= segment:
                taken.append(data)
            else:
                taken += [data[at : at + segment] for at in range(0, size, segment)]
            return
        for at in range(0, size, segment):
            packet = data[at : at + segment]
            if packet[0] in self._diverted:
                taken.append(packet)
            elif not self._closing:
                hand_over(self._protocol, packet, address)

    # Sending

    @property
    def blocked(self) -> bool:
        """Whether what is sent now has to wait."""
        return self._outgoing.waiting > 0

    def on_room(self, callback: Callable[[], None] | None) -> None:
        """Have ``callback`` called whenever the transport is no longer `blocked`."""
        self._on_room = callback

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send one datagram; STUN goes ahead of what waits."""
        packet = bytes(data)
        if packet and not self._closing:
            self._outgoing.send(packet, None if self._connected else addr)

    def send_batch(
        self, buffers: Buffers, segment: int, addr: Address | None, *, whole: bool = True
    ) -> None:
        """Send the bytes of ``buffers`` as datagrams of ``segment`` bytes, the last maybe shorter.

        At most `sockets.MAX_SEGMENTS` of them, and `sockets.LONGEST` bytes. What has to wait is
        copied and kept, whether `blocked` is heeded or not. Unless ``whole``, they may be cut up
        on the way.
        """
        if self._closing:
            return
        target = None if self._connected else addr
        if whole:
            self._outgoing.send_batch(buffers, segment, target)
            return
        data = b"".join(buffers)
        for at in range(0, len(data), segment):
            self._outgoing.send_cut(data[at : at + segment], target)

    def _emptied(self) -> None:
        if self._closing:
            self._loop.call_soon(self._end)
        elif self._on_room is not None:
            self._on_room()

    # What asyncio expects of a transport

    def get_write_buffer_size(self) -> int:
        """Bytes that wait."""
        return self._outgoing.waiting

    def get_protocol(self) -> asyncio.BaseProtocol:
        """What takes the datagrams."""
        return self._protocol

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._closing

    def close(self) -> None:
        """Receive nothing more; what waits is sent first."""
        if self._closing:
            return
        self._closing = True
        self.divert(b"", None)
        self._on_room = None
        self._loop.remove_reader(self._sock.fileno())
        if not self._outgoing.waiting:
            self._loop.call_soon(self._end)

    def abort(self) -> None:
        """Close, and forget what waits."""
        self._outgoing.stop()
        self.close()

    def _end(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._outgoing.stop()
        self._sock.close()
        self._protocol.connection_lost(None)


class BatchLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, but for the datagram sockets of ICE and TURN."""

    async def create_datagram_endpoint(  # type: ignore[override]  # the rest of it goes to super
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        **options: Any,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        """A `BatchTransport` where one address is all that is said, asyncio's own otherwise."""
        address = local_addr or remote_addr
        if address is None or (local_addr and remote_addr) or any(options.values()):
            return await super().create_datagram_endpoint(
                protocol_factory, local_addr, remote_addr, **options
            )
        sock = await self._open(address, connect=local_addr is None)
        protocol = protocol_factory()
        peer = sock.getpeername() if local_addr is None else None
        transport = BatchTransport(self, sock, protocol, peer)
        protocol.connection_made(transport)
        return transport, protocol

    async def _open(self, address: tuple[str, int], *, connect: bool) -> socket.socket:
        try:  # without a thread where no name has to be looked up
            flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
            infos = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM, flags=flags)
        except socket.gaierror:
            infos = await self.getaddrinfo(*address, type=socket.SOCK_DGRAM)
        problem: OSError | None = None
        for family, kind, number, _, target in infos:
            sock = socket.socket(family, kind, number)
            try:
                (sock.connect if connect else sock.bind)(target)
            except OSError as error:
                sock.close()
                problem = error
            else:
                return sock
        raise problem or OSError("no address")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop with batches, or the system's own where that can't watch sockets so."""
    if isinstance(asyncio.get_event_loop_policy(), _watching_policies()):
        return BatchLoop()
    return asyncio.new_event_loop()


def _watching_policies() -> tuple[type, ...]:
    """Those policies of asyncio's own whose loops are selectors; a foreign one has its reasons."""
    return (asyncio.DefaultEventLoopPolicy,) if hasattr(socket.socket, "recvmsg") else ()
