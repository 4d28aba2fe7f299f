"""From a code to an open channel: rendezvous, pairing, peer connection, in that order.

Here it is decided in which room the two sides meet, and what becomes of a code. How the rendezvous
is entered is in `rendezvous`, what is made of a keyed room in `link`. What crosses the channel
afterwards is not known, and neither is a terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from p2pxfer import __version__
from p2pxfer.errors import (
    CodeExpired,
    ConnectionFailed,
    PairingError,
    PeerGone,
    PeerMisbehaved,
    PeerVanished,
    RelaySpent,
    RendezvousBusy,
    RendezvousError,
    RendezvousMisbehaved,
    RoomBurnt,
    RoomFull,
    RoomRefused,
    TransferError,
    VerificationRefused,
    VersionRefused,
    WrongCode,
)
from p2pxfer.pairing import code as codes
from p2pxfer.pairing import pake
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import Role, SessionKeys
from p2pxfer.peer import loading
from p2pxfer.progress import (
    CodeBurnt,
    CodeReady,
    Note,
    NullProgress,
    Progress,
    Waiting,
)
from p2pxfer.session import lan
from p2pxfer.session.detour import CHECKING, DIRECT, MEETING
from p2pxfer.session.exchange import Ways
from p2pxfer.session.fallback import RELAY, Fallback
from p2pxfer.session.interaction import Interaction
from p2pxfer.session.link import Link, connect
from p2pxfer.session.network import Network, Sending, write_code
from p2pxfer.session.pair import HANDSHAKE_TIMEOUT, VERIFY, Pairing
from p2pxfer.session.rendezvous import Rendezvous, load_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2pxfer.peer.tracks import Tracks
    from p2pxfer.rendezvous.client import Room

FRESH_CODES: Final = 3  # after that many wrong guesses beyond the first code, somebody is guessing
REJOIN: Final = "rejoin"  # label of the name of the room where paired sides meet again
REJOIN_MARGIN: Final = 60.0  # seconds that such a room outlives the patience for it
FIRST_PAUSE: Final = 0.5  # seconds between two tries; doubled each time, up to
LONGEST_PAUSE: Final = 8.0
SEAT_RETRY: Final = 2.0  # seconds until a room that holds a dead run's seat is tried again
# What may be otherwise the next time; WrongCode is what a rendezvous makes of a room called burnt.
AGAIN: Final = (PeerGone, ConnectionFailed, RendezvousError, PeerMisbehaved, WrongCode)
# What a visitor may do with a code: guess it wrong, come and leave, or talk nonsense. That costs
# the code, not the send. The last of these is a visitor's where this process is the rendezvous.
VISITOR: Final = (PairingError, PeerGone, PeerMisbehaved, RendezvousMisbehaved)


class Connector:
    """Brings two sides together, once.

    Whatever both roles need of rendezvous, pairing and peer connection is in here; `offer` is the
    sender's way in, `join` the receiver's. ``tracks`` makes the media beside the channel, when the
    other side is there; ``meanwhile`` is what else there is to begin then, for each that comes with
    the code, and never for one that comes back.

    Attributes:
        met: the rendezvous was there, and gave `offer` a room.
    """

    def __init__(
        self,
        network: Network,
        *,
        verify: bool,
        progress: Progress,
        interaction: Interaction,
        tracks: Callable[[], Tracks] | None = None,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._network = network
        self._meanwhile = meanwhile
        self._tracks = tracks
        url = None if network.lan else network.rendezvous
        self._rendezvous = Rendezvous(url, network.ice_servers, progress)
        self._host: lan.Host | None = None
        self._progress = progress
        self._relays = not network.relay_only and tracks is None  # media find no way through it
        self._detours = not network.relay_only and tracks is None  # media stay on their path
        capabilities = {VERIFY: verify, RELAY: self._relays, DIRECT: self._detours}
        wanted = frozenset(name for name, is_wanted in capabilities.items() if is_wanted)
        hello = Hello(capabilities=wanted, agent=f"p2pxfer/{__version__}")
        self._pairing = Pairing(hello, progress, interaction)
        self.met = False
        self._warmth: asyncio.Task[None] | None = None

    async def offer(self, sending: Sending) -> Link:
        """Be found by a receiver, and connect.

        Raises:
            PairingError: too many wrong guesses, or the words were compared and differ.
            CodeExpired: nobody came within ``sending.wait`` seconds.
            PeerGone, ConnectionFailed, RendezvousError: as their names say.
        """
        if sending.chosen is not None:
            chosen = codes.chosen(sending.chosen)
            self._rendezvous.require("a code of your own")
            return await self._meet(Role.A, chosen, sending.wait)
        early: codes.Code | None = None
        if self._rendezvous.url is None:
            early = await self._open_host(sending)
        async with contextlib.AsyncExitStack() as held:
            client = await self._rendezvous.enter(held)
            for left in range(FRESH_CODES, -1, -1):
                room = await client.allocate(sending.wait)
                self.met = True
                assert room.nameplate is not None
                if early is not None and early.nameplate == room.nameplate:
                    code, early = early, None
                else:
                    code = codes.draw(room.nameplate, sending.words)
                    self._announce(str(code), sending, min(sending.wait, room.expires_in))
                if self._host is not None:
                    self._host.announce(room.nameplate)
                self.warm()  # a receiver takes longer to come than this to load
                try:
                    keys = await self._pairing.pair(room, Role.A, code.password(), sending.wait)
                except (CodeExpired, VerificationRefused):
                    raise
                except VISITOR as error:
                    known = isinstance(error, PairingError | PeerGone)
                    ours = self._host is not None or not isinstance(error, RendezvousMisbehaved)
                    if not (known or (ours and left)):
                        raise
                    self._burnt(code, left, error)
                    continue
                try:
                    return await self._connect(room, keys, held, self._meanwhile)
                except PeerVanished as error:
                    self._burnt(code, left, error)
        raise WrongCode(
            f"the code was guessed wrong {FRESH_CODES + 1} times",
            "somebody may be guessing; try --words 4, or another rendezvous",
        )

    async def join(self, text: str, wait: float) -> Link:
        """Find the sender that shows the code ``text``, and connect.

        With the code may come where to meet, see `codes.split`. A number that is only used on
        local networks is looked for on this one, also where a rendezvous is known.

        Raises:
            InvalidCode: ``text`` can't be a code; nothing was sent anywhere.
            UsageError: no rendezvous is known, or several machines offer the code.
            WrongCode: the sender has another code; this one is used up.
            PeerGone, ConnectionFailed, RendezvousError: as their names say.
        """
        text, place = codes.split(text)
        code = codes.read(text)
        if isinstance(code, codes.ChosenCode):
            self._rendezvous.require("a code of your own")
            return await self._meet(Role.B, code, wait)
        if place is None and lan.is_local(code.nameplate):
            await lan.load()  # before what takes longer competes with it
        self.warm()
        if place is not None:
            url = await lan.reach(place)
            self._rendezvous.move(url, direct=lan.is_near(url))
        elif lan.is_local(code.nameplate):
            self._rendezvous.move(await lan.find(code.nameplate, self._progress), direct=True)
        else:
            self._rendezvous.require(f"a code with the number {code.nameplate}")
        async with contextlib.AsyncExitStack() as held:
            client = await self._rendezvous.enter(held)
            try:
                room = await client.join(code.nameplate)
            except RoomBurnt as error:
                raise WrongCode(error.message) from error
            keys = await self._pairing.pair(room, Role.B, code.password(), HANDSHAKE_TIMEOUT)
            return await self._connect(room, keys, held, self._meanwhile)

    @property
    def rendezvous(self) -> str:
        """Where the two sides met; empty before they did."""
        return self._rendezvous.url or ""

    async def rejoin_at(self, rendezvous: str, keys: SessionKeys, patience: float) -> Link:
        """Meet again the peer of an earlier process of this machine, at its rendezvous.

        Where that fails, the rendezvous is again the one that the user has named.

        Raises:
            PeerGone: it did not come within ``patience`` seconds.
        """
        url, direct = self._rendezvous.url, self._rendezvous.direct
        self._rendezvous.move(rendezvous, direct=lan.is_near(rendezvous))
        try:
            return await self.rejoin(keys, patience)
        except BaseException:
            self._rendezvous.move(url, direct=direct)
            raise

    async def rejoin(self, keys: SessionKeys, give_up_after: float) -> Link:
        """Connect again to the peer that ``keys`` are shared with, without a code.

        Both sides come to a room that only they can name; either makes it, also on a rendezvous
        that was restarted empty. Tried again and again until it works.

        Raises:
            PeerGone: it did not work for ``give_up_after`` seconds.
        """
        deadline = time.monotonic() + give_up_after
        pause = FIRST_PAUSE
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            try:
                async with contextlib.AsyncExitStack() as held:
                    client = await self._rendezvous.enter(held)
                    room = await client.open(keys.key(REJOIN), left + REJOIN_MARGIN)
                    attempt = await self._pairing.renew(room, keys, left)
                    link = await self._connect(room, attempt, held)
                    link.keys = keys  # the attempt's own are for its signals alone
                    return link
            except RelaySpent:
                raise
            except AGAIN as error:
                if time.monotonic() + pause >= deadline:
                    raise PeerGone(
                        f"the connection broke, and could not be made again in "
                        f"{give_up_after:.0f} s: {error.message}"
                    ) from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def ways(self, link: Link, give_up_after: float) -> Ways | None:
        """How ``link`` is replaced; None when it is not."""
        if give_up_after <= 0:
            return None

        async def again(seconds: float | None) -> Link:
            return await self.rejoin(link.keys, give_up_after if seconds is None else seconds)

        async def direct() -> Link:
            return await self._directly(link.keys)

        peer = link.keys.peer  # of a side that was started again nothing is known
        looks = self._detours and (DIRECT in peer.capabilities or not peer.agent)
        return Ways(again, direct if looks else None)

    async def close(self) -> None:
        """Let nobody find this side any more. What is connected stays."""
        if self._host is not None:
            host, self._host = self._host, None
            await host.close()

    def warm(self) -> None:
        """Begin to load what pairing and connecting take, beside whatever else is going on."""
        if self._warmth is None:
            self._warmth = asyncio.create_task(asyncio.to_thread(load_ahead))

    async def _directly(self, keys: SessionKeys) -> Link:
        """Meet the peer beside a link that works, and connect without any relay.

        Raises:
            TransferError: it did not come, or no direct path was found.
        """
        servers = (await self._rendezvous.offered()).servers
        async with contextlib.AsyncExitStack() as held:
            client = await self._rendezvous.enter_beside(held)
            room = await client.open(keys.key(DIRECT), REJOIN_MARGIN)
            attempt = await self._pairing.renew(room, keys, MEETING)
            link = await connect(
                room,
                attempt,
                servers=tuple(stun for server in servers for stun in server.without_turn()),
                relay_only=False,
                restraint=self._network.restraint,
                timeout=CHECKING,
                progress=NullProgress(),
                held=held,
            )
            link.keys = keys
        if link.relayed:
            await link.close()
            raise ConnectionFailed("the other side let itself be reached through a relay only")
        return link

    def _burnt(self, code: codes.Code, left: int, error: TransferError) -> None:
        self._progress.emit(Note(f"who came for {code.nameplate}: {error.message}", detail=True))
        self._progress.emit(CodeBurnt(str(code), left, wrong=isinstance(error, WrongCode)))

    def _announce(self, code: str, sending: Sending, lives: float) -> None:
        if sending.code_out is not None:
            write_code(sending.code_out, code)
        if self._host is not None:
            event = CodeReady(code, self._host.link(code), lives, self._host.located(code))
        else:
            event = CodeReady(code, f"{self.rendezvous.rstrip('/')}/#{code}", lives)
        self._progress.emit(event)
        self._progress.emit(Waiting("peer"))

    async def _open_host(self, sending: Sending) -> codes.Code:
        """Run a rendezvous for this network; its first code is shown before that takes time."""
        self._host = lan.Host(self._progress)
        self._rendezvous.move(self._host.url, direct=True)
        code = codes.draw(self._host.nameplate, sending.words)
        self._announce(str(code), sending, sending.wait)
        await self._host.open()
        return code

    async def _meet(self, role: Role, chosen: codes.ChosenCode, wait: float) -> Link:
        """Meet in the room that the chosen code names, whoever comes first."""
        self.warm()  # beside what is slow on purpose; whoever comes second finds it done
        name = await asyncio.to_thread(chosen.room_name)
        async with contextlib.AsyncExitStack() as held:
            client = await self._rendezvous.enter(held)
            self._progress.emit(Waiting("peer"))
            deadline = time.monotonic() + wait
            stale = False
            told: set[str] = set()
            while True:
                left = deadline - time.monotonic()
                try:
                    room = await client.open(name, left)
                    self.met = True
                    keys = await self._pairing.pair(room, role, chosen.password(), left)
                except (PeerGone, RoomRefused) as error:  # a run that died may still have its place
                    pause = SEAT_RETRY
                    if isinstance(error, RendezvousBusy):
                        pause = max(pause, error.seconds)
                    final = isinstance(error, CodeExpired | VersionRefused)
                    if final or deadline - time.monotonic() < pause:
                        raise
                    if isinstance(error, RendezvousBusy | RoomFull) and error.name not in told:
                        told.add(error.name)
                        self._progress.emit(Note(f"{error.message}; waiting to try again"))
                    await asyncio.sleep(pause)
                    continue
                except PairingError as error:
                    # Of this side's own role, or gone before the codes were compared: most likely
                    # what a run of its own that died has left in the room, which is burnt by now. A
                    # second time there really are two.
                    if stale or type(error) is not PairingError:
                        raise
                    stale = True
                    continue
                return await self._connect(room, keys, held, self._meanwhile)

    async def _connect(
        self,
        room: Room,
        keys: SessionKeys,
        held: contextlib.AsyncExitStack,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> Link:
        """Find a path to the paired peer, and open the channel."""
        if keys.peer.agent:  # it is told once, not each time the two meet again
            self._progress.emit(Note(f"paired with {keys.peer.agent}", detail=True))
        self.warm()
        assert self._warmth is not None
        offer, _ = await asyncio.gather(self._rendezvous.offered(), self._warmth)
        if meanwhile is not None:
            await meanwhile()
        try:
            link = await connect(
                room,
                keys,
                servers=offer.servers,
                relay_only=self._network.relay_only,
                restraint=self._network.restraint,
                timeout=self._network.timeout,
                pake=self._pairing.took,
                fallback=self._fallback(keys, offered=offer.relays),
                progress=self._progress,
                held=held,
                tracks=self._tracks() if self._tracks is not None else None,
            )
        except RoomBurnt as error:
            raise WrongCode("the other side found the code to be wrong") from error
        self._progress.emit(link.path)
        return link

    def _fallback(self, keys: SessionKeys, *, offered: bool) -> Fallback | None:
        """The rendezvous as a relay, where both sides would have it.

        Whoever does not decide need know neither the offer nor, after a restart, the peer's hello.
        """
        decides = keys.role is Role.A
        if not self._relays or (decides and not (offered and RELAY in keys.peer.capabilities)):
            return None
        client = self._rendezvous.client
        assert client is not None
        return Fallback(client, keys, self._network.restraint, offered=offered)


def load_ahead() -> None:
    """Load what pairing and connecting take, what is needed first before the rest.

    That is half a second of a slow processor: for a thread, while somebody or something is waited
    for.
    """
    load_client()
    pake.load()
    loading.load()
