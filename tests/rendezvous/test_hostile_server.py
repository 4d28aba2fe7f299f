"""A rendezvous that stalls, lies, floods or talks nonsense: an error each time, and soon."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from wsproto.utilities import generate_accept_token

from p2pxfer.errors import RendezvousMisbehaved, RendezvousUnreachable, RoomRefused
from p2pxfer.rendezvous import config, connection, encoding
from p2pxfer.rendezvous import messages as wire
from p2pxfer.rendezvous.client import RendezvousClient, Room, _date
from p2pxfer.rendezvous.connection import Stream
from p2pxfer.rendezvous.messages import Crowded, Ended, Mail, Reason, Taken, Welcome
from p2pxfer.rendezvous.websocket import WebSocket

PATIENCE = 60.0  # seconds until a test is called hung
Behaviour = Callable[[web.WebSocketResponse], Awaitable[None]]
Hostile = Callable[..., Awaitable[RendezvousClient]]


@pytest.fixture
async def hostile() -> AsyncIterator[Hostile]:
    """A client of a server whose WebSocket behaves as a test says."""
    left: list[Callable[[], Awaitable[object]]] = []

    async def hostile(behaviour: Behaviour, **options) -> RendezvousClient:
        async def handle(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse(timeout=0.1)
            await socket.prepare(request)
            await socket.receive()
            await behaviour(socket)
            return socket

        app = web.Application()
        app.router.add_get("/v1/ws", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = RendezvousClient(
            f"127.0.0.1:{runner.addresses[0][1]}", **({"deadline": PATIENCE} | options)
        )
        await client.__aenter__()
        left.extend((runner.cleanup, lambda: client.__aexit__(None, None, None)))
        return client

    yield hostile
    for leave in reversed(left):
        await leave()


def saying(*said: wire.ServerMessage | bytes | str) -> Behaviour:
    """Say these things, then wait for the client to hang up."""

    async def behave(socket: web.WebSocketResponse) -> None:
        for message in said:
            if isinstance(message, str):
                await socket.send_str(message)
            else:
                data = message if isinstance(message, bytes) else encoding.encode(message)
                await socket.send_bytes(data)
        while not socket.closed:
            await socket.receive()

    return behave


async def to_the_end(room: Room) -> None:
    """Take all mail; the error that ends the room comes out."""
    while True:
        await room.receive()


WELCOME = Welcome(7, 600, 0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff\xff",
        b"\x81\x00",
        "text",
        bytes(wire.MAX_MESSAGE + 1),
        Mail(1, b"x"),
        Crowded(1),
        Welcome(0, 600, 0),
        Welcome(7, 600, 5),
        Ended(Reason.MALFORMED),
        Ended(Reason.SUPERSEDED),
    ],
    ids=lambda answer: repr(answer)[:40],
)
async def test_an_answer_that_is_none_is_misbehaviour(hostile, answer):
    """Garbage, huge frames, the wrong message, a room without a number, mail never sent."""
    client = await hostile(saying(answer))
    with pytest.raises(RendezvousMisbehaved):
        await client.allocate()


async def test_it_cannot_lead_into_another_room(hostile):
    """The nameplate is part of the password; a room by name has none."""
    client = await hostile(saying(Welcome(8, 600, 0)))
    with pytest.raises(RendezvousMisbehaved, match="another room"):
        await client.join(7)
    with pytest.raises(RendezvousMisbehaved, match="another room"):
        await client.open(bytes(32))


@pytest.mark.parametrize(
    "said",
    [
        [Mail(2, b"x")],
        [Taken(1)],
        [Welcome(7, 600, 0)],
        [Mail(number, b"x") for number in range(1, wire.WINDOW_MESSAGES + 2)],
        [b"\x82"],
        [bytes(wire.MAX_MESSAGE + 1)],
        ["text"],
    ],
    ids=lambda said: repr(said[0])[:40],
)
async def test_a_room_ends_when_the_server_breaks_the_protocol(hostile, said):
    """Mail left out, taken before it was sent, floods, nonsense: whoever waits hears of it."""
    client = await hostile(saying(WELCOME, *said))
    room = await client.allocate()
    async with asyncio.timeout(PATIENCE):
        await room._living
    with pytest.raises(RendezvousMisbehaved):
        await to_the_end(room)


async def test_a_server_that_never_answers_is_unreachable_in_time(hostile):
    """It accepts the connection and says nothing."""
    client = await hostile(saying(), deadline=0.2)
    with pytest.raises(RendezvousUnreachable, match=r"did not answer within 0\.2 s"):
        await client.allocate()


async def test_a_server_that_stops_answering_is_left(hostile):
    """It takes what it is sent, answers no ping, and is given up in the end."""

    async def stall(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(encoding.encode(WELCOME))
        await asyncio.sleep(600)  # reads nothing, so it answers no ping either

    client = await hostile(stall, heartbeat=0.2, patience=0.6, deadline=0.3)
    room = await client.allocate()
    with pytest.raises(RendezvousUnreachable):
        async with asyncio.timeout(PATIENCE):
            await room.receive()


async def test_a_server_that_welcomes_and_drops_for_ever_is_given_up(hostile):
    """Reconnections that lead nowhere don't go on without an end."""
    visits = 0

    async def drop(socket: web.WebSocketResponse) -> None:
        nonlocal visits
        visits += 1
        await socket.send_bytes(encoding.encode(WELCOME))
        await socket.close()

    client = await hostile(drop, patience=1.5)
    room = await client.allocate()
    with pytest.raises(RendezvousUnreachable, match="keeps breaking"):
        async with asyncio.timeout(PATIENCE):
            await room.receive()
    assert 2 <= visits < 10


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Welcome(8, 600, 0), RendezvousMisbehaved),
        (Welcome(7, 600, 9), RendezvousMisbehaved),
        (Ended(Reason.FULL), RendezvousMisbehaved),
        (Ended(Reason.UNKNOWN), RoomRefused),
    ],
    ids=repr,
)
async def test_coming_back_is_checked_as_well(hostile, answer, error):
    """Another room, mail that was never sent, and refusals that make no sense there."""
    answers = iter([WELCOME, answer])

    async def behave(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(encoding.encode(next(answers)))
        await socket.close()

    client = await hostile(behave)
    room = await client.allocate()
    with pytest.raises(error):
        async with asyncio.timeout(PATIENCE):
            await room.receive()


@pytest.fixture
async def answering() -> AsyncIterator[Callable[[bytes], Awaitable[RendezvousClient]]]:
    """A client of a server that answers every connection with the same bytes."""
    servers: list[asyncio.Server] = []
    clients: list[RendezvousClient] = []

    async def answering(answer: bytes) -> RendezvousClient:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if answer:
                writer.close()

        servers.append(await asyncio.start_server(accept, "127.0.0.1", 0))
        port = servers[-1].sockets[0].getsockname()[1]
        deadline = PATIENCE if answer else 0.5
        clients.append(await RendezvousClient(f"127.0.0.1:{port}", deadline=deadline).__aenter__())
        return clients[-1]

    yield answering
    for client in clients:
        await client.__aexit__(None, None, None)
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/inside\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nX: " + b"x" * 20_000 + b'\r\n\r\n{"version":1}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
    ],
    ids=lambda answer: answer[:30].decode(),
)
async def test_what_is_no_rendezvous_is_unreachable_in_a_short_message(answering, answer):
    """Silence, another protocol, another web server, a redirection, endless headers."""
    client = await answering(answer)
    for act in (client.allocate, client.config):
        with pytest.raises(RendezvousUnreachable) as error:
            await act()
        assert len(error.value.message) < 400


