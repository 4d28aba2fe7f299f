"""What the two ends of a rendezvous say to each other: frozen types, and their limits.

Bodies are opaque: nothing here knows what is in them. Their bytes are `encoding`'s. No state, no
network.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Final

from msgspec import Struct

from p2pxfer.discreet import Discreet

VERSION: Final = 1
TOKEN_SIZE: Final = 16  # bytes; 128 random bits name one side of one room
NAME_SIZE: Final = 32  # bytes of a room's name, where it has no nameplate
LAN_NAMEPLATES: Final = (100, 999)  # first and last: announced by mDNS, never drawn elsewhere
MAX_NAMEPLATE: Final = 999_999_999
MAX_BODY: Final = 64 * 1024  # bytes of one piece of mail
MAX_MESSAGE: Final = 1 + 4 + MAX_BODY  # type, number and body
WINDOW_MESSAGES: Final = 256  # mail of one side that the other has not acknowledged, at most
WINDOW_BYTES: Final = 256 * 1024  # and the bytes of it
MAX_NUMBER: Final = 4096  # mail that one side may send through one room, in all
MAX_FRAME: Final = 64 * 1024  # bytes of one frame of a circuit
CIRCUIT_WINDOW: Final = 512 * 1024  # bytes of one side's frames that are not taken, at most
FRAME_OVERHEAD: Final = (
    64  # bytes charged for a frame beside its own, so that tiny ones are bounded
)
MAX_LIFETIME: Final = 30 * 24 * 3600  # seconds that a client may ask for


class Reason(IntEnum):
    """Why the rendezvous ends a conversation."""

    VERSION = 1  # it does not speak the client's version
    MALFORMED = 2  # the client broke the protocol
    UNKNOWN = 3  # no such room, or none with this token
    FULL = 4  # two sides are in the room
    BURNT = 5  # a wrong guess was made in the room
    EXPIRED = 6  # the room outlived its time
    CLOSED = 7  # a side closed the room
    ABANDONED = 8  # a side stayed away too long
    LIMITED = 9  # this address asked too often; `Ended.seconds` says when to come again
    BUSY = 10  # the rendezvous holds as much as it may
    OVERFLOW = 11  # more mail than a room may hold or carry
    SUPERSEDED = 12  # the same side came again over another connection
    SPENT = 13  # circuits carried as much for this address, or for all, as they may
    GONE = 14  # the other side of a circuit never came, or has left


class Allocate(Discreet, Struct, frozen=True):
    """First message: a new room with a nameplate that the rendezvous draws.

    Attributes:
        token: the side's secret, `TOKEN_SIZE` random bytes.
        lifetime: seconds that the room should wait for the other side; 0 leaves it to the
            rendezvous, which also bounds it.
    """

    hidden = ("token",)

    token: bytes
    lifetime: int = 0
    version: int = VERSION
    TYPE: ClassVar[int] = 0x01


class Join(Discreet, Struct, frozen=True):
    """First message: into the room with this nameplate.

    Attributes:
        token: the side's secret.
        nameplate: 1 to `MAX_NAMEPLATE`.
        resume: only back into a room that already has a side with this token.
    """

    hidden = ("token",)

    token: bytes
    nameplate: int
    resume: bool = False
    version: int = VERSION
    TYPE: ClassVar[int] = 0x02


class Open(Discreet, Struct, frozen=True):
    """First message: into the room of this name, which is made if there is none.

    Attributes:
        token: the side's secret.
        name: `NAME_SIZE` bytes that only the two sides can know.
        lifetime: as in `Allocate`.
        resume: as in `Join`; nothing is made then.
    """

    hidden = ("token", "name")

    token: bytes
    name: bytes
    lifetime: int = 0
    resume: bool = False
    version: int = VERSION
    TYPE: ClassVar[int] = 0x03


class Connect(Discreet, Struct, frozen=True):
    """First message: carry frames to and from the one other side that says the same name.

    Attributes:
        name: `NAME_SIZE` bytes that only the two sides can know.
    """

    hidden = ("name",)

    name: bytes
    version: int = VERSION
    TYPE: ClassVar[int] = 0x08


class Send(Discreet, Struct, frozen=True):
    """Mail for the other side. A side numbers its mail from 1; a number seen before is dropped."""

    hidden = ("body",)

    number: int
    body: bytes
    TYPE: ClassVar[int] = 0x04


class Acknowledge(Struct, frozen=True):
    """Every `Mail` up to and including number ``through`` has been taken."""

    through: int
    TYPE: ClassVar[int] = 0x05


class Burn(Struct, frozen=True):
    """Key confirmation failed: nobody uses this room again. Answered by `Ended`."""

    TYPE: ClassVar[int] = 0x06


class Close(Struct, frozen=True):
    """This side is done. Answered by `Ended`; the other side still gets the mail before it."""

    TYPE: ClassVar[int] = 0x07


class Forward(Discreet, Struct, frozen=True):
    """A frame for the other side of a circuit."""

    hidden = ("body",)

    body: bytes
    TYPE: ClassVar[int] = 0x09


class Took(Struct, frozen=True):
    """So much more of the other side's frames was taken, each with its `FRAME_OVERHEAD`."""

    size: int
    TYPE: ClassVar[int] = 0x0A


class Welcome(Struct, frozen=True):
    """Answer to a first message: the side is in the room.

    Attributes:
        nameplate: the room's, or 0 if it has a name instead.
        expires: seconds that the room has left, rounded.
        stored: number of this side's newest mail that the rendezvous has; 0 for none.
    """

    nameplate: int
    expires: int
    stored: int
    TYPE: ClassVar[int] = 0x81


class Mail(Discreet, Struct, frozen=True):
    """Mail of the other side, in its order. May repeat what came over an earlier connection."""

    hidden = ("body",)

    number: int
    body: bytes
    TYPE: ClassVar[int] = 0x82


class Taken(Struct, frozen=True):
    """The other side acknowledged this side's mail up to and including ``through``."""

    through: int
    TYPE: ClassVar[int] = 0x83


class Crowded(Struct, frozen=True):
    """``count`` further sides have tried to come into the room so far, and were refused."""

    count: int
    TYPE: ClassVar[int] = 0x84


class Ended(Struct, frozen=True):
    """Last message of a conversation. ``seconds`` to wait before another try, or 0."""

    reason: Reason
    seconds: int = 0
    TYPE: ClassVar[int] = 0x85


class Connected(Struct, frozen=True):
    """Answer to `Connect`: both sides are there."""

    TYPE: ClassVar[int] = 0x86


class Frame(Discreet, Struct, frozen=True):
    """A frame of the other side of a circuit, in its order."""

    hidden = ("body",)

    body: bytes
    TYPE: ClassVar[int] = 0x87


class Credit(Struct, frozen=True):
    """So much more of this side's frames was taken by the other one; see `Took`."""

    size: int
    TYPE: ClassVar[int] = 0x88


FirstMessage = Allocate | Join | Open
ClientMessage = FirstMessage | Send | Acknowledge | Burn | Close | Connect | Forward | Took
ServerMessage = Welcome | Mail | Taken | Crowded | Ended | Connected | Frame | Credit
