"""How data is sent, taken and reported, by section of RFC 9260, against a far end made by hand."""

from __future__ import annotations

import itertools
import random
import tracemalloc

import pytest

from p2pxfer.sctp import chunks as c
from p2pxfer.sctp import events as e
from p2pxfer.sctp.association import State
from p2pxfer.sctp.packets import CHECKSUM, checksum, encode
from tests.sctp.far_end import RWND, TSN, FarEnd, data, messages, only, sack

WINDOW = 16 << 20
EARLIER = (TSN - 1) & 0xFFFFFFFF


@pytest.fixture
def far():
    return FarEnd().establish()


def tsn(offset):
    return (TSN + offset) & 0xFFFFFFFF


def aborted(far, answer, code):
    """Whether it answered with an ABORT of this cause, told the end, and is deaf from now on."""
    (abort,) = only(c.Abort, answer)
    assert [found for found, _ in abort.causes] == [code]
    assert [type(event) for event in far.events()][-1] is e.Closed
    assert far.association.state is State.CLOSED
    assert far.give(c.Heartbeat(b"still there?")) == []
    assert far.association.deadline() is None
    return True


# --- 3.3.1 and 6.9 what DATA bears ---------------------------------------------------------------


def test_3_3_1_a_message_that_fits_is_one_chunk(far):
    """Its packet, byte for byte; the last of a flight asks for a SACK at once (RFC 7053)."""
    far.association.send(5, 51, b"hello")
    (packet,) = far.take()
    assert encode(packet.tag, packet.chunks) == encode(
        0xBBBB0001,
        [c.Data(c.BEGIN | c.END | c.IMMEDIATE, far.tsn, 5, 0, 51, b"hello")],
    )


def test_6_9_a_long_message_is_cut_into_consecutive_chunks(far):
    """B on the first, E on the last; one SSN and PPID; no packet above the path's size."""
    message = bytes(range(256)) * 20
    far.association.send(5, 53, message)
    packets = far.take()
    parts = [chunk for packet in packets for chunk in packet.chunks]
    assert all(len(encode(0, packet.chunks)) <= 1172 for packet in packets)
    assert [part.tsn for part in parts] == [(far.tsn + at) & 0xFFFFFFFF for at in range(len(parts))]
    assert {(part.stream_id, part.ssn, part.ppid) for part in parts} == {(5, 0, 53)}
    assert [part.flags & 3 for part in parts] == [2] + [0] * (len(parts) - 2) + [1]
    assert b"".join(part.payload for part in parts) == message


def test_6_5_sequence_numbers_are_counted_by_stream(far):
    """From zero, each stream its own."""
    for stream_id in (1, 2, 1, 1, 2):
        far.association.send(stream_id, 53, b"x")
    sent = only(c.Data, far.chunks())
    counted = {
        stream_id: [chunk.ssn for chunk in sent if chunk.stream_id == stream_id]
        for stream_id in (1, 2)
    }
    assert counted == {1: [0, 1, 2], 2: [0, 1]}


def test_6_6_an_unordered_message_says_so_and_counts_in_no_sequence(far):
    """U bit; the next ordered one has the number it would have had."""
    far.association.send(1, 53, b"a")
    far.association.send(1, 53, b"b", unordered=True)
    far.association.send(1, 53, b"c")
    sent = only(c.Data, far.chunks())
    assert [bool(chunk.flags & c.UNORDERED) for chunk in sent] == [False, True, False]
    assert [chunk.ssn for chunk in sent if not chunk.flags & c.UNORDERED] == [0, 1]


@pytest.mark.parametrize(("stream_id", "payload"), [(50, b"x"), (-1, b"x"), (1, b"")])
def test_6_5_what_cannot_be_sent_is_refused(far, stream_id, payload):
    """A stream beyond what the far end takes, and nothing at all."""
    with pytest.raises(ValueError, match=r"stream|byte"):
        far.association.send(stream_id, 53, payload)
    assert far.chunks() == []


