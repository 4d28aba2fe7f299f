"""What data channels tell whoever uses them.

Plain values, named for what happened; what concerns the association in whole is passed on as
`events` has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from p2pxfer.sctp.events import AllAcknowledged, Closed, Established


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """The far end opened a channel; it may be used at once. See `dcep.Open`."""

    id: int
    label: str
    protocol: str
    ordered: bool
    max_retransmits: int | None = None
    max_lifetime: int | None = None


@dataclass(frozen=True, slots=True)
class ChannelAccepted:
    """The far end has a channel that this end opened."""

    id: int


@dataclass(slots=True)
class ChannelMessage:
    """A message of the far end; text is ``str``."""

    id: int
    data: bytes | str


@dataclass(slots=True)
class ChannelSent:
    """Bytes of what `DataChannels.send` took that left for the network."""

    id: int
    size: int


@dataclass(frozen=True, slots=True)
class ChannelClosing:
    """Nothing more can be sent on a channel that this end did not close."""

    id: int


@dataclass(frozen=True, slots=True)
class ChannelClosed:
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
