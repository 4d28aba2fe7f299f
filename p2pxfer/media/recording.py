"""Recording: received frames into an MP4, Matroska or WebM, as one piece or as a stream.

Pictures of several cameras become as many video streams. What came late or got lost leaves no hole
in the sound: silence takes its place, so that pictures and sound stay together. A camera that shows
nothing more keeps its last picture. Everything here blocks; run it in a worker thread.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, BinaryIO, Final, Literal, Protocol

import av
from av import AudioFrame, AudioResampler, VideoFrame
from msgspec import Struct

from p2pxfer.errors import LocalFileError, UsageError
from p2pxfer.media.feeding import SOUND_RATE, blank
from p2pxfer.tracks import Kind, Received

Container = Literal["mp4", "matroska", "webm"]
SUFFIXES: Final[dict[str, Container]] = {".mp4": "mp4", ".mkv": "matroska", ".webm": "webm"}
_CLOCK = 1000  # ticks a second, as Matroska has them
_CODECS = {
    "mp4": ("libx264", "aac"),
    "matroska": ("libx264", "libopus"),
    "webm": ("libvpx", "libopus"),
}
_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "20"},
    "libvpx": {"deadline": "realtime", "cpu-used": "6", "b": "4M", "crf": "10"},
}
_STREAMED = {"movflags": "frag_keyframe+delay_moov+default_base_moof"}  # an MP4 that never seeks
# One that plays up to its last second also if it gets no end; finished, it is like any other.
_PLACED = {"movflags": "hybrid_fragmented+delay_moov", "frag_duration": "1000000"}  # microseconds
_BOX = struct.Struct(">I4sQ")  # the head of a box: its length, what it is, its length if that is 1
_LEAST_BOX = 8  # bytes of one
_FAULTS = (av.error.FFmpegError, OSError, ValueError)  # what writing raises
_SMALLEST = 16  # pixels of a side that every encoder here takes
_GAP = 0.04  # seconds of sound that may be missing before silence takes its place
_LAG = 2.0  # seconds that a stream may be behind the others before something fills it
_SILENCE = 1.0  # seconds of it that are made at once
_JUMP = 10.0  # seconds that a sender's clock may differ from this side's; then it is set anew
_GATHER = 3.0  # seconds that other cameras have to show something once the first does


class Writer(Protocol):
    """Where a stream goes."""

    def write(self, data: bytes, /) -> int | None:
        """Take ``data``."""


class _Film(Struct):
    """What one camera shows.

    Attributes:
        stream: PyAV's; None until the file has begun.
        first: what it has shown before that, the newest.
        shown: what it shows since; black before it has shown anything.
        last: the time of its last picture, in ticks.
    """

    title: str
    stream: Any = None
    first: Received | None = None
    shown: Any = None
    last: int = -1


class Recording:
    """One recording under way.

    Args:
        file: where it goes; a `BinaryIO` that seeks, or a `Writer` for a stream.
        container: which format.
        audio: whether sound is expected.
        titles: what each camera is called, if there are several.
        streamed: whether it is written from front to back.
        limit: seconds after which nothing more is taken.

    Attributes:
        pictures: how many were recorded.
        seconds: how long it is by now.
        full: whether it has all the seconds it was to have.
    """

    def __init__(
        self,
        file: BinaryIO | Writer,
        container: Container,
        *,
        audio: bool,
        streamed: bool,
        titles: Sequence[str] = ("",),
        limit: float | None = None,
    ) -> None:
        self.pictures = 0
        self.seconds = 0.0
        self.full = False
        self._limit = limit
        self._fragmented = container == "mp4"
        options = (_STREAMED if streamed else _PLACED) if container == "mp4" else {}
        self._container = av.open(file, "w", format=container, container_options=options)
        self._video_codec, self._audio_codec = _CODECS[container]
        self._films = [_Film(title) for title in titles]
        self._audio: Any = self._add_audio() if audio else None
        self._begun = False  # whether the streams are in the file, which are added all at once
        self._seen: float | None = None  # when the first picture came
        self._zero = 0.0  # when what is in the file begins
        self._offsets: dict[tuple[Kind, int], float] = {}
        self._samples: int | None = None  # of sound that are in, silence counted

    def add(self, kind: Kind, received: Received, number: int = 0) -> None:
        """Record one frame.

        Args:
            kind: what it is.
            received: the frame.
            number: of the camera that shows it, from 0.

        Raises:
            LocalFileError: it can't be written.
        """
        try:
            if not self._begun:
                if kind == "video":
                    self._await_others(received, number)
                return  # sound: nobody sees what it belongs to
            self._add(kind, received, number)
        except _FAULTS as error:
            raise _unwritable(error) from error

    def advance(self, now: float) -> None:
        """Time has passed, in seconds since 1970, whether or not anything came meanwhile."""
        if self._begun and self._limit is not None and now - self._zero >= self._limit + _LAG:
            self.full = True

    def finish(self) -> None:
        """Write what is still in the codecs, and the end.

        Raises:
            LocalFileError: it can't be written.
        """
        try:
            if not self._begun and self._seen is not None:
                self._begin(self._seen)
            if self._begun:
                for stream in (*(film.stream for film in self._films), self._audio):
                    if stream is not None:
                        self._container.mux(stream.encode(None))
            self._container.close()
        except _FAULTS as error:
            raise _unwritable(error) from error

    def leave_whole(self, file: BinaryIO) -> None:
        """Cut what got no end behind its last whole fragment: half of one can spoil all of it."""
        if not self._fragmented:
            return
        size, at, end = file.seek(0, os.SEEK_END), 0, 0
        while at + _BOX.size <= size:
            file.seek(at)
            length, kind, long = _BOX.unpack(file.read(_BOX.size))  # ISO/IEC 14496-12, 4.2
            at += max(long if length == 1 else length, _LEAST_BOX)
            if kind in (b"moov", b"mdat") and at <= size:
                end = at
        if end:
            file.truncate(end)

    def _await_others(self, received: Received, number: int) -> None:
        """Begin once every camera has shown its size; with the newest picture of each."""
        if self._seen is None:
            self._seen = received.arrived
        self._films[number].first = received
        if (
            all(film.first is not None for film in self._films)
            or received.arrived - self._seen > _GATHER
        ):
            self._begin(received.arrived)

    def _begin(self, zero: float) -> None:
        self._begun, self._zero = True, zero
        sizes = [(f.first.frame.width, f.first.frame.height) for f in self._films if f.first]
        for film in self._films:
            frame = film.first.frame if film.first is not None else None
            width, height = (frame.width, frame.height) if frame is not None else sizes[0]
            width, height = _even(width), _even(height)
            film.stream = self._add_video(width, height, film.title)
            empty = VideoFrame(width, height, "yuv420p")
            empty.pts, empty.time_base = 0, Fraction(1, _CLOCK)
            film.shown = blank(empty)
        for number, film in enumerate(self._films):
            if film.first is not None:
                self._add("video", film.first, number)
                film.first = None
            else:
                self._draw(film, 0.0)

    def _add(self, kind: Kind, received: Received, number: int) -> None:
        passed = max(0.0, received.arrived - self._zero)
        at = received.seconds + self._offsets.setdefault((kind, number), passed - received.seconds)
        if abs(at - passed) > _JUMP:  # a track that was off and comes back may count from anywhere
            at = passed
            self._offsets[kind, number] = at - received.seconds
        if self._limit is not None and at >= self._limit:
            self.full = self.full or kind == "video"
            return
        if kind == "video":
            self._picture(self._films[number], received.frame, at)
        elif self._audio is not None:
            self._hear(received.frame, at)
        self._keep_up(at)

    def _picture(self, film: _Film, frame: Any, at: float) -> None:
        if round(at * _CLOCK) <= film.last:
            return
        context = film.stream.codec_context
        film.shown = frame.reformat(width=context.width, height=context.height, format="yuv420p")
        self._draw(film, at)
        self.pictures += 1
        self.seconds = max(self.seconds, at)

    def _draw(self, film: _Film, at: float) -> None:
        """Encode what it shows, as of that time."""
        shown = film.shown
        pts, time_base = shown.pts, shown.time_base  # they belong to whoever gave it
        film.last = shown.pts = round(at * _CLOCK)
        shown.time_base = Fraction(1, _CLOCK)
        shown.pict_type = av.video.frame.PictureType.NONE
        try:
            self._container.mux(film.stream.encode(shown))
        finally:
            if time_base is not None:
                shown.pts, shown.time_base = pts, time_base

    def _keep_up(self, at: float) -> None:
        """Fill streams that are far behind: what is in the others stays in memory until then."""
        for film in self._films:
            if at - film.last / _CLOCK > _LAG:
                self._draw(film, at - _LAG / 2)
        if self._audio is not None and at - (self._samples or 0) / SOUND_RATE > _LAG:
            self._be_silent(at - _LAG / 2)

    def _hear(self, frame: AudioFrame, at: float) -> None:
        if self._samples is None:
            self._samples = max(0, round(at * SOUND_RATE))
        if at - self._samples / SOUND_RATE > _GAP:
            self._be_silent(at)
        self._encode_sound(frame)

    def _be_silent(self, until: float) -> None:
        """Fill what is missing of the sound; that time has passed here, so it has an end."""
        self._samples = self._samples or 0
        while (missing := round(until * SOUND_RATE) - self._samples) > 0:
            self._encode_sound(_silence(min(missing, round(_SILENCE * SOUND_RATE))))

    def _encode_sound(self, frame: AudioFrame) -> None:
        assert self._samples is not None
        frame.pts, frame.time_base = self._samples, Fraction(1, SOUND_RATE)
        self._samples += frame.samples
        for part in self._resampler.resample(frame):
            self._container.mux(self._audio.encode(part))

    def _add_video(self, width: int, height: int, title: str) -> Any:
        stream: Any = self._container.add_stream(
            self._video_codec, rate=30, options=dict(_OPTIONS[self._video_codec])
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        if title:
            stream.metadata["title"] = "".join(c for c in title if c.isascii() and c.isprintable())
        return stream

    def _add_audio(self) -> Any:
        stream: Any = self._container.add_stream(self._audio_codec, rate=SOUND_RATE)
        stream.layout = "stereo"
        context = stream.codec_context
        context.open()
        self._resampler = AudioResampler(
            context.format, context.layout, SOUND_RATE, context.frame_size or None
        )
        return stream


def container_of(name: str, asked: str | None) -> Container:
    """The format of a recording: as asked, else as its name ends; a stream is Matroska.

    Raises:
        UsageError: it is none of the known.
    """
    suffix = f".{asked}" if asked is not None else name[name.rfind(".") :].lower()
    if name == "-" and asked is None:
        return "matroska"
    if suffix not in SUFFIXES:
        raise UsageError(
            f"no recording can be called {name}" if asked is None else f"no format {asked}",
            "let it end in .mp4, .mkv or .webm, or choose with --format",
        )
    return SUFFIXES[suffix]


def _even(side: int) -> int:
    return max(_SMALLEST, side & ~1)


def _silence(samples: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="stereo", samples=samples)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate = SOUND_RATE
    return frame


def _unwritable(error: Exception) -> LocalFileError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return LocalFileError(f"the recording can't be written: {reason}")
