"""The handshake: from a password that both sides have to `SessionKeys`, over mail that may lie.

    A                                          B
      hello; share, commitment  ──────────▶
                                ◀──────────      hello
                                ◀──────────      share, confirmation
      nonce, confirmation       ──────────▶

B confirms first, so that nobody can test a guess at A's code without A noticing. A commits to a
nonce before it sees B's share, so that nobody in between can search for shares that give both
sides the same verifier words. No network and no clock; ``docs/pairing-protocol.md`` has the bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from enum import Enum, IntEnum, auto
from typing import Final

from p2pxfer.errors import PairingError, PeerMisbehaved, RendezvousMisbehaved, WrongCode
from p2pxfer.pairing import hello as hellos
from p2pxfer.pairing.derivation import derive
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import SessionKeys
from p2pxfer.pairing.pake import MESSAGE_SIZE, Entropy, Pake
from p2pxfer.pairing.role import Role

MAX_MAIL: Final = 1024  # bytes
HASH_SIZE: Final = 32  # SHA-256: commitment, confirmation; and A's nonce
COMMITMENT: Final = b"p2pxfer/1 commitment"
TRANSCRIPT: Final = b"p2pxfer/1 transcript"
OPENED_TRANSCRIPT: Final = b"p2pxfer/1 opened transcript"


class Kind(IntEnum):
    """First byte of each mail of the handshake."""

    HELLO = 1
    SHARE = 2  # A's key share, and its commitment to a nonce
    ANSWER = 3  # B's key share and confirmation
    CLOSING = 4  # A's nonce and confirmation


class State(Enum):
    """What a side waits for."""

    START = auto()
    HELLO = auto()
    SHARE = auto()
    ANSWER = auto()
    CLOSING = auto()
    KEYED = auto()
    FAILED = auto()


# The only mail that each state takes, and what follows it. Anything else ends in FAILED.
TRANSITIONS: Final[dict[tuple[Role, State], tuple[Kind, State]]] = {
    (Role.A, State.HELLO): (Kind.HELLO, State.ANSWER),
    (Role.A, State.ANSWER): (Kind.ANSWER, State.KEYED),
    (Role.B, State.HELLO): (Kind.HELLO, State.SHARE),
    (Role.B, State.SHARE): (Kind.SHARE, State.CLOSING),
    (Role.B, State.CLOSING): (Kind.CLOSING, State.KEYED),
}
# Bytes behind the kind, where they are fixed.
SIZES: Final[dict[Kind, int]] = {
    Kind.SHARE: MESSAGE_SIZE + HASH_SIZE,
    Kind.ANSWER: MESSAGE_SIZE + HASH_SIZE,
    Kind.CLOSING: HASH_SIZE + HASH_SIZE,
}


class Handshake:
    """One side of one handshake, for one room.

    Attributes:
        keys: set once the other side's confirmation is verified and this side's is made.
        guess_spent: the other side has tested a guess at the password, or may have: then the code
            is used up, however the handshake ends.
    """

    def __init__(
        self,
        role: Role,
        password: bytes,
        hello: Hello,
        *,
        entropy: Entropy = secrets.token_bytes,
    ) -> None:
        """Takes the code's ``password()``."""
        self.keys: SessionKeys | None = None
        self.guess_spent = False
        self._role = role
        self._own = hello
        self._peer = hello
        self._state = State.START
        self._hellos = {
            role: _mail(Kind.HELLO, hellos.encode(hello, role, entropy(hellos.NONCE_SIZE)))
        }
        self._nonce = entropy(HASH_SIZE) if role is Role.A else b""
        self._pake = Pake(role, password, entropy)
        self._sent: list[bytes] = []
        self._share = b""  # A's SHARE mail, as sent or received
        self._key = b""
        self._confirming: dict[Role, bytes] = {}
        self._transcript = b""

    def __repr__(self) -> str:
        return f"Handshake({self._role.value}, {self._state.name})"

    def start(self) -> list[bytes]:
        """The mail to send first, in order."""
        if self._state is not State.START:
            raise RuntimeError("a handshake starts once")
        self._state = State.HELLO
        self._sent = [self._hellos[self._role]]
        if self._role is Role.A:
            self._share = _mail(Kind.SHARE, self._pake.message + _commitment(self._nonce))
            self._sent.append(self._share)
        return list(self._sent)

    def receive(self, mail: bytes) -> list[bytes]:
        """Take the other side's next mail; gives the mail to send in answer, in order.

        After any error but `RuntimeError` the handshake is dead, and its room is to be burnt.

        Raises:
            WrongCode: the confirmation is wrong: another code, or somebody in between.
            PairingError: both sides have the same role.
            PeerMisbehaved: mail that is malformed or out of turn.
            RendezvousMisbehaved: this side's own mail came back.
            RuntimeError: called before `start`, or after the end.
        """
        if self._state in (State.START, State.KEYED, State.FAILED):
            raise RuntimeError("this handshake takes no mail")
        kind, following = TRANSITIONS[self._role, self._state]
        self._state = State.FAILED
        answer = self._handle(kind, self._body(kind, mail), mail)
        self._sent += answer
        self._state = following
        return answer

    def _body(self, kind: Kind, mail: bytes) -> bytes:
        """What stands behind the kind, which must be ``kind``."""
        if mail in self._sent:
            raise RendezvousMisbehaved("the rendezvous returned this side's own mail")
        if not mail or len(mail) > MAX_MAIL:
            raise PeerMisbehaved(f"a handshake has no mail of {len(mail)} bytes")
        if mail[0] != kind:
            raise PeerMisbehaved(f"handshake mail of kind {mail[0]} instead of {kind.value}")
        body = mail[1:]
        if len(body) != SIZES.get(kind, len(body)):
            raise PeerMisbehaved(f"handshake mail of kind {kind.value} has another length")
        return body

    def _handle(self, kind: Kind, body: bytes, mail: bytes) -> list[bytes]:
        match kind:
            case Kind.HELLO:
                return self._meet(body, mail)
            case Kind.SHARE:
                return self._answer(body, mail)
            case Kind.ANSWER:
                return self._close(body)
            case Kind.CLOSING:
                return self._end(body)

    def _meet(self, body: bytes, mail: bytes) -> list[bytes]:
        self._peer, role = hellos.decode(body)
        if role is self._role:
            doing, other = ("sending", "receive") if role is Role.A else ("receiving", "send")
            raise PairingError(
                f"both sides are {doing}", f"one of the two should run p2pxfer {other}"
            )
        self._hellos[role] = mail
        return []

    def _answer(self, body: bytes, mail: bytes) -> list[bytes]:
        """B: A's share is here."""
        self._share = mail
        self._agree(body[:MESSAGE_SIZE], self._pake.message)
        self.guess_spent = True
        return [_mail(Kind.ANSWER, self._pake.message + self._confirmation(Role.B))]

    def _close(self, body: bytes) -> list[bytes]:
        """A: B's share and confirmation are here."""
        share, confirmation = body[:MESSAGE_SIZE], body[MESSAGE_SIZE:]
        self._agree(share, share)
        self.guess_spent = True
        if not hmac.compare_digest(confirmation, self._confirmation(Role.B)):
            raise WrongCode("the other side typed another code")
        self._open(self._nonce)
        closing = _mail(Kind.CLOSING, self._nonce + self._confirmation(Role.A))
        self._finish()
        return [closing]

    def _end(self, body: bytes) -> list[bytes]:
        """B: A's nonce and confirmation are here."""
        nonce, confirmation = body[:HASH_SIZE], body[HASH_SIZE:]
        self._open(nonce)
        if not hmac.compare_digest(confirmation, self._confirmation(Role.A)):
            raise WrongCode("the other side has another code")
        if not hmac.compare_digest(_commitment(nonce), self._share[-HASH_SIZE:]):
            raise PeerMisbehaved("the other side's nonce is not the one it committed to")
        self._finish()
        return []

    def _agree(self, received: bytes, share_of_b: bytes) -> None:
        self._key = self._pake.finish(received)
        said = (self._hellos[Role.A], self._hellos[Role.B], self._share, share_of_b)
        framed = b"".join(len(part).to_bytes(2, "big") + part for part in said)
        self._transcript = hashlib.sha256(TRANSCRIPT + framed).digest()
        self._confirming = {
            role: derive(self._key, self._transcript, f"confirm {role.value}") for role in Role
        }

    def _open(self, nonce: bytes) -> None:
        """From here on the transcript covers A's nonce as well."""
        opened = OPENED_TRANSCRIPT + self._transcript + nonce
        self._transcript = hashlib.sha256(opened).digest()

    def _confirmation(self, sender: Role) -> bytes:
        return hmac.digest(self._confirming[sender], self._transcript, "sha256")

    def _finish(self) -> None:
        self.keys = SessionKeys(
            secret=derive(self._key, self._transcript, "secret"),
            role=self._role,
            transcript=self._transcript,
            peer=self._peer,
            version=min(self._own.version, self._peer.version),
        )


def _mail(kind: Kind, body: bytes) -> bytes:
    return bytes((kind,)) + body


def _commitment(nonce: bytes) -> bytes:
    return hashlib.sha256(COMMITMENT + nonce).digest()
