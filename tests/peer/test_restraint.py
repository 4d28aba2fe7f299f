"""How a connection holds itself back."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import time as clock

import pytest

from p2pxfer.peer import restraint, seam
from p2pxfer.peer.restraint import FREE, Limit, Restraint, control
from p2pxfer.sctp.congestion.bbr import Bbr
from p2pxfer.sctp.congestion.ledbat import Ledbat
from tests.peer.conftest import PATIENCE

RATE = 2_000_000
SIZE = 3_000_000


def test_without_a_wish_nothing_is_held_back():
    """The fast control, by itself."""
    assert isinstance(control(FREE, FREE), Bbr)


@pytest.mark.parametrize("own", [True, False])
def test_either_side_makes_it_a_background_transfer(own):
    """Who asks is obeyed."""
    wish = Restraint(background=True)
    assert isinstance(control(wish, FREE) if own else control(FREE, wish), Ledbat)


def test_the_lower_of_two_limits_counts():
    """One is this side's, the other the far one's."""
    slow, fast = (Restraint(Limit.parse(text)) for text in ("1M", "5M"))
    assert control(slow, fast).rate == control(fast, slow).rate == 1e6


def test_the_other_side_gets_times_that_mean_the_same_there(monkeypatch):
    """In UTC, across midnight too."""
    monkeypatch.setattr(restraint, "_ahead", lambda: 9 * 60)
    told = Restraint(Limit.parse("08:00-18:00=2M")).abroad().limit
    assert told.rate_at(clock(23, 0)) == told.rate_at(clock(8, 59)) == 2e6
    assert told.rate_at(clock(9, 0)) == told.rate_at(clock(22, 59)) == math.inf


@pytest.mark.parametrize("limited", ["a", "b"])
async def test_a_limit_of_either_end_is_kept(joined, limited):
    """Who sends keeps to the own limit, and to that of who receives."""
    wish = {"restraint": Restraint(Limit.parse("2M"))}
    async with joined(**{limited: wish}) as pair:
        near, far = await pair.open()
        arrived: asyncio.Queue[int] = asyncio.Queue()
        far.on_message(lambda message: arrived.put_nowait(len(message)))
        begun = time.monotonic()
        for _ in range(SIZE // 50_000):
            await near.send(b"x" * 50_000)
        got = 0
        while got < SIZE:
            got += await arrived.get()
        took = time.monotonic() - begun
        assert took > 0.9 * SIZE / RATE


@pytest.mark.parametrize("layer", ["batched", "single"])
async def test_on_a_slow_line_a_message_shows_before_it_is_whole(joined, monkeypatch, layer):
    """Else it would pass for silence."""
    monkeypatch.setenv(seam.VARIABLE, layer)
    async with joined(a={"restraint": Restraint(Limit.parse("500k"))}) as pair:
        near, far = await pair.open()
        arrived = asyncio.Event()
        far.on_message(lambda _: arrived.set())
        await near.send(bytes(near.max_message))
        shown = set()
        async with asyncio.timeout(PATIENCE):
            while not arrived.is_set():
                shown.add(far.arriving)
                await asyncio.sleep(0.01)
        assert len(shown) > 5
        assert far.arriving == 0
