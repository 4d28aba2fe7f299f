"""The peer's candidates on their way into aiortc: counted, kept until it is ready, ended in time.

A name under ``.local`` is resolved without holding the others up, a relayed address waits until
direct ones have had their chance, and the end is told only when nothing more can come from either
side: aiortc gives up as soon as it has been told and runs out of pairs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from aiortc import RTCIceCandidate, RTCPeerConnection

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer.candidates import MAX_CANDIDATES, Candidate
from p2pxfer.peer.ice import Agent


class RemoteCandidates:
    """Takes candidates at any time, and hands them on once `ready` was called.

    Args:
        spawn: runs a coroutine beside the rest; whoever owns it cancels it in the end.

    Attributes:
        kinds: the kinds of candidates heard of.
        told: set once the peer has told all.
    """

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        self.kinds: set[str] = set()
        self.told = asyncio.Event()
        self._spawn = spawn
        self._count = 0
        self._early: list[Candidate] = []
        self._ended = False
        self._trying: set[asyncio.Task[None]] = set()
        self._peer: RTCPeerConnection | None = None
        self._agent: Agent | None = None

    def count(self, number: int = 1) -> None:
        """Note that the peer has told of so many more.

        Raises:
            PeerMisbehaved: that is more than anybody has.
        """
        self._count += number
        if self._count > MAX_CANDIDATES:
            message = f"more than {MAX_CANDIDATES} ICE candidates"
            raise PeerMisbehaved(message)

    def add(self, candidate: Candidate) -> None:
        """Try one more."""
        self.kinds.add(candidate.type)
        if self._peer is None:
            self._early.append(candidate)
        elif not self._ended:
            task = self._spawn(self._try(self._peer, candidate))
            self._trying.add(task)
            task.add_done_callback(self._trying.discard)

    def end(self) -> None:
        """The peer has told all."""
        self.told.set()
        if not self._ended:
            self._ended = True
            if self._peer is not None:
                self._spawn(self._end(self._peer))

    def ready(self, peer: RTCPeerConnection, agent: Agent | None) -> None:
        """The peer's description is in place: hand on what came early."""
        self._peer, self._agent = peer, agent
        ended, self._ended = self._ended, False
        early, self._early = self._early, []
        for candidate in early:
            self.add(candidate)
        if ended:
            self.end()

    async def _try(self, peer: RTCPeerConnection, candidate: Candidate) -> None:
        if self._agent is not None:
            self._agent.heard(candidate)
            if candidate.type == "relay":
                await self._agent.released.wait()
        if candidate.address.endswith(".local"):
            from p2pxfer.peer import names  # noqa: PLC0415  # a DNS library, which few need

            names.understand_browsers()
        related = candidate.related or (None, None)
        with contextlib.suppress(OSError, ValueError):  # no multicast here, or all over
            await peer.addIceCandidate(
                RTCIceCandidate(
                    component=1,
                    foundation=candidate.foundation,
                    ip=candidate.address,
                    port=candidate.port,
                    priority=candidate.priority,
                    protocol="udp",
                    type=candidate.type,
                    relatedAddress=related[0],
                    relatedPort=related[1],
                    sdpMLineIndex=0,
                )
            )

    async def _end(self, peer: RTCPeerConnection) -> None:
        if self._agent is not None:
            if self.kinds <= {"relay"}:
                self._agent.released.set()  # there is nothing to give a head start to
            await self._agent.gathered.wait()
        if self._trying:
            await asyncio.wait(self._trying)
        await peer.addIceCandidate(None)
