"""From a code to an open channel: rendezvous, pairing, peer connection, in that order.

Here the sealed mail of the room is wired to the handshake and then to the peer connection. What
crosses the channel afterwards is not known here, and neither is a terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import secrets
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from p2pxfer import __version__
from p2pxfer.errors import (
    CodeExpired,
    IntegrityError,
    LocalFileError,
    PairingError,
    PeerGone,
    PeerMisbehaved,
    RendezvousError,
    RendezvousMisbehaved,
    RoomBurnt,
    RoomFull,
    TransferError,
    UsageError,
    VerificationRefused,
    WrongCode,
)
from p2pxfer.pairing import code as codes
from p2pxfer.pairing.handshake import Handshake
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import Opener, Role, Sealer, SessionKeys
from p2pxfer.progress import (
    CodeBurnt,
    CodeReady,
    Connected,
    Note,
    Progress,
    Reconnecting,
    Waiting,
)
from p2pxfer.session.interaction import Interaction

if TYPE_CHECKING:
    from p2pxfer.peer.channel import Channel
    from p2pxfer.peer.connection import PeerConnection
    from p2pxfer.peer.servers import IceServer
    from p2pxfer.rendezvous.client import RendezvousClient, Room, RoomState

FRESH_CODES: Final = 3  # after that many wrong guesses beyond the first code, somebody is guessing
HANDSHAKE_TIMEOUT: Final = 30.0  # seconds from the peer's first mail to its confirmation
SEAT_RETRY: Final = 2.0  # seconds until a room that holds a dead run's seat is tried again
MAIL_GRACE: Final = 2.0  # seconds that a channel may still take to open without mail
SIGNALS: Final = "signals"  # label of the keys that seal offer, answer and candidates
VERIFY: Final = "verify"  # the capability of a side whose human wants to compare words

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Network:
    """How the two sides find one another.

    Attributes:
        rendezvous: its URL, ``https://…``, ``http://…`` or ``host:port``.
        ice_servers: STUN and TURN servers, beside those that the rendezvous offers.
        relay_only: use TURN only, so that the peer never learns this machine's addresses.
        timeout: seconds that the peers may take to find a path once they share a key.
    """

    rendezvous: str
    ice_servers: tuple[IceServer, ...] = ()
    relay_only: bool = False
    timeout: float = 60.0


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


@dataclass(frozen=True, kw_only=True)
class Sending:
    """How a sender lets itself be found.

    Attributes:
        chosen: the user's own code, or None to have one drawn.
        words: how many words to draw.
        wait: seconds that the code lives.
        code_out: a file that takes the drawn code, for scripts.
    """

    chosen: str | None = None
    words: int = 2
    wait: float = 3600.0
    code_out: Path | None = None


class Connector:
    """Brings two sides together, once.

    Whatever both roles need of rendezvous, pairing and peer connection is in here; `offer` is the
    sender's way in, `join` the receiver's.
    """

    def __init__(
        self,
        network: Network,
        *,
        verify: bool,
        progress: Progress,
        interaction: Interaction,
    ) -> None:
        self._network = network
        self._progress = progress
        self._interaction = interaction
        capabilities = frozenset({VERIFY}) if verify else frozenset()
        self._hello = Hello(capabilities=capabilities, agent=f"p2pxfer/{__version__}")
        self._warmth: asyncio.Task[None] | None = None
        self._asked: asyncio.Task[tuple[IceServer, ...]] | None = None

    async def offer(self, sending: Sending) -> Link:
        """Be found by a receiver, and connect.

        Raises:
            PairingError: too many wrong guesses, or the words were compared and differ.
            CodeExpired: nobody came within ``sending.wait`` seconds.
            PeerGone, ConnectionFailed, RendezvousError: as their names say.
        """
        if sending.chosen is not None:
            return await self._meet(Role.A, codes.chosen(sending.chosen), sending.wait)
        async with contextlib.AsyncExitStack() as held:
            client = await self._enter(held)
            for left in range(FRESH_CODES, -1, -1):
                room = await client.allocate(sending.wait)
                assert room.nameplate is not None
                code = codes.draw(room.nameplate, sending.words)
                self._announce(str(code), sending, min(sending.wait, room.expires_in))
                try:
                    keys = await self._pair(room, Role.A, code.password(), sending.wait)
                except WrongCode:
                    self._progress.emit(CodeBurnt(str(code), left))
                    continue
                return await self._connect(room, keys, held)
        raise WrongCode(
            f"the code was guessed wrong {FRESH_CODES + 1} times",
            "somebody may be guessing; try --words 4, or another rendezvous",
        )

    async def join(self, text: str, wait: float) -> Link:
        """Find the sender that shows the code ``text``, and connect.

        Raises:
            InvalidCode: ``text`` can't be a code; nothing was sent anywhere.
            WrongCode: the sender has another code; this one is used up.
            PeerGone, ConnectionFailed, RendezvousError: as their names say.
        """
        code = codes.read(text)
        if isinstance(code, codes.ChosenCode):
            return await self._meet(Role.B, code, wait)
        self.warm()
        async with contextlib.AsyncExitStack() as held:
            client = await self._enter(held)
            try:
                room = await client.join(code.nameplate)
            except RoomBurnt as error:
                raise WrongCode(error.message) from error
            keys = await self._pair(room, Role.B, code.password(), HANDSHAKE_TIMEOUT)
            return await self._connect(room, keys, held)

    def warm(self) -> None:
        """Begin to load what the peer connection needs, beside whatever else is going on."""
        if self._warmth is None:
            self._warmth = asyncio.create_task(asyncio.to_thread(_load_peer))

    async def _enter(self, held: contextlib.AsyncExitStack) -> RendezvousClient:
        from p2pxfer.rendezvous.client import RendezvousClient  # noqa: PLC0415  # heavy

        client = RendezvousClient(self._network.rendezvous, on_state=self._tell_rendezvous)
        await held.enter_async_context(client)
        self._asked = asyncio.create_task(self._ask(client))
        held.callback(self._asked.cancel)
        return client

    async def _ask(self, client: RendezvousClient) -> tuple[IceServer, ...]:
        """What the rendezvous offers besides rooms; nothing, if it does not say."""
        from p2pxfer.peer.servers import IceServer  # noqa: PLC0415  # not before a code is shown

        own = self._network.ice_servers
        try:
            config = await client.config()
            offered = tuple(IceServer.from_config(entry) for entry in config.ice_servers)
        except (RendezvousError, UsageError) as error:
            self._progress.emit(Note(f"no ICE servers from the rendezvous: {error}", detail=True))
            return own
        if config.motd:
            self._progress.emit(Note(config.motd))
        return own + offered

    def _tell_rendezvous(self, state: RoomState) -> None:
        if state == "crowded":
            self._progress.emit(Note("somebody else tried to use this code, and was refused"))
        elif state == "reconnecting":
            self._progress.emit(Reconnecting("rendezvous", 1))
        else:
            self._progress.emit(Note(f"rendezvous: {state}", detail=True))

    def _announce(self, code: str, sending: Sending, lives: float) -> None:
        if sending.code_out is not None:
            _write_code(sending.code_out, code)
        url = f"{self._network.rendezvous.rstrip('/')}/#{code}"
        self._progress.emit(CodeReady(code, url, lives))
        self._progress.emit(Waiting("peer"))

    async def _meet(self, role: Role, chosen: codes.ChosenCode, wait: float) -> Link:
        """Meet in the room that the chosen code names, whoever comes first."""
        name = await asyncio.to_thread(chosen.room_name)
        async with contextlib.AsyncExitStack() as held:
            client = await self._enter(held)
            self._progress.emit(Waiting("peer"))
            deadline = time.monotonic() + wait
            while True:
                left = deadline - time.monotonic()
                try:
                    room = await client.open(name, left)
                    keys = await self._pair(room, role, chosen.password(), left)
                except (PeerGone, RoomFull) as error:  # a run that died may still hold its place
                    if isinstance(error, CodeExpired) or deadline - time.monotonic() < SEAT_RETRY:
                        raise
                    await asyncio.sleep(SEAT_RETRY)
                    continue
                return await self._connect(room, keys, held)

    async def _pair(self, room: Room, role: Role, password: bytes, wait: float) -> SessionKeys:
        """Agree on keys over the room's mail. The room is left, or burnt, where that fails.

        Raises:
            WrongCode: a guess at the code was spent, and nobody proved to know it.
            CodeExpired: the other side did not come within ``wait`` seconds.
        """
        handshake = Handshake(role, password, self._hello)
        try:
            for mail in handshake.start():
                await room.send(mail)
            first = await _within(wait, room.receive(), CodeExpired("nobody came for the code"))
            self.warm()
            await self._converse(room, handshake, first)
            assert handshake.keys is not None
            await self._verify(handshake.keys)
        except RoomBurnt as error:
            raise WrongCode("the other side has another code") from error
        except (PairingError, PeerMisbehaved, RendezvousMisbehaved) as error:
            await room.burn()
            if handshake.guess_spent and role is Role.A:
                raise WrongCode("somebody used the code, and did not know it") from error
            raise
        except PeerGone as error:
            await room.close()
            if handshake.guess_spent and role is Role.A and handshake.keys is None:
                raise WrongCode("somebody used the code, and left") from error
            raise
        except BaseException:
            await room.close()
            raise
        return handshake.keys

    async def _converse(self, room: Room, handshake: Handshake, first: bytes) -> None:
        silent = PeerGone("the other side stopped in the middle of pairing")
        mail = first
        while True:
            for answer in handshake.receive(mail):
                await room.send(answer)
            if handshake.keys is not None:
                return
            mail = await _within(HANDSHAKE_TIMEOUT, room.receive(), silent)

    async def _verify(self, keys: SessionKeys) -> None:
        """Have a human compare, if either side wants that."""
        if VERIFY not in self._hello.capabilities | keys.peer.capabilities:
            return
        self._progress.emit(Waiting("verify"))
        if not await self._interaction.verify(keys.verifier_words()):
            raise VerificationRefused("the words on the two screens were not confirmed")

    async def _connect(
        self, room: Room, keys: SessionKeys, held: contextlib.AsyncExitStack
    ) -> Link:
        """Find a path to the paired peer, and open the channel."""
        self._progress.emit(Note(f"paired with {keys.peer.agent}", detail=True))
        self.warm()
        assert self._warmth is not None
        assert self._asked is not None
        servers, _ = await asyncio.gather(self._asked, self._warmth)
        from p2pxfer.peer.connection import PeerConnection  # noqa: PLC0415  # warmed up just now

        outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        connection = PeerConnection(
            offerer=keys.role is Role.A,
            ice_servers=servers,
            relay_only=self._network.relay_only,
            signal=outgoing.put_nowait,
            on_state=lambda state: self._progress.emit(Note(f"connection: {state}", detail=True)),
        )
        mail = [
            asyncio.create_task(_post(room, keys.sealer(SIGNALS), outgoing)),
            asyncio.create_task(_fetch(room, keys.opener(SIGNALS), connection)),
        ]
        try:
            channel = await self._open(connection, mail)
        except BaseException:
            await _end(mail)
            await connection.close()
            await room.close()
            raise
        path = connection.path()
        self._progress.emit(Connected(path.kind, path.local, path.remote, path.rtt_ms))
        return Link(channel, keys, connection=connection, room=room, mail=mail, held=held.pop_all())

    async def _open(self, connection: PeerConnection, mail: list[asyncio.Task[None]]) -> Channel:
        """Wait for the channel, unless the mail that it depends on fails first."""
        await connection.start()
        opening = asyncio.create_task(connection.open(self._network.timeout))
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
    while True:
        sealed = await room.receive()
        try:
            body = opener.open(sealed)
        except IntegrityError as error:
            raise RendezvousMisbehaved(error.message) from error
        await connection.receive(body)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _within(seconds: float, awaitable: Awaitable[Value], otherwise: TransferError) -> Value:
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise otherwise from None


def _load_peer() -> None:
    importlib.import_module("p2pxfer.peer.connection")


def _write_code(path: Path, code: str) -> None:
    """Write ``code`` for scripts: whole or not at all, and for nobody else's eyes.

    Raises:
        LocalFileError: it can't be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="ascii") as out:
            out.write(f"{code}\n")
        temporary.replace(path)
    except OSError as error:
        raise LocalFileError(f"the code can't be written to {path}: {error.strerror}") from error
