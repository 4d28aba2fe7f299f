"""The end of slow start."""

from __future__ import annotations

from p2pxfer.sctp.congestion.hystart import HyStart


def rounds(start: HyStart, rtt: float, count: int = 1) -> None:
    for _ in range(count):
        start.on_round()
        for _ in range(8):
            start.on_sample(rtt, 1)


def test_a_steady_round_trip_lets_it_double():
    """Nothing rises, nothing ends."""
    start = HyStart()
    rounds(start, 0.05, 20)
    assert (start.divisor, start.done) == (1, False)


def test_a_rise_slows_it_and_five_rounds_later_it_ends():
    """RFC 9406 section 4.2."""
    start = HyStart()
    rounds(start, 0.05, 2)
    rounds(start, 0.06)
    assert (start.divisor, start.done) == (4, False)
    rounds(start, 0.06, 4)
    assert not start.done
    rounds(start, 0.06)
    assert start.done


def test_a_rise_that_goes_away_was_chance():
    """The round trip falls below where it was when growth was slowed."""
    start = HyStart()
    rounds(start, 0.05, 2)
    rounds(start, 0.06)
    rounds(start, 0.05)
    assert (start.divisor, start.done) == (1, False)


def test_few_samples_say_nothing():
    """Fewer than eight packets in a round are no measurement."""
    start = HyStart()
    rounds(start, 0.05, 2)
    start.on_round()
    start.on_sample(0.2, 7)
    assert start.divisor == 1
    start.on_sample(0.2, 1)
    assert start.divisor == 4


def test_the_rise_that_counts_is_between_four_and_sixteen_milliseconds():
    """An eighth of the round trip, within bounds."""
    for rtt, least in ((0.001, 0.004), (0.08, 0.01), (1.0, 0.016)):
        start = HyStart()
        rounds(start, rtt, 2)
        rounds(start, rtt + least - 0.0001)
        assert start.divisor == 1
        start = HyStart()
        rounds(start, rtt, 2)
        rounds(start, rtt + least + 0.0001)
        assert start.divisor == 4