async def test_it_redirects_nobody(answering):
    """A server can't make the client ask a machine that only the client can reach."""
    asked = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    inside = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = inside.sockets[0].getsockname()[1]
    where = f"http://127.0.0.1:{port}/".encode()
    client = await answering(
        b"HTTP/1.1 302 Found\r\nLocation: " + where + b"\r\nContent-Length: 0\r\n\r\n"
    )
    for act in (client.allocate, client.config):
        with pytest.raises(RendezvousUnreachable, match="redirects"):
            await act()
    assert not asked.is_set()
    inside.close()


TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
FIRST, MIDDLE, LAST = 0x02, 0x00, 0x80  # fragments of a message


def frame(kind: int, payload: bytes = b"", *, size: int | None = None) -> bytes:
    """A server's frame (RFC 6455 section 5.2) that says it has ``size`` bytes, or what it has."""
    size = len(payload) if size is None else size
    if size < 126:
        return bytes([kind, size]) + payload
    if size < 2**16:
        return bytes([kind, 126]) + size.to_bytes(2) + payload
    return bytes([kind, 127]) + size.to_bytes(8) + payload


async def heard(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """What the client's next frame is, and what it says."""
    kind, length = await reader.readexactly(2)
    assert length & 0x80  # clients mask
    length &= 0x7F
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2))
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(length)
    return kind, bytes(a ^ b for a, b in zip(payload, itertools.cycle(mask), strict=False))


Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Heads = list[bytes]


