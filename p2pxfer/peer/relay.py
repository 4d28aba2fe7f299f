"""ChannelData frames of a TURN server, in batches (RFC 8656 section 12).

aioice makes a task for each datagram that it relays, and over TCP it queues without end. Here a
whole flight is framed at once, and what comes is unframed in one go; everything but application
data, the binding of channels with it, stays aioice's.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Any

from p2pxfer.peer.udp import BatchTransport, Sink, hand_over

FRAME = 4  # bytes before the data: channel number and length
MOST_WAITING = 256 * 1024  # bytes in front of a stream at which nothing more is sent
_ENOUGH_LEFT = 64 * 1024  # bytes at which it goes on

_HEADER = struct.Struct("!HH")
_STUN_HEADER = 20  # bytes: RFC 8489 section 5
_CHANNELS = bytes(range(0x40, 0x50))  # first bytes of channel numbers: RFC 8656 section 12
_DATA = 0x17  # the first byte of a record of application data
_NAMES = ("channel_to_peer", "datagram_received", "peer_to_channel", "receiver", "transport")


def inner_protocol(transport: Any) -> Any:
    """The TURN client under ``transport``, or None if that is no relay or another one."""
    inner = getattr(transport, "_TurnTransport__inner_protocol", None)
    return inner if inner is not None and all(hasattr(inner, n) for n in _NAMES) else None


class Relay:
    """One allocation on a server that is reached over UDP, TCP or TLS.

    Args:
        outer: aioice's transport for the allocation, whose `inner_protocol` is known.
        sink: takes records of application data in lists.
        room: called when the way is no longer `blocked`.
    """

    overhead = FRAME

    def __init__(self, outer: Any, sink: Sink, room: Callable[[], None]) -> None:
        self._outer = outer
        self._inner = inner_protocol(outer)
        self._sink: Sink | None = sink
        self._wire = self._inner.transport
        self._rest: bytes = getattr(self._inner, "buffer", b"")  # of a stream, half a frame maybe
        if isinstance(self._wire, BatchTransport):
            self._wire.divert(_CHANNELS, self._take)
            self._wire.on_room(room)
        elif isinstance(self._wire, asyncio.Transport):
            self._wire.set_write_buffer_limits(MOST_WAITING, _ENOUGH_LEFT)
            self._inner.data_received = self._take_stream
            self._inner.resume_writing = room

    @property
    def blocked(self) -> bool:
        """Whether enough is waiting: over a stream, nothing else ever says so."""
        if isinstance(self._wire, BatchTransport):
            return self._wire.blocked
        if isinstance(self._wire, asyncio.Transport):
            return self._wire.get_write_buffer_size() > MOST_WAITING
        return False

    def send(
        self, records: Sequence[memoryview], segment: int, address: Any, *, whole: bool
    ) -> None:
        """Relay ``records``, all of ``segment`` bytes but the last."""
        channel = self._inner.peer_to_channel.get(address)
        if channel is None or not isinstance(self._wire, BatchTransport | asyncio.Transport):
            for record in records:
                self._outer.sendto(bytes(record), address)  # binds a channel first
        elif isinstance(self._wire, BatchTransport):
            header = _HEADER.pack(channel, segment)
            buffers: list[bytes | memoryview] = []
            for record in records:
                buffers += (header, record)
            if len(records[-1]) != segment:
                buffers[-2] = _HEADER.pack(channel, len(records[-1]))
            self._wire.send_batch(buffers, FRAME + segment, None, whole=whole)
        elif not self._wire.is_closing():
            frames: list[bytes | memoryview] = []
            for record in records:  # frames in a stream are padded: RFC 8656 section 12.5
                frames += (_HEADER.pack(channel, len(record)), record, bytes(-len(record) % 4))
            self._wire.write(b"".join(frames))

    def detach(self) -> None:
        """Leave what comes to aioice again."""
        self._sink = None
        if isinstance(self._wire, BatchTransport):
            self._wire.divert(b"", None)
            self._wire.on_room(None)
        elif isinstance(self._wire, asyncio.Transport):
            del self._inner.resume_writing

    def _take(self, frames: list[bytes], now: float) -> None:
        records = []
        for frame in frames:
            if len(frame) > FRAME and frame[FRAME] == _DATA:
                channel, length = _HEADER.unpack_from(frame)
                if channel in self._inner.channel_to_peer and FRAME + length <= len(frame):
                    records.append(frame[FRAME : FRAME + length])
            else:
                hand_over(self._inner, frame, None)
        if records and self._sink is not None:
            self._sink(records, now)

    def _take_stream(self, data: bytes) -> None:
        """The same out of a stream, whose frames have no other bounds than their lengths."""
        now = asyncio.get_running_loop().time()
        data = self._rest + data if self._rest else data
        at, frames = 0, []
        while len(data) - at >= FRAME:
            first, length = _HEADER.unpack_from(data, at)
            size = (FRAME if first >> 14 == 1 else _STUN_HEADER) + length + -length % 4
            if len(data) - at < size:
                break
            frame = data[at : at + size]
            at += size
            if self._sink is not None and first >> 14 == 1:
                frames.append(frame)
            else:
                hand_over(self._inner, frame, None)
        self._rest = data[at:]
        if frames:
            self._take(frames, now)
