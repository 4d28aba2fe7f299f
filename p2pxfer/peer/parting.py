"""How a connection ends on both sides, in bounded time, whoever has died meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

    from p2pxfer.peer.channel import RtcChannel
    from p2pxfer.peer.ice import Agent
    from p2pxfer.peer.tracks import Tracks

GRACE: Final = 0.5  # seconds for what is queued, and for the peer's agreement
LIMIT: Final = 1.0  # seconds after that for sockets and relays to be let go in good order


async def part(
    peer: RTCPeerConnection | None, agent: Agent | None, channel: RtcChannel | None, tracks: Tracks
) -> None:
    """Close all of it, the channel first: what was sent is delivered if the peer takes it in time.

    A dead peer or TURN server makes it take `LIMIT` seconds longer.
    """
    if channel is not None and not channel.closed.is_set():
        channel.start_closing()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(channel.closed.wait(), GRACE)
    if agent is not None:
        await agent.stop()
    await tracks.close()
    if peer is not None:
        endings = {asyncio.create_task(peer.close())}
        if agent is not None:
            endings.add(asyncio.create_task(agent.close()))
        _, late = await asyncio.wait(endings, timeout=LIMIT)
        if late and agent is not None:
            agent.abandon()
            await asyncio.wait(late, timeout=LIMIT)
    if channel is not None:
        channel.mark_closed()
