"""What an encoded picture says of itself before anybody decodes it: is it whole, how large is it.

Decoders take memory for whatever size a picture claims to have, so that is read here first. Bytes
only: no codec runs, and nothing but these two formats is known.
"""

from __future__ import annotations

import re

from msgspec import Struct

MAX_SIDE = 4096  # pixels
MAX_PIXELS = 4096 * 2304  # what level 5.1 of H.264 allows: ITU-T H.264 table A-1

_VP8_START = b"\x9d\x01\x2a"  # RFC 6386 section 9.1
_VP8_HEADER = 10  # bytes of a key frame up to its size
_NAL_START = re.compile(rb"\x00\x00\x01")
_IDR, _SPS = 5, 7  # nal_unit_type: ITU-T H.264 table 7-1
_LONGEST_SPS = 256  # bytes; an honest one has about 30
# Profiles whose sets the recommendation and FFmpeg read alike, without and with the fields of High.
_PLAIN = frozenset({66, 77, 88})
_HIGH = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 138, 244})
_MOST_CYCLE = 255  # num_ref_frames_in_pic_order_cnt_cycle: section 7.4.2.1.1
_YUV420 = 1  # chroma_format_idc: section 6.2


class Picture(Struct, frozen=True):
    """An encoded picture.

    Attributes:
        key: whether it needs no other.
        width: in pixels; 0 where it doesn't say, as pictures that need others don't.
        height: in pixels, or 0.
    """

    key: bool
    width: int = 0
    height: int = 0

    @property
    def bounded(self) -> bool:
        """Whether it is small enough to be decoded."""
        sides = max(self.width, self.height)
        return sides <= MAX_SIDE and self.width * self.height <= MAX_PIXELS


def inspect(codec: str, data: bytes) -> Picture | None:
    """Look at one picture.

    Args:
        codec: ``VP8`` or ``H264``.
        data: the frame, or the access unit with start codes (ITU-T H.264 annex B).

    Returns:
        What it says; None if it is none, or not wholly there.
    """
    return _vp8(data) if codec == "VP8" else _h264(data)


def _vp8(data: bytes) -> Picture | None:
    if not data:
        return None
    if data[0] & 1:
        return Picture(key=False)
    if len(data) < _VP8_HEADER or data[3:6] != _VP8_START:
        return None
    width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return Picture(key=True, width=width, height=height) if width and height else None


def _h264(data: bytes) -> Picture | None:
    starts = [match.end() for match in _NAL_START.finditer(data)]
    if not starts or data[: starts[0]].strip(b"\0\1"):
        return None  # its beginning was lost
    kinds = [data[at] & 0x1F for at in starts if at < len(data)]
    width = height = 0
    for at, kind in zip(starts, kinds, strict=False):
        if kind != _SPS:
            continue
        following = _NAL_START.search(data, at)
        end = len(data) if following is None else following.start()
        size = _sps_size(data[at + 1 : min(end, at + 1 + _LONGEST_SPS)])
        if size is None:
            return None
        width, height = max(width, size[0]), max(height, size[1])
    return Picture(_IDR in kinds and _SPS in kinds, width, height)


def _sps_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a sequence parameter set, which must not have two meanings.

    FFmpeg reads one a second time, its emulation prevention left in, if it fails the first time.
    """
    size = _read_size(data)
    return size if size == _read_size(data.replace(b"\0\0\3", b"\0\0")) else None


def _read_size(data: bytes) -> tuple[int, int] | None:
    """None unless it is of 8 bits, 4:2:0: ITU-T H.264 section 7.3.2.1.1."""
    bits = _Bits(data)
    try:
        profile = bits.take(8)
        bits.take(16)  # constraints and level
        bits.golomb()
        if profile in _HIGH:
            if bits.golomb() != _YUV420 or bits.golomb() or bits.golomb():
                return None
            bits.take(1)
            if bits.take(1):
                return None  # scaling lists: no encoder for calls has any
        elif profile not in _PLAIN:
            return None
        bits.golomb()
        _skip_order_count(bits)
        bits.golomb()
        bits.take(1)
        across, down = bits.golomb() + 1, bits.golomb() + 1
        rows = 16 if bits.take(1) else 32
    except ValueError:
        return None
    return across * 16, down * rows


def _skip_order_count(bits: _Bits) -> None:
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        cycle = bits.golomb()
        if cycle > _MOST_CYCLE:
            raise ValueError
        for _ in range(cycle):
            bits.golomb()


class _Bits:
    """Reads numbers off bytes, the most significant bit first; ValueError at the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def golomb(self) -> int:
        """Exp-Golomb, signed ones as they are coded: ITU-T H.264 section 9.1."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:  # noqa: PLR2004  # bits of the largest number
                raise ValueError
        return (1 << zeros) - 1 + self.take(zeros)
