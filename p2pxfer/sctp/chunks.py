"""Chunks: one frozen class a type, and each to bytes and back.

RFC 9260 section 3.3, RFC 3758 (FORWARD-TSN), RFC 4820 (PAD), RFC 6525 (RE-CONFIG). Only structure
is known here: every length is checked, and what a number means in some state is for the
association. Bits of flags that mean nothing are dropped, as a receiver must.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, TypeAlias

from msgspec import Struct

from p2pxfer.sctp.parameters import (
    Malformed,
    ParameterType,
    Tlvs,
    padding,
    read_tlvs,
    write_tlvs,
)

HEADER: Final = struct.Struct(">BBH")
"""Type, flags and length of any chunk; the length counts this header, and no padding."""

DATA: Final = struct.Struct(">BBHIHHI")
"""Header of a DATA chunk in whole: type, flags, length, TSN, stream, SSN, PPID; payload next."""

# flags of DATA, RFC 9260 section 3.3.1
END: Final = 0x01
BEGIN: Final = 0x02
UNORDERED: Final = 0x04
IMMEDIATE: Final = 0x08

MAX_BODY: Final = 0xFFFF - HEADER.size

_DATA_BODY = struct.Struct(">IHHI")
_INIT = struct.Struct(">IIHHI")
_SACK = struct.Struct(">IIHH")
_GAP = struct.Struct(">HH")
_U32 = struct.Struct(">I")
_REFLECTED: Final = 0x01  # the T bit of ABORT and SHUTDOWN COMPLETE
_DATA_FLAGS: Final = END | BEGIN | UNORDERED | IMMEDIATE


class ChunkType(IntEnum):
    """The types that are spoken here; any other arrives as `Unknown`."""

    DATA = 0
    INIT = 1
    INIT_ACK = 2
    SACK = 3
    HEARTBEAT = 4
    HEARTBEAT_ACK = 5
    ABORT = 6
    SHUTDOWN = 7
    SHUTDOWN_ACK = 8
    ERROR = 9
    COOKIE_ECHO = 10
    COOKIE_ACK = 11
    SHUTDOWN_COMPLETE = 14
    RE_CONFIG = 130  # RFC 6525 section 3.1
    PAD = 132  # RFC 4820 section 3
    FORWARD_TSN = 192  # RFC 3758 section 3.2


class Data(Struct, frozen=True):
    """Part of a message, or the whole of one (section 3.3.1)."""

    flags: int
    tsn: int
    stream_id: int
    ssn: int
    ppid: int
    payload: bytes


class Init(Struct, frozen=True):
    """The first chunk of an association (section 3.3.2)."""

    tag: int
    rwnd: int
    outbound_streams: int
    inbound_streams: int
    tsn: int
    parameters: Tlvs = ()


class InitAck(Struct, frozen=True):
    """The answer to it, with the state cookie among the parameters (section 3.3.3)."""

    tag: int
    rwnd: int
    outbound_streams: int
    inbound_streams: int
    tsn: int
    parameters: Tlvs = ()


class Sack(Struct, frozen=True):
    """What arrived: gaps as (first, last) offsets from the cumulative TSN (section 3.3.4)."""

    cumulative_tsn: int
    rwnd: int
    gaps: tuple[tuple[int, int], ...] = ()
    duplicates: tuple[int, ...] = ()


class Heartbeat(Struct, frozen=True):
    """Bytes to be sent back (section 3.3.5)."""

    info: bytes


class HeartbeatAck(Struct, frozen=True):
    """The bytes of a HEARTBEAT (section 3.3.6)."""

    info: bytes


class Abort(Struct, frozen=True):
    """The end at once (section 3.3.7); ``reflected_tag`` is the T bit of section 8.5.1."""

    causes: Tlvs = ()
    reflected_tag: bool = False


class Shutdown(Struct, frozen=True):
    """Nothing more will be sent (section 3.3.8)."""

    cumulative_tsn: int


class ShutdownAck(Struct, frozen=True):
    """Nor from here (section 3.3.9)."""


class Error(Struct, frozen=True):
    """Something was not understood, and the association goes on (section 3.3.10)."""

    causes: Tlvs


class CookieEcho(Struct, frozen=True):
    """The state cookie on its way back (section 3.3.11)."""

    cookie: bytes


class CookieAck(Struct, frozen=True):
    """The association is up (section 3.3.12)."""


class ShutdownComplete(Struct, frozen=True):
    """The last chunk (section 3.3.13)."""

    reflected_tag: bool = False


class Reconfig(Struct, frozen=True):
    """Requests and responses that change streams (RFC 6525 section 3.1)."""

    parameters: Tlvs


class Pad(Struct, frozen=True):
    """Filling (RFC 4820 section 3); ``length`` is all of the chunk, four bytes at least."""

    length: int


class ForwardTsn(Struct, frozen=True):
    """TSNs that won't come, with the last SSN skipped a stream (RFC 3758 section 3.2)."""

    cumulative_tsn: int
    streams: tuple[tuple[int, int], ...] = ()


