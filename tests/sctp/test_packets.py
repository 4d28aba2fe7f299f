"""Packets against bytes made by hand, by section of RFC 9260 and its kin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.sctp import chunks as c
from p2pxfer.sctp.causes import (
    MAX_TEXT,
    describe,
    invalid_stream,
    missing_parameters,
    no_user_data,
    protocol_violation,
    stale_cookie,
    unrecognized_chunk,
    unrecognized_parameters,
    user_abort,
)
from p2pxfer.sctp.packets import Malformed, checksum, checksum_valid, encode, parse
from p2pxfer.sctp.parameters import (
    accepts_zero_checksum,
    extensions,
    find,
    read_tlvs,
    reports,
    stops,
    supported_extensions,
    write_tlvs,
    zero_checksum_acceptable,
)
from tests.sctp.vectors import VECTORS, packets

COMMON = "1388 1388 00000007 00000000"


@pytest.mark.parametrize("name", VECTORS)
def test_3_every_chunk_is_its_bytes_and_back(name):
    """The vectors of vectors.py, each way."""
    chunk, text = VECTORS[name]
    data = bytes.fromhex(COMMON + text)
    assert parse(data).chunks == (chunk,)
    assert encode(7, [chunk], zero_checksum=True) == data


def test_3_1_the_common_header():
    """Ports, tag, and a CRC whose lowest byte comes first."""
    data = bytes.fromhex("1388 2710 deadbeef 01020304 0b000004")
    packet = parse(data)
    assert (packet.source, packet.destination) == (5000, 10000)
    assert packet.tag == 0xDEADBEEF
    assert packet.checksum == 0x04030201


def test_6_8_the_checksum_of_a_packet_that_another_stack_wrote():
    """A SACK of aiortc's; one bit changed anywhere makes it wrong."""
    data = bytes.fromhex(
        "1388 1388 a1b2c3d4 d29b6afe 03000018 01020304 00020000 0001 0001 0002 0003 00000005"
    )
    assert checksum_valid(data)
    sack = c.Sack(0x01020304, 0x20000, ((2, 3),), (5,))
    assert encode(0xA1B2C3D4, [sack]) == data
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not checksum_valid(bytes(flipped))


def test_appendix_a_the_checksum_is_crc32c():
    """RFC 3720's vector for 32 zero bytes, most significant byte first there: 8A 91 36 AA."""
    assert checksum(bytes(32)).to_bytes(4, "little") == bytes.fromhex("aa36918a")


@pytest.mark.parametrize("size", range(12))
def test_6_8_what_is_shorter_than_a_header_has_no_checksum(size):
    """And is no packet."""
    assert not checksum_valid(bytes(size))
    with pytest.raises(Malformed):
        parse(bytes(size))


