"""When slow start ends before it loses anything: HyStart++ (RFC 9406).

A rise of the round trip says that a queue grows. Then growth is slowed for some rounds, and ends
unless the round trip falls again. Sizes and windows are the caller's.
"""

from __future__ import annotations

import math
from typing import Final

# RFC 9406 section 4.3
LEAST_RISE: Final = 0.004  # seconds
MOST_RISE: Final = 0.016
DIVISOR: Final = 8
SAMPLES: Final = 8  # packets acknowledged in a round before its round trip counts
SLOWER: Final = 4
ROUNDS: Final = 5


class HyStart:
    """One slow start.

    Attributes:
        divisor: how many acknowledged bytes make one byte of growth: 1, or `SLOWER` once the
            round trip has risen.
        done: slow start is over.
    """

    __slots__ = ("_baseline", "_last", "_least", "_rounds", "_samples", "divisor", "done")

    def __init__(self) -> None:
        self.divisor = 1
        self.done = False
        self._last = self._least = self._baseline = math.inf
        self._samples = 0.0
        self._rounds = 0

    def on_round(self) -> None:
        """A round of the path begins."""
        self._last, self._least = self._least, math.inf
        self._samples = 0.0
        if self.divisor > 1:
            self._rounds += 1
            self.done = self._rounds >= ROUNDS

    def on_sample(self, rtt: float, packets: float) -> None:
        """A report of so many packets measured a round trip."""
        self._samples += packets
        self._least = min(self._least, rtt)
        if self._samples < SAMPLES:
            return
        if self.divisor > 1:
            if self._least < self._baseline:  # it had been chance
                self.divisor = 1
                self._baseline = math.inf
        elif self._last < math.inf:
            rise = max(LEAST_RISE, min(self._last / DIVISOR, MOST_RISE))
            if self._least >= self._last + rise:
                self._baseline = self._least
                self.divisor = SLOWER
                self._rounds = 0
