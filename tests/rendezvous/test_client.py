"""Two clients and a real server on loopback, and what may come between them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from p2pxfer.errors import (
    CodeExpired,
    PeerGone,
    RendezvousUnreachable,
    RoomBurnt,
    RoomFull,
    RoomGone,
    RoomRefused,
    UsageError,
)
from p2pxfer.rendezvous import certificates, connection
from p2pxfer.rendezvous.client import RendezvousClient, Room
from p2pxfer.rendezvous.messages import MAX_BODY, WINDOW_MESSAGES
from p2pxfer.rendezvous.server.limits import Limits, Rate

NAME = bytes(range(32))
PATIENCE = 60.0  # seconds until a test is called hung


@contextlib.asynccontextmanager
async def meeting(
    *ports: int, **options
) -> AsyncIterator[tuple[RendezvousClient, RendezvousClient, Room, Room]]:
    """Two clients, of the servers at ``ports``, with a side each in one room."""
    urls = [f"127.0.0.1:{port}" for port in ports] * (3 - len(ports))
    async with (
        RendezvousClient(urls[0], **options) as one,
        RendezvousClient(urls[1], **options) as two,
    ):
        here = await one.allocate()
        there = await two.join(here.nameplate)
        yield one, two, here, there


async def mails(room: Room, count: int) -> list[bytes]:
    async with asyncio.timeout(PATIENCE):
        return [await room.receive() for _ in range(count)]


async def test_mail_crosses_in_order_both_ways(serve):
    """Also what was sent before the other side came, and what is as long as mail may be."""
    server = await serve()
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        here = await client.allocate()
        await here.send(b"early")
        there = await client.join(here.nameplate)
        long = bytes(MAX_BODY)
        await here.send(long)
        for number in range(20):
            await there.send(b"%d" % number)
        assert await mails(there, 2) == [b"early", long]
        assert await mails(here, 20) == [b"%d" % number for number in range(20)]


async def test_far_more_than_the_window_crosses(serve):
    """The sender waits for the receiver, and nobody is refused."""
    server = await serve()
    async with meeting(server.port) as (_, _, here, there):
        count = 3 * WINDOW_MESSAGES
        sending = asyncio.gather(*(here.send(b"%d" % number) for number in range(count)))
        assert sorted(await mails(there, count)) == sorted(b"%d" % n for n in range(count))
        await sending


async def test_a_cancelled_receive_loses_nothing(serve):
    """A session may wait with a deadline, again and again."""
    server = await serve()
    async with meeting(server.port) as (_, _, here, there):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(here.receive(), 0.01)
        await there.send(b"x")
        assert await mails(here, 1) == [b"x"]


async def test_a_code_is_there_after_one_connection_and_one_answer(serve, wire):
    """It must appear within half a second of Enter, over any line."""
    server = await serve()
    line = await wire(server.port)
    async with RendezvousClient(f"127.0.0.1:{line.port}") as client:
        room = await client.allocate(600)
        assert line.connections == 1
        assert 500 < room.expires_in <= 600
        assert 1 <= room.nameplate <= 99


async def test_rooms_by_name_are_made_by_whoever_comes_first(serve):
    """They have no nameplate, and two names are two rooms."""
    server = await serve()
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        there, here = await client.open(NAME), await client.open(NAME)
        other = await client.open(NAME[::-1])
        await here.send(b"x")
        assert await mails(there, 1) == [b"x"]
        assert here.nameplate is there.nameplate is other.nameplate is None
        with pytest.raises(ValueError, match="32 bytes"):
            await client.open(b"short")


async def test_the_next_run_gets_a_room_whose_last_one_was_killed(serve, wire):
    """The side that had waited hears that its peer is gone, comes again, and they meet."""
    server = await serve()
    line = await wire(server.port)
    async with (
        RendezvousClient(f"127.0.0.1:{server.port}") as client,
        RendezvousClient(f"127.0.0.1:{line.port}") as killed,
    ):
        waiting = await client.open(NAME)
        ghost = await killed.open(NAME)
        with pytest.raises(RoomFull):
            await client.open(NAME)
        await line.down()  # a process that dies says no goodbye
        ghost._living.cancel()
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(RoomFull):
                    fresh = await client.open(NAME)
                    break
        with pytest.raises(PeerGone):
            await waiting.receive()
        again = await client.open(NAME)
        await again.send(b"hello")
        assert await mails(fresh, 1) == [b"hello"]


async def test_a_third_side_is_refused_and_both_others_are_told(serve):
    """The third learns why; the two go on."""
    told: asyncio.Queue[str] = asyncio.Queue()
    server = await serve()
    async with meeting(server.port, on_state=told.put_nowait) as (_, two, here, there):
        with pytest.raises(RoomFull, match=f"two sides are in room {here.nameplate} already"):
            await two.join(here.nameplate)
        async with asyncio.timeout(PATIENCE):
            assert [await told.get(), await told.get()] == ["crowded", "crowded"]
        assert (here.crowded, there.crowded) == (1, 1)
        await here.send(b"still here")
        assert await mails(there, 1) == [b"still here"]


async def test_a_burnt_room_is_over_for_everybody(serve):
    """The other side hears why, and nobody gets in again."""
    server = await serve()
    async with meeting(server.port) as (one, _, here, there):
        await here.burn()
        with pytest.raises(RoomBurnt):
            await there.receive()
        with pytest.raises(RoomBurnt):
            await there.send(b"x")
        with pytest.raises(RoomBurnt):
            await one.join(here.nameplate)


async def test_closing_delivers_what_was_sent_before(serve):
    """The other side reads to the end, and only then hears that its peer is gone."""
    server = await serve()
    async with meeting(server.port) as (_, _, here, there):
        for number in range(5):
            await here.send(b"%d" % number)
        await here.close()
        await here.close()
        assert await mails(there, 5) == [b"%d" % number for number in range(5)]
        with pytest.raises(PeerGone, match="has left room"):
            await there.receive()
        with pytest.raises(PeerGone, match="this side has left"):
            await here.send(b"x")


async def test_a_room_refuses_in_words_people_understand(serve):
    """Unknown, closed, expired, too many tries: each is told apart."""
    server = await serve(limits=Limits(failed_joins=Rate(3, 60)), tick=0.01)
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        with pytest.raises(RoomGone, match="knows no room 5000"):
            await client.join(5000)
        with pytest.raises(RoomRefused, match="there is no room 0"):
            await client.join(0)
        closed = await client.allocate()
        await closed.close()
        with pytest.raises(RoomGone, match="the other side has left"):
            await client.join(closed.nameplate)
        expiring = await client.allocate(1)
        with pytest.raises(CodeExpired):
            await expiring.receive()
        with pytest.raises(RoomGone, match="has expired") as over:
            await client.join(expiring.nameplate)
        with pytest.raises(RoomRefused, match=r"allows another in \d+ s") as refused:
            await client.join(5000)
        assert refused.value.hint.startswith("wait ")
        assert (over.value.retryable, refused.value.retryable) == (False, True)


async def test_a_cut_connection_costs_nothing(serve, wire):
    """Mail in both directions goes on over the next one: all of it, once, in order."""
    states: list[str] = []
    server = await serve()
    line = await wire(server.port)
    async with meeting(line.port, server.port, on_state=states.append) as (_, _, here, there):
        count = 60
        got: list[list[bytes]] = [[], []]

        async def talk(mine: Room, got: list[bytes]) -> None:
            async def listen() -> None:
                got.extend([await mine.receive() for _ in range(count)])

            listening = asyncio.create_task(listen())
            for number in range(count):
                await mine.send(b"%d" % number)
                await asyncio.sleep(0.005)
            await listening

        async def cut() -> None:
            for _ in range(3):
                await asyncio.sleep(0.08)
                line.cut()

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(talk(here, got[0]), talk(there, got[1]), cut())
        assert got == [[b"%d" % number for number in range(count)]] * 2
        assert "reconnecting" in states
        assert "connected" in states


async def test_it_reconnects_with_back_off_until_the_line_is_back(serve, wire):
    """A dead line is not hammered, and mail sent meanwhile arrives."""
    server = await serve()
    line = await wire(server.port)
    async with meeting(line.port, server.port) as (_, _, here, there):
        await line.down()
        await here.send(b"meanwhile")
        await asyncio.sleep(0.7)
        before = line.connections
        await line.up()
        assert await mails(there, 1) == [b"meanwhile"]
        assert line.connections == before + 1


async def test_it_gives_up_in_the_end(serve, wire):
    """After its patience, with an error that says that a retry may help."""
    server = await serve()
    line = await wire(server.port)
    async with meeting(line.port, server.port, patience=0.5) as (_, _, here, _):
        await line.down()
        with pytest.raises(RendezvousUnreachable, match="no connection to") as error:
            await here.receive()
        assert error.value.retryable


async def test_a_restarted_server_has_lost_the_room_and_the_error_says_so(serve):
    """Clients come back at once when it does, and hear what happened."""
    server = await serve()
    async with meeting(server.port) as (_, _, here, there):
        await server.close()
        await serve(server.port)
        for room in (here, there):
            with pytest.raises(RoomRefused, match=r"has lost room \d+: it was restarted"):
                async with asyncio.timeout(PATIENCE):
                    await room.receive()


async def test_a_room_by_name_can_be_made_again_on_a_restarted_server(serve):
    """By either side, with the same client."""
    server = await serve()
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        rooms = [await client.open(NAME), await client.open(NAME)]
        await server.close()
        await serve(server.port)
        for room in rooms:
            with pytest.raises(RoomRefused, match="has lost the room"):
                await room.receive()
        here, there = await client.open(NAME), await client.open(NAME)
        await here.send(b"again")
        assert await mails(there, 1) == [b"again"]


async def test_closing_without_a_connection_does_not_hang(serve, wire):
    """Ctrl-C with the network gone takes a moment, no more."""
    server = await serve()
    line = await wire(server.port)
    async with meeting(line.port, server.port) as (_, _, here, _):
        await line.down()
        async with asyncio.timeout(20):  # its patience for the line is a minute
            await here.close()


async def test_leaving_the_client_leaves_its_rooms(serve):
    """The other side is told at once, not when a room expires."""
    server = await serve()
    async with RendezvousClient(f"127.0.0.1:{server.port}") as staying:
        async with RendezvousClient(f"127.0.0.1:{server.port}") as leaving:
            here = await leaving.allocate()
            there = await staying.join(here.nameplate)
        with pytest.raises(PeerGone):
            async with asyncio.timeout(PATIENCE):
                await there.receive()


async def test_what_the_rendezvous_offers_is_read(serve):
    """A TURN credential is there, but never shown."""
    ice = [{"urls": ["turn:t.example:3478"], "username": "u", "credential": "hidden"}]
    server = await serve(motd="welcome", ice_servers=ice)
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        config = await client.config()
    assert (config.version, config.motd, list(config.ice_servers)) == (1, "welcome", ice)
    assert "hidden" not in repr(config)


async def test_tls_is_checked(serve, tls):
    """With the right certificate it works, with an unknown one the error says what is wrong."""
    server = await serve(ssl_context=tls.server)
    url = f"wss://127.0.0.1:{server.port}"
    async with RendezvousClient(url, ssl_context=tls.client) as client:
        assert (await client.config()).version == 1
        assert (await client.allocate()).nameplate
    async with RendezvousClient(url) as client:
        with pytest.raises(RendezvousUnreachable, match="certificate"):
            await client.allocate()
        with pytest.raises(RendezvousUnreachable, match="certificate"):
            await client.config()
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        with pytest.raises(RendezvousUnreachable):
            await client.allocate()
    plain = await serve()
    async with RendezvousClient(f"wss://127.0.0.1:{plain.port}") as client:
        with pytest.raises(RendezvousUnreachable, match=r"no connection to https://.*: TLS: \w"):
            await client.allocate()


async def test_what_is_not_there_is_told_as_the_system_does():
    """Also where a name has several addresses, and where it has none or is no name."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for host, said in (
        ("127.0.0.1", "Connection refused"),
        ("localhost", "Connection refused"),
        ("nobody.invalid", "Name or service not known|Temporary failure in name"),
        (f"{'x' * 64}.invalid", "that is no name of a host"),
    ):
        async with RendezvousClient(f"http://{host}:{port}") as client:
            for act in (client.allocate, client.config):
                with pytest.raises(RendezvousUnreachable, match=f": ({said})") as error:
                    await act()
                assert "Errno" not in error.value.message


