"""DATA on its way in: which TSNs came, what waits for a gap to close, and what to report.

TSNs here are plain integers that never wrap. Memory is bounded: what is ahead of the sequence
counts with what it costs to keep, and what exceeds the window is not taken, as if it had been
lost. Messages are reassembly.py's.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Final

from p2pxfer.sctp.events import Event, Message
from p2pxfer.sctp.reassembly import BEGIN, COST, END, UNORDERED, Reassembly

IMMEDIATE: Final = 8  # flag of a DATA chunk (RFC 7053)
REACH: Final = 0xFFFF  # how far beyond the sequence a gap block can tell (RFC 9260 section 3.3.4)
DUPLICATES: Final = 16  # reported at most in one SACK
MASK: Final = 0xFFFFFFFF
EITHER: Final = BEGIN | END
EVERY: Final = 2  # packets with DATA that one SACK covers at most (RFC 9260 section 6.2)
TOGETHER: Final = 32  # the same towards an own peer, which needs no more of them to keep its rate
SACK: Final = struct.Struct(">BBHIIHH")
SACK_TYPE: Final = 3


class Inbound:
    """What came of the peer's DATA.

    Attributes:
        cumulative: all TSNs up to this one came.
        reassembly: where it goes.
        unreported: packets with DATA since the last SACK was made.
        hurry: the next SACK may not wait.
    """

    __slots__ = (
        "_duplicates",
        "_ends",
        "_every",
        "_held",
        "_held_size",
        "_limit",
        "_starts",
        "_stops",
        "_told",
        "_window",
        "cumulative",
        "hurry",
        "reassembly",
        "unreported",
    )

    def __init__(
        self,
        initial: int,
        window: int,
        limit: int,
        streams: int,
        events: deque[Event],
        *,
        every: int = EVERY,
    ) -> None:
        self.cumulative = initial - 1
        self.reassembly = Reassembly(events, limit, streams)
        self.unreported = 0
        self.hurry = False
        self._window = self._told = window
        self._limit = limit
        self._every = every
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._held: dict[int, tuple[int, int, bytes]] = {}
        self._held_size = 0
        self._ends: dict[int, int] = {}  # of a run of fragments walked in vain: one to the other
        self._duplicates: list[int] = []

    @property
    def whole(self) -> bool:
        """Whether nothing is ahead of the sequence."""
        return not self._starts

    @property
    def arriving(self) -> int:
        """Bytes of messages that have not come whole; another number: something came."""
        return self.reassembly.size + self._held_size

    @property
    def due(self) -> bool:
        """Whether as much came as one SACK covers."""
        return self.unreported >= self._every

    @property
    def refused(self) -> int | None:
        """A stream that was used and does not exist; None if there was none."""
        return self.reassembly.refused

    @refused.setter
    def refused(self, stream_id: int | None) -> None:
        self.reassembly.refused = stream_id

    def taken(self, event: Event) -> None:
        """An event went to the application: what it holds counts no more."""
        if isinstance(event, Message):
            self.reassembly.waiting -= len(event.data) + COST
            enough = min(2 * self._limit, self._window // 2)
            if self._told < self._limit and self._window - self.used > enough:
                self.hurry = True  # the window was shut, and the peer can't know that it is not

    def reset(self, ids: Sequence[int]) -> None:
        """Streams begin again; no ids: all of them."""
        if not ids:
            self.reassembly.reset(None)
        for stream_id in ids:
            self.reassembly.reset(stream_id)

    @property
    def used(self) -> int:
        """Bytes of the window that are in use.

        The message in the making is not among them: it is bounded by itself, and one longer than
        the window has to come through.
        """
        return self._held_size + self.reassembly.kept + self.reassembly.waiting

    @property
    def open(self) -> bool:
        """Whether what is in sequence can be taken.

        It can unless the application is slow: what is ahead of it has a window to itself, so that
        it never keeps out what closes the gap.
        """
        return self.reassembly.waiting + self.reassembly.kept <= self._window

    def data(self, flags: int, wire_tsn: int, where: int, payload: bytes) -> None:
        """Take one DATA chunk.

        Raises:
            Violation: it contradicts what came before.
        """
        ahead = (wire_tsn - self.cumulative) & MASK
        if flags & IMMEDIATE:
            self.hurry = True
        if ahead == 1:
            if not self.open:
                self.hurry = True
                return
            self.cumulative += 1
            self.reassembly.take(flags, where, payload)
            if self._starts:
                self.hurry = True
                self._close()
            return
        self.hurry = True
        if ahead == 0 or ahead > MASK >> 1:
            self._duplicate(wire_tsn)
            return
        tsn = self.cumulative + ahead
        cost = len(payload) + COST
        if ahead > REACH or self.used + cost > self._window:
            return
        joined = self._add(tsn)
        if joined is None:
            self._duplicate(wire_tsn)
            return
        self._held[tsn] = (flags, where, payload)
        self._held_size += cost
        if (flags & EITHER or joined) and (flags & UNORDERED or self.reassembly.due(where)):
            self._complete(tsn)

    def _complete(self, tsn: int) -> None:
        """Hand over the message around a TSN if all of it came ahead of the sequence.

        What was walked in vain is passed in one step from then on: the peer chooses the order in
        which fragments come, and could have a long run of them walked for each.
        """
        held, ends = self._held, self._ends
        first = last = tsn
        while not held[first][0] & BEGIN and first - 1 in held and not held[first - 1][0] & END:
            first = ends.pop(first - 1, first - 1)
            ends.pop(first, None)
        while not held[last][0] & END and last + 1 in held and not held[last + 1][0] & BEGIN:
            last = ends.pop(last + 1, last + 1)
            ends.pop(last, None)
        flags, where, _ = held[first]
        if not (flags & BEGIN and held[last][0] & END):
            ends[first] = last
            ends[last] = first
            return
        parts = [held.pop(number)[2] for number in range(first, last + 1)]
        message = b"".join(parts)
        self._held_size -= len(message) + COST * len(parts)
        self.reassembly.whole(flags, where, message)

    def _duplicate(self, wire_tsn: int) -> None:
        if len(self._duplicates) < DUPLICATES:
            self._duplicates.append(wire_tsn)

    def _add(self, tsn: int) -> bool | None:
        """Note a TSN beyond the sequence.

        Returns whether it closed a gap between others, or None if it came before.
        """
        starts, stops = self._starts, self._stops
        at = bisect_right(starts, tsn) - 1
        if at >= 0:
            stop = stops[at]
            if tsn < stop:
                return None
            if tsn == stop:
                if at + 1 < len(starts) and starts[at + 1] == tsn + 1:
                    stops[at] = stops.pop(at + 1)
                    del starts[at + 1]
                    return True
                stops[at] = tsn + 1
                return False
        at += 1
        if at < len(starts) and starts[at] == tsn + 1:
            starts[at] = tsn
        else:
            starts.insert(at, tsn)
            stops.insert(at, tsn + 1)
        return False

    def _close(self) -> None:
        """Hand over what follows the sequence without a gap now."""
        starts, stops = self._starts, self._stops
        if starts[0] != self.cumulative + 1:
            return
        held, ends, take = self._held, self._ends, self.reassembly.take
        first, stop = starts.pop(0), stops.pop(0)
        self.cumulative = stop - 1
        for tsn in range(first, stop):
            chunk = held.pop(tsn, None)
            if chunk is not None:
                ends.pop(tsn, None)
                self._held_size -= len(chunk[2]) + COST
                take(*chunk)

    def forward(self, wire_tsn: int, streams: tuple[tuple[int, int], ...]) -> None:
        """The peer gives up everything up to a TSN (RFC 3758 section 3.6).

        Raises:
            Violation: what remains contradicts it.
        """
        self.hurry = True
        ahead = (wire_tsn - self.cumulative) & MASK
        if ahead == 0 or ahead > REACH:
            return
        target = self.cumulative + ahead
        starts, stops, held = self._starts, self._stops, self._held
        if ahead < len(held):  # much may be held, and each of many may give up little
            passed = [tsn for tsn in range(self.cumulative + 1, target + 1) if tsn in held]
        else:
            passed = sorted(tsn for tsn in held if tsn <= target)
        for tsn in passed:
            self._give_up(tsn)
        self.reassembly.abandon()
        self.cumulative = target
        runs = bisect_right(stops, target + 1)
        del starts[:runs], stops[:runs]
        if starts and starts[0] <= target:
            starts[0] = target + 1
        for stream_id, ssn in streams:
            self.reassembly.skip(stream_id, ssn)
        if starts:
            self._close()

    def _give_up(self, tsn: int) -> None:
        """Let go of a chunk that will not become in sequence, unless it is whole by itself."""
        flags, where, payload = self._held.pop(tsn)
        self._ends.pop(tsn, None)
        self._held_size -= len(payload) + COST
        if flags & BEGIN and flags & END:
            self.reassembly.whole(flags, where, payload)

    def advance(self, count: int) -> list[bytes]:
        """So many packets with one chunk each came in sequence: SACKs for every two of them.

        The chunks went to `reassembly` already, and nothing is ahead of them.
        """
        first = EVERY - self.unreported
        before = self.cumulative
        self.cumulative += count
        if count < first or self._duplicates:
            self.unreported += count
            return []
        window = self._told = max(0, self._window - self.used)
        self.unreported = (count - first) % EVERY
        self.hurry = self.hurry and self.unreported > 0
        pack = SACK.pack
        return [
            pack(SACK_TYPE, 0, SACK.size, tsn & MASK, window, 0, 0)
            for tsn in range(before + first, self.cumulative + 1, EVERY)
        ]

    def sack(self, largest: int) -> bytes:
        """The chunk that reports what came (RFC 9260 section 3.3.4); forgets duplicates.

        Args:
            largest: bytes that it may have.
        """
        cumulative = self.cumulative
        duplicates = self._duplicates
        window = self._told = max(0, self._window - self.used)
        self.unreported = 0
        self.hurry = False
        if not self._starts and not duplicates:
            return SACK.pack(SACK_TYPE, 0, SACK.size, cumulative & MASK, window, 0, 0)
        blocks = (largest - SACK.size - 4 * len(duplicates)) // 4
        ends = [0] * (2 * min(blocks, len(self._starts)))
        ends[::2] = [start - cumulative for start in self._starts[:blocks]]
        ends[1::2] = [stop - 1 - cumulative for stop in self._stops[:blocks]]
        count = len(ends) // 2
        length = SACK.size + 4 * (count + len(duplicates))
        chunk = SACK.pack(
            SACK_TYPE, 0, length, cumulative & MASK, window, count, len(duplicates)
        ) + struct.pack(f">{2 * count}H{len(duplicates)}I", *ends, *duplicates)
        duplicates.clear()
        return chunk
