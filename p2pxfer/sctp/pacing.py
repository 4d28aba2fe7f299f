"""When flights leave: a bucket of bytes that fills at the controller's rate.

Event loops round timers up to a millisecond, so bytes leave in bursts of at least a quantum, and
what a late timer cost is caught up with, up to an eighth of a round trip within `CATCH_UP` and
`CATCH_UP_MOST`: on a busy machine, where timers are 10 ms late, 2 ms alone halved the rate of a
50 ms path, while bursts of a whole delay would overflow short queues. No timer runs here.
"""

from __future__ import annotations

import math
from typing import Final

from p2pxfer.sctp.congestion.controller import Controller

CATCH_UP: Final = 0.002  # seconds of lateness that are made good in any case
CATCH_UP_MOST: Final = 0.01
WINDOW_SHARE: Final = 16  # of the window, which is two round trips' worth
TICK: Final = 0.001  # seconds; no two waits end nearer to each other
ENDLESS: Final = 1 << 30


class Pacer:
    """The bucket of one association.

    Attributes:
        late: this end was so late after `ready_at` that not all is caught up with: what is
            delivered now says nothing of the path.
    """

    __slots__ = (
        "_began",
        "_burst",
        "_bursting",
        "_due",
        "_filled_at",
        "_quantum",
        "_rate",
        "_tokens",
        "late",
    )

    def __init__(self) -> None:
        self._tokens = math.inf  # the first burst is a whole one
        self._filled_at = 0.0
        self._rate = math.inf
        self._quantum = 0
        self._began = 0.0
        self._burst = 0.0  # what is left of the present one
        self._bursting = False
        self._due = math.inf
        self.late = False

    def allowance(self, now: float, controller: Controller) -> int:
        """Bytes that may leave now; 0 until a whole quantum may, then all of it, in parts too.

        What flows in within a millisecond waits for the next one: to send a part takes as long as
        another packet needs to flow in, and they would leave one by one without an end.
        """
        rate = controller.rate
        self._rate = rate
        if rate == math.inf:
            self._tokens = math.inf
            self._filled_at = now
            self.late = False
            return ENDLESS
        quantum = self._quantum = controller.quantum
        tokens = self._tokens + (now - self._filled_at) * rate
        catch_up = min(max(CATCH_UP * rate, controller.window / WINDOW_SHARE), CATCH_UP_MOST * rate)
        most = quantum + catch_up
        self.late = tokens > most and now > self._due
        tokens = min(tokens, most)
        self._tokens = tokens
        self._filled_at = now
        if self._bursting and now - self._began < TICK:
            return max(0, int(self._burst))
        if not self._bursting and tokens < quantum - 1:  # one byte, since times are rounded
            return 0
        self._bursting = True
        self._began = now
        self._burst = tokens
        self._due = math.inf
        return max(0, int(tokens))

    def blocked(self) -> None:
        """Something else keeps flights from leaving, so nobody waits for `ready_at`."""
        self._due = math.inf

    def sent(self, now: float, size: int) -> None:  # noqa: ARG002  # a seam
        """Bytes left; more than allowed is paid back later."""
        self._tokens -= size
        self._burst -= size

    def ready_at(self, now: float) -> float:
        """When a whole quantum may leave again; ends the burst."""
        self._bursting = False
        missing = self._quantum - self._tokens
        if missing <= 0:
            due = now
        elif self._rate > 0:
            due = now + max(missing / self._rate, TICK)
        else:
            due = now + 1.0
        self._due = due
        return due
