"""Further offers while a connection is in use: what they may change, and what ends it."""

from __future__ import annotations

import asyncio

import pytest
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from msgspec.structs import replace

from p2pxfer.errors import PeerGone, PeerMisbehaved
from p2pxfer.peer import renegotiation, rtc, tracks
from p2pxfer.peer.sdp import Description, parse_sdp
from p2pxfer.peer.sections import Codec, Media
from p2pxfer.peer.tracks import Tracks
from p2pxfer.tracks import TrackEnded

VP8, OPUS = (Codec(96, "VP8"),), (Codec(97, "opus"),)
VIDEO = Media("video", "1", "sendonly", VP8)
AUDIO = Media("audio", "2", "sendonly", OPUS)
STOPPED = replace(VIDEO, direction="inactive", rejected=True)
BEFORE = Description(
    type="offer",
    mid="0",
    ufrag="abcd",
    password="abcdefghijklmnopqrstuv",
    fingerprints=(("sha-256", ":".join(["AB"] * 32)),),
    setup="actpass",
    media=(VIDEO, AUDIO),
)


@pytest.mark.parametrize(
    "media",
    [
        (VIDEO, AUDIO),
        (replace(VIDEO, direction="inactive", ssrcs=(1, 2)), AUDIO),
        (VIDEO, AUDIO, replace(VIDEO, mid="3")),
        (STOPPED, AUDIO),
    ],
)
def test_sections_may_change(media):
    """Directions and sources; more of them; and an end of each, but for the data channel's."""
    renegotiation.check(BEFORE, replace(BEFORE, media=media))


def test_a_stopped_section_is_used_again_by_another_track():
    """Of either kind, under another name, and never under its own (RFC 8829 section 5.2.2)."""
    before = replace(BEFORE, media=(STOPPED, AUDIO))
    renegotiation.check(before, replace(BEFORE, media=(replace(AUDIO, mid="5"), AUDIO)))
    with pytest.raises(PeerMisbehaved):
        renegotiation.check(before, BEFORE)


@pytest.mark.parametrize(
    "changes",
    [
        {"ufrag": "dcba"},
        {"password": "vutsrqponmlkjihgfedcba"},
        {"fingerprints": (("sha-256", ":".join(["AC"] * 32)),)},
        {"mid": "9"},
        {"place": 1},
        {"sctp_port": 5001},
        {"media": (VIDEO,)},
        {"media": (AUDIO, VIDEO)},
        {"media": (replace(VIDEO, mid="7"), AUDIO)},
        {"media": (replace(VIDEO, kind="audio"), AUDIO)},
    ],
)
def test_everything_else_stays(changes):
    """Another transport, certificate or data channel would be another connection."""
    with pytest.raises(PeerMisbehaved):
        renegotiation.check(BEFORE, replace(BEFORE, **changes))


def test_what_an_offer_rejects_is_rejected_by_the_answer():
    """As browsers insist on; and aiortc, which can't read a section without, is given codecs."""
    bare = replace(STOPPED, codecs=())
    offer = parse_sdp("offer", replace(BEFORE, media=(bare, AUDIO)).sdp())
    assert offer.media[0] == bare
    whole = renegotiation.filled(offer, BEFORE)
    assert whole.media[0] == STOPPED
    own = replace(BEFORE, type="answer", setup="active")
    answer = parse_sdp("answer", renegotiation.answered(own, whole).sdp())
    assert [section.rejected for section in answer.media] == [True, False]
    with pytest.raises(PeerMisbehaved):
        renegotiation.filled(offer, None)


async def to_the_end(track) -> None:
    while True:
        await track.frame()


async def offered(pair) -> str:
    """What aiortc at the other end would offer now."""
    return (await rtc.describe(pair.a._peer, "offer")).sdp()


