"""Chunks that carry no data, tags, and the end, by section of RFC 9260."""

from __future__ import annotations

import pytest

from p2pxfer.sctp import chunks as c
from p2pxfer.sctp import events as e
from p2pxfer.sctp.association import State
from p2pxfer.sctp.packets import CHECKSUM, checksum, encode, parse
from p2pxfer.sctp.parameters import supported_extensions
from tests.sctp.far_end import EXTENSIONS, TAG, TSN, FarEnd, data, messages, only, sack

EARLIER = (TSN - 1) & 0xFFFFFFFF


@pytest.fixture
def far():
    return FarEnd().establish()


def ends(far):
    return [event for event in far.events() if isinstance(event, e.Closed)]


# --- 3.2 unknown chunks --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "answered", "goes_on"),
    [(0x3F, False, False), (0x7F, True, False), (0xBF, False, True), (0xFF, True, True)],
)
def test_3_2_an_unknown_chunk_is_stopped_at_or_skipped_and_reported_or_not(
    far, kind, answered, goes_on
):
    """By the two highest bits of its type; what came before it in the packet counts."""
    answer = far.give(data(0, b"before"), c.Unknown(kind, 1, b"what"), data(1, b"after", flags=11))
    assert messages(far) == [b"before"] + [b"after"] * goes_on
    errors = only(c.Error, answer)
    assert bool(errors) == answered
    if answered:
        assert errors[0].causes == ((6, bytes([kind, 1, 0, 8]) + b"what"),)


def test_3_2_chunks_of_extensions_that_were_not_agreed_do_no_harm(far):
    """I-DATA, AUTH, ASCONF, ASCONF ACK, I-FORWARD-TSN, ECNE and CWR."""
    for kind in (0x40, 0x0F, 0xC1, 0x80, 0xC2, 0x0C, 0x0D):
        far.give(c.Unknown(kind, 3, bytes(12)))
    far.give(data(0, b"on"))
    assert messages(far) == [b"on"]


@pytest.mark.parametrize(
    "body",
    [
        "00030010",
        "03000010 00000001",
        "0b000003 00000000",
        "c0000006 00000000",
        "06ff0002 00000000",
    ],
)
def test_3_2_a_packet_with_a_wrong_length_does_nothing_and_ends_nothing(far, body):
    """Not even what stands before the wrong chunk brings the association down."""
    packet = encode(far.tag, [data(0, b"first")]) + bytes.fromhex(body)
    far.put(packet[:8] + CHECKSUM.pack(checksum(packet)) + packet[12:])
    assert far.association.state is State.ESTABLISHED
    far.give(data(0, b"first"), data(1, b"on"))
    assert messages(far) == [b"first", b"on"]


# --- 8.3 heartbeats ------------------------------------------------------------------------------


@pytest.mark.parametrize("info", [b"", b"x", bytes(range(256)) * 3])
def test_8_3_a_heartbeat_is_echoed_byte_for_byte(far, info):
    """Whatever its information."""
    assert far.give(c.Heartbeat(info)) == [c.HeartbeatAck(info)]


def test_8_3_a_probe_of_the_path_is_echoed_without_its_padding(far):
    """RFC 8899 section 6.2.1 and RFC 4820: HEARTBEAT and PAD in one packet."""
    assert far.give(c.Heartbeat(b"probe"), c.Pad(1000)) == [c.HeartbeatAck(b"probe")]


def test_8_3_an_answer_that_was_not_asked_for_changes_nothing(far):
    """Of any length."""
    for info in (b"", b"x" * 16, bytes(1000)):
        assert far.give(c.HeartbeatAck(info)) == []
    assert far.association.state is State.ESTABLISHED


SIZES = (1172, 1252, 1424)
WERIFT = (EXTENSIONS[0], supported_extensions((192, 130)))


def probed(far, echoes):
    """The chunks' types of each probe, with the ones that ``echoes`` wants echoed."""
    found = []
    for _ in range(80):
        far.wait(0.5)
        probes, far.probes = far.probes, []
        for probe in probes:
            heartbeat, *rest = parse(probe).chunks
            assert len(probe) in SIZES
            found.append([type(chunk) for chunk in (heartbeat, *rest)])
            if echoes(heartbeat, rest):
                far.give(c.HeartbeatAck(heartbeat.info))
    return found


