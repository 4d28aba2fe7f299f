"""Round-trip time: the smoothed estimate, the least seen, and the timeout that follows.

No timer runs here, and nothing is known of packets.
"""

from __future__ import annotations

from typing import Final

# RFC 9260 section 16 names 1 s as the least and 60 s as the most; connectivity is watched by ICE
# (RFC 7675), so both only bound how long a lost tail stays unnoticed.
INITIAL: Final = 0.5
LEAST: Final = 0.2
MOST: Final = 5.0
ALPHA: Final = 1 / 8  # RFC 9260 section 16
BETA: Final = 1 / 4
MEMORY: Final = 300.0  # seconds that the least round trip is remembered (RFC 8985 section 6.2)


class RoundTrip:
    """One path's round trips, in seconds.

    Attributes:
        smoothed: None before the first sample.
        variation: mean deviation.
        least: least of the last minutes; 0 before the first sample.
        timeout: how long to wait for an acknowledgement, without back-off.
    """

    __slots__ = ("_ack_delay", "_next", "_since", "least", "smoothed", "timeout", "variation")

    def __init__(self, ack_delay: float) -> None:
        self._ack_delay = ack_delay
        self.reset()

    def reset(self) -> None:
        """Forget everything: the path is another one."""
        self.smoothed: float | None = None
        self.variation = 0.0
        self.least = 0.0
        self.timeout = INITIAL + self._ack_delay
        self._next = 0.0
        self._since: float | None = None

    def sample(self, seconds: float, now: float) -> None:
        """Take a measurement (RFC 9260 section 6.3.1), never of what was sent twice."""
        if self.smoothed is None or self._since is None:
            self.smoothed = seconds
            self.variation = seconds / 2
            self.least = self._next = seconds
            self._since = now
        else:
            self.variation += BETA * (abs(self.smoothed - seconds) - self.variation)
            self.smoothed += ALPHA * (seconds - self.smoothed)
            self._next = min(self._next, seconds)
            if now - self._since > MEMORY:
                self.least = self._next
                self._next = seconds
                self._since = now
            else:
                self.least = min(self.least, seconds)
        # the least is added as TCP's implementations do: a steady path would leave no room else
        wait = self.smoothed + max(4 * self.variation, LEAST)
        self.timeout = min(wait + self._ack_delay, MOST)
