"""Taking stills of the other side's camera: `snap` is the whole of it for callers. No terminal."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from p2pxfer import __version__
from p2pxfer.errors import LocalFileError, PeerGone, UsageError
from p2pxfer.files.new_file import NewFile, require_free
from p2pxfer.progress import NullProgress, Progress, StillTaken
from p2pxfer.session.interaction import Interaction
from p2pxfer.session.network import Network
from p2pxfer.session.watching import CameraEnded, Watcher, watch
from p2pxfer.tracks import IncomingTrack, TrackEnded

STDOUT: Final = "-"
FORMATS: Final = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
MOST: Final = 1_000_000  # stills of one run
Camera = tuple[str, IncomingTrack]  # what it is called, and its pictures


async def snap(
    code: str,
    *,
    network: Network,
    output: str,
    form: str | None = None,
    count: int = 1,
    every: float = 1.0,
    camera: str | None = None,
    overwrite: bool = False,
    wait: float = 3600.0,
    verify: bool = False,
    progress: Progress | None = None,
    interaction: Interaction | None = None,
) -> None:
    """Take stills of the cameras whose side shows the code, one of each at a time.

    Args:
        code: that code.
        network: how to find the other side.
        output: where a still goes; ``-`` for standard output. Several are numbered.
        form: ``jpg``, ``png`` or ``webp``; None to go by how ``output`` ends.
        count: how many.
        every: seconds between the moments at which two of them are taken.
        camera: which one, by number, name or a part of it; None for all.
        overwrite: replace files that are there.
        wait: seconds to wait for the other side, with a code of your own.
        verify: have both sides show four words and wait for a yes.
        progress: told what happens.
        interaction: asked what only a human can answer; None refuses.

    Raises:
        UsageError: what is asked for makes no sense.
        LocalFileError: a still can't be written.
        TransferError: any other of the tree in `p2pxfer.errors`.
    """
    kind = format_of(output, form)
    names = numbered(output, count)
    for name in names:
        if name != STDOUT:
            require_free(Path(name), replace=overwrite)
    progress = progress or NullProgress()
    watcher = await watch(
        code,
        network=network,
        kinds=("video",),
        camera=camera,
        wait=wait,
        verify=verify,
        progress=progress,
        interaction=interaction,
    )
    try:
        several = Several(watcher, names, progress, overwrite=overwrite)
        began = time.time()
        for number, name in enumerate(names):
            due = began + number * every if number else 0.0
            try:
                await watcher.unless_ended(asyncio.sleep(max(0.0, due - time.time())))
                while not await several.take(name, due, kind):
                    pass  # what was shown has ended meanwhile; something else may come
            except CameraEnded:
                raise PeerGone(
                    f"the camera's side ended after {number} of {count} stills",
                    "what was taken is in place",
                ) from None
    finally:
        await watcher.close()


def format_of(output: str, form: str | None) -> str:
    """``JPEG``, ``PNG`` or ``WEBP``: as asked, else as the name ends; standard output is JPEG.

    Raises:
        UsageError: it is none of them.
    """
    if output == STDOUT and form is None:
        return "JPEG"
    suffix = f".{form}" if form is not None else Path(output).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(
            f"no still can be called {output}" if form is None else f"no format {form}",
            "let it end in .jpg, .png or .webp, or choose with --format",
        )
    return FORMATS[suffix]


def numbered(output: str, count: int) -> list[str]:
    """The names of ``count`` stills: ``still.jpg``, or ``still-01.jpg`` and so on.

    Raises:
        UsageError: there are too few or too many, or several for standard output, or no name.
    """
    if not Path(output).name:
        raise UsageError(f"no still can be called {output!r}", "name a file")
    if not 0 < count <= MOST:
        raise UsageError(f"{count} stills can't be taken", f"1 to {MOST:,} can be")
    if count == 1:
        return [output]
    if output == STDOUT:
        raise UsageError("standard output takes one still", "name a file, or leave out --count")
    path, width = Path(output), len(str(count))
    return [
        str(path.with_name(f"{path.stem}-{number:0{width}}{path.suffix}"))
        for number in range(1, count + 1)
    ]


class Several:
    """Takes one still of each camera at a time; beside one another, if there are several.

    Args:
        watcher: has begun.
        names: where stills go if there is one camera.
        progress: told of each.
        overwrite: replace files that are there.

    Raises:
        UsageError: several can't go there.
        LocalFileError: something is there already.
    """

    def __init__(
        self, watcher: Watcher, names: Sequence[str], progress: Progress, *, overwrite: bool
    ) -> None:
        self._watcher = watcher
        self._progress = progress
        self._overwrite = overwrite
        self._numbers: dict[str, int] = {}
        cameras = watcher.cameras()
        self._one = len(cameras) == 1
        if self._one:
            return
        if STDOUT in names:
            there = ", ".join(f"{at} {name}" for at, (name, _) in enumerate(cameras, 1))
            raise UsageError(
                f"standard output takes one still, and {len(cameras)} cameras are shown",
                f"choose one with --camera: {there}",
            )
        for name in names:
            for number in range(1, len(cameras) + 1):
                require_free(Path(_beside(name, number)), replace=overwrite)

    async def take(self, name: str, after: float, kind: str) -> bool:
        """Take a still of each camera that is shown now; whether there is one.

        Raises:
            TransferError: there is none of one of them; those of the others are in place.
            CameraEnded: no more come.
        """
        cameras = await self._watcher.present()
        overwrite = self._overwrite
        taken = await asyncio.gather(
            *(
                _take(self._watcher, camera, after, kind, place, overwrite=overwrite)
                for camera, place in self._places(name, cameras)
            ),
            return_exceptions=True,
        )
        for still in taken:
            if isinstance(still, StillTaken):
                self._progress.emit(still)
        for failure in taken:
            if isinstance(failure, BaseException):
                raise failure
        return any(taken)

    def _places(self, name: str, cameras: Sequence[Camera]) -> list[tuple[Camera, str]]:
        if name == STDOUT:
            return [(cameras[0], name)]
        found = []
        for camera in cameras:
            number = self._numbers.setdefault(camera[1].mid, len(self._numbers) + 1)
            found.append((camera, name if self._one and number == 1 else _beside(name, number)))
        return found


def _beside(name: str, number: int) -> str:
    path = Path(name)
    return str(path.with_name(f"{path.stem}-camera{number}{path.suffix}"))


async def _take(
    watcher: Watcher, camera: Camera, after: float, kind: str, name: str, *, overwrite: bool
) -> StillTaken | None:
    """One still; None if this camera has ended."""
    source, track = camera
    try:
        received = await watcher.whole_picture(source, track, after)
    except TrackEnded:
        return None

    def write() -> StillTaken:
        from p2pxfer.media import stills  # noqa: PLC0415  # heavy

        still = stills.encode(
            received.frame,
            kind,
            captured=received.arrived,
            source=source,
            software=f"p2pxfer {__version__}",
        )
        _put(name, still.data, overwrite=overwrite)
        size = len(still.data)
        return StillTaken(
            os.fsencode(name), still.width, still.height, size, received.arrived, source
        )

    return await asyncio.to_thread(write)


def _put(name: str, data: bytes, *, overwrite: bool) -> None:
    if name == STDOUT:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise LocalFileError(f"standard output can't be written: {error.strerror}") from error
        return
    file = NewFile(Path(name), replace=overwrite)
    try:
        file.file.write(data)
    except OSError as error:
        file.discard()
        raise LocalFileError(f"{name} can't be written: {error.strerror}") from error
    file.place()