async def test_names_and_addresses_are_written_as_http_wants_them():
    """Brackets around IPv6, no interface in it, no port that is the usual one, and no Unicode."""
    for url, authority in (
        ("http://[2001:db8::1]", "[2001:db8::1]"),
        ("http://[fe80::1%2]:8765", "[fe80::1]:8765"),
        ("https://rendezvous.test:443/", "rendezvous.test"),
        ("https://rendezvous.test:80", "rendezvous.test:80"),
        ("https://straße.test", "xn--strae-oqa.test"),
    ):
        async with RendezvousClient(url, direct=True) as client:
            assert client._open_route().authority == authority
    with pytest.raises(UsageError):
        await RendezvousClient("https://ü..test", direct=True).__aenter__()


class Proxy:
    """A web proxy that knows the way to one host, and tunnels only."""

    scheme = "http"
    context: ssl.SSLContext | None = None

    def __init__(self, target: int, relay: Callable, *, status: str = "200 OK") -> None:
        self.target = target
        self.relay = relay
        self.status = status
        self.asked: list[str] = []
        self.authorized: list[str] = []

    async def start(self) -> asyncio.Server:
        return await asyncio.start_server(self.accept, "127.0.0.1", 0, ssl=self.context)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, where, _ = line.split()
        self.asked.append(f"{method} {where}")
        self.authorized += [each for each in headers if each.startswith("Proxy-Auth")]
        writer.write(f"HTTP/1.1 {self.status}\r\n".encode())
        await asyncio.sleep(0.01)  # in two packets
        writer.write(b"Proxy-Agent: test\r\n\r\n")
        await self.relay((reader, writer), await asyncio.open_connection("127.0.0.1", self.target))