@pytest.fixture
async def raw() -> AsyncIterator[Callable[..., Awaitable[tuple[RendezvousClient, Heads]]]]:
    """A client of a server that answers requests as a test says, and what it is asked.

    If ``accept`` is not given, it agrees to WebSockets first.
    """
    async with contextlib.AsyncExitStack() as held:

        async def raw(
            behave: Raw, accept: bytes | None = None, path: str = "", **options
        ) -> tuple[RendezvousClient, Heads]:
            heads: Heads = []

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                with contextlib.suppress(OSError, EOFError):
                    heads.append(await reader.readuntil(b"\r\n\r\n"))
                    if accept is not None:
                        writer.write(accept)
                    elif key := re.search(rb"Sec-WebSocket-Key: (\S+)", heads[-1]):
                        writer.write(
                            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n"
                            b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: "
                            + generate_accept_token(key[1])
                            + b"\r\n\r\n"
                        )
                    await behave(reader, writer)
                writer.close()

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            held.callback(server.close)
            port = server.sockets[0].getsockname()[1]
            url = f"127.0.0.1:{port}{path}"
            client = RendezvousClient(url, **({"deadline": PATIENCE} | options))
            return await held.enter_async_context(client), heads

        yield raw


def stating(*parts: bytes, hang_up: bool = False) -> Raw:
    """Write these bytes; then hang up, or wait until the client does."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))
        while not hang_up and await reader.read(65536):
            pass

    return behave


def repeating(data: bytes) -> Raw:
    """Write ``data`` again and again, until the client has gone."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(data)
            await writer.drain()

    return behave


WELCOMED = encoding.encode(WELCOME)
TOO_MUCH = wire.MAX_MESSAGE + 1


