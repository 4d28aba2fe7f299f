"""When flights leave."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pxfer.sctp.pacing import Pacer


@dataclass
class Control:
    """As much of a control as a pacer looks at."""

    rate: float
    quantum: int
    window: int = 0


def test_without_a_rate_all_may_leave():
    """Before anything is measured."""
    pacer = Pacer()
    assert pacer.allowance(0.0, Control(math.inf, 1)) > 1 << 20


def test_the_first_quantum_leaves_at_once_and_the_next_in_its_time():
    """One quantum, then as fast as the rate says."""
    control = Control(1e6, 10_000)
    pacer = Pacer()
    first = pacer.allowance(5.0, control)
    assert first >= 10_000
    pacer.sent(5.0, first)
    assert pacer.allowance(5.0, control) == 0
    ready = pacer.ready_at(5.0)
    assert ready == pytest.approx(5.01, abs=1e-6)
    assert pacer.allowance(ready - 0.001, control) == 0
    assert pacer.allowance(ready, control) >= 9_999


def test_a_burst_may_leave_in_parts():
    """One transmission takes 64 packets at most: the rest of the quantum follows at once."""
    control = Control(100e6, 100_000)
    pacer = Pacer()
    allowed = pacer.allowance(0.0, control)
    pacer.sent(0.0, 40_000)
    assert pacer.allowance(0.0, control) == allowed - 40_000


def test_what_flows_in_while_a_burst_leaves_is_of_the_next_one():
    """Else each packet sent would let another one go, one by one without an end."""
    control = Control(25e6, 25_000)
    pacer = Pacer()
    allowed = pacer.allowance(0.0, control)
    pacer.sent(0.0, 20_000)
    assert pacer.allowance(0.0002, control) == allowed - 20_000
    pacer.sent(0.0002, allowed - 20_000)
    assert pacer.allowance(0.0004, control) == 0
    ready = pacer.ready_at(0.0004)
    assert ready >= 0.0014
    assert pacer.allowance(ready, control) >= 25_000


def test_what_was_missed_is_caught_up_with_for_two_milliseconds():
    """A loop that was late sends more once, and no more than that."""
    control = Control(10e6, 10_000)
    pacer = Pacer()
    pacer.sent(0.0, pacer.allowance(0.0, control))
    assert pacer.allowance(0.002, control) == pytest.approx(20_000, abs=2)
    assert pacer.allowance(9.0, control) == pytest.approx(30_000, abs=2)


def test_more_is_caught_up_with_where_round_trips_are_long():
    """An eighth of one, as the window tells, and 10 ms at most."""
    for window, caught_up in ((0, 0.002), (80_000, 0.005), (1 << 30, 0.01)):
        control = Control(1e6, 10_000, window)
        pacer = Pacer()
        pacer.sent(0.0, pacer.allowance(0.0, control))
        pacer.ready_at(0.0)
        assert pacer.allowance(9.0, control) == pytest.approx(10_000 + caught_up * 1e6, abs=2)


def test_lateness_of_this_end_is_told_from_a_full_window():
    """Nobody was waiting for the pacer while the window was full."""
    control = Control(1e6, 10_000)
    pacer = Pacer()
    for blocked in (False, True):
        now = pacer.ready_at(0.0) + 1
        pacer.sent(now, pacer.allowance(now, control))
        pacer.ready_at(now)
        if blocked:
            pacer.blocked()
        assert pacer.allowance(now + 0.5, control)
        assert pacer.late is not blocked
    pacer.sent(99.0, pacer.allowance(99.0, control))
    ready = pacer.ready_at(99.0)
    assert pacer.allowance(ready + 0.001, control)
    assert not pacer.late


def test_what_was_sent_too_much_is_paid_back():
    """A packet larger than the allowance delays the next."""
    control = Control(1e6, 1000)
    pacer = Pacer()
    pacer.sent(0.0, pacer.allowance(0.0, control) + 5000)
    assert pacer.ready_at(0.0) == pytest.approx(0.006)


def test_two_waits_are_a_tick_apart():
    """A timer finer than a millisecond would spin."""
    control = Control(1e9, 2000)
    pacer = Pacer()
    pacer.sent(0.0, pacer.allowance(0.0, control))
    assert pacer.allowance(0.0, control) == 0
    assert pacer.ready_at(0.0) >= 0.001


@settings(deadline=None)
@given(
    rate=st.floats(1e4, 1e9),
    late=st.lists(st.floats(0, 0.01), min_size=20, max_size=60),
)
def test_the_rate_is_never_exceeded_but_by_a_burst(rate, late):
    """However late the timer fires: the rate, a quantum and what is caught up with."""
    control = Control(rate, max(2400, int(rate / 1000)))
    pacer = Pacer()
    now, sent = 1.0, 0
    for delay in late:
        allowed = pacer.allowance(now, control)
        if allowed:
            pacer.sent(now, allowed)
            sent += allowed
            assert pacer.allowance(now, control) == 0
        now = pacer.ready_at(now) + delay
        assert sent <= (now - 1.0) * rate + control.quantum + 0.002 * rate + 1
