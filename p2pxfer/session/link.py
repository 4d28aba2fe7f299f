"""A link: from a room with keyed mail to an open channel, and what is held open with it.

Signalling bodies of the peer connection are sealed into the room's mail here, and opened; and here
it is chosen between that connection and, where it finds no path, the rendezvous itself. How the two
sides came to share keys is not known, and neither is what will cross the channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from p2pxfer.errors import (
    ConnectionFailed,
    IntegrityError,
    PeerMisbehaved,
    PeerVanished,
    RendezvousMisbehaved,
)
from p2pxfer.pairing.keys import Opener, Role, Sealer, SessionKeys
from p2pxfer.progress import Connected, ConnectTimes, Note, Progress, Via
from p2pxfer.session.fallback import INVITATION, Fallback
from p2pxfer.session.pair import within

if TYPE_CHECKING:
    from p2pxfer.peer.channel import Channel
    from p2pxfer.peer.connection import PeerConnection
    from p2pxfer.peer.restraint import Restraint
    from p2pxfer.peer.servers import IceServer
    from p2pxfer.peer.tracks import Tracks
    from p2pxfer.rendezvous.circuit import Circuit
    from p2pxfer.rendezvous.client import Room
    from p2pxfer.tracks import IncomingTrack

MAIL_GRACE: Final = 2.0  # seconds that a channel may still take to open without mail
FIRST_WORD: Final = 30.0  # seconds until the first signal of a peer that is still there
INVITED: Final = 20.0  # seconds to be invited elsewhere once this side finds no path
SIGNALS: Final = "signals"  # label of the keys that seal offer, answer and candidates


class Carrier(Protocol):
    """What a channel is open over."""

    async def close(self) -> None:
        """Close it on both ends."""


class Link:
    """Two paired machines and the open channel between them.

    Args:
        media: the connection and its tracks; None where it carries none.

    Attributes:
        channel: to the other side.
        keys: what both sides share.
        path: how it goes there, and what finding that took.
    """

    def __init__(
        self,
        channel: Channel,
        keys: SessionKeys,
        *,
        path: Connected,
        carrier: Carrier,
        room: Room,
        mail: list[asyncio.Task[None]],
        held: contextlib.AsyncExitStack,
        media: tuple[PeerConnection, Tracks] | None = None,
    ) -> None:
        self.channel = channel
        self.keys = keys
        self.path = path
        self._media = media
        self._carrier = carrier
        self._room = room
        self._mail = mail
        self._held = held
        self._leaving: asyncio.Task[None] | None = None

    @property
    def relayed(self) -> bool:
        """Whether somebody else carries the bytes."""
        return self.path.path == "relay"

    @property
    def tracks(self) -> Sequence[IncomingTrack]:
        """Media that the other side sends now; empty where none were asked for."""
        return self._media[1].received if self._media is not None else ()

    async def renegotiate(self, sdp: str) -> str:
        """Answer an offer that came over the channel; `tracks` are others then.

        Raises:
            PeerMisbehaved: there is nothing to agree on, or it can't be.
            PeerGone: the channel is closed.
        """
        if self._media is None:
            raise PeerMisbehaved("an offer where there are no pictures")
        return await self._media[0].renegotiate(sdp)

    def settled(self) -> None:
        """The other side has spoken over the channel: the room has served its purpose."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._leave())

    async def close(self) -> None:
        """Close the channel, which the other side learns, and leave the room."""
        self.settled()
        assert self._leaving is not None
        await asyncio.gather(self._carrier.close(), self._leaving)
        await self._held.aclose()

    async def _leave(self) -> None:
        await _end(self._mail)
        await self._room.close()
        if self.path.via != "rendezvous":  # whose client is among what is held
            await self._held.aclose()


