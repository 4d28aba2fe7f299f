"""What data channels tell whoever uses them.

Plain values, named for what happened; what concerns the association in whole is passed on as
`events` has it.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from p2pxfer.sctp.events import AllAcknowledged, Closed, Established


class ChannelOpened(Struct, frozen=True):
    """The far end opened a channel; it may be used at once. See `dcep.Open`."""

    id: int
    label: str
    protocol: str
    ordered: bool
    max_retransmits: int | None = None
    max_lifetime: int | None = None


class ChannelAccepted(Struct, frozen=True):
    """The far end has a channel that this end opened."""

    id: int


class ChannelMessage(Struct, frozen=True):
    """A message of the far end; text is ``str``."""

    id: int
    data: bytes | str


class ChannelSent(Struct, frozen=True):
    """Bytes of what `DataChannels.send` took that left for the network."""

    id: int
    size: int


class ChannelClosing(Struct, frozen=True):
    """Nothing more can be sent on a channel that this end did not close."""

    id: int


class ChannelClosed(Struct, frozen=True):
    """The channel is no more, and its number free; told for every channel that was ever told."""

    id: int


ChannelEvent: TypeAlias = (
    ChannelOpened
    | ChannelAccepted
    | ChannelMessage
    | ChannelSent
    | ChannelClosing
    | ChannelClosed
    | Established
    | AllAcknowledged
    | Closed
)