class SocksProxy(Proxy):
    """The same in SOCKS 5 (RFC 1928), for whoever knows the password if there is one."""

    scheme = "socks5h"
    login = b""

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        method = 2 if self.login else 0
        assert method in await reader.readexactly(count)
        writer.write(bytes([5, method]))
        if self.login:
            _, size = await reader.readexactly(2)
            name = await reader.readexactly(size)
            (size,) = await reader.readexactly(1)
            known = name + b":" + await reader.readexactly(size) == self.login
            writer.write(bytes([1, 0 if known else 1]))
        head = await reader.readexactly(4)
        assert head == bytes([5, 1, 0, 3])  # CONNECT, to a name
        (size,) = await reader.readexactly(1)
        name, port = await reader.readexactly(size), await reader.readexactly(2)
        self.asked.append(f"{name.decode()}:{int.from_bytes(port)}")
        refused = self.status != "200 OK"
        writer.write(bytes([5, 2 if refused else 0, 0, 1]) + bytes(6))  # 2: not allowed
        if refused:
            writer.close()
            return
        await self.relay((reader, writer), await asyncio.open_connection("127.0.0.1", self.target))


@pytest.fixture
async def proxy(monkeypatch, relay) -> AsyncIterator[Callable]:
    servers: list[asyncio.Server] = []
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    async def proxy(
        target: int, variables: Sequence[str], kind: type[Proxy] = Proxy, login="", **options
    ) -> Proxy:
        made = kind(target, relay, **options)
        servers.append(await made.start())
        port = servers[-1].sockets[0].getsockname()[1]
        for variable in variables:
            monkeypatch.setenv(variable, f"{kind.scheme}://{login}127.0.0.1:{port}")
        return made

    yield proxy
    for server in servers:
        server.close()


