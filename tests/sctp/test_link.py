"""The simulated link does what its description says, or nothing proved over it would hold."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.sctp.link import OVERHEAD, Burst, Clock, Link, Path

SIZE = 1000


def carry(path, packets, *, every=0.0, seed=1):
    """What arrives, as (time, packet, sound), and the link."""
    clock = Clock()
    link = Link(clock, path, random.Random(seed))
    came = []
    for number, packet in enumerate(packets):
        clock.at(
            number * every,
            lambda packet=packet: link.send(
                packet, lambda packet, sound: came.append((clock.now, packet, sound))
            ),
        )
    clock.run(1000.0)
    return came, link


def numbered(count):
    """Packets that tell their number."""
    return [number.to_bytes(4, "big") * (SIZE // 4) for number in range(count)]


def test_rate_and_delay_add_up():
    """Packets leave the bottleneck one after another and arrive a delay later."""
    came, link = carry(Path(rate=100_000, delay=0.05), numbered(10))
    turn = (SIZE + OVERHEAD) / 100_000
    assert [time for time, _, _ in came] == pytest.approx(
        [0.05 + turn * number for number in range(1, 11)]
    )
    assert link.counts.longest_wait == pytest.approx(9 * turn)


def test_queue_drops_its_tail():
    """What finds the queue full is dropped, and the rest arrives."""
    packets = numbered(50)
    came, link = carry(Path(rate=100_000, queue=10 * (SIZE + OVERHEAD)), packets)
    assert [packet for _, packet, _ in came] == packets[: len(came)]
    assert len(came) in (10, 11)
    assert link.counts.overflowed == 50 - len(came)


def test_loss_by_chance_has_its_share():
    """About as much is lost as was asked for."""
    came, _ = carry(Path(loss=0.1), numbered(10_000))
    assert 8_800 < len(came) < 9_200


def test_bursts_lose_runs():
    """Losses in bursts come together."""
    came, _ = carry(Path(burst=Burst(begins=0.01, ends=0.25)), numbered(20_000))
    numbers = [int.from_bytes(packet[:4], "big") for _, packet, _ in came]
    gaps = [after - before - 1 for before, after in itertools.pairwise(numbers)]
    losses = [gap for gap in gaps if gap]
    assert 3.0 < sum(losses) / len(losses) < 5.0


def test_jitter_keeps_the_order_and_reordering_does_not():
    """Only packets that are late for the sake of it are overtaken."""
    came, _ = carry(Path(delay=0.01, jitter=0.02), numbered(500), every=0.001)
    assert [packet for _, packet, _ in came] == numbered(500)
    came, _ = carry(Path(reordered=0.1, late=0.01), numbered(500), every=0.001)
    assert [packet for _, packet, _ in came] != numbered(500)
    assert sorted(packet for _, packet, _ in came) == numbered(500)


def test_duplicates_and_damage_are_told_apart():
    """A damaged packet differs, and is marked; a doubled one does not."""
    packets = numbered(1000)
    came, link = carry(Path(duplicated=0.1, corrupted=0.1, delay=0.01), packets, every=0.1)
    assert 1050 < len(came) < 1150
    assert sum(not sound for _, _, sound in came) == link.counts.corrupted
    assert all((packet in packets) == sound for _, packet, sound in came)


def test_too_long_a_packet_vanishes_unless_ip_may_cut_it():
    """A path's MTU is a black hole for whoever sets DF."""
    clock = Clock()
    link = Link(clock, Path(mtu=500), random.Random(1))
    came = []
    link.send(bytes(501), lambda packet, _: came.append(len(packet)))
    link.send(bytes(500), lambda packet, _: came.append(len(packet)))
    link.send(bytes(501), lambda packet, _: came.append(len(packet)), whole=False)
    clock.run(1.0)
    assert came == [500, 501]


def test_a_cut_lets_nothing_pass():
    """Between its times, nothing arrives."""
    came, _ = carry(Path(cuts=((0.2, 0.5),)), numbered(10), every=0.1)
    assert [round(time, 1) for time, _, _ in came] == [0.0, 0.1, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_same_seed_same_run():
    """Everything repeats."""
    path = Path(
        rate=1e5, jitter=0.01, loss=0.1, reordered=0.1, late=0.1, corrupted=0.1, replayed=0.1
    )
    assert carry(path, numbered(300), seed=5)[0] == carry(path, numbered(300), seed=5)[0]
