"""Data channels over an association: opened, used and closed as RFC 8831 and RFC 8832 say.

A channel is a pair of streams of one number. It is closed by resetting both, each by its own end
(RFC 8831 section 6.7), and its number is free after that. Whatever the far end does out of turn
closes the channel it does it on, or is passed over; how many channels it may have is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from p2pxfer.sctp.channel import Channel
from p2pxfer.sctp.channel_events import (
    ChannelAccepted,
    ChannelClosed,
    ChannelClosing,
    ChannelEvent,
    ChannelMessage,
    ChannelOpened,
    ChannelSent,
)
from p2pxfer.sctp.dcep import ACK, Open, Ppid, is_ack, is_open, read_open, write_open
from p2pxfer.sctp.events import (
    Capability,
    Closed,
    Established,
    Event,
    Message,
    ResetRefused,
    Sent,
    StreamsReset,
)

__all__ = [
    "MAX_CHANNELS",
    "MAX_ID",
    "MAX_REFUSED",
    "Association",
    "ChannelAccepted",
    "ChannelClosed",
    "ChannelEvent",
    "ChannelMessage",
    "ChannelOpened",
    "ChannelSent",
    "DataChannels",
]

MAX_CHANNELS: Final = 1024
"""Channels that the far end may have opened at a time."""

MAX_REFUSED: Final = 1024
"""Streams at a time that are reset because what came on them was out of turn."""

MAX_ID: Final = 65534
"""RFC 8831 section 6.1: 65,535 streams, numbered from zero."""

_EMPTY: Final = b"\0"  # SCTP has no empty messages, RFC 8831 section 6.6
_PARTIAL: Final = (Ppid.BINARY_PARTIAL, Ppid.STRING_PARTIAL)


class Association(Protocol):
    """What channels ask of the association."""

    def send(self, stream_id: int, ppid: int, data: bytes, *, unordered: bool = False) -> None:
        """Queue a message."""

    def reset_streams(self, ids: Sequence[int]) -> None:
        """Reset streams of this end once everything on them was sent."""

    def buffered(self, stream_id: int) -> int:
        """Bytes queued on a stream and not sent yet."""

    def next_event(self) -> Event | None:
        """What happened next."""


class DataChannels:
    """All channels of one association.

    Args:
        association: whose events are taken here, and by nobody else.
        client: this end was the DTLS client, and so has the even numbers (RFC 8832 section 6).
    """

    def __init__(self, association: Association, *, client: bool) -> None:
        self._association = association
        self._parity = 0 if client else 1
        self._next = self._parity
        self._limit = MAX_ID + 1
        self._channels: dict[int, Channel] = {}
        self._theirs = 0
        self._refused: set[int] = set()
        self._retired: set[int] = set()
        self._early: list[tuple[int, int, bytes]] | None = []
        self._resets = False  # whether the far end can reset streams
        self._events: deque[ChannelEvent] = deque()

    # --- what this end does ---

    def open(
        self,
        label: str,
        protocol: str = "",
        *,
        ordered: bool = True,
        id: int | None = None,  # noqa: A002 - the name that RFC 8831 and the W3C give it
        negotiated: bool = False,
    ) -> int:
        """Open a channel; messages may be sent on it at once.

        Args:
            label: what it is for.
            protocol: what is spoken on it.
            ordered: whether messages arrive in the order of `send`.
            id: its number, where both ends agreed on one; otherwise the next that is free.
            negotiated: the far end opens it by itself with the same number, and is not told.

        Returns:
            Its number.

        Raises:
            ValueError: The number is taken or out of range, none is free, or a name too long.
        """
        if id is None and not negotiated:
            id = self._free()  # noqa: A001
        if id is None or not 0 <= id < self._limit:
            raise ValueError("the channel's number is out of range")
        if id in self._channels or id in self._retired:
            raise ValueError("the channel's number is taken")
        if not negotiated and id & 1 != self._parity:
            raise ValueError("the channel's number is one of the other side's")
        message = b"" if negotiated else write_open(Open(label, protocol, ordered))
        channel = Channel(ordered=ordered, theirs=False, accepted=negotiated)
        self._channels[id] = channel
        if not negotiated:
            channel.overhead = len(message)
            self._send(id, Ppid.DCEP, message)
        return id

    def send(self, id: int, data: bytes | str) -> None:  # noqa: A002 - as above
        """Queue a message: ``str`` as text, ``bytes`` as they are.

        Raises:
            ValueError: The channel is not open, or the message longer than the far end takes.
        """
        channel = self._channels.get(id)
        if channel is None or channel.closing:
            raise ValueError("the channel is not open")
        if isinstance(data, str):
            payload, ppid, empty = data.encode(), Ppid.STRING, Ppid.STRING_EMPTY
        else:
            payload, ppid, empty = data, Ppid.BINARY, Ppid.BINARY_EMPTY
        unordered = channel.accepted and not channel.ordered
        if payload:
            self._send(id, ppid, payload, unordered=unordered)
            channel.queued += len(payload)
        else:
            self._send(id, empty, _EMPTY, unordered=unordered)

    def close(self, id: int) -> None:  # noqa: A002 - as above
        """Close a channel after all that was sent on it; closing it again changes nothing."""
        channel = self._channels.get(id)
        if channel is not None and not channel.closing:
            self._close(id, channel)

    def buffered(self, id: int) -> int:  # noqa: A002 - as above
        """Bytes that `send` took and that have not left for the network."""
        channel = self._channels.get(id)
        return channel.queued if channel is not None else 0

    # --- what happened ---

    def next_event(self) -> ChannelEvent | None:
        """What happened next; ask until there is nothing."""
        while not self._events:
            event = self._association.next_event()
            if event is None:
                return None
            self.take(event)
        return self._events.popleft()

    def take(self, event: Event) -> None:
        """Make what the association tells into what channels tell."""
        if isinstance(event, Message):
            self._message(event)
        elif isinstance(event, Sent):
            self._sent(event)
        elif isinstance(event, StreamsReset):
            for stream_id in event.stream_ids or tuple(self._channels):
                self._reset(stream_id, incoming=event.incoming)
        elif isinstance(event, ResetRefused):
            self._retired.update(event.stream_ids)
            for stream_id in event.stream_ids:
                self._reset(stream_id, incoming=False)
        elif isinstance(event, Established):
            self._established(event)
        elif isinstance(event, Closed):
            self._events.extend(map(ChannelClosed, self._channels))
            self._channels.clear()
            self._theirs = 0
            self._events.append(event)
        else:
            self._events.append(event)

    # --- inside ---

    def _free(self) -> int:
        for _ in range((self._limit + 1) // 2):
            number = self._next
            self._next += 2
            if self._next >= self._limit:
                self._next = self._parity
            if number not in self._channels and number not in self._retired:
                return number
        raise ValueError("no number is free for another channel")

    def _say(self, stream_id: int, ppid: int, data: bytes) -> None:
        """Send what nobody waits for: the association may be about to end."""
        with suppress(ValueError):
            self._send(stream_id, ppid, data)

    def _send(self, stream_id: int, ppid: int, data: bytes, *, unordered: bool = False) -> None:
        if self._early is not None:
            self._early.append((stream_id, ppid, data))
        else:
            self._association.send(stream_id, ppid, data, unordered=unordered)

    def _established(self, event: Established) -> None:
        self._resets = Capability.RECONFIGURATION in event.capabilities
        self._limit = min(event.outbound_streams, event.inbound_streams, MAX_ID + 1)
        early, self._early = self._early or [], None
        self._events.append(event)
        for stream_id, ppid, data in early:
            if stream_id < self._limit:
                self._say(stream_id, ppid, data)
        for stream_id, channel in list(self._channels.items()):
            if stream_id >= self._limit:
                self._forget(stream_id, channel)
            elif channel.closing:
                self._reset_outgoing(stream_id, channel)

    def _message(self, event: Message) -> None:
        stream_id, ppid, data = event.stream_id, event.ppid, event.data
        channel = self._channels.get(stream_id)
        if ppid == Ppid.DCEP and is_open(data):
            self._open_asked(stream_id, channel, data)
        elif channel is None:
            self._refuse(stream_id)
        elif channel.closing:
            pass  # sent before the far end knew
        elif ppid == Ppid.DCEP:
            if is_ack(data):
                self._accept(stream_id, channel)
        elif ppid in _PARTIAL:
            self._end(stream_id, channel)  # half a message, without saying where it ends
        else:
            told: bytes | str
            if ppid == Ppid.BINARY:
                told = data
            elif ppid == Ppid.STRING:
                told = data.decode("utf-8", "replace")
            elif ppid == Ppid.BINARY_EMPTY:
                told = b""
            elif ppid == Ppid.STRING_EMPTY:
                told = ""
            else:
                return  # not a data channel's
            self._accept(stream_id, channel)
            self._events.append(ChannelMessage(stream_id, told))

    def _accept(self, stream_id: int, channel: Channel) -> None:
        """An answer, or any message, shows that the far end has the channel."""
        if not channel.accepted:
            channel.accepted = True
            self._events.append(ChannelAccepted(stream_id))

    def _open_asked(self, stream_id: int, channel: Channel | None, data: bytes) -> None:
        if channel is not None:
            if not channel.closing:
                self._end(stream_id, channel)
                return
            if channel.incoming:
                return  # sent before the far end knew that this end closes
            # The far end has seen both resets, so the number is free; the word of it is on its way.
            self._forget(stream_id, channel)
        message = read_open(data)
        if (
            message is None
            or stream_id & 1 == self._parity
            or stream_id >= self._limit
            or self._theirs >= MAX_CHANNELS
            or stream_id in self._retired
        ):
            self._refuse(stream_id)
            return
        if stream_id in self._refused:
            return
        channel = Channel(ordered=message.ordered, theirs=True, accepted=True)
        self._channels[stream_id] = channel
        self._theirs += 1
        channel.overhead = len(ACK)
        self._say(stream_id, Ppid.DCEP, ACK)
        self._events.append(
            ChannelOpened(
                stream_id,
                message.label,
                message.protocol,
                message.ordered,
                message.max_retransmits,
                message.max_lifetime,
            )
        )

    def _refuse(self, stream_id: int) -> None:
        """Reset a stream that has no channel, so that the far end closes its own."""
        if (
            self._resets
            and stream_id < self._limit
            and stream_id not in self._refused
            and len(self._refused) < MAX_REFUSED
        ):
            self._refused.add(stream_id)
            self._association.reset_streams((stream_id,))

    def _sent(self, event: Sent) -> None:
        channel = self._channels.get(event.stream_id)
        if channel is None:
            return
        established = min(channel.overhead, event.size)  # it is first in the queue
        channel.overhead -= established
        size = min(channel.queued, event.size - established)  # an empty message takes a byte
        if size:
            channel.queued -= size
            self._events.append(ChannelSent(event.stream_id, size))

    def _end(self, stream_id: int, channel: Channel) -> None:
        """The far end closes a channel, or did on it what ends it."""
        self._events.append(ChannelClosing(stream_id))
        self._close(stream_id, channel)

    def _close(self, stream_id: int, channel: Channel) -> None:
        channel.closing = True
        if self._early is None:
            self._reset_outgoing(stream_id, channel)

    def _reset_outgoing(self, stream_id: int, channel: Channel) -> None:
        channel.incoming = channel.incoming and self._resets
        self._association.reset_streams((stream_id,))

    def _reset(self, stream_id: int, *, incoming: bool) -> None:
        channel = self._channels.get(stream_id)
        if channel is None:
            if not incoming:
                self._refused.discard(stream_id)
            return
        if incoming:
            channel.incoming = False
            if not channel.closing:
                self._end(stream_id, channel)
        elif channel.closing:
            channel.outgoing = False
        if not channel.incoming and not channel.outgoing:
            self._forget(stream_id, channel)

    def _forget(self, stream_id: int, channel: Channel) -> None:
        del self._channels[stream_id]
        self._theirs -= channel.theirs
        self._events.append(ChannelClosed(stream_id))
