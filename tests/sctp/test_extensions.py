"""Extensions over a whole association, by RFC and section; and channels over two of them."""

from __future__ import annotations

import random
import struct

import pytest

from p2pxfer.sctp import chunks as c
from p2pxfer.sctp import events as e
from p2pxfer.sctp.datachannel import (
    ChannelAccepted,
    ChannelClosed,
    ChannelMessage,
    ChannelOpened,
    DataChannels,
)
from p2pxfer.sctp.packets import encode
from p2pxfer.sctp.parameters import (
    ParameterType,
    find,
    supported_extensions,
    zero_checksum_acceptable,
)
from tests.sctp.far_end import EXTENSIONS, TSN, FarEnd, data, messages, only, sack
from tests.sctp.hostile import end

ZERO = (*EXTENSIONS, zero_checksum_acceptable())


@pytest.fixture
def far():
    return FarEnd().establish()


def tsn(offset):
    return (TSN + offset) & 0xFFFFFFFF


# --- RFC 3758 ------------------------------------------------------------------------------------


def test_3758_3_6_forward_tsn_skips_what_will_not_come_and_is_answered_at_once(far):
    """A message was given up; those behind it are told."""
    far.give(data(2, b"third", ssn=2))
    (report,) = only(c.Sack, far.give(c.ForwardTsn(tsn(1), ((0, 1),))))
    assert report.cumulative_tsn == tsn(2)
    assert messages(far) == [b"third"]
    far.give(data(3, b"fourth", ssn=3))
    assert messages(far) == [b"fourth"]


def test_3758_3_6_an_old_one_only_calls_for_a_sack(far):
    """It was overtaken."""
    far.give(data(0), data(1))
    (report,) = only(c.Sack, far.give(c.ForwardTsn(tsn(0), ((0, 0),))))
    assert report.cumulative_tsn == tsn(1)
    assert messages(far) == [b"x", b"x"]


def test_3758_3_6_half_a_message_is_dropped(far):
    """Its beginning came, its end will not."""
    far.give(data(0, b"half", flags=c.BEGIN, ssn=0))
    far.give(c.ForwardTsn(tsn(3), ((0, 0),)))
    far.give(data(4, b"whole", ssn=1))
    assert messages(far) == [b"whole"]


def test_3758_3_6_an_end_ahead_of_the_skip_is_dropped_with_its_beginning(far):
    """The end had come, the beginning never will."""
    far.give(data(1, b"end", flags=c.END, ssn=0), data(2, b"whole", ssn=1))
    far.give(c.ForwardTsn(tsn(1), ((0, 0),)))
    assert messages(far) == [b"whole"]


@pytest.mark.parametrize("offset", [100_000, 2**31 - 1, 2**31])
def test_3758_one_that_leaps_does_no_harm(far, offset):
    """As a hostile end would; what is in sequence still counts."""
    far.give(c.ForwardTsn(tsn(offset), ((0, 5),)))
    far.give(data(0, b"on"))
    assert messages(far) == [b"on"]


# --- RFC 6525 ------------------------------------------------------------------------------------


def request(sequence, last, *ids):
    value = struct.pack(f">III{len(ids)}H", sequence & 0xFFFFFFFF, 0, last & 0xFFFFFFFF, *ids)
    return c.Reconfig(((13, value),))


def response(sequence, result):
    return c.Reconfig(((16, struct.pack(">II", sequence & 0xFFFFFFFF, result)),))


def test_6525_5_1_2_a_reset_goes_out_after_what_was_queued_came_and_begins_the_stream_again(far):
    """The request's number is the first TSN; new messages wait for the answer, and count anew."""
    far.association.send(3, 53, b"one")
    far.association.reset_streams((3,))
    (chunk,) = far.chunks()
    assert chunk.ssn == 0
    far.association.send(3, 53, b"two")
    far.association.send(4, 53, b"other")
    (chunk,) = far.chunks()
    assert chunk.payload == b"other"
    (asked,) = far.give(sack(0, first=far.tsn))
    ((kind, value),) = asked.parameters
    assert kind == 13
    numbers = struct.unpack(">IIIH", value)
    assert numbers == (far.tsn, tsn(-1), far.tsn, 3)
    assert far.give(sack(1, first=far.tsn)) == []
    far.events()
    sent = only(c.Data, far.give(response(far.tsn, 1)))
    assert [(chunk.payload, chunk.ssn) for chunk in sent] == [(b"two", 0)]
    assert e.StreamsReset((3,), incoming=False) in far.events()


