"""The rendezvous over HTTP: health, configuration, and the WebSocket of the rooms.

    GET /healthz      200 ``ok``
    GET /v1/config    JSON: protocol version, ICE servers, message of the day
    GET /v1/ws        WebSocket, docs/rendezvous-protocol.md

Logs carry counts and reasons, never an address, a nameplate or a name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, web
from msgspec.structs import replace

from p2pxfer.rendezvous.config import IceServer, ServerConfig
from p2pxfer.rendezvous.messages import MAX_LIFETIME, MAX_MESSAGE
from p2pxfer.rendezvous.server import nameplates
from p2pxfer.rendezvous.server.circuits import Switchboard
from p2pxfer.rendezvous.server.connection import Connection, Desk
from p2pxfer.rendezvous.server.door import Door
from p2pxfer.rendezvous.server.limits import Carriage, Limits, Tally, network
from p2pxfer.rendezvous.server.store import MemoryStore, Store
from p2pxfer.rendezvous.server.turn import TurnSecret

DEFAULT_LIFETIME: Final = 3600.0  # seconds that a code lives if nobody says otherwise
MAX_CODE_LIFETIME: Final = 7 * 24 * 3600.0  # and that somebody may ask for
HEARTBEAT: Final = 20.0  # seconds between pings; a client that answers none for half of it is away
BACKLOG: Final = 64  # connections that the system accepts before they are looked at
_TICK: Final = 1.0  # seconds between looks for rooms whose time is over
_CLOSE: Final = 2.0  # seconds for a WebSocket's closing handshake
_PORTS: Final = {"http": 80, "https": 443}
_LOG: Final = logging.getLogger("p2pxfer.rendezvous")
_SILENT: Final = logging.getLogger("p2pxfer.rendezvous.http")
_SILENT.disabled = True  # aiohttp's own messages about bad requests name the address

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Rendezvous:
    """The handlers, and what they share."""

    def __init__(
        self,
        desk: Desk,
        config: ServerConfig,
        *,
        turn: TurnSecret | None,
        trust_proxy: bool,
        heartbeat: float,
    ) -> None:
        self._desk = desk
        self._config = config
        self._turn = turn
        self._trust_proxy = trust_proxy
        self._heartbeat = heartbeat
        self._sockets: set[web.WebSocketResponse] = set()
        self._tally = Tally()
        self._door: Door | None = None

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=1024, middlewares=[_quiet])
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/v1/config", self._tell_config)
        app.router.add_get("/v1/ws", self._meet, allow_head=False)
        return app

    def door(self, server: web.Server) -> Door:
        """What lets connections in to ``server``, which serves the `application`."""
        self._door = Door(server, self._desk.limits.idle)
        return self._door

    async def tick(self, seconds: float) -> None:
        """Look after rooms whose time is over, for ever."""
        store, now = self._desk.store, self._desk.now
        while True:
            await asyncio.sleep(seconds)
            for key in await store.due(now()):
                await store.update(
                    key, lambda room: (room.handle_timer(now()) if room else None, None)
                )

    async def hang_up(self) -> None:
        """Tell every client that this server goes away; they come back by themselves."""
        closing = [socket.close(code=WSCloseCode.GOING_AWAY) for socket in self._sockets]
        await asyncio.gather(*closing, return_exceptions=True)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _tell_config(self, _request: web.Request) -> web.Response:
        config = self._config
        if self._turn is not None:
            servers = (*config.ice_servers, self._turn.ice_server(time.time()))
            config = replace(config, ice_servers=servers)
        return web.json_response(config.to_json(), headers={"Cache-Control": "no-store"})

    async def _meet(self, request: web.Request) -> web.StreamResponse:
        if not self._welcome(request):
            raise web.HTTPForbidden(text="this page may not use this rendezvous\n")
        address = network(self._address(request))
        limits = self._desk.limits
        if self._tally.of(address) >= limits.connections:
            raise web.HTTPTooManyRequests(text="too many connections\n")
        if self._tally.total >= limits.total_connections:
            raise web.HTTPServiceUnavailable(text="busy\n")
        socket = web.WebSocketResponse(
            timeout=_CLOSE,
            heartbeat=self._heartbeat,
            max_msg_size=MAX_MESSAGE + 1,  # aiohttp refuses what reaches it
            compress=False,
        )
        assert self._door is not None
        self._tally.add(address)
        self._sockets.add(socket)
        self._door.talking.add(request.protocol)
        abort = partial(_abort, request)
        try:
            await socket.prepare(request)
            try:
                await Connection(self._desk, socket, address, abort).serve()
            finally:
                # Closed by aiohttp now, but not before the client has taken what was written to it.
                asyncio.get_running_loop().call_later(_CLOSE, abort)
        finally:
            self._door.talking.discard(request.protocol)
            self._sockets.discard(socket)
            self._tally.remove(address)
        return socket

    def _address(self, request: web.Request) -> str:
        """Who asks. What a proxy adds stands last; what stands before it anybody can write."""
        if self._trust_proxy and (forwarded := request.headers.getall("X-Forwarded-For", None)):
            return forwarded[-1].rsplit(",", 1)[-1].strip().strip("[]")
        return request.remote or "local"

    def _welcome(self, request: web.Request) -> bool:
        """Whether the page that asks, if it is a page, is this server's own or a local file.

        A browser always sends Origin with a WebSocket (RFC 6455 section 10.2), other clients none.
        """
        origins = request.headers.getall("Origin", [])
        if not origins:
            return True
        if len(origins) > 1:
            return False
        if origins[0] == "null":
            return True
        try:
            origin, host = urlsplit(origins[0]), urlsplit(f"//{request.host}")
            default = _PORTS[origin.scheme]
            same_port = (origin.port or default) == (host.port or default)
        except (ValueError, KeyError):
            return False
        same_scheme = self._trust_proxy or origin.scheme == request.scheme
        return same_scheme and same_port and origin.hostname == host.hostname is not None


def _abort(request: web.Request) -> None:
    """Drop the connection of ``request`` now."""
    if request.transport is not None:
        request.transport.abort()


@web.middleware
async def _quiet(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log what goes wrong here without saying for whom."""
    try:
        return await handler(request)
    except (web.HTTPException, asyncio.CancelledError, ConnectionError):
        raise
    except Exception:  # noqa: BLE001  # the last frame of ours: beyond it, aiohttp names addresses
        _LOG.exception("a request failed")
        raise web.HTTPInternalServerError from None


