"""One WebSocket of a client: RFC 6455 by wsproto, over a stream.

Messages are bytes, and not understood here. The server may be hostile: a frame's length is looked
at before anything of it is kept, and pings are answered no faster than the answers are taken.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits
from wsproto.utilities import generate_accept_token, generate_nonce

from p2pxfer.rendezvous.connection import Route, Stream, closed_on_failure, connect
from p2pxfer.rendezvous.request import Answered, Head, get

CLOSE_SECONDS: Final = 1.0  # for the closing handshake, which nobody needs
_SWITCHING: Final = 101


class Violation(Exception):
    """The server broke the protocol, or sent what is no message here: text, or too much."""


class WebSocket:
    """Messages both ways. One task may send while another receives.

    Args:
        stream: what it goes over.
        early: bytes that came with the answer to the upgrade.
        most: bytes of a message that may come.
        heartbeat: seconds of silence after which a ping is sent, which has half as long to be
            answered.
    """

    def __init__(self, stream: Stream, early: bytes, *, most: int, heartbeat: float) -> None:
        self._stream = stream
        self._heartbeat = heartbeat
        self._frames = Connection(ConnectionType.CLIENT, [_Bound(most)], early)
        self._message = bytearray()  # of which fragments have come
        self._pinged: bytes | None = None  # with what; of several pings, the last is answered
        self._answering = False  # an answer to a ping is queued
        self._closed = False

    @property
    def ends(self) -> tuple[str, str]:
        """As `Stream.ends`."""
        return self._stream.ends

    async def send(self, message: bytes) -> None:
        """Write ``message``; waits while the server takes nothing.

        Raises:
            OSError: the connection is gone.
        """
        if self._closed or self._frames.state is not ConnectionState.OPEN:
            raise ConnectionError("the WebSocket is closed")
        self._stream.write(self._frames.send(BytesMessage(message)))
        await self._stream.drain()

    async def receive(self) -> bytes:
        """The next message.

        Raises:
            OSError: the connection is gone, or the server closed it, or answers no ping.
            Violation: the server broke the protocol.
        """
        while not self._closed:
            for event in self._frames.events():
                match event:
                    case BytesMessage(data=data, message_finished=finished):
                        self._message += data
                        if finished:
                            message, self._message = bytes(self._message), bytearray()
                            return message
                    case Ping(payload=payload):
                        self._pinged = bytes(payload)
                    case CloseConnection() | TextMessage():
                        await self._end(event)
            if not self._closed:
                self._frames.receive_data(await self._more())
        raise ConnectionError("the WebSocket is closed")

    async def close(self, code: CloseReason = CloseReason.NORMAL_CLOSURE) -> None:
        """Say ``code`` and hang up; a server that has broken the protocol is not waited for."""
        if self._closed:
            return
        self._closed = True
        try:
            with contextlib.suppress(OSError):  # a time out, too
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._part(code)
        finally:
            self._stream.close()

    async def _part(self, code: CloseReason) -> None:
        first = self._frames.state is ConnectionState.OPEN
        self._stream.write(self._frames.send(CloseConnection(code)))
        if not first or code is not CloseReason.NORMAL_CLOSURE:
            return
        while not any(isinstance(event, CloseConnection) for event in self._frames.events()):
            data = await self._stream.read()
            if not data:
                return
            self._frames.receive_data(data)

    async def _end(self, event: Event) -> None:
        """Raise what a close, a violation or text comes to.

        wsproto tells of a violation as of a close, but has not gone on to closing then.
        """
        if isinstance(event, CloseConnection) and self._frames.state is not ConnectionState.OPEN:
            await self.close()
            raise ConnectionError("the server closed the WebSocket")
        broken = CloseReason.UNSUPPORTED_DATA
        if isinstance(event, CloseConnection):
            broken = CloseReason(event.code)
        await self.close(broken)
        raise Violation

    async def _more(self) -> bytes:
        """Further bytes.

        Raises:
            OSError: the connection is gone, or the server answers no ping.
        """
        data = await self._within(self._heartbeat)
        if data is None:
            self._stream.write(self._frames.send(Ping()))
            data = await self._within(self._heartbeat / 2)
        if not data:
            raise ConnectionError("the server is gone")
        return data

    async def _within(self, seconds: float) -> bytes | None:
        """Bytes that come, empty at the end; None if nothing does, or no answer is taken."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if self._pinged is not None:
                    self._stream.write(self._frames.send(Pong(self._pinged)))
                    self._pinged, self._answering = None, True
                if self._answering:
                    await self._stream.drain()
                    self._answering = False
                return await self._stream.read()
        return None


async def upgrade(route: Route, path: str, *, most: int, heartbeat: float) -> WebSocket:
    """A WebSocket to ``path`` below the route's end; the rest as `WebSocket` has it.

    Raises:
        OSError: no connection.
        Answered: the server speaks no WebSocket there.
    """
    stream = await connect(route)
    with closed_on_failure(stream):
        nonce = generate_nonce()
        asked = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", nonce.decode("ascii")),
            ("Sec-WebSocket-Version", "13"),
        ]
        connection, head = await get(stream, route, path, asked)
        if not _accepted(head, nonce):
            raise Answered(head.status_code)
        return WebSocket(stream, connection.trailing_data[0], most=most, heartbeat=heartbeat)


def _accepted(head: Head, nonce: bytes) -> bool:
    """Whether a server answers as RFC 6455 section 4.1 wants it; nothing optional was asked for."""
    named = dict(head.headers)
    options = b",".join(value for name, value in head.headers if name == b"connection")
    return (
        head.status_code == _SWITCHING
        and named.get(b"upgrade", b"").lower() == b"websocket"
        and b"upgrade" in (option.strip() for option in options.lower().split(b","))
        and named.get(b"sec-websocket-accept") == generate_accept_token(nonce)
        and named.keys().isdisjoint({b"sec-websocket-extensions", b"sec-websocket-protocol"})
    )


class _Bound(Extension):
    """Refuses messages that are too long by what the headers of their frames say.

    It is none of the extensions that a server hears of: wsproto shows headers to nobody else.
    """

    name = "bound"

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    def frame_inbound_header(
        self,
        proto: FrameDecoder | FrameProtocol,  # noqa: ARG002
        opcode: Opcode,
        rsv: RsvBits,  # noqa: ARG002
        payload_length: int,
    ) -> CloseReason | RsvBits:
        if not opcode.iscontrol():
            before = self._size if opcode is Opcode.CONTINUATION else 0
            self._size = before + payload_length
            if self._size > self._most:
                return CloseReason.MESSAGE_TOO_BIG
        return RsvBits(rsv1=False, rsv2=False, rsv3=False)
