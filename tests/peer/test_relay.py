"""ChannelData in batches: over a real TURN server, and against frames that nobody sends rightly."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest

from p2pxfer.peer import lanes, relay
from p2pxfer.peer.relay import Relay
from p2pxfer.peer.servers import IceServer
from tests.certificates import certificate

CABLE = ("link add d0 type veth peer name d1", "link set d1 up", "link set d0 up")
LAN = (*CABLE, "addr add 10.9.0.1/24 dev d0", "addr add 10.9.0.2/24 dev d0")
LAN6 = ("addr add fd00:9::1/64 dev d0 nodad", "addr add fd00:9::2/64 dev d0 nodad")
ALICE = {"username": "alice", "credential": "s3cret"}
RECORD = b"\x17\xfe\xfd"
UNREADABLE = b"what aioice chokes on.."
PEER = ("192.0.2.7", 7)


@pytest.fixture
def relays(monkeypatch) -> list[Relay]:
    """Each that is used."""
    made: list[Relay] = []
    attach = Relay.__init__

    def noted(self, *arguments) -> None:
        made.append(self)
        attach(self, *arguments)

    monkeypatch.setattr(Relay, "__init__", noted)
    return made


@pytest.fixture
def tls(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """A certificate for a TURN server, which this machine trusts."""
    files = certificate(tmp_path, "10.9.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    return files


@pytest.mark.parametrize(
    "url", ["turn:10.9.0.2", "turn:10.9.0.2?transport=tcp", "turns:10.9.0.2", "turn:[fd00:9::2]"]
)
def test_much_crosses_a_relay(  # noqa: PLR0917  # fixtures
    in_namespace, joined, turn_server, layer, relays, tls, url
):
    """Both ways at once, whole and in order, and an orderly end is noticed over there."""

    async def work() -> None:
        turn_server("10.9.0.2", "fd00:9::2", tls=tls)
        servers = [IceServer((url,), **ALICE)]
        async with joined(ice_servers=servers, relay_only=True, loopback=False) as pair:
            near, far = await pair.open()
            assert pair.a.path().kind == "relay"
            messages = [bytes([n]) * (50_000 + n) for n in range(40)]
            arrived: dict[str, list[bytes]] = {"near": [], "far": []}
            near.on_message(arrived["near"].append)
            far.on_message(arrived["far"].append)
            for message in messages:
                await near.send(message)
                await far.send(message)
            await asyncio.gather(near.drain(), far.drain())
            assert arrived == {"near": messages, "far": messages}
            assert bool(relays) == (layer == "batched")
            over = asyncio.Event()
            far.on_closed(over.set)
            await pair.a.close()
            await over.wait()

    in_namespace(work, *LAN, *LAN6)


class Inner(asyncio.Protocol):
    """Stands for the TURN client below a relay."""

    def __init__(self, wire) -> None:
        self.transport = wire
        self.channel_to_peer = {0x4000: PEER}
        self.peer_to_channel = {PEER: 0x4000}
        self.receiver = None
        self.others: list[bytes] = []

    def datagram_received(self, data, _addr) -> None:
        self.others.append(data)
        if UNREADABLE in data:
            raise struct.error


class Outer:
    """Stands for the transport that aioice gives for an allocation."""

    def __init__(self, inner: Inner) -> None:
        self._TurnTransport__inner_protocol = inner
        self.sent: list[tuple[bytes, tuple]] = []

    def sendto(self, data, addr) -> None:
        self.sent.append((data, addr))


class Stream(asyncio.Transport):
    """Stands for a connection to a server."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.limits: tuple = ()

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        self.limits = (high, low)

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def write(self, data) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False


@pytest.fixture
async def stream():
    """A relay over a stream: it, what is below, and what it handed over."""
    inner = Inner(Stream())
    outer = Outer(inner)
    taken: list[bytes] = []
    way = Relay(outer, lambda records, _: taken.extend(records), lambda: None)
    return way, outer, inner, taken


def frame(channel: int, data: bytes) -> bytes:
    return struct.pack("!HH", channel, len(data)) + data + bytes(-len(data) % 4)


async def test_frames_of_a_stream_in_any_pieces(stream):
    """Records are handed over, everything else is the TURN client's; a frame may come in halves."""
    _, _, inner, taken = stream
    stun = b"\x01\x01\x00\x04" + bytes(16) + b"abcd"
    dtls = frame(0x4000, b"\x16handshake")
    records = [RECORD + bytes([n]) * (n * 7) for n in range(20)]
    data = stun + dtls + b"".join(frame(0x4000, r) for r in records) + stun
    unbound = frame(0x4001, RECORD)
    for size in (1, 3, 50, len(data)):
        for at in range(0, len(data), size):
            inner.data_received(data[at : at + size])
        inner.data_received(unbound)
        assert taken == records
        assert sorted(inner.others) == [stun, stun, dtls]
        taken.clear()
        inner.others.clear()


async def test_a_frame_that_cannot_be_read_is_lost_alone(stream):
    """A stranger's, in the midst of records: they arrive, and the stream goes on."""
    _, _, inner, taken = stream
    relayed = frame(0x4000, b"\x01" + UNREADABLE)
    own = b"\x01\x01\x00\x18" + bytes(16) + UNREADABLE + b"\0"
    inner.data_received(relayed + frame(0x4000, RECORD) + own[:9])
    inner.data_received(own[9:] + frame(0x4000, RECORD))
    assert taken == [RECORD] * 2
    assert sorted(inner.others) == [own, relayed]


async def test_frames_are_written_padded_and_a_full_stream_blocks(stream):
    """Nothing else tells of the far end's pace there."""
    way, outer, inner, _ = stream
    way.send([memoryview(b"12345"), memoryview(b"678")], 5, PEER, whole=True)
    assert inner.transport.written == frame(0x4000, b"12345") + frame(0x4000, b"678")
    assert not way.blocked
    inner.transport.written += bytes(relay.MOST_WAITING)
    assert way.blocked
    assert inner.transport.limits == (relay.MOST_WAITING, relay._ENOUGH_LEFT)
    assert inner.resume_writing != asyncio.Protocol.resume_writing
    way.detach()
    assert not outer.sent


async def test_without_a_channel_aioice_binds_one(stream):
    """One by one, until it is there."""
    way, outer, inner, _ = stream
    inner.peer_to_channel.clear()
    way.send([memoryview(b"one"), memoryview(b"two")], 3, PEER, whole=True)
    assert outer.sent == [(b"one", PEER), (b"two", PEER)]


async def test_a_detached_relay_leaves_all_to_the_client(stream):
    """Whatever comes afterwards."""
    way, _, inner, taken = stream
    way.detach()
    inner.data_received(frame(0x4000, RECORD))
    assert inner.others == [frame(0x4000, RECORD)]
    assert not taken


def test_a_relay_with_other_names_is_none():
    """A later library is left alone."""
    assert relay.inner_protocol(object()) is None
    inner = Inner(Stream())
    assert relay.inner_protocol(Outer(inner)) is inner
    del inner.peer_to_channel
    assert relay.inner_protocol(Outer(inner)) is None
    assert lanes.SMALLEST > relay.FRAME
