"""How an association begins, by section of RFC 9260, against a far end made by hand."""

from __future__ import annotations

import itertools
import random

import pytest

from p2pxfer.sctp import chunks as c
from p2pxfer.sctp import events as e
from p2pxfer.sctp.association import State
from p2pxfer.sctp.packets import encode
from p2pxfer.sctp.parameters import ParameterType, extensions, find, write_tlvs
from tests.sctp.far_end import COOKIE, EXTENSIONS, RWND, TAG, TSN, FarEnd, data

LIFETIME = 60.0  # of a cookie, section 16


@pytest.fixture
def far():
    return FarEnd()


def causes(chunk):
    assert isinstance(chunk, c.Abort | c.Error), chunk
    return [code for code, _ in chunk.causes]


def established(far):
    return [event for event in far.events() if isinstance(event, e.Established)]


# --- 5.1 Normal establishment --------------------------------------------------------------------


def test_5_1_a_init_travels_with_a_tag_of_zero_and_a_checksum(far):
    """With this end's own tag, window, streams and first TSN."""
    far.association.connect(far.now)
    (packet,) = far.take()
    (init,) = packet.chunks
    assert packet.tag == 0
    assert packet.checksum != 0
    assert init.tag != 0
    assert init.rwnd >= 1500
    assert init.outbound_streams == init.inbound_streams == 65535
    assert far.association.state is State.COOKIE_WAIT


def test_5_1_a_init_lists_its_extensions(far):
    """RFC 5061 section 4.2.7 and RFC 3758 section 3.1."""
    init = far.connect()
    assert extensions(init.parameters) == {130, 192}
    assert find(init.parameters, ParameterType.FORWARD_TSN_SUPPORTED) == b""
    assert find(init.parameters, ParameterType.ZERO_CHECKSUM_ACCEPTABLE) is None


def test_5_1_b_init_is_answered_and_nothing_is_begun(far):
    """INIT ACK bears the INIT's tag outside, a cookie inside; no state is kept."""
    far.association.receive([encode(0, [far.init()])], far.now)
    (packet,) = far.take()
    (ack,) = packet.chunks
    assert packet.tag == TAG
    assert isinstance(ack, c.InitAck)
    assert find(ack.parameters, ParameterType.STATE_COOKIE)
    assert far.association.state is State.CLOSED
    assert far.events() == []


def test_5_1_c_the_cookie_is_echoed_as_it_came(far):
    """To the tag of INIT ACK; the association is not up yet."""
    far.connect()
    assert far.give(far.init_ack()) == [c.CookieEcho(COOKIE)]
    assert far.association.state is State.COOKIE_ECHOED
    assert far.events() == []


def test_5_1_d_a_cookie_brings_the_association_up(far):
    """Who sent INIT is answered and told; streams are the fewer of both ends'."""
    cookie = far.cookie_for(far.init())
    assert far.give(c.CookieEcho(cookie)) == [c.CookieAck()]
    assert far.association.state is State.ESTABLISHED
    assert far.events() == [
        e.Established(RWND, 50, 100, e.Capability.RECONFIGURATION | e.Capability.FORWARD_TSN)
    ]


def test_5_1_e_cookie_ack_brings_the_association_up(far):
    """And stops T1-cookie."""
    far.connect()
    far.give(far.init_ack())
    assert far.give(c.CookieAck()) == []
    assert len(established(far)) == 1
    assert c.CookieEcho(COOKIE) not in far.wait(60)


def test_5_1_data_may_come_with_the_cookie(far):
    """Section 5.1 lets COOKIE ECHO and DATA share a packet; the COOKIE ACK comes first."""
    cookie = far.cookie_for(far.init())
    answer = far.give(c.CookieEcho(cookie), data(0, b"early"))
    assert answer[0] == c.CookieAck()
    assert far.events()[1:] == [e.Message(0, 53, b"early")]


