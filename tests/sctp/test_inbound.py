"""DATA in any order becomes messages in order, within bounds."""

import random
import struct
import sys
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.sctp.chunks import BEGIN, END, IMMEDIATE, UNORDERED, Sack, read_chunk
from p2pxfer.sctp.events import Message
from p2pxfer.sctp.inbound import DUPLICATES, Inbound
from p2pxfer.sctp.reassembly import COST, Violation

TSN = 0xFFFFFFFA
WINDOW = 100_000
LIMIT = 20_000


def where(stream, ssn=0, ppid=0):
    return stream << 48 | ssn << 32 | ppid


def inbound(window=WINDOW, limit=LIMIT, streams=100):
    events: deque[Message] = deque()
    return Inbound(TSN, window, limit, streams, events), events


def give(end, offset, data=b"x", *, flags=BEGIN | END, stream=0, ssn=0, ppid=0):
    end.data(flags, (TSN + offset) & 0xFFFFFFFF, where(stream, ssn, ppid), data)


def sack(end):
    chunk = end.sack(1160)
    kind, flags, length = struct.unpack_from(">BBH", chunk)
    assert length == len(chunk)
    report = read_chunk(kind, flags, chunk[4:])
    assert isinstance(report, Sack)
    return report


messages = st.tuples(st.integers(0, 2), st.integers(1, 6), st.booleans())


