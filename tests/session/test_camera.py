"""Camera sessions against a far end that breaks the rules, over a link in memory."""

from __future__ import annotations

import asyncio
import contextlib
import time
from fractions import Fraction

import av
import pytest
from aiortc.mediastreams import VideoStreamTrack
from msgspec.structs import replace

from p2pxfer.errors import PeerGone, PeerMisbehaved, RendezvousUnreachable, UsageError
from p2pxfer.media.feeding import FedTrack
from p2pxfer.media.messages import (
    Answer,
    Ended,
    Failed,
    Here,
    Offer,
    Showing,
    Shown,
    Watch,
    decode,
    encode,
)
from p2pxfer.media.source import opened
from p2pxfer.media.wanted import Wanted
from p2pxfer.peer import rtc
from p2pxfer.peer.sdp import parse_sdp
from p2pxfer.peer.tracks import Tracks
from p2pxfer.progress import (
    CodeReady,
    Connected,
    Muted,
    Note,
    NullProgress,
    Reconnecting,
    WatchEnded,
    Watching,
)
from p2pxfer.rendezvous.server import app
from p2pxfer.session import camera, conversation, stage, watching
from p2pxfer.session import record as recording
from p2pxfer.session.conversation import MOST_OFFERS, MOST_WORDS
from p2pxfer.session.link import Link
from p2pxfer.session.muting import Muting
from p2pxfer.session.network import Network
from p2pxfer.session.snap import numbered
from p2pxfer.session.stage import Stage
from p2pxfer.session.watching import CameraEnded, Watcher
from p2pxfer.tracks import Received, TrackEnded
from tests.peer.conftest import joined
from tests.session.conftest import eventually
from tests.session.ends import MemoryLink, channels, paired

SHOWN = Showing((Shown("0", "video", "x"),))


class Told(NullProgress):
    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)


class FarEnd:
    """Says anything, hears everything but signs of life."""

    def __init__(self, channel):
        self.channel = channel
        self.heard: asyncio.Queue = asyncio.Queue()
        channel.on_message(self._take)

    def _take(self, data):
        message = decode(data)
        if not isinstance(message, Here):
            self.heard.put_nowait(message)

    async def say(self, message):
        await self.channel.send(message if isinstance(message, bytes) else encode(message))


class Track:
    kind = "video"

    def __init__(self, mid="0"):
        self.mid = mid
        self.pictures = asyncio.Queue()

    async def frame(self):
        return await self.pictures.get()

    async def ask_for_key_frame(self):
        """Nobody hears it."""


def ends():
    """A link of ours, and the far end of it."""
    near, far = channels()
    link = MemoryLink(near, paired()[0])
    link.tracks = (Track(), Track("1"))
    return link, FarEnd(far)


