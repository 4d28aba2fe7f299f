"""When flights leave: a bucket of bytes that fills at the controller's rate.

Event loops round timers up to a millisecond, so bytes leave in bursts of at least a quantum, and
what a late timer cost is caught up with, up to `CATCH_UP`. No timer runs here.
"""

from __future__ import annotations

import math
from typing import Final

from p2pxfer.sctp.congestion.controller import Controller

CATCH_UP: Final = 0.002  # seconds of lateness that are made good
TICK: Final = 0.001  # seconds; no two waits end nearer to each other
ENDLESS: Final = 1 << 30


class Pacer:
    """The bucket of one association."""

    __slots__ = ("_bursting", "_filled_at", "_quantum", "_rate", "_tokens")

    def __init__(self) -> None:
        self._tokens = math.inf  # the first burst is a whole one
        self._filled_at = 0.0
        self._rate = math.inf
        self._quantum = 0
        self._bursting = False

    def allowance(self, now: float, controller: Controller) -> int:
        """Bytes that may leave now; 0 until a whole quantum may, then all of it, in parts too."""
        rate = controller.rate
        self._rate = rate
        if rate == math.inf:
            self._tokens = math.inf
            self._filled_at = now
            return ENDLESS
        quantum = self._quantum = controller.quantum
        tokens = self._tokens + (now - self._filled_at) * rate
        most = quantum + CATCH_UP * rate
        tokens = min(tokens, most)
        self._tokens = tokens
        self._filled_at = now
        if self._bursting:
            return int(tokens) if tokens > 0 else 0
        if tokens < quantum - 1:  # one byte, since times are rounded
            return 0
        self._bursting = True
        return int(tokens)

    def sent(self, now: float, size: int) -> None:  # noqa: ARG002  # a seam
        """Bytes left; more than allowed is paid back later."""
        self._tokens -= size

    def ready_at(self, now: float) -> float:
        """When a whole quantum may leave again; ends the burst."""
        self._bursting = False
        missing = self._quantum - self._tokens
        if missing <= 0:
            return now
        if not self._rate > 0:
            return now + 1.0
        return now + max(missing / self._rate, TICK)
