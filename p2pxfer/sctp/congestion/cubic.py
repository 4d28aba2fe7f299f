"""CUBIC (RFC 9438): what TCP does nearly everywhere, as the reference to measure others against.

Slow start ends by HyStart++ (RFC 9406). Flights are paced at a bit more than a window a round
trip, so that a window opened at once does not leave at once.
"""

from __future__ import annotations

import math
from typing import Final

from p2pxfer.sctp.congestion.controller import Ack
from p2pxfer.sctp.congestion.hystart import HyStart

C: Final = 0.4  # packets per second cubed (RFC 9438 section 5.1)
BETA: Final = 0.7  # section 4.6
ALPHA: Final = 3 * (1 - BETA) / (1 + BETA)  # section 4.3
INITIAL: Final = 10  # packets (RFC 6928)
LEAST: Final = 2
SLOW_START_PACE: Final = 2.0  # windows a round trip
PACE: Final = 1.25
BURST: Final = 0.001  # seconds of the rate
BASE: Final = 1172


class Cubic:
    """See `p2pxfer.sctp.congestion.controller.Controller`."""

    __slots__ = (
        "_epoch",
        "_friendly",
        "_hystart",
        "_k",
        "_peak",
        "_recovered_at",
        "_saved",
        "_size",
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
        self._threshold = math.inf
        self._hystart = HyStart()
        self._peak = 0.0  # bytes
        self._k = 0.0
        self._epoch: float | None = None
        self._friendly = 0.0  # bytes
        self._recovered_at = 0  # bytes delivered when the reaction to a loss is complete
        self._saved: tuple[int, float, float] | None = None

    def on_sent(self, now: float, size: int, in_flight: int, app_limited: bool) -> None:
        """Nothing follows."""

    def on_ack(self, ack: Ack) -> None:
        """Grow, or fall back once for each window in which something was lost."""
        if ack.lost and ack.delivered >= self._recovered_at:
            self._recovered_at = ack.delivered + ack.in_flight + ack.lost
            self._reduce()
        elif ack.delivered > self._recovered_at and ack.acked:
            self._saved = None
            self._grow(ack)
        if ack.srtt:
            gain = SLOW_START_PACE if self.window < self._threshold else PACE
            self.rate = gain * self.window / ack.srtt
            self.quantum = max(2 * self._size, int(self.rate * BURST))

    def _reduce(self) -> None:
        window = self.window
        self._saved = (window, self._threshold, self._peak)
        # fast convergence, RFC 9438 section 4.7
        self._peak = window * (1 + BETA) / 2 if window < self._peak else float(window)
        self.window = max(int(window * BETA), LEAST * self._size)
        self._threshold = self.window
        self._epoch = None

    def _grow(self, ack: Ack) -> None:
        acked, window = ack.acked, self.window
        used = not ack.app_limited and 2 * ack.prior_in_flight >= window
        if window < self._threshold:
            hystart = self._hystart
            if ack.round_start:
                hystart.on_round()
            if ack.rtt is not None:
                hystart.on_sample(ack.rtt, acked / self._size)
            if hystart.done:
                self._threshold = window
            elif used:
                self.window = window + acked // hystart.divisor
            return
        if not used:  # RFC 9438 section 5.8
            self._epoch = None
            return
        now, size = ack.now, self._size
        if self._epoch is None:
            self._epoch = now
            self._friendly = float(window)
            self._peak = max(self._peak, window)
            self._k = math.cbrt((self._peak - window) / (C * size))
        elapsed = now - self._epoch + ack.srtt
        target = C * (elapsed - self._k) ** 3 * size + self._peak
        target = max(float(window), min(target, 1.5 * window))
        self._friendly += ALPHA * acked * size / window
        grown = window + (target - window) * acked / window
        self.window = int(max(grown, self._friendly))

    def on_timeout(self, now: float, in_flight: int) -> None:  # noqa: ARG002  # a seam
        """Begin again with slow start (RFC 9438 section 4.8)."""
        saved = self._saved
        self._reduce()
        self._saved = saved or self._saved
        self.window = max(LEAST * self._size, 1)
        self._hystart = HyStart()
        self._recovered_at = 0

    def on_spurious_loss(self, now: float) -> None:  # noqa: ARG002  # a seam
        """Take the last reduction back (RFC 9438 section 4.9.2)."""
        if self._saved is not None:
            window, self._threshold, self._peak = self._saved
            self.window = max(self.window, window)
            self._saved = None
            self._epoch = None
            self._recovered_at = 0

    def on_path_change(self, now: float) -> None:  # noqa: ARG002  # a seam
        """Measure anew, from an initial window."""
        self._forget()

    def on_packet_size(self, size: int) -> None:
        """Keep the least window in packets."""
        fresh = self.window == INITIAL * self._size
        self._size = size
        self.window = max(self.window, (INITIAL if fresh else LEAST) * size)
        self.quantum = max(self.quantum, 2 * size)
