"""CUBIC, fed with what paths bring."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from p2pxfer.sctp.congestion.cubic import Cubic
from tests.sctp.congestion.path import SIZE, Path


def begun(**path) -> Path:
    made = Path(Cubic(), **path)
    made.control.on_packet_size(SIZE)
    return made


def test_slow_start_doubles():
    """Ten packets, then twice as many each round trip (RFC 9438 section 4.10)."""
    path = begun(rate=250e6)
    assert path.control.window == 10 * SIZE
    path.run(3)
    assert 40 * SIZE < path.control.window <= 160 * SIZE


def test_a_rising_round_trip_ends_slow_start_without_loss():
    """HyStart++ (RFC 9406): the queue isn't filled first."""
    path = begun(queue=2_000_000)
    while path.control._threshold == math.inf:
        path.run(1)
    assert path.backlog < path.queue


def test_a_loss_lowers_the_window_once_a_window():
    """To 0.7 (section 4.6), however many losses one window has."""
    path = begun(queue=0.5 * 250_000)
    peaks = []
    for _ in range(600):
        before = path.control.window
        path.run(1)
        if path.control.window < before:
            peaks.append(path.control.window / before)
    assert len(peaks) > 2
    assert all(0.65 < peak < 0.8 for peak in peaks[1:])


def test_a_queue_keeps_the_path_full():
    """With a round trip's worth of queue nothing of the rate is lost."""
    path = begun(queue=250_000)
    path.run(100)
    assert path.share(300) > 0.97


def test_growth_is_slow_near_the_last_peak():
    """Concave below it, convex beyond (sections 4.4, 4.5)."""
    path = begun(rate=250e6, trip=0.05)
    control = path.control
    path.run(6)
    path.loss = 0.01
    path.run(1)
    path.loss = 0.0
    path.run(2)
    low = control.window
    windows = []
    for _ in range(400):
        path.run(1)
        windows.append(control.window)
    steps = [after - before for before, after in pairwise(windows)]
    slowest = steps.index(min(steps[3:300]))
    assert windows[0] >= low
    assert steps[3] > steps[slowest] < steps[-1]


def test_a_window_that_is_not_used_does_not_grow():
    """Section 5.8."""
    path = begun(queue=250_000)
    path.run(60)
    before = path.control.window
    path.run(60, app_limited=True)
    assert path.control.window == before


def test_a_timeout_begins_again():
    """Two packets, slow start up to 0.7 of what it was; all taken back if it was spurious."""
    path = begun(queue=250_000)
    path.run(60)
    control = path.control
    before = control.window
    control.on_timeout(path.now, 5000)
    assert control.window == 2 * SIZE
    control.on_spurious_loss(path.now)
    assert control.window == before
    control.on_timeout(path.now, 5000)
    path.run(9)
    assert 0.5 * before < control.window < before


def test_flights_are_spread_over_the_round_trip():
    """Twice a window a round trip in slow start, then a quarter more than one."""
    path = begun(rate=250e6)
    path.run(2)
    assert path.control.rate == pytest.approx(2 * path.control.window / path.srtt)
    path.loss = 0.05
    path.run(2)
    assert path.control.rate == pytest.approx(1.25 * path.control.window / path.srtt)


def test_another_path_is_another_slow_start():
    """Nothing is taken over."""
    path = begun(queue=50_000)
    path.run(60)
    path.control.on_path_change(path.now)
    assert path.control.window == 10 * SIZE
    assert path.control.rate == math.inf
