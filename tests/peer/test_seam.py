"""Our SCTP under aiortc's connection: which layer it is, and what aiortc's parts see of it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator

import aioice.ice
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender
from aiortc.mediastreams import AudioStreamTrack

from p2pxfer.peer import lanes, records, seam
from p2pxfer.peer.sdp import LONGEST_PACKET


def layers(pair) -> tuple[str, str]:
    return pair.a._peer.layer, pair.b._peer.layer


async def exchange(pair) -> None:
    """A message of the longest size each way, and one of a byte."""
    near, far = await pair.open()
    for one, other in ((near, far), (far, near)):
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        other.on_message(arrived.put_nowait)
        for message in (b"x" * one.max_message, b"y"):
            await one.send(message)
            assert await arrived.get() == message


async def test_all_of_ours_is_what_there_is(joined):
    """Both ends have it and know that of one another."""
    async with joined() as pair:
        await exchange(pair)
        assert layers(pair) == ("batched", "batched")
        assert pair.a._peer.far_packet == pair.b._peer.far_packet == LONGEST_PACKET


@pytest.mark.parametrize("a", ["batched", "single", "stock"])
@pytest.mark.parametrize("b", ["batched", "single", "stock"])
async def test_any_layer_speaks_with_any(joined, monkeypatch, a, b):
    """Each is chosen on its own; what one may send is what the other reads."""
    chosen = iter((a, b))
    monkeypatch.setattr(seam, "best_layer", lambda: next(chosen))
    async with joined() as pair:
        await exchange(pair)
        assert layers(pair) == (a, b)
        told = {"batched": LONGEST_PACKET, "single": seam.LONGEST_SINGLE, "stock": 0}
        assert (pair.a._peer.far_packet, pair.b._peer.far_packet) == (told[b], told[a])


@pytest.mark.parametrize(
    ("place", "value", "layer"),
    [
        ((seam, "_CREATE"), "no_such_name", "stock"),
        ((seam, "_DTLS_NAMES"), ("no_such_name",), "stock"),
        ((seam, "_CHANNEL_NAMES"), ("no_such_name",), "stock"),
        ((records, "_NAMES"), ("no_such_name",), "single"),
        ((records, "_HANDLES"), ("no_such_name",), "single"),
        ((lanes, "_ICE_NAMES"), ("no_such_name",), "single"),
        ((seam, "BatchLoop"), int, "single"),
    ],
)
async def test_without_a_name_the_next_layer_is_taken(joined, monkeypatch, place, value, layer):
    """A later library still connects."""
    monkeypatch.setattr(*place, value)
    async with joined() as pair:
        await exchange(pair)
        assert layers(pair) == (layer, layer)


async def test_another_version_of_dtls_is_left_to_aiortc(joined, monkeypatch):
    """Its records don't tell what they are."""
    monkeypatch.setattr(lanes, "usable", lambda _: False)
    async with joined() as pair:
        await exchange(pair)
        assert layers(pair) == ("single", "single")


@contextlib.asynccontextmanager
async def two(*kinds: type[RTCPeerConnection]) -> AsyncIterator[list]:
    """Two of aiortc's connections, one of them of ours."""
    ends = [kind(RTCConfiguration(iceServers=[])) for kind in kinds]
    try:
        yield ends
    finally:
        await asyncio.gather(*(end.close() for end in ends))


async def agree(one, other) -> None:
    await one.setLocalDescription()
    await other.setRemoteDescription(one.localDescription)
    await other.setLocalDescription()
    await one.setRemoteDescription(other.localDescription)


@pytest.fixture(params=[True, False])
def kinds(request, monkeypatch):
    """Ours offers, or answers."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_families: ["127.0.0.1"])
    both = (seam.Connection, RTCPeerConnection)
    return both if request.param else both[::-1]


async def test_channels_as_aiortc_has_them(kinds):
    """Text, nothing, and bytes, on several channels of any kind, opened by either side."""
    async with two(*kinds) as (one, other):
        there: asyncio.Queue = asyncio.Queue()
        other.on("datachannel", there.put_nowait)
        opened = [
            one.createDataChannel("a", protocol="p"),
            one.createDataChannel("b", ordered=False),
            one.createDataChannel("c", negotiated=True, id=100),
        ]
        agreed = other.createDataChannel("c", negotiated=True, id=100)
        await agree(one, other)
        near = {channel.label: channel for channel in opened}
        far = {channel.label: channel for channel in [await there.get(), await there.get()]}
        assert (far["a"].protocol, far["a"].ordered, far["b"].ordered) == ("p", True, False)
        far["c"] = agreed
        late = other.createDataChannel("late")
        back: asyncio.Queue = asyncio.Queue()
        one.on("datachannel", back.put_nowait)
        near["late"], far["late"] = await back.get(), late
        for label, channel in near.items():
            if channel.readyState != "open":
                ready = asyncio.Event()
                channel.on("open", ready.set)
                await ready.wait()
            for source, target in ((channel, far[label]), (far[label], channel)):
                taken: asyncio.Queue = asyncio.Queue()
                target.on("message", taken.put_nowait)
                for message in ("text", "", b"bytes", b"", b"z" * 60_000):
                    source.send(message)
                    assert await taken.get() == message
                assert source.bufferedAmount == 0
        assert len({channel.id for channel in near.values()}) == 4
        gone = asyncio.Event()
        near["a"].on("close", gone.set)
        far["a"].close()
        await gone.wait()
        assert near["b"].readyState == "open"


async def test_bundled_with_audio(kinds):
    """One DTLS carries both; media stay aiortc's."""
    async with two(*kinds) as (one, other):
        taken: asyncio.Queue = asyncio.Queue()
        track: asyncio.Queue = asyncio.Queue()
        other.on("datachannel", lambda channel: channel.on("message", taken.put_nowait))
        other.on("track", track.put_nowait)
        one.addTrack(AudioStreamTrack())
        channel = one.createDataChannel("a")
        channel.on("open", lambda: channel.send("over"))
        await agree(one, other)
        assert await taken.get() == "over"
        frame = await (await track.get()).recv()
        assert frame.sample_rate > 0
        assert isinstance(one.getSenders()[0], RTCRtpSender)


