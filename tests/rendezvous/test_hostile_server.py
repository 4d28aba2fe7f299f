"""A rendezvous that stalls, lies, floods or talks nonsense: an error each time, and soon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from p2pxfer.errors import RendezvousMisbehaved, RendezvousUnreachable, RoomRefused
from p2pxfer.rendezvous import config, encoding
from p2pxfer.rendezvous import messages as wire
from p2pxfer.rendezvous.client import RendezvousClient, Room, _date
from p2pxfer.rendezvous.messages import Crowded, Ended, Mail, Reason, Taken, Welcome

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
