"""What left together, and stretches of it with one fate.

A `Flight` is one transmission: chunks that left together and share a stamp. A `Run` is a stretch
of consecutive TSNs with one fate: flying, lost or acknowledged. scoreboard.py holds all of them.
"""

from __future__ import annotations

from typing import Final

FLYING: Final = 0
LOST: Final = 1
ACKED: Final = 2


class Flight:
    """Chunks that left together.

    Attributes:
        sent: when, in seconds.
        flying: bytes of it still under way.
        runs: what it carried; runs that were sent again since belong to a later flight.
        delivered: bytes delivered of the whole association when it left.
        delivered_at: when that count was last raised.
        first_sent: when the flight left that began the sample this one will end.
        app_limited: the sender had nothing more to send.
    """

    __slots__ = (
        "app_limited",
        "delivered",
        "delivered_at",
        "first_sent",
        "flying",
        "runs",
        "sent",
    )

    def __init__(self, sent: float) -> None:
        self.sent = sent
        self.flying = 0
        self.runs: list[Run] = []
        self.delivered = 0
        self.delivered_at = self.first_sent = sent
        self.app_limited = False


class Run:
    """Consecutive TSNs of one fate.

    Attributes:
        first: TSN of the first entry.
        entries: one a TSN: whole packets, or bare chunks that were bundled.
        size: bytes of the entries.
        whole: the entries are whole packets.
        flight: the transmission that carried them last.
        state: `FLYING`, `LOST` or `ACKED`.
        tries: how often they were sent.
    """

    __slots__ = ("entries", "first", "flight", "size", "state", "tries", "whole")

    def __init__(
        self, first: int, entries: list[bytes], size: int, flight: Flight, *, whole: bool
    ) -> None:
        self.first = first
        self.entries = entries
        self.size = size
        self.whole = whole
        self.flight = flight
        self.state = FLYING
        self.tries = 1
