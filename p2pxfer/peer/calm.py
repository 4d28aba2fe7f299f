"""Fewer and shorter pauses of the garbage collector while a connection is up.

A full collection looks at every object there is: with a large tree in memory that is a tenth of a
second in which nothing is answered. What exists when a connection comes up is set aside, and the
rest is looked at less often. Counted, since a process can have several connections.
"""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 20, 50)  # objects; rounds; rounds

_before: tuple[int, int, int] | None = None
_users = 0


def begin() -> None:
    """Another connection is up."""
    global _before, _users  # noqa: PLW0603  # there is one collector
    _users += 1
    if _users == 1:
        _before = gc.get_threshold()
        if gc.isenabled():
            gc.freeze()  # garbage with it, which is little: to look for it first takes longer
            gc.set_threshold(*THRESHOLDS)


def end() -> None:
    """One connection less; with the last, all is as before."""
    global _before, _users  # noqa: PLW0603  # as above
    _users -= 1
    if _users == 0 and _before is not None:
        gc.set_threshold(*_before)
        gc.unfreeze()
        _before = None
