"""Hello: what a side says of itself before there is a key, and its bytes.

It crosses in the clear; the transcript binds it, so that the key confirmation fails if anybody
changed it on the way. Nothing here is secret, and nothing decides what a capability means.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.pairing.role import Role

VERSION: Final = 1  # of everything two peers say to each other
NONCE_SIZE: Final = 16
MAX_CAPABILITIES: Final = 16
_CAPABILITY: Final = re.compile(rb"[a-z0-9][a-z0-9.-]{0,31}")
_AGENT: Final = re.compile(rb"[ -~]{0,64}")


class Hello(Struct, frozen=True):
    """What a side is and can.

    Attributes:
        version: the highest protocol version it speaks, 1 to 255; it speaks all below as well.
        capabilities: names of optional features, up to 16, each up to 32 of ``a-z 0-9 . -``.
        agent: program and version, for people; up to 64 printable ASCII characters.

    Raises:
        ValueError: a field is out of its range.
    """

    version: int = VERSION
    capabilities: frozenset[str] = frozenset()
    agent: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.version <= 255:  # noqa: PLR2004  # one byte
            raise ValueError("version is out of range")
        if len(self.capabilities) > MAX_CAPABILITIES:
            raise ValueError("too many capabilities")
        if not all(_CAPABILITY.fullmatch(name.encode()) for name in self.capabilities):
            raise ValueError("a capability's name has other characters, or too many")
        if not _AGENT.fullmatch(self.agent.encode()):
            raise ValueError("the agent has other characters, or too many")


def encode(hello: Hello, role: Role, nonce: bytes) -> bytes:
    """The bytes of ``hello`` as ``role`` says it; ``nonce`` tells it from any other hello."""
    names = sorted(name.encode("ascii") for name in hello.capabilities)
    agent = hello.agent.encode("ascii")
    return b"".join(
        (
            bytes((hello.version,)),
            role.side,
            nonce,
            bytes((len(names),)),
            *(bytes((len(name),)) + name for name in names),
            bytes((len(agent),)),
            agent,
        )
    )


def decode(data: bytes) -> tuple[Hello, Role]:
    """The hello in ``data``, and who says it.

    Bytes after the agent are for later versions: left alone in their hellos, refused in ours.

    Raises:
        PeerMisbehaved: it is no hello.
    """
    try:
        version, side = data[0], data[1:2]
        role = Role(side.decode("ascii"))
        at = 2 + NONCE_SIZE
        names = []
        count = data[at]
        at += 1
        for _ in range(count):
            name, at = _short(data, at)
            names.append(name)
        agent, at = _short(data, at)
        if names != sorted(set(names)):
            raise ValueError("capabilities out of order")
        if at != len(data) and version <= VERSION:
            raise ValueError("bytes too many")
        capabilities = frozenset(name.decode("ascii") for name in names)
        return Hello(version, capabilities, agent.decode("ascii")), role
    except (ValueError, IndexError):
        raise PeerMisbehaved("the other side's hello is malformed") from None


def _short(data: bytes, at: int) -> tuple[bytes, int]:
    """Bytes behind a length of one byte, and where they end."""
    end = at + 1 + data[at]
    if end > len(data):
        raise IndexError
    return data[at + 1 : end], end
