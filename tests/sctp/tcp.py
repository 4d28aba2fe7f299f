"""A TCP flow with CUBIC, simple enough to trust: what everybody's downloads look like to a queue.

Segments are numbered; the receiver acknowledges each. Growth and reduction follow RFC 9438, slow
start ends as RFC 9406 says or at the first loss; what three later transmissions overtook is lost.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from tests.sctp.link import OVERHEAD, Clock, Link

SEGMENT = 1448  # bytes of user data
WIRE = 1500  # bytes with IP's and TCP's headers
THRESHOLD = 3
C = 0.4  # RFC 9438 section 5
BETA = 0.7
SAMPLES = 8  # RFC 9406 section 4.3
LEAST_TIMEOUT = 0.2


class Cubic:
    """A sender that always has more, and its receiver behind the link.

    Args:
        clock: virtual time.
        link: the direction it sends in.
        back: seconds that an acknowledgement takes.
        begins: when it begins.
    """

    def __init__(self, clock: Clock, link: Link, back: float, begins: float = 0.0):
        self.clock, self.link, self.back = clock, link, back
        self.window = 10.0
        self.delivered = 0
        self.resent = 0
        self._threshold = float("inf")
        self._next = 0
        self._order = 0
        self._highest = 0
        self._reduced_at = 0  # order of the last transmission before the last reduction
        self._outstanding: OrderedDict[int, tuple[int, float]] = OrderedDict()
        self._lost: deque[int] = deque()
        self._peak = 0.0
        self._epoch: float | None = None
        self._friendly = 0.0
        self._smoothed = self._variation = 0.0
        self._round_end = 0
        self._round_least = self._last_least = float("inf")
        self._samples = 0
        self._heard = begins
        self._backoff = 1
        clock.at(begins, self._send)
        clock.at(begins + 1.0, self._look)

    def _send(self) -> None:
        while len(self._outstanding) < self.window:
            if self._lost:
                number = self._lost.popleft()
                self.resent += 1
            else:
                number = self._next
                self._next += 1
            self._order += 1
            self._outstanding[number] = self._order, self.clock.now
            self.link.send(number, self._arrive, size=WIRE - OVERHEAD)

    def _arrive(self, number: int, _sound: bool) -> None:
        self.clock.at(self.clock.now + self.back, self._acknowledged, number)

    def _acknowledged(self, number: int) -> None:
        now = self.clock.now
        self._heard = now
        self._backoff = 1
        entry = self._outstanding.pop(number, None)
        if entry is None:
            return  # it was called lost too early; what was sent again will count
        order, sent = entry
        self.delivered += SEGMENT
        self._highest = max(self._highest, order)
        self._time(now - sent)
        reduced = False
        while self._outstanding:
            first, (order_of, _) = next(iter(self._outstanding.items()))
            if order_of + THRESHOLD >= self._highest:
                break
            del self._outstanding[first]
            self._lost.append(first)
            reduced = reduced or order_of > self._reduced_at
        if reduced:
            self._reduce()
        elif order > self._reduced_at:
            self._grow(now, now - sent, order)
        self._send()

    def _time(self, rtt: float) -> None:
        if not self._smoothed:
            self._smoothed, self._variation = rtt, rtt / 2
        else:
            self._variation += (abs(self._smoothed - rtt) - self._variation) / 4
            self._smoothed += (rtt - self._smoothed) / 8

    def _reduce(self) -> None:
        self._reduced_at = self._order
        peak = self.window
        self._peak = peak * (1 + BETA) / 2 if peak < self._peak else peak
        self.window = self._threshold = max(2.0, peak * BETA)
        self._epoch = None

    def _grow(self, now: float, rtt: float, order: int) -> None:
        if self.window < self._threshold:
            self.window += 1
            self._slow_start(rtt, order)
            return
        if self._epoch is None:
            self._epoch = now
            self._peak = max(self._peak, self.window)
            self._friendly = self.window
            self._k = ((self._peak - self.window) / C) ** (1 / 3)
        elapsed = now - self._epoch + self._smoothed
        target = C * (elapsed - self._k) ** 3 + self._peak
        self._friendly += 3 * (1 - BETA) / (1 + BETA) / self.window
        target = max(self.window, min(target, 1.5 * self.window))
        self.window += (target - self.window) / self.window
        self.window = max(self.window, self._friendly)

    def _slow_start(self, rtt: float, order: int) -> None:
        self._round_least = min(self._round_least, rtt)
        self._samples += 1
        rise = min(max(self._last_least / 8, 0.004), 0.016)
        if self._samples >= SAMPLES and self._round_least >= self._last_least + rise:
            self._threshold = self.window
        if order > self._round_end:
            self._round_end = self._order
            self._last_least, self._round_least = self._round_least, float("inf")
            self._samples = 0

    def _look(self) -> None:
        """Whether the retransmission timeout has passed."""
        timeout = max(LEAST_TIMEOUT, self._smoothed + 4 * self._variation) * self._backoff
        now = self.clock.now
        if self._outstanding and now - self._heard >= timeout:
            self._lost.extendleft(reversed(self._outstanding))
            self._outstanding.clear()
            self._reduce()
            self.window = 1.0
            self._heard = now
            self._backoff = min(2 * self._backoff, 64)
            self._send()
        self.clock.at(max(self._heard + timeout, now + 0.01), self._look)