def test_5_1_messages_queued_before_leave_when_it_is_up(far):
    """The first TSN is that of INIT."""
    far.connect()
    far.association.send(3, 51, b"queued")
    assert far.give(far.init_ack()) == [c.CookieEcho(COOKIE)]
    (sent,) = far.give(c.CookieAck())
    assert (sent.tsn, sent.stream_id, sent.ssn, sent.payload) == (far.tsn, 3, 0, b"queued")


def test_5_1_6_init_is_sent_again_unchanged_and_given_up(far):
    """T1-init: ever longer waits, then the end is told."""
    init = far.connect()
    again = far.wait(300)
    assert 3 <= len(again) <= 20
    assert set(again) == {init}
    (closed,) = far.events()
    assert isinstance(closed, e.Closed)
    assert not closed.clean
    assert far.association.deadline() is None


def test_5_1_6_the_cookie_is_sent_again_and_given_up(far):
    """T1-cookie likewise."""
    far.connect()
    far.give(far.init_ack())
    assert set(far.wait(300)) == {c.CookieEcho(COOKIE)}
    assert [type(event) for event in far.events()] == [e.Closed]


def test_5_1_a_second_connect_changes_nothing(far):
    """Under WebRTC it may be asked for twice."""
    far.connect()
    far.association.connect(far.now)
    assert far.chunks() == []


# --- 3.3.2 and 3.3.3 what INIT may say -----------------------------------------------------------


def test_3_3_2_an_init_with_a_tag_of_zero_is_dropped(far):
    """There is nobody to answer."""
    assert far.give(far.init(tag=0), tag=0) == []


@pytest.mark.parametrize(
    "changes", [{"outbound_streams": 0}, {"inbound_streams": 0}, {"rwnd": 1499}]
)
def test_3_3_2_an_init_without_streams_or_window_is_aborted(far, changes):
    """To the tag it named; nothing is begun."""
    far.association.receive([encode(0, [far.init(**changes)])], far.now)
    (packet,) = far.take()
    assert packet.tag == TAG
    assert isinstance(packet.chunks[0], c.Abort)
    assert far.association.state is State.CLOSED
    assert far.events() == []


@pytest.mark.parametrize("changes", [{"outbound_streams": 0}, {"inbound_streams": 0}])
def test_3_3_3_an_init_ack_without_streams_ends_it(far, changes):
    """ABORT to the far end, and the end is told."""
    far.connect()
    (abort,) = far.give(far.init_ack(**changes))
    assert causes(abort) == [7]
    assert [type(event) for event in far.events()] == [e.Closed]


def test_3_3_3_an_init_ack_with_a_tag_of_zero_ends_it(far):
    """And is not answered with an echo."""
    far.connect()
    assert far.give(far.init_ack(tag=0)) == []
    assert [type(event) for event in far.events()] == [e.Closed]


def test_3_3_3_an_init_ack_without_a_cookie_is_aborted(far):
    """Cause 2 names parameter 7."""
    far.connect()
    ack = c.InitAck(TAG, RWND, 1, 1, TSN, EXTENSIONS)
    (abort,) = far.give(ack)
    assert abort.causes == ((2, bytes.fromhex("00000001 0007")),)


# --- 3.2.1 unknown parameters --------------------------------------------------------------------

UNKNOWN = ((0x3FFF, b"stop"), (0x7FFF, b"stop!"), (0xBFFF, b"skip"), (0xFFFF, b"skip!"))


def reported(ack):
    return [value for kind, value in ack.parameters if kind == ParameterType.UNRECOGNIZED]


def test_3_2_1_unknown_parameters_of_init_are_reported_whole(far):
    """Those whose types ask for it, up to one that stops; none refuses the INIT."""
    skipped, told, stopping, beyond = UNKNOWN[2], UNKNOWN[3], UNKNOWN[1], (0xFFFE, b"never seen")
    (ack,) = far.give(far.init((skipped, told, stopping, beyond)), tag=0)
    assert reported(ack) == [write_tlvs([told]), write_tlvs([stopping])]


