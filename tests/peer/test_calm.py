"""The garbage collector's pauses while connections are up."""

from __future__ import annotations

import gc

from p2pxfer.peer import calm


def test_all_is_as_before_once_the_last_connection_is_gone():
    """However many there were."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    calm.begin()
    calm.begin()
    assert gc.get_threshold() == calm.THRESHOLDS
    assert gc.get_freeze_count() > frozen
    calm.end()
    assert gc.get_threshold() == calm.THRESHOLDS
    calm.end()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


def test_a_collector_that_is_off_stays_off():
    """Whoever embeds this may have reasons."""
    gc.disable()
    try:
        before = gc.get_threshold()
        calm.begin()
        assert gc.get_threshold() == before
        calm.end()
        assert not gc.isenabled()
    finally:
        gc.enable()
