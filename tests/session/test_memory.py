"""The interpreter while transfers run."""

from __future__ import annotations

import gc
import sys

from p2pxfer.session.memory import SWITCH, THRESHOLDS, steady


def test_several_transfers_share_what_the_first_has_set():
    """The last to end puts back what the first has found, in whatever order they end."""
    found, interval = gc.get_threshold(), sys.getswitchinterval()
    one, two = steady(), steady()
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    assert gc.get_threshold() == THRESHOLDS
    assert gc.get_freeze_count() > 0
    assert abs(sys.getswitchinterval() - SWITCH) < 1e-5  # the interpreter rounds it
    two.__exit__(None, None, None)
    assert gc.get_threshold() == found
    assert sys.getswitchinterval() == interval
    assert gc.get_freeze_count() == 0
