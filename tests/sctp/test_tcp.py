"""The modelled TCP flow behaves as real ones did over the emulated link."""

from __future__ import annotations

import random

import pytest

from tests.sctp.link import Clock, Link, Path
from tests.sctp.tcp import Cubic


def shares(rate, trip, queue, *, loss=0.0, flows=1, seconds=30.0):
    """Shares of the link that flows take after ten seconds, and the mean wait in the queue."""
    clock = Clock()
    path = Path(rate=rate, delay=trip / 2, queue=int(queue * rate * trip), loss=loss)
    link = Link(clock, path, random.Random(1))
    senders = [Cubic(clock, link, trip / 2, begins=0.3 * number) for number in range(flows)]
    clock.run(10.0)
    before = [sender.delivered for sender in senders]
    carried, waited = link.counts.carried, link.counts.waited
    clock.run(10.0 + seconds)
    return (
        [
            (sender.delivered - was) / rate / seconds
            for sender, was in zip(senders, before, strict=True)
        ],
        (link.counts.waited - waited) / max(1, link.counts.carried - carried),
    )


def test_alone_it_takes_the_link():
    """Without loss by chance, one flow fills 20 Mbit/s with a queue of one round trip."""
    (share,), _ = shares(2.5e6, 0.1, 1.0)
    assert 0.9 < share < 0.97


def test_two_share():
    """Two flows fill the link and neither starves; the queue is not empty."""
    both, wait = shares(2.5e6, 0.1, 2.0, flows=2, seconds=60.0)
    assert 0.9 < sum(both) < 0.97
    assert min(both) > 0.25
    assert 0.05 < wait < 0.2


@pytest.mark.parametrize(("loss", "least", "most"), [(0.001, 0.04, 0.2), (0.01, 0.008, 0.05)])
def test_loss_by_chance_ruins_it(loss, least, most):
    """On 200 Mbit/s and 50 ms it keeps a few percent of the link, as measured."""
    (share,), _ = shares(25e6, 0.05, 1.0, loss=loss)
    assert least < share < most
