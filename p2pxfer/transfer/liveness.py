"""Whether the other side is there, and if nothing moves, why.

Takes what was heard and when; says when to ping, when a transfer stalled, went on, or is lost. No
clock: ``now`` is any steady clock in seconds. No frames beyond a ping's fields.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from p2pxfer.progress import Resumed, Stalled
from p2pxfer.transfer.actions import Lost
from p2pxfer.transfer.messages import Activity

PING_AFTER: Final = 1.0  # seconds with nothing else sent
STALLED_AFTER: Final = 3.0
LOST_AFTER: Final = 8.0
LATE: Final = 1.0  # a timer this late means that this side slept, not that the other was silent


class Pulse(IntEnum):
    """How the connection is."""

    WELL = 0
    STILL = 1  # the other side is heard, but nothing moves
    SILENT = 2
    LOST = 3


OURS: Final = {
    Activity.WALKING: "this side is looking for files",
    Activity.READING: "this side is reading from its disk",
    Activity.SENDING: "the network takes no more at present",
    Activity.DECIDING: "this side is checking what it already has",
    Activity.WRITING: "this side is writing to its disk",
}
THEIRS: Final = {
    Activity.IDLE: "the network is slow",
    Activity.WALKING: "the other side is looking for files",
    Activity.READING: "the other side is reading from its disk",
    Activity.SENDING: "the network takes no more at present",
    Activity.PROMPTING: "the other side waits for an answer at its prompt",
    Activity.DECIDING: "the other side is checking what it already has",
    Activity.WRITING: "the other side is writing to its disk",
}
SILENCE: Final = "nothing is heard from the other side: its network or this one may be down"


class Liveness:
    """One connection's pulse.

    Attributes:
        pulse: as of the last `handle_timer`.
        rtt: seconds from the latest ping to its pong, None before the first.
    """

    __slots__ = (
        "_count",
        "_due",
        "_heard",
        "_moved",
        "_peer",
        "_pinged",
        "_sent",
        "pulse",
        "rtt",
    )

    def __init__(self, now: float) -> None:
        self.pulse = Pulse.WELL
        self.rtt: float | None = None
        self._heard = self._sent = self._moved = self._pinged = now
        self._due: float | None = None
        self._peer = Activity.IDLE
        self._count = 0

    def heard(self, now: float) -> None:
        """A frame came, of whatever type."""
        self._heard = now

    def moved(self, now: float) -> None:
        """The transfer itself got on, on either side."""
        self._moved = now

    def sent(self, now: float) -> None:
        """A frame was handed out to be sent."""
        self._sent = now

    def pinged(self, activity: Activity, size: int, now: float) -> None:
        """A ping came; ``size`` other than in the last one is movement."""
        self._peer = activity
        if size != self._count:
            self._count = size
            self._moved = now

    def ping_time(self, now: float) -> int:
        """Time to put in a ping that goes out now, in microseconds."""
        self._pinged = now
        return max(0, int(now * 1_000_000))

    def ponged(self, time: int, now: float) -> None:
        """A pong came; only an answer to the latest ping counts."""
        if time == max(0, int(self._pinged * 1_000_000)):
            self.rtt = now - self._pinged

    def ping_due(self, now: float) -> bool:
        """Whether nothing was sent for a second."""
        return self.pulse is not Pulse.LOST and now >= self._sent + PING_AFTER

    def deadline(self, *, watched: bool) -> float | None:
        """When `handle_timer` is due next; None once the connection is lost."""
        if self.pulse is Pulse.LOST:
            return None
        due = min(self._sent + PING_AFTER, self._heard + LOST_AFTER)
        if self.pulse is not Pulse.SILENT:
            due = min(due, self._heard + STALLED_AFTER)
        if watched and self.pulse is Pulse.WELL:
            due = min(due, self._moved + STALLED_AFTER)
        self._due = due
        return due

    def handle_timer(
        self, now: float, *, own: Activity, watched: bool
    ) -> Stalled | Resumed | Lost | None:
        """Look at the pulse; returns what to tell if it changed.

        Args:
            now: the time.
            own: what this side is at.
            watched: whether the transfer should be moving, not only the connection alive.
        """
        if self._due is not None and now > self._due + LATE:
            self._heard = max(self._heard, now - PING_AFTER)
            self._moved = max(self._moved, now - PING_AFTER)
        self._due = None
        silent, still = now - self._heard, now - self._moved
        if silent >= LOST_AFTER:
            pulse = Pulse.LOST
        elif silent >= STALLED_AFTER:
            pulse = Pulse.SILENT
        elif watched and still >= STALLED_AFTER:
            pulse = Pulse.STILL
        else:
            pulse = Pulse.WELL
        if pulse is self.pulse or self.pulse is Pulse.LOST:
            return None
        self.pulse = pulse
        if pulse is Pulse.LOST:
            return Lost(silent)
        if pulse is Pulse.SILENT:
            return Stalled(silent, SILENCE)
        if pulse is Pulse.STILL:
            return Stalled(still, OURS.get(own) or THEIRS[self._peer])
        return Resumed()
