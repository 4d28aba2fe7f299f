"""Meeting without a server that anybody set up: the sender runs the rendezvous, for this network.

`Host` is the sender's side, `find` and `reach` the receiver's; either comes to the URL of a
rendezvous. What is said there is not known here, and it is trusted no more than any other.
"""

# ruff: noqa: PLC0415  # aiohttp and zeroconf load when they are needed, not before

from __future__ import annotations

import asyncio
import contextlib
import importlib
import secrets
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from p2pxfer.errors import PeerGone, RendezvousError, RendezvousUnreachable, UsageError
from p2pxfer.progress import Note, Progress, Waiting
from p2pxfer.rendezvous import address as addresses
from p2pxfer.rendezvous.certificates import read_late
from p2pxfer.rendezvous.messages import LAN_NAMEPLATES

if TYPE_CHECKING:
    from p2pxfer.rendezvous.interfaces import Own, Place
    from p2pxfer.rendezvous.lan import Announcement
    from p2pxfer.rendezvous.server.app import Running

SEARCH: Final = 5.0  # seconds to look for a sender: mDNS asks again after one and after three
FORMS: Final = 2  # addresses that the sender shows, for where it can't be found by itself
CONNECT: Final = 3.0  # seconds for a connection to an address of this network
STAGGER: Final = 0.1  # seconds until the next address is tried, too (RFC 8305, section 5)
# What the sender's machine does for strangers on its network, who may come to its rendezvous.
ROOMS: Final = 256
STORED: Final = 16 * 1024 * 1024  # bytes
MAILED: Final = STORED // 2
CONNECTIONS: Final = 64  # and as many that do nothing: a process on macOS has 256 descriptors
CONNECTIONS_EACH: Final = 16  # of one address


def is_local(nameplate: int) -> bool:
    """Whether a room of that number is looked for on this network, and nowhere else."""
    first, last = LAN_NAMEPLATES
    return first <= nameplate <= last


def is_near(url: str) -> bool:
    """Whether the rendezvous at ``url`` is on this network, where no proxy leads."""
    return addresses.is_near(urlsplit(url).hostname or "")


