"""Bytes of the data channel establishment protocol (RFC 8832) and its payload identifiers.

OPEN is read strictly: its lengths add up, label and protocol are short, its type is one of the six
known. This end opens reliable channels alone, and sends reliably on any: whoever asked for less
loses nothing by it.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from msgspec import Struct

MAX_NAME: Final = 1024
"""Bytes of a label or of a protocol; the format would allow 65,535."""

PRIORITY: Final = 256
"""What RFC 8831 section 6.4 calls normal."""

_OPEN = struct.Struct(">BBHIHH")
_UNORDERED: Final = 0x80
_RELIABLE, _BY_RETRANSMITS, _BY_LIFETIME = range(3)
_OPEN_TYPE: Final = 3
_ACK_TYPE: Final = 2

ACK: Final = bytes([_ACK_TYPE])


class Ppid(IntEnum):
    """What a message is, RFC 8831 section 8."""

    DCEP = 50
    STRING = 51
    BINARY_PARTIAL = 52  # deprecated, and never sent
    BINARY = 53
    STRING_PARTIAL = 54  # deprecated, and never sent
    STRING_EMPTY = 56
    BINARY_EMPTY = 57


class Open(Struct, frozen=True):
    """DATA_CHANNEL_OPEN, section 5.1.

    Attributes:
        label, protocol: of the channel.
        ordered: whether messages come in order.
        max_retransmits: how often the far end resends a message, if it limits that.
        max_lifetime: milliseconds for which it tries, if it limits that.
    """

    label: str
    protocol: str
    ordered: bool
    max_retransmits: int | None = None
    max_lifetime: int | None = None


def write_open(message: Open) -> bytes:
    """The message as bytes, reliable.

    Raises:
        ValueError: The label or the protocol is longer than 1,024 bytes.
    """
    label, protocol = message.label.encode(), message.protocol.encode()
    if max(len(label), len(protocol)) > MAX_NAME:
        raise ValueError(f"a label and a protocol take at most {MAX_NAME} bytes each")
    kind = _RELIABLE if message.ordered else _RELIABLE | _UNORDERED
    fixed = _OPEN.pack(_OPEN_TYPE, kind, PRIORITY, 0, len(label), len(protocol))
    return fixed + label + protocol


def read_open(data: bytes) -> Open | None:
    """An OPEN that may be granted; None if its lengths, its names or its type are not right."""
    if len(data) < _OPEN.size:
        return None
    kind, channel, _priority, limit, label, protocol = _OPEN.unpack_from(data)
    split = _OPEN.size + label
    limited = channel & ~_UNORDERED
    if kind != _OPEN_TYPE or limited > _BY_LIFETIME:
        return None
    if max(label, protocol) > MAX_NAME or len(data) != split + protocol:
        return None
    return Open(
        data[_OPEN.size : split].decode("utf-8", "replace"),
        data[split:].decode("utf-8", "replace"),
        not channel & _UNORDERED,
        limit if limited == _BY_RETRANSMITS else None,
        limit if limited == _BY_LIFETIME else None,
    )


def is_open(data: bytes) -> bool:
    """Whether it says that it is an OPEN, right or wrong."""
    return data[:1] == bytes([_OPEN_TYPE])


def is_ack(data: bytes) -> bool:
    """Whether it is DATA_CHANNEL_ACK, section 5.2."""
    return data[:1] == ACK
