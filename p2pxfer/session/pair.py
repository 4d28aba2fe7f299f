"""Pairing over a room's mail: from a password to `SessionKeys`, one guess a room.

Wires the sans-IO handshake to a room, and a human to the verifier words. Which rooms and codes
there are is not known here.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final, TypeVar

from p2pxfer.errors import (
    CodeExpired,
    IntegrityError,
    PairingError,
    PeerGone,
    PeerMisbehaved,
    RendezvousMisbehaved,
    RoomBurnt,
    TransferError,
    VerificationRefused,
    WrongCode,
)
from p2pxfer.pairing.handshake import Handshake
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import ATTEMPT_NONCE, Role, SessionKeys
from p2pxfer.progress import Progress, Waiting
from p2pxfer.session.interaction import Interaction

if TYPE_CHECKING:
    from p2pxfer.rendezvous.client import Room

HANDSHAKE_TIMEOUT: Final = 30.0  # seconds from the peer's first mail to its confirmation
VERIFY: Final = "verify"  # capability of a side whose human compares words; label of its yes

Value = TypeVar("Value")


class Pairing:
    """Pairs over one room after another.

    Args:
        hello: what this side says of itself.
        progress: told when a human is waited for.
        interaction: compares words.

    Attributes:
        took: seconds from the other side's first word to shared keys, of the last pairing.
    """

    def __init__(self, hello: Hello, progress: Progress, interaction: Interaction) -> None:
        self.took = 0.0
        self._hello = hello
        self._progress = progress
        self._interaction = interaction

    async def pair(self, room: Room, role: Role, password: bytes, wait: float) -> SessionKeys:
        """Agree on keys over the room's mail. The room is left, or burnt, where that fails.

        Raises:
            WrongCode: a guess at the code was spent, and nobody proved to know it.
            CodeExpired: the other side did not come within ``wait`` seconds.
        """
        handshake = Handshake(role, password, self._hello)
        try:
            for mail in handshake.start():
                await room.send(mail)
            first = await within(wait, room.receive(), CodeExpired("nobody came for the code"))
            began = time.perf_counter()
            await self._converse(room, handshake, first)
            self.took = time.perf_counter() - began
            assert handshake.keys is not None
            await self._verify(room, handshake.keys)
        except RoomBurnt as error:
            if not handshake.guess_spent:  # it can't have found the code to be wrong
                raise PairingError(
                    "the other side left before codes were compared: it may run the same command",
                    "one of the two should run p2pxfer send, and the other p2pxfer receive",
                ) from error
            raise WrongCode("the other side has another code") from error
        except (PairingError, PeerMisbehaved, RendezvousMisbehaved) as error:
            await room.burn()
            if handshake.guess_spent and handshake.keys is None:
                raise WrongCode("the other side does not have this code") from error
            raise
        except PeerGone as error:
            await room.close()
            if handshake.guess_spent and handshake.keys is None:
                raise WrongCode("the code was used, and the other side left") from error
            raise
        except BaseException:
            await room.close()
            raise
        return handshake.keys

    async def renew(self, room: Room, keys: SessionKeys, wait: float) -> SessionKeys:
        """Agree on keys for one more connection of two sides that are paired already.

        Nothing is confirmed: whoever does not have ``keys`` can't open what is sealed next.

        Raises:
            PeerGone: the other side did not come within ``wait`` seconds.
            PeerMisbehaved: what it said is no nonce.
        """
        own = secrets.token_bytes(ATTEMPT_NONCE)
        self.took = 0.0  # there is nothing to agree on
        try:
            await room.send(own)
            absent = PeerGone("the other side did not come back")
            other = await within(wait, room.receive(), absent)
            if len(other) != ATTEMPT_NONCE or other == own:
                raise PeerMisbehaved("the other side came back with no nonce of its own")
        except BaseException:
            await room.close()
            raise
        return keys.attempt(own, other) if keys.role is Role.A else keys.attempt(other, own)

    async def _converse(self, room: Room, handshake: Handshake, first: bytes) -> None:
        silent = PeerGone("the other side stopped in the middle of pairing")
        mail = first
        while True:
            for answer in handshake.receive(mail):
                await room.send(answer)
            if handshake.keys is not None:
                return
            mail = await within(HANDSHAKE_TIMEOUT, room.receive(), silent)

    async def _verify(self, room: Room, keys: SessionKeys) -> None:
        """Have humans compare, if either side wants that, and wait until both have said yes.

        Raises:
            VerificationRefused: one of them said no. The other side's no is a burnt room.
        """
        if VERIFY not in self._hello.capabilities | keys.peer.capabilities:
            return
        self._progress.emit(Waiting("verify"))
        asking = asyncio.create_task(self._interaction.verify(keys.verifier_words()))
        hearing = asyncio.create_task(room.receive())
        refused = VerificationRefused("the words on the two screens were not confirmed")
        try:
            await asyncio.wait({asking, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                hearing.result()  # the other side may have said no, or left
            if not await asking:
                raise refused
            await room.send(keys.sealer(VERIFY).seal(b""))
            keys.opener(VERIFY).open(await hearing)
        except RoomBurnt as error:
            raise refused from error
        except IntegrityError as error:
            raise RendezvousMisbehaved(error.message) from error
        finally:
            asking.cancel()
            hearing.cancel()
            await asyncio.gather(asking, hearing, return_exceptions=True)


async def within(seconds: float, awaitable: Awaitable[Value], otherwise: TransferError) -> Value:
    """What ``awaitable`` gives, or ``otherwise`` raised if it takes longer than ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise otherwise from None
