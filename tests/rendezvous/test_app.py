"""The server as a stranger on the network meets it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from p2pxfer.rendezvous import encoding
from p2pxfer.rendezvous import messages as wire
from p2pxfer.rendezvous.client import RendezvousClient
from p2pxfer.rendezvous.messages import Ended, Mail, Reason, Welcome
from p2pxfer.rendezvous.server import app
from p2pxfer.rendezvous.server.limits import DAY, Limits, Rate
from p2pxfer.rendezvous.server.rooms import Room

PATIENCE = 60.0  # seconds until a test is called hung
A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
NAME = bytes(range(32))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def say(socket: aiohttp.ClientWebSocketResponse, message: wire.ClientMessage) -> None:
    await socket.send_bytes(encoding.encode(message))


async def hear(socket: aiohttp.ClientWebSocketResponse) -> wire.ServerMessage:
    return encoding.decode_server(await socket.receive_bytes(timeout=PATIENCE))


async def ask(
    http: aiohttp.ClientSession, port: int, message: wire.ClientMessage, **headers: str
) -> wire.ServerMessage:
    """The answer to one first message; hangs up afterwards."""
    url = f"http://127.0.0.1:{port}/v1/ws"
    async with http.ws_connect(url, headers=headers) as socket:
        await say(socket, message)
        return await hear(socket)


async def test_it_is_healthy_and_says_what_it_offers(serve, http):
    """What a load balancer and a client ask for first."""
    ice = [{"urls": ["turn:t.example:3478"], "username": "u", "credential": "c"}]
    server = await serve(motd="welcome", ice_servers=ice)
    async with http.get(f"http://127.0.0.1:{server.port}/healthz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")
    async with http.get(f"http://127.0.0.1:{server.port}/v1/config") as response:
        told = {"version": 1, "ice_servers": ice, "motd": "welcome", "relay_bytes": 0}
        assert await response.json() == told


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:{port}", 101),
        ("null", 101),
        ("https://127.0.0.1:{port}", 403),
        ("http://127.0.0.1", 403),
        ("http://127.0.0.1:{port}.evil.example", 403),
        ("http://evil.example:{port}", 403),
        ("file://", 403),
        ("http://[", 403),
        ("", 403),
    ],
)
async def test_only_its_own_pages_and_local_files_may_connect(serve, http, origin, status):
    """A page from elsewhere can't use a visitor's browser to guess codes."""
    server = await serve()
    url = f"http://127.0.0.1:{server.port}/v1/ws"
    headers = {"Origin": origin.format(port=server.port)}
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    async with http.get(url, headers=headers | upgrade | key) as response:
        assert response.status == status


async def test_behind_a_proxy_that_ends_tls_its_own_pages_are_known(serve, http):
    """The proxy passes Host on; the page was loaded by https."""
    server = await serve(trust_proxy=True)
    url = f"http://127.0.0.1:{server.port}/v1/ws"
    headers = {"Host": "p.example", "Origin": "https://p.example"}
    async with http.ws_connect(url, headers=headers) as socket:
        assert not socket.closed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        encoding.encode(wire.Burn()),
        encoding.encode(wire.Send(1, b"x")),
        encoding.encode(wire.Allocate(A)) + b"x",
        "text",
    ],
    ids=repr,
)
async def test_what_is_no_first_message_is_refused(serve, http, data):
    """Garbage, and good messages before their time."""
    server = await serve()
    async with http.ws_connect(f"http://127.0.0.1:{server.port}/v1/ws") as socket:
        if isinstance(data, str):
            await socket.send_str(data)
        else:
            await socket.send_bytes(data)
        assert await hear(socket) == Ended(Reason.MALFORMED)
        assert (await socket.receive(timeout=PATIENCE)).type is aiohttp.WSMsgType.CLOSE


async def test_a_client_of_another_version_hears_so(serve, http):
    """It can tell its user to update, instead of guessing."""
    server = await serve()
    async with http.ws_connect(f"http://127.0.0.1:{server.port}/v1/ws") as socket:
        await socket.send_bytes(b"\x01\x02 something newer")
        assert await hear(socket) == Ended(Reason.VERSION)


async def test_a_frame_that_is_too_long_ends_the_connection(serve, http):
    """Before it is kept anywhere."""
    server = await serve()
    async with http.ws_connect(f"http://127.0.0.1:{server.port}/v1/ws") as socket:
        await socket.send_bytes(bytes(wire.MAX_MESSAGE + 1))
        frame = await socket.receive(timeout=PATIENCE)
        assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, 1009)


async def test_a_silent_connection_is_not_kept(serve, http):
    """It must say what it wants within a few seconds."""
    server = await serve(limits=Limits(first_message=0.05))
    async with http.ws_connect(f"http://127.0.0.1:{server.port}/v1/ws") as socket:
        frame = await socket.receive(timeout=PATIENCE)
        assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, 1008)


async def test_breaking_the_protocol_inside_costs_the_connection_not_the_room(serve, http):
    """The other side's room goes on; the side may come back and do better."""
    server = await serve()
    url = f"http://127.0.0.1:{server.port}/v1/ws"
    async with http.ws_connect(url) as one:
        await say(one, wire.Allocate(A))
        welcome = await hear(one)
        assert isinstance(welcome, Welcome)
        await say(one, wire.Send(2, b"the first is missing"))
        assert await hear(one) == Ended(Reason.MALFORMED)
    again = wire.Join(A, welcome.nameplate, resume=True)
    assert isinstance(await ask(http, server.port, again), Welcome)


