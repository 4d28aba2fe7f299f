"""What direct paths get before relays are tried."""

from __future__ import annotations

import asyncio

import pytest

from p2pxfer.peer import headstart
from p2pxfer.peer.headstart import HEAD_START, LONGEST, HeadStart


@pytest.fixture
def clock(monkeypatch):
    """When the end is due, at a time that the test sets."""

    class Loop:
        now = 100.0
        due: float | None = None

        def time(self) -> float:
            return self.now

        def call_at(self, when, callback):
            self.due, self.callback = when, callback
            return self

        def cancel(self) -> None:
            self.due = None

    loop = Loop()
    monkeypatch.setattr(headstart.asyncio, "get_running_loop", lambda: loop)
    return loop


def test_each_direct_address_gets_its_time_up_to_a_limit(clock):
    """A late one delays the relays, many don't delay them for ever."""
    start = HeadStart()
    start.extend()
    assert clock.due is None
    start.begin()
    assert clock.due == 100 + HEAD_START
    clock.now += 0.9
    start.extend()
    assert clock.due == 100.9 + HEAD_START
    clock.now = 100 + LONGEST - 0.1
    start.extend()
    assert clock.due == 100 + LONGEST
    clock.callback()
    clock.due = None
    start.extend()
    assert start.over.is_set()
    assert clock.due is None


async def test_where_checks_end_nobody_is_let_go():
    """Relays that were not needed are not tried afterwards."""
    start = HeadStart()
    start.begin()
    start.stop()
    waiting = asyncio.ensure_future(start.over.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
