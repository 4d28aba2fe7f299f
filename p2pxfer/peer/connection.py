"""One connection to the peer: descriptions and candidates in, a `Channel` out.

It never signals by itself: bodies go out through a callback and come in through `receive`. Whose
turn it is, and what was said so far, is known to `negotiation`; here is what is done about it.
Importing this module imports aiortc, which takes a while: have `loading` do it in a worker thread,
once whatever is urgent has been shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from aiortc import RTCDataChannel
from msgspec.structs import replace

from p2pxfer.errors import ConnectionFailed, PeerGone, PeerMisbehaved, TransferError
from p2pxfer.peer import (
    diagnosis,
    ice,
    inflow,
    parting,
    patience,
    renegotiation,
    rtc,
    seam,
    strangers,
)
from p2pxfer.peer.channel import BEST_MESSAGE, LABEL, Channel, RtcChannel, accepted
from p2pxfer.peer.negotiation import Negotiation
from p2pxfer.peer.path import PathInfo
from p2pxfer.peer.restraint import FREE, Restraint
from p2pxfer.peer.sdp import Description, parse_sdp
from p2pxfer.peer.servers import IceServer
from p2pxfer.peer.stopwatch import Stopwatch
from p2pxfer.peer.tracks import Tracks

__all__ = ["IceServer", "PathInfo", "PeerConnection"]


class PeerConnection:
    """A WebRTC connection with one reliable, ordered data channel.

    Args:
        offerer: whether this side makes the offer; exactly one side does.
        ice_servers: STUN and TURN servers.
        relay_only: use and tell nothing but addresses on TURN servers.
        signal: called with each body for the peer, in order; it must not raise.
        on_state: called with ``connecting``, ``connected``, ``disconnected`` (was connected, the
            path is lost), ``failed`` (never was) and ``closed``, whenever that changes.
        loopback: use the loopback addresses only, for two ends on one machine.
        restraint: how both directions are held back, if at all; the peer is told.
        tracks: media beside the channel; none unless given.
    """

    def __init__(
        self,
        *,
        offerer: bool,
        ice_servers: Sequence[IceServer],
        relay_only: bool,
        signal: Callable[[bytes], None],
        on_state: Callable[[str], None] | None = None,
        loopback: bool = False,
        restraint: Restraint | None = None,
        tracks: Tracks | None = None,
    ) -> None:
        self._offerer = offerer
        self._endpoints = [e for server in ice_servers for e in server.endpoints()]
        self._relay_only = relay_only
        self._loopback = loopback
        self._restraint = restraint or FREE
        self._tracks = tracks or Tracks()
        self._on_state = on_state
        self._state = "new"
        self._peer: seam.Connection | None = None
        self._agent: ice.Agent | None = None
        self._channel: RtcChannel | None = None
        self._opened: asyncio.Future[RtcChannel] | None = None
        self._watch = Stopwatch()
        self._said = Negotiation(offerer=offerer, signal=signal, spawn=self._spawn)
        self._receiving = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rtt: float | None = None
        self._round_trip: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin: the offerer's description goes out as soon as its host addresses are known."""
        self._opened = asyncio.get_running_loop().create_future()
        self._opened.add_done_callback(rtc.retrieve)
        self._report("connecting")
        if self._offerer:
            await self._build(None)
            self._spawn(self._describe())

    async def receive(self, body: bytes) -> None:
        """Take one opened signalling body of the peer.

        Raises:
            PeerMisbehaved: it is malformed, out of turn, or one of far too many. The connection is
                of no further use: close it.
        """
        assert self._opened is not None, "start() comes first"
        try:
            async with self._receiving:
                remote = self._said.read(body)
                if remote is not None:
                    await self._apply(remote)
        except PeerMisbehaved as error:
            self._fail(error)
            raise

    async def renegotiate(self, sdp: str) -> str:
        """Answer an offer of the far end that changes media while the channel is open.

        Returns:
            The SDP of the answer.

        Raises:
            PeerMisbehaved: it is malformed or would change something else. The connection is of
                no further use: close it.
            PeerGone: it is closed already.
        """
        try:
            async with self._receiving:
                return await self._renegotiate(parse_sdp("offer", sdp))
        except PeerMisbehaved as error:
            self._fail(error)
            raise

    async def open(self, timeout: float) -> Channel:  # noqa: ASYNC109  # it explains what was tried
        """Wait for the channel.

        Args:
            timeout: seconds from now.

        Raises:
            ConnectionFailed: no path was found; the message says what was tried.
            PeerMisbehaved: the peer broke the rules meanwhile.
            PeerGone: the peer closed, or `close` was called, before the channel was open.
        """
        assert self._opened is not None, "start() comes first"
        try:
            async with asyncio.timeout(timeout):
                channel = await asyncio.shield(self._opened)
                if self._round_trip is not None:
                    await asyncio.wait({self._round_trip}, timeout=0.2)
        except TimeoutError:
            if self._opened.done():
                return self._opened.result()
            if self.has_path:
                raise diagnosis.silent_channel(timeout) from None
            raise self._no_path(f"was found in {timeout:g} s") from None
        return channel

    async def exhausted(self) -> None:
        """For the offerer: wait until all was tried that is likely to work."""
        await patience.exhausted(self._agent, self._said.candidates)

    @property
    def has_path(self) -> bool:
        """Whether a pair of addresses was found that works."""
        return self._peer is not None and self._peer.iceConnectionState == "completed"

    def path(self) -> PathInfo:
        """How the bytes travel, once `open` has returned."""
        pair = self._agent.selected() if self._agent is not None else None
        relayed = self._relay_only if pair is None else pair.relayed
        local, remote = ("", "") if pair is None else (pair.local, pair.remote)
        return PathInfo(
            "relay" if relayed else "direct", local, remote, self._rtt, self._watch.parts
        )

    async def close(self) -> None:
        """Close on both ends; a dead peer or TURN server makes it take longer, see `parting`.

        What was sent is delivered if the peer takes it within `parting.GRACE`; `Channel.drain`
        first makes sure. May be called at any time, and again.
        """
        if self._closing is None:
            self._said.stop()
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _build(self, offer: Description | None) -> None:
        """Make aiortc's connection; with its own gathering only if ours can't be put under it."""
        for stock in (False, True):
            peer = seam.Connection(
                rtc.configuration(self._endpoints, relay_only=self._relay_only, stock=stock),
                self._restraint,
            )
            peer.on("connectionstatechange", self._state_changed)
            peer.on("iceconnectionstatechange", self._ice_changed)
            peer.on("datachannel", self._take_channel)
            self._peer = peer
            self._tracks.attach(peer, offering=offer is None)
            if offer is None:
                channel = peer.createDataChannel(LABEL)
                channel.on("open", self._channel_opened)
            else:
                peer.take(offer)
                await rtc.set_remote(peer, offer)
                await self._tracks.answer(peer, offer)
            self._agent = ice.attach(
                peer,
                self._endpoints,
                relay_only=self._relay_only,
                loopback=self._loopback,
                on_candidate=self._said.found,
            )
            inflow.bound(peer, self._fail)
            strangers.attach(peer)
            if self._agent is not None or stock:
                break
            peer.remove_all_listeners()
            await self._tracks.close()
            await peer.close()
        self._watch.follow(peer)
        if offer is None:
            self._channel = self._wrap(channel)

    def _wrap(self, data_channel: RTCDataChannel) -> RtcChannel:
        acknowledged = getattr(data_channel.transport, "acknowledged", None)
        if acknowledged is None and self._agent is not None:
            acknowledged = self._agent.outstanding.acknowledged
        channel = RtcChannel(data_channel, BEST_MESSAGE, acknowledged)
        channel.on_closed(self._channel_closed)
        return channel

    async def _describe(self) -> None:
        """Gather what is at hand, tell it, then tell the rest as it is found."""
        peer, agent = self._peer, self._agent
        assert peer is not None
        own = await rtc.describe(peer, "offer" if self._offerer else "answer")
        if agent is not None:
            own = replace(own, candidates=tuple(agent.local_candidates()), complete=False)
        elif self._relay_only:
            own = replace(own, candidates=tuple(c for c in own.candidates if c.type == "relay"))
        wish = self._restraint.abroad()
        self._said.tell(replace(own, max_packet=peer.own_packet, restraint=wish))
        self._watch.lap("gathering")
        if agent is not None:
            await agent.gathered.wait()
            self._said.tell_end()
        if not (agent.kinds if agent is not None else own.candidates):
            self._fail(self._no_path("is possible"))

    async def _apply(self, remote: Description) -> None:
        self._tracks.check(remote)
        if self._offerer:
            assert self._peer is not None
            self._peer.take(remote)
            await rtc.set_remote(self._peer, remote)
            assert self._channel is not None
            self._channel.max_message = accepted(remote.max_message)
        else:
            self._watch.lap("signals")
            await self._build(remote)
        assert self._peer is not None
        self._said.settle(remote, self._peer, self._agent)
        self._tracks.route(remote)
        if not self._offerer:
            self._spawn(self._describe())

    async def _renegotiate(self, offer: Description) -> str:
        peer, before = self._peer, self._said.remote
        if peer is None or before is None or self._channel is None:
            message = "an offer out of turn"
            raise PeerMisbehaved(message)
        if self._closing is not None or self._channel.closed.is_set():
            raise PeerGone("the connection to the other side is closed")
        renegotiation.check(before, offer)
        offer = renegotiation.filled(offer, before)
        self._tracks.forget(peer, offer)
        await rtc.set_remote(peer, offer)
        await self._tracks.answer(peer, offer)
        self._said.remote = offer
        self._tracks.route(offer)
        own = replace(await rtc.describe(peer, "answer"), max_packet=peer.own_packet)
        return renegotiation.answered(own, offer).sdp()

    # What aiortc tells

    def _take_channel(self, data_channel: RTCDataChannel) -> None:
        """The peer has opened a channel: the answerer expects exactly one."""
        sound = data_channel.label == LABEL and data_channel.ordered
        reliable = data_channel.maxRetransmits is None and data_channel.maxPacketLifeTime is None
        if self._offerer or self._channel is not None or not (sound and reliable):
            self._fail(PeerMisbehaved("it opened a data channel that is not expected"))
            return
        assert self._said.remote is not None
        self._channel = self._wrap(data_channel)
        self._channel.max_message = accepted(self._said.remote.max_message)
        self._channel_opened()

    def _channel_opened(self) -> None:
        assert self._channel is not None
        if self._opened is not None and not self._opened.done():
            self._watch.lap("sctp")
            self._report("connected")
            self._opened.set_result(self._channel)

    def _channel_closed(self) -> None:
        lost = self._peer is not None and self._peer.iceConnectionState == "failed"
        self._report("disconnected" if lost else "closed")
        self._fail(PeerGone("the other side closed the connection"))

    def _ice_changed(self) -> None:
        assert self._peer is not None
        if self._peer.iceConnectionState == "completed":
            self._round_trip = self._spawn(self._measure())

    def _state_changed(self) -> None:
        peer, opened = self._peer, self._opened
        assert peer is not None
        assert opened is not None
        if self._closing is not None:
            return
        if peer.connectionState == "closed" and self._channel is not None:
            self._channel.mark_closed()
        if opened.done():
            return
        if peer.connectionState == "closed":
            self._fail(PeerGone("the other side closed the connection"))
        elif peer.connectionState == "failed" and peer.iceConnectionState != "completed":
            self._fail(self._no_path("works"))
        elif peer.connectionState == "failed":
            assert peer.sctp is not None
            self._fail(diagnosis.handshake_failed(encrypted=peer.sctp.transport.encrypted))

    async def _measure(self) -> None:
        seconds = await self._agent.round_trip() if self._agent is not None else None
        self._rtt = None if seconds is None else round(seconds * 1000, 2)

    # Ends

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._closing is not None:
            return
        error = task.exception()
        if error is not None:
            self._fail(ConnectionFailed(f"the connection could not be set up: {error}"))

    def _report(self, state: str) -> None:
        if state != self._state and self._state not in ("failed", "closed"):
            self._state = state
            if self._on_state is not None:
                self._on_state(state)

    def _fail(self, error: TransferError) -> None:
        if self._opened is not None and not self._opened.done():
            self._report("failed")
            self._opened.set_exception(error)
        elif self._channel is not None and isinstance(error, PeerMisbehaved):
            self._channel.misbehaved(error.message)

    def _no_path(self, how: str) -> ConnectionFailed:
        if self._agent is not None:
            here, outcomes = self._agent.kinds, self._agent.outcomes
        else:
            told = self._said.local
            here, outcomes = {c.type for c in told.candidates} if told else set(), []
        there = None if self._said.remote is None else self._said.candidates.kinds
        return diagnosis.no_path(how, here, there, outcomes)

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(PeerGone("the connection was closed on this side"))
        await parting.part(self._peer, self._agent, self._channel, self._tracks)
        self._report("closed")
