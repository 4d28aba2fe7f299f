"""Data channels, by section of RFC 8831 and 8832: what leaves, is told and is refused."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.sctp import events as e
from p2pxfer.sctp.datachannel import (
    MAX_CHANNELS,
    MAX_REFUSED,
    ChannelAccepted,
    ChannelClosed,
    ChannelClosing,
    ChannelMessage,
    ChannelOpened,
    ChannelSent,
    DataChannels,
)
from p2pxfer.sctp.dcep import MAX_NAME, read_open

EVERYTHING = e.Capability.RECONFIGURATION | e.Capability.FORWARD_TSN
ACK = b"\x02"


class Association:
    """What channels ask of one, written down."""

    def __init__(self):
        self.sent, self.reset, self.events = [], [], deque()

    def send(self, stream_id, ppid, data, *, unordered=False):
        self.sent.append((stream_id, int(ppid), data, unordered))

    def reset_streams(self, ids):
        self.reset += ids

    def next_event(self):
        return self.events.popleft() if self.events else None


class End:
    """Channels over such an association."""

    def __init__(self, *, client=True, streams=65535, capabilities=EVERYTHING, established=True):
        self.association = Association()
        self.channels = DataChannels(self.association, client=client)
        self.established = e.Established(1 << 20, streams, streams, capabilities)
        if established:
            assert self.told(self.established) == [self.established]

    @property
    def sent(self):
        return self.association.sent

    @property
    def reset(self):
        return self.association.reset

    def told(self, *events):
        """What is told when the association tells these."""
        self.association.events.extend(events)
        found = []
        while (event := self.channels.next_event()) is not None:
            found.append(event)
        return found

    def message(self, stream_id, ppid, data):
        return self.told(e.Message(stream_id, ppid, data))


@pytest.fixture
def end():
    return End()


def opening(label=b"", protocol=b"", kind=0, priority=256, limit=0):
    """DATA_CHANNEL_OPEN as RFC 8832 section 5.1 draws it."""
    return (
        bytes([3, kind])
        + priority.to_bytes(2, "big")
        + limit.to_bytes(4, "big")
        + len(label).to_bytes(2, "big")
        + len(protocol).to_bytes(2, "big")
        + label
        + protocol
    )


# --- opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "numbers"), [(True, [0, 2, 4]), (False, [1, 3, 5])])
def test_8832_6_the_dtls_client_has_the_even_numbers(client, numbers):
    """And the server the odd ones."""
    end = End(client=client)
    assert [end.channels.open("x") for _ in numbers] == numbers


def test_8832_5_1_open_is_its_bytes(end):
    """Reliable and ordered, of normal priority, with its names in UTF-8."""
    end.channels.open("für", "p2p")
    assert end.sent == [
        (0, 50, bytes.fromhex("03 00 0100 00000000 0004 0003 66c3bc72 703270"), False)
    ]


def test_8832_5_1_an_unordered_channel_says_so(end):
    """Bit 0x80 of the channel type."""
    end.channels.open("x", ordered=False)
    assert end.sent[0][2][:2] == b"\x03\x80"


def test_8832_6_an_answer_is_told_once(end):
    """The acknowledgement, and the one that a message implies."""
    end.channels.open("x")
    assert end.message(0, 50, ACK) == [ChannelAccepted(0)]
    assert end.message(0, 50, ACK) == []
    end.channels.open("y")
    assert end.message(2, 53, b"data") == [ChannelAccepted(2), ChannelMessage(2, b"data")]


def test_8832_6_order_is_kept_until_the_far_end_has_the_channel(end):
    """So that no message overtakes its OPEN."""
    end.channels.open("x", ordered=False)
    end.channels.send(0, b"early")
    end.message(0, 50, ACK)
    end.channels.send(0, b"late")
    assert [unordered for *_, unordered in end.sent] == [False, False, True]


def test_8832_6_an_open_is_granted_and_acknowledged(end):
    """On a number of the far end's; it may be used at once."""
    assert end.message(1, 50, opening("für".encode(), b"p2p")) == [
        ChannelOpened(1, "für", "p2p", ordered=True)
    ]
    assert end.sent == [(1, 50, ACK, False)]
    end.channels.send(1, b"hello")
    assert end.sent[1:] == [(1, 53, b"hello", False)]
    assert end.message(1, 51, b"hi") == [ChannelMessage(1, "hi")]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (0x00, (True, None, None)),
        (0x01, (True, 7, None)),
        (0x02, (True, None, 7)),
        (0x80, (False, None, None)),
        (0x81, (False, 7, None)),
        (0x82, (False, None, 7)),
    ],
)
def test_8832_5_1_all_six_types_are_granted(end, kind, expected):
    """What the far end limits is told; this end sends reliably all the same."""
    (opened,) = end.message(1, 50, opening(kind=kind, limit=7))
    assert (opened.ordered, opened.max_retransmits, opened.max_lifetime) == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(opening(kind=0x03), id="a type that is none"),
        pytest.param(opening(kind=0x40), id="another"),
        pytest.param(opening(b"label") + b"x", id="too long"),
        pytest.param(opening(b"label")[:-1], id="too short"),
        pytest.param(opening()[:11], id="half a header"),
        pytest.param(b"\x03", id="its type alone"),
        pytest.param(opening(b"l" * (MAX_NAME + 1)), id="a label too long"),
        pytest.param(opening(b"", b"p" * (MAX_NAME + 1)), id="a protocol too long"),
    ],
)
def test_8832_6_a_wrong_open_resets_its_stream(end, data):
    """Nothing is told, nothing is acknowledged."""
    assert end.message(1, 50, data) == []
    assert end.sent == []
    assert end.reset == [1]


