"""A control that yields: LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus) for background transfers.

It aims at a small delay in the bottleneck's queue, so whoever fills the queue gets what there is.
Beyond the draft, a queue that overflows before it holds the target lowers the target: otherwise it
would only notice others by losses, as they do, and take a third of the link from them.

Measured beside one TCP CUBIC, in simulation: it keeps 95 to 96 % of 20 Mbit/s with queues of 50 to
400 ms, where it has 96 to 97 % alone; over an emulated link 97 %. Alone this takes 88 %.
From time to time it lets the queue run empty, to see the path's round trip without itself.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from p2pxfer.sctp.congestion.controller import Ack

TARGET: Final = 0.06  # seconds of queueing (section 4 of the draft)
LEAST_TARGET: Final = 0.008
QUEUE_SHARE: Final = 0.5  # of a queue that overflows before it holds the target
DIVISORS: Final = 16  # most that growth is slowed on short paths
EXIT: Final = 0.75  # of the target: the first slow start ends
SLOWDOWN_ROUNDS: Final = 2  # round trips of a slowdown, and between the first and slow start
SLOWDOWN_SHARE: Final = 9  # times its length until the next one
FILTER: Final = 4  # round trips of which the least counts as current
BASE_MINUTES: Final = 10  # that the least round trip is remembered
MINUTE: Final = 60.0
LEAST: Final = 2  # packets
INITIAL: Final = 10
PACE: Final = 1.25  # windows a round trip; twice that in slow start
BURST: Final = 0.001  # seconds of the rate
BASE: Final = 1172
GRAIN: Final = 1e-6  # seconds: below that a round trip measures the clock


class Ledbat:
    """See `p2pxfer.sctp.congestion.controller.Controller`."""

    __slots__ = (
        "_base",
        "_current",
        "_frozen_until",
        "_minute",
        "_minutes",
        "_most",
        "_precise",
        "_recovered_at",
        "_saved",
        "_size",
        "_slow_since",
        "_slow_start",
        "_slowdown_at",
        "_target",
        "_threshold",
        "quantum",
        "rate",
        "window",
    )

    def __init__(self) -> None:
        self._size = BASE
        self._forget()

    def _forget(self) -> None:
        self.window = INITIAL * self._size
        self.rate = math.inf
        self.quantum = 2 * self._size
        self._precise = float(self.window)
        self._minutes: deque[float] = deque(maxlen=BASE_MINUTES)
        self._minute = -math.inf
        self._base = math.inf
        self._current: deque[float] = deque(maxlen=FILTER)
        self._target = TARGET
        self._most = 0.0  # seconds of queueing, the most since the last loss
        self._slow_start = True
        self._threshold = math.inf
        self._slowdown_at = math.inf
        self._slow_since = 0.0
        self._frozen_until: float | None = None
        self._recovered_at = 0
        self._saved = 0.0

    def on_sent(self, now: float, size: int, in_flight: int, app_limited: bool) -> None:
        """Nothing follows."""

    def on_ack(self, ack: Ack) -> None:
        """Compare the round trip with the path's, and grow or shrink."""
        now = ack.now
        if ack.rtt is not None:
            self._see(now, ack.rtt)
        if self._base < math.inf:
            self._follow(ack)
        else:
            self._precise += ack.acked
        self.window = max(int(self._precise), LEAST * self._size)
        if ack.srtt:
            gain = 2 * PACE if self._slow_start else PACE
            self.rate = gain * self.window / ack.srtt
            self.quantum = max(2 * self._size, int(self.rate * BURST))

    def _see(self, now: float, rtt: float) -> None:
        self._current.append(rtt)
        minutes = self._minutes
        if now - self._minute >= MINUTE:
            self._minute = now
            minutes.append(rtt)
            self._base = min(minutes)
        elif rtt < minutes[-1]:
            minutes[-1] = rtt
            self._base = min(self._base, rtt)

    def _follow(self, ack: Ack) -> None:
        now = ack.now
        if ack.lost:
            if ack.delivered >= self._recovered_at:
                self._recovered_at = ack.delivered + ack.in_flight + ack.lost
                self._target = min(TARGET, max(QUEUE_SHARE * self._most, LEAST_TARGET))
                self._most = 0.0
                self._saved = self._precise
                self._threshold = max(self._precise / 2, LEAST * self._size)
                if self._frozen_until is None:
                    self._precise = self._threshold
                    self._end_slow_start(now, ack.srtt)
            return
        if self._frozen_until is not None:
            if now < self._frozen_until:
                return
            self._frozen_until = None
            self._slow_start = True
        delay = min(self._current) - self._base if self._current else 0.0
        self._most = max(self._most, delay)
        if now >= self._slowdown_at and not self._slow_start:
            self._slow_down(now, ack.srtt)
            return
        used = not ack.app_limited and 2 * ack.prior_in_flight >= self.window
        gain = 1.0 / min(DIVISORS, math.ceil(2 * TARGET / max(self._base, GRAIN)))
        if self._slow_start:
            if used:
                self._precise += gain * ack.acked
            first = self._threshold == math.inf
            if self._precise >= self._threshold or (first and delay > EXIT * self._target):
                self._end_slow_start(now, ack.srtt)
            return
        share = ack.acked / self._precise  # of a round trip
        if delay < self._target:
            if used:
                self._precise += gain * self._size * share
            return
        change = gain * self._size - self._precise * (delay / self._target - 1)
        self._precise += max(change, -self._precise / 2) * share
        self._precise = max(self._precise, float(LEAST * self._size))

    def _end_slow_start(self, now: float, srtt: float) -> None:
        if not self._slow_start:
            return
        self._slow_start = False
        if self._threshold == math.inf or self._slow_since == 0.0:
            self._slowdown_at = now + SLOWDOWN_ROUNDS * srtt
        else:
            self._slowdown_at = now + SLOWDOWN_SHARE * (now - self._slow_since)
        self._threshold = self._precise

    def _slow_down(self, now: float, srtt: float) -> None:
        self._threshold = self._precise
        self._precise = float(LEAST * self._size)
        self._frozen_until = now + SLOWDOWN_ROUNDS * srtt
        self._slow_since = now
        self._slowdown_at = math.inf
        self._current.clear()

    def on_timeout(self, now: float, in_flight: int) -> None:  # noqa: ARG002  # a seam
        """Begin again from the least."""
        self._saved = max(self._saved, self._precise)
        self._threshold = max(self._precise / 2, LEAST * self._size)
        self._precise = float(LEAST * self._size)
        self.window = int(self._precise)
        self._slow_start = True
        self._slow_since = now
        self._frozen_until = None

    def on_spurious_loss(self, now: float) -> None:  # noqa: ARG002  # a seam
        """Take the last reduction back."""
        self._precise = max(self._precise, self._saved)
        self.window = max(int(self._precise), LEAST * self._size)
        self._saved = 0.0

    def on_path_change(self, now: float) -> None:  # noqa: ARG002  # a seam
        """Measure anew, from an initial window."""
        self._forget()

    def on_packet_size(self, size: int) -> None:
        """Keep the least window in packets."""
        fresh = self._precise == INITIAL * self._size
        self._size = size
        self._precise = max(self._precise, float((INITIAL if fresh else LEAST) * size))
        self.window = int(self._precise)
        self.quantum = max(self.quantum, 2 * size)
