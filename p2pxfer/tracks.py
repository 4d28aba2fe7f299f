"""Pictures and sound as one room hands them to another: what a received track gives, no codec.

What is inside a frame only `media` knows, and where it came from only `peer` does.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import Struct

Kind = Literal["audio", "video"]


class Received(Struct, frozen=True):
    """One decoded frame of the other side.

    Attributes:
        frame: PyAV's ``VideoFrame`` or ``AudioFrame``.
        seconds: since the track's first frame, by the sender's clock.
        arrived: when it could be read, seconds since 1970.
        key: whether it is a picture that needed no other to be decoded.
    """

    frame: Any
    seconds: float
    arrived: float
    key: bool


class TrackEnded(Exception):
    """Nothing more comes on a track."""


class IncomingTrack(Protocol):
    """A track of the other side.

    Attributes:
        kind: what it carries.
        mid: of the section of the descriptions that it belongs to.
    """

    kind: Kind
    mid: str

    async def frame(self) -> Received:
        """The next frame.

        Raises:
            TrackEnded: there is none.
        """

    async def ask_for_key_frame(self) -> None:
        """Have the other side send a picture that needs no other."""
