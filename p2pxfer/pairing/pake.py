"""SPAKE2 over the library of the same name: one instance, one message each way, one key.

Knows no mail and no codes. Whatever the library may raise becomes `PeerMisbehaved` here, and what
the library lets pass, though it should not, is refused before it sees it. Its arithmetic does not
take constant time: see ``docs/threat-model.md``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.pairing.role import Role

MESSAGE_SIZE: Final = 33  # a side byte and an encoded element of edwards25519
IDENTITY_A: Final = b"p2pxfer A"
IDENTITY_B: Final = b"p2pxfer B"
FIELD_PRIME: Final = 2**255 - 19  # RFC 8032, section 5.1
_SIGN_BIT: Final = 1 << 255

Entropy = Callable[[int], bytes]


class Pake:
    """One side of one run of SPAKE2.

    Attributes:
        message: what the other side must get, `MESSAGE_SIZE` bytes.
    """

    def __init__(self, role: Role, password: bytes, entropy: Entropy = secrets.token_bytes) -> None:
        library = load()
        kind = library.SPAKE2_A if role is Role.A else library.SPAKE2_B
        self._role = role
        self._spake: Any = kind(password, idA=IDENTITY_A, idB=IDENTITY_B, entropy_f=entropy)
        self.message: bytes = self._spake.start()

    def __repr__(self) -> str:
        return f"Pake({self._role.value})"

    def finish(self, message: bytes) -> bytes:
        """The key of 32 bytes, shared with whoever made ``message`` if they have the password.

        Raises:
            PeerMisbehaved: ``message`` is malformed, of the same side, or no element of the
                prime-order group in canonical encoding. It tells nothing about the password.
            RuntimeError: called again: one instance takes one message, good or bad.
        """
        spake, self._spake = self._spake, None
        if spake is None:
            raise RuntimeError("a Pake takes one message")
        _check_encoding(message, self._role.other)
        try:
            key: bytes = spake.finish(message)
        except Exception as error:  # noqa: BLE001  # the library raises asserts and bare Exceptions
            name = type(error).__name__
            raise PeerMisbehaved(f"the other side's key share was refused: {name}") from None
        return key


def load() -> Any:
    """The library, which computes for some 20 ms when it is loaded: not before a code is shown."""
    import spake2  # noqa: PLC0415  # 17 ms, after a code is shown

    return spake2


def _check_encoding(message: bytes, sender: Role) -> None:
    """Refuse what the library would take: longer messages, and second encodings of an element.

    Three of those are the identity's. In RFC 8032, section 5.1.3, y is below the prime, and x = 0,
    which y = 1 and y = -1 have, has no sign bit; no element of prime order has x = 0.
    """
    if len(message) != MESSAGE_SIZE:
        raise PeerMisbehaved(f"a key share has {MESSAGE_SIZE} bytes, not {len(message)}")
    if message[:1] != sender.side:
        raise PeerMisbehaved("a key share of the wrong side")
    y = int.from_bytes(message[1:], "little") & ~_SIGN_BIT
    if y >= FIELD_PRIME:
        raise PeerMisbehaved("a key share in non-canonical encoding")
    if y in (1, FIELD_PRIME - 1):
        raise PeerMisbehaved("a key share of low order")
