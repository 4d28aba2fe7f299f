"""Thousands of associations over links of every kind: whatever happens, what was sent arrives.

Every message once, unchanged, in order on its stream; windows, buffers and packet sizes within
their limits; no timer that spins or lies in the past; an end that both sides see. A failure names
the seed and the command that plays it again.
"""

from __future__ import annotations

import pytest

from tests.sctp.scenario import draw, run

COUNT = 2_000
TOGETHER = 20


@pytest.mark.parametrize("first", range(0, COUNT, TOGETHER))
def test_everything_arrives(first):
    """Scenarios of twenty seeds hold to their ends."""
    for seed in range(first, first + TOGETHER):
        run(seed)


def test_a_seed_plays_the_same_every_time():
    """A scenario that failed can be played again."""
    first, second = run(7), run(7)
    assert first.clock.now == second.clock.now
    assert [end.link.counts for end in first.ends] == [end.link.counts for end in second.ends]


def test_scenarios_are_of_every_kind():
    """No kind is missing among those that are played."""
    from tests.sctp.scenario import KINDS  # noqa: PLC0415  # for this question alone

    played = {kind for seed in range(COUNT) for kind in draw(seed).kinds}
    assert played == set(KINDS)
