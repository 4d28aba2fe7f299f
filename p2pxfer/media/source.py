"""From what is wanted to what feeds it. Opening may take a while: do it in a worker thread."""

from __future__ import annotations

import asyncio

from p2pxfer.media import devices
from p2pxfer.media.feeding import FedTrack, Feeder
from p2pxfer.media.pattern import NAME, Pattern
from p2pxfer.media.player import Player, open_clip, unreadable
from p2pxfer.media.wanted import HEIGHT, RATE, TEST, WIDTH, Wanted
from p2pxfer.tracks import Kind


class Source:
    """What is shown, once it is opened.

    Attributes:
        name: for people.
    """

    def __init__(self, name: str, feeders: list[Feeder]) -> None:
        self.name = name
        self._feeders = feeders

    def start(self, tracks: dict[Kind, FedTrack]) -> None:
        """Begin to feed ``tracks``."""
        for feeder in self._feeders:
            feeder.start(tracks)

    async def over(self) -> None:
        """Wait until nothing more comes.

        Raises:
            TransferError: what went wrong.
        """
        waiting = {asyncio.create_task(feeder.over.wait()) for feeder in self._feeders}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        for feeder in self._feeders:
            if feeder.failure is not None:
                raise feeder.failure

    async def stop(self) -> None:
        """End, and free every device."""
        await asyncio.gather(*(feeder.stop() for feeder in self._feeders))


async def opened(wanted: Wanted, *, audio: bool) -> Source:
    """Open what is wanted.

    Args:
        wanted: checked.
        audio: whether sound is to be had, too.

    Raises:
        LocalFileError: it can't be had; devices have classes of their own.
    """
    if wanted.clip == TEST:
        width, height = wanted.width or WIDTH, wanted.height or HEIGHT
        return Source(NAME, [Pattern(width & ~1, height & ~1, wanted.rate or RATE)])
    size = wanted.width, wanted.height
    if wanted.clip is not None:
        path = wanted.clip
        clip = await asyncio.to_thread(open_clip, path)
        name = path.rpartition("/")[2]
        player = Player(
            name,
            clip,
            live=False,
            loop=wanted.loop,
            size=size,
            broken=lambda error: unreadable(error, path),
        )
        return Source(name, [player])
    camera = await _device("video", wanted)
    if not audio:
        return Source(camera.name, [camera])
    try:
        return Source(camera.name, [camera, await _device("audio", wanted)])
    except BaseException:
        await camera.stop()
        raise


async def _device(kind: Kind, wanted: Wanted) -> Feeder:
    way = await asyncio.to_thread(devices.opening, kind, wanted)
    container = await asyncio.to_thread(devices.open_device, way)
    size = (wanted.width, wanted.height) if kind == "video" else (None, None)
    return Player(
        way.label,
        container,
        live=True,
        loop=False,
        size=size,
        broken=lambda error: devices.refused(error, way.label),
    )