class Unknown(Struct, frozen=True):
    """A chunk of a type that is not spoken here; the bits of its type say what to do."""

    type: int
    flags: int
    body: bytes

    @property
    def stops(self) -> bool:
        """Whether the rest of the packet is dropped (RFC 9260 section 3.2)."""
        return not self.type & 0x80

    @property
    def reports(self) -> bool:
        """Whether the sender is told by an ERROR chunk (RFC 9260 section 3.2)."""
        return bool(self.type & 0x40)


Chunk: TypeAlias = (
    Data
    | Init
    | InitAck
    | Sack
    | Heartbeat
    | HeartbeatAck
    | Abort
    | Shutdown
    | ShutdownAck
    | Error
    | CookieEcho
    | CookieAck
    | ShutdownComplete
    | Reconfig
    | Pad
    | ForwardTsn
    | Unknown
)


# --- bytes -> chunk ------------------------------------------------------------------------------


def _exactly(body: bytes, size: int, what: str) -> None:
    if len(body) != size:
        raise Malformed(f"{what} has the wrong length")


def _read_data(flags: int, body: bytes) -> Data:
    if len(body) < _DATA_BODY.size:
        raise Malformed("DATA is too short")
    tsn, stream_id, ssn, ppid = _DATA_BODY.unpack_from(body)
    return Data(flags & _DATA_FLAGS, tsn, stream_id, ssn, ppid, body[_DATA_BODY.size :])


def _read_init(body: bytes) -> tuple[int, int, int, int, int, Tlvs]:
    if len(body) < _INIT.size:
        raise Malformed("INIT or INIT ACK is too short")
    tag, rwnd, outbound, inbound, tsn = _INIT.unpack_from(body)
    return tag, rwnd, outbound, inbound, tsn, read_tlvs(body[_INIT.size :])


def _read_sack(_flags: int, body: bytes) -> Sack:
    if len(body) < _SACK.size:
        raise Malformed("SACK is too short")
    cumulative, rwnd, gap_count, duplicate_count = _SACK.unpack_from(body)
    ends = _SACK.size + _GAP.size * gap_count
    _exactly(body, ends + _U32.size * duplicate_count, "SACK")
    return Sack(
        cumulative,
        rwnd,
        tuple(_GAP.iter_unpack(body[_SACK.size : ends])),
        tuple(tsn for (tsn,) in _U32.iter_unpack(body[ends:])),
    )


def _read_info(body: bytes) -> bytes:
    tlvs = read_tlvs(body)
    if len(tlvs) != 1 or tlvs[0][0] != ParameterType.HEARTBEAT_INFO:
        raise Malformed("HEARTBEAT or its answer bears no information")
    return tlvs[0][1]


def _read_shutdown(_flags: int, body: bytes) -> Shutdown:
    _exactly(body, _U32.size, "SHUTDOWN")
    return Shutdown(_U32.unpack(body)[0])


def _read_shutdown_ack(_flags: int, body: bytes) -> ShutdownAck:
    _exactly(body, 0, "SHUTDOWN ACK")
    return ShutdownAck()


def _read_cookie_ack(_flags: int, body: bytes) -> CookieAck:
    _exactly(body, 0, "COOKIE ACK")
    return CookieAck()


def _read_shutdown_complete(flags: int, body: bytes) -> ShutdownComplete:
    _exactly(body, 0, "SHUTDOWN COMPLETE")
    return ShutdownComplete(bool(flags & _REFLECTED))


def _read_forward_tsn(_flags: int, body: bytes) -> ForwardTsn:
    if len(body) < _U32.size or len(body) % _U32.size:
        raise Malformed("FORWARD-TSN has the wrong length")
    return ForwardTsn(_U32.unpack_from(body)[0], tuple(_GAP.iter_unpack(body[_U32.size :])))


