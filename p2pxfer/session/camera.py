"""Sharing a camera, a clip or the test pattern: `serve` is the whole of it. No terminal.

The device is opened when somebody who has the code asks for it, and free as soon as they leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from p2pxfer.errors import (
    CodeExpired,
    ConnectionFailed,
    DeviceBusy,
    LocalFileError,
    PeerGone,
    PeerMisbehaved,
    TransferError,
)
from p2pxfer.media.messages import Ended, Failed, Showing, Watch
from p2pxfer.media.wanted import Wanted
from p2pxfer.progress import Note, NullProgress, Progress, WatchEnded, Watching
from p2pxfer.session.connect import Connector
from p2pxfer.session.conversation import Conversation
from p2pxfer.session.interaction import Interaction, Unattended
from p2pxfer.session.network import Network, Sending
from p2pxfer.session.pair import within

if TYPE_CHECKING:
    from p2pxfer.media.feeding import FedTrack
    from p2pxfer.peer.tracks import Tracks
    from p2pxfer.session.link import Link
    from p2pxfer.tracks import Kind

REQUEST: Final = 30.0  # seconds that a watcher has to ask for pictures
FAREWELL: Final = 5.0  # seconds that a watcher has to leave once it was told that all is over
# What ends one visit, and not the sharing.
VISIT: Final = (PeerGone, PeerMisbehaved, ConnectionFailed, DeviceBusy)

Codec = Literal["VP8", "H264"]


async def serve(
    wanted: Wanted,
    *,
    network: Network,
    code: str | None = None,
    words: int = 2,
    wait: float = 3600.0,
    once: bool = False,
    verify: bool = False,
    code_out: Path | None = None,
    codec: Codec = "VP8",
    progress: Progress | None = None,
    interaction: Interaction | None = None,
) -> None:
    """Show what is wanted to whoever has the code, one after another, until cancelled.

    Args:
        wanted: what to show.
        network: how to find the other side.
        code: a code of your own; None draws a fresh one for each watcher, told by `CodeReady`.
        words: how many words to draw.
        wait: seconds that a code lives; then there is a fresh one.
        once: end when the first watcher has left.
        verify: have both sides show four words and wait for a yes.
        code_out: a file for the drawn code, made with mode 0600.
        codec: the preferred one for pictures.
        progress: told what happens.
        interaction: asked what only a human can answer; None refuses.

    Raises:
        UsageError: ``wanted`` makes no sense.
        LocalFileError: it can't be had; devices have classes of their own.
        TransferError: any other of the tree in `p2pxfer.errors`.
    """
    wanted.check()
    progress = progress or NullProgress()
    await _try_out(wanted)
    sending = Sending(chosen=code, words=words, wait=wait, code_out=code_out)
    while True:
        stage = Stage(wanted, codec)
        connector = Connector(
            network,
            verify=verify,
            progress=progress,
            interaction=interaction or Unattended(),
            tracks=stage.tracks,
        )
        connector.warm()
        try:
            await stage.perform(await connector.offer(sending), progress)
        except CodeExpired:
            if once:
                raise
        except VISIT as error:
            if once:
                raise
            progress.emit(Note(f"a visit came to nothing: {error.message}"))
        finally:
            await connector.close()
        if once:
            return


async def _try_out(wanted: Wanted) -> None:
    """Say at once, and not when somebody asks for it, that something can't be shown."""
    from p2pxfer.media.source import opened  # noqa: PLC0415  # heavy

    source = await opened(wanted, audio=wanted.audio)
    await source.stop()


class Stage:
    """What one watcher is shown.

    Args:
        wanted: checked.
        codec: the preferred one for pictures.
    """

    def __init__(self, wanted: Wanted, codec: Codec) -> None:
        self._wanted = wanted
        self._codec = codec
        self._fed: dict[Kind, FedTrack] = {}

    def tracks(self) -> Tracks:
        """The media of the connection, of which nothing is sent before `perform`."""
        from p2pxfer.media.feeding import FedTrack  # noqa: PLC0415  # heavy
        from p2pxfer.peer.tracks import Tracks  # noqa: PLC0415  # heavy

        self._fed = {"video": FedTrack("video")}
        if self._wanted.audio:
            self._fed["audio"] = FedTrack("audio")
        return Tracks(list(self._fed.values()), codec=self._codec)

    async def perform(self, link: Link, progress: Progress) -> None:
        """Show it over ``link`` until whoever watches leaves, or it is over.

        Raises:
            LocalFileError: the device failed; the watcher was told.
            PeerMisbehaved: it broke the rules.
            PeerGone: it left, or said nothing, before it had asked for anything.
        """
        conversation = Conversation(link)
        try:
            mute = PeerGone(f"they asked for nothing in {REQUEST:.0f} s")
            request = await within(REQUEST, conversation.hear(), mute)
            if not isinstance(request, Watch):
                raise PeerMisbehaved("it spoke before it had asked for pictures")
            await self._show(conversation, request, progress)
        except asyncio.CancelledError:  # whoever shares has ended it
            with contextlib.suppress(PeerGone):
                await conversation.say(Ended())
            raise
        finally:
            await conversation.close()
            await link.close()

    async def _show(self, conversation: Conversation, request: Watch, progress: Progress) -> None:
        from p2pxfer.media.source import opened  # noqa: PLC0415  # heavy

        audio = request.audio and self._wanted.audio
        try:
            source = await opened(self._wanted, audio=audio)
        except LocalFileError as error:
            await self._part(conversation, Failed(error.message))
            raise
        began = time.monotonic()
        leaving = asyncio.create_task(conversation.hear())
        over = asyncio.create_task(source.over())
        try:
            source.start({kind: self._fed[kind] for kind in self._fed if audio or kind == "video"})
            await conversation.say(Showing(source.name, audio))
            progress.emit(Watching(source.name, audio))
            await asyncio.wait({leaving, over}, return_when=asyncio.FIRST_COMPLETED)
        except PeerGone:
            pass  # it has seen what it wanted
        finally:
            for task in (leaving, over):
                task.cancel()
            ends = await asyncio.gather(leaving, over, return_exceptions=True)
            await source.stop()
            progress.emit(WatchEnded(time.monotonic() - began))
        said, failure = ends
        if isinstance(said, PeerMisbehaved):
            raise said
        if not isinstance(said, BaseException):
            raise PeerMisbehaved("it spoke while it was shown pictures")
        if isinstance(failure, TransferError):
            await self._part(conversation, Failed(failure.message))
            raise failure
        if not isinstance(said, PeerGone):
            await self._part(conversation, Ended())

    async def _part(self, conversation: Conversation, message: Ended | Failed) -> None:
        """Say that nothing more comes, and let the other side be the first to leave."""
        with contextlib.suppress(PeerGone, TimeoutError):
            await conversation.say(message)
            async with asyncio.timeout(FAREWELL):
                await conversation.hear()
