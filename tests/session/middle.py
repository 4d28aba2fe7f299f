"""A rendezvous that does as a test says with the mail between two real sessions.

It is a real aiohttp server that speaks the protocol of the rooms, without its rules:
`Middle.pass_on` decides what becomes of each piece of mail, and by default is faithful.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import WSMsgType, web

from p2pxfer.rendezvous.encoding import decode_client, encode
from p2pxfer.rendezvous.messages import (
    Allocate,
    Burn,
    Close,
    Ended,
    Join,
    Mail,
    Open,
    Reason,
    Send,
    ServerMessage,
    Taken,
    Welcome,
)

SENDER, RECEIVER = "sender", "receiver"
OTHER = {SENDER: RECEIVER, RECEIVER: SENDER}


class Middle:
    """One room at a time, with two seats.

    Attributes:
        seen: every body that came, with the side that mailed it; ``first`` counts within a room.
        config: what ``GET /v1/config`` answers.
        burnt: how many rooms were burnt.
    """

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[tuple[str, bytes]] = []
        self.config: str | bytes = '{"version": 1, "ice_servers": [], "motd": ""}'
        self.burnt = 0
        self.rooms = 0
        self.nameplate = 6
        self.mail: dict[str, list[bytes]] = {SENDER: [], RECEIVER: []}  # of this room
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._numbers: dict[str, int] = {}
        self._early: dict[str, list[bytes]] = {}
        self._runner: web.AppRunner | None = None

    # What a test overrides

    async def pass_on(self, side: str, body: bytes) -> None:
        """Mail of ``side`` came: hand it to the other one, changed or not, or to nobody."""
        await self.deliver(OTHER[side], body)

    async def welcome(self, side: str) -> None:
        """A side came in."""
        await self.say(side, Welcome(self.nameplate, 600, 0))

    # What it does

    async def deliver(self, side: str, body: bytes) -> None:
        """Hand ``body`` to ``side`` as its next mail, or keep it until it comes."""
        if side not in self._sockets:
            self._early.setdefault(side, []).append(body)
            return
        self._numbers[side] = self._numbers.get(side, 0) + 1
        await self.say(side, Mail(self._numbers[side], body))

    async def say(self, side: str, message: ServerMessage | bytes) -> None:
        data = message if isinstance(message, bytes) else encode(message)
        with contextlib.suppress(ConnectionError, KeyError):
            await self._sockets[side].send_bytes(data)

    async def hang_up(self, side: str) -> None:
        if side in self._sockets:
            await self._sockets[side].close()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v1/config", self._tell_config)
        app.router.add_get("/v1/ws", self._meet)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _tell_config(self, _: web.Request) -> web.Response:
        body = self.config.encode() if isinstance(self.config, str) else self.config
        return web.Response(body=body, content_type="application/json")

    async def _meet(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(timeout=0.1)
        await socket.prepare(request)
        first = decode_client((await socket.receive()).data)
        assert isinstance(first, Allocate | Join | Open)
        side = self.seat(first)
        if side == SENDER:
            self.rooms += 1
            self.nameplate += 1
            self._numbers, self._early = {}, {}
            self.mail = {SENDER: [], RECEIVER: []}
            self._sockets.clear()
        self._sockets[side] = socket
        await self.welcome(side)
        for body in self._early.pop(side, []):
            await self.deliver(side, body)
        async for frame in socket:
            if frame.type is not WSMsgType.BINARY:
                break
            match decode_client(frame.data):
                case Send(number, body):
                    self.seen.append((side, body))
                    self.mail[side].append(body)
                    await self.say(side, Taken(number))
                    await self.pass_on(side, body)
                case Burn():
                    self.burnt += 1
                    await self.end(Reason.BURNT)
                case Close():
                    await self.end(Reason.CLOSED)
                case _:
                    pass
        return socket

    def seat(self, first: Allocate | Join | Open) -> str:
        """Which side this is."""
        return SENDER if isinstance(first, Allocate) else RECEIVER

    async def end(self, reason: Reason) -> None:
        for side in tuple(self._sockets):
            await self.say(side, Ended(reason))


Step = Callable[[Middle, str, bytes], Awaitable[None]]


def doing(step: Step) -> Middle:
    """A middle that does ``step`` with each piece of mail."""

    class Doing(Middle):
        async def pass_on(self, side: str, body: bytes) -> None:
            await step(self, side, body)

    return Doing()
