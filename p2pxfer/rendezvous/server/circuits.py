"""Circuits: frames carried between the two sides that say one name, opaque and never stored.

What one side sends waits here until the other takes it, and no more than a window of it. How much
is carried in all, and how fast, is counted for the addresses of both. Pure state: no clock, socket
or task; ``now`` is seconds of whatever clock the caller keeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct, field

from p2pxfer.discreet import Discreet
from p2pxfer.rendezvous.messages import (
    CIRCUIT_WINDOW,
    FRAME_OVERHEAD,
    Connected,
    Credit,
    Ended,
    Frame,
    Reason,
)
from p2pxfer.rendezvous.server.limits import Carriage, Limits, Pace, Tally, Volume
from p2pxfer.rendezvous.server.rooms import Refused

ALONE: Final = 30.0  # seconds that one side waits for the other
IDLE: Final = 60.0  # seconds in which nothing is carried; whoever is there says so every second

CircuitMessage = Connected | Frame | Credit | Ended


class End(Discreet, Struct, eq=False):
    """One side of a circuit. Sizes are in bytes as they are charged, `FRAME_OVERHEAD` included.

    Attributes:
        name: what both sides say.
        address: whose it is, as it counts.
        since: when it came.
        moved: when the last frame of either direction came or was handed on, or the two met.
        changed: called when `Switchboard.next_message` may have something new for it.
        other: the far end, while it is there.
        greeted: it was told that the far end has come.
        waiting: frames that were sent to it and not handed to it.
        turn: when the first of them may go, once that is settled.
        owed: size of what was sent to it and it has not taken.
        handed: of that, what was handed to it.
        credit: size of what the far end took and this one has not been told of.
        ended: its last word.
    """

    hidden = ("name", "other", "waiting")

    name: bytes
    address: str
    since: float
    changed: Callable[[], None]
    other: End | None = None
    moved: float = 0.0
    greeted: bool = False
    waiting: deque[bytes] = field(default_factory=deque)
    turn: float | None = None
    owed: int = 0
    handed: int = 0
    credit: int = 0
    ended: Ended | None = None


class Switchboard:
    """All circuits of one server.

    Args:
        limits: how many ends there may be.
        carriage: how much is carried.
    """

    def __init__(self, limits: Limits, carriage: Carriage) -> None:
        self._limits = limits
        self._volume = Volume(carriage.each, carriage.total)
        self._pace = Pace(carriage.rate)
        self._tally = Tally()
        self._alone: dict[bytes, End] = {}  # by name

    def enter(self, name: bytes, address: str, now: float, changed: Callable[[], None]) -> End:
        """One side has come.

        Raises:
            Refused: its volume is spent, or it holds as many ends as it may, or all do.
        """
        if seconds := self._volume.wait(address, now):
            raise Refused(Reason.SPENT, seconds)
        if (
            self._tally.of(address) >= self._limits.ends
            or self._tally.total >= self._limits.total_ends
        ):
            raise Refused(Reason.BUSY)
        end = End(name, address, now, changed)
        self._tally.add(address)
        other = self._alone.pop(name, None)
        if other is None:
            self._alone[name] = end
        else:
            end.other, other.other = other, end
            _move(end, now)
            other.changed()
        return end

    def leave(self, end: End) -> None:
        """A side has gone; the other gets what was sent before, and then hears of it."""
        self._tally.remove(end.address)
        if self._alone.get(end.name) is end:
            del self._alone[end.name]
        end.waiting.clear()
        if end.other is not None:
            self._finish(end.other, Ended(Reason.GONE))
            end.other.other = None

    def forward(self, end: End, body: bytes, now: float) -> None:
        """A side sends a frame.

        Raises:
            Refused: before the other side was there (MALFORMED), beyond the window (OVERFLOW), or
                more than may be carried (SPENT), of which the other side hears as well.
        """
        other = end.other
        if end.ended is not None:
            return  # the other side has just left
        if other is None:
            raise Refused(Reason.MALFORMED)
        charged = len(body) + FRAME_OVERHEAD
        if other.owed + end.credit + charged > CIRCUIT_WINDOW:
            raise Refused(Reason.OVERFLOW)
        addresses = frozenset((end.address, other.address))
        if not self._volume.spend(addresses, charged, now):
            seconds = max(self._volume.wait(each, now) for each in addresses)
            self._finish(other, Ended(Reason.SPENT, seconds))
            raise Refused(Reason.SPENT, seconds)
        _move(end, now)
        other.owed += charged
        other.waiting.append(body)
        other.changed()

    def took(self, end: End, size: int) -> None:
        """A side has taken so much of what was handed to it.

        Raises:
            Refused: it was handed less (MALFORMED).
        """
        if size > end.handed:
            raise Refused(Reason.MALFORMED)
        end.handed -= size
        end.owed -= size
        if end.other is not None:
            end.other.credit += size
            end.other.changed()

    def next_message(self, end: End, now: float) -> CircuitMessage | None:
        """What to say to a side now; after `Ended`, nothing."""
        if not end.greeted and end.other is not None:
            end.greeted = True
            return Connected()
        if end.credit:
            credit, end.credit = end.credit, 0
            return Credit(credit)
        if end.waiting:
            if end.turn is None:
                end.turn = self._pace.turn(len(end.waiting[0]) + FRAME_OVERHEAD, now)
            if now < end.turn:
                return None
            end.turn = None
            _move(end, now)
            body = end.waiting.popleft()
            end.handed += len(body) + FRAME_OVERHEAD
            return Frame(body)
        if end.other is None:
            if not end.greeted and now >= end.since + ALONE:
                self._finish(end, Ended(Reason.GONE))
        elif not end.other.waiting and now >= end.moved + IDLE:
            for each in (end, end.other):
                self._finish(each, Ended(Reason.GONE))
        return end.ended

    def deadline(self, end: End) -> float | None:
        """When `next_message` has something to say even if nothing happens."""
        if end.waiting:
            return end.turn
        if end.other is None:
            return None if end.greeted else end.since + ALONE
        return None if end.other.waiting else end.moved + IDLE  # else that one's own comes first

    def _finish(self, end: End, ended: Ended) -> None:
        if self._alone.get(end.name) is end:
            del self._alone[end.name]
        if end.ended is None:
            end.ended = ended
            end.changed()


def _move(end: End, now: float) -> None:
    """Something was carried between the two."""
    end.moved = now
    if end.other is not None:
        end.other.moved = now