def test_8832_6_names_that_are_no_utf8_are_told_with_marks(end):
    """A label is shown to people and decides nothing."""
    (opened,) = end.message(1, 50, opening(b"\xff\xfe"))
    assert opened.label == "��"


def test_8832_6_an_open_on_this_ends_numbers_is_refused(end):
    """The far end must use the other parity."""
    assert end.message(2, 50, opening()) == []
    assert end.reset == [2]


def test_8832_6_an_open_on_an_open_channel_closes_it(end):
    """Of the far end's, of this end's, and one that was negotiated."""
    end.message(1, 50, opening())
    end.channels.open("x")
    end.channels.open("y", id=7, negotiated=True)
    for stream_id in (1, 0, 7):
        assert end.message(stream_id, 50, opening()) == [ChannelClosing(stream_id)]
        with pytest.raises(ValueError, match="not open"):
            end.channels.send(stream_id, b"")
    assert end.reset == [1, 0, 7]


def test_8832_6_data_before_open_resets_the_stream_once(end):
    """However much comes; once the reset is done it would be reset again."""
    for _ in range(5):
        assert end.message(1, 53, b"data") == []
    assert end.message(1, 50, ACK) == []
    assert end.message(1, 50, opening()) == []
    assert end.reset == [1]
    end.told(e.StreamsReset((1,), incoming=True), e.StreamsReset((1,), incoming=False))
    assert end.message(1, 50, opening(b"again")) == [ChannelOpened(1, "again", "", ordered=True)]


def test_8832_6_channels_of_the_far_end_are_bounded(end):
    """One more than that is refused; once one is closed there is room."""
    for number in range(MAX_CHANNELS):
        assert len(end.message(2 * number + 1, 50, opening())) == 1
    beyond = 2 * MAX_CHANNELS + 1
    assert end.message(beyond, 50, opening()) == []
    assert end.reset == [beyond]
    end.told(e.StreamsReset((beyond,), incoming=False))
    end.channels.close(1)
    end.told(e.StreamsReset((1,), incoming=False), e.StreamsReset((1,), incoming=True))
    assert len(end.message(beyond, 50, opening())) == 1


def test_streams_reset_for_what_is_out_of_turn_are_bounded(end):
    """Stray data on every stream there is."""
    for stream_id in range(65535):
        end.message(stream_id, 53, b"x")
    assert len(end.reset) == MAX_REFUSED == len(end.channels._refused)


def test_8831_6_4_a_negotiated_channel_sends_no_open(end):
    """Both ends have it by agreement; either parity is right."""
    assert end.channels.open("x", id=5, negotiated=True) == 5
    assert end.sent == []
    end.channels.send(5, "hi")
    assert end.sent == [(5, 51, b"hi", False)]
    assert end.message(5, 53, b"ho") == [ChannelMessage(5, b"ho")]


@pytest.mark.parametrize(
    "options",
    [
        {"id": 1},
        {"id": -1, "negotiated": True},
        {"id": 65535, "negotiated": True},
        {"id": 3, "negotiated": True},
        {"negotiated": True},
        {"label": "x" * (MAX_NAME + 1)},
        {"protocol": "ü" * MAX_NAME},
    ],
)
def test_what_cannot_be_opened_is_refused(end, options):
    """A number of the other side's, out of range or taken, none, and names too long."""
    end.channels.open("taken", id=3, negotiated=True)
    before = list(end.sent)
    with pytest.raises(ValueError, match=r"number|bytes"):
        end.channels.open(**{"label": "", **options})
    assert end.sent == before


def test_numbers_run_out():
    """With as many streams as both ends agreed, and no further."""
    end = End(streams=10)
    assert [end.channels.open("x") for _ in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="no number is free"):
        end.channels.open("x")
    assert end.message(11, 50, opening()) == []


