"""Two associations joined in memory: what their owner sees and has to do."""

import random

import pytest

from p2pxfer.sctp.association import Association, Config, State
from p2pxfer.sctp.events import AllAcknowledged, Closed, Established, Message, Sent
from tests.sctp.controllers import Fixed

DELAY = 0.01


class Pair:
    """Both ends, and a link that may drop what it is told to."""

    def __init__(self, **config):
        self.now = 50.0
        made = Config(**{"own_peer": True, **config})
        self.ends = [Association(made, Fixed(1 << 20), rng=random.Random(n)) for n in (1, 2)]
        self.events = ([], [])
        self.packets = ([], [])
        self.drop = lambda _end, _packet: False

    def pump(self):
        """One way through the link."""
        flights = []
        for at, end in enumerate(self.ends):
            flight = []
            while (transmit := end.transmit(self.now)) is not None:
                flight += transmit.packets
            self.packets[at].extend(flight)
            flights.append([packet for packet in flight if not self.drop(at, packet)])
        self.now += DELAY
        for at, end in enumerate(self.ends):
            if flights[1 - at]:
                end.receive(flights[1 - at], self.now)
            due = end.deadline()
            if due is not None and due <= self.now:
                end.handle_timer(self.now)
            while (event := end.next_event()) is not None:
                self.events[at].append(event)

    def run(self, rounds=20):
        for _ in range(rounds):
            self.pump()

    def connected(self):
        for end in self.ends:
            end.connect(self.now)
        self.run(6)
        return self

    def of(self, at, kind):
        return [event for event in self.events[at] if isinstance(event, kind)]


def test_both_ends_begin_at_once_and_one_association_comes_of_it():
    """As in WebRTC, where both send INIT (RFC 9260 section 5.2.1)."""
    pair = Pair().connected()
    for at in (0, 1):
        assert pair.ends[at].state is State.ESTABLISHED
        assert len(pair.of(at, Established)) == 1


@pytest.mark.parametrize("zero", [True, False])
def test_a_megabyte_arrives_and_is_told_as_sent_and_acknowledged(zero):
    """Queued before there is an association."""
    pair = Pair(zero_checksum=zero)
    data = random.Random(5).randbytes(1 << 20)
    pair.ends[0].send(3, 53, data)
    assert pair.ends[0].pending == pair.ends[0].buffered(3) == len(data)
    pair.connected().run()
    assert pair.of(1, Message) == [Message(3, 53, data)]
    assert sum(event.size for event in pair.of(0, Sent)) == len(data)
    assert pair.of(0, AllAcknowledged)
    assert pair.ends[0].pending == 0
    assert pair.ends[0].srtt == pytest.approx(2 * DELAY)
    assert pair.ends[0].statistics.resent == 0


def test_an_own_peer_reports_once_a_batch():
    """And a large flight comes as few batches."""
    pair = Pair().connected()
    before = len(pair.packets[1])
    pair.ends[0].send(1, 53, bytes(1 << 20))
    pair.run()
    assert len(pair.packets[0]) > 900
    assert len(pair.packets[1]) - before < 20


def test_what_is_lost_is_sent_again_once():
    """Every tenth packet; nothing that arrived is repeated."""
    pair = Pair().connected()
    chance = random.Random(4)
    lost = []

    def drop(at, packet):
        gone = at == 0 and len(packet) > 1000 and chance.random() < 0.1
        if gone:
            lost.append(packet)
        return gone

    pair.drop = drop
    messages = [chance.randbytes(30_000) for _ in range(30)]
    for message in messages:
        pair.ends[0].send(1, 53, message)
    pair.run(100)
    assert [event.data for event in pair.of(1, Message)] == messages
    assert pair.ends[0].statistics.resent <= sum(map(len, lost)) * 1.1


def test_the_deadline_is_now_while_something_may_leave():
    """So that a timer alone keeps it going."""
    pair = Pair().connected()
    pair.run(100)
    end = pair.ends[0]
    due = end.deadline()
    assert due is None or due > pair.now
    end.send(1, 53, b"x")
    assert end.deadline() <= pair.now
    pair.run(10)
    due = end.deadline()
    assert due is None or due > pair.now


def test_what_can_not_be_sent_is_refused_at_once():
    """Empty, on no stream, or after the end."""
    pair = Pair(streams=10).connected()
    end = pair.ends[0]
    for stream_id, data in ((1, b""), (-1, b"x"), (10, b"x")):
        with pytest.raises(ValueError, match=r"stream|byte"):
            end.send(stream_id, 53, data)
    end.shutdown(pair.now)
    with pytest.raises(ValueError, match="sends no more"):
        end.send(1, 53, b"x")


def test_another_path_is_measured_anew():
    """Nothing of the old one is believed, and nothing is lost."""
    pair = Pair(packet_sizes=(1172, 1400)).connected()
    pair.ends[0].send(1, 53, bytes(100_000))
    pair.run()
    assert pair.ends[0].packet_size == 1400
    pair.ends[0].path_changed(pair.now)
    assert pair.ends[0].packet_size == 1172
    assert pair.ends[0].srtt is None
    pair.ends[0].send(1, 53, bytes(100_000))
    pair.run()
    assert len(pair.of(1, Message)) == 2
    assert pair.ends[0].packet_size == 1400


def test_shutdown_delivers_everything_first():
    """Both ends are told that it ended well, and nothing waits after it."""
    pair = Pair().connected()
    pair.ends[0].send(1, 53, bytes(1 << 20))
    pair.ends[0].shutdown(pair.now)
    pair.run(30)
    assert len(pair.of(1, Message)) == 1
    for at in (0, 1):
        assert pair.events[at][-1] == Closed("closed", clean=True)
        assert pair.ends[at].deadline() is None
        assert pair.ends[at].state is State.CLOSED


def test_a_peer_that_never_answers_is_given_up():
    """The handshake alone counts attempts."""
    end = Association(Config(), Fixed(), rng=random.Random(1))
    end.connect(0.0)
    now = 0.0
    while (due := end.deadline()) is not None:
        while end.transmit(now) is not None:
            pass
        now = due if due > now else now + 0.001
        assert now < 120
        end.handle_timer(now)
        if isinstance(end.next_event(), Closed):
            break
    assert end.state is State.CLOSED
    end.connect(now)
    assert end.transmit(now) is None


def test_a_silent_path_ends_nothing():
    """Consent does that (RFC 7675): an hour later it goes on."""
    pair = Pair().connected()
    pair.run(50)
    pair.drop = lambda _end, _packet: True
    pair.ends[0].send(1, 53, b"late")
    for _ in range(1000):
        pair.pump()
        pair.now += 3.6
    assert pair.ends[0].state is State.ESTABLISHED
    pair.drop = lambda _end, _packet: False
    for _ in range(20):
        pair.pump()
        pair.now += 1.0
    assert [event.data for event in pair.of(1, Message)] == [b"late"]