async def test_a_goodbye_ends_no_track(joined):
    """Its source may come back, as a browser's does whose track is taken away for a while."""
    taken = Tracks(receives=("video",))
    async with joined(a={"tracks": Tracks([VideoStreamTrack()])}, b={"tracks": taken}) as pair:
        near, far = await pair.open()
        (pictures,) = taken.received
        assert (await pictures.frame()).key
        await pair.a._peer.getSenders()[0].stop()
        arrived = asyncio.Event()
        far.on_message(lambda _: arrived.set())
        await near.send(b"said goodbye")
        await arrived.wait()
        assert taken.received == [pictures]
        await pair.a.close()
        with pytest.raises(TrackEnded):
            await to_the_end(pictures)
        assert taken.received == []


async def test_tracks_are_not_begun_without_end(joined, monkeypatch):
    """Each takes memory for as long as the connection lasts; then nobody hears of it any more."""
    monkeypatch.setattr(tracks, "MAX_EVER", 2)
    sent, taken = Tracks([VideoStreamTrack(), AudioStreamTrack()]), Tracks(receives=("video",))
    async with joined(a={"tracks": sent}, b={"tracks": taken}) as pair:
        _, far = await pair.open()
        pair.a._peer.addTransceiver("video", "sendonly")
        first = parse_sdp("answer", await pair.b.renegotiate(await offered(pair)))
        directions = [section.direction for section in first.media]
        assert directions == ["recvonly", "inactive", "recvonly"]
        with pytest.raises(PeerMisbehaved, match="without end"):
            await pair.b.renegotiate(await offered(pair))
        with pytest.raises(PeerMisbehaved):
            await far.send(b"x")


async def test_what_was_rejected_does_not_come_back_under_its_name(joined):
    """Nor elsewhere: it would be taken for what has ended. Under another, it is taken."""
    sent, taken = Tracks([VideoStreamTrack(), AudioStreamTrack()]), Tracks(receives=("video",))
    async with joined(a={"tracks": sent}, b={"tracks": taken}) as pair:
        await pair.open()
        said = parse_sdp("offer", await offered(pair))
        first, *rest = said.media
        stopped = replace(first, rejected=True, direction="inactive")
        other = replace(first, mid="other", ssrcs=(1, 2))
        for media in ([stopped, *rest], [other, *rest]):
            await pair.b.renegotiate(replace(said, media=tuple(media)).sdp())
        assert [track.mid for track in taken.received] == ["other"]
        with pytest.raises(PeerMisbehaved, match="rejected"):
            await pair.b.renegotiate(replace(said, media=(other, *rest, first)).sdp())


async def test_sources_are_not_told_without_end(joined, monkeypatch):
    """Each is remembered for as long as the connection lasts."""
    monkeypatch.setattr(tracks, "MAX_SOURCES", 6)
    taken = Tracks(receives=("video",))
    async with joined(a={"tracks": Tracks([VideoStreamTrack()])}, b={"tracks": taken}) as pair:
        await pair.open()
        said = parse_sdp("offer", await offered(pair))
        offers = [
            replace(said, media=(replace(said.media[0], ssrcs=(number, number + 1)),)).sdp()
            for number in (1, 3, 5)
        ]
        for offer in offers[:2] * 2:
            await pair.b.renegotiate(offer)
        with pytest.raises(PeerMisbehaved, match="without end"):
            await pair.b.renegotiate(offers[2])


async def test_an_offer_without_sense_is_refused(joined):
    """No description, one of another end, in a codec of nobody; or when all is over."""
    taken = Tracks(receives=("video",))
    async with joined(a={"tracks": Tracks([VideoStreamTrack()])}, b={"tracks": taken}) as pair:
        await pair.open()
        offer = await offered(pair)
        for nonsense in ("", offer.replace("m=application", "m=x")):
            with pytest.raises(PeerMisbehaved):
                await pair.a.renegotiate(nonsense)
        said = parse_sdp("offer", offer)
        alien = Codec(100, "H264", profile="42e0ff")  # of a level that nobody knows
        media = tuple(replace(section, codecs=(alien,)) for section in said.media)
        with pytest.raises(PeerMisbehaved, match="does not fit"):
            await pair.b.renegotiate(replace(said, media=media).sdp())
        await pair.b.close()
        with pytest.raises(PeerGone):
            await pair.b.renegotiate(offer)
