"""A path that a control is fed from, a round trip at a time: rate, delay, a queue and losses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from p2pxfer.sctp.congestion.controller import Ack

SIZE = 1444


@dataclass
class Path:
    """What one round trip of a saturated path brings.

    Attributes:
        control: what is fed.
        rate: bytes per second of the bottleneck.
        trip: seconds without a queue.
        queue: bytes before the bottleneck, beyond which all is lost.
        loss: share lost by chance, evenly.
        parts: reports in a round trip.
    """

    control: object
    rate: float = 2_500_000.0
    trip: float = 0.1
    queue: float = math.inf
    loss: float = 0.0
    parts: int = 8
    now: float = 10.0
    delivered: int = 0
    backlog: float = 0.0
    srtt: float = 0.0
    least: float = 0.0
    history: list[tuple[float, int, float]] = field(default_factory=list)

    def run(self, rounds: int, *, app_limited: bool = False) -> None:
        """Let round trips pass, with all of the window and the pace used."""
        for _ in range(rounds):
            self._round(app_limited=app_limited)

    def _round(self, *, app_limited: bool) -> None:
        control = self.control
        bdp = self.rate * self.trip
        window = control.window
        for part in range(self.parts):
            trip = self.trip + self.backlog / self.rate
            span = trip / self.parts
            flight = min(window, control.window)
            pace = control.rate
            if pace < math.inf:
                arriving = min(pace * span, flight / self.parts)
                flight = int(min(flight, pace * trip))
            else:
                arriving = flight / self.parts
            out = min(arriving + self.backlog, self.rate * span)
            self.backlog = max(0.0, min(self.backlog + arriving - out, flight - bdp))
            lost = 0.0
            if self.backlog > self.queue:
                lost = self.backlog - self.queue
                self.backlog = self.queue
            lost += arriving * self.loss
            acked = int(out * (1 - self.loss))
            self.now += span
            self.delivered += acked
            rtt = self.trip + self.backlog / self.rate
            self.srtt = self.srtt + (rtt - self.srtt) / 8 if self.srtt else rtt
            self.least = min(self.least, rtt) if self.least else rtt
            control.on_sent(self.now, int(arriving), flight, app_limited)
            control.on_ack(
                Ack(
                    now=self.now,
                    rtt=rtt,
                    min_rtt=self.least,
                    srtt=self.srtt,
                    acked=acked,
                    lost=int(lost),
                    in_flight=flight - int(arriving),
                    prior_in_flight=flight,
                    delivered=self.delivered,
                    rate=acked / span,
                    app_limited=app_limited,
                    round_start=part == 0,
                )
            )
            self.history.append((self.now, control.window, rtt))

    def share(self, rounds: int) -> float:
        """What part of the rate the next round trips deliver."""
        begun, before = self.now, self.delivered
        self.run(rounds)
        return (self.delivered - before) / (self.now - begun) / self.rate
