"""The state cookie: what INIT told, sealed and handed to the peer instead of being kept.

RFC 9260 section 5.1.3. Only its maker reads it.
"""

from __future__ import annotations

import hmac
import struct
from typing import Final

from msgspec import Struct

LIFETIME: Final = 60.0  # seconds (RFC 9260 section 16, Valid.Cookie.Life)
SEAL: Final = 16  # bytes of HMAC-SHA256 that are kept
_LAYOUT = struct.Struct(">dIIIIIHHB")


class Cookie(Struct, frozen=True):
    """What it takes to begin.

    Attributes:
        made: when.
        local_tag: the tag that INIT ACK bore.
        local_tsn: the TSN that it bore.
        peer_tag: the tag that INIT bore.
        peer_tsn: the TSN that it bore.
        peer_rwnd: the window that it bore.
        outbound_streams: how many this end may use, from both ends' limits.
        inbound_streams: how many the peer may.
        capabilities: `Capability` bits.
    """

    made: float
    local_tag: int
    local_tsn: int
    peer_tag: int
    peer_tsn: int
    peer_rwnd: int
    outbound_streams: int
    inbound_streams: int
    capabilities: int

    def seal(self, secret: bytes) -> bytes:
        """The cookie as bytes that nobody else can make."""
        body = _LAYOUT.pack(
            self.made,
            self.local_tag,
            self.local_tsn,
            self.peer_tag,
            self.peer_tsn,
            self.peer_rwnd,
            self.outbound_streams,
            self.inbound_streams,
            self.capabilities,
        )
        return body + hmac.digest(secret, body, "sha256")[:SEAL]


def unseal(data: bytes, secret: bytes) -> Cookie | None:
    """What was sealed; None for anything else."""
    if len(data) != _LAYOUT.size + SEAL:
        return None
    body, seal = data[: _LAYOUT.size], data[_LAYOUT.size :]
    if not hmac.compare_digest(hmac.digest(secret, body, "sha256")[:SEAL], seal):
        return None
    return Cookie(*_LAYOUT.unpack(body))
