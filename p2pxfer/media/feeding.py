"""Feeding: a thread of its own brings frames, and tracks hand them to whoever sends them.

What the frames show is not known here. A track keeps a few, and the oldest go: what is live is
shown late by nobody's fault but the network's.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from p2pxfer.errors import TransferError
from p2pxfer.tracks import Kind

KEPT = {"video": 2, "audio": 25}  # frames that wait to be sent: half a second of sound
SOUND_RATE = 48_000  # samples a second, as Opus has it
SOUND_FRAME = 960  # samples: 20 ms
_BLACK = (16, 128, 128)  # luma and chroma of it: ITU-R BT.601


class FedTrack(MediaStreamTrack):
    """A track to send, fed from another thread.

    Args:
        kind: what it carries.

    Attributes:
        skipped: frames that were not sent, since they could not be encoded in time.
        muted: whether black or silence is sent in place of what comes, at its pace, as a disabled
            track does (W3C Media Capture and Streams, section 4.3.1).
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        super().__init__()
        self.skipped = 0
        self._muted = False
        self._frames: deque[VideoFrame | AudioFrame] = deque()
        self._news = asyncio.Event()

    async def recv(self) -> VideoFrame | AudioFrame:
        """The next frame, as aiortc asks for it."""
        while not self._frames:
            if self.readyState != "live":
                raise MediaStreamError
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()

    @property
    def muted(self) -> bool:
        """See above."""
        return self._muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._muted = muted
        if muted:  # also what waits
            self._frames = deque(map(blank, self._frames))

    def feed(self, frame: VideoFrame | AudioFrame) -> None:
        """One more; called on the loop."""
        if self.readyState != "live":
            return
        self._frames.append(blank(frame) if self._muted else frame)
        if len(self._frames) > KEPT[self.kind]:
            self._frames.popleft()
            self.skipped += 1
        self._news.set()

    def stop(self) -> None:
        """Nothing more comes, and nobody waits for it."""
        super().stop()
        self._frames.clear()
        self._news.set()


def blank(frame: VideoFrame | AudioFrame) -> VideoFrame | AudioFrame:
    """Black of the same size, or silence of the same length, at the same time."""
    empty: VideoFrame | AudioFrame
    values: Sequence[int]
    if isinstance(frame, VideoFrame):
        empty = VideoFrame(frame.width, frame.height, "yuv420p")
        values = _BLACK
    else:
        empty = AudioFrame(frame.format.name, frame.layout.name, frame.samples)
        empty.sample_rate = frame.sample_rate
        values = [0] * len(empty.planes)
    for plane, value in zip(empty.planes, values, strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    empty.pts, empty.time_base = frame.pts, frame.time_base
    return empty


class Feeder:
    """Brings frames from somewhere to tracks, on a thread of its own, until it is stopped.

    Args:
        name: what it shows, for people.

    Attributes:
        over: set once nothing more comes.
        failure: why, if it was not the end of a clip and not `stop`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.over = asyncio.Event()
        self.failure: TransferError | None = None
        self._loop = asyncio.get_running_loop()
        self._tracks: dict[Kind, FedTrack] = {}
        self._halted = threading.Event()
        self._thread: threading.Thread | None = None
        self._began = 0.0

    def start(self, tracks: dict[Kind, FedTrack]) -> None:
        """Begin to feed."""
        self._tracks = tracks
        self._thread = threading.Thread(target=self._run_through, name="feeder", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End, and give back whatever was used; a device is free once this returns."""
        self._halted.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        else:
            self._close()

    def _run_through(self) -> None:
        self._began = time.monotonic()
        try:
            self._run()
        except TransferError as error:
            self.failure = error
        finally:
            self._close()
            self._call(self.over.set)

    def _run(self) -> None:
        """Feed until `_halted` or the end; on the thread.

        Raises:
            TransferError: nothing more can come.
        """
        raise NotImplementedError

    def _close(self) -> None:
        """Give back what was opened."""

    def _wait_until(self, seconds: float) -> None:
        """Wait until that much time has passed since the start, or `stop` is called."""
        self._halted.wait(max(0.0, self._began + seconds - time.monotonic()))

    def _feed(self, kind: Kind, frame: VideoFrame | AudioFrame) -> None:
        if kind in self._tracks and not self._halted.is_set():
            self._call(self._tracks[kind].feed, frame)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)
