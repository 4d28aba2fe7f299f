"""How a connection holds itself back: what its user set, and what the other side asked for.

Whoever sends obeys both, so that a receiver can keep its own line free. Nothing is known here of
sockets, or of how the wish reaches the other side.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct, field

from p2pxfer.sctp.congestion.bbr import Bbr
from p2pxfer.sctp.congestion.controller import Controller
from p2pxfer.sctp.congestion.ledbat import Ledbat
from p2pxfer.sctp.congestion.limit import Limit, Limited

__all__ = ["FREE", "Limit", "Restraint", "ceiling", "control"]


class Restraint(Struct, frozen=True):
    """One side's wish.

    Attributes:
        limit: bytes per second by the time of the day.
        background: whatever else uses the network goes first.
    """

    limit: Limit = field(default_factory=Limit)
    background: bool = False

    def abroad(self) -> Restraint:
        """The same with its times in UTC, for a side that has other clocks."""
        return Restraint(self.limit.shifted(-_ahead()), self.background)


def _ahead() -> int:
    """Minutes that this machine's clock is ahead of UTC."""
    offset = datetime.now().astimezone().utcoffset()
    return int(offset.total_seconds() // 60) if offset is not None else 0


FREE: Final = Restraint()


def ceiling(own: Restraint, far: Restraint) -> Callable[[], float]:
    """What tells how many bytes a second both allow now; ``far`` has its times in UTC."""

    def rate() -> float:
        here, there = datetime.now().astimezone(), datetime.now(UTC)
        return min(own.limit.rate_at(here.time()), far.limit.rate_at(there.time()))

    return rate


def control(own: Restraint, far: Restraint) -> Controller:
    """The congestion control that keeps to both; ``far`` has its times in UTC."""
    inner: Controller = Ledbat() if own.background or far.background else Bbr()
    if not own.limit.spans and not far.limit.spans:
        return inner
    return Limited(inner, ceiling(own, far))
