"""Bounds on what a peer may have under way: aiortc keeps fragments without any.

A message that never ends, one that waits for another that never comes, streams without number,
media from ever new sources: whoever is paired could fill the memory with them, and each fragment
more costs aiortc a look at all before it. Uses private names, which are checked first; where one is
missing nothing is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from p2pxfer.errors import PeerMisbehaved

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

# A peer of ours has less than 17 MiB under way (`transfer.continuity`), in fragments of 1.2 kB.
MAX_SIZE = 24 << 20  # bytes that arrived and belong to no whole message
MAX_GAPPED = 32_768  # fragments behind one that is missing
MAX_FRAGMENTS = 1024  # of one message; the longest has 64 KiB, 56 of them
MAX_STREAMS = 16  # one is spoken on
MAX_SOURCES = 64  # of media packets; an honest peer has two for each track that ever was

_NAMES = (
    "_advertised_rwnd",
    "_inbound_streams",
    "_last_received_tsn",
    "_receive_data_chunk",
    "_sack_misordered",
)
_TSN_HALF = 1 << 31  # serial numbers: RFC 9260 section 1.6
_TSN_MASK = 0xFFFF_FFFF


def bound(peer: RTCPeerConnection, on_flood: Callable[[PeerMisbehaved], None]) -> None:
    """Have ``on_flood`` called once the far end goes too far; nothing more of it is kept then."""
    _bound_sources(peer, on_flood)
    sctp: Any = peer.sctp
    if not all(hasattr(sctp, name) for name in _NAMES):
        return
    window: int = sctp._advertised_rwnd
    take = sctp._receive_data_chunk
    flooded = False

    def within(stream_id: int) -> bool:
        stream = sctp._inbound_streams.get(stream_id)
        fragments = stream.reassembly if stream is not None else ()
        if len(fragments) > MAX_FRAGMENTS:  # are they there without a gap, and still no message?
            ahead = sctp._last_received_tsn - fragments[MAX_FRAGMENTS].tsn
            if ahead & _TSN_MASK < _TSN_HALF:
                return False
        return (
            window - sctp._advertised_rwnd <= MAX_SIZE
            and len(sctp._sack_misordered) <= MAX_GAPPED
            and len(sctp._inbound_streams) <= MAX_STREAMS
        )

    async def take_bounded(chunk: Any) -> None:
        nonlocal flooded
        if flooded:
            return
        await take(chunk)
        if not within(chunk.stream_id):
            flooded = True
            sctp._inbound_streams.clear()
            on_flood(PeerMisbehaved("the other side sends pieces of messages without end"))

    sctp._receive_data_chunk = take_bounded


def _bound_sources(peer: RTCPeerConnection, on_flood: Callable[[PeerMisbehaved], None]) -> None:
    """The same for media: aiortc and libsrtp keep something of every source they ever heard of."""
    dtls: Any = getattr(peer.sctp, "transport", None)
    take = getattr(dtls, "_handle_rtp_data", None)
    if take is None:
        return
    sources: set[bytes] = set()

    async def take_bounded(data: bytes, arrival_time_ms: int) -> None:
        if len(sources) > MAX_SOURCES:
            return
        sources.add(data[8:12])  # RFC 3550 section 5.1
        if len(sources) > MAX_SOURCES:
            on_flood(PeerMisbehaved("the other side sends media from sources without end"))
            return
        await take(data, arrival_time_ms=arrival_time_ms)

    dtls._handle_rtp_data = take_bounded
