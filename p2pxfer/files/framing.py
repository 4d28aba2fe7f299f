"""Records one after another in a file, each with a checksum. Pure; no disk.

    record = mark F1 70 32 78 || u32 length of body || u32 CRC-32 || u8 kind || body

Integers are big-endian; the CRC-32 (zlib's) is over the body and starts from the kind. Where one
record is damaged, the next is found by its mark; what a killed writer has left torn at the end is
passed over likewise. So each record that is whole counts, in its order among the others.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from struct import Struct

MAX_BODY = 128 * 1024  # bytes: the longest path and a name fit well

_MARK = b"\xf1p2x"
_HEAD = Struct(">4sIIB")
_MOST_WASTED = 16 * 1024 * 1024  # bytes checked in vain before the rest is given up


def encoded(kind: int, body: bytes = b"") -> bytes:
    """One record."""
    return _HEAD.pack(_MARK, len(body), zlib.crc32(body, kind), kind) + body


def encoded_all(kind: int, bodies: Iterable[bytes]) -> bytes:
    """One record of each body, one after another."""
    head, checksum = _HEAD.pack, zlib.crc32
    parts: list[bytes] = []
    for body in bodies:
        parts.append(head(_MARK, len(body), checksum(body, kind), kind))
        parts.append(body)
    return b"".join(parts)


def decoded(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The kinds and bodies of all whole records, in order."""
    at = wasted = 0
    while wasted < _MOST_WASTED:
        at = data.find(_MARK, at)
        if at < 0 or at + _HEAD.size > len(data):
            return
        _, length, checksum, kind = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size
        if length <= MAX_BODY and start + length <= len(data):
            body = data[start : start + length]
            if zlib.crc32(body, kind) == checksum:
                yield kind, body
                at = start + length
                continue
            wasted += length
        at += 1
        wasted += 1
