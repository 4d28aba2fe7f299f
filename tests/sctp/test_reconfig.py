"""Stream resets, by section of RFC 6525: bytes in, bytes out, and what the association is told."""

from __future__ import annotations

import struct

import pytest

from p2pxfer.sctp.events import ResetRefused, StreamsReset
from p2pxfer.sctp.parameters import Malformed
from p2pxfer.sctp.reconfig import MAX_ANSWERS, MAX_DEFERRED, MAX_STREAMS, MAX_WAIT, Reconfiguration

REQUEST, EXPECTED = 1000, 0xFFFFFFFF
RTO = 1.0


class Association:
    """What the machine asks and tells, written down."""

    def __init__(self):
        self.last = self.acknowledged_tsn = 1041
        self.cumulative_tsn = 50
        self.busy: set[int] = set()
        self.held: set[int] = set()
        self.told, self.done, self.expected = [], [], []

    def last_assigned(self):
        return self.last

    def acknowledged(self):
        return self.acknowledged_tsn

    def cumulative(self):
        return self.cumulative_tsn

    def drained(self, stream_id):
        return stream_id not in self.busy

    def hold(self, ids):
        self.held.update(ids)

    def release(self, ids):
        self.held -= set(ids)

    def reset_outgoing(self, ids):
        assert self.held.issuperset(ids)
        self.held -= set(ids)
        self.done.append(tuple(ids))

    def reset_incoming(self, ids):
        self.expected.append(tuple(ids))

    def tell(self, event):
        self.told.append(event)


@pytest.fixture
def association():
    return Association()


@pytest.fixture
def machine(association):
    return Reconfiguration(association, request=REQUEST, expected=EXPECTED, inbound=100)


def outgoing(sequence, last_tsn, *ids):
    return 13, struct.pack(f">III{len(ids)}H", sequence, 0, last_tsn, *ids)


def response(sequence, result):
    return 16, struct.pack(">II", sequence, result)


def answers(machine, now=0.0):
    """(sequence, result) of every response that waits."""
    found = []
    while (tlvs := machine.transmit(now, RTO)) is not None:
        found += [struct.unpack(">II", value) for kind, value in tlvs if kind == 16]
    return found


def test_5_1_2_an_outgoing_request_names_its_number_the_last_tsn_and_the_streams(machine):
    """The request of two streams, byte for byte."""
    machine.reset([4, 6])
    ((kind, value),) = machine.transmit(0.0, RTO)
    assert kind == 13
    assert value == bytes.fromhex("000003e8 fffffffe 00000411 0004 0006")
    assert machine.transmit(0.0, RTO) is None


def test_5_1_2_waits_until_everything_on_the_stream_has_a_tsn(machine, association):
    """What was sent before the reset goes out before it; nothing is held until then."""
    association.busy = {4}
    machine.reset([4])
    assert machine.transmit(0.0, RTO) is None
    assert association.held == set()
    association.busy, association.last = set(), 1050
    assert machine.transmit(0.1, RTO) is None
    assert association.held == {4}


def test_5_1_2_waits_until_everything_on_the_stream_has_come(machine, association):
    """Nobody need answer "in progress"; what other streams send on meanwhile holds nothing up."""
    association.last = 1050
    machine.reset([4])
    assert machine.transmit(0.0, RTO) is None
    association.last, association.acknowledged_tsn = 1090, 1049
    assert machine.transmit(0.1, RTO) is None
    association.last, association.acknowledged_tsn = 1100, 1060
    ((_, value),) = machine.transmit(0.2, RTO)
    assert struct.unpack(">IIIH", value) == (1000, 0xFFFFFFFE, 1060, 4)
    assert association.held == {4}


def test_5_1_1_one_request_is_in_flight_at_a_time(machine, association):
    """A second reset waits for the first one's answer, and has the next number."""
    machine.reset([4])
    machine.transmit(0.0, RTO)
    machine.reset([6])
    assert machine.transmit(0.0, RTO) is None
    machine.receive((response(1000, 1),))
    ((_, value),) = machine.transmit(0.2, RTO)
    assert struct.unpack(">IIIH", value) == (1001, 0xFFFFFFFE, 1041, 6)
    assert association.done == [(4,)]


def test_5_1_1_a_request_is_resent_unchanged_with_the_timeout_doubled(machine, association):
    """Resent at 1, 3 and 7 seconds, and never more than eight seconds apart."""
    machine.reset([4])
    first = machine.transmit(0.0, RTO)
    association.last += 100
    sent = []
    while len(sent) < 6:
        assert machine.transmit(machine.deadline() - 0.001, RTO) is None
        sent.append(machine.deadline())
        assert machine.transmit(sent[-1], RTO) == first
    assert sent == [1, 3, 7, 15, 23, 31]
    assert sent[-1] - sent[-2] == MAX_WAIT


