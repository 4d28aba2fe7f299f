"""Messages into packets: every byte once, streams in turn, lengths as agreed."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.sctp.chunks import BEGIN, END, UNORDERED, Data, Pad
from p2pxfer.sctp.flights import Flight
from p2pxfer.sctp.outbound import Outbound
from p2pxfer.sctp.packets import checksum_valid, parse
from p2pxfer.sctp.scoreboard import Scoreboard
from p2pxfer.sctp.wire import Wire

TSN = 0xFFFFFFF0


def queues(*, zero=True, pads=True):
    return Outbound(Wire(5000, 5000, 7, zero=zero), pads=pads), Scoreboard(TSN)


def cut_all(outbound, board, *, size=1172, room=1 << 20):
    """Flights until nothing is left, and the bytes that were told as sent."""
    flights, sent = [], {}
    while outbound.ready:
        flight = Flight(1.0)
        packets = outbound.cut(board, flight, room, size, sent)
        assert packets
        flights.append(packets)
    return flights, sent


def chunks_of(flights):
    return [
        chunk
        for packets in flights
        for packet in packets
        for chunk in parse(packet).chunks
        if isinstance(chunk, Data)
    ]


def messages_of(chunks):
    """(stream, ppid, unordered, data) of whole messages."""
    messages, parts = [], []
    for chunk in chunks:
        assert bool(chunk.flags & BEGIN) == (not parts)
        parts.append(chunk.payload)
        if chunk.flags & END:
            data = b"".join(parts)
            messages.append((chunk.stream_id, chunk.ppid, bool(chunk.flags & UNORDERED), data))
            parts = []
    assert not parts
    return messages


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 9000), st.booleans()), min_size=1, max_size=30
    ),
    st.sampled_from([508, 1172, 1433, 8900, 16000]),
    st.sampled_from([1, 3000, 100_000]),
    st.booleans(),
    st.booleans(),
)
def test_every_message_leaves_once_and_whole(drawn, size, room, zero, pads):
    """TSNs follow one another around the circle, sequence numbers count by stream."""
    outbound, board = queues(zero=zero, pads=pads)
    rng = random.Random(len(drawn))
    pushed = []
    for stream, length, unordered in drawn:
        data = rng.randbytes(length)
        outbound.push(stream, length, data, unordered=unordered)
        pushed.append((stream, length, unordered, data))
    assert outbound.pending == sum(length for _, length, _ in drawn)
    flights, sent = cut_all(outbound, board, size=size, room=room)
    chunks = chunks_of(flights)
    assert [chunk.tsn for chunk in chunks] == [(TSN + n) & 0xFFFFFFFF for n in range(len(chunks))]
    for stream in range(4):
        of = [message for message in messages_of(chunks) if message[0] == stream]
        assert of == [message for message in pushed if message[0] == stream]
        begun = [c for c in chunks if c.stream_id == stream and c.flags & BEGIN]
        ordered = [c.ssn for c in begun if not c.flags & UNORDERED]
        assert ordered == list(range(len(ordered)))
        assert sent.get(stream, 0) == sum(len(message[3]) for message in of)
    assert outbound.pending == 0
    assert board.next == TSN + len(chunks)
    for packets in flights:
        full = len(packets[0])
        assert full <= size
        assert all(len(packet) == full for packet in packets[:-1])
        assert len(packets[-1]) <= full
        for packet in packets:
            assert zero or checksum_valid(packet)
            assert pads or not any(isinstance(chunk, Pad) for chunk in parse(packet).chunks)


def test_a_short_message_waits_for_one_other_at_most():
    """However much is queued on another stream."""
    outbound, board = queues()
    for _ in range(50):
        outbound.push(1, 0, bytes(20_000), unordered=False)
    outbound.push(2, 0, b"short", unordered=False)
    flights, _ = cut_all(outbound, board)
    order = [message[0] for message in messages_of(chunks_of(flights))]
    assert order.index(2) <= 1


def test_short_messages_share_packets():
    """Ten thousand of a hundred bytes need a tenth of the packets."""
    outbound, board = queues()
    for n in range(10_000):
        outbound.push(n & 3, 0, bytes(100), unordered=False)
    flights, _ = cut_all(outbound, board)
    assert sum(map(len, flights)) < 1100


def test_room_is_kept_to_the_packet():
    """No more than asked for, but one packet in any case."""
    outbound, board = queues()
    outbound.push(1, 0, bytes(100_000), unordered=False)
    for room, packets in ((1, 1), (1172, 1), (2343, 1), (2344, 2), (11_720, 10)):
        assert len(outbound.cut(board, Flight(1.0), room, 1172, {})) == packets


def test_a_stream_that_is_held_begins_nothing():
    """What is being cut is finished first; after the reset numbers begin again."""
    outbound, board = queues()
    outbound.push(1, 0, bytes(3000), unordered=False)
    outbound.push(1, 0, b"later", unordered=False)
    outbound.cut(board, Flight(1.0), 1172, 1172, {})
    outbound.hold(1)
    first, _ = cut_all(outbound, board)
    assert outbound.buffered(1) == 5
    assert not outbound.ready
    outbound.release(1, reset=True)
    second, _ = cut_all(outbound, board)
    assert [chunk.ssn for chunk in chunks_of(second)] == [0]
    assert chunks_of(first)[-1].flags & END


@pytest.mark.parametrize("reset", [True, False])
def test_release_goes_on(reset):
    """With the next number if the reset was denied."""
    outbound, board = queues()
    outbound.push(1, 0, b"one", unordered=False)
    cut_all(outbound, board)
    outbound.hold(1)
    outbound.push(1, 0, b"two", unordered=False)
    assert not outbound.ready
    outbound.release(1, reset=reset)
    flights, _ = cut_all(outbound, board)
    assert chunks_of(flights)[0].ssn == (0 if reset else 1)


def test_clearing_drops_everything():
    """Nothing is left to send."""
    outbound, _ = queues()
    outbound.push(1, 0, b"one", unordered=False)
    outbound.clear()
    assert not outbound.ready
    assert outbound.pending == 0
