"""What one watcher is shown: devices and clips are opened for it, fed, and freed. No terminal.

Who the watcher is, and how it was found, is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

from p2pxfer.errors import LocalFileError, PeerGone, PeerMisbehaved, TransferError
from p2pxfer.media.messages import Ended, Failed, Message, Showing, Shown, Watch
from p2pxfer.media.wanted import Wanted, picked
from p2pxfer.progress import Note, Progress, WatchEnded, Watching
from p2pxfer.session.conversation import Conversation
from p2pxfer.session.muting import Muting
from p2pxfer.session.pair import within

if TYPE_CHECKING:
    from p2pxfer.media.feeding import FedTrack
    from p2pxfer.media.source import Source
    from p2pxfer.peer.tracks import Tracks
    from p2pxfer.session.link import Link
    from p2pxfer.tracks import Kind

REQUEST: Final = 30.0  # seconds that a watcher has to ask for pictures
PACE: Final = 0.25  # seconds from telling what is shown to telling it again
FAREWELL: Final = 5.0  # seconds that a watcher has to leave once it was told that all is over

Codec = Literal["VP8", "H264"]


class Stage:
    """What one watcher is shown.

    Args:
        wanted: checked.
        names: what each of them is called.
        codec: the preferred one for pictures.
        muting: what is muted.
    """

    def __init__(
        self, wanted: Sequence[Wanted], names: Sequence[str], codec: Codec, muting: Muting
    ) -> None:
        self._wanted = tuple(wanted)
        self._names = tuple(names)
        self._codec = codec
        self._muting = muting
        self._videos: list[FedTrack] = []
        self._sound: FedTrack | None = None
        self._tracks: Tracks | None = None

    def tracks(self) -> Tracks:
        """The media of the connection, of which nothing is sent before `perform`."""
        from p2pxfer.media.feeding import FedTrack  # noqa: PLC0415  # heavy
        from p2pxfer.peer.tracks import Tracks  # noqa: PLC0415  # heavy

        self._videos = [FedTrack("video") for _ in self._wanted]
        self._sound = FedTrack("audio") if self._wanted[0].audio else None
        sound = [self._sound] if self._sound is not None else []
        self._tracks = Tracks([*self._videos, *sound], codec=self._codec)
        return self._tracks

    async def perform(self, link: Link, progress: Progress) -> None:
        """Show it over ``link`` until whoever watches leaves, or it is over.

        Raises:
            LocalFileError: a device failed; the watcher was told.
            PeerMisbehaved: it broke the rules.
            PeerGone: it left, said nothing, or wanted what is not shown.
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
        chosen = list(range(len(self._wanted)))
        if request.camera is not None:
            number = picked(self._names, request.camera)
            if number is None:
                there = ", ".join(f"{at} {name}" for at, name in enumerate(self._names, 1))
                await _part(conversation, Failed(f"it has no such camera, but {there}"))
                raise PeerGone("they asked for a camera that is not shared")
            chosen = [number]
        try:
            cast = await self._opened(chosen, audio=request.audio)
        except LocalFileError as error:
            await _part(conversation, Failed(error.message))
            raise
        began = time.monotonic()
        leaving = asyncio.create_task(conversation.hear())
        acting = asyncio.create_task(self._act(conversation, cast, progress))
        try:
            await asyncio.wait({leaving, acting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (leaving, acting):
                task.cancel()
            said, failure = await asyncio.gather(leaving, acting, return_exceptions=True)
            await cast.stop()
            progress.emit(WatchEnded(time.monotonic() - began))
        if isinstance(said, PeerMisbehaved):
            raise said
        if not isinstance(said, BaseException):
            raise PeerMisbehaved("it spoke while it was shown pictures")
        if isinstance(failure, Exception) and not isinstance(failure, PeerGone):
            if isinstance(failure, TransferError):
                await _part(conversation, Failed(failure.message))
            raise failure
        if not isinstance(said, PeerGone):
            await _part(conversation, Ended())

    async def _opened(self, chosen: Sequence[int], *, audio: bool) -> Cast:
        """Open those that are chosen; the sound is the first one's."""
        from p2pxfer.media.source import opened  # noqa: PLC0415  # heavy

        cast = Cast()
        try:
            for number in chosen:
                heard = audio and number == chosen[0] and self._wanted[number].audio
                sound = self._sound if heard else None
                source = await opened(self._wanted[number], audio=sound is not None)
                cast.add(self._names[number], source, self._videos[number], sound)
        except BaseException:
            await cast.stop()
            raise
        return cast

    async def _act(self, conversation: Conversation, cast: Cast, progress: Progress) -> None:
        """Feed the tracks, and tell what is shown, until the last of it is over.

        Raises:
            TransferError: why that is over.
            PeerGone: the watcher has left.
        """
        changed = asyncio.Event()
        conversation.on_answer = changed.set

        def mute() -> None:
            cast.mute(self._muting.kinds)
            changed.set()

        with self._muting.followed(mute):
            mute()
            cast.start()
            progress.emit(Watching(*cast.told()))
            while cast.roles:
                changed.clear()
                await conversation.say(Showing(cast.shown(self._tracks)))
                await asyncio.sleep(PACE)
                if not await cast.next_end(changed):
                    continue
                name, failure = await cast.remove()
                if not cast.roles and failure is not None:
                    raise failure
                if cast.roles:
                    progress.emit(Note(failure.message if failure else f"{name} is over"))


class Cast:
    """What is open for one watcher.

    Attributes:
        roles: name, source, and the tracks that it feeds, of each that is not over.
    """

    def __init__(self) -> None:
        self.roles: list[tuple[str, Source, dict[Kind, FedTrack]]] = []
        self._overs: dict[asyncio.Task[None], Source] = {}

    def add(self, name: str, source: Source, video: FedTrack, sound: FedTrack | None) -> None:
        """One more."""
        tracks: dict[Kind, FedTrack] = {"video": video}
        if sound is not None:
            tracks["audio"] = sound
        self.roles.append((name, source, tracks))

    def start(self) -> None:
        """Begin to feed the tracks."""
        for _, source, tracks in self.roles:
            source.start(tracks)
            self._overs[asyncio.create_task(source.over())] = source

    def told(self) -> tuple[tuple[str, ...], bool]:
        """The names of what is shown, and whether there is sound."""
        return tuple(name for name, _, _ in self.roles), any("audio" in t for _, _, t in self.roles)

    def shown(self, sent: Tracks | None) -> tuple[Shown, ...]:
        """The tracks, as the watcher is told them."""
        return tuple(
            Shown(mid, kind, name, track.muted)
            for name, _, tracks in self.roles
            for kind, track in tracks.items()
            if sent is not None and (mid := sent.mid(track)) is not None
        )

    def mute(self, kinds: frozenset[Kind]) -> None:
        """Have these kinds muted, and no others."""
        for _, _, tracks in self.roles:
            for kind, track in tracks.items():
                track.muted = kind in kinds

    async def next_end(self, unless: asyncio.Event) -> bool:
        """Wait until one of them is over; whether one is, ``unless`` that is set before."""
        news = asyncio.create_task(unless.wait())
        try:
            await asyncio.wait({*self._overs, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
        return any(task.done() for task in self._overs)

    async def remove(self) -> tuple[str, TransferError | None]:
        """Stop one that is over; its name, and why, if that is not its end."""
        task = next(task for task in self._overs if task.done())
        source = self._overs.pop(task)
        (name,) = [name for name, one, _ in self.roles if one is source]
        self.roles = [role for role in self.roles if role[1] is not source]
        await source.stop()
        failure = task.exception()
        if failure is not None and not isinstance(failure, TransferError):
            raise failure
        return name, failure

    async def stop(self) -> None:
        """End, and free every device."""
        for task in self._overs:
            task.cancel()
        await asyncio.gather(*self._overs, return_exceptions=True)
        await asyncio.gather(*(source.stop() for _, source, _ in self.roles))


async def _part(conversation: Conversation, message: Message) -> None:
    """Say that nothing more comes, and let the other side be the first to leave."""
    with contextlib.suppress(PeerGone, TimeoutError):
        await conversation.say(message)
        async with asyncio.timeout(FAREWELL):
            await conversation.hear()
