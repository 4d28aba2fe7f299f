"""What leaves when something came between: no room in front of the socket, another path."""

from __future__ import annotations

import pytest

from p2pxfer.sctp import chunks as c
from p2pxfer.sctp.packets import encode, parse
from p2pxfer.sctp.recovery import PATIENCE
from tests.sctp.far_end import FarEnd, only, sack

TRIP = 0.05
CHUNK = 1144  # bytes of user data in a packet


@pytest.fixture
def far():
    """Its round trip is known, and the search for the packet size is through."""
    far = FarEnd().establish()
    far.chunks()
    for packet in far.probes:
        infos = [chunk.info for chunk in parse(packet).chunks if isinstance(chunk, c.Heartbeat)]
        far.give(*map(c.HeartbeatAck, infos))
    far.association.send(0, 53, b"x")
    far.chunks()
    far.now += TRIP
    far.give(sack(0, first=far.tsn))
    assert far.association.deadline() is None
    return far


def send(far, count):
    """The TSNs of so many packets, after the first of all."""
    far.association.send(0, 53, bytes(CHUNK * count))
    return [(chunk.tsn - far.tsn) & 0xFFFFFFFF for chunk in only(c.Data, far.chunks())]


def fire(far):
    """The next timer goes off while there is no room for a packet."""
    far.now = max(far.now, far.association.deadline())
    far.association.handle_timer(far.now)


def until_timeouts(far, count):
    """Time passes on a dead path."""
    while far.association.statistics.timeouts < count:
        fire(far)
        far.chunks()


def test_a_probe_that_a_report_makes_needless_holds_up_nothing(far):
    """The report tells a loss and leaves nothing in flight: what is lost goes, room or no room."""
    sent = send(far, 5)
    fire(far)
    assert far.association.sending.board.in_flight
    report = sack(0, gaps=[(sent[1], sent[-1])], first=far.tsn)
    assert [(chunk.tsn - far.tsn) & 0xFFFFFFFF for chunk in only(c.Data, far.give(report))] == [1]


def test_a_probe_that_meets_a_closed_window_leaves_it_to_be_tried(far):
    """All has arrived, and more waits: the window is tried, not left alone for good."""
    sent = send(far, 1)
    fire(far)
    far.association.send(0, 53, bytes(50_000))
    assert far.give(sack(sent[-1], rwnd=0, first=far.tsn)) == []
    assert far.association.deadline() is not None
    assert only(c.Data, far.wait(2.0))


def test_what_could_leave_is_due_even_if_nobody_asked_for_it(far):
    """A report came while there was no room: whoever looks again must know when to."""
    sent = send(far, 5)
    report = sack(0, gaps=[(sent[1], sent[-1])], first=far.tsn)
    far.association.receive([encode(far.tag, [report])], far.now)
    assert far.association.deadline() == far.now
    assert only(c.Data, far.chunks())


def test_another_path_is_tried_at_once(far):
    """However long the timeouts of the dead one had become; the first report starts the rest."""
    sent = send(far, 10)
    until_timeouts(far, 5)
    far.association.path_changed(far.now)
    assert far.association.deadline() == far.now
    (probe,) = only(c.Data, far.chunks())
    assert (probe.tsn - far.tsn) & 0xFFFFFFFF == sent[-1]
    assert far.association.deadline() <= far.now + 1.0
    far.now += TRIP
    far.give(sack(0, gaps=[(sent[-1], sent[-1])], first=far.tsn))
    again = only(c.Data, far.wait(1.0))
    assert len({chunk.tsn for chunk in again}) == len(sent) - 1


def test_a_quicker_path_makes_no_loss_of_what_the_slower_one_still_brings(far):
    """Its first report is there before the old path could deliver."""
    sent = send(far, 10)
    far.now += TRIP / 2
    far.association.path_changed(far.now)
    (probe,) = only(c.Data, far.chunks())
    last = (probe.tsn - far.tsn) & 0xFFFFFFFF
    far.now += TRIP / 10
    assert only(c.Data, far.give(sack(0, gaps=[(last, last)], first=far.tsn))) == []
    far.now += TRIP / 2
    twice = sack(last, duplicates=(probe.tsn,), first=far.tsn)
    assert only(c.Data, far.give(twice)) == []
    assert last == sent[-1]
    assert far.association.statistics.lost == 0


def test_what_is_lost_goes_over_another_path_at_once(far):
    """With the window full of what the old path swallowed, too."""
    sent = send(far, 10)
    far.association._controller.window = CHUNK
    until_timeouts(far, 1)
    board = far.association.sending.board
    assert board.lost
    far.association.path_changed(far.now)
    first = only(c.Data, far.chunks())[0]
    assert sent[0] < (first.tsn - far.tsn) & 0xFFFFFFFF <= sent[-1]


def test_what_a_slow_path_swallowed_is_not_waited_for_as_long_as_that_was_slow(far):
    """The new one has told long ago what came."""
    far.association.sending.rtt.sample(4.0, far.now)
    assert far.association.sending.rtt.timeout > 2 * PATIENCE
    sent = send(far, 10)
    far.now += TRIP
    far.association.path_changed(far.now)
    far.chunks()
    far.now += TRIP
    far.give(sack(0, gaps=[(sent[-1], sent[-1])], first=far.tsn))
    assert len(only(c.Data, far.wait(PATIENCE))) == len(sent) - 1


def test_a_window_that_is_smaller_than_a_packet_until_packets_are_smaller(far):
    """What leaves then is answered for by other timers: none goes off without a pause."""
    send(far, 1)
    far.association.send(0, 53, bytes(50_000))
    far.give(sack(1, rwnd=CHUNK // 2, first=far.tsn))
    assert far.association.sending._window_probe_at is not None
    far.association.sending._mtu.size = 508
    assert only(c.Data, far.chunks())
    for _ in range(20):
        due = far.association.deadline()
        far.now = max(far.now, due)
        far.association.handle_timer(far.now)
        far.chunks()
    assert far.association.deadline() > far.now
    assert far.association.statistics.timeouts
