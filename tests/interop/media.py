"""Media beside p2pxfer's channel: the test pattern out, and what the other side shows in."""

from __future__ import annotations

import asyncio
import itertools
from array import array

import av

from p2pxfer.media.feeding import FedTrack
from p2pxfer.media.source import Source, opened
from p2pxfer.media.wanted import Wanted
from p2pxfer.peer.tracks import Tracks
from p2pxfer.tracks import IncomingTrack
from tests.interop.driver import tell
from tests.media import seen

LOUD = 2000  # of 32,768: what is louder is no noise of a codec
ASK_EVERY = 15  # pictures between two requests for a whole one
DARK = 8  # of 255: the most that there is in a black picture
HEARD = 4800  # samples that a tone is told from


class Media:
    """What `start` asks for: ``sends``, ``second``, ``receives`` and ``codec``."""

    def __init__(self, wanted: dict) -> None:
        self._fed = {}
        self._second: FedTrack | None = None
        if wanted.get("sends"):
            self._fed = {"video": FedTrack("video"), "audio": FedTrack("audio")}
        if wanted.get("second"):
            self._second = FedTrack("video")
        self.tracks = Tracks(
            [*self._fed.values(), *([self._second] if self._second is not None else [])],
            receives=("video", "audio") if wanted.get("receives") else (),
            codec=wanted.get("codec", "VP8"),
        )
        self._sources: list[Source] = []
        self._telling: list[asyncio.Task] = []

    async def begin(self) -> None:
        """The channel is open."""
        if self._fed:
            await self._feed(Wanted(clip="test:", audio=True), self._fed)
        if self._second is not None:
            small = Wanted(clip="test:", width=320, height=240)
            await self._feed(small, {"video": self._second})
        for track in self.tracks.received:
            told = _picture if track.kind == "video" else _tone
            self._telling.append(asyncio.create_task(told(track)))

    async def _feed(self, wanted: Wanted, tracks: dict) -> None:
        self._sources.append(await opened(wanted, audio=wanted.audio))
        self._sources[-1].start(tracks)

    async def mute(self, command: dict) -> None:
        """What `FedTrack.muted` says: ``how`` is ``disabled`` or ``live``."""
        for track in self._fed.values():
            track.muted = command["how"] == "disabled"

    async def look(self, command: dict) -> None:
        """Tell of the next picture that is ``dark``, or is not."""
        for track in self.tracks.received:
            if track.kind == "video" and command.get("mid") in (None, track.mid):
                self._telling.append(asyncio.create_task(_picture(track, dark=command["dark"])))

    async def end(self) -> None:
        """Free what feeds it."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        for source in self._sources:
            await source.stop()


async def _picture(track: IncomingTrack, *, dark: bool = False) -> None:
    first = await track.frame()
    for number in itertools.count():
        if number % ASK_EVERY == 0:
            await track.ask_for_key_frame()
        received = await track.frame()
        if not received.key:
            continue
        pixel, frame = seen.pixels(received.frame), received.frame
        across = range(8, frame.width, 16)
        colours = [pixel(x, y) for x in across for y in range(8, frame.height, 16)]
        if (max(map(max, colours)) < DARK) is dark:
            break
    tell(
        {
            "event": "dark" if dark else "picture",
            "whole": first.key,
            "width": frame.width,
            "height": frame.height,
            "colours": colours,
        }
    )


async def _tone(track: IncomingTrack) -> None:
    mono = av.AudioResampler("s16", "mono", 48_000)
    samples = array("h")
    while len(samples) < HEARD:
        frame = (await track.frame()).frame
        for part in mono.resample(frame):
            one = array("h", bytes(part.planes[0])[: 2 * part.samples])
            if samples or max(one) > LOUD:
                samples.extend(one)
    tell({"event": "tone", "hertz": seen.tone(samples, 48_000)})
