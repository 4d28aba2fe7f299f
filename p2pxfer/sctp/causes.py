"""Error causes: why an ABORT or an ERROR chunk was sent (RFC 9260 section 3.3.10).

A cause is a (code, value) pair, as `parameters` reads and writes them. What a peer wrote into one
is shown to people by way of `describe`: printable ASCII, cut short.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from p2pxfer.sctp.parameters import Tlv, Tlvs, write_tlvs

MAX_TEXT: Final = 120
"""Characters of a peer's reason that are kept."""


class CauseCode(IntEnum):
    """Codes of RFC 9260 section 3.3.10, in its order."""

    INVALID_STREAM = 1
    MISSING_PARAMETER = 2
    STALE_COOKIE = 3
    OUT_OF_RESOURCE = 4
    UNRESOLVABLE_ADDRESS = 5
    UNRECOGNIZED_CHUNK = 6
    INVALID_MANDATORY_PARAMETER = 7
    UNRECOGNIZED_PARAMETERS = 8
    NO_USER_DATA = 9
    COOKIE_WHILE_SHUTTING_DOWN = 10
    RESTART_WITH_NEW_ADDRESSES = 11
    USER_ABORT = 12
    PROTOCOL_VIOLATION = 13


_U16S = struct.Struct(">HH")
_U32 = struct.Struct(">I")
_TEXTS: Final = {CauseCode.USER_ABORT, CauseCode.PROTOCOL_VIOLATION}


def invalid_stream(stream_id: int) -> Tlv:
    """DATA came on a stream that was not agreed (section 3.3.10.1)."""
    return CauseCode.INVALID_STREAM, _U16S.pack(stream_id, 0)


def missing_parameters(types: Sequence[int]) -> Tlv:
    """INIT or INIT ACK lacks these mandatory parameters (section 3.3.10.2)."""
    return (
        CauseCode.MISSING_PARAMETER,
        _U32.pack(len(types)) + b"".join(kind.to_bytes(2, "big") for kind in types),
    )


def stale_cookie(staleness: int) -> Tlv:
    """The cookie expired ``staleness`` microseconds ago (section 3.3.10.3)."""
    return CauseCode.STALE_COOKIE, _U32.pack(min(staleness, 0xFFFFFFFF))


def unrecognized_chunk(chunk: bytes) -> Tlv:
    """A chunk of a type that asks to be reported, as it came (section 3.3.10.6)."""
    return CauseCode.UNRECOGNIZED_CHUNK, chunk


def unrecognized_parameters(parameters: Tlvs) -> Tlv:
    """Parameters of INIT ACK that ask to be reported (section 3.3.10.8)."""
    return CauseCode.UNRECOGNIZED_PARAMETERS, write_tlvs(parameters)


def no_user_data(tsn: int) -> Tlv:
    """A DATA chunk held no byte of data (section 3.3.10.9)."""
    return CauseCode.NO_USER_DATA, _U32.pack(tsn)


def user_abort(reason: str = "") -> Tlv:
    """The application asked for the ABORT (section 3.3.10.12)."""
    return CauseCode.USER_ABORT, reason.encode("utf-8", "replace")


def protocol_violation(what: str) -> Tlv:
    """The far end broke a rule that no other cause names (section 3.3.10.13)."""
    return CauseCode.PROTOCOL_VIOLATION, what.encode("utf-8", "replace")


def describe(causes: Tlvs) -> str:
    """The first cause in words fit for a terminal; "" when there is none."""
    if not causes:
        return ""
    code, value = causes[0]
    try:
        name = CauseCode(code).name.lower().replace("_", " ")
    except ValueError:
        return f"cause {code}"
    if code not in _TEXTS or not value:
        return name
    text = value[:MAX_TEXT].decode("ascii", "replace")
    return f"{name}: {''.join(c if ' ' <= c <= '~' else '?' for c in text)}"