async def test_channels_that_never_opened_are_closed(kinds):
    """Whoever closes early need not remember how far things went; the state says so."""
    async with two(*kinds) as (one, _):
        channel = one.createDataChannel("a")
        kept = one.createDataChannel("b")
        channel.close()
        assert channel.readyState == "closed"
        await one.close()
        assert one.sctp.state == "closed"
        assert kept.readyState == "closed" or not isinstance(one, seam.Connection)


async def test_packets_of_nonsense_are_passed_over(joined, monkeypatch):
    """They are encrypted rightly, so a peer sent them: nothing raises, and the channel lives."""
    monkeypatch.setenv(seam.VARIABLE, "single")
    async with joined() as pair:
        near, far = await pair.open()
        await near.send(b"first")
        for packet in (b"", b"x", bytes(12), bytes(16), b"\x13\x88" * 600):
            await pair.b._peer.sctp._handle_data(packet)
            if packet:
                await pair.a._peer.sctp.transport._send_data(packet)
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        far.on_message(arrived.put_nowait)
        await near.send(b"second")
        assert [await arrived.get(), await arrived.get()] == [b"first", b"second"]


async def test_a_listener_that_raises_stops_nothing(kinds, caplog):
    """The next message still arrives."""
    async with two(*kinds) as (one, other):
        ours = one if isinstance(one, seam.Connection) else other
        theirs = other if ours is one else one
        taken: asyncio.Queue = asyncio.Queue()

        def listen(message) -> None:
            taken.put_nowait(message)
            if message == b"1":
                raise RuntimeError

        ours.on("datachannel", lambda channel: channel.on("message", listen))
        channel = theirs.createDataChannel("a")
        channel.on("open", lambda: [channel.send(b"1"), channel.send(b"2")])
        await agree(theirs, ours)
        assert [await taken.get(), await taken.get()] == [b"1", b"2"]
    assert "raised" in caplog.text
    caplog.clear()


async def test_the_far_ends_limit_is_kept(kinds):
    """A message longer than the far end takes is refused here."""
    async with two(*kinds) as (one, other):
        ready = asyncio.Event()
        channel = one.createDataChannel("a")
        channel.on("open", ready.set)
        await agree(one, other)
        await ready.wait()
        with pytest.raises(ValueError, match="bytes"):
            channel.send(bytes(300_000))


async def test_checks_of_the_path_are_answered_in_the_middle_of_a_transfer(joined, monkeypatch):
    """A late answer to one would end a path that works (RFC 7675)."""
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.02)
    answered: list[bool] = []

    def watched(connection):
        request = connection.request

        async def noting(self, *arguments, **options):
            try:
                reply = await request(self, *arguments, **options)
            except Exception:
                answered.append(False)
                raise
            answered.append(True)
            return reply

        return noting

    protocol = aioice.ice.StunProtocol
    monkeypatch.setattr(protocol, "request", watched(protocol))
    async with joined() as pair:
        near, far = await pair.open()
        answered.clear()
        size = 0

        def count(message: bytes) -> None:
            nonlocal size
            size += len(message)

        far.on_message(count)
        sent = 0
        while len(answered) < 20:
            await near.send(bytes(near.max_message))
            sent += near.max_message
        await near.drain()
        assert size == sent
        assert all(answered)


async def test_a_path_that_changes_is_followed(joined):
    """Another pair is nominated: packets leave on it at once, and nothing is lost."""
    async with joined() as pair:
        near, far = await pair.open()
        ice = pair.a._peer.sctp.transport.transport._connection
        loop = asyncio.get_running_loop()
        other = aioice.ice.StunProtocol(ice)
        await loop.create_datagram_endpoint(lambda: other, local_addr=("127.0.0.1", 0))
        old = ice._nominated[1]
        other.local_candidate = old.protocol.local_candidate
        ice._protocols.append(other)
        ice._nominated[1] = aioice.ice.CandidatePair(other, old.remote_candidate)
        remote = pair.b._peer.sctp.transport.transport._connection
        back = copy.copy(remote._nominated[1].remote_candidate)
        back.port = other.transport.get_extra_info("sockname")[1]
        remote._nominated[1] = aioice.ice.CandidatePair(remote._nominated[1].protocol, back)
        old.protocol.transport.abort()
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        far.on_message(arrived.put_nowait)
        near.on_message(arrived.put_nowait)
        for end in (near, far):
            await end.send(b"x" * 60_000)
            assert await arrived.get() == b"x" * 60_000
        ice._protocols.remove(old.protocol)