def test_what_is_opened_and_sent_before_the_association_is_up_leaves_when_it_is():
    """In order; a close as well."""
    end = End(established=False)
    end.channels.open("a")
    end.channels.send(0, b"one")
    end.channels.open("b", id=9, negotiated=True)
    end.channels.send(9, b"two")
    end.channels.close(9)
    assert end.sent == []
    assert end.reset == []
    assert end.told(end.established) == [end.established]
    assert [(stream_id, ppid) for stream_id, ppid, *_ in end.sent] == [(0, 50), (0, 53), (9, 53)]
    assert end.reset == [9]


def test_a_channel_beyond_the_streams_that_were_agreed_closes():
    """Its number was chosen before they were."""
    end = End(established=False, streams=4)
    end.channels.open("b", id=9, negotiated=True)
    end.channels.send(9, b"two")
    assert end.told(end.established) == [end.established, ChannelClosed(9)]
    assert end.sent == []


# --- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "ppid", "data"),
    [("hü", 51, b"h\xc3\xbc"), (b"\0\xff", 53, b"\0\xff"), ("", 56, b"\0"), (b"", 57, b"\0")],
)
def test_8831_6_6_text_and_bytes_and_nothing_have_their_identifiers(end, message, ppid, data):
    """There and back; a message of nothing takes one byte, which is not told."""
    end.channels.open("x", id=0, negotiated=True)
    end.channels.send(0, message)
    assert end.sent == [(0, ppid, data, False)]
    assert end.message(0, ppid, data) == [ChannelMessage(0, message)]


def test_8831_6_6_text_that_is_no_utf8_is_told_with_marks(end):
    """As browsers do."""
    end.channels.open("x", id=0, negotiated=True)
    assert end.message(0, 51, b"a\xff") == [ChannelMessage(0, "a�")]


@pytest.mark.parametrize("ppid", [52, 54])
def test_8831_6_6_a_partial_message_closes_the_channel(end, ppid):
    """Deprecated; passing over a half would corrupt what the channel carries."""
    end.channels.open("x", id=0, negotiated=True)
    assert end.message(0, ppid, b"half") == [ChannelClosing(0)]
    assert end.reset == [0]


@pytest.mark.parametrize("ppid", [0, 49, 55, 58, 2**32 - 1])
def test_8831_8_any_other_identifier_is_passed_over(end, ppid):
    """Not a data channel's message."""
    end.channels.open("x", id=0, negotiated=True)
    assert end.message(0, ppid, b"what") == []
    assert end.reset == []


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x01", b"\x04", b"\xff" * 50])
def test_8832_8_other_dcep_messages_are_passed_over(end, data):
    """On an open channel."""
    end.channels.open("x", id=0, negotiated=True)
    assert end.message(0, 50, data) == []
    assert end.reset == []


def test_what_left_is_told_without_the_protocols_own_bytes(end):
    """OPEN is no one's message."""
    end.channels.open("x")
    end.channels.send(0, b"12345")
    end.channels.send(0, b"")
    size = len(end.sent[0][2])
    assert end.channels.buffered(0) == 5
    assert end.told(e.Sent(0, size - 3)) == []
    assert end.told(e.Sent(0, 5)) == [ChannelSent(0, 2)]
    assert end.channels.buffered(0) == 3
    assert end.told(e.Sent(0, 4)) == [ChannelSent(0, 3)]
    assert end.channels.buffered(0) == 0
    assert end.told(e.Sent(8, 100)) == []


# --- closing -------------------------------------------------------------------------------------


def test_8831_6_7_closing_resets_this_ends_stream_and_waits_for_the_other(end):
    """Told once both are reset; nothing is sent or told in between."""
    end.channels.open("x")
    end.channels.send(0, b"last")
    end.channels.close(0)
    end.channels.close(0)
    assert end.reset == [0]
    with pytest.raises(ValueError, match="not open"):
        end.channels.send(0, b"more")
    assert end.message(0, 53, b"late") == []
    assert end.told(e.StreamsReset((0,), incoming=False)) == []
    assert end.told(e.StreamsReset((0,), incoming=True)) == [ChannelClosed(0)]
    assert end.told(e.StreamsReset((0,), incoming=True)) == []


def test_8831_6_7_the_far_ends_close_is_answered(end):
    """With this end's reset; told once that is done."""
    end.message(1, 50, opening())
    assert end.told(e.StreamsReset((1,), incoming=True)) == [ChannelClosing(1)]
    assert end.reset == [1]
    assert end.told(e.StreamsReset((1,), incoming=False)) == [ChannelClosed(1)]
    assert end.message(1, 50, opening(b"next")) == [ChannelOpened(1, "next", "", ordered=True)]


