"""What two paired sides share: a secret, the keys derived from it, and sealing.

Every key has a label, and a direction where it has a sender. What is sealed is not known here.
``docs/pairing-protocol.md`` lists the labels.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field, replace
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2pxfer.errors import IntegrityError
from p2pxfer.pairing import wordlist
from p2pxfer.pairing.derivation import derive
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.role import Role

__all__ = ["Opener", "Role", "Sealer", "SessionKeys", "resume_id", "resume_proof"]

TAG_SIZE: Final = 16
MAX_SEALED: Final = 2**32  # messages under one key; NIST SP 800-38D, section 8.3, is satisfied
VERIFIER_WORDS: Final = 4
ATTEMPT_NONCE: Final = 32  # bytes
RESUME_ID_SIZE: Final = 16
SEALED_CONTEXT: Final = b"p2pxfer/1 sealed "
_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_NONCE: Final = Struct(">IQ")  # zero, then the message's number: 96 bits


class Sealer:
    """Seals messages of one direction, each with the next number, from 0."""

    def __init__(self, key: bytes, sender: Role) -> None:
        self._cipher = AESGCM(key)
        self._sender = sender
        self._number = 0

    def seal(self, plain: bytes) -> bytes:
        """``plain`` encrypted, and a tag of 16 bytes behind it.

        Raises:
            RuntimeError: the key is used up; a number never comes twice.
        """
        if self._number >= MAX_SEALED:
            raise RuntimeError("this key has sealed as many messages as it may")
        nonce, context = _bound_to(self._sender, self._number)
        self._number += 1
        return self._cipher.encrypt(nonce, plain, context)


class Opener:
    """Opens what the far `Sealer` sealed, in the order in which it did."""

    def __init__(self, key: bytes, sender: Role) -> None:
        self._cipher = AESGCM(key)
        self._sender = sender
        self._number = 0
        self._broken = False

    def open(self, sealed: bytes) -> bytes:
        """The message in ``sealed``.

        Raises:
            IntegrityError: it was changed, cut, repeated, reflected or put out of order. Nothing
                can be opened after that.
        """
        nonce, context = _bound_to(self._sender, self._number)
        if self._broken or len(sealed) < TAG_SIZE or self._number >= MAX_SEALED:
            self._broken = True
            raise IntegrityError(_TAMPERED)
        try:
            plain = self._cipher.decrypt(nonce, sealed, context)
        except InvalidTag:
            self._broken = True
            raise IntegrityError(_TAMPERED) from None
        self._number += 1
        return plain

    def give_up(self) -> None:
        """Open nothing any more: what was opened was no proper message."""
        self._broken = True


_TAMPERED: Final = "sealed mail was changed, lost or repeated on its way"


@dataclass(frozen=True)
class SessionKeys:
    """What a finished handshake leaves: both sides have the same, but for ``role`` and ``peer``.

    Attributes:
        secret: 32 bytes, from which every key comes, later attempts' too.
        role: this side's.
        transcript: 32 bytes, a hash over all that both sides said.
        peer: the other side's hello, as it sent it.
        version: of the protocol that both sides speak.
    """

    secret: bytes = field(repr=False)
    role: Role
    transcript: bytes
    peer: Hello
    version: int
    _sealing: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def key(self, label: str, sender: Role | None = None) -> bytes:
        """32 bytes for the use that ``label`` names, and for one direction if ``sender`` is given.

        Raises:
            ValueError: the label is not 1 to 64 of ``a-z 0-9 . -``.
        """
        if not _LABEL.fullmatch(label):
            raise ValueError("a label is 1 to 64 of a-z, 0-9, dot and hyphen")
        return derive(self.secret, b"", f"key {label}" + (f" {sender.value}" if sender else ""))

    def sealer(self, label: str) -> Sealer:
        """What seals this side's messages of the kind ``label``.

        Raises:
            ValueError: there was one already; a second one would repeat its nonces.
        """
        if label in self._sealing:
            raise ValueError("a label has one sealer")
        key = self.key(label, self.role)
        self._sealing.add(label)
        return Sealer(key, self.role)

    def opener(self, label: str) -> Opener:
        """What opens the other side's messages of the kind ``label``."""
        return Opener(self.key(label, self.role.other), self.role.other)

    def attempt(self, nonce_a: bytes, nonce_b: bytes) -> SessionKeys:
        """Keys for one more connection of the same two sides; each draws its nonce afresh.

        Raises:
            ValueError: a nonce is not of `ATTEMPT_NONCE` bytes.
        """
        return self._afresh(nonce_a, nonce_b, "attempt")

    def relayed(self, nonce_a: bytes, nonce_b: bytes) -> SessionKeys:
        """Keys for one stream of this connection through a relay; each side draws its nonce afresh.

        Raises:
            ValueError: a nonce is not of `ATTEMPT_NONCE` bytes.
        """
        return self._afresh(nonce_a, nonce_b, "relayed")

    def _afresh(self, nonce_a: bytes, nonce_b: bytes, what: str) -> SessionKeys:
        if not len(nonce_a) == len(nonce_b) == ATTEMPT_NONCE:
            raise ValueError(f"a nonce has {ATTEMPT_NONCE} bytes")
        return replace(self, secret=derive(self.secret, nonce_a + nonce_b, what))

    def verifier_words(self) -> tuple[str, str, str, str]:
        """Four words, the same on both sides unless somebody sits in between: 44 bits."""
        bits = int.from_bytes(self.key("verifier"), "big") >> (256 - 4 * wordlist.WORD_BITS)
        every = wordlist.words()
        first, second, third, fourth = (
            every[bits >> wordlist.WORD_BITS * place & 2**wordlist.WORD_BITS - 1]
            for place in reversed(range(VERIFIER_WORDS))
        )
        return first, second, third, fourth


def _bound_to(sender: Role, number: int) -> tuple[bytes, bytes]:
    """Nonce and associated data of message ``number`` from ``sender``."""
    nonce = _NONCE.pack(0, number)
    return nonce, SEALED_CONTEXT + sender.side + nonce


def resume_id(secret: bytes) -> bytes:
    """16 bytes that name a session to whoever knows its secret, and tell nobody else anything."""
    return derive(secret, b"", "resume id")[:RESUME_ID_SIZE]


def resume_proof(secret: bytes, challenge: bytes) -> bytes:
    """32 bytes that prove to know an earlier session's secret, within the one of ``challenge``."""
    return hmac.digest(derive(secret, b"", "resume proof"), challenge, "sha256")
