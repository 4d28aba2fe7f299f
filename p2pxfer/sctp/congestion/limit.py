"""Rates that a user sets: a value with the time of day as its only input, and a control in bounds.

A rate is bytes per second: ``2M`` is 2,000,000, ``2MiB`` is 2,097,152. A timetable lists times of
the day, the first that fits counts: ``08:00-18:00=2M,*=off``. It means this machine's clock, until
`Limit.shifted` makes it another's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import time
from typing import Final

from msgspec import Struct

from p2pxfer.sctp.congestion.controller import Ack, Controller

RATE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)(?:b(?:/s|ps)?)?", re.IGNORECASE)
POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
SPAN: Final = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
OFF: Final = ("off", "none", "unlimited")
LEAST_RATE: Final = 16_000.0  # slower, a frame of a circuit takes nearly as long as silence may
HOUR: Final = 60  # minutes
DAY: Final = 24 * HOUR
MOST_SPANS: Final = 24
BURST: Final = 0.001  # seconds of the rate
LOOK: Final = 1.0  # seconds between two looks at the clock


class Limit(Struct, frozen=True):
    """What may be sent when.

    Attributes:
        spans: minutes of the day from and to (it may cross midnight), and bytes per second.
    """

    spans: tuple[tuple[int, int, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read a rate or a timetable.

        Raises:
            ValueError: it is neither; the message says what is wrong.
        """
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        if not entries:
            raise ValueError("an empty limit")
        if len(entries) > MOST_SPANS:
            raise ValueError(f"a limit with more than {MOST_SPANS} times of the day")
        if len(entries) == 1 and "=" not in entries[0]:
            return cls(((0, DAY, _rate(entries[0])),))
        spans = []
        for entry in entries:
            when, equals, rate = entry.partition("=")
            if not equals:
                raise ValueError(f"not a time of the day and a rate: {entry}")
            spans.append((*_span(when.strip()), _rate(rate.strip())))
        return cls(tuple(spans))

    def __str__(self) -> str:
        """As `parse` reads it."""
        return ",".join(
            f"{_clock(start)}-{_clock(end)}={'off' if rate == math.inf else int(rate)}"
            for start, end, rate in self.spans
        )

    def shifted(self, minutes: int) -> Limit:
        """The same, as a clock has it that is ``minutes`` ahead."""
        return Limit(
            tuple(
                (start, end, rate)
                if end - start == DAY
                else ((start + minutes) % DAY, (end + minutes) % DAY or DAY, rate)
                for start, end, rate in self.spans
            )
        )

    def rate_at(self, clock: time) -> float:
        """Bytes per second at a time of the day; `math.inf` without a limit."""
        minute = clock.hour * HOUR + clock.minute
        for start, end, rate in self.spans:
            if start <= minute < end or (start > end and (minute >= start or minute < end)):
                return rate
        return math.inf


def _clock(minute: int) -> str:
    return f"{minute // HOUR:02}:{minute % HOUR:02}"


def _rate(text: str) -> float:
    if text.lower() in OFF:
        return math.inf
    found = RATE.fullmatch(text)
    if found is None:
        raise ValueError(f"not a rate: {text}")
    number, unit, binary = found.groups()
    base = 1024.0 if binary else 1000.0
    rate: float = float(number) * base ** POWERS[unit.lower()]
    if rate < LEAST_RATE:
        raise ValueError(f"too slow to keep a connection: {text}")
    return rate


def _span(text: str) -> tuple[int, int]:
    if text == "*":
        return 0, DAY
    found = SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"not a time of the day: {text}")
    hours, minutes, to_hours, to_minutes = map(int, found.groups())
    start, end = hours * HOUR + minutes, to_hours * HOUR + to_minutes
    if max(minutes, to_minutes) >= HOUR or start >= DAY or end > DAY or start == end:
        raise ValueError(f"not a time of the day: {text}")
    return start, end


class Limited:
    """Another control that never goes beyond a rate.

    The rate counts packets as they leave, so what a user sees of a file is a few percent less.

    Args:
        inner: decides all else.
        limit: tells bytes per second, or `math.inf`; asked once a second.
    """

    __slots__ = ("_asked_at", "_inner", "_least", "_limit", "_most", "quantum", "rate", "window")

    def __init__(self, inner: Controller, limit: Callable[[], float]) -> None:
        self._inner = inner
        self._limit = limit
        self._most = limit()
        self._asked_at = -math.inf
        self._least = inner.quantum
        self._bound()

    def _bound(self) -> None:
        inner, most = self._inner, self._most
        self.window = inner.window
        self.rate = inner.rate
        self.quantum = inner.quantum
        if self.rate > most:
            self.rate = most
            self.quantum = max(int(most * BURST), min(self.quantum, self._least))

    def on_sent(self, now: float, size: int, in_flight: int, app_limited: bool) -> None:
        """Pass it on, and look at the clock now and then."""
        self._inner.on_sent(now, size, in_flight, app_limited)
        if now - self._asked_at >= LOOK:
            self._asked_at = now
            self._most = self._limit()
        self._bound()

    def on_ack(self, ack: Ack) -> None:
        """Pass it on."""
        self._inner.on_ack(ack)
        self._bound()

    def on_timeout(self, now: float, in_flight: int) -> None:
        """Pass it on."""
        self._inner.on_timeout(now, in_flight)
        self._bound()

    def on_spurious_loss(self, now: float) -> None:
        """Pass it on."""
        self._inner.on_spurious_loss(now)
        self._bound()

    def on_path_change(self, now: float) -> None:
        """Pass it on."""
        self._inner.on_path_change(now)
        self._bound()

    def on_packet_size(self, size: int) -> None:
        """Pass it on."""
        self._inner.on_packet_size(size)
        self._least = 2 * size
        self._bound()