@pytest.mark.parametrize(
    "sent",
    [
        frame(BINARY, size=TOO_MUCH),
        frame(BINARY, size=2**62),
        frame(FIRST, bytes(9)) + frame(MIDDLE, size=TOO_MUCH - 9),
        frame(FIRST, bytes(9)) + frame(PING) + frame(LAST, size=TOO_MUCH - 9),
        frame(FIRST, WELCOMED) + frame(BINARY, WELCOMED),
        frame(LAST, WELCOMED),
        frame(0xC2, WELCOMED),
        frame(0x83, WELCOMED),
        frame(0x09) + frame(BINARY, WELCOMED),
        frame(PING, bytes(126)),
        frame(CLOSE, b"\x03"),
        frame(TEXT, b"\xff"),
        frame(0x01, b"x"),
        bytes([BINARY, 0x80 | len(WELCOMED)]) + bytes(4) + WELCOMED,
    ],
    ids=[
        "a frame that says it is too long",
        "or far too long",
        "fragments too long together",
        "with a ping among them",
        "a message in a message",
        "the end of none",
        "compressed",
        "an unknown kind",
        "half a ping",
        "a long ping",
        "half a reason",
        "no UTF-8",
        "the beginning of text",
        "masked",
    ],
)
async def test_frames_that_break_the_protocol_are_misbehaviour(raw, sent):
    """Each is refused by its head, before what it says is waited for."""
    client, _ = await raw(stating(sent))
    with pytest.raises(RendezvousMisbehaved, match="broke the WebSocket protocol"):
        async with asyncio.timeout(PATIENCE / 2):
            await client.allocate()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        frame(BINARY, WELCOMED[:2], size=len(WELCOMED)),
        frame(FIRST, WELCOMED),
        frame(FIRST, WELCOMED) + frame(CLOSE) + frame(LAST) + frame(BINARY, WELCOMED),
        frame(CLOSE, b"\x03\xe8bye") + b"\xff" * 100_000,
    ],
    ids=["silence", "half a frame", "half a message", "a close in it", "more after a close"],
)
async def test_an_end_before_the_answer_is_a_broken_connection(raw, sent):
    """Whatever came before it."""
    client, _ = await raw(stating(sent, hang_up=True))
    with pytest.raises(RendezvousUnreachable, match="the connection to the rendezvous broke"):
        await client.allocate()


async def test_fragments_make_one_message_and_pings_are_answered(raw):
    """What came with the answer to the upgrade counts; of pings that come at once, the last."""
    answered = asyncio.get_running_loop().create_future()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun = frame(FIRST, WELCOMED[:1]) + frame(MIDDLE) + frame(PING, b"one") + frame(PING, b"2")
        writer.write(begun)
        first, pong = await heard(reader), await heard(reader)
        answered.set_result({first[0]: first[1], pong[0]: pong[1]})
        writer.write(frame(LAST, WELCOMED[1:]))

    client, _ = await raw(behave, patience=0.1)
    room = await client.allocate()
    assert room.nameplate == WELCOME.nameplate
    assert (await answered)[PONG] == b"2"