def test_rfc_9653_a_zero_checksum_is_written_and_told():
    """Whether it is good is the association's to say."""
    data = encode(7, [c.CookieAck()], zero_checksum=True)
    assert parse(data).checksum == 0
    assert not checksum_valid(data)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("", id="no chunk"),
        pytest.param("0b000003", id="a length below four"),
        pytest.param("0b000000", id="a length of zero"),
        pytest.param("0b000008", id="longer than the packet"),
        pytest.param("0a000005 ff", id="the last chunk's padding is missing"),
        pytest.param("0b000004 0b00", id="half a header"),
        pytest.param("0b000008 00000000", id="COOKIE ACK with a body"),
        pytest.param("08000008 00000000", id="SHUTDOWN ACK with a body"),
        pytest.param("0e000008 00000000", id="SHUTDOWN COMPLETE with a body"),
        pytest.param("07000004", id="SHUTDOWN without its TSN"),
        pytest.param("0700000c 00000001 00000002", id="SHUTDOWN too long"),
        pytest.param("0003000f 00000001 0001 0002 000000 00", id="DATA shorter than its header"),
        pytest.param("03000010 00000001 00001000 0001 0000", id="SACK: a gap too few"),
        pytest.param("03000014 00000001 00001000 0000 0000 00000000", id="SACK: one too many"),
        pytest.param("03000010 00000001 00001000 0000 ffff", id="SACK: duplicates too few"),
        pytest.param("0300000c 00000001 00001000", id="SACK without its counts"),
        pytest.param("01000013 00000001 00001000 0001 0001 00000000", id="INIT too short"),
        pytest.param(
            "01000018 00000001 00001000 0001 0001 00000001 00070003", id="a parameter below four"
        ),
        pytest.param(
            "01000018 00000001 00001000 0001 0001 00000001 00070008", id="a parameter too long"
        ),
        pytest.param(
            "01000016 00000001 00001000 0001 0001 00000001 0007 0000",
            id="half a parameter's header",
        ),
        pytest.param("04000004", id="HEARTBEAT without information"),
        pytest.param("04000008 00020004", id="HEARTBEAT with something else"),
        pytest.param("0400000c 00010004 00010004", id="HEARTBEAT with two"),
        pytest.param("05000004", id="HEARTBEAT ACK without information"),
        pytest.param("06000008 000c0003", id="ABORT: a cause below four"),
        pytest.param("0900000a 000c0008 0000 0000", id="ERROR: a cause too long"),
        pytest.param("c0000004", id="FORWARD-TSN without its TSN"),
        pytest.param("c000000a 00000001 0001 0000", id="FORWARD-TSN: half a pair"),
        pytest.param("82000006 000d 0000", id="RE-CONFIG: half a parameter's header"),
    ],
)
def test_3_2_a_wrong_length_refuses_the_packet(body):
    """Every length is looked at before it is used."""
    with pytest.raises(Malformed):
        parse(bytes.fromhex(COMMON + body))


def test_3_2_padding_is_passed_over_whatever_it_holds():
    """RFC 9260 section 3.2: it is ignored, and not counted."""
    data = bytes.fromhex(COMMON + "0a000005 61ffffff 0b000004")
    assert parse(data).chunks == (c.CookieEcho(b"a"), c.CookieAck())


def test_3_2_a_chunk_may_count_its_last_parameters_padding():
    """As some stacks do; a parameter's own length rules."""
    body = "00000001 00001000 0001 0001 00000001 00070005 61000000"
    counted = parse(bytes.fromhex(COMMON + "0100001c" + body)).chunks
    left_out = parse(bytes.fromhex(COMMON + "01000019" + body)).chunks
    assert counted == left_out
    assert counted[0].parameters == ((7, b"a"),)


def test_3_2_reserved_flags_are_ignored():
    """Set by the far end, they change nothing; of DATA four are kept."""
    assert parse(bytes.fromhex(COMMON + "0bff0004")).chunks == (c.CookieAck(),)
    data = bytes.fromhex(COMMON + "00ff0011 00000001 0002 0003 00000035 61000000")
    assert parse(data).chunks == (c.Data(0x0F, 1, 2, 3, 53, b"a"),)


@pytest.mark.parametrize(
    ("kind", "stops_there", "reported"),
    [(0x3F, True, False), (0x7F, True, True), (0xBF, False, False), (0xFF, False, True)],
)
def test_3_2_an_unknown_chunk_says_by_its_type_what_to_do(kind, stops_there, reported):
    """The two highest bits: stop or skip, and report or not."""
    (unknown,) = parse(bytes.fromhex(COMMON) + bytes([kind, 9, 0, 5, 97, 0, 0, 0])).chunks
    assert unknown == c.Unknown(kind, 9, b"a")
    assert (unknown.stops, unknown.reports) == (stops_there, reported)


@pytest.mark.parametrize(
    ("kind", "stops_there", "reported"),
    [(0x3FFF, True, False), (0x7FFF, True, True), (0xBFFF, False, False), (0xFFFF, False, True)],
)
def test_3_2_1_an_unknown_parameter_says_by_its_type_what_to_do(kind, stops_there, reported):
    """As for chunks."""
    assert (stops(kind), reports(kind)) == (stops_there, reported)


@pytest.mark.parametrize("name", ["INIT", "INIT ACK", "SHUTDOWN COMPLETE"])
@pytest.mark.parametrize("first", [True, False])
def test_6_10_some_chunks_travel_alone(name, first):
    """Beside another chunk they refuse the packet."""
    chunk, other = VECTORS[name][0], c.CookieAck()
    with pytest.raises(Malformed):
        parse(encode(7, [chunk, other] if first else [other, chunk]))