def test_5_1_1_asking_twice_asks_once(machine):
    """Neither a waiting stream nor one under way is asked for again."""
    machine.reset([4, 4])
    ((_, value),) = machine.transmit(0.0, RTO)
    assert len(value) == 14
    machine.reset([4])
    machine.receive((response(1000, 1),))
    assert machine.transmit(0.1, RTO) is None
    assert machine.deadline() is None


def test_5_1_2_many_streams_take_several_requests(machine):
    """However many are closed at once, a request fits the smallest packet."""
    machine.reset(range(600))
    seen: set[int] = set()
    sequence = REQUEST
    for step in range(20):
        tlvs = machine.transmit(float(step), RTO)
        if tlvs is None:
            break
        value = tlvs[0][1]
        assert len(value) <= 12 + 2 * MAX_STREAMS
        seen.update(struct.unpack_from(f">{(len(value) - 12) // 2}H", value, 12))
        machine.receive((response(sequence, 1),))
        sequence += 1
    assert seen == set(range(600))


@pytest.mark.parametrize("result", [0, 1])
def test_5_2_7_performed_or_nothing_to_do_begins_the_stream_again(machine, association, result):
    """The association is told once; the answer repeated changes nothing."""
    machine.reset([4])
    machine.transmit(0.0, RTO)
    machine.receive((response(1000, result),))
    machine.receive((response(1000, result),))
    assert association.done == [(4,)]
    assert association.told == [StreamsReset((4,), incoming=False)]
    assert association.held == set()


@pytest.mark.parametrize("result", [2, 3, 5, 99])
def test_5_2_7_a_refusal_lets_the_stream_go_on(machine, association, result):
    """Denied, wrong or unknown: the sequence numbers stay, nothing is held."""
    machine.reset([4])
    machine.transmit(0.0, RTO)
    machine.receive((response(1000, result),))
    assert association.done == []
    assert association.held == set()
    assert association.told == [ResetRefused((4,))]


def test_5_2_7_already_in_progress_asks_again_with_the_next_number(machine, association):
    """The far end was busy with another request."""
    machine.reset([4])
    machine.transmit(0.0, RTO)
    machine.receive((response(1000, 4),))
    assert association.told == []
    ((_, value),) = machine.transmit(0.1, RTO)
    assert struct.unpack_from(">I", value) == (1001,)


def test_5_2_7_in_progress_keeps_asking_without_longer_waits(machine, association):
    """The same request once a timeout until it is performed."""
    machine.reset([4])
    first = machine.transmit(0.0, RTO)
    for step in range(1, 5):
        machine.receive((response(1000, 6),))
        assert machine.transmit(step - 0.1, RTO) is None
        assert machine.deadline() == step
        assert machine.transmit(float(step), RTO) == first
    machine.receive((response(1000, 1),))
    assert association.done == [(4,)]


def test_5_2_7_the_answer_to_an_unknown_request_is_passed_over(machine, association):
    """A number that was never asked."""
    machine.receive((response(77, 1),))
    assert association.told == []
    assert machine.transmit(0.0, RTO) is None


def test_5_2_2_a_request_whose_tsns_have_come_is_performed(machine, association):
    """Answered with the bytes of "performed"."""
    machine.receive((outgoing(EXPECTED, 50, 1, 3),))
    assert machine.transmit(0.0, RTO) == ((16, bytes.fromhex("ffffffff 00000001")),)
    assert association.expected == [(1, 3)]
    assert association.told == [StreamsReset((1, 3), incoming=True)]


def test_5_2_2_no_stream_named_means_all(machine, association):
    """The empty list is passed on as such."""
    machine.receive((outgoing(EXPECTED, 50),))
    assert association.expected == [()]
    assert answers(machine) == [(EXPECTED, 1)]


def test_5_2_2_a_request_ahead_of_its_tsns_is_in_progress_and_performed_when_they_come(
    machine, association
):
    """Said in progress at once and on every repetition; performed with the last TSN, unasked."""
    request = outgoing(EXPECTED, 52, 1)
    machine.receive((request,))
    assert answers(machine) == [(EXPECTED, 6)]
    association.cumulative_tsn = 51
    machine.receive((request,))
    assert answers(machine) == [(EXPECTED, 6)]
    assert association.expected == []
    association.cumulative_tsn = 52
    assert answers(machine) == [(EXPECTED, 1)]
    assert association.expected == [(1,)]
    machine.receive((request,))
    assert answers(machine) == [(EXPECTED, 1)]
    assert association.expected == [(1,)]