def short(path):
    """A clip of three pictures, with something beside them."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        container.add_attachment("notes.txt", "text/plain", b"notes")
        for number in range(3):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def staged():
    return Stage([Wanted(clip="test:")], ["test pattern"], "VP8", Muting())


@pytest.mark.parametrize("words", [[b"{}"], [Here(), Ended()], [Watch(audio=False)] * 2])
async def test_a_watcher_that_breaks_the_rules_is_shown_nothing_more(words):
    """And the camera is free."""
    link, far = ends()
    told = Told()
    shown = staged()
    shown.tracks()
    for word in words:
        await far.say(word)
    with pytest.raises(PeerMisbehaved):
        await shown.perform(link, told)
    assert link.is_closed
    kinds = [type(event) for event in told.events]
    assert kinds.count(Watching) == kinds.count(WatchEnded)


async def test_a_watcher_that_leaves_before_it_asks_is_no_fault():
    """Nothing was opened for it."""
    link, far = ends()
    far.channel.close()
    with pytest.raises(PeerGone):
        await staged().perform(link, NullProgress())


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([Failed("it is taken")], PeerGone),
        ([Watch(audio=True)], PeerMisbehaved),
        ([b"\xff"], PeerMisbehaved),
        ([Showing(())], PeerMisbehaved),
        ([Showing((Shown("9", "video", "x"),))], PeerMisbehaved),
        ([SHOWN, Watch(audio=True)], PeerMisbehaved),
        ([SHOWN, Failed("unplugged")], PeerGone),
        ([SHOWN, Showing(()), Ended()], CameraEnded),
    ],
)
async def test_a_camera_that_ends_or_breaks_the_rules_is_not_waited_for(words, error):
    """Whatever it says, the watcher gets away."""
    link, far = ends()
    watcher = Watcher(link, NullProgress())
    for word in words:
        await far.say(word)
    try:
        with pytest.raises(error) as caught:
            await _watch(watcher)
        if error is PeerGone:
            assert words[-1].reason in caught.value.message
    finally:
        await watcher.close()
    assert far.heard.get_nowait() == Watch(audio=True)


async def test_a_camera_that_ends_beside_others_is_told_and_waited_for_no_more(monkeypatch):
    """What is shown is always the last that was said."""
    monkeypatch.setattr(watching, "ASK_EVERY", 0.02)
    link, far = ends()
    told = Told()
    watcher = Watcher(link, told)
    both = Shown("0", "video", "x"), Shown("1", "video", "y"), Shown("7", "audio", "z")
    try:
        await far.say(Showing(both))
        await watcher.begin(audio=True, camera="all")
        assert [name for name, _ in watcher.cameras()] == ["x", "y"]
        looking = asyncio.create_task(watcher.whole_picture(*watcher.cameras()[1], 0.0))
        await far.say(SHOWN)
        with pytest.raises(TrackEnded):
            await looking
        assert [name for name, _ in watcher.cameras()] == ["x"]
        assert [event.sources for event in told.events] == [("x", "y"), ("x",)]
    finally:
        await watcher.close()
    assert far.heard.get_nowait() == Watch(audio=True, camera="all")


async def test_offers_of_other_tracks_are_answered_in_turn():
    """While it is watched; and what is shown is what is received then."""
    link, far = ends()
    watcher = Watcher(link, NullProgress())
    try:
        await far.say(SHOWN)
        await watcher.begin(audio=False)
        assert isinstance(await far.heard.get(), Watch)
        await far.say(Offer("one"))
        await far.say(Offer("two"))
        assert [await far.heard.get(), await far.heard.get()] == [
            Answer("to one"),
            Answer("to two"),
        ]
        link.tracks = (Track("5"),)
        assert watcher.cameras() == []
        await far.say(Showing((Shown("5", "video", "y"),)))
        ((name, track),) = await watcher.present()
        assert (name, track.mid) == ("y", "5")
    finally:
        await watcher.close()


class Left:
    """A room that nobody needs any more."""

    async def close(self):
        """It is closed."""


async def test_a_camera_that_comes_while_others_are_watched_is_watched_too():
    """Over a real connection, whose further offer goes over its own channel."""
    taken = Tracks(receives=("video",))
    async with joined(a={"tracks": Tracks([VideoStreamTrack()])}, b={"tracks": taken}) as pair:
        near, channel = await pair.open()
        far, peer = FarEnd(near), pair.a._peer
        link = Link(
            channel,
            paired()[1],
            path=Connected("direct", "", "", None),
            carrier=pair.b,
            room=Left(),
            mail=[],
            held=contextlib.AsyncExitStack(),
            media=(pair.b, taken),
        )
        watcher = Watcher(link, NullProgress())
        await far.say(SHOWN)
        await watcher.begin(audio=False)
        assert isinstance(await far.heard.get(), Watch)
        peer.addTransceiver(VideoStreamTrack(), "sendonly")
        await far.say(Offer((await rtc.describe(peer, "offer")).sdp()))
        answer = await far.heard.get()
        await rtc.set_remote(peer, parse_sdp("answer", answer.sdp))
        await far.say(Showing((*SHOWN.tracks, Shown("2", "video", "y"))))
        await eventually(lambda: len(watcher.cameras()) == 2)
        for name, track in watcher.cameras():
            assert (await watcher.whole_picture(name, track, 0.0)).key
        await watcher.close()


async def test_what_is_shown_is_told_anew_once_a_clip_is_over_or_tracks_are_others(tmp_path):
    """The rest goes on; and nothing but the offer was answered for it."""
    path = tmp_path / "clip.mkv"
    short(path)
    link, far = ends()
    told = Told()
    names = ["clip.mkv", "test pattern"]
    shown = Stage([Wanted(clip=str(path)), Wanted(clip="test:")], names, "VP8", Muting())
    shown.tracks()
    performing = asyncio.create_task(shown.perform(link, told))
    await far.say(Watch(audio=False))
    assert await far.heard.get() == Showing(())
    assert await far.heard.get() == Showing(())
    assert [event.text for event in told.events if isinstance(event, Note)] == ["clip.mkv is over"]
    await far.say(Offer("x"))
    assert await far.heard.get() == Answer("to x")
    assert await far.heard.get() == Showing(())
    far.channel.close()
    await performing
    assert isinstance(told.events[-1], WatchEnded)


@pytest.mark.parametrize(
    ("words", "answered"),
    [
        ([Offer("anew")], 1),
        ([Offer("odd")], 1),
        ([Offer("x")] * (MOST_OFFERS + 1), 0),
        ([Answer("x")], 0),
        ([SHOWN] * MOST_WORDS, 0),
    ],
)
async def test_words_without_end_or_sense_end_the_session(words, answered):
    """Each costs this side work, and changes what is under way."""
    link, far = ends()
    watcher = Watcher(link, NullProgress())
    try:
        await far.say(SHOWN)
        await watcher.begin(audio=False)
        for word in words:
            await far.say(word)
            for _ in range(5):  # it may take that one before the next
                await asyncio.sleep(0)
        with pytest.raises(PeerMisbehaved):
            await watcher.whole_picture(*watcher.cameras()[0], 0.0)
        assert len(link.offers) <= MOST_OFFERS
        assert answered <= len(link.offers)
    finally:
        await watcher.close()


async def test_a_muted_camera_gives_no_still_and_is_no_stall(monkeypatch):
    """Black is no picture of it; patience says what it has waited for."""
    monkeypatch.setattr(watching, "ASK_EVERY", 0.02)
    monkeypatch.setattr(watching, "PATIENCE", 0.2)
    monkeypatch.setattr(watching, "STALL", 0.05)
    link, far = ends()
    told = Told()
    watcher = Watcher(link, told)
    muted = Showing((replace(SHOWN.tracks[0], muted=True),))
    try:
        await far.say(SHOWN)
        await watcher.begin(audio=False)
        ((name, track),) = watcher.cameras()
        await far.say(muted)
        await eventually(lambda: watcher.blind)
        track.pictures.put_nowait(Received("black", 0.0, time.time() + 60, key=True))
        with pytest.raises(PeerGone, match="muted"):
            await watcher.whole_picture(name, track, 0.0)
        looking = asyncio.create_task(watcher.whole_picture(name, track, 0.0))
        track.pictures.put_nowait(Received("black", 0.0, time.time() - 60, key=True))
        await far.say(SHOWN)
        await eventually(lambda: not watcher.blind)
        track.pictures.put_nowait(Received("black", 0.0, time.time() - 60, key=True))
        track.pictures.put_nowait(Received("clear", 0.0, time.time() + 60, key=True))
        assert (await looking).frame == "clear"
        changes = [event for event in told.events if not isinstance(event, Watching)]
        assert changes == [Muted("video", "x", muted=True), Muted("video", "x", muted=False)]
    finally:
        await watcher.close()


async def test_what_is_muted_is_black_and_silent_at_once():
    """Also what waits to be sent; size, length and time stay."""
    video, audio = FedTrack("video"), FedTrack("audio")
    picture, sound = av.VideoFrame(64, 48, "yuv420p"), av.AudioFrame("s16", "stereo", 960)
    for frame in (picture, sound):
        for plane in frame.planes:
            plane.update(b"\x80" * plane.buffer_size)
        frame.pts, frame.time_base = 7, Fraction(1, 90_000)
    sound.sample_rate = 48_000
    for track, frame in ((video, picture), (audio, sound)):
        track.feed(frame)
        track.muted = True
        track.feed(frame)
        for _ in range(2):
            sent = await track.recv()
            assert (sent.pts, sent.time_base) == (7, Fraction(1, 90_000))
            if track is video:
                assert set(bytes(sent.reformat(format="rgb24").planes[0])) == {0}
                assert (sent.width, sent.height) == (64, 48)
            else:
                assert bytes(sent.planes[0]) == bytes(960 * 4)
        track.muted = False
        track.feed(frame)
        assert await track.recv() is frame


async def test_a_watcher_that_wants_what_is_not_shared_is_told_what_is():
    """And the others find everything as it was."""
    link, far = ends()
    await far.say(Watch(audio=False, camera="telescope"))
    showing = asyncio.create_task(staged().perform(link, NullProgress()))
    assert "1 test pattern" in (await far.heard.get()).reason
    far.channel.close()
    with pytest.raises(PeerGone):
        await showing


async def test_a_camera_that_is_shared_without_sound_has_none_when_it_is_chosen():
    """Sound that another one has is no leave for the microphone of this one."""
    link, far = ends()
    told = Told()
    both = [Wanted(clip="test:", audio=True), Wanted(clip="test:")]
    shown = Stage(both, ["loud", "quiet"], "VP8", Muting())
    shown.tracks()
    await far.say(Watch(audio=True, camera="quiet"))
    showing = asyncio.create_task(shown.perform(link, told))
    assert await far.heard.get() == Showing(())
    far.channel.close()
    await showing
    assert told.events[0] == Watching(("quiet",), audio=False)


async def test_silence_is_an_end(monkeypatch):
    """A far end without signs of life is gone."""
    monkeypatch.setattr(conversation, "SILENCE", 0.05)
    link, _ = ends()
    watcher = Watcher(link, NullProgress())
    try:
        with pytest.raises(PeerGone):
            await watcher.begin(audio=False)
    finally:
        await watcher.close()


async def test_a_far_end_that_says_nothing_is_not_waited_for(monkeypatch):
    """Also if it gives signs of life; on either side."""
    monkeypatch.setattr(watching, "OPENING", 0.05)
    monkeypatch.setattr(stage, "REQUEST", 0.05)
    link, _ = ends()
    watcher = Watcher(link, NullProgress())
    try:
        with pytest.raises(PeerGone, match="opened no camera"):
            await watcher.begin(audio=False)
    finally:
        await watcher.close()
    with pytest.raises(PeerGone, match="asked for nothing"):
        await staged().perform(ends()[0], NullProgress())


async def test_a_recording_without_a_picture_is_an_error(monkeypatch, tmp_path):
    """Else nobody would know why there is no file."""
    link, far = ends()

    async def watch(_, *, progress, **__):
        watcher = Watcher(link, progress)
        await far.say(SHOWN)
        await watcher.begin(audio=False)
        await far.say(Ended())
        return watcher

    monkeypatch.setattr(recording, "watch", watch)
    with pytest.raises(PeerGone, match="before any picture"):
        await recording.record("1-a-b", network=Network(), output=str(tmp_path / "film.mkv"))
    assert list(tmp_path.iterdir()) == []


async def test_a_clip_with_more_than_pictures_and_sound_begins_again(tmp_path):
    """Subtitles or data beside them have no decoder that could be told."""
    path = tmp_path / "clip.mkv"
    short(path)
    source = await opened(Wanted(clip=str(path), loop=True), audio=False)
    track = FedTrack("video")
    source.start({"video": track})
    try:
        async with asyncio.timeout(60):
            for _ in range(7):
                await track.recv()
        assert not [feeder for feeder in source._feeders if feeder.over.is_set()]
    finally:
        await source.stop()


@pytest.mark.parametrize("output", ["", "/", "."])
def test_stills_without_a_name_are_refused(output):
    """Also if several are asked for."""
    with pytest.raises(UsageError):
        numbered(output, 2)


async def test_a_rendezvous_that_goes_away_is_waited_for(monkeypatch):
    """It says so, and has a fresh code once it is back; one that never was there is an error."""
    monkeypatch.setattr(camera, "FIRST_PAUSE", 0.05)
    rendezvous = await app.start("127.0.0.1", 0)
    network, told = Network(rendezvous=f"http://127.0.0.1:{rendezvous.port}"), Told()

    def all_of(kind):
        return [event for event in told.events if isinstance(event, kind)]

    serving = asyncio.create_task(
        camera.serve([Wanted(clip="test:")], network=network, wait=0.5, progress=told)
    )
    try:
        await eventually(lambda: all_of(CodeReady))
        await rendezvous.close()
        await eventually(lambda: [event.attempt for event in all_of(Reconnecting)][-1:] == [3])
        assert {event.what for event in all_of(Reconnecting)} == {"rendezvous"}
        codes = len(all_of(CodeReady))
        rendezvous = await app.start("127.0.0.1", rendezvous.port)
        await eventually(lambda: len(all_of(CodeReady)) > codes)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await rendezvous.close()
    with pytest.raises(RendezvousUnreachable):
        await camera.serve([Wanted(clip="test:")], network=network)


async def _watch(watcher):
    await watcher.begin(audio=True)
    ((name, track),) = watcher.cameras()
    await watcher.whole_picture(name, track, 0.0)
