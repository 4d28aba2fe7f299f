"""Signalling bodies: what is said is understood, and whatever else comes is refused."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer import sections, signals
from p2pxfer.peer.candidates import Candidate, parse_candidate
from p2pxfer.peer.restraint import Limit, Restraint
from p2pxfer.peer.sdp import LONGEST_PACKET, MAX_LINES, Description
from p2pxfer.peer.sections import Codec, Media
from p2pxfer.peer.signals import EndOfCandidates, decode, encode

FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)
OFFER = "\r\n".join(
    [
        "v=0",
        "o=- 1 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuv",
        f"a=fingerprint:{FINGERPRINT}",
        "a=setup:actpass",
        "a=mid:0",
        "a=sctp-port:5000",
        "",
    ]
)

TRANSPORT = (
    f"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=fingerprint:{FINGERPRINT}\r\n"
)
VIDEO = "\r\n".join(
    [
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 35 13",
        "c=IN IP4 0.0.0.0",
        "a=mid:1",
        "a=sendonly",
        "a=msid:camera track",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        "a=rtpmap:96 VP9/90000",
        "a=rtpmap:97 VP8/90000",
        "a=rtcp-fb:97 nack",
        "a=rtcp-fb:97 ccm fir",
        "a=rtcp-fb:* nack pli",
        "a=rtpmap:98 rtx/90000",
        "a=fmtp:98 apt=97",
        "a=rtpmap:99 rtx/90000",
        "a=fmtp:99 apt=96",
        "a=rtpmap:100 H264/90000",
        "a=fmtp:100 packetization-mode=1;profile-level-id=42E01F;x-google-start-bitrate=9",
        "a=rtpmap:35 VP8/90000",
        "a=ssrc-group:FID 11 12",
        "a=ssrc:11 cname:somebody@their-machine",
        "a=ssrc:12 cname:somebody@their-machine",
        f"{TRANSPORT}a=setup:actpass",
        "",
    ]
)
WITH_MEDIA = OFFER.replace("a=group:BUNDLE 0", "a=group:BUNDLE 0 1") + VIDEO

ice_text = st.text("abcXYZ019+/", min_size=1, max_size=32)
addresses = st.one_of(
    st.ip_addresses(v=4).filter(lambda a: not (a.is_multicast or a.is_unspecified)).map(str),
    st.ip_addresses(v=6).filter(lambda a: not (a.is_multicast or a.is_unspecified)).map(str),
    st.just("0a1b2c3d-0000-4000-8000-000000000000.local"),
)
ports = st.integers(1, 0xFFFF)
candidates = st.builds(
    Candidate,
    foundation=ice_text,
    priority=st.integers(0, 0xFFFFFFFF),
    address=addresses,
    port=ports,
    type=st.sampled_from(["host", "srflx", "relay"]),
    related=st.none() | st.tuples(addresses, ports),
)
digests = st.binary(min_size=32, max_size=32).map(lambda d: ("sha-256", d.hex(":").upper()))
minutes = st.integers(0, 1439)
spans = st.tuples(minutes, minutes, st.integers(16_000, 1 << 40).map(float) | st.just(math.inf))
restraints = st.builds(
    Restraint,
    limit=st.lists(spans.filter(lambda s: s[0] != s[1]), max_size=24).map(
        lambda found: Limit(tuple(found))
    ),
    background=st.booleans(),
)
payloads = st.integers(96, 127)
sources = st.integers(0, 0xFFFFFFFF)
feedback = st.sampled_from([(), ("nack",), ("nack", "nack pli", "goog-remb")])
videos = st.builds(
    Media,
    kind=st.just("video"),
    mid=st.text("vw", min_size=1, max_size=32),
    direction=st.sampled_from(sections.DIRECTIONS),
    codecs=st.lists(
        st.builds(Codec, payload=payloads, name=st.just("VP8"), feedback=feedback)
        | st.builds(
            Codec,
            payload=payloads,
            name=st.just("H264"),
            profile=st.just("42e01f"),
            feedback=feedback,
        ),
        min_size=1,
        max_size=15,
        unique_by=lambda codec: codec.payload,
    ).map(tuple),
    extensions=st.just(((3, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),)),
    ssrcs=st.lists(sources, max_size=2, unique=True).map(tuple),
)
sounds = st.builds(
    Media,
    kind=st.just("audio"),
    mid=st.text("su", min_size=1, max_size=32),
    direction=st.sampled_from(sections.DIRECTIONS),
    codecs=payloads.map(lambda payload: (Codec(payload, "opus"),)),
)
stopped = st.builds(
    Media,
    kind=st.just("audio"),
    mid=st.text("xz", min_size=1, max_size=32),
    direction=st.just("inactive"),
    codecs=st.just(()),
    rejected=st.just(True),
)
descriptions = st.builds(
    Description,
    type=st.just("answer"),
    mid=st.text("ab0-", min_size=1, max_size=16),
    ufrag=st.text("abc/+9", min_size=4, max_size=256),
    password=st.text("abc/+9", min_size=22, max_size=256),
    fingerprints=digests.map(lambda digest: (digest,)),
    setup=st.sampled_from(["active", "passive"]),
    sctp_port=ports,
    max_message=st.integers(0, 1 << 40),
    max_packet=st.integers(0, LONGEST_PACKET),
    restraint=restraints,
    media=st.tuples(videos, sounds, stopped) | st.tuples(sounds) | st.just(()),
    place=st.just(0),
    candidates=st.lists(candidates, max_size=8, unique=True).map(tuple),
    complete=st.booleans(),
)


def described(sdp: str, kind: str = "offer") -> bytes:
    return json.dumps({"v": 1, "kind": "description", "type": kind, "sdp": sdp}).encode()


@given(descriptions | candidates | st.just(EndOfCandidates()))
def test_what_is_encoded_is_decoded(signal):
    """Each signal comes back as it was, and a description fits a body."""
    body = encode(signal)
    assert len(body) <= signals.MAX_BODY
    assert decode(body) == signal


@given(descriptions, st.integers(0, 2))
def test_sections_keep_their_order(description, place):
    """An answer's sections are told from one another by where they stand."""
    moved = replace(description, place=min(place, len(description.media)))
    assert decode(encode(moved)) == moved


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["v", "kind", "type", "sdp", "candidate", "x"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_read_or_refused(body):
    """Nothing but `PeerMisbehaved` ever comes out."""
    with contextlib.suppress(PeerMisbehaved):
        decode(body)


@given(
    st.lists(
        st.sampled_from([*WITH_MEDIA.split("\r\n"), "a=mid", "m=audio 9 X 0", "a=setup:", "\0"])
    )
)
def test_any_mixture_of_lines_is_read_or_refused(lines):
    """A shuffled, cut or doubled SDP ends the same way."""
    with contextlib.suppress(PeerMisbehaved):
        decode(described("\n".join(lines)))


def test_a_browsers_offer_is_understood():
    """Session-level attributes count, extras are ignored, names and end marks are seen."""
    chromium = OFFER + (
        "a=max-message-size:262144\r\na=ice-options:trickle\r\na=extmap-allow-mixed\r\n"
        "a=candidate:1 1 udp 2113937151 0a1b2c3d-0000-4000-8000-000000000000.local 50000 typ host"
        " generation 0 network-cost 999\r\n"
        "a=candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n"
    )
    understood = decode(described(chromium))
    assert isinstance(understood, Description)
    assert understood.max_message == 262144
    assert [c.address.endswith(".local") for c in understood.candidates] == [True]
    firefox = OFFER.replace(f"a=fingerprint:{FINGERPRINT}\r\n", "").replace(
        "t=0 0", f"t=0 0\r\na=fingerprint:{FINGERPRINT}"
    )
    assert decode(described(firefox + "a=end-of-candidates\r\n")).complete


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("m=application", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nm=application"),
        ("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", ""),
        ("webrtc-datachannel", "5000"),
        ("a=ice-ufrag:abcd", "a=ice-ufrag:a"),
        ("a=ice-pwd:abcdefghijklmnopqrstuv", "a=ice-pwd:short"),
        (f"a=fingerprint:{FINGERPRINT}\r\n", ""),
        (FINGERPRINT, "sha-1 AB:CD"),
        (FINGERPRINT, FINGERPRINT[:-3]),
        (FINGERPRINT, f"{FINGERPRINT}\r\na=fingerprint:{FINGERPRINT.replace('AB', 'AC')}"),
        ("setup:actpass", "setup:holdconn"),
        ("a=mid:0", "a=mid:" + "x" * 99),
        ("sctp-port:5000", "sctp-port:0"),
        ("sctp-port:5000", "sctp-port:٣"),
        ("sctp-port:5000", "sctp-port:5000\r\na=max-message-size:-1"),
        ("sctp-port:5000", "sctp-port:5000\r\na=x-p2pxfer-offer-packet:16385"),
        ("a=mid:0", "a=mid:0\r\na=candidate:nonsense"),
        ("a=mid:0", "a=mid:0\r\na=x:" + "x" * 2000),
        ("a=mid:0", "a=mid:0" + "\r\na=x" * MAX_LINES),
    ],
)
def test_a_hostile_sdp_is_refused(old, new):
    """Other media, missing keys, absurd sizes: each is refused before aiortc sees it."""
    assert old in OFFER
    with pytest.raises(PeerMisbehaved):
        decode(described(OFFER.replace(old, new, 1)))