def test_8_3_this_ends_probes_are_heartbeats_filled_up():
    """With a PAD chunk (RFC 4820), as long as the size that they try, which counts once echoed."""
    far = FarEnd(packet_sizes=SIZES).establish()
    found = probed(far, lambda *_: True)
    assert found[:3] == [[c.Heartbeat, c.Pad]] * 3
    assert far.association.packet_size == 1424


def test_8_3_a_far_end_that_drops_padding_is_probed_without():
    """As one that knows no PAD chunk and drops what it comes in."""
    far = FarEnd(packet_sizes=SIZES).establish()
    probed(far, lambda _, rest: not rest)
    assert far.association.packet_size == 1424


def test_8_3_a_far_end_that_padding_harms_gets_none():
    """Known by how it lists its extensions; not after losses either."""
    far = FarEnd(packet_sizes=SIZES).establish(WERIFT)
    turn = iter(range(1000))
    found = probed(far, lambda *_: next(turn) % 2)
    assert len(found) > 4
    assert all(chunks == [c.Heartbeat] for chunks in found)
    assert far.association.packet_size == 1424


# --- 8.4 and 8.5 tags and what comes out of the blue ---------------------------------------------


@pytest.mark.parametrize(
    "chunk",
    [
        data(0, flags=11),
        c.Sack(0, 0),
        c.Heartbeat(b"x"),
        c.Shutdown(0),
        c.ShutdownAck(),
        c.CookieAck(),
        c.CookieEcho(b"x"),
        c.Error(((6, b""),)),
        c.Abort(),
        c.ShutdownComplete(),
        c.Unknown(0xFF, 0, b""),
    ],
    ids=lambda chunk: type(chunk).__name__,
)
@pytest.mark.parametrize("tag", [0, 1, TAG])
def test_8_5_a_packet_with_another_tag_is_dropped(far, chunk, tag):
    """Silently; the far end's own tag is another tag too."""
    assert far.give(chunk, tag=tag) == []
    assert far.events() == []
    assert far.association.state is State.ESTABLISHED


def test_8_5_1_b_an_abort_counts_with_this_ends_tag_and_without_the_t_bit(far):
    """Its reason is told, made fit for people; nothing answers it."""
    assert far.give(c.Abort(((12, b"had enough\x1b[2J"),))) == []
    (closed,) = ends(far)
    assert not closed.clean
    assert "had enough" in closed.reason
    assert "\x1b" not in closed.reason
    assert far.give(data(0)) == []
    assert far.wait(60) == []


def test_8_5_1_b_an_abort_counts_with_the_far_ends_tag_and_the_t_bit(far):
    """What an end sends that has no association any more."""
    assert far.give(c.Abort(reflected_tag=True), tag=TAG) == []
    assert len(ends(far)) == 1


@pytest.mark.parametrize(
    ("reflected", "own"), [(True, True), (False, False)], ids=["own tag and T", "far tag, no T"]
)
@pytest.mark.parametrize("kind", [c.Abort, c.ShutdownComplete])
def test_8_5_1_forged_ends_are_dropped(far, kind, reflected, own):
    """The T bit goes with the far end's tag, and only with it."""
    chunk = c.Abort((), reflected) if kind is c.Abort else c.ShutdownComplete(reflected)
    assert far.give(chunk, tag=far.tag if own else TAG) == []
    assert far.events() == []
    far.give(data(0, b"on"))
    assert messages(far) == [b"on"]


def test_8_5_1_c_shutdown_complete_counts_only_after_shutdown_ack(far):
    """In any other state it is dropped."""
    assert far.give(c.ShutdownComplete()) == []
    assert far.events() == []
    assert far.association.state is State.ESTABLISHED


def test_8_4_shutdown_ack_out_of_the_blue_is_answered_with_the_t_bit():
    """By an end that has no association: the tag that came goes back."""
    far = FarEnd()
    far.tag = far.association.handshake.tag
    far.association.receive([encode(far.tag, [c.ShutdownAck()])], far.now)
    (packet,) = far.take()
    assert packet.chunks == (c.ShutdownComplete(reflected_tag=True),)
    assert packet.tag == far.tag


@pytest.mark.parametrize(
    "chunk",
    [
        data(0),
        c.Heartbeat(b"x"),
        c.Sack(0, 0),
        c.CookieAck(),
        c.Error(()),
        c.Shutdown(0),
    ],
    ids=lambda chunk: type(chunk).__name__,
)
def test_8_4_what_comes_before_anything_began_is_dropped(chunk):
    """No state, no answer, no error."""
    far = FarEnd()
    assert far.give(chunk, tag=far.association.handshake.tag) == []
    assert far.association.state is State.CLOSED
    assert far.give(far.init(), tag=0) != []