async def connect(
    room: Room,
    keys: SessionKeys,
    *,
    servers: tuple[IceServer, ...],
    relay_only: bool,
    restraint: Restraint | None = None,
    timeout: float,  # noqa: ASYNC109  # the connection explains what it tried meanwhile
    pake: float = 0.0,
    fallback: Fallback | None = None,
    progress: Progress,
    held: contextlib.AsyncExitStack,
    tracks: Tracks | None = None,
) -> Link:
    """Find a path to the paired peer, and open the channel.

    Args:
        room: shared with the peer, its mail used up to the keys.
        keys: fresh ones, whose signals have not been sealed before.
        servers: STUN and TURN servers.
        relay_only: use TURN only.
        restraint: how what is sent, either way, is held back.
        timeout: seconds to find a path.
        pake: seconds that agreeing on the keys took.
        fallback: the way to take where no path is found; its client is among what is held.
        progress: told of states.
        held: closed when the link is settled or closed; taken over only on success.
        tracks: media beside the channel.

    Raises:
        TransferError: no path, or the mail failed meanwhile; the room has been left.
    """
    from p2pxfer.peer.connection import PeerConnection  # noqa: PLC0415  # heavy, loaded before

    outgoing: asyncio.Queue[bytes] = asyncio.Queue()
    connection = PeerConnection(
        offerer=keys.role is Role.A,
        ice_servers=servers,
        relay_only=relay_only,
        restraint=restraint,
        tracks=tracks,
        signal=outgoing.put_nowait,
        on_state=lambda state: progress.emit(Note(f"connection: {state}", detail=True)),
    )
    mail = [
        asyncio.create_task(_post(room, keys.sealer(SIGNALS), outgoing)),
        asyncio.create_task(_fetch(room, keys.opener(SIGNALS), connection, fallback)),
    ]
    began = time.perf_counter()
    circuit: Circuit | None = None
    try:
        channel = await _open(connection, timeout, mail, fallback)
        if channel is None:
            assert fallback is not None
            progress.emit(Note("no path works: going through the rendezvous", detail=True))
            fallback.invite(outgoing.put_nowait)
            closing = asyncio.create_task(connection.close())  # a dead TURN server makes it slow
            held.push_async_callback(asyncio.wait, {closing})
            circuit = await _circuit(fallback, mail)
    except BaseException:
        await _end(mail)
        await connection.close()
        await room.close()
        raise
    path = connection.path()
    took = ConnectTimes(rendezvous=room.entry, pake=pake, **path.took)
    if circuit is None:
        assert channel is not None
        via: Via | None = "turn" if path.kind == "relay" else None
        return Link(
            channel,
            keys,
            path=Connected(path.kind, path.local, path.remote, path.rtt_ms, took, via),
            carrier=connection,
            room=room,
            mail=mail,
            held=held.pop_all(),
            media=(connection, tracks) if tracks is not None else None,
        )
    if restraint is not None and restraint.background:
        progress.emit(Note("--background has no effect on what goes through the rendezvous"))
    rest = max(0.0, time.perf_counter() - began - sum(path.took.values()))
    took = replace(took, checks=took.checks + rest)
    return Link(
        circuit,
        keys,
        path=Connected("relay", *circuit.ends, circuit.rtt_ms, took, "rendezvous"),
        carrier=circuit,
        room=room,
        mail=mail,
        held=held.pop_all(),
    )


async def _open(
    connection: PeerConnection,
    timeout: float,  # noqa: ASYNC109  # as `connect`
    mail: list[asyncio.Task[None]],
    fallback: Fallback | None,
) -> Channel | None:
    """Wait for the channel, unless the mail that it depends on fails first.

    Returns:
        The channel; None where there is no path, and the fallback is to be taken.
    """
    await connection.start()
    opening = asyncio.create_task(connection.open(timeout))
    elsewhere = asyncio.create_task(_elsewhere(connection, fallback))
    first = asyncio.FIRST_COMPLETED
    try:
        done, _ = await asyncio.wait({opening, elsewhere, *mail}, return_when=first)
        if elsewhere in done and opening not in done:
            return None
        if opening not in done:
            await asyncio.wait({opening}, timeout=MAIL_GRACE)
            failed = next(task for task in mail if task in done)
            if not opening.done():
                await failed
        try:
            return await opening
        except ConnectionFailed:
            if fallback is None or not fallback.offered or connection.has_path:
                raise
            if not fallback.decides:
                await asyncio.wait({elsewhere, *mail}, timeout=INVITED, return_when=first)
                if not elsewhere.done():
                    raise
            return None
    finally:
        for task in (opening, elsewhere):
            task.cancel()
        await asyncio.gather(opening, elsewhere, return_exceptions=True)


async def _elsewhere(connection: PeerConnection, fallback: Fallback | None) -> None:
    """Wait until there is no path, and the fallback is to be taken."""
    if fallback is not None and not fallback.decides:
        await fallback.invited()
        return
    if fallback is not None:
        await connection.exhausted()
        if not connection.has_path:
            return
    await asyncio.Event().wait()  # there is nowhere else


async def _circuit(fallback: Fallback, mail: list[asyncio.Task[None]]) -> Circuit:
    """Meet through the rendezvous, unless the mail fails first."""
    opening = asyncio.create_task(fallback.open())
    try:
        await asyncio.wait({opening, *mail}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            await next(task for task in mail if task.done())
        return await opening
    finally:
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)


async def _post(room: Room, sealer: Sealer, outgoing: asyncio.Queue[bytes]) -> None:
    while True:
        await room.send(sealer.seal(await outgoing.get()))


async def _fetch(
    room: Room, opener: Opener, connection: PeerConnection, fallback: Fallback | None
) -> None:
    gone = PeerVanished("the other side left before a connection could be tried")
    sealed = await within(FIRST_WORD, room.receive(), gone)
    while True:
        try:
            body = opener.open(sealed)
        except IntegrityError as error:
            raise RendezvousMisbehaved(error.message) from error
        if body.startswith(INVITATION):
            if fallback is None:
                raise ConnectionFailed("no path was found but the relay, which this side refuses")
            fallback.hear(body)
        else:
            await connection.receive(body)
        sealed = await room.receive()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
