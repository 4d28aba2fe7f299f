"""Type-length-value lists: parameters of chunks and, of the same shape, error causes.

RFC 9260 sections 3.2.1 and 3.3.10. A list is a tuple of (type, value) pairs; a value excludes the
four bytes of its header and the padding after it. What a value means is for whoever knows the
chunk; here are only the ones that INIT and INIT ACK bear, and what to do with a type that nobody
knows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, TypeAlias

Tlv: TypeAlias = tuple[int, bytes]
Tlvs: TypeAlias = tuple[Tlv, ...]

HEADER: Final = struct.Struct(">HH")
"""Type and length, the length with this header and without padding."""

_U32 = struct.Struct(">I")
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
_MAX_VALUE: Final = 0xFFFF - HEADER.size


class Malformed(ValueError):
    """These bytes are not what RFC 9260 and its kin describe."""


class ParameterType(IntEnum):
    """Parameters of INIT and INIT ACK, HEARTBEAT and RE-CONFIG."""

    HEARTBEAT_INFO = 1  # RFC 9260 section 3.3.5
    IPV4_ADDRESS = 5
    IPV6_ADDRESS = 6
    STATE_COOKIE = 7  # RFC 9260 section 3.3.3.1
    UNRECOGNIZED = 8
    COOKIE_PRESERVATIVE = 9
    HOST_NAME = 11
    SUPPORTED_ADDRESS_TYPES = 12
    OUTGOING_RESET_REQUEST = 13  # RFC 6525 section 4, these six
    INCOMING_RESET_REQUEST = 14
    TSN_RESET_REQUEST = 15
    RECONFIG_RESPONSE = 16
    ADD_OUTGOING_REQUEST = 17
    ADD_INCOMING_REQUEST = 18
    ZERO_CHECKSUM_ACCEPTABLE = 0x8001  # RFC 9653 section 4
    SUPPORTED_EXTENSIONS = 0x8008  # RFC 5061 section 4.2.7
    FORWARD_TSN_SUPPORTED = 0xC000  # RFC 3758 section 3.1


KNOWN: Final = frozenset(ParameterType)

DTLS_ERROR_DETECTION: Final = 1
"""The alternate error detection method that DTLS is, RFC 9653 section 8."""


def padded(length: int) -> int:
    """``length`` rounded up to a multiple of four (RFC 9260 section 3.2)."""
    return (length + 3) & ~3


def padding(length: int) -> bytes:
    """The zero bytes that follow ``length`` bytes: none to three."""
    return _PADDING[length & 3]


def read_tlvs(body: bytes) -> Tlvs:
    """The list that fills ``body``; the last one's padding may be there or not.

    Raises:
        Malformed: A length is too short for its header or leads out of the body.
    """
    found = []
    position, end = 0, len(body)
    while position < end:
        if end - position < HEADER.size:
            raise Malformed("a parameter has no room for its header")
        kind, length = HEADER.unpack_from(body, position)
        if length < HEADER.size or length > end - position:
            raise Malformed("the length of a parameter is wrong")
        found.append((kind, body[position + HEADER.size : position + length]))
        position += padded(length)
    return tuple(found)


def write_tlvs(tlvs: Iterable[Tlv]) -> bytes:
    """The list as bytes, the last one unpadded: a chunk's length leaves its padding out.

    Raises:
        ValueError: A value is longer than 65,531 bytes.
    """
    out = bytearray()
    for kind, value in tlvs:
        if len(value) > _MAX_VALUE:
            raise ValueError("a parameter's value is at most 65,531 bytes long")
        out += padding(len(out))
        out += HEADER.pack(kind, HEADER.size + len(value))
        out += value
    return bytes(out)


def stops(kind: int) -> bool:
    """Whether an unknown parameter of this type ends the reading of those after it.

    RFC 9260 section 3.2.1: the highest bit says to skip it and go on.
    """
    return not kind & 0x8000


def reports(kind: int) -> bool:
    """Whether an unknown parameter of this type is reported to the sender (section 3.2.1)."""
    return bool(kind & 0x4000)


def understood(tlvs: Tlvs) -> Tlvs:
    """The parameters of INIT or INIT ACK up to an unknown one that ends the reading."""
    for at, (kind, _) in enumerate(tlvs):
        if kind not in KNOWN and stops(kind):
            return tlvs[:at]
    return tlvs


def find(tlvs: Tlvs, kind: int) -> bytes | None:
    """The value of the first parameter of this type."""
    return next((value for found, value in tlvs if found == kind), None)


def supported_extensions(types: Iterable[int]) -> Tlv:
    """The parameter that lists chunk types of extensions (RFC 5061 section 4.2.7)."""
    return ParameterType.SUPPORTED_EXTENSIONS, bytes(types)


def extensions(tlvs: Tlvs) -> frozenset[int]:
    """Which chunk types of extensions the far end announces."""
    return frozenset(find(tlvs, ParameterType.SUPPORTED_EXTENSIONS) or b"")


def zero_checksum_acceptable(method: int = DTLS_ERROR_DETECTION) -> Tlv:
    """The parameter that lets the far end send packets without a CRC (RFC 9653 section 4)."""
    return ParameterType.ZERO_CHECKSUM_ACCEPTABLE, _U32.pack(method)


def accepts_zero_checksum(tlvs: Tlvs, method: int = DTLS_ERROR_DETECTION) -> bool:
    """Whether the far end takes packets without a CRC for this method, and no other reading."""
    return find(tlvs, ParameterType.ZERO_CHECKSUM_ACCEPTABLE) == _U32.pack(method)
