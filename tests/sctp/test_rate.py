"""Delivery rates of paths that are known."""

from itertools import pairwise

import pytest

from p2pxfer.sctp.flights import Flight
from p2pxfer.sctp.rate import DeliveryRate


def play(rate, *, bandwidth, trip, burst, count, idle_at=None):
    """Flights that leave as fast as the path takes them; returns samples with what they knew."""
    samples, flying, now = [], [], 0.0
    in_flight = 0
    for n in range(count):
        if idle_at == n:
            rate.limited(in_flight)
            now += 1.0
        while flying and flying[0][0] <= now:
            at, size, flight = flying.pop(0)
            in_flight -= size
            rate.acknowledge(size, at)
            samples.append(
                (rate.sample(flight, at, trip), flight.app_limited, rate.round_start(flight))
            )
        flight = Flight(now)
        rate.stamp(flight, in_flight)
        flying.append((now + trip, burst, flight))
        in_flight += burst
        now += burst / bandwidth
    return samples


def test_a_steady_path_is_measured_exactly():
    """Once a round trip has passed."""
    samples = play(DeliveryRate(0.0), bandwidth=1e6, trip=0.1, burst=5000, count=200)
    assert all(sample == pytest.approx(1e6) for sample, _, _ in samples[40:])


def test_rounds_are_as_long_as_the_path():
    """One a round trip."""
    samples = play(DeliveryRate(0.0), bandwidth=1e6, trip=0.1, burst=5000, count=200)
    rounds = [n for n, (_, _, start) in enumerate(samples) if start]
    assert all(later - earlier == 20 for earlier, later in pairwise(rounds[2:]))


def test_a_pause_of_the_sender_marks_what_follows():
    """What was sent after it says little of the path, until it was delivered."""
    rate = DeliveryRate(0.0)
    samples = play(rate, bandwidth=1e6, trip=0.1, burst=5000, count=200, idle_at=50)
    marked = [n for n, (_, limited, _) in enumerate(samples) if limited]
    assert marked
    assert marked[0] >= 49
    assert marked[-1] < 120


def test_compressed_reports_are_no_sample():
    """Shorter than the path can be, so that they would claim too much."""
    rate = DeliveryRate(0.0)
    flight = Flight(1.0)
    rate.stamp(flight, 0)
    rate.acknowledge(10_000, 1.01)
    assert rate.sample(flight, 1.01, 0.1) is None