@given(st.lists(messages, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_any_order_and_any_duplicates_give_every_message_once(drawn, rng):
    """In order by stream; unordered ones whenever they are whole."""
    chunks, expected, numbers = [], {0: [], 1: [], 2: []}, {0: 0, 1: 0, 2: 0}
    loose = []
    for ppid, (stream, count, unordered) in enumerate(drawn):
        parts = [rng.randbytes(rng.randint(1, 50)) for _ in range(count)]
        for n, part in enumerate(parts):
            flags = UNORDERED * unordered | BEGIN * (n == 0) | END * (n == count - 1)
            ssn = rng.getrandbits(16) if unordered else numbers[stream]
            chunks.append((len(chunks), part, flags, stream, ssn, ppid))
        message = Message(stream, ppid, b"".join(parts))
        if unordered:
            loose.append(message)
        else:
            numbers[stream] += 1
            expected[stream].append(message)
    end, events = inbound()
    coming = chunks + rng.choices(chunks, k=len(chunks) // 2)
    rng.shuffle(coming)
    for offset, part, flags, stream, ssn, ppid in coming:
        give(end, offset, part, flags=flags, stream=stream, ssn=ssn, ppid=ppid)
        assert end.used >= 0
    told = list(events)
    for message in loose:
        told.remove(message)
    for stream in range(3):
        assert [message for message in told if message.stream_id == stream] == expected[stream]
    report = sack(end)
    assert report.cumulative_tsn == (TSN + len(chunks) - 1) & 0xFFFFFFFF
    assert report.gaps == ()
    while events:
        end.taken(events.popleft())
    assert end.used == 0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_what_is_ahead_of_a_gap_is_told_as_soon_as_it_is_whole(counts, rng):
    """Unordered messages, in whatever order their fragments come."""
    end, events = inbound()
    chunks = [(number, at) for number, count in enumerate(counts) for at in range(count)]
    coming = list(enumerate(chunks, start=1))  # the first of all never comes
    rng.shuffle(coming)
    missing = list(counts)
    for offset, (number, at) in coming:
        flags = UNORDERED | BEGIN * (at == 0) | END * (at == counts[number] - 1)
        give(end, offset, bytes([at]), flags=flags, ppid=number)
        missing[number] -= 1
        told = [Message(0, number, bytes(range(counts[number])))] * (not missing[number])
        assert list(events) == told
        events.clear()


def work(do, *arguments):
    """How many instructions of Python's it takes, which no other work on the machine changes."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do(*arguments)
    finally:
        sys.settrace(before)
    return count


def fragments(count, order):
    """Every second of a run of fragments without an end, and then those between them."""
    end, events = inbound(window=1 << 24)
    between = list(range(2, 2 * count, 2))
    if order == "downwards":
        between.reverse()
    elif order == "shuffled":
        random.Random(1).shuffle(between)
    for offset in [*range(1, 2 * count + 1, 2), *between]:
        give(end, offset, flags=UNORDERED)
    assert sack(end).gaps == ((2, 2 * count),)
    assert not events


def steps(count):
    """Much is ahead, and is given up bit by bit: each time one of what is missing before it."""
    end, events = inbound(window=1 << 24)
    for offset in range(count, 2 * count):
        give(end, offset, ssn=offset)
    for offset in range(count - 1):
        end.forward((TSN + offset) & 0xFFFFFFFF, ())
    assert sack(end).gaps == ((2, count + 1),)
    assert not events


def numbers(count):
    """Much waits for its turn, and is passed over number by number."""
    end, events = inbound(window=1 << 24)
    for offset in range(count):
        give(end, offset, ssn=count + 1 + offset)
    end.forward((TSN + count) & 0xFFFFFFFF, tuple((0, ssn) for ssn in range(count)))
    assert not events
    end.forward((TSN + count + 1) & 0xFFFFFFFF, ((0, count),))
    assert len(events) == count


@pytest.mark.parametrize(
    ("do", "arguments"),
    [
        (fragments, ("upwards",)),
        (fragments, ("downwards",)),
        (fragments, ("shuffled",)),
        (steps, ()),
        (numbers, ()),
    ],
)
def test_no_order_makes_what_comes_costly(do, arguments):
    """Four times as much takes four times the work, or a few packets would stop all else."""
    assert work(do, 400, *arguments) < 5 * work(do, 100, *arguments)


def test_gaps_and_duplicates_are_reported_once():
    """Offsets from the sequence; duplicates once each time they come (RFC 9260 section 3.3.4)."""
    end, _ = inbound()
    for offset in (0, 2, 3, 6, 3, 0):
        give(end, offset, ssn=offset)
    report = sack(end)
    assert report.cumulative_tsn == TSN
    assert report.gaps == ((2, 3), (6, 6))
    assert report.duplicates == ((TSN + 3) & 0xFFFFFFFF, TSN)
    assert sack(end).duplicates == ()


def test_a_message_that_is_whole_waits_for_no_other_stream():
    """In one chunk or in several, although a chunk of another is missing."""
    end, events = inbound()
    give(end, 1, b"one", stream=1)
    assert events.pop().data == b"one"
    give(end, 3, b"b", flags=0, stream=2)
    give(end, 4, b"c", flags=END, stream=2)
    assert not events
    give(end, 2, b"a", flags=BEGIN, stream=2)
    assert events.pop().data == b"abc"
    give(end, 5, b"two", stream=1, ssn=1)
    assert events.pop().data == b"two"
    give(end, 0, b"zero", stream=0)
    assert events.pop().data == b"zero"
    assert end.whole
    assert sack(end).cumulative_tsn == (TSN + 5) & 0xFFFFFFFF


def test_what_exceeds_the_window_is_as_if_lost():
    """Short chunks count with what they cost, so that memory is bounded."""
    end, _ = inbound(window=10_000)
    for offset in range(1, 200):
        give(end, offset, ssn=offset)
    assert end.used <= 10_000
    held = 10_000 // (COST + 1)
    assert sack(end).gaps == ((2, held + 1),)
    give(end, 70_000, ssn=9)
    assert len(sack(end).gaps) == 1


def test_a_slow_application_closes_the_window_and_opens_it():
    """And the peer is told at once when it opens again."""
    end, events = inbound(window=100_000, limit=20_000)
    for offset in range(8):
        give(end, offset, bytes(19_000), ssn=offset)
    assert sack(end).rwnd == 0
    assert not end.open
    assert sack(end).cumulative_tsn == (TSN + 5) & 0xFFFFFFFF
    end.hurry = False
    while events:
        end.taken(events.popleft())
    assert end.hurry
    assert sack(end).rwnd == 100_000


def test_the_immediate_bit_hurries():
    """RFC 7053 section 5.2; DATA in sequence does not."""
    end, _ = inbound()
    give(end, 0)
    assert not end.hurry
    give(end, 1, ssn=1, flags=BEGIN | END | IMMEDIATE)
    assert end.hurry


def test_what_comes_of_a_long_message_shows_before_it_is_whole():
    """Each fragment does, behind a gap too; of what is whole nothing is left to come."""
    end, events = inbound()
    seen = [end.arriving]
    for offset, flags in ((0, BEGIN), (1, 0), (3, 0), (4, END)):
        give(end, offset, flags=flags)
        seen.append(end.arriving)
    assert seen == sorted(set(seen))
    give(end, 2, flags=0)
    assert len(events) == 1
    assert end.arriving == 0


def test_given_up_chunks_are_passed_over():
    """FORWARD-TSN (RFC 3758 section 3.6): what is behind it is told, what was begun is dropped."""
    end, events = inbound()
    give(end, 0, b"begun", flags=BEGIN)
    give(end, 2, b"kept", ssn=1)
    give(end, 5, b"last", ssn=2)
    end.forward((TSN + 4) & 0xFFFFFFFF, ((0, 1),))
    assert [event.data for event in events] == [b"kept", b"last"]
    assert sack(end).cumulative_tsn == (TSN + 5) & 0xFFFFFFFF
    end.forward(TSN, ())
    assert sack(end).cumulative_tsn == (TSN + 5) & 0xFFFFFFFF


@pytest.mark.parametrize("behind", [0, 30])
def test_chunks_are_passed_over_alike_however_many_are_behind_them(behind):
    """What is whole is told in order, what is not is dropped."""
    end, events = inbound()
    give(end, 4, b"fourth", ssn=3)
    give(end, 1, b"loose", flags=BEGIN | END | UNORDERED)
    give(end, 3, b"half", flags=END, ssn=2)
    give(end, 2, b"second", ssn=1)
    for offset in range(6, 6 + behind):
        give(end, offset, b"%d" % offset, ssn=offset - 1)
    assert [event.data for event in events] == [b"loose"]
    end.forward((TSN + 4) & 0xFFFFFFFF, ((0, 2), (0, 2), (0, 0)))
    assert [event.data for event in events] == [b"loose", b"second", b"fourth"]
    events.clear()
    give(end, 5, b"5", ssn=4)
    assert [event.data for event in events] == [b"%d" % at for at in range(5, 6 + behind)]
    assert end.whole


@pytest.mark.parametrize("behind", [0, 30])
def test_numbers_are_passed_over_alike_however_many_wait_behind_them(behind):
    """Those up to the one that is named are told in order, and those behind it wait on."""
    end, events = inbound()
    ssns = [2, 1, *range(5, 5 + behind)]
    for offset, ssn in enumerate(ssns):
        give(end, offset, b"%d" % ssn, ssn=ssn)
    end.forward((TSN + len(ssns)) & 0xFFFFFFFF, ((0, 3),))
    assert [event.data for event in events] == [b"1", b"2"]
    give(end, len(ssns) + 1, b"4", ssn=4)
    assert [event.data for event in list(events)[2:]] == [b"%d" % n for n in range(4, 5 + behind)]
    while events:
        end.taken(events.popleft())
    assert end.used == 0


def test_a_reset_begins_a_stream_again():
    """The first number is the next one."""
    end, events = inbound()
    give(end, 0, b"a", stream=1)
    give(end, 1, b"b", stream=1, ssn=1)
    end.reset((1,))
    give(end, 2, b"c", stream=1)
    assert [event.data for event in events] == [b"a", b"b", b"c"]
    end.reset(())
    give(end, 3, b"d", stream=1)
    assert events[-1].data == b"d"


@pytest.mark.parametrize(
    "chunks",
    [
        [(BEGIN, 0, 0), (BEGIN, 0, 0)],
        [(0, 0, 0)],
        [(END, 0, 0)],
        [(BEGIN, 0, 0), (0, 1, 0)],
        [(BEGIN, 0, 0), (END, 0, 1)],
        [(BEGIN, 0, 0), (UNORDERED, 0, 0)],
    ],
)
def test_fragments_that_do_not_follow_are_a_violation(chunks):
    """They have consecutive TSNs, so nothing may come between."""
    end, _ = inbound()
    for offset, (flags, stream, ssn) in enumerate(chunks[:-1]):
        give(end, offset, flags=flags, stream=stream, ssn=ssn)
    flags, stream, ssn = chunks[-1]
    with pytest.raises(Violation):
        give(end, len(chunks) - 1, flags=flags, stream=stream, ssn=ssn)


def test_a_message_longer_than_announced_is_a_violation():
    """Before it takes more memory than that, in few chunks and in many."""
    for size in (5000, 10):
        end, _ = inbound()
        give(end, 0, bytes(size), flags=BEGIN)

        def flood(end=end, size=size):
            for offset in range(1, 10_000):
                give(end, offset, bytes(size), flags=0)

        with pytest.raises(Violation):
            flood()
        assert end.reassembly.size <= LIMIT + 5000 + 16 * LIMIT // 10


def test_a_stream_that_does_not_exist_is_refused():
    """Its number is kept for an ERROR (RFC 9260 section 6.5), and its data dropped."""
    end, events = inbound(streams=3)
    give(end, 0, stream=3)
    assert end.refused == 3
    assert not events
    assert sack(end).cumulative_tsn == TSN


def test_many_duplicates_do_not_make_a_sack_long():
    """Only so many are told."""
    end, _ = inbound()
    give(end, 0)
    for _ in range(1000):
        give(end, 0)
    assert len(sack(end).duplicates) == DUPLICATES


def test_many_gaps_fit_one_sack():
    """The lowest of them; more do not fit a packet."""
    end, _ = inbound(window=1 << 24)
    offsets = list(range(1, 5000, 2))
    random.Random(1).shuffle(offsets)
    for offset in offsets:
        give(end, offset, ssn=offset)
    chunk = end.sack(1160)
    assert len(chunk) <= 1160
    assert sack(end).gaps[0] == (2, 2)