def test_8831_6_7_a_number_may_be_used_again_before_the_last_answer_has_come(end):
    """The far end has seen both resets and opens anew; its answer was lost and comes late."""
    end.message(1, 50, opening(b"first"))
    end.told(e.StreamsReset((1,), incoming=True))
    assert end.message(1, 50, opening(b"second")) == [
        ChannelClosed(1),
        ChannelOpened(1, "second", "", ordered=True),
    ]
    assert end.told(e.StreamsReset((1,), incoming=False)) == []
    assert end.message(1, 53, b"data") == [ChannelMessage(1, b"data")]


def test_8831_6_7_an_open_that_crosses_this_ends_close_is_passed_over(end):
    """Until the far end's stream is reset nothing new can be on it."""
    end.message(1, 50, opening())
    end.channels.close(1)
    assert end.message(1, 50, opening()) == []
    assert end.reset == [1]


def test_6525_all_streams_at_once(end):
    """A reset that names none is of all."""
    end.channels.open("x")
    end.message(1, 50, opening())
    assert end.told(e.StreamsReset((), incoming=True)) == [ChannelClosing(0), ChannelClosing(1)]
    assert sorted(end.reset) == [0, 1]
    assert end.told(e.StreamsReset((0, 1), incoming=False)) == [ChannelClosed(0), ChannelClosed(1)]


def test_6525_without_resets_a_channel_closes_on_this_end_alone():
    """The far end has no RE-CONFIG: there is nothing to wait for."""
    end = End(capabilities=e.Capability.NONE)
    end.channels.open("x")
    end.channels.close(0)
    assert end.told(e.StreamsReset((0,), incoming=False)) == [ChannelClosed(0)]
    end.message(3, 53, b"stray")
    assert end.reset == [0]


def test_6525_a_number_whose_reset_was_refused_is_not_used_again():
    """Its sequence numbers go on, so a new channel on it would be out of step."""
    end = End(streams=4)
    end.channels.open("x")
    end.channels.close(0)
    end.told(e.StreamsReset((0,), incoming=True))
    assert end.told(e.ResetRefused((0,))) == [ChannelClosed(0)]
    assert end.channels.open("y") == 2
    with pytest.raises(ValueError, match="no number"):
        end.channels.open("z")
    with pytest.raises(ValueError, match="taken"):
        end.channels.open("z", id=0)


def test_the_end_of_the_association_closes_every_channel(end):
    """Each is told, and the end last."""
    end.channels.open("x")
    end.message(1, 50, opening())
    closed = e.Closed("gone", clean=False)
    assert end.told(e.AllAcknowledged(), closed) == [
        e.AllAcknowledged(),
        ChannelClosed(0),
        ChannelClosed(1),
        closed,
    ]
    with pytest.raises(ValueError, match="not open"):
        end.channels.send(0, b"")


# --- anything ------------------------------------------------------------------------------------

IDS = st.integers(0, 7)
PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.builds(
        opening,
        st.binary(max_size=3),
        st.binary(max_size=3),
        st.integers(0, 255),
        st.integers(0, 65535),
        st.integers(0, 9),
    ),
)
FROM_BELOW = st.one_of(
    st.builds(e.Message, IDS, st.integers(48, 60), PAYLOADS),
    st.builds(e.Sent, IDS, st.integers(0, 100)),
    st.builds(e.StreamsReset, st.lists(IDS, max_size=3).map(tuple), st.booleans()),
    st.builds(e.ResetRefused, st.lists(IDS, max_size=3).map(tuple)),
    st.just(e.AllAcknowledged()),
)
FROM_ABOVE = st.sampled_from(["open", "close", "send"])


@given(st.lists(FROM_BELOW | st.tuples(FROM_ABOVE, IDS), max_size=40), st.booleans())
def test_whatever_happens_channels_are_told_in_turn(steps, client):
    """No message but between opened and closed, no channel closed twice, and no error."""
    end = End(client=client)
    known: set[int] = set()
    for step in steps:
        told = []
        if isinstance(step, tuple):
            what, number = step
            if (
                what == "open"
                and number not in end.channels._channels.keys() | end.channels._retired
            ):
                end.channels.open("x", id=number, negotiated=True)
                known.add(number)
            elif what == "close":
                end.channels.close(number)
            elif what == "send" and number in known and not end.channels._channels[number].closing:
                end.channels.send(number, "hello")
        else:
            told = end.told(step)
        for event in told:
            if isinstance(event, ChannelOpened):
                assert event.id not in known
                known.add(event.id)
            elif isinstance(event, ChannelClosed):
                known.remove(event.id)
            elif not isinstance(event, e.AllAcknowledged):
                assert event.id in known


@given(st.binary(max_size=40))
def test_any_bytes_are_an_open_or_none(data):
    """No error comes of them."""
    message = read_open(data)
    assert message is None or data[0] == 3
