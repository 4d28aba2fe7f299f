"""Chunks in TSN order become messages in stream order.

One message is put together at a time, since the chunks of a message have consecutive TSNs (RFC
9260 section 6.9). Nothing here knows of packets or gaps: inbound.py hands over what is in
sequence, and whole messages that came ahead of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from p2pxfer.sctp.events import Event, Message
from p2pxfer.sctp.wire import DATA_HEADER

END: Final = 1  # flags of a DATA chunk (RFC 9260 section 3.3.1)
BEGIN: Final = 2
UNORDERED: Final = 4
SSN_HALF: Final = 0x8000
SSN_MASK: Final = 0xFFFF
COST: Final = 256  # bytes of memory beside the data that one thing kept costs
MANY: Final = 4096  # fragments of one message that are kept apart


class Violation(Exception):
    """The peer broke the protocol in a way that ends the association."""


class Reassembly:
    """The message in the making, and messages whose turn has not come.

    Attributes:
        parts: user data of the message in the making; empty if there is none.
        where: stream, sequence number and PPID of it, as in FIELDS.
        size: its bytes so far, chunk headers counted.
        kept: bytes of messages that wait for their turn, cost included.
        refused: a stream that was used and does not exist (RFC 9260 section 6.5).
        waiting: bytes of messages told and not yet taken.
    """

    __slots__ = (
        "_ahead",
        "_events",
        "_expected",
        "_limit",
        "_streams",
        "_unordered",
        "kept",
        "parts",
        "refused",
        "size",
        "waiting",
        "where",
    )

    def __init__(self, events: deque[Event], limit: int, streams: int) -> None:
        self._events = events
        self._limit = limit
        self._streams = streams
        self.refused: int | None = None
        self._expected: dict[int, int] = {}
        self._ahead: dict[int, dict[int, tuple[int, bytes]]] = {}
        self._unordered = 0
        self.parts: list[bytes | memoryview] = []
        self.where = 0
        self.size = 0
        self.kept = 0
        self.waiting = 0

    def take(self, flags: int, where: int, data: bytes) -> None:
        """Take the next chunk.

        Raises:
            Violation: it doesn't follow the one before it, or the message is too long.
        """
        parts = self.parts
        if flags & BEGIN:
            if parts:
                raise Violation("a message began within another")
            if flags & END:
                self.whole(flags, where, data)
                return
            self.where = where
            self._unordered = flags & UNORDERED
            self.size = len(data) + DATA_HEADER
            parts.append(data)
            return
        # the sequence number of an unordered chunk says nothing (RFC 9260 section 6.6)
        shift = 48 if self._unordered else 32
        if (
            not parts
            or where >> shift != self.where >> shift
            or flags & UNORDERED != self._unordered
        ):
            raise Violation("a fragment of no message")
        parts.append(data)
        self.size += len(data) + DATA_HEADER
        if flags & END:
            message = b"".join(parts)
            parts.clear()
            self.size = 0
            self.whole(self._unordered, self.where, message)
        elif self.size > self._limit + len(parts) * DATA_HEADER:
            raise Violation("a message is longer than was announced")
        elif len(parts) >= MANY:
            self.gather()

    def gather(self) -> None:
        """Make one part of many: however short they are, keeping them costs little more."""
        self.parts[:] = [b"".join(self.parts)]
        self.size = len(self.parts[0]) + DATA_HEADER

    def whole(self, flags: int, where: int, data: bytes) -> None:
        """A message is complete.

        Raises:
            Violation: it is too long.
        """
        if len(data) > self._limit:
            raise Violation("a message is longer than was announced")
        stream_id = where >> 48
        ppid = where & 0xFFFFFFFF
        if stream_id >= self._streams:
            self.refused = stream_id
            return
        if flags & UNORDERED:
            self._tell(stream_id, ppid, data)
            return
        ssn = where >> 32 & SSN_MASK
        expected = self._expected.get(stream_id, 0)
        if ssn == expected:
            self._expected[stream_id] = (ssn + 1) & SSN_MASK
            self._tell(stream_id, ppid, data)
            if stream_id in self._ahead:
                self._follow(stream_id)
        elif (ssn - expected) & SSN_MASK < SSN_HALF:
            ahead = self._ahead.setdefault(stream_id, {})
            if ssn not in ahead:
                ahead[ssn] = (ppid, data)
                self.kept += len(data) + COST

    def due(self, where: int) -> bool:
        """Whether an ordered message is the next of its stream."""
        return self._expected.get(where >> 48, 0) == where >> 32 & SSN_MASK

    def _tell(self, stream_id: int, ppid: int, data: bytes) -> None:
        self.waiting += len(data) + COST
        self._events.append(Message(stream_id, ppid, data))

    def _follow(self, stream_id: int) -> None:
        """Tell what waited for what came now."""
        ahead = self._ahead[stream_id]
        expected = self._expected.get(stream_id, 0)
        while expected in ahead:
            ppid, data = ahead.pop(expected)
            self.kept -= len(data) + COST
            self._tell(stream_id, ppid, data)
            expected = (expected + 1) & SSN_MASK
        self._expected[stream_id] = expected
        if not ahead:
            del self._ahead[stream_id]

    def abandon(self) -> None:
        """The peer gave up what is in the making (RFC 3758 section 3.6)."""
        self.parts.clear()
        self.size = 0

    def skip(self, stream_id: int, ssn: int) -> None:
        """The peer gave up ordered messages of a stream, up to this number (RFC 3758)."""
        expected = self._expected.get(stream_id, 0)
        if (ssn - expected) & SSN_MASK >= SSN_HALF:
            return
        count = ((ssn - expected) & SSN_MASK) + 1
        ahead = self._ahead.get(stream_id)
        if ahead is not None:
            offsets: Iterable[int] = range(count)
            if count >= len(ahead):  # else much waits, and many may each give up little of it
                offsets = sorted((number - expected) & SSN_MASK for number in ahead)
            for number in [(expected + at) & SSN_MASK for at in offsets if at < count]:
                if number in ahead:
                    ppid, data = ahead.pop(number)
                    self.kept -= len(data) + COST
                    self._tell(stream_id, ppid, data)
        self._expected[stream_id] = (ssn + 1) & SSN_MASK
        if ahead is not None:
            self._follow(stream_id)

    def reset(self, stream_id: int | None) -> None:
        """A stream, or all, begins again (RFC 6525 section 5.2.2)."""
        for number in list(self._expected) if stream_id is None else [stream_id]:
            self._expected.pop(number, None)
            if number in self._ahead:
                self._follow(number)
