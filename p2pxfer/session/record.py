"""Recording the other side's cameras: `record` is the whole of it for callers. No terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2pxfer.errors import LocalFileError, PeerGone
from p2pxfer.files.new_file import NewFile, require_free
from p2pxfer.progress import NullProgress, Progress, Recorded, Recording, Resumed, Stalled
from p2pxfer.session.interaction import Interaction
from p2pxfer.session.network import Network
from p2pxfer.session.watching import PATIENCE, STALL, CameraEnded, Watcher, watch
from p2pxfer.tracks import IncomingTrack, Kind, Received, TrackEnded

if TYPE_CHECKING:
    from p2pxfer.media.recording import Container
    from p2pxfer.media.recording import Recording as Film

STDOUT: Final = "-"
MOST_WAITING: Final = {"video": 30, "audio": 250}  # frames that wait to be recorded
TELL_EVERY: Final = 5.0  # seconds between two signs of progress


async def record(
    code: str,
    *,
    network: Network,
    output: str,
    form: str | None = None,
    seconds: float | None = None,
    audio: bool = True,
    camera: str | None = None,
    overwrite: bool = False,
    wait: float = 3600.0,
    verify: bool = False,
    progress: Progress | None = None,
    interaction: Interaction | None = None,
) -> None:
    """Record the cameras whose side shows the code, until they end, or this is cancelled.

    Several of them become as many video streams of one file.

    Args:
        code: that code.
        network: how to find the other side.
        output: a file, or ``-`` for standard output.
        form: ``mp4``, ``mkv`` or ``webm``; None to go by how ``output`` ends.
        seconds: how long; None for until it ends.
        audio: whether to record sound, if there is any.
        camera: which one, by number, name or a part of it; None for all.
        overwrite: replace a file that is there.
        wait: seconds to wait for the other side, with a code of your own.
        verify: have both sides show four words and wait for a yes.
        progress: told what happens.
        interaction: asked what only a human can answer; None refuses.

    Raises:
        UsageError: what is asked for makes no sense.
        LocalFileError: it can't be written.
        PeerGone: the other side was lost, what had come is kept; or no picture came at all.
        TransferError: any other of the tree in `p2pxfer.errors`.
    """
    from p2pxfer.media.recording import container_of  # noqa: PLC0415  # heavy

    container = container_of(output, form)
    if output != STDOUT:
        require_free(Path(output), replace=overwrite)
    progress = progress or NullProgress()
    watcher = await watch(
        code,
        network=network,
        kinds=("video", "audio") if audio else ("video",),
        camera=camera,
        wait=wait,
        verify=verify,
        progress=progress,
        interaction=interaction,
    )
    try:
        outlet = Outlet(output, overwrite=overwrite)
        names = [name for name, _ in watcher.cameras()]
        film = outlet.film(
            container,
            audio=watcher.audio,
            titles=names if len(names) > 1 else ("",),
            limit=seconds,
        )
        desk = Desk(watcher, film, progress)
        try:
            await desk.run()
        finally:
            lost = await desk.close()
            await asyncio.to_thread(outlet.place, film)
            if film.pictures:
                progress.emit(Recorded(os.fsencode(output), film.seconds, film.pictures, lost))
        if not film.pictures:
            raise PeerGone("the camera's side ended before any picture came")
    finally:
        await watcher.close()


class Outlet:
    """Where a recording goes."""

    def __init__(self, output: str, *, overwrite: bool) -> None:
        self._new = None if output == STDOUT else NewFile(Path(output), replace=overwrite)

    def film(
        self,
        container: Container,
        *,
        audio: bool,
        titles: Sequence[str] = ("",),
        limit: float | None,
    ) -> Film:
        """Begin what goes there.

        Raises:
            LocalFileError: it can't be written.
        """
        from p2pxfer.media.recording import Recording as Film  # noqa: PLC0415  # heavy

        file = self._new.file if self._new is not None else _Stream()
        try:
            return Film(
                file,
                container,
                audio=audio,
                streamed=self._new is None,
                titles=titles,
                limit=limit,
            )
        except BaseException:
            if self._new is not None:
                self._new.discard()
            raise

    def place(self, film: Film) -> None:
        """Finish ``film``, and give it its name if there is anything in it.

        Raises:
            LocalFileError: it can't be written; what was before is in place, and plays.
        """
        try:
            film.finish()
        except LocalFileError as error:
            if self._name(film, whole=False):
                hint = "what was recorded before is in place"
                raise LocalFileError(error.message, hint) from error
            raise
        self._name(film, whole=True)

    def _name(self, film: Film, *, whole: bool) -> bool:
        """Give the file its name if there is a picture in it; whether it has one now."""
        if self._new is None:
            return False
        if film.pictures:
            self._new.place(cut=None if whole else film.leave_whole)
        else:
            self._new.discard()
        return bool(film.pictures)


class _Stream:
    """Standard output, which does not seek."""

    def write(self, data: bytes, /) -> int:
        view = memoryview(data)
        while view:
            view = view[os.write(sys.stdout.fileno(), view) :]
        return len(data)


class Desk:
    """Takes frames off the tracks, and has them recorded by a worker.

    Args:
        watcher: has begun.
        film: what they go into.
        progress: told how long it is.
    """

    def __init__(self, watcher: Watcher, film: Film, progress: Progress) -> None:
        self._watcher = watcher
        self._film = film
        self._progress = progress
        self._waiting: deque[tuple[Kind, Received, int]] = deque()
        self._counts: Counter[tuple[Kind, int]] = Counter()
        self._news = asyncio.Event()
        self._lost = 0
        self._last_picture = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._adding: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Record until there is enough, or it ends.

        Raises:
            LocalFileError: it can't be written.
            PeerGone: the other side was lost, or shows nothing.
        """
        sound = self._watcher.sound()
        for number, (_, track) in enumerate(self._watcher.cameras()):
            self._tasks.append(asyncio.create_task(self._collect(track, number)))
        if sound is not None:
            self._tasks.append(asyncio.create_task(self._collect(sound, 0)))
        recording = asyncio.create_task(self._record())
        self._tasks.append(recording)
        with contextlib.suppress(CameraEnded):
            await self._watcher.unless_ended(recording)

    async def close(self) -> int:
        """Take nothing more, and record what waits; how many pictures could not be."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._adding is not None:
            await asyncio.gather(self._adding, return_exceptions=True)
        left, self._waiting = list(self._waiting), deque()
        with contextlib.suppress(LocalFileError):  # whoever finishes the film will say it
            await asyncio.to_thread(self._add, left)
        return self._lost

    async def _collect(self, track: IncomingTrack, number: int) -> None:
        with contextlib.suppress(TrackEnded):
            while True:
                received = await track.frame()
                if track.kind == "video":
                    self._last_picture = time.monotonic()
                if self._counts[track.kind, number] >= MOST_WAITING[track.kind]:
                    self._lost += track.kind == "video"
                    continue
                self._counts[track.kind, number] += 1
                self._waiting.append((track.kind, received, number))
                self._news.set()

    async def _record(self) -> None:
        told, stalled = time.monotonic(), False
        while not self._film.full:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._news.wait()
            self._news.clear()
            batch, self._waiting = list(self._waiting), deque()
            self._adding = asyncio.create_task(asyncio.to_thread(self._add, batch))
            await asyncio.shield(self._adding)  # a thread can't be stopped: `close` waits for it
            for kind, _, number in batch:
                self._counts[kind, number] -= 1
            now = time.monotonic()
            if self._watcher.blind:
                self._last_picture = now
            silent = now - self._last_picture
            if silent > PATIENCE:
                raise PeerGone(f"no picture came for {silent:.0f} s")
            if (silent > STALL) is not stalled:
                stalled = not stalled
                event = Stalled(silent, "no picture comes") if stalled else Resumed()
                self._progress.emit(event)
            if now - told >= TELL_EVERY:
                told = now
                self._progress.emit(Recording(self._film.seconds))

    def _add(self, batch: list[tuple[Kind, Received, int]]) -> None:
        for kind, received, number in batch:
            self._film.add(kind, received, number)
        self._film.advance(time.time())