def test_6_9_chunks_are_put_together(far):
    """In one packet or several."""
    far.give(
        data(0, b"one ", flags=c.BEGIN, ssn=0),
        data(1, b"two ", flags=0, ssn=0),
    )
    far.give(data(2, b"three", flags=c.END, ssn=0))
    assert messages(far) == [b"one two three"]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"flags": c.BEGIN | c.END, "ssn": 1}, id="a whole message within another"),
        pytest.param({"flags": c.END, "stream_id": 1, "ssn": 0}, id="of another stream"),
        pytest.param({"flags": c.END, "ssn": 7}, id="of another message"),
        pytest.param({"flags": c.END | c.UNORDERED, "ssn": 0}, id="unordered of an ordered one"),
    ],
)
def test_6_9_a_chunk_that_does_not_follow_aborts(far, second):
    """Nothing sensible can be made of it."""
    answer = far.give(data(0, b"a", flags=c.BEGIN, ssn=0), data(1, b"b", **second))
    assert aborted(far, answer, 13)


def test_6_9_an_end_without_a_beginning_aborts(far):
    """The first chunk of all is the middle of a message."""
    assert aborted(far, far.give(data(0, b"a", flags=0, ssn=0)), 13)


def test_6_9_a_message_longer_than_was_announced_aborts():
    """Before it is all in memory, however it is cut."""
    far = FarEnd(max_message=5000).establish()
    answer: list[c.Chunk] = []
    offset = 0
    while not only(c.Abort, answer) and offset < 100:
        flags = c.BEGIN if offset == 0 else 0
        answer = far.give(data(offset, bytes(1000), flags=flags, ssn=0))
        offset += 1
    assert offset <= 7
    assert aborted(far, answer, 13)


@pytest.mark.parametrize("together", [1, 60])
def test_6_9_fragments_of_a_few_bytes_take_little_more_memory_than_their_message(together):
    """The message comes as it was, one to a packet or many."""
    far = FarEnd().establish()
    whole = random.Random(1).randbytes(36_000)
    parts = [whole[at : at + 2] for at in range(0, len(whole), 2)]
    last = len(parts) - 1

    def flags(at):
        return c.BEGIN * (at == 0) | c.END * (at == last)

    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for at in range(0, last, 600):
            if at:  # what is in the making now
                assert tracemalloc.get_traced_memory()[0] - before < 400_000
            chunks = [
                data(offset, parts[offset], flags=flags(offset), ssn=0)
                for offset in range(at, at + 600)
            ]
            far.put(*(encode(far.tag, chunks[n : n + together]) for n in range(0, 600, together)))
    finally:
        tracemalloc.stop()
    assert messages(far) == [whole]


# --- 6.2 acknowledgement -------------------------------------------------------------------------


def test_6_2_every_second_packet_is_acknowledged_at_once(far):
    """Of another stack's, however many come in a batch."""
    assert far.give(data(0)) == []
    assert far.give(data(1)) == [c.Sack(tsn(1), WINDOW - 2 * (1 + 256))]
    batch = [encode(far.tag, [data(offset)]) for offset in range(2, 10)]
    sacks = far.put(*batch)
    assert [chunk.cumulative_tsn for chunk in sacks] == [tsn(3), tsn(5), tsn(7), tsn(9)]


def test_6_2_a_single_packet_is_acknowledged_within_200_ms(far):
    """Once."""
    assert far.give(data(0)) == []
    assert [report.cumulative_tsn for report in only(c.Sack, far.wait(0.2))] == [TSN]
    assert only(c.Sack, far.wait(5)) == []


def test_6_2_an_own_peer_gets_one_sack_a_batch():
    """As agreed between ends that are known to be of this project."""
    far = FarEnd(own_peer=True).establish()
    batch = [encode(far.tag, [data(offset)]) for offset in range(10)]
    (answer,) = far.put(*batch)
    assert answer == c.Sack(tsn(9), WINDOW - 10 * 257)
    assert far.give(data(10)) == []
    assert len(far.wait(0.03)) == 1


