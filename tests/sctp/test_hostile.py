"""Whatever bytes come, in whatever state: nothing is raised, and memory stays bounded."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pxfer.sctp import chunks as c
from p2pxfer.sctp.packets import encode
from tests.sctp.far_end import FarEnd, data
from tests.sctp.hostile import play


@settings(max_examples=150)
@given(st.binary(max_size=400))
def test_whatever_comes_the_properties_hold(program):
    """See hostile.py; what fails here is a program of bytes that replays it."""
    play(program)


@pytest.mark.parametrize("seed", range(8))
def test_long_random_programs(seed):
    """More steps than hypothesis likes to try, always the same ones."""
    chance = random.Random(seed)
    for _ in range(20):
        play(chance.randbytes(chance.randrange(100, 600)))


def early_reset(n):
    """A request numbered in sequence whose last TSN is yet to come."""
    numbers = (0xFFFFFFF0 + n & 0xFFFFFFFF, 0, 0x100)
    return c.Reconfig(((13, struct.pack(">III", *numbers) + bytes(800)),))


FLOODS = {
    "messages nobody takes": lambda n: [data(n, bytes(1000))],
    "messages ahead of a gap": lambda n: [data(1 + n * 7 % 60_000, bytes(1000))],
    "single bytes ahead of a gap": lambda n: [data(1 + 2 * (9 * n + k), ssn=k) for k in range(9)],
    "messages ahead of their turn": lambda n: [
        data(n * 9 + k, ssn=1 + (9 * n + k) % 30_000, stream_id=k) for k in range(9)
    ],
    "parts without end": lambda n: [data(n, bytes(1000), flags=0 if n else c.BEGIN, ssn=0)],
    "duplicates": lambda _n: [data(0)] * 9,
    "heartbeats": lambda _n: [c.Heartbeat(bytes(900))],
    "resets ahead of their TSNs": lambda n: [early_reset(n)],
    "unknown chunks to report": lambda _n: [c.Unknown(0xFE, 0, bytes(900))],
    "skipped sequence numbers": lambda n: [
        c.ForwardTsn(0xFFFFFFF0 + n & 0xFFFFFFFF, ((n % 100, n), (n * 3 % 100, n)))
    ],
    "errors": lambda _n: [c.Error(((1, bytes(900)),))],
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_fills_no_memory(kind):
    """Endless packets of one kind, and nothing is taken or sent: what is kept has an end."""
    far = FarEnd(receive_window=200_000, max_message=100_000).establish()
    packets = [encode(far.tag, FLOODS[kind](n)) for n in range(3000)]
    tracemalloc.start()
    try:
        far.association.receive(packets[:50], far.now)
        before, _ = tracemalloc.get_traced_memory()
        for packet in packets:
            far.association.receive([packet], far.now)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2_500_000


@pytest.mark.parametrize("kind", ["INIT", "COOKIE ECHO"])
def test_5_1_3_a_flood_of_beginnings_keeps_nothing(kind):
    """No state is kept for an INIT, and none for a cookie that is not one."""
    far = FarEnd()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n in range(1500):
            if kind == "INIT":
                far.give(far.init(tag=n + 1), tag=0)
            else:
                far.give(c.CookieEcho(n.to_bytes(60, "big")), tag=far.association.handshake.tag)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 300_000