async def test_one_connection_may_say_so_much(serve, http):
    """Endless chatter that changes nothing ends, too."""
    server = await serve(limits=Limits(messages=3))
    async with http.ws_connect(f"http://127.0.0.1:{server.port}/v1/ws") as socket:
        await say(socket, wire.Allocate(A))
        for _ in range(3):
            await say(socket, wire.Send(1, b"x"))
        assert isinstance(await hear(socket), Welcome)
        assert await hear(socket) == Ended(Reason.OVERFLOW)


async def test_allocations_of_one_address_are_limited(serve, http):
    """And the answer says how long to wait; it is told apart by address behind a proxy."""
    server = await serve(limits=Limits(allocations=Rate(2, 60)), trust_proxy=True)
    here = {"X-Forwarded-For": "203.0.113.9, 2001:db8::1"}
    for _ in range(2):
        assert isinstance(await ask(http, server.port, wire.Allocate(A), **here), Welcome)
    assert await ask(http, server.port, wire.Allocate(A), **here) == Ended(Reason.LIMITED, 60)
    near = {"X-Forwarded-For": "203.0.113.10, 2001:db8::ffff"}
    assert await ask(http, server.port, wire.Allocate(A), **near) == Ended(Reason.LIMITED, 60)
    opened = wire.Open(A, bytes(32))
    assert await ask(http, server.port, opened, **near) == Ended(Reason.LIMITED, 60)
    far = {"X-Forwarded-For": "203.0.113.9, 2001:db8:0:1::1"}
    assert isinstance(await ask(http, server.port, wire.Allocate(A), **far), Welcome)


async def test_without_a_trusted_proxy_nobody_chooses_an_address(serve, http):
    """A header that anybody can write changes nothing."""
    server = await serve(limits=Limits(allocations=Rate(1, 60)))
    first = await ask(http, server.port, wire.Allocate(A), **{"X-Forwarded-For": "192.0.2.1"})
    assert isinstance(first, Welcome)
    second = await ask(http, server.port, wire.Allocate(B), **{"X-Forwarded-For": "192.0.2.2"})
    assert second == Ended(Reason.LIMITED, 60)


async def test_failed_joins_of_one_address_are_limited(serve, http):
    """Trying nameplates ends soon, also at one where somebody waits; coming back never does."""
    server = await serve(limits=Limits(failed_joins=Rate(3, 60)))
    async with http.ws_connect(f"http://127.0.0.1:{server.port}/v1/ws") as socket:
        await say(socket, wire.Allocate(A))
        welcome = await hear(socket)
        assert isinstance(welcome, Welcome)
        for _ in range(3):
            assert await ask(http, server.port, wire.Join(B, 5000)) == Ended(Reason.UNKNOWN)
        join = wire.Join(B, welcome.nameplate)
        assert await ask(http, server.port, join) == Ended(Reason.LIMITED, 60)
        back = wire.Join(A, welcome.nameplate, resume=True)
        assert isinstance(await ask(http, server.port, back), Welcome)