class Host:
    """A rendezvous in this process, for whoever is on this network.

    Where it is and which room comes first are known at once, so that a code can be shown; then
    comes `open`, and with it all that takes time to load.

    Attributes:
        nameplate: of the first room that `open` makes.
        url: where this process reaches it.
    """

    def __init__(self, progress: Progress) -> None:
        """Take a port, on every address of this machine.

        Raises:
            RendezvousUnreachable: the system does not allow it.
        """
        from p2pxfer.rendezvous import interfaces

        first, last = LAN_NAMEPLATES
        self.nameplate = first + secrets.randbelow(last - first + 1)
        self._listener = _listener()
        self._port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._reachable = interfaces.reachable(interfaces.own())
        self._progress = progress
        self._running: Running | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._announcement: Announcement | None = None

    async def open(self) -> None:
        """Let others in.

        Raises:
            RendezvousUnreachable: the system does not allow it.
        """
        with read_late():
            from p2pxfer.rendezvous.server import app
        from p2pxfer.rendezvous.server.limits import Limits, Rate

        limits = Limits(
            allocations=Rate(8, 30),
            connections=CONNECTIONS_EACH,
            total_connections=CONNECTIONS,
            idle=CONNECTIONS,
            rooms=ROOMS,
            stored=STORED,
            mailed=MAILED,
        )
        first = (self.nameplate, self.nameplate)
        try:
            self._running = await app.start(
                None, 0, listener=self._listener, tiers=(first, LAN_NAMEPLATES), limits=limits
            )
        except OSError as error:
            raise _unheard(error) from error

    def located(self, code: str) -> tuple[str, ...]:
        """``code`` with an address of this machine, as it is typed where nobody finds it."""
        from p2pxfer.rendezvous.interfaces import Place

        near = [address for address in self._reachable if addresses.is_near(str(address))]
        shown = (near or self._reachable)[:FORMS]
        places = [Place(str(address), self._port) for address in shown]
        if near:
            return tuple(f"{code}@{place}" for place in places)
        return tuple(f"http://{place}/#{code}" for place in places)  # with @ it would be https

    def link(self, code: str) -> str:
        """The URL that stands for ``code`` at this machine."""
        from p2pxfer.rendezvous.interfaces import Place

        host = str(self._reachable[0]) if self._reachable else "127.0.0.1"
        return f"http://{Place(host, self._port)}/#{code}"

    def announce(self, nameplate: int) -> None:
        """Begin to answer whoever on this network looks for ``nameplate``, and for no other."""
        before, self._announcing = self._announcing, None
        self._announcing = asyncio.create_task(self._announce(nameplate, before))

    async def close(self) -> None:
        """Answer nobody any more, and hang up on whoever is there."""
        if self._announcing is not None:
            self._announcing.cancel()
            await asyncio.gather(self._announcing, return_exceptions=True)
        await self._withdraw()
        if self._running is not None:
            await self._running.close()
        self._listener.close()

    async def _announce(self, nameplate: int, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        await self._withdraw()
        await load()
        from p2pxfer.rendezvous import lan

        try:
            self._announcement = await lan.announce(nameplate, self._port, self._reachable)
        except RendezvousError as error:
            self._progress.emit(Note(f"{error.message}: give the code with the address"))

    async def _withdraw(self) -> None:
        if self._announcement is not None:
            announcement, self._announcement = self._announcement, None
            await announcement.withdraw()


async def load() -> None:
    """Load what `find` needs."""
    await asyncio.to_thread(importlib.import_module, "p2pxfer.rendezvous.lan")


async def find(nameplate: int, progress: Progress) -> str:
    """The URL of the one rendezvous on this network that announces ``nameplate``.

    Raises:
        PeerGone: nobody announces it.
        UsageError: several machines do; the user has to say which. No guess was spent.
        RendezvousUnreachable: it is announced, but can't be connected to.
    """
    progress.emit(Waiting("network"))
    await load()
    from p2pxfer.rendezvous import interfaces, lan

    services = await lan.find(nameplate, SEARCH)
    if not services:
        raise PeerGone(
            f"nobody on this network offers {nameplate}",
            "check that the sender still waits, and that both machines are on one network\n"
            "if they are, type the longer code with @ and an address that the sender shows\n"
            "if they are not, both sides need a rendezvous: see p2pxfer receive --help",
        )
    known = interfaces.own()
    if len(services) > 1:
        listed = "\n".join(f"{nameplate}-…@{_by_distance(places, known)[0]}" for places in services)
        raise UsageError(
            f"{len(services)} machines on this network offer {nameplate}",
            f"ask the sender which address it shows, and type the code with it:\n{listed}",
        )
    place = await _first_open(_by_distance(services[0], known))
    progress.emit(Note(f"found the sender at {place}", detail=True))
    return f"http://{place}"


async def reach(place: str) -> str:
    """The URL of the rendezvous at ``place``, as a user typed it with a code.

    Raises:
        UsageError: it is no address.
        RendezvousUnreachable: a link-local address without a zone, which no interface leads to.
    """
    from p2pxfer.rendezvous.interfaces import Place

    url = addresses.parse(place)
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        needs_zone = ip_address(host).is_link_local and isinstance(ip_address(host), IPv6Address)
    except ValueError:
        return url
    if not needs_zone or "%" in host:
        return url
    port = parts.port or addresses.DEFAULT_PORT
    zones = [index for index, _ in socket.if_nameindex()]
    found = await _first_open([Place(f"{host}%{zone}", port) for zone in zones])
    return f"{parts.scheme}://{found}{parts.path}"


def _listener() -> socket.socket:
    """A socket on every address of this machine, IPv4 and IPv6, at the usual port if it is free."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        with contextlib.suppress(OSError):
            return socket.create_server(
                ("", addresses.DEFAULT_PORT), family=family, dualstack_ipv6=dual
            )
        return socket.create_server(("", 0), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise _unheard(error) from error


def _unheard(error: OSError) -> RendezvousUnreachable:
    return RendezvousUnreachable(
        f"this machine can't be reached by others: {error.strerror or error}",
        "meet at a rendezvous: type --rendezvous URL, the same on both sides",
    )


def _by_distance(places: Iterable[Place], known: Sequence[Own]) -> list[Place]:
    """``places`` without this machine's own, unless there are no others; IPv4 comes first."""
    own = {str(each.address) for each in known}
    ordered = sorted(places, key=lambda place: (":" in place.host, place))
    return [place for place in ordered if place.host.split("%", 1)[0] not in own] or ordered


async def _first_open(places: Sequence[Place]) -> Place:
    """Whichever of ``places`` takes a connection first.

    Raises:
        RendezvousUnreachable: none does.
    """

    async def attempt(place: Place, delay: float) -> Place:
        await asyncio.sleep(delay)
        _, writer = await asyncio.open_connection(place.host, place.port)
        writer.close()
        return place

    tasks = [
        asyncio.create_task(attempt(place, STAGGER * turn)) for turn, place in enumerate(places)
    ]
    try:
        deadline = CONNECT + STAGGER * len(places)
        with contextlib.suppress(TimeoutError):
            for next_done in asyncio.as_completed(tasks, timeout=deadline):
                with contextlib.suppress(OSError):
                    return await next_done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    raise RendezvousUnreachable(
        f"the sender takes no connection at {', '.join(map(str, places[:4])) or 'any address'}",
        f"a firewall there may be in the way: TCP port {places[0].port} has to be open"
        if places
        else None,
    )
