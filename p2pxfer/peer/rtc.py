"""aiortc's connection, fed with what was checked and nothing else, through its public names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiortc import (
    InvalidStateError,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.exceptions import OperationError
from aiortc.rtcconfiguration import RTCBundlePolicy, RTCIceTransportPolicy
from msgspec.structs import replace

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer.sdp import Description, DescriptionType, parse_sdp
from p2pxfer.peer.servers import Endpoint


def configuration(
    endpoints: Sequence[Endpoint], *, relay_only: bool, stock: bool
) -> RTCConfiguration:
    """The configuration of a connection.

    Args:
        endpoints: the servers, best first.
        relay_only: leave every other kind of address out.
        stock: have aiortc itself ask the servers; it asks the first of each kind.
    """
    servers = [
        RTCIceServer(str(endpoint), endpoint.username, endpoint.credential)
        for endpoint in endpoints
        if stock and ":" not in endpoint.host  # its pattern has no brackets
    ]
    policy = RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL
    return RTCConfiguration(
        iceServers=servers, iceTransportPolicy=policy, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE
    )


async def describe(peer: RTCPeerConnection, kind: DescriptionType) -> Description:
    """Gather, and tell what this side has to say.

    Of the certificate's digests only SHA-256 is told, which everyone knows: libdatachannel takes
    the last of several, and refuses it if a check of the path came before the description.
    """
    await peer.setLocalDescription()
    own = parse_sdp(kind, peer.localDescription.sdp)
    known = tuple((name, value) for name, value in own.fingerprints if name == "sha-256")
    return replace(own, fingerprints=known or own.fingerprints)


async def set_remote(peer: RTCPeerConnection, remote: Description) -> None:
    """Hand over the other side's description without its candidates: a name would delay the rest.

    Raises:
        PeerMisbehaved: it doesn't fit what was said before.
    """
    bare = remote.without_candidates()
    try:
        await peer.setRemoteDescription(RTCSessionDescription(bare.sdp(), bare.type))
    except (ValueError, InvalidStateError, OperationError) as error:
        message = f"its {bare.type} does not fit: {error}"
        raise PeerMisbehaved(message) from error


def retrieve(future: asyncio.Future[Any]) -> None:
    """An error that nobody waits for, since `PeerConnection.open` was never called, is no crash."""
    if not future.cancelled():
        future.exception()