@pytest.mark.parametrize("parameter", UNKNOWN[:1] + UNKNOWN[2:3])
def test_3_2_1_an_unknown_parameter_that_asks_for_silence_gets_it(far, parameter):
    """Stopped at or skipped."""
    (ack,) = far.give(far.init((parameter,)), tag=0)
    assert reported(ack) == []


def test_3_2_1_what_stands_before_one_that_stops_counts_and_what_follows_does_not():
    """Supported Extensions behind it are not seen."""
    before, behind = (EXTENSIONS[1], UNKNOWN[0]), (UNKNOWN[0], EXTENSIONS[1])
    for parameters, expected in ((before, 1), (behind, 0)):
        fresh = FarEnd()
        cookie = fresh.cookie_for(fresh.init(parameters))
        fresh.give(c.CookieEcho(cookie))
        (event,) = established(fresh)
        assert bool(event.capabilities & e.Capability.RECONFIGURATION) == bool(expected)


def test_3_2_1_unknown_parameters_of_init_ack_are_reported_by_error(far):
    """The cookie goes first (section 5.1)."""
    far.connect()
    echo, error = far.give(far.init_ack((*EXTENSIONS, UNKNOWN[3])))
    assert echo == c.CookieEcho(COOKIE)
    assert error.causes == ((8, write_tlvs([UNKNOWN[3]])),)


# --- 5.1.3 to 5.1.5 the cookie -------------------------------------------------------------------


def test_5_1_3_a_cookie_with_any_bit_changed_is_dropped(far):
    """Silently, and the right one still works."""
    cookie = far.cookie_for(far.init())
    for at in range(len(cookie)):
        wrong = cookie[:at] + bytes([cookie[at] ^ 1]) + cookie[at + 1 :]
        assert far.give(c.CookieEcho(wrong)) == []
    for wrong in (b"", cookie[:-1], cookie + b"\0"):
        assert far.give(c.CookieEcho(wrong)) == []
    assert far.give(c.CookieEcho(cookie)) == [c.CookieAck()]


def test_5_1_3_a_cookie_of_another_end_is_dropped(far):
    """Its key is drawn anew for every association."""
    other = FarEnd()
    other.association._handshake._secret = random.Random(8).randbytes(32)
    cookie = other.cookie_for(other.init())
    far.cookie_for(far.init())
    assert far.give(c.CookieEcho(cookie)) == []


def test_5_1_5_a_stale_cookie_is_told(far):
    """Cause 3 with its staleness in microseconds; nothing is begun."""
    cookie = far.cookie_for(far.init())
    far.now += LIFETIME + 2.0
    (error,) = far.give(c.CookieEcho(cookie))
    assert error.causes == ((3, (2_000_000).to_bytes(4, "big")),)
    assert far.events() == []


def test_5_1_5_a_cookie_under_another_tag_is_dropped(far):
    """Its packet's tag is that of the INIT ACK."""
    cookie = far.cookie_for(far.init())
    assert far.give(c.CookieEcho(cookie), tag=far.tag ^ 1) == []
    assert far.events() == []


# --- 5.2 unexpected ------------------------------------------------------------------------------


def test_5_2_1_in_cookie_wait_an_init_is_answered_with_this_ends_own_tag(far):
    """And the TSN of its own INIT; its own attempt goes on."""
    mine = far.connect()
    (ack,) = far.give(far.init(), tag=0)
    assert (ack.tag, ack.tsn) == (mine.tag, mine.tsn)
    assert far.association.state is State.COOKIE_WAIT
    assert far.give(far.init_ack()) == [c.CookieEcho(COOKIE)]


