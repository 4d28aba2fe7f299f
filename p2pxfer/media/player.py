"""Plays what FFmpeg can read: a stored clip at the pace it was recorded at, or a device."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
from av import AudioFrame, AudioResampler, VideoFrame
from av.container import InputContainer

from p2pxfer.errors import LocalFileError, TransferError
from p2pxfer.media.feeding import SOUND_FRAME, SOUND_RATE, Feeder
from p2pxfer.media.wanted import LARGEST

AGAIN = 0.01  # seconds until a device that has nothing yet is asked again
_CLOCK = 90_000  # ticks a second of video over RTP: RFC 7741 section 4.1, RFC 6184 section 5.1


class Player(Feeder):
    """Feeds what is in containers.

    Args:
        name: what it shows, for people.
        containers: open ones, each on a thread of its own if there are several.
        live: whether they are devices, which have a pace of their own.
        loop: whether to begin again at the end.
        size: of the pictures; None for theirs.
        broken: what it means when reading fails.
    """

    def __init__(
        self,
        name: str,
        container: InputContainer,
        *,
        live: bool,
        loop: bool,
        size: tuple[int | None, int | None],
        broken: Callable[[Exception], TransferError],
    ) -> None:
        super().__init__(name)
        self._container = container
        self._live = live
        self._loop_clip = loop
        self._size = size
        self._broken = broken
        self._sound = AudioResampler("s16", "stereo", SOUND_RATE, SOUND_FRAME)
        self._heard = 0  # samples

    def _close(self) -> None:
        self._container.close()

    def _run(self) -> None:
        try:
            self._play_through()
        except (OSError, ValueError) as error:  # also from a clip that can't begin again
            raise self._broken(error) from error

    def _play_through(self) -> None:
        shift = 0.0
        while not self._halted.is_set():
            length = self._play(shift)
            if not self._loop_clip or not length:
                return
            shift += length
            self._container.seek(0)
            for stream in _used(self._container):
                stream.codec_context.flush_buffers()

    def _play(self, shift: float) -> float:
        """From the start to the end; how long that was, in seconds."""
        first: float | None = None
        end = 0.0
        for frame in self._decoded():
            if self._halted.is_set() or frame.time is None:
                continue
            first = frame.time if first is None else first
            at = frame.time - first + shift
            if not self._live:
                self._wait_until(at)
            if isinstance(frame, VideoFrame):
                end = max(end, at - shift + self._picture_seconds())
                self._picture(frame, at)
            else:
                end = max(end, at - shift + frame.samples / frame.sample_rate)
                self._hear(frame)
        return end

    def _decoded(self) -> Iterator[Any]:
        streams = _used(self._container)
        while not self._halted.is_set():
            try:
                yield from self._container.decode(*streams)
            except (OSError, ValueError) as error:
                if getattr(error, "errno", None) == errno.EAGAIN:
                    self._halted.wait(AGAIN)
                    continue
                if isinstance(error, av.error.EOFError):
                    return
                raise self._broken(error) from error
            return

    def _picture_seconds(self) -> float:
        rate = self._container.streams.video[0].average_rate
        return float(1 / rate) if rate else 0.0

    def _picture(self, frame: VideoFrame, at: float) -> None:
        width, height = fitted(frame.width, frame.height, self._size)
        if (width, height, "yuv420p") != (frame.width, frame.height, frame.format.name):
            frame = frame.reformat(width=width, height=height, format="yuv420p")
        frame.pts, frame.time_base = round(at * _CLOCK), Fraction(1, _CLOCK)
        frame.pict_type = av.video.frame.PictureType.NONE  # what it was in the clip
        self._feed("video", frame)

    def _hear(self, frame: AudioFrame) -> None:
        frame.pts = None  # counted anew: a clip that begins again would go back in time
        for part in self._sound.resample(frame):
            part.pts, part.time_base = self._heard, Fraction(1, SOUND_RATE)
            self._heard += part.samples
            self._feed("audio", part)


def open_clip(path: str) -> InputContainer:
    """Open a file to be played.

    Raises:
        LocalFileError: there is none, or nothing in it can be shown.
    """
    try:
        container = av.open(path, "r")
    except (OSError, ValueError) as error:
        raise unreadable(error, path) from error
    if not container.streams.video:
        container.close()
        raise LocalFileError(f"{path} has no pictures", "name a clip with video, or test:")
    return container


def unreadable(error: Exception, path: str) -> LocalFileError:
    """What it means that a clip can't be opened or read."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return LocalFileError(
        f"can't play {path}: {reason}", "name a file that FFmpeg can read, or test:"
    )


def fitted(width: int, height: int, asked: tuple[int | None, int | None]) -> tuple[int, int]:
    """The size that a picture is sent in: as asked, its shape kept if one side is, and even."""
    wide, high = asked
    if wide is None and high is None:
        scale = min(1.0, LARGEST / max(width, height))
        wide, high = round(width * scale), round(height * scale)
    elif wide is None:
        assert high is not None
        wide = round(width * high / height)
    elif high is None:
        high = round(height * wide / width)
    return max(2, wide & ~1), max(2, high & ~1)


def _used(container: InputContainer) -> Sequence[Any]:
    return [*container.streams.video[:1], *container.streams.audio[:1]]