@pytest.mark.parametrize(
    "chunk",
    [data(0), c.Heartbeat(b"x"), c.Sack(0, 0), c.Error(()), c.Shutdown(0), c.Reconfig(())],
    ids=lambda chunk: type(chunk).__name__,
)
def test_5_1_in_cookie_echoed_only_the_handshake_counts(chunk):
    """DATA that overtook COOKIE ACK is not lost for good: it is not acknowledged."""
    far = FarEnd()
    far.connect()
    far.give(far.init_ack())
    assert only(c.Sack | c.Abort, far.give(chunk)) == []
    far.give(c.CookieAck())
    assert [type(event) for event in far.events()] == [e.Established]
    far.give(data(0, b"again"))
    assert messages(far) == [b"again"]


# --- 9.1 abort -----------------------------------------------------------------------------------


def test_9_1_an_abort_says_why_and_is_the_last_word(far):
    """Cause 12 with the reason; nothing queued leaves after it."""
    far.association.send(1, 53, b"queued")
    far.association.abort(far.now, "enough")
    (packet,) = far.take()
    assert packet.tag == TAG
    assert packet.chunks == (c.Abort(((12, b"enough"),)),)
    assert [event.clean for event in ends(far)] == [False]
    assert far.wait(60) == []
    with pytest.raises(ValueError, match="no more"):
        far.association.send(1, 53, b"late")


def test_9_1_an_abort_before_the_association_is_up_ends_it_too():
    """With nobody to tell it to, or with somebody."""
    far = FarEnd()
    far.connect()
    far.association.abort(far.now, "enough")
    assert far.chunks() == []
    assert len(ends(far)) == 1
    far = FarEnd()
    far.connect()
    far.give(far.init_ack())
    far.association.abort(far.now, "enough")
    assert far.chunks() == [c.Abort(((12, b"enough"),))]
    assert far.give(c.CookieAck()) == []
    assert len(ends(far)) == 1


def test_9_1_aborting_twice_tells_once(far):
    """As does aborting after the far end did."""
    far.give(c.Abort())
    far.association.abort(far.now, "me too")
    assert far.chunks() == []
    assert len(ends(far)) == 1


# --- 9.2 shutdown --------------------------------------------------------------------------------


def test_9_2_shutdown_waits_until_everything_has_arrived(far):
    """Then SHUTDOWN with what came, SHUTDOWN ACK, SHUTDOWN COMPLETE."""
    far.give(data(0))
    far.association.send(1, 53, b"last")
    far.association.shutdown(far.now)
    assert far.association.state is State.SHUTDOWN_PENDING
    with pytest.raises(ValueError, match="no more"):
        far.association.send(1, 53, b"late")
    assert [chunk.payload for chunk in only(c.Data, far.chunks())] == [b"last"]
    answer = far.give(sack(0, first=far.tsn))
    assert only(c.Shutdown, answer) == [c.Shutdown(TSN)]
    assert far.association.state is State.SHUTDOWN_SENT
    assert far.give(c.ShutdownAck()) == [c.ShutdownComplete()]
    assert [event.clean for event in ends(far)] == [True]
    assert far.wait(60) == []


def test_9_2_the_far_ends_shutdown_is_acknowledged_once_this_end_is_done(far):
    """What was queued still goes out; SHUTDOWN ACK follows its SACK."""
    far.association.send(1, 53, b"mine")
    far.chunks()
    assert only(c.ShutdownAck, far.give(c.Shutdown((far.tsn - 1) & 0xFFFFFFFF))) == []
    assert far.association.state is State.SHUTDOWN_RECEIVED
    assert far.give(sack(0, first=far.tsn)) == [c.ShutdownAck()]
    assert far.association.state is State.SHUTDOWN_ACK_SENT
    assert far.give(c.ShutdownComplete()) == []
    assert [event.clean for event in ends(far)] == [True]


def test_9_2_shutdown_acknowledges_like_a_sack(far):
    """Its cumulative TSN counts."""
    far.association.send(1, 53, b"mine")
    far.chunks()
    assert far.give(c.Shutdown(far.tsn)) == [c.ShutdownAck()]


