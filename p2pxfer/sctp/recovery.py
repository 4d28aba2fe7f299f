"""When something sent counts as lost, and when to ask: RACK-TLP (RFC 8985) and T3-rtx for SCTP.

Times decide, not counts of reports: what left before something that arrived, by more than the
reordering the path shows, is lost. A tail that nothing follows is probed, and the timeout is what
remains. TSNs stand for TCP's sequence numbers, a flight's stamp for a segment's. No packets here.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from p2pxfer.sctp.flights import FLYING
from p2pxfer.sctp.rtt import MOST, RoundTrip
from p2pxfer.sctp.scoreboard import Scoreboard

DUPLICATE_THRESHOLD: Final = 3  # RFC 8985 section 6.2
PERSISTENCE: Final = 16  # recoveries that a widened window lasts, same section
PROBE_LEAST: Final = 0.01  # seconds; below that the peer's event loop is measured, not the path
PROBE_INITIAL: Final = 1.0  # RFC 8985 section 7.2, before there is a round trip
PATIENCE: Final = 1.0  # seconds for what a path that was left may yet bring; RTO.Initial
GRAIN: Final = 1e-6  # seconds; timers that near have come


class Due(Enum):
    """What a timer asks for."""

    NOTHING = 0
    LOSS = 1  # the reordering window of something has passed
    PROBE = 2  # send a tail loss probe
    TIMEOUT = 3  # T3-rtx: begin again with what is outstanding first


class Recovery:
    """Loss detection over one scoreboard.

    Attributes:
        backoff: timeouts in a row without progress.
        recovering: whether a loss was found and not all that was sent before has arrived.
    """

    __slots__ = (
        "_ack_delay",
        "_again",
        "_board",
        "_duplicates_until",
        "_end",
        "_moved_at",
        "_multiplier",
        "_patience",
        "_persist",
        "_probe_at",
        "_probe_end",
        "_probe_size",
        "_rack_end",
        "_rack_rtt",
        "_rack_sent",
        "_reorder_at",
        "_reordering",
        "_rtt",
        "_since",
        "_timed_out",
        "_told",
        "backoff",
        "recovering",
    )

    def __init__(self, board: Scoreboard, rtt: RoundTrip, ack_delay: float) -> None:
        self._board = board
        self._rtt = rtt
        self._ack_delay = ack_delay
        self._multiplier = 1
        self._persist = 0
        self._duplicates_until = -1
        self._again = 0
        self.reset(0.0)

    def reset(self, now: float) -> None:
        """Forget what times on the old path said, before the round trip is forgotten.

        Timeouts count from now, without back-off. What is under way on the old path may be slower
        than the new one's first report: it is lost only when the old one's timeout has passed, or
        `PATIENCE`.
        """
        self.backoff = 0
        self._since = self._moved_at = now
        self._patience = min(self._rtt.timeout, PATIENCE)
        self._rack_sent = -1.0
        self._rack_end = -1
        self._rack_rtt = 0.0
        self._reordering = False
        self._reorder_at: float | None = None
        self._probe_at: float | None = None
        self._probe_end: int | None = None
        self._probe_size = 0
        self._end = -1
        self.recovering = False
        self._timed_out = False
        self._told = False  # a loss was found, and nothing speaks against it

    # what happened

    def sent(self, now: float, before: int, *, first: bool) -> None:
        """Something left, with ``before`` bytes in flight then; ``first``: the lowest TSN again."""
        if not before or first:
            self._since = now
        self._arm_probe(now)

    def resent(self, count: int) -> None:
        """So many chunks went once more; duplicates that the peer reports undo the count."""
        self._again += count

    def acknowledged(self, now: float, *, advanced: bool, duplicates: int) -> int:
        """Take in what reports newly acknowledged; returns bytes found lost."""
        board = self._board
        newest = board.newest
        if advanced:
            self._since = now
            self.backoff = 0
        if newest is not None:
            rtt = now - newest.sent
            if (board.newest_tries == 1 or rtt >= self._rtt.least) and (
                newest.sent > self._rack_sent
                or (newest.sent == self._rack_sent and board.newest_end > self._rack_end)
            ):
                self._rack_sent = newest.sent
                self._rack_end = board.newest_end
                self._rack_rtt = rtt
        if board.reordered:
            self._reordering = True
        if duplicates:
            self._widen()
        lost = self._end_probe(duplicates)
        if self.recovering and board.una > self._end:
            self._leave()
        lost += self._detect(now)
        self._arm_probe(now)
        return lost

    def _widen(self) -> None:
        """The peer got something twice that was sent twice: wait longer (section 6.2, step 4)."""
        board = self._board
        if self._again and board.una > self._duplicates_until:
            self._duplicates_until = board.next
            self._multiplier += 1
            self._persist = PERSISTENCE

    def _leave(self) -> None:
        self.recovering = False
        self._timed_out = False
        self._persist -= 1
        if self._persist <= 0:
            self._multiplier = 1

    def spurious(self, duplicates: int) -> bool:
        """Whether a loss that was told turns out to be none; after `acknowledged`.

        Either what was called lost arrived before it was sent again, or the peer reports that all
        of what was sent again came twice.
        """
        board = self._board
        found = False
        if self._again and duplicates:
            self._again = max(0, self._again - duplicates)
            found = not self._again
        if board.spurious:
            found = found or self._timed_out or (not board.lost and not self._again)
        if not found or not self._told:
            return False
        self._told = self._timed_out = self.recovering = False
        return True

    # losses

    def window(self) -> float:
        """How much later than its successors something may come (RFC 8985 section 6.2, step 4)."""
        board = self._board
        if not self._reordering and (
            self.recovering or board.highest - board.una >= DUPLICATE_THRESHOLD
        ):
            return 0.0
        return min(self._multiplier * self._rtt.least / 4, self._rtt.smoothed or 0.0)

    def _detect(self, now: float) -> int:
        """Declare lost what left too long before something that arrived; returns bytes."""
        board = self._board
        self._reorder_at = None
        rack, end = self._rack_sent, self._rack_end
        wait = -1.0
        lost = 0
        for flight in board.flights:
            if not flight.flying:
                continue
            if flight.sent > rack:
                break
            if wait < 0:
                wait = self._rack_rtt + self.window()
            due = flight.sent + wait
            if flight.sent < self._moved_at:
                due = max(due, flight.sent + self._patience)
            for run in flight.runs:
                if (
                    run.flight is flight
                    and run.state == FLYING
                    and (flight.sent < rack or run.first < end)
                ):
                    if due > now + GRAIN:
                        self._reorder_at = due
                        break
                    lost += board.lose(run)
            if self._reorder_at is not None:
                break
        if lost:
            self._enter()
        return lost

    def _enter(self) -> None:
        if not self.recovering:
            self.recovering = self._told = True
            self._again = 0
        self._end = self._board.next - 1
        self._probe_at = None

    # the tail

    def _arm_probe(self, now: float) -> None:
        """Set the probe timer (RFC 8985 section 7.2)."""
        board = self._board
        if (
            self.recovering
            or self.backoff
            or not board.in_flight
            or self._probe_end is not None
            or board.highest >= board.una
        ):
            self._probe_at = None
            return
        smoothed = self._rtt.smoothed
        if smoothed is None:
            wait = PROBE_INITIAL
        else:
            wait = max(2 * smoothed, PROBE_LEAST)
            if board.next - board.una == 1:
                wait += self._ack_delay
        self._probe_at = now + wait

    def probed(self, now: float, size: int) -> None:
        """A probe left: ``size`` bytes of the last chunk once more, or 0 for new data."""
        self._probe_at = None
        self._probe_end = self._board.next - 1
        self._probe_size = size
        self._since = now

    def _end_probe(self, duplicates: int) -> int:
        """See what a probe brought (RFC 8985 section 7.4); returns bytes it repaired."""
        if self._probe_end is None or self._board.una <= self._probe_end:
            return 0
        size = 0 if duplicates else self._probe_size
        self._probe_end = None
        self._probe_size = 0
        return size

    # timers

    def deadline(self) -> float | None:
        """When `handle_timer` is due; None with nothing in flight."""
        if self._reorder_at is not None:
            return self._reorder_at
        if not self._board.in_flight:
            return None
        timeout = self._since + min(self._rtt.timeout * (1 << min(self.backoff, 6)), MOST)
        if self._probe_at is not None and self._probe_at < timeout:
            return self._probe_at
        return timeout

    def handle_timer(self, now: float) -> tuple[Due, int]:
        """What is due, and bytes found lost."""
        due = self.deadline()
        if due is None or due > now + GRAIN:
            return Due.NOTHING, 0
        if self._reorder_at is not None:
            return Due.LOSS, self._detect(now)
        if due == self._probe_at:
            self._probe_at = None
            return Due.PROBE, 0
        return Due.TIMEOUT, self._time_out(now)

    def _time_out(self, now: float) -> int:
        """T3-rtx ran out (RFC 9260 section 6.3.3, RFC 8985 section 6.3): returns bytes lost.

        What left less than a round trip ago is left alone.
        """
        board = self._board
        lost = board.lose_first()
        wait = (self._rtt.smoothed or 0.0) + self.window()
        for flight in board.flights:
            if flight.flying and flight.sent + wait <= now + GRAIN:
                for run in flight.runs:
                    if run.flight is flight and run.state == FLYING:
                        lost += board.lose(run)
        self.backoff += 1
        self._since = now
        self._probe_end = None
        self._timed_out = True
        self._enter()
        return lost

    def restore(self, now: float) -> int:
        """Take losses back that were none, but find again those that are; returns these bytes."""
        self._board.restore()
        return self._detect(now)
