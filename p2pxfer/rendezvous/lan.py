"""Rooms on this network: announced and found by mDNS and DNS-SD (RFC 6762, RFC 6763).

A service ``_p2pxfer._tcp`` under a random name says in its TXT record which nameplate its machine
has a room for. Words, and who the machine or its user is, are not in it. Anybody on the network can
announce anything, so that whatever is found is only a place to ask: a hostile rendezvous at worst.
Nothing else imports zeroconf. What is said at the place is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Final

from zeroconf import DNSQuestionType, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from p2pxfer.errors import RendezvousUnreachable
from p2pxfer.rendezvous import interfaces
from p2pxfer.rendezvous.interfaces import Address, Place

SERVICE: Final = "_p2pxfer._tcp.local."
SECOND: Final = 0.2  # seconds between two ways to ask
SETTLE: Final = (
    0.45  # seconds from the first question for others of one nameplate to answer it, and
)
LATER: Final = (
    0.15  # from the first answer, which are held back by up to 0.12 (RFC 6762, section 6)
)
_NAMEPLATE: Final = "nameplate"  # TXT key
_TTL: Final = 120  # seconds that others may remember an announcement (RFC 6762, section 10)
_MAX_INSTANCES: Final = 256  # services that are looked at in all
_MAX_SERVICES: Final = 16  # of one nameplate
_MAX_ADDRESSES: Final = 16  # of one service
_REQUEST: Final = 2000  # ms for the records of one service


Service = tuple[Place, ...]  # one machine's room, and the places that lead to it


class Announcement:
    """A nameplate that this network can find, until `withdraw`."""

    def __init__(self, responder: AsyncZeroconf, sending: asyncio.Future[None]) -> None:
        self._responder = responder
        self._sending = sending

    async def withdraw(self) -> None:
        """Say goodbye, once and without waiting: caches forget by themselves, too."""
        self._sending.cancel()
        await asyncio.gather(self._sending, return_exceptions=True)
        zeroconf = self._responder.zeroconf
        goodbye = zeroconf.generate_unregister_all_services()
        if goodbye is not None:
            with contextlib.suppress(OSError):
                zeroconf.async_send(goodbye)
        await self._responder.async_close()


async def announce(nameplate: int, port: int, addresses: Sequence[Address]) -> Announcement:
    """Answer whoever on this network looks for ``nameplate``.

    Args:
        nameplate: of the room.
        port: where the rendezvous listens, on each of ``addresses``.
        addresses: of this machine, the likeliest first; `_MAX_ADDRESSES` of them are announced.

    Raises:
        RendezvousUnreachable: this machine can't speak mDNS.
    """
    name = f"{secrets.token_hex(8)}.{SERVICE}"
    info = AsyncServiceInfo(
        SERVICE,
        name,
        port=port,
        properties={_NAMEPLATE: str(nameplate)},
        parsed_addresses=[str(address) for address in addresses[:_MAX_ADDRESSES]],
        host_ttl=_TTL,
        other_ttl=_TTL,
    )
    responder = await _open()
    try:
        sending = await responder.async_register_service(info, cooperating_responders=True)
    except BaseException:
        await responder.async_close()
        raise
    return Announcement(responder, asyncio.ensure_future(sending))


async def find(nameplate: int, seconds: float) -> tuple[Service, ...]:
    """The services of ``nameplate`` on this network, sorted; none if there are none.

    Waits for `SETTLE` to hear of all; ``seconds``, if there are none.

    Raises:
        RendezvousUnreachable: this machine can't speak mDNS.
    """
    search = _Search(nameplate)
    finder = await _open()
    browsers: list[AsyncServiceBrowser] = []
    now = asyncio.get_running_loop().time
    began = now()
    try:
        # QM is answered by multicast, unless that was done within the last second. QU is answered
        # then, too, but by unicast, which another program that shares port 5353 may get instead,
        # and take for a sign that all have heard it (RFC 6762, sections 5.4, 6 and 15.1). So QU
        # comes second.
        for kind in (DNSQuestionType.QM, DNSQuestionType.QU):
            browsers.append(
                AsyncServiceBrowser(
                    finder.zeroconf, SERVICE, handlers=[search.heard], question_type=kind
                )
            )
            await asyncio.sleep(SECOND)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(began + seconds):
                await search.first.wait()
        await asyncio.sleep(max(began + SETTLE, search.since + LATER) - now())
    finally:
        for browser in browsers:
            await browser.async_cancel()
        await search.close()
        await finder.async_close()
    return tuple(sorted(search.services))


class _Search:
    """What has been heard of one nameplate."""

    def __init__(self, nameplate: int) -> None:
        self.first = asyncio.Event()
        self.since = 0.0  # the loop's time of the first answer
        self.services: set[Service] = set()
        self._wanted = str(nameplate).encode()
        self._known = interfaces.own()
        self._heard: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def heard(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """A service came, changed or went; zeroconf names these arguments."""
        gone = state_change is ServiceStateChange.Removed
        if gone or name in self._heard or len(self._heard) >= _MAX_INSTANCES:
            return
        self._heard.add(name)
        task = asyncio.create_task(self._ask(zeroconf, AsyncServiceInfo(service_type, name)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ask nothing more."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, zeroconf: Zeroconf, info: AsyncServiceInfo) -> None:
        await info.async_request(zeroconf, _REQUEST)
        if info.properties.get(_NAMEPLATE.encode()) != self._wanted or not info.port:
            return
        places = tuple(sorted(self._places(info)))
        if places and len(self.services) < _MAX_SERVICES:
            self.services.add(places)
            if not self.first.is_set():
                self.since = asyncio.get_running_loop().time()
                self.first.set()

    def _places(self, info: AsyncServiceInfo) -> Iterator[Place]:
        """Where ``info`` says it is, as far as that is on this network."""
        for text in info.parsed_scoped_addresses(IPVersion.All)[:_MAX_ADDRESSES]:
            bare, _, zone = text.partition("%")
            address = ip_address(bare)
            if not interfaces.is_near(address, self._known):
                continue
            if isinstance(address, IPv6Address) and address.is_link_local:
                if zone:
                    yield Place(f"{address}%{zone}", info.port or 0)
            else:
                yield Place(str(address), info.port or 0)


async def _open() -> AsyncZeroconf:
    """Sockets on every interface; on IPv4 alone where the system has no IPv6."""
    failure: Exception | None = None
    for version in (IPVersion.All, IPVersion.V4Only):
        try:
            opened = AsyncZeroconf(ip_version=version)
            await opened.zeroconf.async_wait_for_start()
        except (OSError, RuntimeError) as error:
            failure = error
        else:
            return opened
    raise RendezvousUnreachable(f"this machine can't look around its network: {failure}")