async def test_silence_is_asked_whether_anybody_is_there(raw):
    """Whoever answers the ping is waited for, and whoever does not is left."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        kind, payload = await heard(reader)
        assert kind == PING
        writer.write(frame(PONG, payload))
        assert (await heard(reader))[0] == PING
        writer.write(frame(BINARY, WELCOMED))
        with contextlib.suppress(OSError, EOFError):
            while True:
                await heard(reader)

    client, heads = await raw(behave, heartbeat=0.5, patience=0.1)
    room = await client.allocate()
    with pytest.raises(RendezvousUnreachable):
        async with asyncio.timeout(PATIENCE):
            await room.receive()
    assert len(heads) == 1


async def test_a_flood_of_pings_is_no_answer(raw):
    """They are answered, the deadline holds, and no more is kept than the last."""
    client, _ = await raw(repeating(frame(PING, bytes(125)) * 1000), deadline=0.5)
    with pytest.raises(RendezvousUnreachable, match=r"did not answer within 0\.5 s"):
        await client.allocate()


async def test_pings_are_answered_no_faster_than_the_answers_are_taken():
    """A server that takes none is left, however much it sends, and little waits for it."""
    here, there = socket.socketpair()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    reader, writer = await asyncio.open_connection(sock=here)
    client = WebSocket(Stream(reader, writer), b"", most=100, heartbeat=0.2)
    receiving = asyncio.create_task(client.receive())
    _, asking = await asyncio.open_connection(sock=there)
    most = 0
    while not receiving.done() and most < 80_000:
        if asking.transport.get_write_buffer_size() == 0:
            asking.write(frame(PING, bytes(125)))
        await asyncio.sleep(0)
        most = max(most, writer.transport.get_write_buffer_size())
    receiving.cancel()
    with pytest.raises(ConnectionError):
        await receiving
    assert most > 0
    await client.close()
    asking.close()


async def test_a_flood_of_frames_leaves_turns_to_others():
    """What runs beside is not held up until all that has come is looked at."""
    here, there = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    client = WebSocket(Stream(reader, writer), b"", most=100, heartbeat=PATIENCE)
    _, flooding = await asyncio.open_connection(sock=there)
    flooding.write(frame(PONG) * connection.CHUNK + frame(BINARY, b"end"))
    await asyncio.sleep(0.1)  # all of it is there
    receiving = asyncio.create_task(client.receive())
    turns = 0
    while not receiving.done():
        await asyncio.sleep(0)
        turns += 1
    assert await receiving == b"end"
    assert turns >= 3  # one for each of the pieces that is read
    await client.close()
    flooding.close()


@pytest.mark.parametrize("read", [True, False])
async def test_what_was_written_before_a_close_still_leaves_but_not_for_ever(monkeypatch, read):
    """The end may be on a slow line; or it reads nothing, and then the socket is given back."""
    monkeypatch.setattr(connection, "LINGER", 0.3)
    here, there = socket.socketpair()
    stream = Stream(*await asyncio.open_connection(sock=here))
    data = bytes(10_000_000)
    stream.write(data)
    stream.close()
    there.setblocking(False)
    got = 0
    if not read:
        await asyncio.sleep(0.6)
    async with asyncio.timeout(PATIENCE):
        while some := await asyncio.get_running_loop().sock_recv(there, 100_000):
            got += len(some)
    assert (got == len(data)) is read
    there.close()


async def test_tls_that_is_not_closed_over_there_is_given_up_soon(monkeypatch, tls):
    """A server that answers no farewell keeps no socket of this side open."""
    monkeypatch.setattr(connection, "LINGER", 0.3)
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    there = await asyncio.start_server(
        lambda _, writer: accepted.put_nowait(writer), "127.0.0.1", 0, ssl=tls.server
    )
    port = there.sockets[0].getsockname()[1]
    stream = await connection.reach("127.0.0.1", port, tls.client, "127.0.0.1")
    writer = await accepted.get()
    writer.transport.pause_reading()
    mine = stream._writer.get_extra_info("socket")
    stream.close()
    async with asyncio.timeout(PATIENCE / 6):  # asyncio's own is half a minute
        with contextlib.suppress(ConnectionError):
            await stream._writer.wait_closed()
    assert mine.fileno() == -1
    writer.transport.abort()
    there.close()


@pytest.mark.parametrize(
    ("begun", "more", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n" * 100, "no HTTP, or too long"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 10_000, "no HTTP, or too long"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "again and again"),
        (b"", b"\0" * 10_000, "no HTTP, or too long"),
        (b"", b"x" * 10_000, "no HTTP, or too long"),
    ],
    ids=["endless headers", "an endless one", "endless promises", "zeros", "a line without an end"],
)
async def test_an_answer_without_an_end_is_left(raw, begun, more, said):
    """Long before the deadline, or there is no memory left."""
    client, _ = await raw(repeating(more), begun)
    for act in (client.allocate, client.config):
        with pytest.raises(RendezvousUnreachable, match=said):
            async with asyncio.timeout(PATIENCE / 2):
                await act()


@pytest.mark.parametrize(
    "kind", [b"Transfer-Encoding: chunked", b"Content-Length: 999999999", b"X:"]
)
async def test_a_configuration_without_an_end_is_left(raw, kind):
    """However its length is told, or not."""
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    client, _ = await raw(repeating(chunk), b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n\r\n")
    with pytest.raises(RendezvousMisbehaved, match="too long"):
        async with asyncio.timeout(PATIENCE / 2):
            await client.config()


@pytest.mark.parametrize(
    "headers",
    [
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n",
        b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
        b"Upgrade: websocket\r\nConnection: \xff\r\n",
    ],
)
async def test_an_upgrade_that_proves_nothing_is_none(raw, headers):
    """Such as the repeated answer of a cache."""
    client, _ = await raw(stating(), b"HTTP/1.1 101 Whatever\r\n" + headers + b"\r\n")
    with pytest.raises(RendezvousUnreachable, match=r"not as a rendezvous does .*status 101"):
        await client.allocate()
    with pytest.raises(RendezvousUnreachable):  # nobody asked for another protocol here
        await client.config()


async def test_it_is_asked_below_its_path(raw):
    """By name and in few words; early hints before an answer are passed over."""
    body = b'{"version": 1}'
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    client, heads = await raw(stating(body), hints + head + length, "/below/ü")
    assert (await client.config()).version == 1
    assert client.date is not None
    assert client.date.isoformat() == "1994-11-06T08:49:37+00:00"
    with pytest.raises(RendezvousUnreachable, match="status 200"):
        await client.allocate()
    for head, what in zip(heads, (b"config", b"ws"), strict=True):
        assert head.startswith(b"GET /below/%C3%BC/v1/" + what + b" HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"\r\nUser-Agent: p2pxfer\r\n" in head
        assert b"Sec-WebSocket-Extensions" not in head


async def test_a_busy_one_is_told_apart(answering):
    """The user comes again."""
    client = await answering(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(RendezvousUnreachable, match=r"is too busy \(HTTP status 503\)") as error:
        await client.allocate()
    assert error.value.hint == "try again in a minute"


ICE = {"urls": "stun:s.example"}
BAD_CONFIGS = [
    b"no json",
    b"[" * 5000,
    b"[]",
    b"{}",
    {"version": "1"},
    {"version": True},
    {"version": 1, "motd": "x" * 501},
    {"version": 1, "motd": 5},
    {"version": 1, "relay_bytes": -1},
    {"version": 1, "relay_bytes": 2**53},
    {"version": 1, "relay_bytes": True},
    {"version": 1, "relay_bytes": 1.5},
    {"version": 1, "ice_servers": {}},
    {"version": 1, "ice_servers": [ICE] * 17},
    {"version": 1, "ice_servers": ["stun:s.example"]},
    {"version": 1, "ice_servers": [{}]},
    {"version": 1, "ice_servers": [{"urls": []}]},
    {"version": 1, "ice_servers": [{"urls": ["stun:s"] * 9}]},
    {"version": 1, "ice_servers": [{"urls": "http://inside.example/"}]},
    {"version": 1, "ice_servers": [{"urls": "stun:a b"}]},
    {"version": 1, "ice_servers": [{"urls": "stun:" + "a" * 600}]},
    {"version": 1, "ice_servers": [ICE | {"username": "u"}]},
    {"version": 1, "ice_servers": [ICE | {"username": "u", "credential": 5}]},
    {"version": 1, "ice_servers": [ICE | {"username": "u\n", "credential": "c"}]},
    b'{"version": 1, "more": "' + b"x" * config.MAX_CONFIG + b'"}',
]


@pytest.mark.parametrize("answer", BAD_CONFIGS, ids=lambda answer: repr(answer)[:50])
async def test_a_configuration_out_of_bounds_is_misbehaviour(answering, answer):
    """Every part of it is checked before anybody uses it."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    client = await answering(head + body)
    with pytest.raises(RendezvousMisbehaved, match="unusable"):
        await client.config()


async def test_another_version_is_told_apart(answering):
    """The user should update, not distrust."""
    body = b'{"version": 2, "news": [1]}'
    client = await answering(b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n" + body)
    with pytest.raises(RoomRefused, match="another version"):
        await client.config()


def test_a_good_configuration_is_read():
    """A single URL becomes a list; what is not known is passed over."""
    found = config.parse(
        b'{"version": 1, "new": {}, "ice_servers": [{"urls": "turns:[2001:db8::1]:443'
        b'?transport=tcp", "username": "u", "credential": "c", "x": 1}]}'
    )
    server = {"urls": ["turns:[2001:db8::1]:443?transport=tcp"], "username": "u", "credential": "c"}
    assert found.ice_servers == (server,)
    assert config.parse(json.dumps(found.to_json()).encode()) == found


@pytest.mark.parametrize("header", ["", "soon", "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_a_date_that_is_none_is_passed_over(header):
    """Also one that is in no year once it is in UTC."""
    assert _date(header) is None
