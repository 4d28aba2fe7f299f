"""A test pattern: eight colour bars, under them the picture's number; a tone of 440 Hz.

So that a camera's way can be tried without one, and measured: whoever receives the pattern can
tell from its pixels which picture it is, and that none of them is wrong.
"""

from __future__ import annotations

import math
from array import array
from fractions import Fraction
from typing import Final

from av import AudioFrame, VideoFrame

from p2pxfer.media.feeding import SOUND_FRAME, SOUND_RATE, Feeder

NAME: Final = "test pattern"
# 75 % bars, as broadcasters have them: white, yellow, cyan, green, magenta, red, blue, black.
BARS: Final = (
    (191, 191, 191),
    (191, 191, 0),
    (0, 191, 191),
    (0, 191, 0),
    (191, 0, 191),
    (191, 0, 0),
    (0, 0, 191),
    (0, 0, 0),
)
BITS: Final = 16  # blocks of the number, the most significant on the left, white for 1
TONE: Final = 440  # Hz
_LOUDNESS = 0.25  # of what a sample can hold
_BLACK, _WHITE, _GREY = 16, 235, 128  # luma and neutral chroma: ITU-R BT.601


class Pattern(Feeder):
    """Feeds pictures of the pattern, and the tone.

    Args:
        width: in pixels.
        height: in pixels.
        rate: pictures a second.
    """

    def __init__(self, width: int, height: int, rate: float) -> None:
        super().__init__(NAME)
        self._canvas = Canvas(width, height)
        self._rate = Fraction(rate).limit_denominator(1001)

    def _run(self) -> None:
        picture = sound = 0
        tone = samples()
        while not self._halted.is_set():
            at, heard = picture / self._rate, Fraction(sound * SOUND_FRAME, SOUND_RATE)
            self._wait_until(float(min(at, heard)))
            if at <= heard:
                frame = self._canvas.picture(picture)
                frame.pts, frame.time_base = round(at * 90_000), Fraction(1, 90_000)
                self._feed("video", frame)
                picture += 1
            else:
                self._feed("audio", _tone(tone, sound))
                sound += 1


class Canvas:
    """Draws pictures of one size."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        row = b"".join(bytes(BARS[x * len(BARS) // width]) for x in range(width))
        drawn = VideoFrame(width, height, "rgb24")
        plane = drawn.planes[0]
        plane.update(row.ljust(plane.line_size, b"\0") * height)
        bars = drawn.reformat(format="yuv420p")
        self._planes = [bytes(plane) for plane in bars.planes]
        self._top = height * 3 // 4 & ~1  # the first row of the number

    def picture(self, number: int) -> VideoFrame:
        """The picture with that number, of which the lowest 16 bits are shown."""
        frame = VideoFrame(self.width, self.height, "yuv420p")
        luma = bytes(
            _WHITE if number >> (BITS - 1 - x * BITS // self.width) & 1 else _BLACK
            for x in range(self.width)
        )
        for index, plane in enumerate(frame.planes):
            stride = plane.line_size
            top = self._top if index == 0 else self._top // 2
            below = luma if index == 0 else bytes([_GREY]) * (stride)
            rows = plane.height - top
            plane.update(self._planes[index][: top * stride] + below.ljust(stride, b"\0") * rows)
        return frame


def samples() -> bytes:
    """One second of the tone, both channels, as 16-bit integers."""
    peak = _LOUDNESS * 32_767
    one = [round(peak * math.sin(2 * math.pi * TONE * n / SOUND_RATE)) for n in range(SOUND_RATE)]
    return array("h", (value for value in one for _ in range(2))).tobytes()


def _tone(second: bytes, number: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="stereo", samples=SOUND_FRAME)
    size = SOUND_FRAME * 4
    at = number % (SOUND_RATE // SOUND_FRAME) * size
    frame.planes[0].update(second[at : at + size])
    frame.sample_rate = SOUND_RATE
    frame.pts, frame.time_base = number * SOUND_FRAME, Fraction(1, SOUND_RATE)
    return frame