def test_6525_5_1_1_the_request_is_sent_again_until_it_is_answered(far):
    """The same bytes, ever more slowly."""
    far.association.reset_streams((3,))
    asked = only(c.Reconfig, far.wait(20))
    assert 3 < len(asked) < 30
    assert len(set(asked)) == 1
    far.give(response(far.tsn, 1))
    assert only(c.Reconfig, far.wait(20)) == []


def test_6525_5_2_2_the_far_ends_reset_is_performed_and_answered(far):
    """The stream's numbers begin again."""
    far.give(data(0, b"a", stream_id=3, ssn=0), data(1, b"b", stream_id=3, ssn=1))
    answer = only(c.Reconfig, far.give(request(TSN, TSN + 1, 3)))
    assert answer == [response(TSN, 1)]
    far.give(data(2, b"c", stream_id=3, ssn=0))
    told = far.events()
    assert [event.data for event in only(e.Message, told)] == [b"a", b"b", b"c"]
    assert told[2] == e.StreamsReset((3,), incoming=True)


def test_6525_5_2_2_a_reset_waits_for_what_was_sent_before_it(far):
    """In progress first; performed with the last TSN, after its message."""
    assert only(c.Reconfig, far.give(request(TSN, TSN + 1, 3))) == [response(TSN, 6)]
    far.give(data(1, b"b", stream_id=3, ssn=1))
    assert far.events() == []
    answer = only(c.Reconfig, far.give(data(0, b"a", stream_id=3, ssn=0)))
    assert answer == [response(TSN, 1)]
    assert [type(event) for event in far.events()] == [e.Message, e.Message, e.StreamsReset]


def test_6525_5_2_1_a_wrong_number_is_told(far):
    """And nothing is reset."""
    assert only(c.Reconfig, far.give(request(TSN + 9, TSN - 1, 3))) == [response(TSN + 9, 5)]
    assert far.events() == []


def test_6525_3_1_a_malformed_reconfig_ends_nothing(far):
    """It is dropped."""
    for parameters in ((), ((13, b"short"),), ((16, b""),)):
        assert far.give(c.Reconfig(parameters)) == []
    far.give(data(0, b"on"))
    assert messages(far) == [b"on"]


def test_6525_without_the_extension_resets_are_of_this_end_alone():
    """It is told at once, and nothing is sent."""
    far = FarEnd().establish((EXTENSIONS[0], supported_extensions((192,))))
    far.association.reset_streams((3,))
    assert far.chunks() == []
    assert far.events() == [e.StreamsReset((3,), incoming=False)]
    assert only(c.Reconfig, far.give(request(TSN, TSN - 1, 3))) == []


# --- RFC 9653 ------------------------------------------------------------------------------------


def leaves(far, *chunks):
    """The packets that leave for one that came."""
    far.association.receive([encode(far.tag, chunks)], far.now)
    return far.take()


def test_9653_5_1_it_is_offered_by_init_and_init_ack():
    """For DTLS, method 1."""
    far = FarEnd(zero_checksum=True)
    init = far.connect()
    assert find(init.parameters, ParameterType.ZERO_CHECKSUM_ACCEPTABLE) == bytes.fromhex(
        "00000001"
    )
    (ack,) = far.give(far.init(), tag=0)
    assert find(ack.parameters, ParameterType.ZERO_CHECKSUM_ACCEPTABLE) is not None


def test_9653_5_2_init_and_cookie_echo_bear_a_checksum_and_the_rest_none():
    """Once both ends offered it."""
    far = FarEnd(zero_checksum=True)
    far.association.connect(far.now)
    (packet,) = far.take()
    assert packet.checksum
    far.tag = packet.chunks[0].tag
    (echo,) = leaves(far, far.init_ack(ZERO))
    assert isinstance(echo.chunks[0], c.CookieEcho)
    assert echo.checksum
    leaves(far, c.CookieAck())
    far.association.send(1, 53, b"x")
    (sent,) = far.take()
    (report,) = leaves(far, data(0, flags=11))
    (alive,) = leaves(far, c.Heartbeat(b"x"))
    assert [packet.checksum for packet in (sent, report, alive)] == [0, 0, 0]


