"""Nameplates are short while they can be, and at random."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.rendezvous.server import nameplates


def test_every_short_one_is_drawn_before_a_long_one():
    """Ninety-nine senders at once get one or two digits each, the hundredth four."""
    taken: set[int] = set()
    for _ in range(99):
        taken.add(nameplates.draw(taken, lambda free: free // 2))
    assert taken == set(range(1, 100))
    assert nameplates.draw(taken, lambda _: 0) == 1000
    assert nameplates.draw(taken, lambda free: free - 1) == 9999


@given(st.sets(st.integers(1, 99), max_size=98))
def test_each_free_one_is_equally_likely(taken):
    """Each outcome of the draw is another free nameplate, and all are reached."""
    free = 99 - len(taken)
    drawn = {nameplates.draw(taken, lambda _, at=at: at) for at in range(free)}
    assert drawn == set(range(1, 100)) - taken


def test_three_digits_are_left_to_local_networks():
    """Rooms announced on a LAN are numbered 100 to 999; a rendezvous never draws one."""
    taken = set(range(1, 100)) | set(range(1000, 10_000))
    assert nameplates.draw(taken, lambda _: 0) == 10_000


def test_a_local_rendezvous_draws_what_it_was_told_to():
    """The number that was announced already, and then any other of three digits."""
    tiers = ((412, 412), (100, 999))
    assert nameplates.draw((), lambda _: 0, tiers) == 412
    assert nameplates.draw({412}, lambda free: free - 1, tiers) == 999
    assert nameplates.draw(range(100, 1000), lambda _: 0, tiers) is None