async def test_a_wrong_guess_counts_as_a_failed_join(serve):
    """Whoever burns codes by joining and guessing wrong runs out of tries."""
    server = await serve(limits=Limits(failed_joins=Rate(2, 60)))
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        for _ in range(2):
            waiting = await client.allocate()
            guessing = await client.join(waiting.nameplate)
            await waiting.burn()
            await guessing.close()
        waiting = await client.allocate()
        with pytest.raises(Exception, match="allows another in 60 s"):
            await client.join(waiting.nameplate)


async def test_connections_are_limited_by_address_and_in_all(serve, http):
    """The one more is refused before it costs anything."""
    for limits, status in (
        (Limits(connections=1), 429),
        (Limits(total_connections=1), 503),
    ):
        server = await serve(limits=limits)
        url = f"http://127.0.0.1:{server.port}/v1/ws"
        async with http.ws_connect(url):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(url)
            assert refused.value.status == status
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await (await http.ws_connect(url)).close()
                    break
                except aiohttp.WSServerHandshakeError:
                    await asyncio.sleep(0.01)


async def test_idle_connections_are_dropped_for_new_ones(serve, http):
    """Whoever only connects can't use up the descriptors of the process, nor shut others out."""
    server = await serve(limits=Limits(idle=4))
    url = f"http://127.0.0.1:{server.port}"
    async with http.ws_connect(f"{url}/v1/ws") as talking:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
        ended = [asyncio.create_task(reader.read()) for reader, _ in idle]
        left = set(ended)
        async with asyncio.timeout(PATIENCE):
            while len(left) > 4:
                _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        async with http.get(f"{url}/healthz") as response:
            assert response.status == 200
        await say(talking, wire.Allocate(A))
        assert isinstance(await hear(talking), Welcome)
        for _, writer in idle:
            writer.close()
        await asyncio.wait(ended)


async def test_a_full_rendezvous_takes_nothing_more(serve, http):
    """Neither rooms nor mail; what is there goes on."""
    server = await serve(limits=Limits(rooms=2, stored=10))
    url = f"http://127.0.0.1:{server.port}/v1/ws"
    async with http.ws_connect(url) as one, http.ws_connect(url) as two:
        await say(one, wire.Allocate(A))
        welcome = await hear(one)
        assert isinstance(welcome, Welcome)
        await say(one, wire.Send(1, b"0123456789"))
        await say(two, wire.Join(B, welcome.nameplate))
        assert isinstance(await hear(two), Welcome)
        assert await hear(two) == Mail(1, b"0123456789")
        assert await ask(http, server.port, wire.Allocate(C)) == Ended(Reason.BUSY)
        await say(one, wire.Send(2, b"x"))
        assert await hear(one) == Ended(Reason.BUSY)
    server = await serve(limits=Limits(rooms=1))
    assert isinstance(await ask(http, server.port, wire.Allocate(A)), Welcome)
    assert await ask(http, server.port, wire.Open(B, bytes(32))) == Ended(Reason.BUSY)


