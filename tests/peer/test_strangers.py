"""Datagrams of people who are no peer, at the sockets of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest
from aioice import stun

from p2pxfer.peer import candidates, udp
from p2pxfer.peer.servers import IceServer
from tests.peer.conftest import PATIENCE, Pair, joined

TOO_LONG = b"\x80" + bytes(1500)  # for SRTP
# USERNAME and so on as they should be, but for one attribute of 12 bytes that holds 4 at most
MALFORMED = bytes.fromhex(
    "011300102112a442da77ad5eefe7bb75ccafdfac0019000cf41a3ee1004850d3c2c62482"
)
HANDSHAKE = b"\x16\xfe\xfd" + bytes(10) + b"\x20" + bytes(32)
ALERT = b"\x15\xfe\xfd" + bytes(9) + b"\x02\x02\x28"
DATAGRAMS = (b"", TOO_LONG, MALFORMED, HANDSHAKE, ALERT, b"\x00", b"\x01\x01", b"\xff" * 40)

LAN = (
    "link add d0 type veth peer name d1",
    "link set d1 up",
    "link set d0 up",
    "addr add 10.9.0.1/24 dev d0",
    "addr add 10.9.0.2/24 dev d0",
)


@contextlib.contextmanager
def stranger(address: str) -> Iterator[socket.socket]:
    """A socket that speaks to ``host:port``, from the same machine."""
    host, port = address.rsplit(":", 1)
    target = (host.strip("[]"), int(port))
    with socket.socket(
        socket.AF_INET6 if "[" in host else socket.AF_INET, socket.SOCK_DGRAM
    ) as own:
        own.bind((target[0], 0))
        own.connect(target)
        own.setblocking(False)
        yield own


async def speak(pair: Pair, *messages: bytes) -> None:
    """Messages cross both ways."""
    near, far = await pair.open()
    for one, other in ((near, far), (far, near)):
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        other.on_message(arrived.put_nowait)
        for message in messages:
            await one.send(message)
        assert [await arrived.get() for _ in messages] == [*messages]


async def read_by_dtls(pair: Pair) -> list[int]:
    """Datagrams that reached either end's DTLS by aiortc's way."""
    reports = [end._peer.sctp.transport._get_stats() for end in (pair.a, pair.b)]
    return [s.packetsReceived for report in reports for s in report.values()]


async def notice_nothing(pair: Pair) -> None:
    """Both ends get a stranger's datagrams, and go on."""
    await speak(pair, b"before")
    for end in (pair.a, pair.b):
        with stranger(end.path().local) as sender:
            for datagram in DATAGRAMS:
                sender.send(datagram)
    await speak(pair, b"x" * 60_000, b"after")


@pytest.mark.parametrize("loop", [udp.BatchLoop, asyncio.SelectorEventLoop])
@pytest.mark.usefixtures("layer")
def test_a_strangers_datagrams_are_nothing(loop):
    """Whatever is in them, whatever moves the bytes: nobody notices, and nothing is logged."""

    async def work() -> None:
        async with asyncio.timeout(PATIENCE), joined() as pair:
            await notice_nothing(pair)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work())


async def test_handshakes_are_taken_from_the_peers_addresses_alone(joined):
    """Records without a key yet are not proved by anything else."""
    async with joined() as pair:
        await speak(pair, b"before")
        before = await read_by_dtls(pair)
        with stranger(pair.a.path().local) as sender:
            for _ in range(50):
                sender.send(HANDSHAKE)
        await speak(pair, b"after")
        assert await read_by_dtls(pair) == before


@pytest.mark.parametrize("url", ["turn:10.9.0.2", "turn:10.9.0.2?transport=tcp"])
@pytest.mark.usefixtures("layer")
def test_through_a_relay_they_are_nothing_either(in_namespace, turn_server, url):
    """The server lets through whoever has the peer's IP address."""

    async def work() -> None:
        turn_server("10.9.0.2")
        servers = [IceServer((url,), "alice", "s3cret")]
        async with joined(ice_servers=servers, relay_only=True, loopback=False) as pair:
            await notice_nothing(pair)

    in_namespace(work, *LAN)


async def test_a_peer_has_this_end_check_few_addresses(joined):
    """However many its own checks seem to come from; each is answered, as STUN is."""
    async with joined() as pair, contextlib.AsyncExitStack() as stack:
        await speak(pair, b"before")
        ice = pair.a._peer.sctp.transport.transport._connection
        asked = 0
        for _ in range(3 * candidates.MAX_CANDIDATES):
            sender = stack.enter_context(stranger(pair.a.path().local))
            request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
            request.attributes["USERNAME"] = f"{ice.local_username}:{ice.remote_username}"
            request.attributes["PRIORITY"] = 1
            request.attributes["ICE-CONTROLLED"] = 0
            request.add_message_integrity(ice.local_password.encode())
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sender, bytes(request))
            answer = stun.parse_message(await loop.sock_recv(sender, 2000))
            assert answer.message_class == stun.Class.RESPONSE
            await asyncio.sleep(0)
            with contextlib.suppress(BlockingIOError):
                check = stun.parse_message(sender.recv(2000))
                asked += check.message_class == stun.Class.REQUEST
        assert 1 < asked < candidates.MAX_CANDIDATES
        await speak(pair, b"after")
