"""Closing many handles in few system calls.

Each call costs a turn of the interpreter's lock beside its own time, and small files are closed by
the thousand. Whose handles they are is not known here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable


def close_all(handles: Iterable[int]) -> None:
    """Close them, each once; what closing would tell of is not told (`os.closerange`).

    Handles beside one another, as those that were opened one after another are, go together.
    """
    first = last = -1
    for fd in sorted(handles):
        if fd != last + 1 or first < 0:
            if first >= 0:
                os.closerange(first, last + 1)
            first = fd
        last = fd
    if first >= 0:
        os.closerange(first, last + 1)
