"""What anybody can send to the sockets of ICE, and what becomes of it: nothing.

A socket takes datagrams from any address. aioice hands on whatever it can't read, from wherever it
came, and aiortc ends a connection over an empty one, or over one that is too long for SRTP. Here
the kinds are told apart as in RFC 7983; what is no STUN is taken only from addresses at which the
peer may be, and STUN that is malformed is what aioice expects of it: a ValueError. Records of
application data that are read in batches don't come by here, they prove themselves. Uses private
names; where one is missing, less is refused.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from aioice import stun

from p2pxfer.peer import lanes

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

Source = tuple[str, int]

LONGEST_MEDIA = 1500  # bytes of SRTP that pylibsrtp takes
_DTLS = range(20, 64)  # first bytes: RFC 7983 section 7
_MEDIA = range(128, 192)
_NAMES = ("_early_checks", "_remote_candidates", "data_received")

_parse = stun.parse_message


def parse_message(data: bytes) -> stun.Message:
    """As aioice's own, which lets more errors out than its callers know of.

    Raises:
        ValueError: it is no STUN message, or a malformed one.
    """
    try:
        return _parse(data)
    except (struct.error, LookupError) as error:
        message = f"malformed STUN: {error}"
        raise ValueError(message) from error


def attach(peer: RTCPeerConnection) -> None:
    """Let nothing through to the DTLS transport of ``peer`` that it can't stand."""
    stun.parse_message = parse_message
    connection = lanes.ice_connection(getattr(peer.sctp, "transport", None))
    if connection is None:
        return
    take = connection.data_received

    def data_received(data: bytes, component: int) -> None:
        if data and (data[0] in _DTLS or (data[0] in _MEDIA and len(data) <= LONGEST_MEDIA)):
            take(data, component)

    connection.data_received = data_received


def guard(protocol: Any) -> None:
    """Have aioice's ``protocol`` take what is no STUN only from where the peer may be."""
    connection = protocol.receiver
    if not all(hasattr(connection, name) for name in _NAMES):
        return
    receive = protocol.datagram_received
    known: set[Source] = set()

    def datagram_received(data: bytes, address: Any) -> None:
        if not data or data[0] < _DTLS.start:
            receive(data, address)
            return
        source = address[:2]
        if source not in known:
            if not (is_candidate(connection, source) or _has_checked(connection, source)):
                return
            known.add(source)
        connection.data_received(data, 1)

    protocol.datagram_received = datagram_received


def is_candidate(connection: Any, address: Source) -> bool:
    """Whether the peer has told of ``address``, or proved by a check that it is there."""
    return any(
        (candidate._network_host, candidate.port) == address
        for candidate in connection._remote_candidates
    )


def _has_checked(connection: Any, address: Source) -> bool:
    """Whether an authenticated check came from there before this end could answer with its own.

    The peer's first handshake may follow at once, and would be a second late if it were lost.
    """
    return any(source == address for _, source, _ in connection._early_checks)
