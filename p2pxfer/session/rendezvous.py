"""The rendezvous as a session visits it: where it is, how it is entered, what it offers and says.

Which room the two sides meet in, and what they do there, is not known here. The client is loaded
when it is needed, and with it what speaks HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from p2pxfer.errors import RendezvousError, UsageError
from p2pxfer.progress import Note, Progress, Reconnecting
from p2pxfer.rendezvous import address as addresses
from p2pxfer.rendezvous import certificates

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from p2pxfer.peer.servers import IceServer
    from p2pxfer.rendezvous.client import RendezvousClient, RoomState

FRESH: Final = 3600.0  # seconds; a TURN server's credentials last for a day, or what it was told


class Offered(Struct, frozen=True):
    """What is there to connect by.

    Attributes:
        servers: STUN and TURN servers, this side's own first.
        relays: whether the rendezvous carries what finds no path.
    """

    servers: tuple[IceServer, ...]
    relays: bool


class Rendezvous:
    """Where the sides of one session meet, for as many visits as that takes.

    Args:
        url: its base URL; None if that is yet to be found.
        own: STUN and TURN servers of this side.
        progress: told of what it says, and of how the connection to it fares.

    Attributes:
        url: as above.
        direct: it is on this network, where no proxy leads.
        client: of the latest visit.
    """

    def __init__(self, url: str | None, own: tuple[IceServer, ...], progress: Progress) -> None:
        self.url = url
        self.client: RendezvousClient | None = None
        self.direct = False
        self._own = own
        self._progress = progress
        self._crowded = False
        self._asked: asyncio.Future[Offered] | None = None
        self._asked_at = 0.0

    def move(self, url: str | None, *, direct: bool) -> None:
        """It is at ``url``."""
        self.url, self.direct = url, direct

    def require(self, what: str) -> None:
        """Refuse what can't be had without one.

        Raises:
            UsageError: none is known; ``what`` needs it.
        """
        if self.url is None:
            raise UsageError(
                f"{what} needs a rendezvous, and none is known",
                "type --rendezvous URL, with the same URL on both sides\n"
                "to run one, on a machine that both sides reach, type: p2pxfer serve",
            )

    async def enter(self, held: contextlib.AsyncExitStack) -> RendezvousClient:
        """Visit it, until ``held`` is closed, and ask meanwhile what it offers."""
        self.client = client = await self._visit(held, self._tell)
        self._asked = asyncio.create_task(self._ask(client))
        self._asked_at = time.monotonic()
        held.callback(self._asked.cancel)
        return client

    async def enter_beside(self, held: contextlib.AsyncExitStack) -> RendezvousClient:
        """Visit it beside what works, of which nobody is told."""
        return await self._visit(held)

    async def offered(self) -> Offered:
        """What it offered when it was entered last; waits for the answer.

        A code may have waited for so long that this is over: then it is asked once more.
        """
        assert self._asked is not None, "it was never entered"
        assert self.client is not None
        before = await self._asked
        if time.monotonic() - self._asked_at < FRESH:
            return before
        self._asked_at = time.monotonic()
        now = await self._ask(self.client)
        if not (now.servers[len(self._own) :] or now.relays):
            return before
        self._asked = asyncio.get_running_loop().create_future()
        self._asked.set_result(now)
        return now

    async def _visit(
        self,
        held: contextlib.AsyncExitStack,
        on_state: Callable[[RoomState], None] | None = None,
    ) -> RendezvousClient:
        assert self.url is not None
        trusted: asyncio.Future[ssl.SSLContext] | None = None
        if addresses.parse(self.url).startswith("https:"):  # else there is no TLS
            loop = asyncio.get_running_loop()
            trusted = loop.run_in_executor(None, certificates.trusted)  # beside what is loaded
        made = load_client()
        ssl_context = await trusted if trusted is not None else None
        client = made(self.url, direct=self.direct, on_state=on_state, ssl_context=ssl_context)
        return await held.enter_async_context(client)

    async def _ask(self, client: RendezvousClient) -> Offered:
        """What is offered besides rooms; nothing, if it does not say."""
        from p2pxfer.peer.servers import IceServer  # noqa: PLC0415  # not before a code is shown

        try:
            config = await client.config()
            offered = tuple(IceServer.from_config(entry) for entry in config.ice_servers)
        except (RendezvousError, UsageError) as error:
            self._progress.emit(Note(f"no ICE servers from the rendezvous: {error}", detail=True))
            return Offered(self._own, relays=False)
        if config.motd:
            self._progress.emit(Note(f"the rendezvous says: {config.motd}"))
        return Offered(self._own + offered, relays=config.relay_bytes > 0)

    def _tell(self, state: RoomState) -> None:
        if state == "crowded":
            if not self._crowded:  # once: who counts them may be lying
                self._progress.emit(Note("somebody else tried to use this code, and was refused"))
            self._crowded = True
        elif state == "reconnecting":
            self._progress.emit(Reconnecting("rendezvous", 1))
        else:
            self._progress.emit(Note(f"rendezvous: {state}", detail=True))


def load_client() -> type[RendezvousClient]:
    """What enters it; loading that takes a while, the first time."""
    from p2pxfer.rendezvous.client import RendezvousClient  # noqa: PLC0415  # h11, wsproto

    return RendezvousClient