async def test_https_goes_through_the_proxy(serve, tls, proxy):
    """By CONNECT, with the rendezvous' own certificate checked at the far end of it."""
    server = await serve(ssl_context=tls.server)
    way = await proxy(server.port, ["HTTPS_PROXY"])
    async with RendezvousClient("https://rendezvous.test", ssl_context=tls.client) as client:
        here = await client.allocate()
        there = await client.join(here.nameplate)
        await here.send(b"through")
        assert await mails(there, 1) == [b"through"]
        assert (await client.config()).version == 1
    assert set(way.asked) == {"CONNECT rendezvous.test:443"}


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
async def test_http_goes_through_the_proxy(serve, proxy, variable):
    """Its own variable, as for any other program; tunnelled, or no WebSocket would get through."""
    server = await serve()
    way = await proxy(server.port, [variable])
    async with RendezvousClient("http://rendezvous.test") as client:
        assert (await client.allocate()).nameplate
        assert (await client.config()).version == 1
    assert set(way.asked) == {"CONNECT rendezvous.test:80"}


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_way_to_the_proxy_may_be_encrypted(serve, tls, proxy, monkeypatch, scheme):
    """With its certificate checked, too, and its password told to it alone."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.certificate))
    certificates.trusted.cache_clear()

    class Encrypted(Proxy):
        scheme = "https"
        context = tls.server

    server = await serve(ssl_context=tls.server if scheme == "https" else None)
    way = await proxy(server.port, ["ALL_PROXY"], Encrypted, "me:s%2Ft@")
    try:
        async with RendezvousClient(f"{scheme}://rendezvous.test") as client:
            assert (await client.allocate()).nameplate
            assert (await client.config()).version == 1
        assert set(way.authorized) == {"Proxy-Authorization: Basic bWU6cy90"}
        if scheme == "https":
            async with RendezvousClient("https://elsewhere.test") as client:
                with pytest.raises(RendezvousUnreachable, match="certificate of https://elsewhere"):
                    await client.allocate()
        monkeypatch.delenv("SSL_CERT_FILE")
        certificates.trusted.cache_clear()
        async with RendezvousClient(f"{scheme}://rendezvous.test") as client:
            with pytest.raises(RendezvousUnreachable, match="certificate of the proxy") as error:
                await client.allocate()
        assert "s/t" not in error.value.message
        assert "s%2Ft" not in error.value.message
    finally:
        certificates.trusted.cache_clear()


@pytest.mark.parametrize("kind", [Proxy, SocksProxy])
async def test_a_proxy_cannot_speak_for_the_rendezvous(serve, tls, proxy, kind):
    """What it sends behind its own answer, before there is TLS, is nobody's word."""
    forged = b'{"version": 1, "motd": "forged"}'
    behind = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(forged), forged)

    class Forging(kind):
        async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            write = writer.write

            def swelling(data: bytes) -> None:
                if data.endswith(bytes(6)):  # of SOCKS, that the way is open
                    data += behind
                elif data.endswith(b"\r\n\r\n"):  # of CONNECT: what is read with it, and more
                    data += b" " * (connection.CHUNK - len(data)) + behind
                write(data)

            writer.write = swelling
            await super().accept(reader, writer)

    server = await serve(ssl_context=tls.server, motd="true")
    await proxy(server.port, ["ALL_PROXY"], Forging)
    async with RendezvousClient("https://rendezvous.test", ssl_context=tls.client) as client:
        with contextlib.suppress(RendezvousUnreachable):  # the way is broken, or what it was
            assert (await client.config()).motd == "true"


