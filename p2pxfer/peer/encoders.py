"""aiortc's encoders, for stills that are to be sharp and in the right colours.

Its bit rates are those of a video call, and its H.264 does not say which colours are meant; then
Chromium takes them for BT.709, and everybody else for BT.601. Both are changed in aiortc's modules,
by names that it publishes, or they stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from aiortc import codecs
from aiortc.codecs import h264, vpx

FIRST_BITRATE = 2_500_000  # bits per second of a video until the far end says what gets through
MOST_BITRATE = 8_000_000
_CHANGE = 0.1  # of the bit rate, from which on aiortc begins a new stream
_BT601 = 6  # SMPTE 170M, of each of the three: ITU-T H.273 tables 2 to 4
_LIMITED = 1  # AVCOL_RANGE_MPEG


class NamedColours(h264.H264Encoder):
    """aiortc's H.264, whose stream says that its colours are those of BT.601."""

    def _encode_frame(self, frame: av.VideoFrame, force_keyframe: bool) -> Iterator[bytes]:
        codec = self.codec
        if (
            codec is None
            or (frame.width, frame.height) != (codec.width, codec.height)
            or abs(self.target_bitrate - (codec.bit_rate or 0)) > _CHANGE * (codec.bit_rate or 0)
        ):
            self.codec = self._made(frame.width, frame.height)
        yield from super()._encode_frame(frame, force_keyframe)

    def _made(self, width: int, height: int) -> Any:
        """What aiortc would make, and the colours."""
        codec: Any = av.CodecContext.create("libx264", "w")
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.bit_rate = self.target_bitrate
        codec.framerate = Fraction(h264.MAX_FRAME_RATE, 1)
        codec.time_base = Fraction(1, h264.MAX_FRAME_RATE)
        codec.options = {"tune": "zerolatency"}
        codec.profile = "Baseline"
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT601
        codec.color_range = _LIMITED
        return codec


def improve() -> None:
    """Have every connection of this process encode so."""
    vpx.DEFAULT_BITRATE = h264.DEFAULT_BITRATE = FIRST_BITRATE
    vpx.MAX_BITRATE = h264.MAX_BITRATE = MOST_BITRATE
    codecs.H264Encoder = NamedColours  # type: ignore[attr-defined]  # what its `get_encoder` makes
