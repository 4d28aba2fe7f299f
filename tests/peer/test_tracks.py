"""Media beside the data channel, between two ends of ours, over every layer."""

from __future__ import annotations

import asyncio
import contextlib
import random
from types import SimpleNamespace

import pytest
from aiortc import RTCDtlsTransport, RTCRtpReceiver
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer import inflow, reception, seam
from p2pxfer.peer.tracks import Tracks
from p2pxfer.tracks import TrackEnded


def one(tracks: Tracks, kind: str):
    """The one received track of that kind."""
    (found,) = [track for track in tracks.received if track.kind == kind]
    return found


async def to_the_end(track) -> None:
    with contextlib.suppress(TrackEnded):
        while True:
            await track.frame()


@pytest.mark.parametrize(
    ("layer", "codec"),
    [("batched", "VP8"), ("batched", "H264"), ("single", "VP8"), ("stock", "VP8")],
)
async def test_pictures_and_sound_beside_data(joined, monkeypatch, layer, codec):
    """All on one transport: frames arrive, and so does what the channel carries."""
    monkeypatch.setenv(seam.VARIABLE, layer)
    sent = Tracks([VideoStreamTrack(), AudioStreamTrack()], codec=codec)
    taken = Tracks(receives=("video", "audio"))
    async with joined(a={"tracks": sent}, b={"tracks": taken}) as pair:
        near, far = await pair.open()
        pictures, sound = one(taken, "video"), one(taken, "audio")
        first = await pictures.frame()
        assert first.key
        assert (first.frame.width, first.frame.height) == (640, 480)
        assert (await sound.frame()).frame.sample_rate == 48_000
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        far.on_message(arrived.put_nowait)
        message = random.randbytes(60_000)
        await near.send(message)
        assert await arrived.get() == message
        await pictures.ask_for_key_frame()
        while not (await pictures.frame()).key:
            pass
        transports = {id(r.transport) for r in pair.b._peer.getReceivers()}
        assert transports == {id(pair.b._peer.sctp.transport)}
        await pair.a.close()
        await to_the_end(pictures)


async def test_an_answerer_can_send_too(joined):
    """Each takes what the other has."""
    a = Tracks([VideoStreamTrack()], receives=("video",))
    b = Tracks([VideoStreamTrack()], receives=("video",))
    async with joined(a={"tracks": a}, b={"tracks": b}) as pair:
        await pair.open()
        for tracks in (a, b):
            assert (await one(tracks, "video").frame()).key


async def test_what_is_not_wanted_is_not_taken(joined):
    """Sound that nobody asked for is not even received."""
    sent = Tracks([VideoStreamTrack(), AudioStreamTrack()])
    taken = Tracks(receives=("video",))
    async with joined(a={"tracks": sent}, b={"tracks": taken}) as pair:
        await pair.open()
        assert [track.kind for track in taken.received] == ["video"]
        directions = {t.kind: t.currentDirection for t in pair.a._peer.getTransceivers()}
        assert directions == {"video": "sendonly", "audio": "inactive"}


@pytest.mark.parametrize(
    ("offered", "expected", "hint"),
    [
        (Tracks, lambda: Tracks(receives=("video",)), "p2pxfer receive"),
        (lambda: Tracks([VideoStreamTrack()]), Tracks, "p2pxfer camera"),
    ],
)
async def test_files_and_pictures_are_told_apart(joined, offered, expected, hint):
    """Whoever typed the wrong command learns the right one."""
    async with joined(a={"tracks": offered()}, b={"tracks": expected()}) as pair:
        with pytest.raises(PeerMisbehaved) as caught:
            await pair.b.open(60)
        assert hint in caught.value.hint


async def test_sources_without_end_end_the_connection(joined, monkeypatch):
    """A paired peer can't fill the memory with packets of ever new senders."""
    monkeypatch.setattr(inflow, "MAX_SOURCES", 4)
    taken = Tracks(receives=("video",))
    async with joined(a={"tracks": Tracks([VideoStreamTrack()])}, b={"tracks": taken}) as pair:
        _, far = await pair.open()
        await one(taken, "video").frame()
        dtls = pair.a._peer.sctp.transport
        for source in range(8):
            header = b"\x80\x61" + source.to_bytes(2, "big") + bytes(4) + source.to_bytes(4, "big")
            await dtls._send_rtp(header + bytes(20))
        await far.closed.wait()
        with pytest.raises(PeerMisbehaved):
            await far.send(b"x")


class Endless:
    """A track of aiortc's that gives what a test puts in."""

    kind = "audio"

    def __init__(self, count: int) -> None:
        self.left = count
        self.over = asyncio.Event()

    async def recv(self):
        if not self.left:
            self.over.set()
            raise MediaStreamError
        self.left -= 1
        return SimpleNamespace(pts=self.left, time_base=1)


async def test_frames_that_nobody_takes_do_not_pile_up(monkeypatch):
    """The newest are kept, the oldest go."""
    monkeypatch.setitem(reception.MAX_DECODED, "audio", 4)
    source = Endless(10)
    track = reception.ReceivedTrack(RTCRtpReceiver("audio", RTCDtlsTransport), source, "0")
    await source.over.wait()
    assert track.dropped == 6
    assert [(await track.frame()).seconds for _ in range(4)] == [3, 2, 1, 0]
    with pytest.raises(TrackEnded):
        await track.frame()
    await track.close()
