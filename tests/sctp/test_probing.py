"""Probes of the packet size (RFC 8899 section 6.2), one at a time, and what answers they count."""

from __future__ import annotations

import random

import pytest

from p2pxfer.sctp.chunks import Heartbeat, Pad
from p2pxfer.sctp.mtu import PathMtu, State
from p2pxfer.sctp.packets import parse
from p2pxfer.sctp.probing import REMEMBERED, Probing
from p2pxfer.sctp.rtt import RoundTrip
from p2pxfer.sctp.wire import Wire

SIZES = (1172, 1252, 1372)


class Prober:
    """Probes over a path of its own, and its clock."""

    def __init__(self, *, pads: bool = True):
        self.mtu = PathMtu(SIZES)
        self.probing = Probing(
            self.mtu, RoundTrip(0.2), Wire(5000, 5000, 1), random.Random(1), pads=pads
        )
        self.now = 100.0

    def sent(self) -> tuple[int, bytes, bool]:
        """The next probe: its length, what is to come back, whether it was filled by PAD."""
        packet = self.probing.transmit(self.now)
        assert packet is not None
        heartbeat, *rest = parse(packet).chunks
        assert isinstance(heartbeat, Heartbeat)
        return len(packet), heartbeat.info, any(isinstance(chunk, Pad) for chunk in rest)

    def give_up(self) -> None:
        """Hear nothing until the probe counts as lost."""
        self.now = self.probing.deadline()
        self.probing.handle_timer(self.now)


@pytest.mark.parametrize("pads", [True, False])
def test_a_probe_has_the_length_to_try_and_there_is_one_at_a_time(pads):
    """Filled by PAD, or by what is to come back where a PAD would harm."""
    prober = Prober(pads=pads)
    size, info, padded = prober.sent()
    assert (size, padded) == (SIZES[0], pads)
    assert prober.probing.transmit(prober.now) is None
    prober.probing.acknowledged(info, prober.now)
    assert prober.sent()[0] == SIZES[1]


def test_what_was_lost_is_filled_the_other_way_next():
    """Some stacks don't answer long HEARTBEATs, some paths eat what they don't know."""
    prober = Prober()
    assert prober.sent()[2]
    prober.give_up()
    assert not prober.sent()[2]


def test_a_late_answer_counts():
    """A peer that was busy for long is no narrow path."""
    prober = Prober()
    late = []
    while prober.mtu.state is not State.ERROR:
        late.append(prober.sent()[1])
        prober.give_up()
    assert prober.mtu.size < SIZES[0]
    prober.probing.acknowledged(late[0], prober.now)
    assert prober.mtu.size == SIZES[0]
    prober.now = max(prober.now, prober.probing.deadline())
    assert prober.sent()[0] == SIZES[1]


def test_no_answer_counts_twice_nor_for_another_path():
    """What was learnt belongs to the path that it was learnt on."""
    prober = Prober()
    _, first, _ = prober.sent()
    prober.probing.acknowledged(first, prober.now)
    _, second, _ = prober.sent()
    prober.give_up()
    prober.probing.path_changed(prober.now)
    for info in (first, second, b"never sent"):
        prober.probing.acknowledged(info, prober.now)
    assert (prober.mtu.size, prober.mtu.state) == (SIZES[0], State.BASE)


def test_few_lost_probes_are_remembered():
    """A peer that never answers costs no memory."""
    prober = Prober()
    _, oldest, _ = prober.sent()
    for _ in range(REMEMBERED + 1):
        prober.give_up()
        prober.now = max(prober.now, prober.probing.deadline())
        prober.probing.transmit(prober.now)
    prober.probing.acknowledged(oldest, prober.now)
    assert prober.mtu.state is State.ERROR