def test_6_2_sacks_to_an_own_peer_leave_a_millisecond_apart():
    """However small its batches are, unless many packets came or it is in a hurry."""
    far = FarEnd(own_peer=True).establish()
    assert len(far.give(data(0), data(1))) == 0
    times = []
    for offset in range(2, 60):
        sacks = far.give(data(offset)) + far.wait(0.0001)
        times += [far.now] * len(only(c.Sack, sacks))
    assert all(later - earlier > 0.0009 for earlier, later in itertools.pairwise(times))
    assert 5 <= len(times) <= 7
    batch = [encode(far.tag, [data(offset)]) for offset in range(60, 100)]
    assert [chunk.cumulative_tsn for chunk in far.put(*batch)] == [tsn(99)]
    (answer,) = far.give(data(100, flags=11))
    assert answer.cumulative_tsn == tsn(100)


def test_rfc_7053_4_the_i_bit_is_answered_at_once(far):
    """Alone in its packet, and bundled."""
    (answer,) = far.give(data(0, flags=11))
    assert answer.cumulative_tsn == TSN
    (answer,) = far.give(data(1, flags=11), data(2))
    assert answer.cumulative_tsn == tsn(2)


def test_6_2_a_packet_after_a_gap_is_answered_at_once_with_the_gap(far):
    """And each one until the gap is closed, which is told at once too."""
    assert far.give(data(0)) == []
    assert far.give(data(2))[0].gaps == ((2, 2),)
    assert far.give(data(3))[0].gaps == ((2, 3),)
    assert far.give(data(5))[0].gaps == ((2, 3), (5, 5))
    (answer,) = far.give(data(1))
    assert (answer.cumulative_tsn, answer.gaps) == (tsn(3), ((2, 2),))
    (answer,) = far.give(data(4))
    assert (answer.cumulative_tsn, answer.gaps) == (tsn(5), ())


@pytest.mark.parametrize("own", [False, True])
def test_6_8_packets_after_a_gap_are_looked_at_as_closely(own):
    """A batch with mangled, foreign and odd ones in it does what they do one by one."""
    ends = [FarEnd(own_peer=own, zero_checksum=own).establish() for _ in range(2)]

    def packets(far):
        plain = {n: encode(far.tag, [data(n, bytes([n]) * 48)]) for n in (0, 1, 2, 3, 9, 13)}
        return [
            plain[0],
            plain[2],
            plain[3],
            bytes([*plain[9][:-3], 1, 2, 3]),  # whose checksum is wrong
            encode(far.tag ^ 1, [data(4, bytes(48))], zero_checksum=own),
            encode(far.tag, [data(5), data(6)]),
            encode(far.tag, [data(7, b"")])[:-4],
            encode(far.tag, [data(8, bytes(48))])[:-1],
            plain[3],
            encode(far.tag, [data(10, bytes(52), flags=11)]),
            encode(far.tag, [data(11), c.Sack(far.tsn - 1, RWND)]),
            plain[13],
            plain[1],
            encode(far.tag, [data(12, b"abcd")]),
        ]

    *_, whole = ends[0].put(*packets(ends[0]))
    single = [answer for packet in packets(ends[1]) for answer in ends[1].put(packet)][-1]
    assert (whole.cumulative_tsn, whole.gaps) == (single.cumulative_tsn, single.gaps)
    assert (whole.cumulative_tsn, whole.gaps) == (tsn(3), ((2, 3), (7, 10)))
    assert messages(ends[0]) == messages(ends[1])


def test_6_2_a_duplicate_is_answered_at_once_and_told(far):
    """TSNs that came again are listed once a SACK, and then forgotten."""
    far.give(data(0))
    far.give(data(1))
    (answer,) = far.give(data(0), data(1))
    assert answer.duplicates == (tsn(0), tsn(1))
    (answer,) = far.give(data(3))
    assert answer.duplicates == ()
    (answer,) = far.give(data(3))
    assert answer.duplicates == (tsn(3),)


def test_6_2_duplicates_are_bounded(far):
    """A packet full of the same chunk makes no endless report."""
    far.give(data(0))
    (answer,) = far.give(*[data(0)] * 1000)
    assert 0 < len(answer.duplicates) <= 64


