"""One client's WebSocket: its first message finds it a room, then mail goes both ways.

Applies what the client says to the room in the store, and whenever the room changes, there or
through another connection, says what is new. The rules are the room's; the bytes are opaque.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from p2pxfer.rendezvous.duplex import converse
from p2pxfer.rendezvous.encoding import MalformedMessage, UnsupportedVersion, decode_client, encode
from p2pxfer.rendezvous.messages import (
    Acknowledge,
    Allocate,
    Burn,
    ClientMessage,
    Close,
    Connect,
    Ended,
    FirstMessage,
    Join,
    Open,
    Reason,
    Send,
)
from p2pxfer.rendezvous.server import nameplates
from p2pxfer.rendezvous.server.carrier import Carrier
from p2pxfer.rendezvous.server.circuits import Switchboard
from p2pxfer.rendezvous.server.limits import Budget, Limits, Volume
from p2pxfer.rendezvous.server.rooms import Refused, Room, RoomKey, Seat, View, create
from p2pxfer.rendezvous.server.store import Store

_LOG: Final = logging.getLogger("p2pxfer.rendezvous")
_ATTEMPTS: Final = 16  # at a nameplate that another process may take in the same moment
_FAILED: Final = {Reason.UNKNOWN, Reason.FULL, Reason.BURNT, Reason.EXPIRED, Reason.CLOSED}


@dataclass(slots=True)
class Desk:
    """What all connections of one server share.

    Attributes:
        store: where the rooms are.
        limits: what is allowed.
        lifetime: seconds that a room waits for its second side if the client does not say.
        max_lifetime: and at most.
        now: the clock, in seconds.
        switchboard: where the circuits are.
        tiers: the nameplates that are drawn.
    """

    store: Store
    limits: Limits
    lifetime: float
    max_lifetime: float
    now: Callable[[], float]
    switchboard: Switchboard
    tiers: nameplates.Tiers = nameplates.PUBLIC
    allocations: Budget = field(init=False)
    failed_joins: Budget = field(init=False)
    mail: Volume = field(init=False)

    def __post_init__(self) -> None:
        self.allocations = Budget(self.limits.allocations)
        self.failed_joins = Budget(self.limits.failed_joins)
        self.mail = Volume(self.limits.mailed, inf)

    async def admit(self, message: FirstMessage, address: str) -> tuple[RoomKey, Seat]:
        """Find or make the room that ``message`` asks for.

        Raises:
            Refused: with the reason to tell the client.
        """
        match message:
            case Allocate():
                return await self._allocate(message, address)
            case Join():
                return await self._join(message, address)
            case Open():
                return await self._open(message, address)

    async def full(self) -> bool:
        """Whether nothing more can be kept."""
        load = await self.store.load()
        return load.rooms >= self.limits.rooms or load.size >= self.limits.stored

    async def _allocate(self, message: Allocate, address: str) -> tuple[RoomKey, Seat]:
        await self._may_create(address)
        for _ in range(_ATTEMPTS):
            key = nameplates.draw(await self.store.nameplates(), secrets.randbelow, self.tiers)
            if key is None:
                break
            seat = await self.store.update(key, partial(self._take, key, message))
            if seat is not None:
                self.allocations.spend(address, self.now())
                return key, seat
        raise Refused(Reason.BUSY)

    def _take(
        self, key: RoomKey, message: Allocate, room: Room | None
    ) -> tuple[Room | None, Seat | None]:
        if room is not None:
            return room, None
        return create(key, message.token, self._lifetime(message.lifetime), self.now())

    async def _join(self, message: Join, address: str) -> tuple[RoomKey, Seat]:
        if not message.resume and (seconds := self.failed_joins.wait(address, self.now())):
            raise Refused(Reason.LIMITED, seconds)

        def step(room: Room | None) -> tuple[Room | None, Seat | None]:
            if room is None:
                raise Refused(Reason.UNKNOWN)
            return room.enter(message.token, self.now(), resume=message.resume)

        try:
            seat = await self.store.update(message.nameplate, step)
            if seat is None:
                raise Refused(Reason.FULL)
        except Refused as refused:
            if not message.resume and refused.reason in _FAILED:
                self.failed_joins.spend(address, self.now())
            raise
        return message.nameplate, seat

    async def _open(self, message: Open, address: str) -> tuple[RoomKey, Seat]:
        room = await self.store.get(message.name)
        if not message.resume and (room is None or room.replaceable()):
            await self._may_create(address)

        def step(room: Room | None) -> tuple[Room | None, tuple[Seat | None, bool]]:
            now = self.now()
            known = room is not None and room.knows(message.token)
            if not message.resume and not known and (room is None or room.replaceable()):
                lifetime = self._lifetime(message.lifetime)
                fresh, seat = create(message.name, message.token, lifetime, now)
                return fresh, (seat, True)
            if room is None:
                raise Refused(Reason.UNKNOWN)
            after, entered = room.enter(message.token, now, resume=message.resume)
            return after, (entered, False)

        entered, created = await self.store.update(message.name, step)
        if created:
            self.allocations.spend(address, self.now())
        if entered is None:
            raise Refused(Reason.FULL)
        return message.name, entered

    async def _may_create(self, address: str) -> None:
        if seconds := self.allocations.wait(address, self.now()):
            raise Refused(Reason.LIMITED, seconds)
        if await self.full():
            raise Refused(Reason.BUSY)

    def _lifetime(self, asked: int) -> float:
        return min(asked or self.lifetime, self.max_lifetime)


class Connection:
    """A WebSocket from its first message to its last.

    Args:
        desk: what all share.
        socket: to the client.
        address: of the client, as it counts.
        abort: drops the connection, whatever waits to be written.
    """

    def __init__(
        self,
        desk: Desk,
        socket: web.WebSocketResponse,
        address: str,
        abort: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._socket = socket
        self._address = address
        self._abort = abort
        self._changed = asyncio.Event()
        self._key: RoomKey = 0
        self._burns = False  # this side burnt the room: its address is not to blame

    async def serve(self) -> None:
        """Speak until either end is done, and hang up once the client has had the last word.

        Nobody listens any more then: aiohttp, if it closes a socket that is listened to, cuts it
        off, and a client that was just writing loses the last word.
        """
        try:
            message = await self._first()
            if isinstance(message, Connect):
                await self._carry(message)
            else:
                self._key, seat = await self._desk.admit(message, self._address)
                await self._converse(seat)
        except Refused as refused:
            _LOG.debug("refused: %s", refused)
            with contextlib.suppress(ConnectionError):  # it need not stay to hear this
                await self._socket.send_bytes(encode(Ended(refused.reason, refused.seconds)))
        except TimeoutError:
            await self._socket.close(code=WSCloseCode.POLICY_VIOLATION)
        except ConnectionError:  # it hung up while it was spoken to
            pass
        await self._socket.close()

    async def _first(self) -> FirstMessage | Connect:
        async with asyncio.timeout(self._desk.limits.first_message):
            message = await self._next()
        if isinstance(message, Allocate | Join | Open | Connect):
            return message
        raise Refused(Reason.MALFORMED)

    async def _carry(self, message: Connect) -> None:
        carrier = Carrier(
            self._desk.switchboard, self._socket, self._next, self._abort, self._desk.now
        )
        await carrier.serve(message, self._address)

    async def _converse(self, seat: Seat) -> None:
        unwatch = self._desk.store.watch(self._key, self._changed.set)
        try:
            room = await self._desk.store.get(self._key)
            if room is not None and room.holds(seat):
                await self._socket.send_bytes(encode(room.welcome(seat, self._desk.now())))
            for failure in await converse(self._listen(seat), self._speak(seat)):
                raise failure
        finally:
            unwatch()
            await self._update(lambda room: room.leave(seat, self._desk.now()))

    async def _next(self) -> ClientMessage | None:
        frame = await self._socket.receive()
        if frame.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return None
        try:
            if frame.type is not WSMsgType.BINARY:
                raise MalformedMessage("not binary")
            return decode_client(frame.data)
        except UnsupportedVersion:
            raise Refused(Reason.VERSION) from None
        except MalformedMessage:
            raise Refused(Reason.MALFORMED) from None

    async def _listen(self, seat: Seat) -> None:
        for _ in range(self._desk.limits.messages):
            message = await self._next()
            if message is None:
                return
            await self._hear(seat, message)
        raise Refused(Reason.OVERFLOW)

    async def _hear(self, seat: Seat, message: ClientMessage) -> None:
        now = self._desk.now()
        match message:
            case Send(number, body):
                if await self._desk.full():
                    raise Refused(Reason.BUSY)
                mail, sender = self._desk.mail, self._address
                if not mail.spend(frozenset((sender,)), len(body), now):
                    raise Refused(Reason.LIMITED, mail.wait(sender, now))
                await self._update(lambda room: room.send(seat, number, body, now))
            case Acknowledge(through):
                await self._update(lambda room: room.acknowledge(seat, through, now))
            case Close():
                await self._update(lambda room: room.close(seat, now))
            case Burn():
                self._burns = True
                await self._update(lambda room: room.burn(seat, now))
            case _:
                raise Refused(Reason.MALFORMED)

    async def _update(self, change: Callable[[Room], Room]) -> None:
        await self._desk.store.update(
            self._key, lambda room: (None if room is None else change(room), None)
        )

    async def _speak(self, seat: Seat) -> None:
        """Say what is new whenever the room changes, until it ends."""
        view = View(seat)
        while True:
            self._changed.clear()
            for message in view.observe(await self._desk.store.get(self._key)):
                await self._socket.send_bytes(encode(message))
                if isinstance(message, Ended):
                    self._blame(seat, message.reason)
                    return
            await self._changed.wait()

    def _blame(self, seat: Seat, reason: Reason) -> None:
        guessed = seat.index == 1 and isinstance(self._key, int)
        if reason is Reason.BURNT and guessed and not self._burns:
            self._desk.failed_joins.spend(self._address, self._desk.now())
