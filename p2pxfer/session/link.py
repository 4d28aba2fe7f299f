"""A link: from a room with keyed mail to an open channel, and what is held open with it.

Signalling bodies of the peer connection are sealed into the room's mail here, and opened. How the
two sides came to share keys is not known, and neither is what will cross the channel.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from p2pxfer.errors import IntegrityError, PeerVanished, RendezvousMisbehaved
from p2pxfer.pairing.keys import Opener, Role, Sealer, SessionKeys
from p2pxfer.progress import Connected, ConnectTimes, Note, Progress
from p2pxfer.session.pair import within

if TYPE_CHECKING:
    from p2pxfer.peer.channel import Channel
    from p2pxfer.peer.connection import PeerConnection
    from p2pxfer.peer.restraint import Restraint
    from p2pxfer.peer.servers import IceServer
    from p2pxfer.rendezvous.client import Room

MAIL_GRACE: Final = 2.0  # seconds that a channel may still take to open without mail
FIRST_WORD: Final = 30.0  # seconds until the first signal of a peer that is still there
SIGNALS: Final = "signals"  # label of the keys that seal offer, answer and candidates


class Link:
    """Two paired machines and the open channel between them.

    Attributes:
        channel: to the other side.
        keys: what both sides share.
    """

    def __init__(
        self,
        channel: Channel,
        keys: SessionKeys,
        *,
        connection: PeerConnection,
        room: Room,
        mail: list[asyncio.Task[None]],
        held: contextlib.AsyncExitStack,
    ) -> None:
        self.channel = channel
        self.keys = keys
        self._connection = connection
        self._room = room
        self._mail = mail
        self._held = held
        self._leaving: asyncio.Task[None] | None = None

    def settled(self) -> None:
        """The other side has spoken over the channel: the room has served its purpose."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._leave())

    async def close(self) -> None:
        """Close the channel, which the other side learns, and leave the room."""
        self.settled()
        assert self._leaving is not None
        await asyncio.gather(self._connection.close(), self._leaving)

    async def _leave(self) -> None:
        await _end(self._mail)
        await self._room.close()
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
    progress: Progress,
    held: contextlib.AsyncExitStack,
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
        progress: told of states and the path found.
        held: closed when the link is settled or closed; taken over only on success.

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
        signal=outgoing.put_nowait,
        on_state=lambda state: progress.emit(Note(f"connection: {state}", detail=True)),
    )
    mail = [
        asyncio.create_task(_post(room, keys.sealer(SIGNALS), outgoing)),
        asyncio.create_task(_fetch(room, keys.opener(SIGNALS), connection)),
    ]
    try:
        channel = await _open(connection, timeout, mail)
    except BaseException:
        await _end(mail)
        await connection.close()
        await room.close()
        raise
    path = connection.path()
    took = ConnectTimes(rendezvous=room.entry, pake=pake, **path.took)
    progress.emit(Connected(path.kind, path.local, path.remote, path.rtt_ms, took))
    return Link(channel, keys, connection=connection, room=room, mail=mail, held=held.pop_all())


async def _open(
    connection: PeerConnection,
    timeout: float,  # noqa: ASYNC109  # as `connect`
    mail: list[asyncio.Task[None]],
) -> Channel:
    """Wait for the channel, unless the mail that it depends on fails first."""
    await connection.start()
    opening = asyncio.create_task(connection.open(timeout))
    try:
        done, _ = await asyncio.wait({opening, *mail}, return_when=asyncio.FIRST_COMPLETED)
        if opening not in done:
            await asyncio.wait({opening}, timeout=MAIL_GRACE)
            failed = next(task for task in mail if task in done)
            if not opening.done():
                await failed
        return await opening
    finally:
        if not opening.done():
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)


async def _post(room: Room, sealer: Sealer, outgoing: asyncio.Queue[bytes]) -> None:
    while True:
        await room.send(sealer.seal(await outgoing.get()))


async def _fetch(room: Room, opener: Opener, connection: PeerConnection) -> None:
    gone = PeerVanished("the other side left before a connection could be tried")
    sealed = await within(FIRST_WORD, room.receive(), gone)
    while True:
        try:
            body = opener.open(sealed)
        except IntegrityError as error:
            raise RendezvousMisbehaved(error.message) from error
        await connection.receive(body)
        sealed = await room.receive()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