def test_6_2_the_window_shrinks_with_what_waits_and_grows_when_it_is_taken(far):
    """What the application has not taken is counted; so is what waits for a gap."""
    (answer,) = far.give(data(0, bytes(1000)), data(1, bytes(1000), flags=11))
    assert WINDOW - 4000 <= answer.rwnd <= WINDOW - 2000
    far.events()
    (answer,) = far.give(data(3, bytes(1000)))
    assert WINDOW - 3000 <= answer.rwnd <= WINDOW - 1000
    far.give(data(2))
    far.events()
    (answer,) = far.give(data(4, flags=11))
    assert answer.rwnd >= WINDOW - 500


def test_6_2_nothing_is_taken_beyond_the_window():
    """A far end that ignores it gets its data dropped, not stored."""
    far = FarEnd(receive_window=20_000, max_message=10_000).establish()
    for offset in range(1, 100):
        far.give(data(offset, bytes(1000)))
    inbound = far.association.inbound
    assert inbound.used <= 20_000
    (answer,) = far.give(data(0, bytes(1000), flags=11))
    assert answer.rwnd < 2000
    assert sum(last - first + 1 for first, last in answer.gaps) < 20


def test_6_2_what_is_beyond_the_window_may_come_again_once_there_is_room():
    """Nothing dropped was acknowledged."""
    far = FarEnd(receive_window=5_000, max_message=5_000).establish()
    got: list[bytes] = []
    offset = 0
    for _ in range(200):
        packets = [
            encode(far.tag, [data(at, b"%04d" % at * 250)]) for at in range(offset, offset + 20)
        ]
        reports = only(c.Sack, far.put(*packets)) + only(c.Sack, far.wait(0.2))
        offset = (max((r.cumulative_tsn - EARLIER) & 0xFFFFFFFF for r in reports)) if reports else 0
        got += messages(far)
        if len(got) >= 100:
            break
    assert got == [b"%04d" % at * 250 for at in range(len(got))]
    assert len(got) >= 100


def test_6_2_data_without_data_aborts(far):
    """Cause 9 names the TSN."""
    answer = far.give(c.Data(3, TSN, 0, 0, 53, b""))
    (abort,) = answer
    assert abort.causes == ((9, TSN.to_bytes(4, "big")),)
    assert aborted(far, answer, 9)


def test_6_2_a_fragment_without_data_aborts(far):
    """Alone in its packet, where most fragments are: nothing would bound how many are kept."""
    far.give(data(0, b"a", flags=c.BEGIN, ssn=0))
    assert aborted(far, far.put(encode(far.tag, [data(1, b"", flags=0, ssn=0)])), 9)


def test_6_5_data_on_a_stream_that_was_not_agreed_is_told_and_acknowledged(far):
    """Cause 1 names the stream; the TSN counts as come."""
    answer = far.give(data(0, stream_id=100, flags=11))
    (error,) = only(c.Error, answer)
    assert error.causes == ((1, bytes.fromhex("0064 0000")),)
    assert only(c.Sack, answer)[0].cumulative_tsn == TSN
    assert messages(far) == []
    far.give(data(1, b"on", ssn=0))
    assert messages(far) == [b"on"]


def test_6_2_data_far_ahead_is_dropped(far):
    """A gap block can't tell it; half the circle ahead is behind."""
    for offset in (70_000, 2**31 - 1, 2**31, 2**31 + 5):
        (answer,) = far.give(data(offset))
        assert answer.cumulative_tsn == EARLIER
        assert answer.gaps == ()
    assert messages(far) == []


# --- 6.6 and 6.7 order and gaps ------------------------------------------------------------------


def test_6_6_ordered_messages_wait_for_their_turn_and_others_do_not(far):
    """By stream; a gap in one holds no other up."""
    far.give(data(1, b"b", ssn=1))
    far.give(data(2, b"other", stream_id=7, ssn=0))
    far.give(data(3, b"unordered", flags=7, ssn=9))
    assert messages(far) == [b"other", b"unordered"]
    far.give(data(0, b"a", ssn=0))
    assert messages(far) == [b"a", b"b"]