class Running:
    """A rendezvous that listens.

    Attributes:
        port: the port it listens on, chosen by the system if 0 was asked for.
    """

    def __init__(
        self,
        rendezvous: Rendezvous,
        runner: web.AppRunner,
        store: Store,
        listening: asyncio.Server,
        tick: float,
    ) -> None:
        self.port: int = listening.sockets[0].getsockname()[1]
        self._listening = listening
        self._rendezvous = rendezvous
        self._runner = runner
        self._store = store
        self._ticking = asyncio.create_task(rendezvous.tick(tick))

    async def close(self) -> None:
        """Stop listening, hang up on everybody, let go of the store."""
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)
        self._listening.close()
        await self._rendezvous.hang_up()
        await self._runner.cleanup()
        await self._store.close()


async def start(
    host: str | None,
    port: int,
    *,
    ssl_context: ssl.SSLContext | None = None,
    ice_servers: Sequence[IceServer] = (),
    turn: TurnSecret | None = None,
    motd: str = "",
    trust_proxy: bool = False,
    lifetime: float = DEFAULT_LIFETIME,
    max_lifetime: float = MAX_CODE_LIFETIME,
    limits: Limits | None = None,
    carriage: Carriage | None = None,
    store: Store | None = None,
    listener: socket.socket | None = None,
    tiers: nameplates.Tiers = nameplates.PUBLIC,
    heartbeat: float = HEARTBEAT,
    tick: float = _TICK,
) -> Running:
    """Run a rendezvous in this event loop until its `Running.close`.

    Args:
        host: address to listen on; None for all, IPv6 too.
        port: TCP port; 0 lets the system choose.
        ssl_context: with a certificate, to serve https and wss.
        ice_servers: STUN and TURN servers that clients are told of.
        turn: TURN servers that they get credentials for, fresh ones each time they ask.
        motd: a line that clients show their users.
        trust_proxy: believe the last X-Forwarded-For, from a proxy that sets it.
        lifetime: seconds that a room waits for its second side, unless the client asks for
            another time, up to ``max_lifetime``.
        max_lifetime: see ``lifetime``.
        limits: for one address and in all.
        carriage: how much is carried for sides that find no path; nothing by default.
        store: where rooms are kept, in memory by default; closed with the server.
        listener: a bound socket to listen on instead of ``host`` and ``port``.
        tiers: the nameplates that are drawn.
        heartbeat: seconds between WebSocket pings.
        tick: seconds between looks for rooms whose time is over.

    Raises:
        OSError: the port is taken or may not be used.
    """
    store = store or MemoryStore()
    max_lifetime = min(max_lifetime, MAX_LIFETIME)
    limits, carriage = limits or Limits(), carriage or Carriage()
    desk = Desk(
        store,
        limits,
        min(lifetime, max_lifetime),
        max_lifetime,
        time.monotonic,
        Switchboard(limits, carriage),
        tiers,
    )
    config = ServerConfig(
        ice_servers=tuple(ice_servers), motd=motd, relay_bytes=min(carriage.each, carriage.total)
    )
    rendezvous = Rendezvous(desk, config, turn=turn, trust_proxy=trust_proxy, heartbeat=heartbeat)
    runner = web.AppRunner(
        rendezvous.application(), access_log=None, logger=_SILENT, shutdown_timeout=_CLOSE
    )
    await runner.setup()
    try:
        assert runner.server is not None
        loop, door = asyncio.get_running_loop(), rendezvous.door(runner.server)
        if listener is not None:
            where: dict[str, Any] = {"sock": listener}
        else:
            where = {"host": host, "port": port}
        patience = limits.first_message if ssl_context is not None else None  # a minute else
        listening = await loop.create_server(
            door, **where, ssl=ssl_context, ssl_handshake_timeout=patience, backlog=BACKLOG
        )
    except BaseException:
        with contextlib.suppress(Exception):
            await runner.cleanup()
        raise
    return Running(rendezvous, runner, store, listening, tick)
