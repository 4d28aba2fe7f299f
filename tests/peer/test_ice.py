"""Gathering in networks of all kinds, each a namespace with nothing else in it."""

from __future__ import annotations

import asyncio
import json
import re
import time

import pytest
from aioice import stun

from p2pxfer.errors import ConnectionFailed
from p2pxfer.peer import headstart
from p2pxfer.peer.servers import IceServer
from p2pxfer.rendezvous.server.turn import LIFETIME, TurnSecret
from tests.certificates import certificate
from tests.peer.conftest import PATIENCE

CABLE = ("link add d0 type veth peer name d1", "link set d1 up", "link set d0 up")
LAN = (*CABLE, "addr add 10.9.0.1/24 dev d0")
LAN6 = (*CABLE, "addr add fd00:9::1/64 dev d0 nodad")
NOBODY = "10.9.0.99"
VOID = f"neigh add {NOBODY} lladdr 02:00:00:00:00:99 dev d0 nud permanent"  # packets vanish
SERVER = "10.9.0.1"
ALICE = {"username": "alice", "credential": "s3cret"}


def candidates(pair, end: str) -> list[str]:
    """The kinds of all addresses that one end has told, in order."""
    told = [line for body in pair.sent[end] for line in body.decode().split("\\r\\n")]
    return [word.split(" typ ")[1].split()[0] for word in told if " typ " in word]


class StunServer(asyncio.DatagramProtocol):
    """Answers as if a NAT were in between."""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address) -> None:
        request = stun.parse_message(data)
        answer = stun.Message(
            stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=request.transaction_id
        )
        public = "203.0.113.7" if "." in address[0] else "2001:db8::7"
        answer.attributes["XOR-MAPPED-ADDRESS"] = (public, address[1])
        self.transport.sendto(bytes(answer), address)


async def start_stun(address: str) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(StunServer, local_addr=(address, 3478))
    return transport


def test_a_machine_with_nothing_but_lo_reaches_itself(in_namespace, joined):
    """Where aiortc finds no address at all, the loopback ones do."""

    async def work() -> None:
        async with joined(loopback=False) as pair:
            await pair.open()
            assert pair.a.path().local.startswith(("127.0.0.1:", "[::1]:"))

    in_namespace(work)


def test_loopback_is_kept_to_oneself_where_there_is_a_network(in_namespace, joined):
    """Addresses that mean another machine over there are not told."""

    async def work() -> None:
        async with joined(loopback=False) as pair:
            await pair.open()
            assert pair.a.path().local.startswith("10.9.0.1:")
            assert all(b"127.0.0.1" not in body for body in pair.sent["a"] + pair.sent["b"])

    in_namespace(work, *LAN)


def test_every_interface_counts_and_a_tunnel_least(in_namespace, joined):
    """All are told, and the path goes past the VPN where it can."""
    tunnel = ("tuntap add dev t0 mode tun", "addr add 10.8.0.1/24 dev t0", "link set t0 up")
    cable = ("link add e0 type veth peer name e1", "link set e1 up", "link set e0 up")

    async def work() -> None:
        async with joined(loopback=False) as pair:
            await pair.open()
            told = re.findall(r"udp (\d+) ([0-9.]+) \d+ typ host", pair.sent["a"][0].decode())
            priority = {address: int(number) for number, address in told}
            assert priority.keys() == {"10.8.0.1", "10.9.0.1", "10.10.0.1"}
            assert priority["10.8.0.1"] < priority["10.9.0.1"] == priority["10.10.0.1"]
            assert not pair.a.path().local.startswith("10.8.")

    in_namespace(work, *tunnel, *LAN, *cable, "addr add 10.10.0.1/24 dev e0")


def test_ipv6_alone_is_enough(in_namespace, joined):
    """No IPv4 address anywhere."""

    async def work() -> None:
        async with joined(loopback=False) as pair:
            await pair.open()
            assert pair.b.path().remote.startswith("[fd00:9::1]:")

    in_namespace(work, *LAN6)


def test_link_local_addresses_are_for_where_there_are_no_others(in_namespace, joined):
    """Without them nobody could connect there; elsewhere they are not told, and have no zone."""
    alone = ("link add d0 type veth peer name d1", "link set d0 addrgenmode none")
    alone += ("link set d1 addrgenmode none", "link set d1 up", "link set d0 up")
    alone += ("addr add fe80::1/64 dev d0 nodad",)

    async def connect() -> None:
        async with joined(loopback=False) as pair:
            await pair.open()
            assert pair.b.path().remote.startswith("[fe80::1]:")
            assert all(b"%" not in body for body in pair.sent["a"] + pair.sent["b"])

    async def keep() -> None:
        async with joined(loopback=False) as pair:
            await pair.open()
            assert all(b"fe80" not in body for body in pair.sent["a"] + pair.sent["b"])

    in_namespace(connect, *alone)
    in_namespace(keep, *alone, "addr add 10.9.0.1/24 dev d0")


