"""What this machine, and STUN and TURN servers, tell of its addresses, asked one by one.

Each question ends by itself in bounded time, and a server that is dead, unknown or unwilling is
told in words for people. Which connection the answers are for is not decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence

import ifaddr
from aioice import Candidate as IceCandidate
from aioice import ice, stun, turn
from aioice.candidate import candidate_foundation, candidate_priority

from p2pxfer.peer.candidates import Candidate
from p2pxfer.peer.servers import Endpoint

LOOPBACK = ("127.0.0.1", "::1")  # exactly what aioice leaves out
MAX_HOSTS = 32  # addresses of this machine that are used
STUN_REPEATS = 3  # 0.5, 1 and 2 s apart, which is long for a server that lives
TURN_TIMEOUT = 8.0  # seconds for an allocation, its name look-up and TLS included
NAME_TIMEOUT = 8.0  # seconds for a name look-up

IPV4 = 4
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_REFUSED = (401, 431, 441)  # RFC 8489 section 14.8, RFC 8656 section 19: the credentials are wrong


def own_addresses(*, loopback: bool) -> Iterator[list[str]]:
    """Addresses of this machine, those first that should be used if any of them can be.

    Args:
        loopback: use nothing but the loopback addresses.
    """
    if not loopback:
        yield ice.get_host_addresses(use_ipv4=True, use_ipv6=True)[:MAX_HOSTS]
        yield _link_local()[:MAX_HOSTS]
    yield list(LOOPBACK)


def _link_local() -> list[str]:
    """IPv6 addresses with their zones, which aioice leaves out. A socket bound to one keeps to it.

    For a network on which nobody was given any other address; elsewhere they would only be told
    to strangers.
    """
    return [
        f"{entry.ip[0]}%{entry.ip[2]}"
        for adapter in ifaddr.get_adapters()
        for entry in adapter.ips
        if not isinstance(entry.ip, str) and entry.ip[2]
    ]


async def ask_stun(
    endpoint: Endpoint,
    protocols: Sequence[ice.StunProtocol],
    found: Callable[[Candidate], None],
) -> str | None:
    """Ask from every host address of a family that the server has.

    Args:
        endpoint: the server.
        protocols: the sockets to ask from; their local candidates are known.
        found: takes each server-reflexive candidate as it comes.

    Returns:
        What went wrong, or None.
    """
    questions = []
    for version, family in _FAMILIES.items():
        own = [p for p in protocols if version_of(p.local_candidate.host) == version]
        if own:
            questions.append(_ask_family(endpoint, own, family, found))
    answers = await asyncio.gather(*questions)
    return None if any(answers) else f"{endpoint} did not answer"


async def _ask_family(
    endpoint: Endpoint,
    protocols: Sequence[ice.StunProtocol],
    family: int,
    found: Callable[[Candidate], None],
) -> bool:
    address = await resolve(endpoint, family)
    if address is None:
        return False
    answers = [_reflexive(protocol, address, found) for protocol in protocols]
    return any(await asyncio.gather(*answers))


async def _reflexive(
    protocol: ice.StunProtocol, server: tuple[str, int], found: Callable[[Candidate], None]
) -> bool:
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    try:
        response, _ = await protocol.request(request, server, retransmissions=STUN_REPEATS)
        host, port = response.attributes["XOR-MAPPED-ADDRESS"]
    except (stun.TransactionError, KeyError, OSError):
        return False
    base = protocol.local_candidate
    if (host, port) != (base.host, base.port):  # else there is no NAT in between
        foundation = candidate_foundation("srflx", "udp", base.host)
        priority = candidate_priority(1, "srflx")
        found(Candidate(foundation, priority, host, port, "srflx", (base.host, base.port)))
    return True


async def ask_turn(
    endpoint: Endpoint, connection: ice.Connection, *, hide: bool
) -> ice.StunProtocol | str:
    """Have a TURN server give an address.

    Args:
        endpoint: the server.
        connection: what is to receive over the relay.
        hide: leave the address from which this machine reached the server out of the candidate.

    Returns:
        The relay, its local candidate set; or what went wrong.
    """
    try:
        async with asyncio.timeout(TURN_TIMEOUT):
            protocol = await _allocate(endpoint, connection)
    except (stun.TransactionError, OSError, ValueError, KeyError) as error:
        return f"{endpoint} {_problem(error)}"
    host, port = protocol.transport.get_extra_info("sockname")
    related = protocol.transport.get_extra_info("related_address")
    if hide:  # RFC 8839 section 5.1 gives what stands for nothing
        related = ("0.0.0.0" if version_of(host) == IPV4 else "::", 9)  # noqa: S104  # no socket
    # The same relay over TCP is slower: UDP first.
    preference = 65535 if endpoint.transport == "udp" else 32767
    protocol.local_candidate = IceCandidate(
        foundation=candidate_foundation("relay", "udp", host),
        component=1,
        transport="udp",
        priority=candidate_priority(1, "relay", preference),
        host=host,
        port=port,
        type="relay",
        related_address=related[0],
        related_port=related[1],
    )
    return protocol


def _problem(error: Exception) -> str:
    """What a TURN server did instead of giving an address, to follow its name."""
    match error:
        case TimeoutError() | stun.TransactionTimeout():
            return "did not answer"
        case stun.TransactionFailed() if error.response.error_code in _REFUSED:
            return "refused the username or password"
        case stun.TransactionFailed():
            return f"refused: {error}"
        case ssl.SSLCertVerificationError():
            return f"has a certificate that is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"speaks no TLS: {error.reason or error}"
        case _:
            reason = getattr(error, "strerror", None) or error or type(error).__name__
            return f"failed: {reason}"


async def _allocate(endpoint: Endpoint, connection: ice.Connection) -> ice.StunProtocol:
    address = await resolve(endpoint, socket.AF_UNSPEC)
    if address is None:
        message = "its name is not known"
        raise OSError(message)
    _, protocol = await turn.create_turn_endpoint(
        lambda: ice.StunProtocol(connection),
        # TLS compares the certificate with the name.
        server_addr=(endpoint.host, endpoint.port) if endpoint.tls else address,
        username=endpoint.username,
        password=endpoint.credential,
        ssl=endpoint.tls or None,
        transport=endpoint.transport,
    )
    return protocol


def version_of(address: str) -> int:
    """4 or 6."""
    return ipaddress.ip_address(address).version


async def resolve(endpoint: Endpoint, family: int) -> tuple[str, int] | None:
    """Look a server's name up, in a thread that nobody waits for when the program ends.

    Returns:
        Address and port, or None when there is none of that family.
    """
    try:
        own_family = _FAMILIES[version_of(endpoint.host)]
    except ValueError:
        pass
    else:
        fits = family in (socket.AF_UNSPEC, own_family)
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
    try:
        return await asyncio.wait_for(answer, NAME_TIMEOUT)
    except TimeoutError:
        return None