def test_6_7_chunks_in_any_order_make_every_message_once():
    """All orders of five chunks of three messages."""
    pieces = [
        data(0, b"a", ssn=0),
        data(1, b"b", ssn=1, flags=c.BEGIN),
        data(2, b"c", ssn=1, flags=0),
        data(3, b"d", ssn=1, flags=c.END),
        data(4, b"e", ssn=2),
    ]
    for order in itertools.permutations(pieces):
        far = FarEnd().establish()
        for piece in order:
            far.give(piece)
        assert messages(far) == [b"a", b"bcd", b"e"]


def test_6_7_as_many_gaps_as_fit_are_told():
    """Every other one of a thousand; the report fits the path."""
    far = FarEnd(own_peer=True).establish()
    batch = [encode(far.tag, [data(offset)]) for offset in range(1, 2000, 2)]
    report = far.put(*batch)[-1]
    assert 250 < len(report.gaps) <= 290
    assert report.gaps[:2] == ((2, 2), (4, 4))


def test_1_6_tsns_and_ssns_go_around(far):
    """From 2^32 - 1 to zero, both ways; the far end's first TSN is sixteen before."""
    for offset in range(40):
        far.give(data(offset, b"%d" % offset))
    assert messages(far) == [b"%d" % offset for offset in range(40)]
    assert far.association.inbound.cumulative & 0xFFFFFFFF == tsn(39)


# --- 6.2.1 and 6.3 reports of the far end --------------------------------------------------------


def send(far, count):
    """As many messages, each of which fills a packet."""
    for at in range(count):
        far.association.send(1, 53, b"%04d" % at * 286)
    return only(c.Data, far.chunks())


def test_6_2_1_what_is_acknowledged_is_forgotten_and_told(far):
    """All of it, by one SACK or by several."""
    send(far, 10)
    far.events()
    far.give(sack(4, first=far.tsn))
    assert far.events() == []
    far.give(sack(9, first=far.tsn))
    assert far.events() == [e.AllAcknowledged()]
    assert only(c.Data, far.wait(30)) == []


def test_6_2_1_an_old_sack_changes_nothing(far):
    """It was overtaken."""
    send(far, 10)
    far.give(sack(9, first=far.tsn))
    assert far.give(sack(3, rwnd=0, first=far.tsn)) == []
    assert len(send(far, 3)) == 3


@pytest.mark.parametrize(
    ("offset", "gaps"),
    [
        pytest.param(3, (), id="one beyond what was sent"),
        pytest.param(1000, (), id="far beyond"),
        pytest.param(0, ((2, 3),), id="a gap block beyond"),
        pytest.param(0, ((65535, 65535),), id="the longest gap"),
        pytest.param(0, ((3, 2),), id="a block that ends before it begins"),
        pytest.param(-1, ((0, 0),), id="a block within the sequence"),
        pytest.param(-1, ((3, 3), (2, 2)), id="blocks out of order"),
    ],
)
def test_6_2_1_a_sack_for_what_was_never_sent_aborts(far, offset, gaps):
    """An end that says so has lost its mind, or lies."""
    send(far, 3)
    assert aborted(far, far.give(sack(offset, gaps=gaps, first=far.tsn)), 13)


def test_6_3_3_what_is_not_acknowledged_is_sent_again_and_the_rest_is_not(far):
    """Of twenty packets the fourth was lost."""
    sent = send(far, 20)
    far.now += 0.1
    again = far.give(sack(2, gaps=((2, 17),), first=far.tsn)) + far.wait(1.0)
    data_again = only(c.Data, again)
    assert data_again[0].tsn == sent[3].tsn
    assert data_again[0].payload == sent[3].payload
    assert {chunk.tsn for chunk in data_again} == {sent[3].tsn}
    far.give(sack(19, first=far.tsn))
    assert only(c.Data, far.wait(30)) == []


