"""Closing many handles: those that were given, and no others."""

from __future__ import annotations

import os

import pytest

from p2pxfer.files.closing import close_all


@pytest.mark.parametrize("kept", [(), (0,), (5,), (9,), (0, 1, 4, 6, 9), range(10)])
def test_handles_between_and_beside_them_stay_open(kept):
    """In whatever order they are given."""
    handles = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
    stay = [handles[place] for place in kept]
    go = [fd for fd in handles if fd not in stay]
    close_all(reversed(go))
    for fd in stay:
        os.fstat(fd)
        os.close(fd)
    for fd in go:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
