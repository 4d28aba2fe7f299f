"""What one end of an association is like, and the states that it goes through."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct


class State(Enum):
    """States of RFC 9260 section 4."""

    CLOSED = "closed"
    COOKIE_WAIT = "cookie wait"
    COOKIE_ECHOED = "cookie echoed"
    ESTABLISHED = "established"
    SHUTDOWN_PENDING = "shutdown pending"
    SHUTDOWN_SENT = "shutdown sent"
    SHUTDOWN_RECEIVED = "shutdown received"
    SHUTDOWN_ACK_SENT = "shutdown ack sent"


# in which DATA leaves, and in which it is taken
SENDS: Final = frozenset({State.ESTABLISHED, State.SHUTDOWN_PENDING, State.SHUTDOWN_RECEIVED})
RECEIVES: Final = frozenset({State.ESTABLISHED, State.SHUTDOWN_PENDING, State.SHUTDOWN_SENT})


class Config(Struct, frozen=True, kw_only=True):
    """What one end of an association is like.

    Attributes:
        port: of this end.
        remote_port: of the peer.
        max_message: bytes of the longest message that is taken.
        receive_window: bytes that wait for a gap or for the application at most.
        own_peer: the peer is this project too, and known to be.
        packet_sizes: sizes of SCTP packets to try on the path, smallest first.
        zero_checksum: offer to do without checksums, since DTLS has its own (RFC 9653).
        streams: most streams in either direction.
    """

    port: int = 5000
    remote_port: int = 5000
    max_message: int = 1 << 20
    receive_window: int = 16 << 20
    own_peer: bool = False
    packet_sizes: tuple[int, ...] = (1172,)
    zero_checksum: bool = True
    streams: int = 65535
