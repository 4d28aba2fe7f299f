"""Watching cameras of the other side: finding it, its pictures and sound, and how that ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from p2pxfer.errors import PeerGone, PeerMisbehaved
from p2pxfer.media.messages import Ended, Failed, Showing, Shown, Watch
from p2pxfer.progress import Muted, Progress, Resumed, Stalled, Watching
from p2pxfer.session.connect import Connector
from p2pxfer.session.conversation import Conversation
from p2pxfer.session.interaction import Interaction, Unattended
from p2pxfer.session.network import Network
from p2pxfer.session.pair import within
from p2pxfer.tracks import IncomingTrack, Kind, Received, TrackEnded

if TYPE_CHECKING:
    from p2pxfer.peer.tracks import Tracks
    from p2pxfer.session.link import Link

STALL: Final = 3.0  # seconds without a picture after which that is told
PATIENCE: Final = 15.0  # seconds after which it is an error
OPENING: Final = 30.0  # seconds that the other side has to open its camera
ASK_EVERY: Final = 1.0  # seconds between requests for a whole picture

Value = TypeVar("Value")


class CameraEnded(Exception):
    """The other side has nothing more to show."""


class Watcher:
    """Cameras of the other side, watched.

    Attributes:
        audio: whether there is sound.
    """

    def __init__(self, link: Link, progress: Progress) -> None:
        self.audio = False
        self._link = link
        self._progress = progress
        self._conversation = Conversation(link)
        self._shown: tuple[Shown, ...] = ()
        self._back: dict[str, float] = {}  # since when a track is not muted any more, since 1970
        self._ending: asyncio.Task[None] | None = None

    async def begin(self, *, audio: bool, camera: str | None = None) -> None:
        """Ask for pictures, and wait until they come.

        Args:
            audio: whether sound is wanted, too.
            camera: which one, by number, name or a part of it; None for all.

        Raises:
            PeerGone: nothing can be shown, it left, or it did not answer in time.
            PeerMisbehaved: it answered with something else.
        """
        await self._conversation.say(Watch(audio, camera))
        unopened = PeerGone(f"the other side opened no camera in {OPENING:.0f} s")
        answer = await within(OPENING, self._conversation.hear(), unopened)
        if isinstance(answer, Failed):
            raise _failed(answer)
        if not isinstance(answer, Showing):
            raise PeerMisbehaved("the other side shows no pictures")
        self._take(answer.tracks)
        self.audio = self.sound() is not None
        if not self.cameras():
            raise PeerMisbehaved("the other side shows no pictures")
        self._ending = asyncio.create_task(self._until_it_ends())

    def cameras(self) -> list[tuple[str, IncomingTrack]]:
        """What is shown now: what it is called there, and its pictures."""
        return [(name, track) for name, track in self._coming() if track.kind == "video"]

    def sound(self) -> IncomingTrack | None:
        """The first track of sound, if there is any."""
        return next((track for _, track in self._coming() if track.kind == "audio"), None)

    async def present(self) -> list[tuple[str, IncomingTrack]]:
        """`cameras`, of which there is at least one.

        Raises:
            CameraEnded: none comes any more.
            PeerGone: the other side left, or showed none for `PATIENCE` seconds.
        """
        began = time.monotonic()
        while not (cameras := self.cameras()):
            if time.monotonic() - began > PATIENCE:
                raise PeerGone(f"the other side showed no camera for {PATIENCE:.0f} s")
            await self.unless_ended(asyncio.sleep(ASK_EVERY))
        return cameras

    def muted(self, track: IncomingTrack) -> bool:
        """Whether somebody there keeps it to themselves; what comes of it is black or silent."""
        return any(shown.muted for shown in self._shown if shown.mid == track.mid)

    @property
    def blind(self) -> bool:
        """Whether every camera is muted."""
        cameras = self.cameras()
        return bool(cameras) and all(self.muted(track) for _, track in cameras)

    async def whole_picture(self, name: str, track: IncomingTrack, after: float) -> Received:
        """The next picture of a camera that needed no other to be decoded.

        Args:
            name: what that is called.
            track: its pictures.
            after: seconds since 1970; an older one is not meant.

        Raises:
            TrackEnded: no more come of this one.
            CameraEnded: no more come at all.
            PeerGone: the other side left, or showed nothing for `PATIENCE` seconds.
        """
        began, stalled, muted = time.monotonic(), False, False
        looking = asyncio.create_task(self._whole(track, after))
        try:
            while True:
                asking = asyncio.create_task(asyncio.sleep(ASK_EVERY))
                try:
                    await self.unless_ended(
                        asyncio.wait({looking, asking}, return_when=asyncio.FIRST_COMPLETED)
                    )
                finally:
                    asking.cancel()
                if looking.done():
                    if stalled:
                        self._progress.emit(Resumed())
                    return looking.result()
                if track not in (each for _, each in self._coming()):
                    raise TrackEnded
                muted, before = self.muted(track), muted
                if before and not muted:
                    began = time.monotonic()
                waited = time.monotonic() - began
                if waited > PATIENCE:
                    raise _patience_ended(name, waited, muted=muted)
                if waited > STALL and not stalled and not muted:
                    stalled = True
                    self._progress.emit(Stalled(waited, f"no whole picture of {name} has come"))
                await track.ask_for_key_frame()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def unless_ended(self, work: Awaitable[Value]) -> Value:
        """What ``work`` gives, unless the camera ends first.

        Raises:
            CameraEnded: no more come.
            PeerGone: the other side left.
        """
        assert self._ending is not None
        working = asyncio.ensure_future(work)
        try:
            await asyncio.wait({working, self._ending}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            self._ending.result()
            raise CameraEnded
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def close(self) -> None:
        """Leave."""
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.gather(self._ending, return_exceptions=True)
        await self._conversation.close()
        await self._link.close()

    def _coming(self) -> list[tuple[str, IncomingTrack]]:
        """What is shown, as far as it is also received."""
        tracks = {track.mid: track for track in self._link.tracks}
        return [
            (shown.name, tracks[shown.mid])
            for shown in self._shown
            if shown.mid in tracks and tracks[shown.mid].kind == shown.kind
        ]

    def _take(self, tracks: tuple[Shown, ...]) -> None:
        """Note what is shown from now on, and tell what has changed."""
        before, self._shown = self._shown, tracks
        here = {shown.mid for shown in tracks}
        if {shown.mid for shown in before} != here:
            names = tuple(name for name, _ in self.cameras())
            self._progress.emit(Watching(names, self.sound() is not None))
        was = {shown.mid for shown in before if shown.muted}
        self._back = {mid: since for mid, since in self._back.items() if mid in here}
        for shown in tracks:
            if shown.muted != (shown.mid in was):
                self._back[shown.mid] = time.time()
                self._progress.emit(Muted(shown.kind, shown.name, shown.muted))

    async def _whole(self, track: IncomingTrack, after: float) -> Received:
        if after:
            await track.ask_for_key_frame()
        while True:
            received = await track.frame()
            since = max(after, self._back.get(track.mid, after))
            if received.key and received.arrived >= since and not self.muted(track):
                return received

    async def _until_it_ends(self) -> None:
        while isinstance(said := await self._conversation.hear(), Showing):
            self._take(said.tracks)
        if isinstance(said, Failed):
            raise _failed(said)
        if not isinstance(said, Ended):
            raise PeerMisbehaved("the other side says what belongs elsewhere")


async def watch(
    code: str,
    *,
    network: Network,
    kinds: Sequence[Kind],
    camera: str | None = None,
    wait: float,
    verify: bool,
    progress: Progress,
    interaction: Interaction | None,
) -> Watcher:
    """Find the camera that shows the code, and watch it.

    Args:
        code: the one that the other side shows, or one of your own.
        network: how to find the other side.
        kinds: what to take of what it has.
        camera: which one, by number, name or a part of it; None for all.
        wait: seconds to wait for the other side, with a code of your own.
        verify: have both sides show four words and wait for a yes.
        progress: told what happens.
        interaction: asked what only a human can answer; None refuses.

    Raises:
        TransferError: any of the tree in `p2pxfer.errors`.
    """

    def tracks() -> Tracks:
        from p2pxfer.peer.tracks import Tracks  # noqa: PLC0415  # heavy

        return Tracks(receives=kinds)

    connector = Connector(
        network,
        verify=verify,
        progress=progress,
        interaction=interaction or Unattended(),
        tracks=tracks,
    )
    try:
        watcher = Watcher(await connector.join(code, wait), progress)
    finally:
        await connector.close()
    try:
        await watcher.begin(audio="audio" in kinds, camera=camera)
    except BaseException:
        await watcher.close()
        raise
    return watcher


def _patience_ended(name: str, waited: float, *, muted: bool) -> PeerGone:
    if not muted:
        return PeerGone(f"no whole picture of {name} came in {waited:.0f} s")
    return PeerGone(f"{name} was muted for {waited:.0f} s", "have somebody there unmute it")


def _failed(said: Failed) -> PeerGone:
    return PeerGone(
        f"the other side can't show it: {said.reason}",
        "have somebody look there: p2pxfer camera show",
    )
