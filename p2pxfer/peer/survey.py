"""What this machine's way to the internet is like, asked of STUN and TURN servers.

Which questions are worth asking, and what the answers mean to people, is decided elsewhere. NAT
behaviour is told in the words of RFC 4787 and found as RFC 5780 says, where a server has a second
address; two servers do for half of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from aioice import ice, stun
from msgspec import Struct

from p2pxfer.peer import gathering
from p2pxfer.peer.servers import Endpoint

_WAITS: Final = (0.2, 0.4, 0.8)  # seconds for an answer to each repetition
_CHANGE_PORT, _CHANGE_BOTH = 0x02, 0x06  # RFC 5780 section 7.2

Address = tuple[str, int]


class Dependence(StrEnum):
    """What a NAT's mapping or filtering depends on (RFC 4787 sections 4.1 and 5)."""

    NONE = "endpoint-independent"
    ADDRESS = "address-dependent"
    PORT = "address and port-dependent"


class Nat(Struct, frozen=True):
    """What lies between this machine and the servers.

    Attributes:
        local: the address that was asked from.
        public: the address that the servers saw.
        mapping: None where nobody could tell.
        filtering: the same; only a server with a second address can tell.
    """

    local: Address
    public: Address
    mapping: Dependence | None
    filtering: Dependence | None

    @property
    def translates(self) -> bool:
        """Whether there is a NAT at all."""
        return self.local != self.public


class _Asker(asyncio.DatagramProtocol):
    """One socket that asks; answers are told apart by their transaction."""

    def __init__(self) -> None:
        self._answers: dict[bytes, asyncio.Future[stun.Message]] = {}
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, _address: Any) -> None:
        try:
            message = stun.parse_message(data)
        except ValueError:
            return
        answer = self._answers.get(message.transaction_id)
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def ask(self, server: Address, change: int = 0) -> stun.Message | None:
        """The answer of a server, None if none came."""
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        if change:
            request.attributes["CHANGE-REQUEST"] = change
        answer = asyncio.get_running_loop().create_future()
        self._answers[request.transaction_id] = answer
        try:
            for wait in _WAITS:
                self._transport.sendto(bytes(request), server)
                with contextlib.suppress(TimeoutError):
                    return await asyncio.wait_for(asyncio.shield(answer), wait)
        finally:
            del self._answers[request.transaction_id]
        return None


async def nat(
    servers: Sequence[Endpoint], family: socket.AddressFamily = socket.AF_INET
) -> Nat | None:
    """Ask STUN servers what they see of one socket.

    Returns:
        None when no server answers in that family.
    """
    addresses = [await gathering.resolve(endpoint, family) for endpoint in servers]
    known = [address for address in addresses if address is not None]
    if not known:
        return None
    loop = asyncio.get_running_loop()
    try:
        transport, asker = await loop.create_datagram_endpoint(
            _Asker, local_addr=(_source(known[0], family), 0)
        )
    except OSError:
        return None
    try:
        local = transport.get_extra_info("sockname")[:2]
        return await _survey(asker, known, local)
    finally:
        transport.close()


async def _survey(asker: _Asker, servers: Sequence[Address], local: Address) -> Nat | None:
    answers = await asyncio.gather(*(asker.ask(server) for server in servers))
    heard = [
        (server, answer)
        for server, answer in zip(servers, answers, strict=True)
        if answer is not None and "XOR-MAPPED-ADDRESS" in answer.attributes
    ]
    if not heard:
        return None
    server, first = heard[0]
    public = first.attributes["XOR-MAPPED-ADDRESS"]
    other = first.attributes.get("OTHER-ADDRESS")
    mapping = filtering = None
    if other is not None:
        mapping = await _mapping(asker, server, other, public)
        filtering = await _filtering(asker, server)
    elif len({server[0] for server, _ in heard}) > 1:
        seen = {answer.attributes["XOR-MAPPED-ADDRESS"] for _, answer in heard}
        mapping = Dependence.NONE if len(seen) == 1 else Dependence.ADDRESS
    return Nat(local, public, mapping, filtering)


async def _mapping(
    asker: _Asker, server: Address, other: Address, public: Address
) -> Dependence | None:
    """RFC 5780 section 4.3."""
    elsewhere = await asker.ask((other[0], server[1]))
    if elsewhere is None:
        return None
    second = elsewhere.attributes.get("XOR-MAPPED-ADDRESS")
    if second == public:
        return Dependence.NONE
    third = await asker.ask(other)
    if third is None:
        return None
    same = third.attributes.get("XOR-MAPPED-ADDRESS") == second
    return Dependence.ADDRESS if same else Dependence.PORT


async def _filtering(asker: _Asker, server: Address) -> Dependence:
    """RFC 5780 section 4.4."""
    if await asker.ask(server, _CHANGE_BOTH) is not None:
        return Dependence.NONE
    if await asker.ask(server, _CHANGE_PORT) is not None:
        return Dependence.ADDRESS
    return Dependence.PORT


def _source(server: Address, family: socket.AddressFamily) -> str:
    """The address from which the system would send to a server; nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(server)
        return str(probe.getsockname()[0])


async def turn(endpoint: Endpoint) -> str | None:
    """Have a TURN server give an address, and give it back. Returns what went wrong, or None."""
    connection = ice.Connection(ice_controlling=True)
    relay = await gathering.ask_turn(endpoint, connection, hide=False)
    if isinstance(relay, str):
        return relay
    await relay.close()
    return None


def source(host: str = "2001:db8::1", family: socket.AddressFamily = socket.AF_INET6) -> str | None:
    """The address that this machine would use towards another, None if it knows no way."""
    try:
        return _source((host, 9), family)
    except OSError:
        return None