def test_rfc_4820_padding_fills_to_the_byte():
    """A PAD chunk of four bytes or more, as a chunk among others."""
    for length in (4, 5, 8, 1000):
        packet = parse(encode(7, [c.Heartbeat(b"probe"), c.Pad(length)]))
        assert packet.chunks == (c.Heartbeat(b"probe"), c.Pad(length))


def test_what_is_too_long_for_its_length_field_is_not_written():
    """65,535 bytes of chunk and of parameter."""
    encode(7, [c.CookieEcho(bytes(65531))])
    with pytest.raises(ValueError, match="65,535"):
        encode(7, [c.CookieEcho(bytes(65532))])
    with pytest.raises(ValueError, match="65,531"):
        write_tlvs(((7, bytes(65532)),))


def test_rfc_5061_supported_extensions_are_a_set_of_types():
    """Absent, it is empty."""
    tlvs = ((7, b"cookie"), supported_extensions((130, 192)))
    assert write_tlvs(tlvs[1:]) == bytes.fromhex("80080006 82c0")
    assert extensions(tlvs) == {130, 192}
    assert extensions(()) == frozenset()
    assert find(tlvs, 7) == b"cookie"
    assert find(tlvs, 8) is None


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("80010008 00000001", True),
        ("80010008 00000002", False),
        ("80010004", False),
        ("80010006 0001", False),
        ("8001000c 00000001 00000001", False),
        ("", False),
    ],
)
def test_rfc_9653_zero_checksum_is_accepted_for_dtls_alone(text, accepted):
    """Any other method or length counts for nothing."""
    assert accepts_zero_checksum(read_tlvs(bytes.fromhex(text))) is accepted
    assert write_tlvs((zero_checksum_acceptable(),)) == bytes.fromhex("80010008 00000001")


def test_3_3_10_causes_are_their_bytes():
    """Each with its code and its length."""
    expected = {
        invalid_stream(9): "00010008 0009 0000",
        missing_parameters((7, 8)): "0002000c 00000002 0007 0008",
        stale_cookie(1000): "00030008 000003e8",
        unrecognized_chunk(bytes.fromhex("ff000004")): "00060008 ff000004",
        unrecognized_parameters(((0xC0FF, b"a"),)): "00080009 c0ff0005 61",
        no_user_data(77): "00090008 0000004d",
        user_abort("bye"): "000c0007 627965",
        protocol_violation(""): "000d0004",
    }
    for cause, text in expected.items():
        assert write_tlvs((cause,)) == bytes.fromhex(text)


def test_3_3_10_a_peers_reason_is_fit_for_a_terminal():
    """Control characters and what is not ASCII are replaced, and its length is bounded."""
    assert describe(()) == ""
    assert describe(((12, b"\x1b[2Jbye\xff"),)) == "user abort: ?[2Jbye?"
    assert describe(((9, b"\0\0\0\1"),)) == "no user data"
    assert describe(((999, b"x"),)) == "cause 999"
    assert len(describe(((13, b"a" * 60000),))) < MAX_TEXT + 30


@given(packets())
def test_what_is_written_is_read_back(packet):
    """Any packet of any chunks, with and without a checksum."""
    tag, found = packet
    data = encode(tag, found)
    assert checksum_valid(data)
    assert parse(data).chunks == found
    assert parse(data).tag == tag
    assert len(data) % 4 == 0


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(data):
    """No other error than Malformed; what is read is written again in a form read the same."""
    try:
        packet = parse(data)
    except Malformed:
        return
    again = parse(encode(packet.tag, packet.chunks))
    assert again.chunks == packet.chunks


@given(packets(), st.data())
def test_a_packet_with_a_few_bytes_changed_is_read_or_refused(packet, data):
    """Near what is right is where a reader goes wrong."""
    tag, found = packet
    wire = bytearray(encode(tag, found))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = parse(bytes(wire))
    except Malformed:
        return
    assert parse(encode(again.tag, again.chunks)).chunks == again.chunks
