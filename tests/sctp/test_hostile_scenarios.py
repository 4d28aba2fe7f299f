"""Against a peer that says anything, an end refuses or goes on: no exception, no spin, no hoard."""

from __future__ import annotations

import random

import pytest

from p2pxfer.sctp.association import State
from tests.sctp.scenario import Run, draw
from tests.sctp.tampering import Tampering

COUNT = 400
TOGETHER = 20
PATIENCE = 40.0
KEPT = 1 << 20  # bytes of replies that may wait to leave


def play(seed):
    """A scenario in which the right end's packets are tampered with, or both ends'."""
    rng = random.Random(f"hostile {seed}")
    run = Run(draw(seed), hostile=True)
    share = rng.choice((0.02, 0.1, 0.5))
    for end in run.ends if rng.random() < 0.5 else run.ends[1:]:
        end.link = Tampering(end.link, rng, share)
    for end in run.ends:
        end.watched = False
        end.told = lambda _event: None
    run.clock.run(PATIENCE, lambda: all(end.association.over for end in run.ends))
    for end in run.ends:
        association = end.association
        if not association.over:
            association.abort(end.time, "enough")
        assert association.state is State.CLOSED
        kept = 0
        while (sent := association.transmit(end.time)) is not None:
            kept += sum(map(len, sent.packets))
        assert kept < KEPT
        assert association.deadline() is None


@pytest.mark.parametrize("first", range(0, COUNT, TOGETHER))
def test_whatever_a_peer_says(first):
    """Changed, cut, bundled, forged and old packets, all with the right tag and checksum."""
    for seed in range(first, first + TOGETHER):
        try:
            play(seed)
        except BaseException as error:
            error.add_note(f"of seed {seed}")
            raise