_READERS: Final[dict[int, Callable[[int, bytes], Chunk]]] = {
    ChunkType.DATA: _read_data,
    ChunkType.INIT: lambda _flags, body: Init(*_read_init(body)),
    ChunkType.INIT_ACK: lambda _flags, body: InitAck(*_read_init(body)),
    ChunkType.SACK: _read_sack,
    ChunkType.HEARTBEAT: lambda _flags, body: Heartbeat(_read_info(body)),
    ChunkType.HEARTBEAT_ACK: lambda _flags, body: HeartbeatAck(_read_info(body)),
    ChunkType.ABORT: lambda flags, body: Abort(read_tlvs(body), bool(flags & _REFLECTED)),
    ChunkType.SHUTDOWN: _read_shutdown,
    ChunkType.SHUTDOWN_ACK: _read_shutdown_ack,
    ChunkType.ERROR: lambda _flags, body: Error(read_tlvs(body)),
    ChunkType.COOKIE_ECHO: lambda _flags, body: CookieEcho(body),
    ChunkType.COOKIE_ACK: _read_cookie_ack,
    ChunkType.SHUTDOWN_COMPLETE: _read_shutdown_complete,
    ChunkType.RE_CONFIG: lambda _flags, body: Reconfig(read_tlvs(body)),
    ChunkType.PAD: lambda _flags, body: Pad(HEADER.size + len(body)),
    ChunkType.FORWARD_TSN: _read_forward_tsn,
}


def read_chunk(kind: int, flags: int, body: bytes) -> Chunk:
    """One chunk of ``kind`` whose value, padding off, is ``body``.

    Raises:
        Malformed: A length inside it is wrong.
    """
    reader = _READERS.get(kind)
    return Unknown(kind, flags, body) if reader is None else reader(flags, body)


# --- chunk -> bytes ------------------------------------------------------------------------------


def _init_body(init: Init | InitAck) -> bytes:
    fixed = _INIT.pack(init.tag, init.rwnd, init.outbound_streams, init.inbound_streams, init.tsn)
    return fixed + write_tlvs(init.parameters)


def _sack_body(sack: Sack) -> bytes:
    return b"".join(
        (
            _SACK.pack(sack.cumulative_tsn, sack.rwnd, len(sack.gaps), len(sack.duplicates)),
            *(_GAP.pack(*gap) for gap in sack.gaps),
            *(_U32.pack(tsn) for tsn in sack.duplicates),
        )
    )


def _data_body(data: Data) -> bytes:
    return _DATA_BODY.pack(data.tsn, data.stream_id, data.ssn, data.ppid) + data.payload


def _heartbeat_body(heartbeat: Heartbeat | HeartbeatAck) -> bytes:
    return write_tlvs(((ParameterType.HEARTBEAT_INFO, heartbeat.info),))


def _forward_tsn_body(forward: ForwardTsn) -> bytes:
    pairs = (_GAP.pack(*pair) for pair in forward.streams)
    return b"".join((_U32.pack(forward.cumulative_tsn), *pairs))


_WRITERS: Final[dict[type, Callable[[Any], tuple[int, int, bytes]]]] = {
    Data: lambda c: (ChunkType.DATA, c.flags, _data_body(c)),
    Init: lambda c: (ChunkType.INIT, 0, _init_body(c)),
    InitAck: lambda c: (ChunkType.INIT_ACK, 0, _init_body(c)),
    Sack: lambda c: (ChunkType.SACK, 0, _sack_body(c)),
    Heartbeat: lambda c: (ChunkType.HEARTBEAT, 0, _heartbeat_body(c)),
    HeartbeatAck: lambda c: (ChunkType.HEARTBEAT_ACK, 0, _heartbeat_body(c)),
    Abort: lambda c: (ChunkType.ABORT, int(c.reflected_tag), write_tlvs(c.causes)),
    Shutdown: lambda c: (ChunkType.SHUTDOWN, 0, _U32.pack(c.cumulative_tsn)),
    ShutdownAck: lambda _c: (ChunkType.SHUTDOWN_ACK, 0, b""),
    Error: lambda c: (ChunkType.ERROR, 0, write_tlvs(c.causes)),
    CookieEcho: lambda c: (ChunkType.COOKIE_ECHO, 0, c.cookie),
    CookieAck: lambda _c: (ChunkType.COOKIE_ACK, 0, b""),
    ShutdownComplete: lambda c: (ChunkType.SHUTDOWN_COMPLETE, int(c.reflected_tag), b""),
    Reconfig: lambda c: (ChunkType.RE_CONFIG, 0, write_tlvs(c.parameters)),
    Pad: lambda c: (ChunkType.PAD, 0, bytes(c.length - HEADER.size)),
    ForwardTsn: lambda c: (ChunkType.FORWARD_TSN, 0, _forward_tsn_body(c)),
    Unknown: lambda c: (c.type, c.flags, c.body),
}


def write_chunk(chunk: Chunk) -> bytes:
    """The chunk with its header and its padding.

    Raises:
        ValueError: It would be longer than 65,535 bytes.
    """
    kind, flags, body = _WRITERS[type(chunk)](chunk)
    if len(body) > MAX_BODY:
        raise ValueError("a chunk is at most 65,535 bytes long")
    return HEADER.pack(kind, flags, HEADER.size + len(body)) + body + padding(len(body))
