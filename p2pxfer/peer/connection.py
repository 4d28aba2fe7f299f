"""One connection to the peer: descriptions and candidates in, a `Channel` out.

It never signals by itself: bodies go out through a callback and come in through `receive`; sealing
and mailing them is somebody else's work. Importing this module imports aiortc, which takes a third
of a second: do it in a worker thread, once whatever is urgent has been shown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiortc import (
    InvalidStateError,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from p2pxfer.errors import ConnectionFailed, PeerGone, PeerMisbehaved, TransferError
from p2pxfer.peer import ice
from p2pxfer.peer.channel import BEST_MESSAGE, LABEL, Channel, RtcChannel
from p2pxfer.peer.servers import IceServer
from p2pxfer.peer.signals import (
    Candidate,
    Description,
    EndOfCandidates,
    Signal,
    decode,
    encode,
    parse_sdp,
)
from p2pxfer.progress import PathKind

__all__ = ["IceServer", "PathInfo", "PeerConnection"]

MAX_REMOTE_CANDIDATES = 128  # of one peer; an honest one has a dozen
CANDIDATE = "candidate"  # the name of tasks that try one
CLOSE_GRACE = 0.5  # seconds for what is queued, and for the peer's agreement, when closing
CLOSE_LIMIT = 1.0  # seconds after that for sockets and relays to be let go in good order


@dataclass(frozen=True, slots=True)
class PathInfo:
    """How the bytes travel.

    Attributes:
        kind: relayed if a TURN server is on the way, on either side.
        local: ``host:port`` of this end; empty when it can't be told.
        remote: the same of the other end.
        rtt_ms: the round trip of one ICE check in milliseconds, None when it got lost.
    """

    kind: PathKind
    local: str
    remote: str
    rtt_ms: float | None


class PeerConnection:
    """A WebRTC connection with one reliable, ordered data channel.

    Args:
        offerer: whether this side makes the offer; exactly one side does.
        ice_servers: STUN and TURN servers; none are used by default.
        relay_only: use and tell nothing but addresses on TURN servers.
        signal: called with each body for the peer, in order; it must not raise.
        on_state: called with ``connecting``, ``connected``, ``disconnected`` (was connected, the
            path is lost), ``failed`` (never was) and ``closed``, whenever that changes.
        loopback: use the loopback addresses only, for two ends on one machine.
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
    ) -> None:
        self._offerer = offerer
        self._endpoints = [e for server in ice_servers for e in server.endpoints()]
        self._relay_only = relay_only
        self._loopback = loopback
        self._signal = signal
        self._on_state = on_state
        self._state = "new"
        self._ice_servers = tuple(ice_servers)
        self._peer: RTCPeerConnection | None = None
        self._agent: ice.Agent | None = None
        self._channel: RtcChannel | None = None
        self._opened: asyncio.Future[RtcChannel] | None = None
        self._local: Description | None = None
        self._remote: Description | None = None
        self._remote_kinds: set[str] = set()
        self._remote_count = 0
        self._remote_ended = False
        self._unsaid: list[Signal] = []  # found before the description went out
        self._early: list[Candidate] = []  # heard before the peer's description
        self._receiving = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rtt: float | None = None
        self._round_trip: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin: the offerer's description goes out as soon as its host addresses are known."""
        self._opened = asyncio.get_running_loop().create_future()
        self._opened.add_done_callback(_retrieve)
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
        try:
            signal = decode(body)
            async with self._receiving:
                await self._apply(signal)
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
            if not self._opened.done():
                raise self._no_path(f"in {timeout:g} s") from None
            channel = self._opened.result()
        return channel

    def path(self) -> PathInfo:
        """How the bytes travel, once `open` has returned."""
        pair = self._agent.selected() if self._agent is not None else None
        if pair is None:
            return PathInfo("relay" if self._relay_only else "direct", "", "", self._rtt)
        return PathInfo("relay" if pair.relayed else "direct", pair.local, pair.remote, self._rtt)

    async def close(self) -> None:
        """Close on both ends, within `CLOSE_GRACE` + `CLOSE_LIMIT` even if the peer is dead.

        What was sent is delivered if the peer takes it in that grace; `Channel.drain` first makes
        sure. May be called at any time, and again.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    # Setting up

    async def _build(self, offer: Description | None) -> None:
        """Make aiortc's connection; with its own gathering only if ours can't be put under it."""
        for stock in (False, True):
            peer = RTCPeerConnection(self._configuration(stock=stock))
            peer.on("connectionstatechange", self._state_changed)
            peer.on("iceconnectionstatechange", self._ice_changed)
            peer.on("datachannel", self._take_channel)
            self._peer = peer
            if offer is None:
                rtc = peer.createDataChannel(LABEL)
                rtc.on("open", self._channel_opened)
            else:
                await self._set_remote(peer, offer)
            self._agent = ice.attach(
                peer,
                self._endpoints,
                relay_only=self._relay_only,
                loopback=self._loopback,
                on_candidate=self._say,
            )
            if self._agent is not None or stock:
                break
            peer.remove_all_listeners()
            await peer.close()
        if offer is None:
            self._channel = self._wrap(rtc)

    def _configuration(self, *, stock: bool) -> RTCConfiguration:
        policy = RTCIceTransportPolicy.RELAY if self._relay_only else RTCIceTransportPolicy.ALL
        servers = []
        if stock:  # aiortc's pattern has no brackets
            servers = [
                RTCIceServer(str(e), e.username, e.credential)
                for e in self._endpoints
                if ":" not in e.host
            ]
        return RTCConfiguration(iceServers=servers, iceTransportPolicy=policy)

    async def _set_remote(self, peer: RTCPeerConnection, remote: Description) -> None:
        """Hand over the peer's description without its candidates: a name would delay the rest."""
        bare = remote.without_candidates()
        try:
            await peer.setRemoteDescription(RTCSessionDescription(bare.sdp(), bare.type))
        except (ValueError, InvalidStateError) as error:
            message = f"its {bare.type} does not fit: {error}"
            raise PeerMisbehaved(message) from error

    def _wrap(self, rtc: RTCDataChannel) -> RtcChannel:
        agent = self._agent
        channel = RtcChannel(rtc, BEST_MESSAGE, agent.acknowledged if agent else None)
        channel.on_closed(self._channel_closed)
        return channel

    async def _describe(self) -> None:
        """Gather what is at hand, tell it, then tell the rest as it is found."""
        peer, agent = self._peer, self._agent
        assert peer is not None
        await peer.setLocalDescription()
        text = peer.localDescription.sdp
        own = parse_sdp("offer" if self._offerer else "answer", text)
        if agent is not None:
            own = replace(own, candidates=tuple(agent.local_candidates()), complete=False)
        elif self._relay_only:
            own = replace(own, candidates=tuple(c for c in own.candidates if c.type == "relay"))
        self._local = own
        self._send(own)
        for signal in self._unsaid:
            if signal not in own.candidates:
                self._send(signal)
        if agent is not None:
            await agent.gathered.wait()
            self._send(EndOfCandidates())
        if self._relay_only and not (agent.kinds if agent is not None else own.candidates):
            self._fail(self._no_path("without a relay", "give a TURN server with --ice-server"))

    # Signals

    def _say(self, candidate: Candidate) -> None:
        """A candidate was found in the background."""
        if self._local is None:
            self._unsaid.append(candidate)
        elif candidate not in self._local.candidates:
            self._send(candidate)

    def _send(self, signal: Signal) -> None:
        if self._closing is None:
            self._signal(encode(signal))

    async def _apply(self, signal: Signal | None) -> None:
        assert self._opened is not None, "start() comes first"
        if self._closing is not None:
            return
        if isinstance(signal, Description):
            await self._apply_description(signal)
            return
        self._remote_count += 1
        if self._remote_count > MAX_REMOTE_CANDIDATES:
            message = f"more than {MAX_REMOTE_CANDIDATES} ICE candidates"
            raise PeerMisbehaved(message)
        if isinstance(signal, EndOfCandidates):
            self._remote_ended = True
            if self._remote is not None:
                self._spawn(self._end_candidates())
        elif isinstance(signal, Candidate):
            self._add_candidate(signal)

    async def _apply_description(self, remote: Description) -> None:
        expected = "answer" if self._offerer else "offer"
        if (
            self._remote is not None
            or remote.type != expected
            or (self._offerer and self._local is None)
        ):
            message = f"an {remote.type} out of turn"
            raise PeerMisbehaved(message)
        if self._local is not None and remote.mid != self._local.mid:
            message = "an answer to another offer"
            raise PeerMisbehaved(message)
        self._remote_count += len(remote.candidates)
        if self._remote_count > MAX_REMOTE_CANDIDATES:
            message = f"more than {MAX_REMOTE_CANDIDATES} ICE candidates"
            raise PeerMisbehaved(message)
        if self._offerer:
            assert self._peer is not None
            await self._set_remote(self._peer, remote)
            assert self._channel is not None
            self._channel.max_message = _accepted(remote)
        else:
            await self._build(remote)
        self._remote = remote
        early, self._early = self._early, []
        for candidate in (*remote.candidates, *early):
            self._add_candidate(candidate)
        if not self._offerer:
            self._spawn(self._describe())
        if remote.complete or self._remote_ended:
            self._remote_ended = True
            self._spawn(self._end_candidates())

    def _add_candidate(self, candidate: Candidate) -> None:
        if self._remote is None:
            self._early.append(candidate)
            return
        self._remote_kinds.add("mDNS name" if candidate.is_name else candidate.type)
        self._spawn(self._try_candidate(candidate), name=CANDIDATE)

    async def _try_candidate(self, candidate: Candidate) -> None:
        """Give aiortc a candidate; a name is resolved on the way, which may take a second."""
        assert self._peer is not None
        if candidate.type == "relay" and self._agent is not None:
            await self._agent.released.wait()
        related = candidate.related or (None, None)
        with contextlib.suppress(OSError, ValueError):  # no multicast here, or all over
            await self._peer.addIceCandidate(
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

    async def _end_candidates(self) -> None:
        """Let checking fail when it has run out of pairs, but not while more may come."""
        if self._agent is not None:
            if self._remote_kinds <= {"relay"}:
                self._agent.released.set()  # there is nothing to give a head start to
            await self._agent.gathered.wait()
        trying = [task for task in self._tasks if task.get_name() == CANDIDATE]
        if trying:
            await asyncio.wait(trying)
        assert self._peer is not None
        await self._peer.addIceCandidate(None)

    # What aiortc tells

    def _take_channel(self, rtc: RTCDataChannel) -> None:
        """The peer has opened a channel: the answerer expects exactly one."""
        sound = rtc.label == LABEL and rtc.ordered
        reliable = rtc.maxRetransmits is None and rtc.maxPacketLifeTime is None
        if self._offerer or self._channel is not None or not (sound and reliable):
            self._fail(PeerMisbehaved("it opened a data channel that is not expected"))
            return
        assert self._remote is not None
        self._channel = self._wrap(rtc)
        self._channel.max_message = _accepted(self._remote)
        self._channel_opened()

    def _channel_opened(self) -> None:
        if self._opened is not None and not self._opened.done() and self._channel is not None:
            self._report("connected")
            self._opened.set_result(self._channel)

    def _channel_closed(self) -> None:
        lost = self._peer is not None and self._peer.iceConnectionState == "failed"
        self._report("disconnected" if lost else "closed")
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(PeerGone("the other side closed the connection"))

    def _ice_changed(self) -> None:
        assert self._peer is not None
        if self._peer.iceConnectionState == "completed" and self._agent is not None:
            self._round_trip = self._spawn(self._measure(self._agent))

    def _state_changed(self) -> None:
        peer = self._peer
        if peer is None or self._closing is not None or peer.connectionState != "failed":
            return
        if self._opened is None or self._opened.done():
            return
        if peer.iceConnectionState != "completed":
            self._fail(self._no_path("that works"))
        elif peer.sctp is not None and peer.sctp.transport.encrypted:
            self._fail(
                ConnectionFailed(
                    "whoever answers at the other side's address does not hold its certificate",
                    "somebody may sit in between: try again over another network",
                )
            )
        else:
            self._fail(ConnectionFailed("the encrypted connection could not be set up"))

    async def _measure(self, agent: ice.Agent) -> None:
        seconds = await agent.round_trip()
        self._rtt = None if seconds is None else round(seconds * 1000, 2)

    # Ends

    def _spawn(
        self, work: Coroutine[Any, Any, None], name: str | None = None
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
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

    def _no_path(self, how: str, hint: str | None = None) -> ConnectionFailed:
        """The error that tells what was tried."""
        agent = self._agent
        here = agent.kinds if agent is not None else {c.type for c in self._own_candidates()}
        parts = [f"here {_listed(here)}"]
        if self._remote is None:
            parts.append("the other side told nothing")
        else:
            parts.append(f"there {_listed(self._remote_kinds)}")
        parts += agent.outcomes if agent is not None else []
        return ConnectionFailed(f"no path to the other side {how} ({'; '.join(parts)})", hint)

    def _own_candidates(self) -> tuple[Candidate, ...]:
        return self._local.candidates if self._local is not None else ()

    async def _close(self) -> None:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(PeerGone("the connection was closed on this side"))
        channel, peer, agent = self._channel, self._peer, self._agent
        if channel is not None and not channel.closed.is_set():
            channel.start_closing()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(channel.closed.wait(), CLOSE_GRACE)
        if agent is not None:
            await agent.close()
        if peer is not None:
            ending = asyncio.ensure_future(peer.close())
            await asyncio.wait({ending}, timeout=CLOSE_LIMIT)
            if agent is not None:
                if not ending.done():
                    agent.abandon()
                await asyncio.wait({ending}, timeout=CLOSE_LIMIT)
                await agent.closed()
        if channel is not None:
            channel.mark_closed()
        self._report("closed")


def _accepted(remote: Description) -> int:
    """Bytes in a message: what the peer takes, but no more than is of use."""
    return min(remote.max_message or BEST_MESSAGE, BEST_MESSAGE)


def _listed(kinds: Collection[str]) -> str:
    names = {"host": "local", "srflx": "public", "relay": "relayed"}
    shown = [names.get(kind, kind) for kind in sorted(kinds)]
    return f"{', '.join(shown)} addresses" if shown else "no address"


def _retrieve(future: asyncio.Future[RtcChannel]) -> None:
    """An error that nobody waits for, since `open` was never called, is not a crash."""
    if not future.cancelled():
        future.exception()