def test_6_3_3_with_no_answer_the_first_is_sent_again_ever_more_slowly(far):
    """T3-rtx; the association itself does not end."""
    sent = send(far, 3)
    times = []
    for _ in range(3000):
        got = only(c.Data, far.wait(0.02))
        times += [far.now] * sum(chunk.tsn == sent[0].tsn for chunk in got)
    assert 5 < len(times) < 40
    assert times[-1] - times[-2] > 2 * (times[1] - times[0])
    assert far.association.state is State.ESTABLISHED


def test_6_2_1_the_far_end_may_take_back_what_a_gap_told(far):
    """Reneging: what was told and then not told is sent again in the end."""
    sent = send(far, 5)
    far.now += 0.1
    far.give(sack(0, gaps=((2, 4),), first=far.tsn))
    far.now += 0.1
    far.give(sack(1, first=far.tsn))
    again = {chunk.tsn for chunk in only(c.Data, far.wait(10))}
    assert {chunk.tsn for chunk in sent[2:]} <= again


# --- 6.1 and 6.10 what may leave -----------------------------------------------------------------


def test_6_1_no_more_is_in_flight_than_the_far_end_takes():
    """Its window of the beginning, and of every report."""
    far = FarEnd().establish(rwnd=10_000)
    sent = send(far, 50)
    assert 5_000 < sum(len(chunk.payload) for chunk in sent) <= 10_000
    more = far.give(sack(len(sent) - 1, rwnd=5_000, first=far.tsn))
    assert sum(len(chunk.payload) for chunk in only(c.Data, more)) <= 5_000


def test_6_1_a_closed_window_is_tried_with_one_packet_at_a_time(far):
    """Zero window probes, ever more slowly; all goes on when it opens."""
    sent = send(far, 200)
    count = len(sent)
    far.give(sack(count - 1, rwnd=0, first=far.tsn))
    probes = only(c.Data, far.wait(10))
    assert probes
    assert {chunk.tsn for chunk in probes} == {(far.tsn + count) & 0xFFFFFFFF}
    assert len(probes) < 20
    more = only(c.Data, far.give(sack(count, rwnd=RWND, first=far.tsn)))
    assert len(more) > 10


def test_6_10_no_packet_is_longer_than_the_path_takes(far):
    """Messages of every size around it."""
    for size in range(1100, 1200, 7):
        far.association.send(1, 53, bytes(size))
    for packet in far.take():
        assert len(encode(0, packet.chunks)) <= 1172


def test_6_10_small_messages_share_packets(far):
    """A hundred of ten bytes need no hundred packets; nothing waits for that."""
    for _ in range(100):
        far.association.send(1, 53, bytes(10))
    packets = far.take()
    assert len(only(c.Data, [chunk for packet in packets for chunk in packet.chunks])) == 100
    assert len(packets) < 10


# --- 6.8 checksums -------------------------------------------------------------------------------


def test_6_8_a_wrong_checksum_drops_a_packet_silently(far):
    """DATA, SACK and ABORT alike; the same packet unharmed is taken."""
    for chunk in (data(0), sack(5000, first=far.tsn), c.Abort()):
        packet = bytearray(encode(far.tag, [chunk]))
        packet[11] ^= 0x80
        assert far.put(bytes(packet)) == []
        assert far.events() == []
    assert far.give(data(0, flags=11)) != []
    assert messages(far) == [b"x"]


def test_6_8_a_zero_checksum_is_wrong_unless_this_end_offered_it(far):
    """RFC 9653 was not announced here."""
    assert far.give(data(0, flags=11), zero=True) == []
    assert messages(far) == []


@pytest.mark.parametrize("cut", range(0, 44, 3))
def test_3_2_a_packet_cut_short_is_dropped(far, cut):
    """At any length, with a checksum that is right for what is left."""
    whole = encode(far.tag, [data(0, b"0123456789abcdef")])
    packet = whole[:cut]
    if len(packet) >= 12:
        packet = packet[:8] + CHECKSUM.pack(checksum(packet)) + packet[12:]
    assert far.put(packet) == []
    assert far.events() == []
    far.give(data(0, b"next"))
    assert messages(far) == [b"next"]
