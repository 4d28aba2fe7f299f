"""Rates that a user sets."""

from __future__ import annotations

import math
from datetime import time

import pytest

from p2pxfer.sctp.congestion.bbr import Bbr
from p2pxfer.sctp.congestion.limit import Limit, Limited
from tests.sctp.congestion.path import SIZE, Path

NOON = time(12, 0)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2M", 2e6),
        ("2MB/s", 2e6),
        ("1.5m", 1.5e6),
        ("500k", 500e3),
        ("2MiB", 2 * 1024**2),
        ("1Gi", 1024**3),
        ("1000000", 1e6),
        ("off", math.inf),
    ],
)
def test_rates_are_bytes_per_second(text, rate):
    """Thousands, or 1,024s with an i, as sizes are everywhere else."""
    assert Limit.parse(text).rate_at(NOON) == rate


def test_a_timetable_counts_the_first_that_fits():
    """By day slow, else free."""
    limit = Limit.parse("08:00-18:00=2M, *=off")
    assert limit.rate_at(time(7, 59)) == math.inf
    assert limit.rate_at(time(8, 0)) == 2e6
    assert limit.rate_at(time(17, 59, 59)) == 2e6
    assert limit.rate_at(time(18, 0)) == math.inf


def test_a_time_may_cross_midnight():
    """22:00-06:00 is the night; beyond the timetable nothing is limited."""
    limit = Limit.parse("22:00-06:00=5M,6:00-24:00=1M")
    assert limit.rate_at(time(23, 0)) == limit.rate_at(time(5, 59)) == 5e6
    assert limit.rate_at(time(21, 59)) == 1e6
    assert Limit.parse("22:00-06:00=5M").rate_at(NOON) == math.inf


@pytest.mark.parametrize(
    "text",
    ["", ",", "fast", "2X", "-1M", "0", "10", "8-18=2M", "25:00-26:00=1M", "08:60-09:00=1M",
     "08:00-08:00=1M", "08:00-18:00", "2M,*=off", "*=", "=2M", "nan", "1e6"],
)  # fmt: skip
def test_anything_else_is_refused(text):
    """With a message for people."""
    with pytest.raises(ValueError, match=r"\w"):
        Limit.parse(text)


def test_a_limited_control_never_paces_beyond():
    """The path is faster; the limit rules, and what is below it is the inner control's."""
    limit = [500_000.0]
    path = Path(Limited(Bbr(), lambda: limit[0]))
    path.control.on_packet_size(SIZE)
    for _ in range(60):
        path.run(1)
        assert path.control.rate <= 500_000.0
    assert 0.19 < path.share(100) < 0.2001
    limit[0] = math.inf
    path.run(100)
    assert path.share(50) > 0.9


def test_everything_else_reaches_the_inner_control():
    """Timeouts, losses that were none, another path, another size."""
    inner = Bbr()
    path = Path(Limited(inner, lambda: 1e9))
    path.control.on_packet_size(SIZE)
    path.run(30)
    path.control.on_timeout(path.now, 0)
    assert path.control.window == inner.window == 4 * SIZE
    path.control.on_spurious_loss(path.now)
    assert path.control.window == inner.window > 4 * SIZE
    path.control.on_path_change(path.now)
    assert path.control.window == inner.window == 10 * SIZE


def test_bursts_shrink_with_the_rate():
    """A slow limit does not send the quantum of a fast path at once."""
    path = Path(Limited(Bbr(), lambda: 100_000.0), rate=250e6)
    path.control.on_packet_size(SIZE)
    path.run(20)
    assert path.control.quantum <= 2 * SIZE
