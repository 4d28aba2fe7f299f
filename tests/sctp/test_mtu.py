"""The search for the packet size (RFC 8899)."""

from __future__ import annotations

import pytest

from p2pxfer.sctp.mtu import PathMtu, State

SIZES = (1172, 1252, 1372, 1424, 1444, 4000)


class Road:
    """A path that takes packets up to a size, and a clock."""

    def __init__(self, mtu: int):
        self.mtu = mtu
        self.now = 100.0
        self.search = PathMtu(SIZES)
        self.probes = []

    def search_on(self, seconds: float = 60.0) -> None:
        """Answer probes, or let them get lost, until none is due for so long."""
        end = self.now + seconds
        while True:
            size = self.search.probe(self.now)
            if size is not None:
                self.probes.append(size)
                if size <= self.mtu:
                    self.now += 0.05
                    self.search.on_probe_acked(size, self.now)
                else:
                    self.now += 1.0
                    self.search.on_probe_lost(size, self.now)
                continue
            due = self.search.deadline()
            if due is None or due > end:
                return
            self.now = due


def test_it_begins_at_the_base():
    """Data may leave before anything was probed."""
    search = PathMtu(SIZES)
    assert (search.size, search.state) == (1172, State.BASE)
    assert search.deadline() is not None
    assert search.probe(0.0) == 1172


@pytest.mark.parametrize(("mtu", "size"), [(1172, 1172), (1300, 1252), (1444, 1444), (9000, 4000)])
def test_it_finds_what_passes(mtu, size):
    """One step at a time, up to what gets lost."""
    road = Road(mtu)
    road.search_on()
    assert (road.search.size, road.search.state) == (size, State.COMPLETE)


def test_three_probes_of_a_size_are_lost_before_it_counts_as_too_large():
    """Chance takes one or two."""
    road = Road(1444)
    road.search_on()
    assert road.probes.count(4000) == 3
    search = PathMtu(SIZES)
    search.on_probe_acked(1172, 0.0)
    search.on_probe_lost(1252, 1.0)
    search.on_probe_lost(1252, 2.0)
    assert search.probe(2.0) == 1252
    search.on_probe_acked(1252, 2.1)
    assert search.size == 1252


def test_after_ten_minutes_larger_sizes_are_tried_again():
    """The raise timer of section 5.1.1."""
    road = Road(1300)
    road.search_on()
    assert road.search.deadline() == pytest.approx(road.now + 600.0)
    assert road.search.probe(road.now + 599) is None
    road.mtu = 1444
    road.now += 600.0
    road.search_on()
    assert road.search.size == 1444


def test_with_nothing_larger_to_try_nothing_is_due():
    """The top of the ladder."""
    road = Road(9000)
    road.search_on()
    assert road.search.deadline() is None
    assert road.search.probe(1e9) is None


def test_two_timeouts_of_large_packets_tell_a_black_hole():
    """Back to the base, and up again to what passes now."""
    road = Road(9000)
    road.search_on()
    road.mtu = 1400
    road.search.on_timeout(road.now, 4000)
    assert road.search.size == 4000
    road.search.on_timeout(road.now + 0.5, 4000)
    assert road.search.size == 1172
    road.search_on()
    assert road.search.size == 1372


def test_timeouts_of_small_packets_or_long_ago_tell_nothing():
    """A lossy path is no black hole."""
    road = Road(9000)
    road.search_on()
    for late in range(5):
        road.search.on_timeout(road.now + late, 1172)
        road.search.on_timeout(road.now + 100 * late, 1444)
    assert road.search.size == 4000


def test_not_even_the_base_passes():
    """Then packets are of the least size, until the base does."""
    road = Road(600)
    search = road.search
    for _ in range(3):
        size = search.probe(road.now)
        assert size == 1172
        road.now += 1.0
        search.on_probe_lost(size, road.now)
    assert (search.size, search.state) == (508, State.ERROR)
    assert search.probe(road.now) is None
    due = search.deadline()
    assert due is not None
    road.now = due
    assert search.probe(road.now) == 1172
    search.on_probe_lost(1172, road.now)
    assert search.state is State.ERROR
    road.mtu = 1444
    road.search_on()
    assert (search.size, search.state) == (1444, State.COMPLETE)


def test_another_path_is_searched_from_the_base():
    """What passed before says nothing."""
    road = Road(9000)
    road.search_on()
    road.search.on_path_change(road.now)
    assert (road.search.size, road.search.state) == (1172, State.BASE)
    road.mtu = 1300
    road.search_on()
    assert road.search.size == 1252


def test_answers_to_what_was_not_asked_change_nothing():
    """Sizes that are not on the ladder, or not being tried."""
    search = PathMtu(SIZES)
    search.on_probe_acked(1234, 0.0)
    search.on_probe_lost(4000, 0.0)
    assert (search.size, search.state) == (1172, State.BASE)
