"""Names that browsers tell in place of addresses, and their answers as aioice can read them.

Chromium answers with a record (NSEC, RFC 6762 section 6.1) beside the address in which a name is
compressed; RFC 6762 section 18.14 allows that. aioice's parser takes it for an error, and the
address is lost with it. So what follows the answers is cut off before aioice sees it.
"""

from __future__ import annotations

import struct
from typing import Any

from aioice import mdns

_HEADER = struct.Struct("!4x4H")  # numbers of questions, answers, and two kinds of further records
_QUESTION = 4  # bytes after the name
_RECORD = 10  # bytes between the name and the data, whose length stands last
_POINTER = 0xC0  # RFC 1035 section 4.1.4


class TolerantProtocol(mdns.MDnsProtocol):
    """aioice's, which asks for names; it gets answers alone."""

    def datagram_received(self, data: Any, addr: Any) -> None:
        """Take a message from anybody on this network."""
        super().datagram_received(answers_alone(data), addr)


def understand_browsers() -> None:
    """Have aioice ask with `TolerantProtocol` from now on."""
    mdns.MDnsProtocol = TolerantProtocol  # type: ignore[misc]  # it is the one that is made


def answers_alone(data: bytes) -> bytes:
    """An mDNS message without what follows its answers; what is none stays as it is."""
    try:
        questions, answers, _, _ = _HEADER.unpack_from(data)
        at = _HEADER.size
        for _ in range(questions):
            at = _after_name(data, at) + _QUESTION
        for _ in range(answers):
            at = _after_name(data, at) + _RECORD
            at += int.from_bytes(data[at - 2 : at])
    except (struct.error, IndexError):
        return data
    if at > len(data):
        return data
    return data[:8] + bytes(4) + data[12:at]


def _after_name(data: bytes, at: int) -> int:
    """Where a name that begins at ``at`` ends."""
    while data[at]:
        if data[at] >= _POINTER:
            return at + 2
        at += 1 + data[at]
    return at + 1
