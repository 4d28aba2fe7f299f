"""Messages on their way out: queued by stream, cut into DATA chunks, put into packets.

Streams take turns message by message, so that a short message waits for one other at most: the
chunks of a message need consecutive TSNs (RFC 9260 section 6.9). What is cut leaves at once;
nothing here knows what becomes of it.
"""

from __future__ import annotations

import struct
from collections import deque
from functools import lru_cache
from typing import Final

from p2pxfer.sctp.chunks import Pad, write_chunk
from p2pxfer.sctp.flights import Flight
from p2pxfer.sctp.scoreboard import Scoreboard
from p2pxfer.sctp.wire import DATA_HEADER, HEADER, OVERHEAD, Wire

END: Final = 0x1 << 16  # RFC 9260 section 3.3.1, where FIELDS has them
BEGIN: Final = 0x2 << 16
UNORDERED: Final = 0x4 << 16
IMMEDIATE: Final = 0x8  # RFC 7053, as it stands in the flags' byte
MASK: Final = 0xFFFFFFFF
SSN_MASK: Final = 0xFFFF
FLAGS_AT: Final = HEADER + 1  # of a packet with one chunk
LONG: Final = 4096  # bytes from which a view costs less than a copy
LEAST_SPACE: Final = 64  # bytes left in a packet that are worth another chunk
PADS: Final = (b"", *(write_chunk(Pad(length)) for length in range(4, LEAST_SPACE, 4)))
_where = struct.Struct(">HHI")


@lru_cache(maxsize=32)
def _full(prefix: int, size: int) -> struct.Struct:
    """Layout of a packet, or of its one chunk, with ``size`` bytes of user data."""
    return struct.Struct(f">{prefix}sII8s{size}s")


class Stream:
    """One stream's way out.

    Attributes:
        number: its identifier.
        ssn: sequence number of its next ordered message.
        queue: messages not begun: data, PPID, unordered.
        queued: bytes of user data without a TSN.
        held: no message may begin, since a reset is under way (RFC 6525 section 5.1.2).
    """

    __slots__ = ("held", "number", "queue", "queued", "ssn")

    def __init__(self, number: int) -> None:
        self.number = number
        self.ssn = 0
        self.queue: deque[tuple[bytes, int, bool]] = deque()
        self.queued = 0
        self.held = False


