"""What a test sees and hears of the test pattern and its tone, without trusting what made them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import Any

import av

BARS = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0)]
BARS += [(191, 0, 191), (191, 0, 0), (0, 0, 191), (0, 0, 0)]
BITS = 16

Pixel = Callable[[int, int], tuple[int, int, int]]


def pixels(frame: Any) -> Pixel:
    """Red, green and blue at a place of a decoded picture."""
    plane = frame.reformat(format="rgb24").planes[0]
    raw, stride = bytes(plane), plane.line_size
    return lambda x, y: tuple(raw[y * stride + 3 * x :][:3])


def furthest(pixel: Pixel, width: int, height: int) -> int:
    """How far any pixel inside the bars, their edges aside, is from what it should be."""
    worst = 0
    for number, bar in enumerate(BARS):
        left, right = number * width // 8 + 4, (number + 1) * width // 8 - 4
        for x in range(left, right, 5):
            for y in range(4, height * 3 // 4 - 8, 7):
                seen = pixel(x, y)
                worst = max(worst, *(abs(a - b) for a, b in zip(seen, bar, strict=True)))
    return worst


def number(pixel: Pixel, width: int, height: int) -> int:
    """The number that the picture carries."""
    y = height * 7 // 8
    bits = [pixel(bit * width // BITS + width // BITS // 2, y)[1] > 127 for bit in range(BITS)]
    return sum(1 << (BITS - 1 - place) for place, bit in enumerate(bits) if bit)


def tone(samples: array, rate: int) -> float:
    """The strongest frequency from 200 to 800 Hz of one channel, in steps of 10 Hz (Goertzel)."""

    def power(frequency: float) -> float:
        factor = 2 * math.cos(2 * math.pi * frequency / rate)
        before = last = 0.0
        for sample in samples:
            before, last = last, sample + factor * last - before
        return last * last + before * before - factor * last * before

    return max(range(200, 801, 10), key=power)


def heard(path: Any) -> tuple[array, int]:
    """The first channel of a file's sound, and how many samples a second it has."""
    mono = av.AudioResampler("s16", "mono", 48_000)
    found = array("h")
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            for part in mono.resample(frame):
                found.frombytes(bytes(part.planes[0])[: 2 * part.samples])
    return found, 48_000