def test_of_media_only_what_is_spoken_here_is_kept():
    """Other codecs, extensions and names go; numbers, order and what repeats what stay."""
    understood = decode(described(WITH_MEDIA))
    assert understood.place == 0
    assert understood.media == (
        Media(
            kind="video",
            mid="1",
            direction="sendonly",
            codecs=(
                Codec(97, "VP8", feedback=("nack", "nack pli")),
                Codec(98, "rtx", again=97),
                Codec(100, "H264", profile="42e01f", feedback=("nack pli",)),
            ),
            extensions=((3, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),),
            ssrcs=(11, 12),
        ),
    )
    built = understood.sdp()
    for secret in ("somebody", "camera", "VP9", "playout", "ccm", "x-google"):
        assert secret not in built


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BUNDLE 0 1", "BUNDLE 0"),
        ("BUNDLE 0 1", "LS 0 1"),
        ("a=rtcp-mux\r\n", ""),
        ("a=mid:1", "a=mid:0"),
        ("a=mid:1\r\n", ""),
        ("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        ("m=video", "m=text"),
        ("97 98 99 100", "96 96 96 96"),
        ("SAVPF 96", "SAVPF" + " 96" * 99),
        ("FID 11 12", "FID 11 99999999999"),
        ("a=ssrc-group:FID 11 12\r\na=ssrc:11", "a=ssrc:-1"),
        (f"{TRANSPORT}a=setup:actpass\r\n", TRANSPORT.replace("abcd", "dcba")),
    ],
)
def test_hostile_media_are_refused(old, new):
    """No second transport, no other protocol, no numbers that can't be."""
    head, found, tail = WITH_MEDIA.rpartition(old)
    assert found
    with pytest.raises(PeerMisbehaved):
        decode(described(head + new + tail))


