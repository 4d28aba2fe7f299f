"""What each congestion control reaches in the long run, on links where it matters.

Shares are of the link's bits as user data, of which headers leave 93 %. The whole table, with
plots, is docs/congestion.md.
"""

from __future__ import annotations

import pytest

from tests.sctp.controllers import LIMIT
from tests.sctp.steady import Bottleneck, measure

SHARED = Bottleneck(megabits=10, trip=100, queue=2)


@pytest.mark.parametrize(
    ("loss", "least"), [(0.0, 0.88), (0.001, 0.85), (0.01, 0.80), (0.03, 0.60)]
)
def test_bbr_keeps_its_rate_whatever_the_loss(loss, least):
    """Loss by chance takes little more than what is lost."""
    measured = measure(Bottleneck(megabits=40, trip=50, loss=loss), "bbr", warm_up=4.0, seconds=6.0)
    assert measured.share >= least


def test_bbr_keeps_a_deep_queue_short():
    """A modem that could hold seconds holds little."""
    measured = measure(Bottleneck(megabits=10, trip=40, queue=25), "bbr", seconds=15.0)
    assert measured.share > 0.88
    assert measured.wait < 40


def test_bbr_leaves_no_queue_standing_where_one_acknowledgement_covers_many_packets():
    """200 Mbit/s: they come a millisecond apart, and each says a little more than is true."""
    measured = measure(Bottleneck(megabits=200, trip=50), "bbr", warm_up=2.0, seconds=3.0)
    assert measured.share > 0.9
    assert measured.wait < 12


def test_reordering_is_not_taken_for_loss():
    """With 5 % of the packets late, four fifths of the rate remain."""
    plain = measure(Bottleneck(megabits=20, trip=40), "bbr", seconds=8.0)
    late = measure(Bottleneck(megabits=20, trip=40, reordered=0.05), "bbr", seconds=8.0)
    assert late.share >= 0.8 * plain.share


@pytest.mark.parametrize("controller", ["bbr", "cubic"])
def test_beside_tcp_both_live(controller):
    """Neither starves, and the queue is no longer than with two TCP flows."""
    two = measure(SHARED, None, tcp=2, warm_up=10.0, seconds=50.0)
    mixed = measure(SHARED, controller, tcp=1, warm_up=10.0, seconds=50.0)
    assert 0.2 < mixed.share < 0.75
    assert 0.2 < mixed.tcp[0] < 0.75
    assert mixed.wait < 1.1 * two.wait


def test_cubic_fills_a_clean_link():
    """As TCP does, with a queue to lean on."""
    assert measure(Bottleneck(megabits=20, trip=60), "cubic", seconds=15.0).share > 0.85


def test_ledbat_leaves_the_link_to_tcp_and_takes_what_is_free():
    """In the background it takes next to nothing, alone nearly all."""
    assert measure(SHARED, "ledbat", tcp=1, warm_up=10.0, seconds=30.0).tcp[0] > 0.85
    assert measure(SHARED, "ledbat", warm_up=10.0, seconds=20.0).share > 0.8


def test_a_limit_is_kept():
    """Packets leave at the rate that was asked for, and hardly slower."""
    bottleneck = Bottleneck(megabits=100, trip=30)
    measured = measure(bottleneck, "limited", seconds=10.0)
    assert 0.9 * LIMIT < measured.share * bottleneck.rate < LIMIT
