"""Packets: the common header, the checksum and whole chunks, to bytes and back.

RFC 9260 sections 3 and 6.8. `parse` knows structure alone and raises nothing but `Malformed`; what
`encode` writes it reads back the same. An association reads and writes here what does not belong to
it yet or any more; for its own packets wire.py and receiving.py have shorter ways.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from google_crc32c import value as _crc32c
from msgspec import Struct

from p2pxfer.sctp.chunks import (
    DATA,
    HEADER,
    Abort,
    Chunk,
    ChunkType,
    CookieAck,
    CookieEcho,
    Data,
    Error,
    ForwardTsn,
    Heartbeat,
    HeartbeatAck,
    Init,
    InitAck,
    Pad,
    Reconfig,
    Sack,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
    Unknown,
    read_chunk,
    write_chunk,
)
from p2pxfer.sctp.parameters import Malformed, padded

__all__ = [
    "CHECKSUM",
    "COMMON",
    "COMMON_SIZE",
    "DATA",
    "HEADER",
    "Abort",
    "Chunk",
    "ChunkType",
    "CookieAck",
    "CookieEcho",
    "Data",
    "Error",
    "ForwardTsn",
    "Heartbeat",
    "HeartbeatAck",
    "Init",
    "InitAck",
    "Malformed",
    "Packet",
    "Pad",
    "Reconfig",
    "Sack",
    "Shutdown",
    "ShutdownAck",
    "ShutdownComplete",
    "Unknown",
    "checksum",
    "checksum_valid",
    "encode",
    "parse",
]

COMMON: Final = struct.Struct(">HHI")
"""Source port, destination port, verification tag; the checksum follows (section 3.1)."""

CHECKSUM: Final = struct.Struct("<I")
"""CRC32c goes out least significant byte first (Appendix A)."""

COMMON_SIZE: Final = COMMON.size + CHECKSUM.size

_NO_CHECKSUM: Final = bytes(CHECKSUM.size)
_ALONE: Final = {ChunkType.INIT, ChunkType.INIT_ACK, ChunkType.SHUTDOWN_COMPLETE}


class Packet(Struct, frozen=True):
    """One SCTP packet; ``checksum`` as it came, right or wrong or zero."""

    source: int
    destination: int
    tag: int
    checksum: int
    chunks: tuple[Chunk, ...]


def checksum(data: bytes) -> int:
    """CRC32c over a packet as if its checksum field were zero (section 6.8)."""
    crc: int = _crc32c(data[: COMMON.size] + _NO_CHECKSUM + data[COMMON_SIZE:])
    return crc


def checksum_valid(data: bytes) -> bool:
    """Whether a packet bears its CRC32c; anything shorter than a header does not."""
    return len(data) >= COMMON_SIZE and bool(
        CHECKSUM.unpack_from(data, COMMON.size)[0] == checksum(data)
    )


def parse(data: bytes) -> Packet:
    """Read a packet; whether the checksum, the tag or the ports are right is not asked here.

    Raises:
        Malformed: A length is wrong, there is no chunk, or one that travels alone does not
            (section 6.10).
    """
    end = len(data)
    if end < COMMON_SIZE:
        raise Malformed("too short for a packet")
    if end & 3:
        raise Malformed("the length of a packet is a multiple of four")
    source, destination, tag = COMMON.unpack_from(data)
    chunks = []
    alone = False
    position = COMMON_SIZE
    while position < end:  # both are multiples of four, so a header fits
        kind, flags, length = HEADER.unpack_from(data, position)
        if length < HEADER.size or length > end - position:
            raise Malformed("the length of a chunk is wrong")
        chunks.append(read_chunk(kind, flags, data[position + HEADER.size : position + length]))
        alone = alone or kind in _ALONE
        position += padded(length)
    if not chunks or (alone and len(chunks) > 1):
        raise Malformed("no chunk, or one beside another that must travel alone")
    return Packet(
        source, destination, tag, CHECKSUM.unpack_from(data, COMMON.size)[0], tuple(chunks)
    )


def encode(
    tag: int,
    chunks: Iterable[Chunk],
    *,
    source: int = 5000,
    destination: int = 5000,
    zero_checksum: bool = False,
) -> bytes:
    """A packet of these chunks, with its CRC32c or with zero in its place (RFC 9653).

    Raises:
        ValueError: A chunk would be longer than 65,535 bytes.
    """
    common = COMMON.pack(source, destination, tag)
    body = b"".join(map(write_chunk, chunks))
    if zero_checksum:
        return common + _NO_CHECKSUM + body
    return common + CHECKSUM.pack(_crc32c(common + _NO_CHECKSUM + body)) + body