class Outbound:
    """All streams' queues.

    Args:
        wire: how packets begin.
        pads: the peer knows PAD chunks (RFC 4820); not every stack survives them.

    Attributes:
        pending: bytes of user data without a TSN.
        ready: whether there is something to cut now.
    """

    __slots__ = (
        "_data",
        "_flags",
        "_least",
        "_offset",
        "_pads",
        "_stream",
        "_streams",
        "_turns",
        "_where",
        "_wire",
        "pending",
    )

    def __init__(self, wire: Wire, *, pads: bool) -> None:
        self._wire = wire
        self._pads = pads
        self._least = LEAST_SPACE if pads else DATA_HEADER + 4
        self._streams: dict[int, Stream] = {}
        self._turns: deque[Stream] = deque()
        self._stream: Stream | None = None  # whose message is being cut
        self._data = b""
        self._offset = 0
        self._where = b""
        self._flags = 0
        self.pending = 0

    @property
    def ready(self) -> bool:
        """Whether there is something to cut now."""
        return self._stream is not None or bool(self._turns)

    def rewire(self, wire: Wire) -> None:
        """Use another beginning for what is cut from now on."""
        self._wire = wire

    def buffered(self, stream_id: int) -> int:
        """Bytes of one stream without a TSN."""
        stream = self._streams.get(stream_id)
        return stream.queued if stream is not None else 0

    def push(self, stream_id: int, ppid: int, data: bytes, *, unordered: bool) -> None:
        """Queue a message."""
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._streams[stream_id] = Stream(stream_id)
        if not stream.queue and not stream.held:
            self._turns.append(stream)
        stream.queue.append((data, ppid, unordered))
        stream.queued += len(data)
        self.pending += len(data)

    def hold(self, stream_id: int) -> None:
        """Begin no message of a stream until `release`."""
        stream = self._streams.setdefault(stream_id, Stream(stream_id))
        stream.held = True
        if stream in self._turns:
            self._turns.remove(stream)

    def release(self, stream_id: int, *, reset: bool) -> None:
        """Go on with a stream; ``reset``: its sequence numbers begin again."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if reset:
            stream.ssn = 0
        if stream.held:
            stream.held = False
            if stream.queue and stream not in self._turns:
                self._turns.append(stream)
        if not stream.queue and not stream.ssn and stream is not self._stream:
            del self._streams[stream_id]

    def streams(self) -> list[int]:
        """Streams that were used since their last reset."""
        return list(self._streams)

    def clear(self) -> None:
        """Drop every message."""
        self._streams.clear()
        self._turns.clear()
        self._stream = None
        self._data = b""
        self.pending = 0

    def _turn(self) -> bool:
        """Begin the next message; False if there is none."""
        if not self._turns:
            return False
        stream = self._turns.popleft()
        data, ppid, unordered = stream.queue.popleft()
        if stream.queue:
            self._turns.append(stream)
        self._stream = stream
        self._data = data
        self._offset = 0
        if unordered:
            self._flags = BEGIN | UNORDERED
            self._where = _where.pack(stream.number, 0, ppid)
        else:
            self._flags = BEGIN
            self._where = _where.pack(stream.number, stream.ssn, ppid)
            stream.ssn = (stream.ssn + 1) & SSN_MASK
        return True

    def cut(
        self, board: Scoreboard, flight: Flight, room: int, size: int, sent: dict[int, int]
    ) -> list[bytes]:
        """Cut what fits into packets and note it in the flight.

        Args:
            board: gives TSNs and learns what left.
            flight: what it leaves with.
            room: bytes of packets that may leave; one packet does in any case.
            size: bytes of the largest packet.
            sent: bytes of user data by stream, added to.
        """
        packets: list[bytes] = []
        capacity = (size - OVERHEAD) & ~3
        while room >= size or not packets:
            if self._stream is None and not self._turn():
                break
            count = min((len(self._data) - self._offset) // capacity, room // size)
            if count > 1 or (count == 1 and room >= size):
                made = self._full(board.next, count, capacity)
                length = len(made) * (capacity + OVERHEAD)
                board.sent(flight, made, length, whole=True)
                self._left(len(made) * capacity, sent)
                packets += made
                room -= length
                if self._stream is None or len(self._data) - self._offset >= capacity:
                    continue
                if room < size:
                    break
            packet = self._mixed(board, flight, size, sent)
            packets.append(packet)
            room -= len(packet)
            if len(packet) < capacity + OVERHEAD:
                break  # the last may be shorter than the others
        return packets

    def _full(self, tsn: int, count: int, capacity: int) -> list[bytes]:
        """Packets full of one message each."""
        data, offset, where, flags = self._data, self._offset, self._where, self._flags
        wire = self._wire
        stop = offset + count * capacity
        length = DATA_HEADER + capacity
        kinds = [flags & UNORDERED | length] * count
        if flags & BEGIN:
            kinds[0] |= BEGIN
            self._flags = flags & ~BEGIN
        if stop == len(data):
            kinds[-1] |= END
        offsets = range(offset, stop, capacity)
        tsn &= MASK
        if tsn + count > MASK:
            tsns: range | list[int] = [(tsn + n) & MASK for n in range(count)]
        else:
            tsns = range(tsn, tsn + count)
        if wire.zero and capacity > LONG:
            pack = _full(HEADER, 0).pack
            view = memoryview(data)
            return [
                b"".join((pack(wire.head, kind, tsn, where, b""), view[at : at + capacity]))
                for kind, tsn, at in zip(kinds, tsns, offsets, strict=False)
            ]
        if wire.zero:
            head = wire.head
            pack = _full(HEADER, capacity).pack
            return [
                pack(head, kind, tsn, where, data[at : at + capacity])
                for kind, tsn, at in zip(kinds, tsns, offsets, strict=False)
            ]
        pack = _full(0, capacity).pack
        wrap = wire.wrap
        return [
            wrap(pack(b"", kind, tsn, where, data[at : at + capacity]))
            for kind, tsn, at in zip(kinds, tsns, offsets, strict=False)
        ]

    def _mixed(self, board: Scoreboard, flight: Flight, size: int, sent: dict[int, int]) -> bytes:
        """A packet that one message doesn't fill: ends, short messages, and a beginning."""
        space = size - HEADER
        chunks: list[bytes] = []
        tsn = board.next
        while space >= self._least and (self._stream is not None or self._turn()):
            rest = len(self._data) - self._offset
            room = (space - DATA_HEADER) & ~3
            length = min(rest, room)
            kind = self._flags | DATA_HEADER + length
            self._flags &= ~BEGIN
            if length == rest:
                kind |= END
            data = self._data[self._offset : self._offset + length]
            chunk = (
                CHUNK_HEAD.pack(kind, (tsn + len(chunks)) & MASK, self._where)
                + data
                + bytes(-length % 4)
            )
            chunks.append(chunk)
            space -= len(chunk)
            self._left(length, sent)
        # what is left is too short for a chunk: fill it, so that packets stay of one length
        pad = PADS[space >> 2] if self._pads and self._turns and space < LEAST_SPACE else b""
        if len(chunks) == 1:
            packet = self._wire.wrap(chunks[0] + pad)
            board.sent(flight, [packet], len(packet), whole=True)
            return packet
        body = b"".join(chunks)
        board.sent(flight, chunks, len(body), whole=False)
        return self._wire.wrap(body + pad)

    def _left(self, size: int, sent: dict[int, int]) -> None:
        """Bytes of the current message got their TSNs."""
        stream = self._stream
        assert stream is not None
        self._offset += size
        self.pending -= size
        stream.queued -= size
        sent[stream.number] = sent.get(stream.number, 0) + size
        if self._offset == len(self._data):
            self._stream = None
            self._data = b""


CHUNK_HEAD: Final = struct.Struct(">II8s")
