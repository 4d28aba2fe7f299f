"""A control that models the path: how much it delivers, and how long a round trip takes at least.

The shape is that of BBR's first version (draft-cardwell-iccrg-bbr-congestion-control-00), so
random loss costs nothing but what was lost. Its reaction to loss is bounded: only a round that lost
much, while it also waited in a queue, or that lost very much, lowers what may be in flight.

Measured in simulation, as share of the link's bits (headers leave 93 to 94 %): 200 Mbit/s at 50 ms
92.6 / 92.6 / 91.9 / 90 % with 0 / 0.1 / 1 / 3 % of the packets lost, and 2 to 6 ms queued; 1 Gbit/s
at 4 ms 93.8 %, and 1 ms; a queue that could hold a second holds 6 ms. Beside one TCP CUBIC at
20 Mbit/s, 100 ms and a queue of two round trips 47 : 48, waiting as two CUBICs let it wait. There a
growth of the cap by 5 % a round is what keeps both alive. Early in startup three lost packets are
chance at 3 % loss, and ending it then cost seconds: hence `STARTUP_EVIDENCE`, and asking again at
once where asking brought more.
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import Final

from p2pxfer.sctp.congestion.controller import Ack

STARTUP_GAIN: Final = 2.77  # 4 ln 2: the least that doubles the rate every round
DRAIN_GAIN: Final = 0.35
CYCLE: Final = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
UP: Final = 0
DOWN: Final = 1
DOWN_MOST: Final = 4  # round trips, beside others who keep the queue full
LOOK: Final = 3  # by then it is known what the first phase brought
WINDOW_GAIN: Final = 2.0
GROWTH: Final = 1.25  # a round that delivers so much more says that the pipe isn't full
FULL_ROUNDS: Final = 3
RATE_ROUNDS: Final = 10
EXTRA_ROUNDS: Final = 5  # each of two halves
EXTRA_MOST: Final = 0.1  # seconds of the rate
RTT_MEMORY: Final = 10.0
PROBE_RTT: Final = 0.2
PROBE_RTT_GAIN: Final = 0.5
LOOP: Final = 0.005  # seconds; nothing of an event loop is more exact
BURST: Final = 0.001
INITIAL: Final = 10  # packets (RFC 6928)
LEAST: Final = 4
FLOOR_RTT: Final = 0.1  # seconds; LEAST leave in so much, though all samples span an outage
QUEUED_LOSS: Final = 0.02  # of a round that waited in a queue
HEAVY_LOSS: Final = 0.1  # of any round: a policer
EVIDENCE: Final = 4  # packets lost in a round, below which it may be chance
STARTUP_EVIDENCE: Final = 8
RISEN: Final = 1.15  # asking for more brought so much: ask again at once
QUEUED_GAIN: Final = 1.25
QUEUED_MORE: Final = 0.004
BETA: Final = 0.7
REGROWTH: Final = 1.05  # of the cap, a round
MOST_SIZE: Final = 1172


class Mode(Enum):
    """What the control is after."""

    STARTUP = "startup"
    DRAIN = "drain"
    CRUISE = "cruise"
    PROBE_RTT = "probe rtt"


class Bbr:
    """See `p2pxfer.sctp.congestion.controller.Controller`.

    Attributes:
        bandwidth: bytes per second that the path delivers, the most of the last rounds.
        min_rtt: seconds, the least of the last 10 s; infinite before a sample.
        mode: what it is after.
    """

    __slots__ = (
        "_asked",
        "_cap",
        "_cycle",
        "_cycle_at",
        "_extra",
        "_extra_acked",
        "_extra_at",
        "_extra_round",
        "_full",
        "_full_count",
        "_gain",
        "_in_flight",
        "_min_rtt_at",
        "_overrun",
        "_probe_until",
        "_queued",
        "_rates",
        "_round",
        "_round_acked",
        "_round_at",
        "_round_flight",
        "_round_lost",
        "_round_rtt",
        "_saved",
        "_size",
        "bandwidth",
        "min_rtt",
        "mode",
        "quantum",
        "rate",
        "window",
    )

    def __init__(self) -> None:
        self._size = MOST_SIZE
        self.window = INITIAL * self._size
        self._forget()

    def _forget(self) -> None:
        """Know nothing of the path."""
        self.mode = Mode.STARTUP
        self.bandwidth = 0.0
        self.min_rtt = math.inf
        self.rate = math.inf
        self.quantum = 2 * self._size
        self._gain = STARTUP_GAIN
        self._min_rtt_at = -math.inf
        self._rates: deque[tuple[int, float]] = deque()
        self._round = 0
        self._round_at = -math.inf
        self._round_acked = self._round_lost = self._round_flight = 0
        self._round_rtt = math.inf
        self._overrun = False  # the last round lost too much: no sample of it is too low
        self._queued = False  # the last round waited in a queue
        self._asked = math.inf  # the bandwidth before more was asked for
        self._full = 0.0
        self._full_count = 0
        self._cycle = 2
        self._cycle_at = 0.0
        self._probe_until: float | None = None
        self._cap = math.inf
        self._extra = [0.0, 0.0]
        self._extra_acked = 0.0
        self._extra_at = 0.0
        self._extra_round = 0
        self._saved = 0
        self._in_flight = 0

    # what it is told

    def on_sent(self, now: float, size: int, in_flight: int, app_limited: bool) -> None:  # noqa: ARG002  # a seam
        """A flight left; after a pause nothing of the cycle is left over."""
        if app_limited and not in_flight and self.mode is Mode.CRUISE:
            self._cycle = 2
            self._cycle_at = now
            self._pace(1.0)

    def on_ack(self, ack: Ack) -> None:
        """Update the model, then what follows from it."""
        now = ack.now
        acked = ack.acked
        self._round_acked += acked
        self._round_lost += ack.lost
        self._round_flight = max(self._round_flight, ack.prior_in_flight)
        rtt = ack.rtt
        if rtt is not None and rtt < self._round_rtt:
            self._round_rtt = rtt
        rate = ack.rate
        if rate is not None and (not ack.app_limited or rate >= self.bandwidth or self._overrun):
            rates = self._rates
            while rates and rates[-1][1] <= rate:
                rates.pop()
            rates.append((self._round, rate))
            self.bandwidth = rates[0][1]
        if ack.round_start and now - self._round_at >= LOOP:
            self._end_round(ack)
        if rtt is not None:
            self._see_rtt(ack, rtt)
        if not self.bandwidth or self.min_rtt == math.inf:
            self.window += acked
            return
        self._count_extra(now, acked)
        mode = self.mode
        if mode is Mode.CRUISE:
            self._advance_cycle(ack)
        elif mode is Mode.DRAIN:
            if ack.in_flight <= self._bdp():
                self._cruise(now)
        elif mode is Mode.PROBE_RTT:
            self._probe(ack)
        self._pace(self._gain)
        self._resize(acked)

    def on_timeout(self, now: float, in_flight: int) -> None:  # noqa: ARG002  # a seam
        """Begin again from little, with the model kept."""
        self._saved = max(self._saved, self.window)
        self.window = max(in_flight, LEAST * self._size)

    def on_spurious_loss(self, now: float) -> None:  # noqa: ARG002  # a seam
        """Nothing was lost: go on as before."""
        self.window = max(self.window, self._saved)
        self._saved = 0
        self._cap = math.inf
        self._round_lost = 0

    def on_path_change(self, now: float) -> None:  # noqa: ARG002  # a seam
        """Measure anew, from an initial window."""
        self._forget()
        self.window = INITIAL * self._size

    def on_packet_size(self, size: int) -> None:
        """Keep the least window in packets."""
        self._size = size
        self.window = max(self.window, INITIAL * size if self.bandwidth == 0 else LEAST * size)
        self.quantum = max(self.quantum, 2 * size)

    # the model

    def _bdp(self) -> float:
        return self.bandwidth * max(self.min_rtt, LOOP / WINDOW_GAIN)

    def _end_round(self, ack: Ack) -> None:
        """A round trip has passed."""
        self._round += 1
        self._round_at = ack.now
        rates = self._rates
        oldest = self._round - RATE_ROUNDS
        while len(rates) > 1 and rates[0][0] < oldest:
            rates.popleft()
        if rates:
            self.bandwidth = rates[0][1]
        if self._round - self._extra_round >= EXTRA_ROUNDS:
            self._extra_round = self._round
            self._extra = [0.0, self._extra[0]]
        self._judge_loss()
        if self.mode is Mode.STARTUP:
            if self.bandwidth >= self._full * GROWTH:
                self._full = self.bandwidth
                self._full_count = 0
            elif not ack.app_limited:
                self._full_count += 1
            if self._full_count >= FULL_ROUNDS or self._overrun:
                self.mode = Mode.DRAIN
                self._gain = DRAIN_GAIN
        self._round_acked = self._round_lost = self._round_flight = 0
        self._round_rtt = math.inf

    def _judge_loss(self) -> None:
        """Lower the cap after a bad round, raise it after any other."""
        lost = self._round_lost
        share = lost / (lost + self._round_acked) if lost else 0.0
        queued = self._queued = self._round_rtt > QUEUED_GAIN * self.min_rtt + QUEUED_MORE
        least = STARTUP_EVIDENCE if self.mode is Mode.STARTUP else EVIDENCE
        self._overrun = lost >= least * self._size and (
            share > HEAVY_LOSS or (queued and share > QUEUED_LOSS)
        )
        if self._overrun:
            self._cap = max(BETA * min(self._cap, self._round_flight), self._bdp())
        elif self._cap != math.inf:
            self._cap *= REGROWTH
            if self._cap > 2 * WINDOW_GAIN * self._bdp():
                self._cap = math.inf

    def _see_rtt(self, ack: Ack, rtt: float) -> None:
        """Keep the least round trip; look for it again once it is old."""
        now = ack.now
        old = now - self._min_rtt_at > RTT_MEMORY
        if rtt <= self.min_rtt:
            self.min_rtt = rtt
            self._min_rtt_at = now
        elif old and self.mode is not Mode.PROBE_RTT:
            if max(rtt, self.min_rtt) * WINDOW_GAIN <= LOOP or ack.app_limited:
                self.min_rtt = rtt  # nothing of the window depends on it, or no queue is ours
                self._min_rtt_at = now
            elif self.mode is Mode.CRUISE:
                self.mode = Mode.PROBE_RTT
                self._gain = 1.0
                self._probe_until = None
                self._saved = self.window
                self.min_rtt = rtt

    def _probe(self, ack: Ack) -> None:
        """Wait with little in flight until the round trip has shown itself."""
        now = ack.now
        if self._probe_until is None:
            if ack.in_flight <= PROBE_RTT_GAIN * self._bdp() + self.quantum:
                self._probe_until = now + max(PROBE_RTT, self.min_rtt)
        elif now >= self._probe_until:
            self._min_rtt_at = now
            self.window = max(self.window, self._saved)
            self._saved = 0
            self._cruise(now)

    def _count_extra(self, now: float, acked: int) -> None:
        """How much more than the rate explains comes acknowledged at once."""
        expected = self.bandwidth * (now - self._extra_at)
        if self._extra_acked <= expected:
            self._extra_acked = 0.0
            self._extra_at = now
            expected = 0.0
        self._extra_acked += acked
        extra = self._extra_acked - expected
        if extra > self._extra[0]:
            self._extra[0] = min(extra, EXTRA_MOST * self.bandwidth)

    # what follows

    def _cruise(self, now: float) -> None:
        self.mode = Mode.CRUISE
        self._cycle = 2
        self._cycle_at = now
        self._gain = 1.0

    def _advance_cycle(self, ack: Ack) -> None:
        """Ask for more, let the queue go, then go along."""
        now = ack.now
        passed = now - self._cycle_at > max(self.min_rtt, LOOP)
        phase = self._cycle
        if phase == UP:
            done = passed and (ack.lost > 0 or ack.prior_in_flight >= CYCLE[UP] * self._bdp())
        elif phase == DOWN:
            done = self._let_go(ack, passed=passed)
        else:
            done = passed
        if done:
            phase = (phase + 1) % len(CYCLE)
            if phase == UP:
                self._asked = self.bandwidth
            elif phase == LOOK and self.bandwidth > RISEN * self._asked and not self._queued:
                self._asked = self.bandwidth
                phase = UP
            self._cycle = phase
            self._cycle_at = now
            self._gain = CYCLE[self._cycle]

    def _let_go(self, ack: Ack, *, passed: bool) -> bool:
        """Whether the queue that asking for more made is gone, or others keep it full.

        Where acknowledgements come a millisecond apart, rates are seen a little too high: after one
        round trip of going slower, half a round trip stayed queued.
        """
        bdp = self._bdp()
        if self.min_rtt * WINDOW_GAIN <= LOOP:
            return passed or ack.in_flight <= bdp
        waited = ack.now - self._cycle_at
        return ack.in_flight <= bdp + self.quantum or waited > DOWN_MOST * self.min_rtt

    def _pace(self, gain: float) -> None:
        if self.bandwidth:
            rate = max(gain * self.bandwidth, LEAST * self._size / max(self.min_rtt, FLOOR_RTT))
            if self.mode is Mode.STARTUP and self.rate != math.inf and rate < self.rate:
                return  # few samples yet: never slower than before
            self.rate = rate
            self.quantum = max(2 * self._size, int(rate * BURST))

    def _resize(self, acked: int) -> None:
        bdp = self._bdp()
        target = WINDOW_GAIN * bdp + max(self._extra) + 3 * self.quantum
        if self.mode is Mode.PROBE_RTT:
            self.window = max(int(PROBE_RTT_GAIN * bdp), LEAST * self._size)
            return
        target = min(target, self._cap)
        if self.mode is Mode.STARTUP:
            if self.window < target:
                self.window += acked
            return
        self.window = max(min(self.window + acked, int(target)), LEAST * self._size)
