"""A client of one rendezvous: asks what it offers, and gets into rooms.

Knows the route there, which goes through the proxy that the environment names, except to this
machine itself. No keys, no words: a room's mail is sealed above. Importing this module imports what
speaks HTTP and WebSocket; `address`, `config` and `messages` do not.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, Self
from urllib.parse import urlsplit

from msgspec.structs import replace

from p2pxfer.errors import RendezvousMisbehaved, RendezvousUnreachable, RoomRefused, TransferError
from p2pxfer.rendezvous import address, certificates, config, proxy, refusals
from p2pxfer.rendezvous.config import MAX_CONFIG, ServerConfig
from p2pxfer.rendezvous.connection import Route
from p2pxfer.rendezvous.link import Link, dial, unreachable
from p2pxfer.rendezvous.messages import (
    MAX_LIFETIME,
    MAX_NAMEPLATE,
    NAME_SIZE,
    TOKEN_SIZE,
    VERSION,
    Allocate,
    Connect,
    Connected,
    Ended,
    FirstMessage,
    Join,
    Open,
    Reason,
    Welcome,
)
from p2pxfer.rendezvous.request import OK, fetch
from p2pxfer.rendezvous.room import PATIENCE, Room, RoomState

__all__ = ["RendezvousClient", "Room", "RoomState"]

DEADLINE: Final = 10.0  # seconds for a first answer, connecting included
HEARTBEAT: Final = 15.0  # seconds between pings; half of it without a pong is a drop


class RendezvousClient:
    """Use as an async context manager; rooms that are still open close with it.

    Attributes:
        url: of the rendezvous, whole.
    """

    def __init__(
        self,
        url: str,
        *,
        on_state: Callable[[RoomState], None] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        direct: bool = False,
        deadline: float = DEADLINE,
        patience: float = PATIENCE,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        """A client of the rendezvous at ``url``, in any form that `address.parse` takes.

        Args:
            url: where it is.
            on_state: told when a room's connection drops (``reconnecting``) and is back
                (``connected``), and when a third side was refused (``crowded``). Called in the
                event loop; must return at once and never raise.
            ssl_context: which certificates to trust; the system's if None.
            direct: go past the proxies, which know no way to a machine on this network.
            deadline: seconds for each first answer.
            patience: seconds without a connection after which a room is given up.
            heartbeat: seconds between pings.

        Raises:
            UsageError: ``url`` is none. Entering raises it, too, for a proxy or host that is none.
        """
        self.url = address.parse(url)
        self._on_state = on_state
        self._ssl_context = ssl_context
        self._direct = direct or address.is_loopback(urlsplit(self.url).hostname or "")
        self._deadline = deadline
        self._patience = patience
        self._heartbeat = heartbeat
        self._route: Route | None = None
        self._date = ""
        self._rooms: list[Room] = []

    async def __aenter__(self) -> Self:
        way = None if self._direct else await asyncio.to_thread(proxy.towards, self.url)
        context = self._ssl_context
        if not self.url.startswith("https:"):
            context = None
        elif context is None:
            context = await asyncio.to_thread(certificates.trusted)
        self._route = Route.to(self.url, context, way)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await asyncio.gather(*(room.close() for room in self._rooms))
        self._route = None

    @property
    def date(self) -> datetime | None:
        """The time there when it last told its configuration, None if it does not say."""
        return _date(self._date)

    async def config(self) -> ServerConfig:
        """What the rendezvous offers.

        Raises:
            RendezvousUnreachable: no answer, or none of a rendezvous.
            RendezvousMisbehaved: the answer is out of bounds.
            RoomRefused: it speaks another version.
        """
        try:
            async with asyncio.timeout(self._deadline):
                head, body = await fetch(self._open_route(), "/v1/config", MAX_CONFIG)
        except OSError as error:
            raise unreachable(error, self.url, self._deadline) from error
        if head.status_code != OK:
            raise RendezvousUnreachable(
                f"{self.url} answers, but not as a rendezvous does (HTTP status {head.status_code})"
            )
        self._date = dict(head.headers).get(b"date", b"").decode("latin-1")
        try:
            found = config.parse(body)
        except ValueError as error:
            raise RendezvousMisbehaved(f"the rendezvous' answer is unusable: {error}") from None
        if found.version != VERSION:
            raise refusals.at_the_door(Ended(Reason.VERSION), "")
        return found

    async def allocate(self, lifetime: float | None = None) -> Room:
        """A new room with a nameplate that the rendezvous draws.

        Args:
            lifetime: seconds that it should wait for the other side, bounded by the rendezvous:
                see `Room.expires_in`. None leaves it to the rendezvous.

        Raises:
            RendezvousUnreachable: no connection, or no answer in time.
            RoomRefused: this address made too many, or the rendezvous is full.
            RendezvousMisbehaved: the rendezvous broke its protocol.
        """
        token = secrets.token_bytes(TOKEN_SIZE)

        def again(nameplate: int) -> FirstMessage:
            return Join(token, nameplate, resume=True)

        return await self._enter(Allocate(token, _seconds(lifetime)), again, "a room")

    async def join(self, nameplate: int) -> Room:
        """The room that somebody allocated as ``nameplate``.

        Raises:
            RoomFull: two sides are in it.
            RoomBurnt: a wrong guess was made in it.
            RoomRefused: there is none, it is over, or this address failed too often.
            RendezvousUnreachable, RendezvousMisbehaved: as for `allocate`.
        """
        if not 0 < nameplate <= MAX_NAMEPLATE:
            raise RoomRefused(f"there is no room {nameplate}")
        first = Join(secrets.token_bytes(TOKEN_SIZE), nameplate)
        return await self._enter(first, lambda _: replace(first, resume=True), f"room {nameplate}")

    async def open(self, name: bytes, lifetime: float | None = None) -> Room:
        """The room called ``name``, 32 bytes; whoever comes first makes it.

        A side that went away without a word keeps its place until a newcomer takes the room over:
        the side that had stayed then sees `PeerGone`, and opens the room again.

        Raises:
            RoomFull: two sides are in it, and connected.
            RoomRefused: this address made too many rooms, or the rendezvous is full.
            RendezvousUnreachable, RendezvousMisbehaved: as for `allocate`.
        """
        if len(name) != NAME_SIZE:
            raise ValueError(f"a room's name has {NAME_SIZE} bytes")
        first = Open(secrets.token_bytes(TOKEN_SIZE), name, _seconds(lifetime))
        return await self._enter(first, lambda _: replace(first, resume=True), "the room")

    async def circuit(self, name: bytes, seconds: float) -> Link:
        """A link over which frames go to the other side that asks for ``name``, and come from it.

        Args:
            name: 32 bytes that only the two sides can know.
            seconds: to wait for it.

        Raises:
            PeerGone: it did not come.
            RelaySpent: the rendezvous carries no more for this side now.
            RoomRefused: it carries as many circuits as it may.
            RendezvousUnreachable, RendezvousMisbehaved: as for `allocate`.
        """
        link, answer = await dial(
            self._open_route(),
            self.url,
            Connect(name),
            Connected,
            seconds=seconds,
            heartbeat=self._heartbeat,
        )
        if isinstance(answer, Ended):
            await link.close()
            raise refusals.on_a_circuit(answer)
        return link

    async def _enter(
        self, first: FirstMessage, again: Callable[[int], FirstMessage], title: str
    ) -> Room:
        now = asyncio.get_running_loop().time
        began = now()
        link, answer = await self._dial(first)
        try:
            if isinstance(answer, Ended):
                raise refusals.at_the_door(answer, title)
            named = isinstance(first, Open)
            asked = first.nameplate if isinstance(first, Join) else answer.nameplate
            if named == bool(answer.nameplate) or answer.nameplate != asked:
                raise RendezvousMisbehaved("the rendezvous led into another room")

            def dial_again(nameplate: int) -> Awaitable[tuple[Link, Welcome | Ended]]:
                return self._dial(again(nameplate))

            room = Room(
                link,
                answer,
                dial_again,
                patience=self._patience,
                on_state=self._on_state,
                entry=now() - began,
            )
        except TransferError:
            await link.close()
            raise
        self._rooms.append(room)
        return room

    async def _dial(self, first: FirstMessage) -> tuple[Link, Welcome | Ended]:
        return await dial(
            self._open_route(),
            self.url,
            first,
            Welcome,
            seconds=self._deadline,
            heartbeat=self._heartbeat,
        )

    def _open_route(self) -> Route:
        if self._route is None:
            raise RuntimeError("use the client within `async with`")
        return self._route


def _date(header: str) -> datetime | None:
    """A Date header (RFC 9110 section 6.6.1), None if it is none."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # `doctor` alone wants to know

    try:
        return parsedate_to_datetime(header).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter: in no year that there is, once in UTC
        return None


def _seconds(lifetime: float | None) -> int:
    return 0 if lifetime is None else max(1, min(int(lifetime), MAX_LIFETIME))