async def test_a_client_that_takes_nothing_is_let_go_of(serve, http):
    """It answers no ping, and what was written to it does not hold its connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # the system adds to it else
    port = listener.getsockname()[1]
    server = await serve(listener=listener, heartbeat=4.0)
    deaf = socket.create_connection(("127.0.0.1", port))
    deaf.sendall(
        b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )

    def say_deaf(message: wire.ClientMessage) -> None:
        body = encoding.encode(message)
        deaf.sendall(bytes((0x82, 0x80 | len(body))) + bytes(4) + body)  # masked by zeros

    async def stands(check: Callable[[Room], bool]) -> None:
        for _ in range(int(PATIENCE / 0.01)):
            room = await server._store.get(NAME)
            if room is not None and check(room):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the room never stood so")

    say_deaf(wire.Open(A, NAME, 3600))
    await stands(lambda room: len(room.sides) == 1)
    async with http.ws_connect(f"http://127.0.0.1:{port}/v1/ws") as other:
        await say(other, wire.Open(B, NAME, 3600))
        for number in range(1, 20):  # 1.2 MB: more than there is room for on the way
            await say(other, wire.Send(number, bytes(wire.MAX_BODY)))
            await stands(lambda room, number=number: room.sides[-1].stored == number)
            say_deaf(wire.Acknowledge(number))
            await stands(lambda room, number=number: room.sides[-1].taken == number)
    for _ in range(int(PATIENCE / 0.05)):
        if not server._runner.server.connections:
            break
        await asyncio.sleep(0.05)
    assert not server._runner.server.connections
    deaf.close()


async def test_a_request_after_a_failed_upgrade_is_not_cut_off(serve, monkeypatch):
    """On one connection, as a proxy that serves many people keeps it."""
    monkeypatch.setattr(app, "_CLOSE", 0.1)
    server = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for path, status in (("/v1/ws", b"400"), ("/healthz", b"200"), ("/healthz", b"200")):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert head.split()[1] == status
        size = int(head.lower().split(b"content-length:")[1].split()[0])
        await reader.readexactly(size)
        await asyncio.sleep(0.3)
    writer.close()


async def test_one_address_fills_no_more_than_its_share_of_the_mail(serve, http):
    """In whichever rooms; others go on meanwhile, and it is told when it may again."""
    server = await serve(trust_proxy=True, limits=Limits(mailed=10))
    url = f"http://127.0.0.1:{server.port}/v1/ws"
    ended = []
    for address, token in (("192.0.2.1", A), ("192.0.2.1", B), ("192.0.2.2", C)):
        async with http.ws_connect(url, headers={"X-Forwarded-For": address}) as socket:
            await say(socket, wire.Allocate(token))
            assert isinstance(await hear(socket), Welcome)
            await say(socket, wire.Send(1, b"01234567"))
            await say(socket, wire.Send(2, b"89"))
            await say(socket, wire.Send(3, b"x"))
            ended.append(await hear(socket))
    assert [end.reason for end in ended] == [Reason.LIMITED] * 3
    assert all(0 < end.seconds <= DAY for end in ended)
    load = await server._store.load()
    assert load.size == 20


async def test_a_client_gets_the_lifetime_it_asks_for_within_bounds(serve, http):
    """The answer says what it is."""
    server = await serve(lifetime=100, max_lifetime=200)
    for asked, got in ((0, 100), (50, 50), (1000, 200)):
        answer = await ask(http, server.port, wire.Allocate(A, asked))
        assert isinstance(answer, Welcome)
        assert answer.expires == got


async def test_it_logs_no_address_no_nameplate_and_no_name(serve, http, caplog):
    """Whatever is done to it, and however much it logs."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.INFO)
    server = await serve(trust_proxy=True)
    name = b"N" * 32
    for message in (wire.Allocate(A), wire.Open(A, name), wire.Join(B, 54321)):
        await ask(http, server.port, message, **{"X-Forwarded-For": "198.51.100.77"})
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GARBAGE\r\n\r\n")
    await reader.read()
    writer.close()
    async with http.get(f"http://127.0.0.1:{server.port}/nowhere") as response:
        assert response.status == 404
    logged = caplog.text + repr([record.args for record in caplog.records])
    assert "refused: unknown" in logged
    for secret in ("198.51.100.77", "127.0.0.1", "54321", "NNNN", name.hex()):
        assert secret not in logged


async def test_a_fault_of_the_server_is_logged_without_saying_for_whom(serve, http, caplog):
    """The client gets a plain 500 or a dropped socket; the operator gets the trace."""

    class Broken:
        async def load(self):
            raise LookupError("store is broken")

        async def due(self, _now):
            return ()

        async def close(self):
            pass

    server = await serve(store=Broken())
    async with http.ws_connect(f"http://127.0.0.1:{server.port}/v1/ws") as socket:
        await say(socket, wire.Allocate(A))
        await socket.receive(timeout=PATIENCE)
    assert "store is broken" in caplog.text
    assert "127.0.0.1" not in caplog.text


async def test_closing_hangs_up_on_everybody_at_once(serve, http):
    """An upgrade does not wait for clients that linger."""
    server = await serve()
    url = f"http://127.0.0.1:{server.port}/v1/ws"
    async with http.ws_connect(url) as one, http.ws_connect(url) as two:
        await say(one, wire.Allocate(A))
        await hear(one)
        async with asyncio.timeout(PATIENCE):
            _, *frames = await asyncio.gather(server.close(), one.receive(), two.receive())
        assert [(frame.type, frame.data) for frame in frames] == [
            (aiohttp.WSMsgType.CLOSE, 1001)
        ] * 2