def test_5_2_1_in_cookie_echoed_likewise(far):
    """The same tag once more."""
    mine = far.connect()
    far.give(far.init_ack())
    (ack,) = far.give(far.init(), tag=0)
    assert (ack.tag, ack.tsn) == (mine.tag, mine.tsn)
    assert far.association.state is State.COOKIE_ECHOED


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_5_2_1_colliding_inits_make_one_association(order):
    """INIT, INIT ACK and COOKIE ECHO of the far end in any order that its own rules allow."""
    far = FarEnd()
    far.connect()
    cookies: list[bytes] = []

    def init():
        (ack,) = [chunk for chunk in far.give(far.init(), tag=0) if isinstance(chunk, c.InitAck)]
        cookies.append(find(ack.parameters, ParameterType.STATE_COOKIE))

    def init_ack():
        far.give(far.init_ack())

    def cookie_echo():
        if not cookies:
            init()
        assert c.CookieAck() in far.give(c.CookieEcho(cookies[0]))

    steps = (init, init_ack, cookie_echo)
    for step in order:
        steps[step]()
    far.give(c.CookieAck())
    assert len(established(far)) == 1
    assert far.association.state is State.ESTABLISHED
    assert not any(isinstance(chunk, c.Init | c.CookieEcho) for chunk in far.wait(30))
    far.give(data(0, b"works"))
    assert far.events() == [e.Message(0, 53, b"works")]


def test_5_2_1_two_of_these_ends_collide():
    """Both begin at once; each gets the other's messages."""
    ends = FarEnd(), FarEnd()
    ends[1].association._handshake.tag = 0x12345678
    ends[1].association._receiving = type(ends[1].association._receiving)(
        ends[1].association, ends[1].association._config, 0x12345678
    )
    for end in ends:
        end.association.connect(end.now)
        end.association.send(1, 53, b"hello")
    got: list[list[object]] = [[], []]
    for _ in range(20):
        for at, end in enumerate(ends):
            while (transmit := end.association.transmit(end.now)) is not None:
                ends[1 - at].association.receive(transmit.packets, end.now)
        for at, end in enumerate(ends):
            got[at] += end.events()
            end.now += 0.05
            end.association.handle_timer(end.now)
    for told in got:
        assert [type(event) for event in told].count(e.Established) == 1
        assert e.Message(1, 53, b"hello") in told


def test_5_2_2_an_init_when_established_disturbs_nothing(far):
    """It is answered, with a tag that is not the one in use; the association goes on."""
    far.establish()
    tag = far.tag
    (ack,) = far.give(far.init(tag=0xCCCC0001), tag=0)
    assert isinstance(ack, c.InitAck)
    assert ack.tag != tag
    far.give(data(0, b"on"))
    assert far.events() == [e.Message(0, 53, b"on")]


def test_5_2_2_a_peer_that_restarts_is_refused(far):
    """Action A: under DTLS a restart would be another association."""
    far.establish()
    tag = far.tag
    cookie = far.cookie_for(far.init(tag=0xCCCC0001, tsn=5))
    assert far.give(c.CookieEcho(cookie)) == []
    assert far.give(c.CookieEcho(cookie), tag=tag) == []
    far.tag = tag
    far.give(data(0, b"on"))
    assert far.events() == [e.Message(0, 53, b"on")]


@pytest.mark.parametrize("state", ["closed", "echoed", "established"])
def test_5_2_3_an_unexpected_init_ack_is_dropped(far, state):
    """In any state but COOKIE-WAIT."""
    if state == "closed":
        far.tag = far.association._handshake.tag
    elif state == "echoed":
        far.connect()
        far.give(far.init_ack())
    else:
        far.establish()
    before = far.association.state
    assert far.give(far.init_ack(tag=0xDDDD0001)) == []
    assert far.association.state is before
    assert far.events() == []


