"""Watching a camera of the other side: finding it, its pictures and sound, and how that ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from p2pxfer.errors import PeerGone, PeerMisbehaved
from p2pxfer.media.messages import Ended, Failed, Showing, Watch
from p2pxfer.progress import Progress, Resumed, Stalled, Watching
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
    """One camera of the other side, watched.

    Attributes:
        source: what it is called there.
        audio: whether there is sound.
    """

    def __init__(self, link: Link, progress: Progress) -> None:
        self.source = ""
        self.audio = False
        self._link = link
        self._progress = progress
        self._conversation = Conversation(link)
        self._ending: asyncio.Task[None] | None = None

    async def begin(self, *, audio: bool) -> None:
        """Ask for pictures, and wait until they come.

        Raises:
            PeerGone: nothing can be shown, it left, or it did not answer in time.
            PeerMisbehaved: it answered with something else.
        """
        await self._conversation.say(Watch(audio))
        unopened = PeerGone(f"the other side opened no camera in {OPENING:.0f} s")
        answer = await within(OPENING, self._conversation.hear(), unopened)
        if isinstance(answer, Failed):
            raise _failed(answer)
        if not isinstance(answer, Showing) or self.track("video") is None:
            raise PeerMisbehaved("the other side shows no pictures")
        self.source = answer.source
        self.audio = answer.audio and self.track("audio") is not None
        self._progress.emit(Watching(self.source, self.audio))
        self._ending = asyncio.create_task(self._until_it_ends())

    def track(self, kind: Kind) -> IncomingTrack | None:
        """The first track of that kind."""
        return next((track for track in self._link.tracks if track.kind == kind), None)

    async def whole_picture(self, after: float) -> Received:
        """The next picture that needed no other to be decoded.

        Args:
            after: seconds since 1970; an older one is not meant.

        Raises:
            CameraEnded: no more come.
            PeerGone: the other side left, or showed nothing for `PATIENCE` seconds.
        """
        began, stalled = time.monotonic(), False
        looking = asyncio.create_task(self._whole(after))
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
                waited = time.monotonic() - began
                if waited > PATIENCE:
                    raise PeerGone(f"no whole picture came in {waited:.0f} s")
                if waited > STALL and not stalled:
                    stalled = True
                    self._progress.emit(Stalled(waited, "no whole picture has come"))
                await self._ask()
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

    async def _ask(self) -> None:
        track = self.track("video")
        assert track is not None
        await track.ask_for_key_frame()

    async def _whole(self, after: float) -> Received:
        track = self.track("video")
        assert track is not None
        if after:
            await track.ask_for_key_frame()
        while True:
            try:
                received = await track.frame()
            except TrackEnded:
                raise CameraEnded from None
            if received.key and received.arrived >= after:
                return received

    async def _until_it_ends(self) -> None:
        said = await self._conversation.hear()
        if isinstance(said, Failed):
            raise _failed(said)
        if not isinstance(said, Ended):
            raise PeerMisbehaved("the other side says what belongs elsewhere")


async def watch(
    code: str,
    *,
    network: Network,
    kinds: Sequence[Kind],
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
        await watcher.begin(audio="audio" in kinds)
    except BaseException:
        await watcher.close()
        raise
    return watcher


def _failed(said: Failed) -> PeerGone:
    return PeerGone(
        f"the other side can't show it: {said.reason}",
        "have somebody look there: p2pxfer camera show",
    )