@pytest.mark.parametrize(
    "urls",
    [
        (f"stun:{NOBODY}",),
        (f"turn:{NOBODY}", f"turn:{NOBODY}?transport=tcp"),
        ("stun:no.such.name.invalid", "turn:no.such.name.invalid"),
    ],
)
def test_dead_servers_delay_nothing(in_namespace, joined, urls):
    """Opening and closing are as quick as without them."""

    async def work() -> None:
        server = IceServer(urls, **ALICE)
        start = time.perf_counter()
        async with joined(loopback=False, ice_servers=[server]) as pair:
            await pair.open()
            assert time.perf_counter() - start < 5  # aioice gives a dead server 6.35 s at least
        assert time.perf_counter() - start < 6

    in_namespace(work, *LAN, VOID)


def test_public_addresses_are_trickled_in_both_families(in_namespace, joined):
    """Each host address is asked about; the answers follow the description, then the end."""

    async def work() -> None:
        servers = [await start_stun(SERVER), await start_stun("fd00:9::1")]
        lists = [IceServer((f"stun:{SERVER}", "stun:[fd00:9::1]"))]

        ended = asyncio.Event()

        def lose_answers(end: str, body: bytes) -> list[bytes]:
            if b'"end"' in body and end == "a":
                ended.set()
            return [body] if end == "a" else []

        async with joined(loopback=False, a={"ice_servers": lists}, tap=lose_answers) as pair:
            await ended.wait()
            assert sorted(candidates(pair, "a")) == ["host", "host", "srflx", "srflx"]
            mail = b"".join(pair.sent["a"])
            assert b"203.0.113.7" in mail
            assert b"2001:db8::7" in mail
        for server in servers:
            server.close()

    in_namespace(work, *LAN, "addr add fd00:9::1/64 dev d0 nodad")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_relay_only_never_tells_an_address_of_this_machine(
    in_namespace, joined, turn_server, transport
):
    """Both ends use the relay, over UDP or TCP, and nothing else is in their mail."""

    async def work() -> None:
        turn_server("10.9.0.2")
        servers = [IceServer((f"turn:10.9.0.2?transport={transport}",), **ALICE)]
        async with joined(loopback=False, relay_only=True, ice_servers=servers) as pair:
            near, far = await pair.open()
            assert pair.a.path().kind == pair.b.path().kind == "relay"
            for end in ("a", "b"):
                assert set(candidates(pair, end)) == {"relay"}
                assert all(b"10.9.0.1" not in body for body in pair.sent[end])
            arrived: list[bytes] = []
            far.on_message(arrived.append)
            await near.send(b"x" * near.max_message)
            await near.drain()
            assert len(arrived) == 1

    in_namespace(work, *LAN, "addr add 10.9.0.2/24 dev d0")


def test_one_side_alone_may_insist_on_the_relay(in_namespace, joined, turn_server):
    """The other needs no server of its own."""

    async def work() -> None:
        turn_server("10.9.0.2")
        servers = [IceServer(("turn:10.9.0.2",), **ALICE)]
        only = {"relay_only": True, "ice_servers": servers}
        async with joined(loopback=False, b=only) as pair:
            await pair.open()
            assert pair.a.path().kind == pair.b.path().kind == "relay"
            assert set(candidates(pair, "b")) == {"relay"}

    in_namespace(work, *LAN, "addr add 10.9.0.2/24 dev d0")


def test_a_relay_is_told_but_a_direct_path_wins(in_namespace, joined, turn_server, monkeypatch):
    """A relay that answers early is no reason to go through it."""
    monkeypatch.setattr(headstart, "HEAD_START", 10.0)
    monkeypatch.setattr(headstart, "LONGEST", 30.0)

    async def work() -> None:
        turn_server("10.9.0.2")
        servers = [IceServer(("turn:10.9.0.2",), **ALICE)]

        kept: list[tuple[str, str]] = []

        def keep_hosts(end: str, body: bytes) -> list[bytes]:
            if b'"sdp"' not in body:
                return [] if b'"end"' in body else [body]
            hosts = re.findall(r"a=(candidate:[^\r]* typ host)\r\n", json.loads(body)["sdp"])
            kept.extend((end, host) for host in hosts)
            return [re.sub(rb"a=candidate[^\\]* typ host\\r\\n", b"", body)]

        async with joined(loopback=False, ice_servers=servers, tap=keep_hosts) as pair:
            opening = asyncio.create_task(pair.open())
            _, unopened = await asyncio.wait({opening}, timeout=0.5)  # the relay would do by now
            assert unopened
            for end, host in kept:
                body = json.dumps({"v": 1, "kind": "candidate", "candidate": host}).encode()
                await (pair.b if end == "a" else pair.a).receive(body)
            await opening
            assert pair.a.path().kind == "direct"

    in_namespace(work, *LAN, "addr add 10.9.0.2/24 dev d0")


