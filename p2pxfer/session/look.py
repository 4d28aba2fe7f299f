"""A look at this machine's own camera, before anybody else has one; no connection."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from p2pxfer import __version__
from p2pxfer.errors import LocalFileError
from p2pxfer.files.new_file import NewFile
from p2pxfer.media.wanted import Wanted
from p2pxfer.session.snap import format_of

if TYPE_CHECKING:
    from p2pxfer.media.devices import Device

PATIENCE: Final = 10.0  # seconds until a camera that shows nothing is given up
SETTLE: Final = 0.5  # seconds that a camera has to find its exposure


class Sight:
    """One picture of this machine's camera.

    Attributes:
        name: what the camera is called.
        width: in pixels.
        height: in pixels.
    """

    def __init__(self, name: str, frame: Any) -> None:
        self.name = name
        self.width: int = frame.width
        self.height: int = frame.height
        self._frame = frame
        self._taken = time.time()

    def png(self) -> bytes:
        """As a PNG."""
        return self._encoded("PNG")

    def rows(self, width: int, height: int) -> list[list[tuple[int, int, int]]]:
        """As rows of red, green and blue, within ``width`` times ``height``."""
        from p2pxfer.media import stills  # noqa: PLC0415  # heavy

        return stills.shrunk(self._frame, width, height)

    def save(self, output: Path | None, *, overwrite: bool) -> Path:
        """Write it into a file, a new temporary one if none is named; which one.

        Raises:
            LocalFileError: it can't be written.
            UsageError: the file's name is none of a picture.
        """
        if output is None:
            handle, name = tempfile.mkstemp(prefix="p2pxfer-", suffix=".png")
            with open(handle, "wb") as file:
                file.write(self.png())
            return Path(name)
        data = self._encoded(format_of(str(output), None))
        new = NewFile(output, replace=overwrite)
        try:
            new.file.write(data)
        except OSError as error:
            new.discard()
            raise LocalFileError(f"{output} can't be written: {error.strerror}") from error
        new.place()
        return output

    def _encoded(self, kind: str) -> bytes:
        from p2pxfer.media import stills  # noqa: PLC0415  # heavy

        return stills.encode(
            self._frame,
            kind,
            captured=self._taken,
            source=self.name,
            software=f"p2pxfer {__version__}",
        ).data


async def look(wanted: Wanted) -> Sight:
    """Take one picture of what is wanted.

    Raises:
        UsageError: it makes no sense.
        LocalFileError: it can't be had; devices have classes of their own.
    """
    from p2pxfer.media.feeding import FedTrack  # noqa: PLC0415  # heavy
    from p2pxfer.media.source import opened  # noqa: PLC0415  # heavy

    wanted.check()
    source = await opened(wanted, audio=False)
    track = FedTrack("video")
    over = asyncio.create_task(source.over())
    try:
        source.start({"video": track})
        begun = time.monotonic()
        while True:
            taking = asyncio.create_task(track.recv())
            await asyncio.wait(
                {taking, over}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
            )
            if taking.done():
                frame = taking.result()
                if time.monotonic() - begun >= SETTLE or over.done():
                    return Sight(source.name, frame)
                continue
            taking.cancel()
            if over.done():
                over.result()
            raise LocalFileError(f"{source.name} shows nothing", "try another one with --device")
    finally:
        over.cancel()
        await asyncio.gather(over, return_exceptions=True)
        await source.stop()


def devices() -> Sequence[tuple[int, Device]]:
    """The cameras and microphones of this machine, each kind numbered from 1."""
    from p2pxfer.media.devices import listed  # noqa: PLC0415  # heavy

    os.environ.setdefault("AV_LOG_FORCE_NOCOLOR", "1")
    return [
        *enumerate(listed("video", modes=True), 1),
        *enumerate(listed("audio"), 1),
    ]
