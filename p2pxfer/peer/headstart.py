"""The time that direct pairs of addresses get before relayed ones are tried.

A relay answers at once, and the first pair that works is taken: without this, direct paths would
lose to it. A direct address that becomes known late gets its time, too, within a limit.
"""

from __future__ import annotations

import asyncio

HEAD_START = 1.0  # seconds since the latest direct address; a check that is lost repeats after 0.5
LONGEST = 3.0  # seconds since checks began: a relay is to be found within five


class HeadStart:
    """Counts from `begin`.

    Attributes:
        over: set once relayed pairs may be tried.
    """

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self._began: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Checks begin now."""
        self._began = asyncio.get_running_loop().time()
        self.extend()

    def extend(self) -> None:
        """A direct address has become known."""
        if self._began is None or self.over.is_set():
            return
        self.stop()
        loop = asyncio.get_running_loop()
        end = min(loop.time() + HEAD_START, self._began + LONGEST)
        self._timer = loop.call_at(end, self.over.set)

    def stop(self) -> None:
        """Checks are over: whoever waits goes on waiting."""
        if self._timer is not None:
            self._timer.cancel()