def test_9_2_shutdowns_that_cross_end_both(far):
    """Both have sent SHUTDOWN: each acknowledges."""
    far.association.shutdown(far.now)
    assert far.chunks() == [c.Shutdown(EARLIER)]
    assert far.give(c.Shutdown((far.tsn - 1) & 0xFFFFFFFF)) == [c.ShutdownAck()]
    assert far.give(c.ShutdownAck()) == [c.ShutdownComplete()]
    assert [event.clean for event in ends(far)] == [True]


def test_9_2_shutdown_is_sent_again_and_given_up_in_the_end(far):
    """T2-shutdown and T5-shutdown-guard: ABORT, and the end is told."""
    far.association.shutdown(far.now)
    chunks = far.wait(120)
    assert len(only(c.Shutdown, chunks)) > 2
    assert isinstance(chunks[-1], c.Abort)
    assert [event.clean for event in ends(far)] == [False]
    assert far.association.deadline() is None


def test_9_2_shutdown_ack_is_sent_again_and_given_up_in_the_end(far):
    """The SHUTDOWN COMPLETE was lost; the far end is gone."""
    far.give(c.Shutdown((far.tsn - 1) & 0xFFFFFFFF))
    chunks = far.wait(120)
    assert len(only(c.ShutdownAck, chunks)) > 2
    assert len(ends(far)) == 1


def test_9_2_data_after_this_ends_shutdown_is_taken_and_answered(far):
    """The far end sends what it had queued; SHUTDOWN goes out again with what came."""
    far.association.shutdown(far.now)
    far.chunks()
    answer = far.give(data(0, b"still"), data(1, b"more"))
    assert messages(far) == [b"still", b"more"]
    assert c.Shutdown((TSN + 1) & 0xFFFFFFFF) in answer


def test_9_2_a_far_end_that_still_delivers_is_not_given_up(far):
    """However long it takes, and whichever of it is missing: T5 is about silence."""
    far.association.shutdown(far.now)
    for first in range(0, 30, 3):
        answer = far.give(data(first + 1)) + far.wait(20)
        assert only(c.Sack, answer)[0].gaps
        answer = far.give(data(first), data(first + 2)) + far.wait(20)
        assert only(c.Abort, answer) == []
        assert c.Shutdown((TSN + first + 2) & 0xFFFFFFFF) in answer
    assert len(messages(far)) == 30
    assert ends(far) == []


def test_9_2_a_shutdown_twice_is_answered_twice(far):
    """The SHUTDOWN ACK was lost."""
    again = c.Shutdown((far.tsn - 1) & 0xFFFFFFFF)
    assert far.give(again) == [c.ShutdownAck()]
    assert far.give(again) == [c.ShutdownAck()]


@pytest.mark.parametrize("kind", [c.Shutdown, c.ShutdownAck])
def test_9_2_a_shutdown_out_of_turn_is_dropped(kind):
    """Before the association is up; and SHUTDOWN ACK that nobody asked for."""
    far = FarEnd()
    far.connect()
    chunk = c.Shutdown(0) if kind is c.Shutdown else c.ShutdownAck()
    far.give(chunk)
    assert far.association.state is State.COOKIE_WAIT
    far = FarEnd().establish()
    assert far.give(c.ShutdownAck()) == []
    assert far.association.state is State.ESTABLISHED


def test_9_2_an_init_while_shutting_down_does_not_bring_it_back(far):
    """In SHUTDOWN-ACK-SENT the SHUTDOWN ACK is sent again, if anything."""
    far.give(c.Shutdown((far.tsn - 1) & 0xFFFFFFFF))
    answer = far.give(far.init(), tag=0)
    assert only(c.CookieAck, answer) == []
    assert far.association.state is State.SHUTDOWN_ACK_SENT


def test_8_4_after_the_end_only_shutdown_ack_is_answered(far):
    """So that a far end whose SHUTDOWN COMPLETE was lost ends too."""
    far.give(c.Abort())
    far.events()
    assert far.give(c.ShutdownAck()) == [c.ShutdownComplete(reflected_tag=True)]
    for chunk in (data(0), c.Heartbeat(b"x"), c.Shutdown(0), c.ShutdownComplete(), c.CookieAck()):
        assert far.give(chunk) == []
    assert far.give(far.init(), tag=0) == []
    assert far.events() == []
    assert far.association.deadline() is None