def test_9653_5_2_without_the_far_ends_offer_every_packet_bears_one():
    """This end offered, the far end did not."""
    far = FarEnd(zero_checksum=True).establish(EXTENSIONS)
    far.association.send(1, 53, b"x")
    (sent,) = far.take()
    assert sent.checksum


def test_9653_5_3_what_was_offered_is_taken():
    """A zero checksum and a right one; a wrong one is wrong still."""
    far = FarEnd(zero_checksum=True).establish(EXTENSIONS)
    far.give(data(0, b"none"), zero=True)
    far.give(data(1, b"right"))
    packet = bytearray(encode(far.tag, [data(2, b"wrong")]))
    packet[8] ^= 1
    far.put(bytes(packet))
    assert messages(far) == [b"none", b"right"]


def test_9653_5_3_an_init_without_a_checksum_is_dropped():
    """Before anything was agreed."""
    far = FarEnd(zero_checksum=True)
    assert far.give(far.init(), tag=0, zero=True) == []


# --- channels over two associations --------------------------------------------------------------


class Pair:
    """Two ends with channels on a perfect link with a delay."""

    def __init__(self, loss=0):
        self.ends = [end(0, own_peer=True), end(1, own_peer=True)]
        self.told = ([], [])
        self.now = 5.0
        self.loss = loss
        self.rng = random.Random(3)
        for association, _ in self.ends:
            association.connect(self.now)
        self.run()

    def run(self, rounds=12):
        for _ in range(rounds):
            batches = []
            for association, _ in self.ends:
                batch = []
                while (transmit := association.transmit(self.now)) is not None:
                    batch += transmit.packets
                batches.append(batch)
            self.now += 0.02
            for at, (association, channels) in enumerate(self.ends):
                packets = [packet for packet in batches[1 - at] if self.passes()]
                association.receive(packets, self.now)
                association.handle_timer(self.now)
                while (event := channels.next_event()) is not None:
                    self.told[at].append(event)

    def passes(self):
        return not self.loss or self.rng.random() * self.loss >= 1

    def channels(self, at) -> DataChannels:
        return self.ends[at][1]

    def of(self, at, *kinds):
        return [event for event in self.told[at] if isinstance(event, kinds)]


@pytest.mark.parametrize("loss", [0, 3])
def test_8832_a_channel_from_opening_to_closing_and_again(loss):
    """Opened, used both ways, closed with everything on it delivered, and its number used anew."""
    pair = Pair(loss)
    first, second = pair.channels(0), pair.channels(1)
    for turn in range(3):
        number = first.open("files", "p2pxfer")
        for at in range(10):
            first.send(number, b"%d" % at * 500)
        pair.run(200 if loss else 12)
        assert pair.of(1, ChannelOpened)[-1] == ChannelOpened(number, "files", "p2pxfer", True)
        assert ChannelAccepted(number) in pair.told[0]
        second.send(number, "answer")
        second.send(number, b"")
        second.close(number)
        pair.run(200 if loss else 12)
        assert pair.of(0, ChannelMessage)[-2:] == [
            ChannelMessage(number, "answer"),
            ChannelMessage(number, b""),
        ]
        assert [event.data for event in pair.of(1, ChannelMessage)][-10:] == [
            b"%d" % at * 500 for at in range(10)
        ]
        for at in (0, 1):
            assert len(pair.of(at, ChannelClosed)) == turn + 1
    assert first.open("x", id=0) == 0
    pair.run(200 if loss else 12)
    assert pair.of(1, ChannelOpened)[-1].id == 0


def test_8831_6_7_many_channels_close_at_once():
    """Sixty, from both ends and crosswise."""
    pair = Pair()
    numbers = [pair.channels(at).open("x") for at in (0, 1) for _ in range(30)]
    pair.run()
    for number in numbers[:40]:
        pair.channels(0).close(number)
    for number in numbers[20:]:
        pair.channels(1).close(number)
    pair.run(40)
    for at in (0, 1):
        assert sorted(event.id for event in pair.of(at, ChannelClosed)) == sorted(numbers)
