"""The interpreter while much passes through it: collections, pages, and turns of its threads.

All three matter to whoever shares the loop's thread with a transfer. Nothing of transfers is known
here.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from typing import Final

# Objects that are made and kept beyond those let go of, until a collection: what passes through a
# transfer has no cycles, and a look at all that is loaded takes tens of milliseconds.
THRESHOLDS: Final = (50_000, 20, 50)
# glibc gives memory back to the system, to have it zeroed and mapped again a moment later, unless
# a block of that size was freed before (mallopt(3), M_MMAP_THRESHOLD). Others don't mind.
PASSING: Final = 24 * 1024 * 1024
# Seconds that a thread which comes back from a system call waits for one that computes, where 5 ms
# are usual. Disk and loop hand over to each other thousands of times a second: 20,000 small files
# took 1.25 times as long, and 1 GiB 1.2 times.
SWITCH: Final = 0.001

# What each transfer under way has found: the collector's thresholds, and the interval.
_before: list[tuple[tuple[int, int, int], float]] = []


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """While a transfer runs; several may."""
    if not _before:
        bytes(PASSING)
        gc.freeze()
    _before.append((gc.get_threshold(), sys.getswitchinterval()))
    gc.set_threshold(*THRESHOLDS)
    sys.setswitchinterval(SWITCH)
    try:
        yield
    finally:
        found, interval = _before.pop()
        if not _before:  # the first that was put there, whichever ends last
            gc.set_threshold(*found)
            gc.unfreeze()
            sys.setswitchinterval(interval)