def test_5_2_2_a_repeated_request_in_the_batch_of_its_last_tsn_is_answered_once(
    machine, association
):
    """DATA and the request again in one packet: one answer, and the right one."""
    machine.receive((outgoing(EXPECTED, 52, 1),))
    answers(machine)
    association.cumulative_tsn = 52
    machine.receive((outgoing(EXPECTED, 52, 1),))
    assert answers(machine) == [(EXPECTED, 1)]


def test_5_2_1_a_repeated_request_gets_the_same_answer_and_is_not_performed_again(
    machine, association
):
    """The answer was lost."""
    machine.receive((outgoing(EXPECTED, 50, 1),))
    machine.receive((outgoing(0, 50, 3),))
    answers(machine)
    machine.receive((outgoing(EXPECTED, 50, 1),))
    assert answers(machine) == [(EXPECTED, 1)]
    assert association.expected == [(1,), (3,)]


def test_5_2_1_a_number_out_of_sequence_is_an_error(machine, association):
    """Neither the next nor one already answered; the expected one still is."""
    machine.receive((outgoing(7, 50, 1),))
    assert answers(machine) == [(7, 5)]
    assert association.expected == []
    machine.receive((outgoing(EXPECTED, 50, 1),))
    assert answers(machine) == [(EXPECTED, 1)]


def test_5_2_2_a_stream_that_was_not_agreed_is_wrong(machine, association):
    """Stream 100 of a hundred."""
    machine.receive((outgoing(EXPECTED, 50, 1, 100),))
    assert answers(machine) == [(EXPECTED, 3)]
    assert association.expected == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [(14, "00040006"), (14, ""), (15, ""), (17, "00100000"), (18, "00100000")],
)
def test_5_2_3_to_5_2_6_other_requests_are_denied(machine, kind, body):
    """Incoming reset, SSN and TSN reset, more streams either way."""
    machine.receive(((kind, bytes.fromhex("ffffffff" + body)),))
    assert answers(machine) == [(EXPECTED, 2)]
    machine.receive((outgoing(0, 50, 1),))
    assert answers(machine) == [(0, 1)]


def test_3_1_a_chunk_of_a_response_and_a_request_does_both(machine, association):
    """Both ends close the same channel."""
    machine.reset([4])
    machine.transmit(0.0, RTO)
    machine.receive((response(1000, 1), outgoing(EXPECTED, 50, 4)))
    assert association.told == [
        StreamsReset((4,), incoming=False),
        StreamsReset((4,), incoming=True),
    ]


def test_4_an_unknown_parameter_ends_the_reading_or_is_skipped_as_its_type_says(machine):
    """RFC 9260 section 3.2.1 holds in RE-CONFIG too."""
    machine.receive(((19, b""), outgoing(EXPECTED, 50, 1)))
    assert answers(machine) == []
    machine.receive(((0x8019, b""), outgoing(EXPECTED, 50, 1)))
    assert answers(machine) == [(EXPECTED, 1)]


@pytest.mark.parametrize(
    "parameters",
    [
        (),
        ((16, bytes(8)), (16, bytes(8)), (16, bytes(8))),
        ((16, bytes(7)),),
        ((16, bytes(12)),),
        ((13, bytes(11)),),
        ((13, bytes(13)),),
        ((14, bytes(3)),),
        ((14, bytes(5)),),
        ((15, bytes(5)),),
        ((17, bytes(4)),),
        ((18, bytes(9)),),
        ((16, struct.pack(">II", 1000, 1)), (13, bytes(11))),
    ],
)
def test_4_what_is_malformed_is_refused_whole(machine, association, parameters):
    """Nothing of the chunk is done when a part of it is wrong."""
    machine.reset([4])
    machine.transmit(0.0, RTO)
    with pytest.raises(Malformed):
        machine.receive(parameters)
    assert association.told == []
    assert answers(machine) == []


def test_a_hostile_end_fills_no_memory(machine, association):
    """Requests far ahead of their TSNs and answers never fetched: both bounded."""
    for step in range(1000):
        machine.receive((outgoing((EXPECTED + step) & 0xFFFFFFFF, 2000, 1),))
    waiting = answers(machine)
    assert len(waiting) == MAX_ANSWERS
    assert {result for _, result in waiting} == {4}
    association.cumulative_tsn = 2000
    assert len(answers(machine)) == MAX_DEFERRED == len(association.expected)
    assert len(machine._results) < 32