def test_5_2_4_b_a_far_end_that_began_twice_is_taken_by_its_cookie(far):
    """INIT bore one tag, INIT ACK another: the cookie's counts, and the echo is sent no more."""
    far.connect()
    cookie = far.cookie_for(far.init(tag=0xAAAA0001, tsn=77))
    assert far.give(far.init_ack(tag=0xAAAA0002)) == [c.CookieEcho(COOKIE)]
    far.association.receive([encode(far.tag, [c.CookieEcho(cookie)])], far.now)
    (packet,) = far.take()
    assert (packet.tag, packet.chunks) == (0xAAAA0001, (c.CookieAck(),))
    assert len(established(far)) == 1
    assert c.CookieEcho(COOKIE) not in far.wait(30)
    far.give(c.Data(3, 77, 0, 0, 53, b"on"))
    assert far.events() == [e.Message(0, 53, b"on")]


def test_5_2_4_b_not_once_data_was_exchanged(far):
    """Another tag then would lose what is under way: the cookie is dropped."""
    far.connect()
    late = far.cookie_for(far.init(tag=0xAAAA0001, tsn=77))
    far.give(far.init_ack())
    far.give(c.CookieAck())
    far.give(data(0, b"one"))
    assert c.CookieAck() not in far.give(c.CookieEcho(late))
    far.give(data(1, b"two"))
    assert [event.data for event in far.events() if isinstance(event, e.Message)] == [
        b"one",
        b"two",
    ]


def test_5_2_4_d_a_cookie_that_comes_twice_is_answered_twice(far):
    """The COOKIE ACK was lost; nothing begins anew, also after the cookie's lifetime."""
    cookie = far.cookie_for(far.init())
    far.give(c.CookieEcho(cookie))
    far.give(data(0, b"one"))
    far.events()
    far.now += 2 * LIFETIME
    assert c.CookieAck() in far.give(c.CookieEcho(cookie))
    far.give(data(1, b"two"))
    assert far.events() == [e.Message(0, 53, b"two")]


def test_5_2_5_a_second_cookie_ack_is_dropped(far):
    """In any state but COOKIE-ECHOED."""
    far.establish()
    assert far.give(c.CookieAck()) == []
    assert far.events() == []
    fresh = FarEnd()
    fresh.connect()
    assert fresh.give(c.CookieAck()) == []
    assert fresh.association.state is State.COOKIE_WAIT


def test_5_2_6_a_stale_cookie_begins_again(far):
    """With a new INIT of the same tag; what answers it is taken."""
    far.connect()
    far.give(far.init_ack())
    (init,) = far.give(c.Error(((3, bytes(4)),)))
    assert isinstance(init, c.Init)
    assert far.give(far.init_ack()) == [c.CookieEcho(COOKIE)]
    far.give(c.CookieAck())
    assert len(established(far)) == 1


def test_5_2_6_a_stale_cookie_error_means_nothing_later(far):
    """An association that is up stays up."""
    far.establish()
    assert far.give(c.Error(((3, bytes(4)),))) == []
    assert far.association.state is State.ESTABLISHED


# --- 8.5 tags, before the association is up ------------------------------------------------------


def test_8_5_1_a_an_init_with_another_tag_than_zero_is_dropped(far):
    """Before and after the association is up."""
    assert far.give(far.init(), tag=5) == []
    far.establish()
    assert far.give(far.init()) == []


def test_6_10_an_init_beside_another_chunk_is_dropped(far):
    """Either way round."""
    assert far.give(far.init(), c.CookieAck(), tag=0) == []
    assert far.give(c.CookieAck(), far.init(), tag=0) == []
    far.connect()
    assert far.give(far.init_ack(), c.CookieAck()) == []
    assert far.association.state is State.COOKIE_WAIT


def test_6_8_an_init_with_a_wrong_checksum_is_dropped(far):
    """Silently."""
    packet = bytearray(encode(0, [far.init()]))
    packet[8] ^= 1
    assert far.put(bytes(packet)) == []


def test_3_1_a_packet_for_other_ports_is_dropped(far):
    """Neither INIT nor DATA."""
    assert far.put(encode(0, [far.init()], source=5001)) == []
    assert far.put(encode(0, [far.init()], destination=5001)) == []
    far.establish()
    assert far.put(encode(far.tag, [data(0)], source=5001)) == []
    assert far.events() == []