@pytest.mark.parametrize("host", [".", "a..b", ".a", "x" * 64, "%25.test", "rendezvous.test%.a"])
async def test_who_has_no_name_proves_nothing(serve, tls, proxy, host):
    """A proxy may lead there, but no certificate, of whomever, is one of that host."""
    server = await serve(ssl_context=tls.server)
    await proxy(server.port, ["ALL_PROXY"])
    async with RendezvousClient(f"https://{host}", ssl_context=tls.client) as client:
        with pytest.raises(RendezvousUnreachable, match=r"no name of a host|does not prove"):
            await client.config()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
async def test_a_socks_proxy_leads_there(serve, tls, proxy, variable):
    """It looks the name up, and the certificate is checked at the far end."""
    server = await serve(ssl_context=tls.server)
    way = await proxy(server.port, [variable], SocksProxy)
    async with RendezvousClient("https://rendezvous.test", ssl_context=tls.client) as client:
        here = await client.allocate()
        there = await client.join(here.nameplate)
        await here.send(b"through")
        assert await mails(there, 1) == [b"through"]
        assert (await client.config()).version == 1
    assert set(way.asked) == {"rendezvous.test:443"}
    async with RendezvousClient("https://rendezvous.test") as client:
        with pytest.raises(RendezvousUnreachable, match="the certificate of https://rendezvous"):
            await client.config()


