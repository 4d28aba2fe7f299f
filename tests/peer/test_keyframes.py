"""Pictures before they are decoded: what real encoders make is read right, all else is survived."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.peer.keyframes import MAX_SIDE, Picture, inspect

ENCODERS = {"VP8": ("libvpx", {"deadline": "realtime"}), "H264": ("libx264", {"bf": "0"})}
VP8_KEY = b"\x10\x02\x00\x9d\x01\x2a"


def encoded(codec: str, width: int, height: int, profile: str = "") -> list[bytes]:
    """Two pictures, the second of which needs the first."""
    name, options = ENCODERS[codec]
    context = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = Fraction(1, 30)
    context.options = options | ({"profile": profile} if profile else {})
    packets = []
    for number in range(2):
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts, frame.time_base = number, Fraction(1, 30)
        packets += context.encode(frame)
    return [bytes(packet) for packet in packets + context.encode(None)]


@pytest.mark.parametrize(
    ("codec", "profile"), [("VP8", ""), ("H264", "baseline"), ("H264", "high")]
)
@pytest.mark.parametrize("size", [(640, 480), (322, 242)])
def test_what_encoders_make_is_read(codec, profile, size):
    """Key or not, and how large; H.264 tells its size in blocks of 16."""
    first, second = encoded(codec, *size, profile)
    told = inspect(codec, first)
    assert told is not None
    assert told.key
    step = 16 if codec == "H264" else 1
    assert (told.width, told.height) == tuple(-(-side // step) * step for side in size)
    assert inspect(codec, second) == Picture(key=False)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_picture_that_lost_its_beginning_is_none(codec):
    """It must not be taken for one that needs no other."""
    first, _ = encoded(codec, 640, 480)
    for lost in (5, 7, 20, len(first) // 2):
        told = inspect(codec, first[lost:])
        assert told is None or not told.key


@pytest.mark.parametrize(
    ("width", "height", "bounded"),
    [(1920, 1080, True), (MAX_SIDE, 2304, True), (MAX_SIDE + 1, 16, False), (4096, 4096, False)],
)
def test_a_picture_that_claims_to_be_huge_is_not_bounded(width, height, bounded):
    """Ten bytes are enough to claim it."""
    claim = VP8_KEY + width.to_bytes(2, "little") + height.to_bytes(2, "little")
    told = inspect("VP8", claim)
    assert told is not None
    assert told.bounded is bounded


def sps(profile: int, *numbers: int) -> bytes:
    """An access unit whose parameter set is of that profile, then only Exp-Golomb numbers."""
    bits = f"{profile:08b}{0:016b}"
    for number in numbers:
        bits += f"{number + 1:0{2 * (number + 1).bit_length() - 1}b}"
    bits += "1" + "0" * (-(len(bits) + 1) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\0\0\1\x67" + data + b"\0\0\1\x65\x88"


def test_a_size_that_a_decoder_may_read_otherwise_is_none():
    """Of a profile that not all take for a high one; in other colours, or more bits."""
    plain = (0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0)
    assert inspect("H264", sps(66, *plain)) is not None
    for profile in (134, 135, 139, 144):
        assert inspect("H264", sps(profile, *plain)) is None
    for colours in ((3, 0, 0), (1, 2, 0), (1, 0, 2), (0, 0, 0)):
        assert inspect("H264", sps(100, 0, *colours, *plain)) is None


def test_a_size_that_escapes_change_is_none():
    """FFmpeg tries a second time with them, if the first fails."""
    start = b"\x67\x42\0\0"
    plain = sps(66, 0, 0, 2, 0, 0, 100, 50, 0)  # pictures of 101 by 51 blocks
    assert inspect("H264", plain) == Picture(key=True, width=1616, height=816)
    assert inspect("H264", plain.replace(start, start + b"\3")) is None


@given(
    st.sampled_from(["VP8", "H264"]),
    st.binary(max_size=64).map(lambda data: b"\0\0\1\x67" + data) | st.binary(max_size=64),
)
def test_any_bytes_are_looked_at(codec, data):
    """A picture or none, and never an error."""
    told = inspect(codec, data)
    assert told is None or told.width >= 0