def test_the_relay_is_used_when_nothing_else_works(in_namespace, joined, turn_server):
    """Direct addresses lead nowhere: after their head start the relayed ones are tried."""

    async def work() -> None:
        turn_server("10.9.0.2")
        servers = [IceServer(("turn:10.9.0.2",), **ALICE)]

        def mislead(_end: str, body: bytes) -> list[bytes]:
            return [re.sub(rb"10\.9\.0\.[12] (\d+ typ host)", rb"10.9.0.99 \1", body)]

        async with joined(loopback=False, ice_servers=servers, tap=mislead) as pair:
            await pair.open()
            assert pair.a.path().kind == pair.b.path().kind == "relay"

    in_namespace(work, *LAN, VOID, "addr add 10.9.0.2/24 dev d0")


def test_credentials_that_a_rendezvous_makes(in_namespace, joined, turn_server):
    """A TURN server that shares its secret takes them, and refuses them once they are old."""

    async def work() -> None:
        turn_server("10.9.0.2", secret=(secret := "0123456789abcdef"))
        shared = TurnSecret(("turn:10.9.0.2",), secret)
        fresh = [IceServer.from_config(shared.ice_server(time.time()))]
        async with joined(loopback=False, relay_only=True, ice_servers=fresh) as pair:
            await pair.open()
            assert pair.a.path().kind == "relay"
        old = [IceServer.from_config(shared.ice_server(time.time() - LIFETIME - 60))]
        async with joined(loopback=False, relay_only=True, ice_servers=old) as pair:
            with pytest.raises(ConnectionFailed, match="refused the username or password"):
                await pair.a.open(10 * PATIENCE)

    in_namespace(work, *LAN, "addr add 10.9.0.2/24 dev d0")


def test_a_wrong_turn_password_is_told(in_namespace, joined, turn_server):
    """Relay only, and the server refuses: the error says so at once instead of waiting."""

    async def work() -> None:
        turn_server("10.9.0.2")
        wrong = [IceServer(("turn:10.9.0.2",), "alice", "guess")]
        async with joined(loopback=False, relay_only=True, ice_servers=wrong) as pair:
            with pytest.raises(ConnectionFailed, match="refused the username or password"):
                await pair.a.open(10 * PATIENCE)

    in_namespace(work, *LAN, "addr add 10.9.0.2/24 dev d0")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "turns:10.9.0.2",
            "turns:10.9.0.2:5349 has a certificate that is not trusted: self-signed",
        ),
        ("turns:10.9.0.2:3478", "turns:10.9.0.2:3478 "),
        ("turns:10.9.0.2:81", "turns:10.9.0.2:81 failed: Connect call failed"),
    ],
)
def test_what_is_wrong_with_tls_is_told(  # noqa: PLR0917  # fixtures
    in_namespace, joined, turn_server, tmp_path, url, said
):
    """A certificate that nobody vouches for, none at all, nobody there."""

    async def work() -> None:
        turn_server("10.9.0.2", tls=certificate(tmp_path, "10.9.0.2"))
        servers = [IceServer((url,), **ALICE)]
        async with joined(loopback=False, relay_only=True, ice_servers=servers) as pair:
            with pytest.raises(ConnectionFailed) as error:
                await pair.a.open(10 * PATIENCE)
            assert said in error.value.message

    in_namespace(work, *LAN, "addr add 10.9.0.2/24 dev d0")


def test_a_dead_turn_server_does_not_hold_up_closing(in_namespace, joined, turn_server):
    """It dies while the relay is in use: closing takes a second or two, not a minute."""

    async def work() -> None:
        server = turn_server("10.9.0.2")
        servers = [IceServer(("turn:10.9.0.2",), **ALICE)]
        async with joined(loopback=False, relay_only=True, ice_servers=servers) as pair:
            await pair.open()
            server.kill()
            server.wait()
            start = time.perf_counter()
        assert time.perf_counter() - start < 20

    in_namespace(work, *LAN, "addr add 10.9.0.2/24 dev d0")