async def test_a_socks_proxy_with_a_password(serve, proxy):
    """It is told as RFC 1929 says, and never shown."""
    server = await serve()
    way = await proxy(server.port, ["ALL_PROXY"], SocksProxy, "me:s%2Ft@")
    way.login = b"me:s/t"
    async with RendezvousClient("http://rendezvous.test") as client:
        assert (await client.allocate()).nameplate
        way.login = b"me:changed"
        with pytest.raises(RendezvousUnreachable) as error:
            await client.allocate()
    assert "socks5h://127.0.0.1" in error.value.message
    assert "s/t" not in f"{error.value.message}{error.value.hint}"
    way = await proxy(1, ["ALL_PROXY"], SocksProxy, "me:%C3%A9@")
    way.login = b"another"
    async with RendezvousClient("http://rendezvous.test") as client:
        with pytest.raises(RendezvousUnreachable, match="can't be told") as error:
            await client.allocate()
    assert "xe9" not in error.value.message


async def test_a_socks_proxy_that_refuses_or_is_not_there_is_named(proxy, monkeypatch):
    """The user looks at the proxy, not at the rendezvous."""
    await proxy(1, ["ALL_PROXY"], SocksProxy, status="403 Forbidden")
    async with RendezvousClient("https://rendezvous.test") as client:
        with pytest.raises(RendezvousUnreachable, match=r"proxy socks5h://.* refuses") as error:
            await client.allocate()
    assert "ALL_PROXY" in (error.value.hint or "")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{port}")
    async with RendezvousClient("https://rendezvous.test") as client:
        with pytest.raises(RendezvousUnreachable, match="no connection to the proxy socks5://"):
            await client.config()


async def test_a_proxy_that_is_none_is_told(monkeypatch):
    """Before anything is sent."""
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:70")
    with pytest.raises(UsageError, match="proxy"):
        await RendezvousClient("https://rendezvous.test").__aenter__()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_or_is_not_there_is_told(proxy, monkeypatch, scheme):
    """The user looks at the proxy, not at the rendezvous."""
    await proxy(1, ["ALL_PROXY"], status="403 Forbidden")
    url = f"{scheme}://rendezvous.test"
    async with RendezvousClient(url) as client:
        with pytest.raises(RendezvousUnreachable) as error:
            await client.allocate()
    assert error.value.message == f"the proxy refused a connection to {url} (HTTP status 403)"
    assert "ALL_PROXY" in (error.value.hint or "")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    await proxy(1, ["ALL_PROXY"], status="200\r\n\0")
    async with RendezvousClient(url) as client:
        with pytest.raises(RendezvousUnreachable, match=r"proxy http://.* answers as none does"):
            await client.allocate()
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{port}")
    async with RendezvousClient(url) as client:
        with pytest.raises(RendezvousUnreachable) as error:
            await client.config()
    assert error.value.message == f"no connection to the proxy on the way to {url}"
    assert "ALL_PROXY" in (error.value.hint or "")


@pytest.mark.parametrize("no_proxy", [False, True])
async def test_no_proxy_is_used_where_none_should_be(serve, proxy, monkeypatch, no_proxy):
    """On the way to this machine never, and elsewhere as NO_PROXY says."""
    server = await serve()
    way = await proxy(server.port, ["HTTP_PROXY", "HTTPS_PROXY"])
    url = f"http://127.0.0.1:{server.port}"
    if no_proxy:
        monkeypatch.setenv("NO_PROXY", "elsewhere.invalid")
        url = "http://elsewhere.invalid"
    async with RendezvousClient(url, deadline=5) as client:
        with contextlib.suppress(RendezvousUnreachable):
            await client.allocate()
    assert way.asked == []


async def test_an_address_that_is_none_is_refused_before_anything_else():
    """It is the user's mistake, not the network's."""
    with pytest.raises(UsageError):
        RendezvousClient("not an address")


async def test_a_client_is_used_as_a_context(serve):
    """Outside of it there is no session, and the mistake is the programmer's."""
    server = await serve()
    with pytest.raises(RuntimeError, match="async with"):
        await RendezvousClient(f"127.0.0.1:{server.port}").allocate()
