"""The model-based control, fed with what paths bring."""

from __future__ import annotations

import math

import pytest

from p2pxfer.sctp.congestion.bbr import Bbr, Mode
from tests.sctp.congestion.path import SIZE, Path


def settled(**path) -> Path:
    """A path whose startup is over."""
    made = Path(Bbr(), **path)
    made.control.on_packet_size(SIZE)
    made.run(40)
    return made


def test_it_begins_as_a_new_connection_may():
    """Ten packets, as they come."""
    control = Bbr()
    control.on_packet_size(SIZE)
    assert control.window == 10 * SIZE
    assert control.rate == math.inf


def test_startup_doubles_and_ends_at_the_rate():
    """It knows the path after a few round trips, and holds no queue then."""
    path = Path(Bbr())
    path.run(16)
    control = path.control
    assert control.mode is not Mode.STARTUP
    assert control.bandwidth == pytest.approx(path.rate, rel=0.05)
    assert control.min_rtt == pytest.approx(0.1, rel=0.05)
    path.run(8)
    assert control.mode is Mode.CRUISE
    assert path.backlog < 0.5 * path.rate * path.trip


def test_it_fills_the_path_and_little_of_the_queue():
    """Nearly all of the rate, with a quarter of a round trip queued at most."""
    path = settled()
    assert path.share(100) > 0.95
    assert max(rtt for _, _, rtt in path.history[-400:]) < 0.14


@pytest.mark.parametrize("loss", [0.001, 0.01, 0.03])
def test_loss_by_chance_costs_what_is_lost(loss):
    """The rate stays."""
    path = settled(loss=loss)
    assert path.share(100) > 0.95 * (1 - loss)


def test_a_full_queue_lowers_what_may_be_in_flight():
    """Much loss after waiting is a queue that overflows; calm rounds raise the cap again."""
    path = settled(queue=60_000)
    control = path.control
    before = control.window
    path.loss = 0.15
    path.run(3)
    lowered = control.window
    assert lowered < before
    assert lowered >= 0.9 * control.bandwidth * control.min_rtt
    path.loss = 0.0
    path.run(60)
    assert control.window > lowered


def test_a_policer_ends_startup():
    """Losing a lot without any queue ends the doubling."""
    path = Path(Bbr(), queue=0)
    path.run(14)
    assert path.control.mode is not Mode.STARTUP
    path.run(40)
    assert path.share(60) > 0.85


def test_a_few_lost_packets_do_not_end_startup():
    """Three of thirty packets are chance."""
    path = Path(Bbr(), rate=250e6, trip=0.05)
    path.run(2)
    path.loss = 0.09
    path.run(1)
    path.loss = 0.0
    path.run(1)
    assert path.control.mode is Mode.STARTUP


def test_the_round_trip_is_looked_for_again():
    """Every ten seconds little is in flight for a fifth of a second."""
    path = settled()
    path.control.min_rtt *= 0.99  # what the path shows is never as low again
    modes = set()
    for _ in range(120):
        path.run(1)
        modes.add(path.control.mode)
    assert Mode.PROBE_RTT in modes
    probing = [window for _, window, _ in path.history if window < 0.6 * path.rate * path.trip]
    assert probing
    path.run(10)
    assert path.control.mode is Mode.CRUISE


def test_nothing_is_probed_where_the_loop_decides_the_window():
    """Within one machine the round trip is below what a loop can tell."""
    path = settled(rate=300e6, trip=0.002)
    for _ in range(11_000):
        path.run(1)
        if path.now > 32:
            break
        assert path.control.mode is not Mode.PROBE_RTT
    assert path.control.window >= 0.005 * path.control.bandwidth


def test_more_room_is_found_within_seconds():
    """The rate rises tenfold: asked for more and given more, it asks again at once."""
    path = settled(rate=250_000.0, trip=0.05)
    path.rate *= 10
    path.run(60)
    assert path.control.bandwidth > 0.9 * path.rate


def test_less_room_is_found_within_ten_round_trips():
    """What was delivered long ago is forgotten."""
    path = settled()
    path.rate /= 4
    path.run(30)
    assert path.control.bandwidth == pytest.approx(path.rate, rel=0.1)


def test_a_sender_with_nothing_to_say_says_nothing_of_the_path():
    """Samples of pauses never lower the model."""
    path = settled()
    path.run(3, app_limited=True)
    bandwidth = path.control.bandwidth
    slow = Path(path.control, rate=path.rate / 10, now=path.now, delivered=path.delivered)
    slow.run(5, app_limited=True)
    assert path.control.bandwidth == bandwidth


def test_a_timeout_shrinks_the_window_for_a_moment():
    """It grows with what is delivered, up to what it was; at once if nothing had been lost."""
    path = settled()
    control = path.control
    before = control.window
    control.on_timeout(path.now, 3000)
    assert control.window == 4 * SIZE
    control.on_spurious_loss(path.now)
    assert control.window == before
    control.on_timeout(path.now, 3000)
    path.run(12)
    assert control.window >= 0.9 * before


def test_another_path_is_another_startup():
    """Nothing is taken over."""
    path = settled()
    path.control.on_path_change(path.now)
    assert path.control.mode is Mode.STARTUP
    assert path.control.window == 10 * SIZE
    assert path.control.rate == math.inf


def test_bursts_are_a_millisecond_or_two_packets():
    """Timers are no finer."""
    path = settled(rate=25e6)
    assert path.control.quantum == pytest.approx(0.001 * path.control.rate, rel=0.01)
    path = settled(rate=125_000.0)
    assert path.control.quantum == 2 * SIZE


def test_samples_of_a_round_that_lost_too_much_always_count():
    """Also while this end is too slow to fill the path: else the model could only rise."""
    path = settled(rate=2_500_000.0)
    path.rate /= 2
    path.loss = 0.2
    path.run(20, app_limited=True)
    assert path.control.bandwidth < 1_500_000
