"""Gathering and trickling as aiortc doesn't; uses private names below it, as `inflow` does.

aiortc gathers everything before it says anything, asks one STUN and one TURN server, and skips
the loopback addresses. `Agent` takes over the gathering of one connection: host addresses at
once, the rest in the background and told one by one. `attach` checks first that every name it
relies on is there; where one is missing there is no agent, and aiortc does it all its own way.
How servers and this machine are asked is in `gathering`; what goes over a path that was found is
in `transports`.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from aioice import ice, stun, turn

from p2pxfer.peer import gathering, strangers, transports, triggered, tunnels
from p2pxfer.peer.candidates import Candidate
from p2pxfer.peer.headstart import HeadStart
from p2pxfer.peer.servers import Endpoint

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

MAX_ENDPOINTS = 8  # servers that are asked

_CONNECTION_NAMES = (
    "_check_list_done",
    "_closing",
    "_local_candidates",
    "_local_candidates_end",
    "_local_candidates_start",
    "_nominated",
    "_pair_remote_candidate",
    "_protocols",
    "_query_consent_task",
    "_remote_candidates",
    "build_request",
    "connect",
    "gather_candidates",
    "sort_check_list",
)


class SelectedPair(NamedTuple):
    """The two ends of the path in use: ``host:port`` and whether either is relayed."""

    local: str
    remote: str
    relayed: bool


def attach(
    peer: RTCPeerConnection,
    endpoints: Sequence[Endpoint],
    *,
    relay_only: bool,
    loopback: bool,
    on_candidate: Callable[[Candidate], None],
) -> Agent | None:
    """Take over the gathering of ``peer``, whose data-channel transport exists by now.

    Returns:
        The agent, or None when a private name is not as expected.
    """
    try:
        sctp = peer.sctp
        dtls = sctp.transport  # type: ignore[union-attr]  # None is caught with the rest
        connection = dtls.transport.iceGatherer._connection
        names = [hasattr(connection, name) for name in _CONNECTION_NAMES]
        names.append(transports.known(sctp))
        inspect.signature(connection.get_component_candidates).bind(component=1, addresses=[])
        inspect.signature(turn.create_turn_endpoint).bind(
            ice.StunProtocol, server_addr=("", 0), username="", password="", ssl=None, transport=""
        )
        inspect.signature(ice.get_host_addresses).bind(use_ipv4=True, use_ipv6=True)
    except (AttributeError, TypeError):
        return None
    if not all(names):
        return None
    return Agent(sctp, tuple(endpoints), relay_only, loopback, on_candidate)


class Agent:
    """Gathers for one connection, and knows what only private names tell.

    Attributes:
        outcomes: what each server that gave nothing did instead, for people.
        kinds: the kinds of candidates found so far.
        outstanding: what the peer's SCTP has not acknowledged, where that is aiortc's.
    """

    def __init__(
        self,
        sctp: Any,
        endpoints: tuple[Endpoint, ...],
        relay_only: bool,
        loopback: bool,
        on_candidate: Callable[[Candidate], None],
    ) -> None:
        self.outcomes: list[str] = []
        self.kinds: set[str] = set()
        self._connection = sctp.transport.transport.iceGatherer._connection
        self._endpoints = endpoints[:MAX_ENDPOINTS]
        self._relay_only = relay_only
        self._loopback = loopback
        self._on_candidate = on_candidate
        self._tasks: list[asyncio.Task[None]] = []
        self._relays: list[ice.StunProtocol] = []
        self._relay_found = asyncio.Event()
        self._gathered = asyncio.Event()
        self._relays_there: set[tuple[str, int]] = set()
        self._head_start = HeadStart()
        self._checks_over = asyncio.Event()
        self._checks_over.set()
        self._told: set[tuple[str, int]] = set()
        self.outstanding = transports.Outstanding(sctp)
        if relay_only:
            self._head_start.over.set()
        self._check_pairs = self._connection.connect
        self._connection.gather_candidates = self._gather
        self._connection.connect = self._connect
        triggered.attach(self._connection)
        transports.shorten_sending(sctp.transport, self._connection._nominated)

    @property
    def gathered(self) -> asyncio.Event:
        """Set once every server has answered or been given up."""
        return self._gathered

    @property
    def released(self) -> asyncio.Event:
        """Set once relayed candidates may be tried, direct ones having had their chance."""
        return self._head_start.over

    def heard(self, candidate: Candidate) -> None:
        """The other side has told of one more address."""
        if candidate.type == "relay":
            self._relays_there.add((candidate.address, candidate.port))
        else:
            self._head_start.extend()

    def local_candidates(self) -> list[Candidate]:
        """What is known of this side by now; nothing but relays if nothing else may be told."""
        return [
            _told(candidate)
            for candidate in self._connection._local_candidates
            if candidate.type == "relay" or not self._relay_only
        ]

    def selected(self) -> SelectedPair | None:
        """The pair in use, or None when there is none."""
        pair = self._connection._nominated.get(1)
        if pair is None:
            return None
        # A relay that was not tried yet may have been first: then its type is peer-reflexive here.
        relayed = pair.local_candidate.type == "relay" or pair.remote_addr in self._relays_there
        return SelectedPair(_shown(pair.local_addr), _shown(pair.remote_addr), relayed)

    async def round_trip(self) -> float | None:
        """Seconds that one STUN check over the selected pair takes; None if it gets lost."""
        connection = self._connection
        pair = connection._nominated.get(1)
        if pair is None:
            return None
        request = connection.build_request(pair, nominate=False)
        key = connection.remote_password.encode()
        start = time.perf_counter()
        try:
            await pair.protocol.request(
                request, pair.remote_addr, integrity_key=key, retransmissions=0
            )
        except stun.TransactionError:
            return None
        return time.perf_counter() - start

    def stop_gathering(self) -> None:
        """Ask no server any more: a path is found, or no longer wanted."""
        for task in self._tasks:
            task.cancel()
        self._relay_found.set()
        self._gathered.set()

    async def stop(self) -> None:
        """Stop gathering and wait until that has ended."""
        self.stop_gathering()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """While the connection closes: give relays back, and wait until the checks have ended."""
        await asyncio.gather(*(relay.close() for relay in self._relays))
        await self._checks_over.wait()

    def abandon(self) -> None:
        """Let go of sockets whose orderly end, a TURN server's answer, takes too long."""
        for relay in self._relays:
            task = getattr(relay.transport, "_TurnTransport__close_task", None)
            if task is not None:
                task.cancel()

    # Gathering

    async def _gather(self) -> None:
        """What aiortc awaits before it makes a description; slow answers come later."""
        connection = self._connection
        if connection._local_candidates_start:
            return
        connection._local_candidates_start = True
        if not self._relay_only:
            await self._gather_hosts()
        for endpoint in self._endpoints:
            if endpoint.kind == "turn":
                self._ask(self._ask_turn(endpoint))
            elif not self._relay_only:
                self._ask(self._ask_stun(endpoint, tuple(connection._protocols)))
        self._tasks.append(asyncio.create_task(self._all_asked(tuple(self._tasks))))
        if self._relay_only:
            await self._relay_found.wait()
        connection._local_candidates_end = True

    async def _gather_hosts(self) -> None:
        connection = self._connection
        for addresses in gathering.own_addresses(loopback=self._loopback):
            found = await connection.get_component_candidates(component=1, addresses=addresses)
            if found:
                for protocol in connection._protocols:
                    strangers.guard(protocol)
                tunnels.prefer_others(found)
                connection._local_candidates += found
                self.kinds.add("host")
                return

    def _ask(self, question: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(question))

    async def _all_asked(self, questions: Sequence[asyncio.Task[None]]) -> None:
        await asyncio.gather(*questions, return_exceptions=True)
        self._relay_found.set()
        self._gathered.set()

    async def _ask_stun(self, endpoint: Endpoint, protocols: Sequence[ice.StunProtocol]) -> None:
        problem = await gathering.ask_stun(endpoint, protocols, self._tell)
        if problem is not None:
            self.outcomes.append(problem)

    async def _ask_turn(self, endpoint: Endpoint) -> None:
        relay = await gathering.ask_turn(endpoint, self._connection, hide=self._relay_only)
        if isinstance(relay, str):
            self.outcomes.append(relay)
        else:
            await self._use_relay(relay)

    async def _use_relay(self, protocol: ice.StunProtocol) -> None:
        """Tell of a relay at once, try it when direct pairs have had their chance."""
        connection = self._connection
        strangers.guard(protocol)
        self._relays.append(protocol)
        connection._local_candidates.append(protocol.local_candidate)
        self._relay_found.set()
        self._tell(_told(protocol.local_candidate))
        try:
            await self._head_start.over.wait()
        except asyncio.CancelledError:
            protocol.transport.close()  # not needed: the server may give it to somebody else
            raise
        connection._protocols.append(protocol)
        for remote in connection._remote_candidates:
            connection._pair_remote_candidate(remote)
        connection.sort_check_list()

    def _tell(self, candidate: Candidate) -> None:
        address = (candidate.address, candidate.port)
        self.kinds.add(candidate.type)
        if address not in self._told:
            self._told.add(address)
            if candidate.type != "relay":
                self._head_start.extend()
            self._on_candidate(candidate)

    # Checking

    async def _connect(self) -> None:
        """What aiortc awaits while pairs are checked."""
        self._checks_over.clear()
        self._head_start.begin()
        try:
            await self._check_pairs()
            self.stop_gathering()
            consent = self._connection._query_consent_task
            if self._connection._closing and consent is not None:
                consent.cancel()  # aioice starts it even if it was closed meanwhile
        finally:
            self._head_start.stop()
            self._checks_over.set()


def _told(candidate: Any) -> Candidate:
    related = None
    if candidate.related_address is not None:
        related = (candidate.related_address, candidate.related_port)
    return Candidate(
        candidate.foundation,
        candidate.priority,
        candidate.host,
        candidate.port,
        candidate.type,
        related,
    )


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
