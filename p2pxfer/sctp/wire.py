"""How this association's packets begin: ports, tag and checksum, on both ways.

What the fast paths need is computed once here. Parsing and encoding of everything else is
packets.py's.
"""

from __future__ import annotations

import struct
from typing import Final

import google_crc32c

HEADER: Final = 12  # bytes of the common header (RFC 9260 section 3.1)
DATA_HEADER: Final = 16  # bytes of a DATA chunk before its user data (section 3.3.1)
OVERHEAD: Final = HEADER + DATA_HEADER
# ports and tag, checksum, type with flags and length, TSN, stream with sequence number and PPID
FIELDS: Final = struct.Struct(">QIIIQ")
CHUNK: Final = struct.Struct(">IIQ")
_BEGIN: Final = struct.Struct(">HHI")
_crc = google_crc32c.extend


class Wire:
    """One direction's constant beginning of packets.

    Attributes:
        begin: ports and tag, 8 bytes.
        number: the same as an integer.
        head: the whole common header with a zero checksum, 12 bytes.
        zero: packets leave with a zero checksum (RFC 9653).
    """

    __slots__ = ("_state", "begin", "head", "number", "zero")

    def __init__(self, source: int, destination: int, tag: int, *, zero: bool = False) -> None:
        self.begin = _BEGIN.pack(source, destination, tag)
        self.number = int.from_bytes(self.begin, "big")
        self.head = self.begin + bytes(4)
        self.zero = zero
        self._state = google_crc32c.value(self.head)

    def wrap(self, chunks: bytes) -> bytes:
        """A packet of one or more padded chunks."""
        if self.zero:
            return self.head + chunks
        crc: int = _crc(self._state, chunks)
        return self.begin + crc.to_bytes(4, "little") + chunks

    def valid(self, packet: bytes, checksum: int) -> bool:
        """Whether a packet that begins this way carries its CRC32c (RFC 9260 appendix A).

        Args:
            packet: all of it.
            checksum: its field, read as a big-endian integer.
        """
        crc: int = _crc(self._state, packet[HEADER:])
        return crc.to_bytes(4, "big") == checksum.to_bytes(4, "little")
