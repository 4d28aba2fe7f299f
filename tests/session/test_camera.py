"""Camera sessions against a far end that breaks the rules, over a link in memory."""

from __future__ import annotations

import asyncio

import pytest

from p2pxfer.errors import PeerGone, PeerMisbehaved
from p2pxfer.media.messages import Ended, Failed, Here, Showing, Watch, decode, encode
from p2pxfer.media.wanted import Wanted
from p2pxfer.progress import NullProgress, WatchEnded, Watching
from p2pxfer.session import conversation
from p2pxfer.session.camera import Stage
from p2pxfer.session.watching import CameraEnded, Watcher
from tests.session.ends import MemoryLink, channels, paired


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

    async def frame(self):
        await asyncio.Event().wait()

    async def ask_for_key_frame(self):
        """Nobody hears it."""


def ends():
    """A link of ours, and the far end of it."""
    near, far = channels()
    link = MemoryLink(near, paired()[0])
    link.tracks = (Track(),)
    return link, FarEnd(far)


@pytest.mark.parametrize("words", [[b"{}"], [Here(), Ended()], [Watch(audio=False)] * 2])
async def test_a_watcher_that_breaks_the_rules_is_shown_nothing_more(words):
    """And the camera is free."""
    link, far = ends()
    told = Told()
    stage = Stage(Wanted(clip="test:"), "VP8")
    stage.tracks()
    for word in words:
        await far.say(word)
    with pytest.raises(PeerMisbehaved):
        await stage.perform(link, told)
    assert link.is_closed
    kinds = [type(event) for event in told.events]
    assert kinds.count(Watching) == kinds.count(WatchEnded)


async def test_a_watcher_that_leaves_before_it_asks_is_no_fault():
    """Nothing was opened for it."""
    link, far = ends()
    far.channel.close()
    with pytest.raises(PeerGone):
        await Stage(Wanted(clip="test:"), "VP8").perform(link, NullProgress())


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([Failed("it is taken")], PeerGone),
        ([Watch(audio=True)], PeerMisbehaved),
        ([b"\xff"], PeerMisbehaved),
        ([Showing("x", audio=False)] * 2, PeerMisbehaved),
        ([Showing("x", audio=False), Failed("unplugged")], PeerGone),
        ([Showing("x", audio=False), Ended()], CameraEnded),
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


async def _watch(watcher):
    await watcher.begin(audio=True)
    await watcher.whole_picture(0.0)
