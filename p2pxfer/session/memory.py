"""Memory while much passes through it: fewer collections, and pages that are not given back.

Both matter to whoever shares the loop's thread with a transfer. Nothing of transfers is known here.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Final

# Objects that are made and kept beyond those let go of, until a collection: what passes through a
# transfer has no cycles, and a look at all that is loaded takes tens of milliseconds.
THRESHOLDS: Final = (10_000, 20, 50)
# glibc gives memory back to the system, to have it zeroed and mapped again a moment later, unless
# a block of that size was freed before (mallopt(3), M_MMAP_THRESHOLD). Others don't mind.
PASSING: Final = 24 * 1024 * 1024

_before: list[tuple[int, int, int]] = []  # the thresholds that each transfer under way has found


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """While a transfer runs; several may."""
    if not _before:
        bytes(PASSING)
        gc.freeze()
    _before.append(gc.get_threshold())
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        found = _before.pop()
        if not _before:  # the first that was put there, whichever ends last
            gc.set_threshold(*found)
            gc.unfreeze()
