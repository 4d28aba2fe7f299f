"""Which packet size the path takes: DPLPMTUD (RFC 8899) over a ladder of sizes.

A step up is tried with one probe at a time, which is padding, so that no data is lost when it
fails; routers' messages are never trusted or needed. Timeouts of large packets tell a black hole.
How a probe looks and when it counts as lost is probing.py's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import Final

MAX_PROBES: Final = 3  # probes of one size that may get lost (RFC 8899 section 5.1.2)
RAISE: Final = 600.0  # seconds until sizes that failed are tried again (section 5.1.1)
LEAST: Final = 508  # SCTP packet that fits an IPv4 datagram of 576 bytes under DTLS
AGAIN: Final = 2.0  # seconds between probes of the base while not even that passes
BLACK_HOLE: Final = 2  # timeouts of large packets in a row that tell a black hole
MEMORY: Final = 15.0  # seconds within which timeouts are in a row


class State(Enum):
    """Phases of the search (RFC 8899 section 5.2)."""

    BASE = "base"
    SEARCHING = "searching"
    COMPLETE = "complete"
    ERROR = "error"


class PathMtu:
    """The search over one path.

    Args:
        sizes: of SCTP packets to try, smallest first; the first is taken to pass until it is
            known not to.

    Attributes:
        size: bytes of the SCTP packets to send now.
        state: how far the search is.
    """

    __slots__ = ("_due", "_lost", "_next", "_sizes", "_timed_out_at", "_timeouts", "size", "state")

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = tuple(sizes)
        self._restart(0.0)

    def _restart(self, now: float) -> None:
        self.size = self._sizes[0]
        self.state = State.BASE
        self._next = 0  # index of the size that is tried
        self._lost = 0
        self._due = now
        self._timeouts = 0
        self._timed_out_at = -math.inf

    def probe(self, now: float) -> int | None:
        """The size to try now, if there is one."""
        if now < self._due:
            return None
        if self.state is State.COMPLETE:
            self.state = State.SEARCHING
            self._lost = 0
        return self._sizes[self._next]

    def deadline(self) -> float | None:
        """When `probe` will have a size; None: never."""
        return self._due if self._due < math.inf else None

    def on_probe_acked(self, size: int, now: float) -> None:
        """A probe of a size arrived."""
        if size not in self._sizes:
            return
        index = self._sizes.index(size)
        self._lost = self._timeouts = 0
        if size >= self.size or self.state is State.ERROR:
            self.size = size
            self._next = index + 1
        if self._next < len(self._sizes):
            self.state = State.SEARCHING
            self._due = now
        else:
            self.state = State.COMPLETE
            self._due = math.inf

    def on_probe_lost(self, size: int, now: float) -> None:
        """Nothing was heard of a probe."""
        if self._next >= len(self._sizes) or size != self._sizes[self._next]:
            return
        self._lost += 1
        if self.state is State.ERROR:
            self._due = now + AGAIN
        elif self._lost < MAX_PROBES:
            self._due = now
        elif self.state is State.BASE:
            self.state = State.ERROR
            self.size = min(LEAST, self._sizes[0])
            self._due = now + AGAIN
        else:
            self.state = State.COMPLETE
            self._due = now + RAISE

    def on_timeout(self, now: float, size: int) -> None:
        """A packet of ``size`` bytes was given up after long silence (section 4.3)."""
        if size <= self._sizes[0]:
            return
        self._timeouts = self._timeouts + 1 if now - self._timed_out_at < MEMORY else 1
        self._timed_out_at = now
        if self._timeouts >= BLACK_HOLE and self.size > self._sizes[0]:
            self._restart(now)

    def on_path_change(self, now: float) -> None:
        """Packets take another path: begin again."""
        self._restart(now)
