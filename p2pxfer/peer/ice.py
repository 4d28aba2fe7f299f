"""Gathering and trickling as aiortc doesn't: the only room that uses private names below it.

aiortc gathers everything before it says anything, asks one STUN and one TURN server, and skips
the loopback addresses. `Agent` takes over the gathering of one connection: host addresses at
once, the rest in the background and told one by one. `attach` checks first that every name it
relies on is there; where one is missing there is no agent, and aiortc does it all its own way.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from aioice import Candidate as IceCandidate
from aioice import candidate as ice_candidate
from aioice import ice, stun, turn

from p2pxfer.peer.servers import Endpoint
from p2pxfer.peer.signals import Candidate

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

LOOPBACK = ("127.0.0.1", "::1")  # exactly what aioice leaves out
MAX_HOSTS = 32  # addresses of this machine that are used
MAX_ENDPOINTS = 8  # servers that are asked
STUN_TRIES = 3  # repeats: 0.5, 1 and 2 s apart, which is long for a server that lives
TURN_TIMEOUT = 8.0  # seconds for an allocation, its name look-up and TLS included
RELAY_HEAD_START = 1.0  # seconds that direct pairs get before relayed ones are tried

_CONNECTION_NAMES = (
    "_check_list_done",
    "_closing",
    "_local_candidates",
    "_local_candidates_end",
    "_local_candidates_start",
    "_nominated",
    "_pair_remote_candidate",
    "_protocols",
    "_remote_candidates",
    "build_request",
    "connect",
    "gather_candidates",
    "sort_check_list",
)
_SCTP_NAMES = ("_data_channel_queue", "_outbound_queue", "_receive_sack_chunk", "_sent_queue")


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
        transport = dtls.transport
        connection = transport.iceGatherer._connection
        names = [hasattr(connection, name) for name in _CONNECTION_NAMES]
        names += [hasattr(sctp, name) for name in _SCTP_NAMES]
        names += [hasattr(dtls, "_send_data"), hasattr(transport, "_send")]
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
        self._sctp = sctp
        self._dtls = sctp.transport
        self._connection = self._dtls.transport.iceGatherer._connection
        self._endpoints = endpoints[:MAX_ENDPOINTS]
        self._relay_only = relay_only
        self._loopback = loopback
        self._on_candidate = on_candidate
        self._tasks: list[asyncio.Task[None]] = []
        self._relays: list[ice.StunProtocol] = []
        self._relay_found = asyncio.Event()
        self._gathered = asyncio.Event()
        self._release = asyncio.Event()
        self._checks_over = asyncio.Event()
        self._checks_over.set()
        self._told: set[tuple[str, int]] = set()
        self._acknowledging: list[asyncio.Event] = []
        if relay_only:
            self._release.set()
        self._check_pairs = self._connection.connect
        self._connection.gather_candidates = self._gather
        self._connection.connect = self._connect
        self._shorten_sending()

    @property
    def gathered(self) -> asyncio.Event:
        """Set once every server has answered or been given up."""
        return self._gathered

    @property
    def released(self) -> asyncio.Event:
        """Set once relayed candidates may be tried, direct ones having had their chance."""
        return self._release

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
        relayed = "relay" in (pair.local_candidate.type, pair.remote_candidate.type)
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

    async def acknowledged(self) -> None:
        """Wait until the peer's SCTP has acknowledged all that was sent."""
        sctp = self._sctp

        def outstanding() -> bool:
            return bool(sctp._data_channel_queue or sctp._outbound_queue or sctp._sent_queue)

        if not outstanding():
            return
        changed = asyncio.Event()
        self._acknowledging.append(changed)
        handle = type(sctp)._receive_sack_chunk

        async def handle_and_tell(chunk: Any) -> None:
            await handle(sctp, chunk)
            for waiting in self._acknowledging:
                waiting.set()

        sctp._receive_sack_chunk = handle_and_tell
        try:
            while outstanding():
                changed.clear()
                await changed.wait()
        finally:
            self._acknowledging.remove(changed)
            if not self._acknowledging:
                del sctp._receive_sack_chunk

    def stop_gathering(self) -> None:
        """Ask no server any more: a path is found, or no longer wanted."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """End what runs in the background."""
        self.stop_gathering()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def closed(self) -> None:
        """After the connection was closed: wait until its checks have ended."""
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
        work: list[Coroutine[Any, Any, None]] = []
        for endpoint in self._endpoints:
            if endpoint.kind == "turn":
                work.append(self._ask_turn(endpoint))
            elif not self._relay_only:
                work.append(self._ask_stun(endpoint, tuple(connection._protocols)))
        self._tasks.append(asyncio.create_task(self._ask_all(work)))
        if self._relay_only:
            await self._relay_found.wait()
        connection._local_candidates_end = True

    async def _gather_hosts(self) -> None:
        connection = self._connection
        addresses: list[str] = []
        if not self._loopback:
            addresses = ice.get_host_addresses(use_ipv4=True, use_ipv6=True)[:MAX_HOSTS]
        for chosen in (addresses, LOOPBACK):
            found = await connection.get_component_candidates(component=1, addresses=list(chosen))
            if found:
                connection._local_candidates += found
                self.kinds.add("host")
                return

    async def _ask_all(self, work: Sequence[Coroutine[Any, Any, None]]) -> None:
        try:
            await asyncio.gather(*work)
        finally:
            self._relay_found.set()
            self._gathered.set()

    async def _ask_stun(self, endpoint: Endpoint, protocols: Sequence[ice.StunProtocol]) -> None:
        """Ask from every host address of a family that the server has."""
        questions = []
        for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            own = [p for p in protocols if _version(p.local_candidate.host) == version]
            if own:
                questions.append(self._ask_stun_family(endpoint, own, family))
        if not any(await asyncio.gather(*questions)):
            self.outcomes.append(f"{endpoint} did not answer")

    async def _ask_stun_family(
        self, endpoint: Endpoint, protocols: Sequence[ice.StunProtocol], family: int
    ) -> bool:
        address = await _resolve(endpoint, family)
        if address is None:
            return False
        answers = [self._reflexive(protocol, address) for protocol in protocols]
        return any(await asyncio.gather(*answers))

    async def _reflexive(self, protocol: ice.StunProtocol, server: tuple[str, int]) -> bool:
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        try:
            response, _ = await protocol.request(request, server, retransmissions=STUN_TRIES)
            host, port = response.attributes["XOR-MAPPED-ADDRESS"]
        except (stun.TransactionError, KeyError, OSError):
            return False
        base = protocol.local_candidate
        if (host, port) != (base.host, base.port):  # else there is no NAT in between
            self.kinds.add("srflx")
            self._tell(
                Candidate(
                    ice_candidate.candidate_foundation("srflx", "udp", base.host),
                    ice_candidate.candidate_priority(1, "srflx"),
                    host,
                    port,
                    "srflx",
                    (base.host, base.port),
                )
            )
        return True

    async def _ask_turn(self, endpoint: Endpoint) -> None:
        try:
            async with asyncio.timeout(TURN_TIMEOUT):
                protocol = await self._allocate(endpoint)
        except (TimeoutError, stun.TransactionTimeout):
            self.outcomes.append(f"{endpoint} did not answer")
        except stun.TransactionFailed as error:
            code = error.response.error_code
            refused = "refused the credentials" if code in (401, 431, 441) else f"refused: {error}"
            self.outcomes.append(f"{endpoint} {refused}")
        except (OSError, ValueError, KeyError) as error:
            self.outcomes.append(f"{endpoint} failed: {error or type(error).__name__}")
        else:
            await self._use_relay(protocol)

    async def _allocate(self, endpoint: Endpoint) -> ice.StunProtocol:
        address = await _resolve(endpoint, socket.AF_UNSPEC)
        if address is None:
            message = "its name is not known"
            raise OSError(message)
        connection = self._connection
        _, protocol = await turn.create_turn_endpoint(
            lambda: ice.StunProtocol(connection),
            # TLS compares the certificate with the name.
            server_addr=(endpoint.host, endpoint.port) if endpoint.tls else address,
            username=endpoint.username,
            password=endpoint.credential,
            ssl=endpoint.tls or None,
            transport=endpoint.transport,
        )
        host, port = protocol.transport.get_extra_info("sockname")
        related = protocol.transport.get_extra_info("related_address")
        if self._relay_only:  # RFC 8839 section 5.1: what may not be told is told as nothing
            related = ("0.0.0.0" if _version(host) == 4 else "::", 9)  # noqa: PLR2004, S104
        # The same address over TCP costs the server and the path more: UDP first.
        preference = 65535 if endpoint.transport == "udp" else 32767
        protocol.local_candidate = IceCandidate(
            foundation=ice_candidate.candidate_foundation("relay", "udp", host),
            component=1,
            transport="udp",
            priority=ice_candidate.candidate_priority(1, "relay", preference),
            host=host,
            port=port,
            type="relay",
            related_address=related[0],
            related_port=related[1],
        )
        return protocol

    async def _use_relay(self, protocol: ice.StunProtocol) -> None:
        """Tell of a relay at once, try it when direct pairs have had their chance."""
        connection = self._connection
        self.kinds.add("relay")
        self._relays.append(protocol)
        connection._local_candidates.append(protocol.local_candidate)
        self._relay_found.set()
        self._tell(_told(protocol.local_candidate))
        try:
            await self._release.wait()
        except asyncio.CancelledError:
            protocol.transport.close()  # not needed: the server may give it to somebody else
            raise
        connection._protocols.append(protocol)
        for remote in connection._remote_candidates:
            connection._pair_remote_candidate(remote)
        connection.sort_check_list()

    def _tell(self, candidate: Candidate) -> None:
        address = (candidate.address, candidate.port)
        if address not in self._told:
            self._told.add(address)
            self._on_candidate(candidate)

    # Checking and sending

    async def _connect(self) -> None:
        """What aiortc awaits while pairs are checked."""
        self._checks_over.clear()
        loop = asyncio.get_running_loop()
        head_start = loop.call_later(RELAY_HEAD_START, self._release.set)
        try:
            await self._check_pairs()
            self.stop_gathering()
        finally:
            head_start.cancel()
            self._checks_over.set()

    def _shorten_sending(self) -> None:
        """One step from DTLS to the socket instead of three, and no error once that is closed.

        aiortc sends from tasks that nobody awaits: what they raise when a connection has just
        ended would be logged as an exception never retrieved.
        """
        nominated = self._connection._nominated
        dtls = self._dtls

        async def send(data: bytes) -> None:
            pair = nominated.get(1)
            if pair is not None:
                pair.protocol.transport.sendto(data, pair.remote_addr)

        async def discard(_data: bytes) -> None:
            """The transport is closed."""

        def changed() -> None:
            if dtls.state in ("closed", "failed"):
                dtls._send_data = discard
                task = getattr(dtls, "_task", None)
                if task is not None:
                    task.add_done_callback(_retrieve)

        dtls.transport._send = send
        dtls.on("statechange", changed)


def _retrieve(task: asyncio.Task[None]) -> None:
    """A peer's malformed packet has ended the reading task: that closes, and is no crash."""
    if not task.cancelled():
        task.exception()


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


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


async def _resolve(endpoint: Endpoint, family: int) -> tuple[str, int] | None:
    """Look a server's name up, in a thread that nobody waits for when the program ends."""
    try:
        version = _version(endpoint.host)
    except ValueError:
        pass
    else:
        fits = family in (socket.AF_UNSPEC, socket.AF_INET if version == 4 else socket.AF_INET6)  # noqa: PLR2004
        return (endpoint.host, endpoint.port) if fits else None
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[str, int] | None] = loop.create_future()

    def tell(found: tuple[str, int] | None) -> None:
        if not answer.done():
            answer.set_result(found)

    def ask() -> None:
        found = None
        try:
            infos = socket.getaddrinfo(endpoint.host, endpoint.port, family, socket.SOCK_DGRAM)
            found = (str(infos[0][4][0]), endpoint.port)
        except (OSError, UnicodeError):
            pass
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, found)

    threading.Thread(target=ask, name="p2pxfer-resolve", daemon=True).start()
    return await answer
