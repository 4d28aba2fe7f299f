"""What an association tells whoever runs it.

Plain values, named for what happened. Nothing here knows how they come about.
"""

from __future__ import annotations

from enum import IntFlag

from msgspec import Struct


class Capability(IntFlag):
    """What both ends announced, and so may be used; and what the peer can't bear."""

    NONE = 0
    RECONFIGURATION = 1  # RFC 6525, in Supported Extensions (RFC 5061 section 4.2.7)
    FORWARD_TSN = 2  # RFC 3758 section 3.1
    ZERO_CHECKSUM = 4  # RFC 9653 section 4, with DTLS as what makes up for it
    NO_PADDING = 8  # takes offence at a PAD chunk (RFC 4820), which is never announced


class Established(Struct, frozen=True):
    """Both ends may send.

    Attributes:
        peer_rwnd: bytes that the peer can buffer.
        outbound_streams: how many streams this end may send on, both ends' limits considered.
        inbound_streams: how many the peer may send on.
        capabilities: extensions that both ends have.
    """

    peer_rwnd: int
    outbound_streams: int
    inbound_streams: int
    capabilities: Capability


class Message(Struct, frozen=True):
    """One whole message of the peer's."""

    stream_id: int
    ppid: int
    data: bytes


class Sent(Struct, frozen=True):
    """Bytes of user data that left a stream's queue for the network."""

    stream_id: int
    size: int


class AllAcknowledged(Struct, frozen=True):
    """Everything that was queued has reached the peer; told each time that comes true."""


class StreamsReset(Struct, frozen=True):
    """Streams begin again with the first sequence number; empty ids mean all.

    Attributes:
        stream_ids: which.
        incoming: the peer's streams to this end, otherwise this end's to the peer.
    """

    stream_ids: tuple[int, ...]
    incoming: bool


class ResetRefused(Struct, frozen=True):
    """The peer would not begin these streams of this end's again; they go on as they were."""

    stream_ids: tuple[int, ...]


class Closed(Struct, frozen=True):
    """The association is over; nothing comes after this.

    Attributes:
        reason: for people and logs; may quote the peer.
        clean: shut down with everything delivered, rather than aborted or never established.
    """

    reason: str
    clean: bool


Event = Established | Message | Sent | AllAcknowledged | StreamsReset | ResetRefused | Closed