def test_there_are_not_sections_without_end():
    """Each costs memory in whatever takes it."""
    mids = " ".join(str(number) for number in range(sections.MAX_SECTIONS + 2))
    many = "".join(
        VIDEO.replace("a=mid:1", f"a=mid:{number}")
        for number in range(1, sections.MAX_SECTIONS + 2)
    )
    with pytest.raises(PeerMisbehaved):
        decode(described(OFFER.replace("BUNDLE 0", f"BUNDLE {mids}") + many))


def test_an_answer_must_choose_its_dtls_role():
    """RFC 8842 section 5: ``actpass`` is for offers."""
    with pytest.raises(PeerMisbehaved):
        decode(described(OFFER, "answer"))
    assert decode(described(OFFER.replace("actpass", "active"), "answer")).setup == "active"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"v": 2, "kind": "end"}',
        b'{"v": 1, "kind": "offer"}',
        b'{"v": 1, "kind": "candidate", "candidate": 7}',
        b'{"v": 1, "kind": "description", "type": "rollback", "sdp": ""}',
        b"[" * 30000,
        b'{"v": 1, "kind": "end", "x": "' + b"x" * signals.MAX_BODY + b'"}',
    ],
)
def test_a_hostile_body_is_refused(body):
    """Wrong versions, shapes, depths and sizes."""
    with pytest.raises(PeerMisbehaved):
        decode(body)


@pytest.mark.parametrize(
    "text",
    [
        "candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active",
        "candidate:1 2 udp 1 192.0.2.1 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 9 typ prflx",
        "candidate:1 1 udp 1 224.0.0.251 5353 typ host",
        "candidate:1 1 udp 1 0.0.0.0 9 typ host",
        "candidate:1 1 udp 1 fe80::1%eth0 9 typ host",
        "candidate:1 1 udp 1 evil.example.org 9 typ host",
    ],
)
def test_a_candidate_of_no_use_is_ignored(text):
    """It is no crime to know addresses that this end can't or won't send to."""
    assert parse_candidate(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "1 1 udp 1 192.0.2.1 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 0 typ host",
        "candidate:1 1 udp 1 192.0.2.1 70000 typ host",
        "candidate:1 1 udp 9999999999 192.0.2.1 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=setup:active",
    ],
)
def test_a_malformed_candidate_is_refused(text):
    """Impossible numbers and smuggled lines."""
    with pytest.raises(PeerMisbehaved):
        parse_candidate(text)


@pytest.mark.parametrize("limit", ["fast", "1", "08:00=2M", ",", "2M," * 30])
def test_a_limit_that_is_none_is_refused(limit):
    """A peer's wish is read as strictly as a user's."""
    sdp = f"{OFFER}\r\na=x-p2pxfer-offer-limit:{limit}"
    with pytest.raises(PeerMisbehaved):
        decode(described(sdp))


def test_what_an_answer_copied_from_the_offer_says_nothing_of_who_answers():
    """Libdatachannel repeats attributes that it does not know."""
    wish = Restraint(Limit.parse("2M"), background=True)
    offer = replace(decode(described(OFFER)), max_packet=16_384, restraint=wish)
    copied = offer.sdp().replace("actpass", "active")
    answer = decode(described(copied, "answer"))
    assert (answer.max_packet, answer.restraint) == (0, Restraint())
    own = replace(offer, type="answer", setup="active")
    assert decode(encode(own)) == own
