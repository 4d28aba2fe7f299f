"""The last resort, where no path is found: both sides agree to meet on a circuit of the rendezvous.

An invitation of either side crosses among the signals, sealed as they are. It carries a nonce, from
which both derive the circuit's name and the keys of the stream, and how fast this side may be sent
to. Role A decides; ``docs/pairing-protocol.md`` has the bytes. What crosses then is not known.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from p2pxfer.discreet import Discreet
from p2pxfer.errors import ConnectionFailed, PeerGone, PeerMisbehaved
from p2pxfer.pairing.keys import ATTEMPT_NONCE, Role, SessionKeys
from p2pxfer.pairing.stream import FrameOpener, FrameSealer
from p2pxfer.peer.restraint import FREE, Limit, Restraint, ceiling
from p2pxfer.session.pair import within

if TYPE_CHECKING:
    from p2pxfer.rendezvous.circuit import Circuit
    from p2pxfer.rendezvous.client import RendezvousClient

RELAY: Final = "relay"  # capability of a side that would go this way; label of the stream's keys
CIRCUIT: Final = "circuit"  # label of the circuit's name
INVITATION: Final = b"\1"  # first byte; other signals are JSON
MAX_LIMIT: Final = 1024  # bytes of a limit as it is written
MAX_MESSAGE: Final = 256 * 1024  # bytes of a message that is taken, as over a data channel
ANSWER: Final = 10.0  # seconds for the other side's invitation
MEETING: Final = 15.0  # seconds for both sides to come to the circuit
GREETING: Final = 10.0  # seconds for the other side to prove that it is it


class Invitation(Discreet, Struct, frozen=True):
    """One side's part of the agreement.

    Attributes:
        nonce: fresh random bytes.
        limit: how fast this side may be sent to, its times in UTC.
    """

    hidden = ("nonce",)

    nonce: bytes
    limit: Limit

    def encode(self) -> bytes:
        """Its bytes."""
        limit = str(self.limit).encode("ascii") if self.limit.spans else b""
        return INVITATION + self.nonce + limit

    @classmethod
    def decode(cls, body: bytes) -> Invitation:
        """Read the other side's.

        Raises:
            PeerMisbehaved: it is malformed.
        """
        nonce, text = body[1 : 1 + ATTEMPT_NONCE], body[1 + ATTEMPT_NONCE :]
        if body[:1] != INVITATION or len(nonce) != ATTEMPT_NONCE or len(text) > MAX_LIMIT:
            raise PeerMisbehaved("an invitation to the relay that is malformed")
        try:
            limit = Limit.parse(text.decode("ascii")) if text else Limit()
        except ValueError:
            raise PeerMisbehaved("an invitation to the relay with an impossible limit") from None
        return cls(nonce, limit)


class Fallback:
    """The way through the rendezvous, for one connection of two paired sides.

    Args:
        client: of the rendezvous.
        keys: that the signals of this connection are sealed with.
        restraint: of this side.
        offered: whether the rendezvous has told this side that it relays.

    Attributes:
        offered: the same; the other side may know better.
    """

    def __init__(
        self,
        client: RendezvousClient,
        keys: SessionKeys,
        restraint: Restraint | None,
        *,
        offered: bool,
    ) -> None:
        self.offered = offered
        self._client = client
        self._keys = keys
        self._restraint = restraint or FREE
        self._own = Invitation(secrets.token_bytes(ATTEMPT_NONCE), self._restraint.abroad().limit)
        self._theirs: asyncio.Future[Invitation] = asyncio.get_running_loop().create_future()
        self._decided = False

    @property
    def decides(self) -> bool:
        """Whether it is this side that says when."""
        return self._keys.role is Role.A

    def hear(self, body: bytes) -> None:
        """Take the other side's invitation.

        Raises:
            PeerMisbehaved: it is malformed, the second, or not its turn.
        """
        if self._theirs.done() or (self.decides and not self._decided):
            raise PeerMisbehaved("an invitation to the relay out of turn")
        theirs = Invitation.decode(body)
        if theirs.nonce == self._own.nonce:
            raise PeerMisbehaved("an invitation to the relay with this side's own nonce")
        self._theirs.set_result(theirs)

    async def invited(self) -> None:
        """Wait for the other side's invitation."""
        await asyncio.shield(self._theirs)

    def invite(self, signal: Callable[[bytes], None]) -> None:
        """Say this side's; from now on no other path is taken."""
        self._decided = True
        signal(self._own.encode())

    async def open(self) -> Circuit:
        """Meet on the circuit, once the other side has answered.

        Raises:
            TransferError: the other side did not come, or the rendezvous carries nothing now.
        """
        from p2pxfer.rendezvous.circuit import Circuit  # noqa: PLC0415  # few need it

        silent = ConnectionFailed("no path was found, and the other side takes no relay now")
        theirs = await within(ANSWER, asyncio.shield(self._theirs), silent)
        nonces = (self._own.nonce, theirs.nonce)
        keys = self._keys.relayed(*(nonces if self._keys.role is Role.A else nonces[::-1]))
        absent = PeerGone("the other side did not come to the relay")
        link = await within(MEETING, self._client.circuit(keys.key(CIRCUIT), 2 * MEETING), absent)
        circuit = Circuit(
            link,
            FrameSealer(keys.sealer(RELAY)),
            FrameOpener(keys.opener(RELAY), MAX_MESSAGE),
            rate=ceiling(self._restraint, Restraint(theirs.limit)),
        )
        try:
            await circuit.open(GREETING)
        except BaseException:
            await circuit.close()
            raise
        return circuit
