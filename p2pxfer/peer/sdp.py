"""An offer or answer as its fields, to and from SDP.

This is the one door for a peer's SDP: it is taken apart here, every field is checked, and only an
SDP built afresh from the fields goes on to WebRTC. Its sections of media are read in `sections`,
its addresses in `candidates`. Nothing here opens a socket or knows a library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, cast

from msgspec import Struct
from msgspec.structs import replace

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer import sections
from p2pxfer.peer.candidates import ICE_CHARS, LAST_PORT, Candidate, parse_candidate
from p2pxfer.peer.restraint import FREE, Limit, Restraint
from p2pxfer.peer.sections import MID, Media

MAX_LINES = 1536  # of an SDP; a browser takes 130 for a track
MAX_LINE = 1024  # characters
LONGEST_PACKET = 16_384  # bytes of SCTP in one DTLS record: RFC 5246 section 6.2.1
DEFAULT_MAX_MESSAGE = 65536  # RFC 8841 section 6.1: when a=max-message-size is absent

Setup = Literal["actpass", "active", "passive"]
DescriptionType = Literal["offer", "answer"]

_DATA = re.compile(r"application [0-9]{1,5} (?:UDP|TCP)/DTLS/SCTP webrtc-datachannel")
_UFRAG = re.compile(rf"{ICE_CHARS}{{4,256}}")  # RFC 8839 section 5.4
_PASSWORD = re.compile(rf"{ICE_CHARS}{{22,256}}")
_HEX_PAIRS = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2})+")
# Of this project alone. Others copy what they don't know of an offer into their answer, as
# libdatachannel does, so each kind of description has attributes of its own.
_OWN = {"offer": "x-p2pxfer-offer-", "answer": "x-p2pxfer-answer-"}
_DIGESTS = {"sha-256": 32, "sha-384": 48, "sha-512": 64}  # bytes


class Description(Struct, frozen=True):
    """The fields of an offer or answer for one transport, and nothing else.

    A data channel is on it, and whatever media are bundled with that (RFC 8843).

    Attributes:
        mid: of the data channel's section.
        fingerprints: pairs of digest name and upper-case hex, of the DTLS certificate.
        max_message: bytes accepted in one message; 0: any number.
        max_packet: bytes of SCTP in one packet that this project's own association reads; 0: said
            by no such one.
        restraint: how this side wants what is sent to it to be held back, its times in UTC.
        media: the sections of audio and video.
        place: how many of them stand before the data channel's.
        complete: whether no further candidates will follow.
    """

    type: DescriptionType
    mid: str
    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: Setup
    sctp_port: int = 5000
    max_message: int = DEFAULT_MAX_MESSAGE
    max_packet: int = 0
    restraint: Restraint = FREE
    media: tuple[Media, ...] = ()
    place: int = 0
    candidates: tuple[Candidate, ...] = ()
    complete: bool = False

    def without_candidates(self) -> Description:
        """The same transport, its addresses left out."""
        return replace(self, candidates=(), complete=False)

    def sdp(self) -> str:
        """The text for any WebRTC implementation; addresses stand in candidates only."""
        own, wish = _OWN[self.type], self.restraint
        data = [
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{self.mid}",
            f"a=sctp-port:{self.sctp_port}",
            f"a=max-message-size:{self.max_message}",
            *([f"a={own}packet:{self.max_packet}"] if self.max_packet else []),
            *([f"a={own}limit:{wish.limit}"] if wish.limit.spans else []),
            *([f"a={own}background"] if wish.background else []),
        ]
        shared = [
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.password}",
            "a=ice-options:trickle",
            *(f"a=fingerprint:{name} {value}" for name, value in self.fingerprints),
            f"a=setup:{self.setup}",
        ]
        found = [f"a={candidate}" for candidate in self.candidates]
        if self.complete:
            found.append("a=end-of-candidates")
        texts = [section.lines() for section in self.media]
        texts.insert(self.place, data)
        mids = ["" if section.rejected else section.mid for section in self.media]
        mids.insert(self.place, self.mid)
        lines = [
            "v=0",
            "o=- 0 0 IN IP4 0.0.0.0",
            "s=-",
            "t=0 0",
            f"a=group:BUNDLE {' '.join(filter(None, mids))}",
        ]
        for text in texts:
            lines += [*text, *shared, *found]
            found = []  # once, in the section that the others share the transport of
        return "\r\n".join([*lines, ""])


def parse_sdp(kind: DescriptionType, text: str) -> Description:
    """Read an SDP with exactly one data-channel section, and media bundled with it if there are.

    Raises:
        PeerMisbehaved: it is too long or malformed, has media that are no part of the bundle, lacks
            a fingerprint or credentials, or an answer leaves the DTLS role open.
    """
    lines = text.splitlines()
    if len(lines) > MAX_LINES or any(len(line) > MAX_LINE for line in lines):
        message = "an SDP of absurd size"
        raise PeerMisbehaved(message)
    starts = [at for at, line in enumerate(lines) if line.startswith("m=")]
    data = [at for at in starts if _DATA.fullmatch(lines[at][2:])]
    if len(data) != 1 or len(starts) > 1 + sections.MAX_SECTIONS:
        message = "an SDP that is not for one data channel"
        raise PeerMisbehaved(message)
    # What stands at session level applies to each section; what one says itself comes later.
    common = lines[: starts[0]]
    each = {
        start: _attributes(common + lines[start:end])
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)
    }
    attributes = each[data[0]]
    media = tuple(sections.parse(lines[at][2:], each[at]) for at in starts if at != data[0])
    mid = _required(attributes, "mid", MID)
    shared = _bundled(_attributes(common), mid, media, list(each.values()))
    values = (value for section in each.values() for value in section.get("candidate", ()))
    candidates = (parse_candidate(f"candidate:{value}") for value in dict.fromkeys(values))
    return Description(
        type=kind,
        mid=mid,
        ufrag=_required(shared, "ice-ufrag", _UFRAG),
        password=_required(shared, "ice-pwd", _PASSWORD),
        fingerprints=_fingerprints(shared.get("fingerprint", ())),
        setup=_setup(kind, shared.get("setup", ["actpass"])[-1]),
        sctp_port=_number(attributes, "sctp-port", 5000, 1, LAST_PORT),
        max_message=_number(attributes, "max-message-size", DEFAULT_MAX_MESSAGE, 0, 1 << 63),
        max_packet=_number(attributes, f"{_OWN[kind]}packet", 0, 0, LONGEST_PACKET),
        restraint=_restraint(attributes, _OWN[kind]),
        media=media,
        place=starts.index(data[0]),
        candidates=tuple(candidate for candidate in candidates if candidate is not None),
        complete=any("end-of-candidates" in section for section in each.values()),
    )


def _attributes(lines: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            found.setdefault(name, []).append(value)
    return found


def _bundled(
    common: dict[str, list[str]],
    mid: str,
    media: tuple[Media, ...],
    each: list[dict[str, list[str]]],
) -> dict[str, list[str]]:
    """What describes the transport that all sections share: the first section says it.

    Raises:
        PeerMisbehaved: there are several transports.
    """
    mids = [mid, *(section.mid for section in media)]
    active = {mid, *(section.mid for section in media if section.direction != "inactive")}
    groups = [
        set(value.split()) for value in common.get("group", ()) if value.startswith("BUNDLE ")
    ]
    one_group = not media or any(active <= group for group in groups)
    said = [
        (section["ice-ufrag"][-1], section["ice-pwd"][-1])
        for section in each
        if "ice-ufrag" in section and "ice-pwd" in section
    ]
    if not one_group or len(set(mids)) != len(mids) or len(set(said)) > 1:
        message = "an SDP whose sections do not share one transport"
        raise PeerMisbehaved(message)
    return next((section for section in each if "ice-ufrag" in section), each[0])


def _required(attributes: dict[str, list[str]], name: str, pattern: re.Pattern[str]) -> str:
    value = attributes.get(name, [""])[-1]
    if not pattern.fullmatch(value):
        message = f"an SDP without a proper a={name}"
        raise PeerMisbehaved(message)
    return value


def _number(
    attributes: dict[str, list[str]], name: str, default: int, least: int, most: int
) -> int:
    text = attributes.get(name, [str(default)])[-1]
    if not re.fullmatch(r"[0-9]{1,19}", text) or not least <= int(text) <= most:
        message = f"an SDP with an impossible a={name}"
        raise PeerMisbehaved(message)
    return int(text)


def _restraint(attributes: dict[str, list[str]], own: str) -> Restraint:
    text = attributes.get(f"{own}limit", [""])[-1]
    try:
        limit = Limit.parse(text) if text else Limit()
    except ValueError:
        message = "an SDP with an impossible limit"
        raise PeerMisbehaved(message) from None
    return Restraint(limit, f"{own}background" in attributes)


def _setup(kind: DescriptionType, text: str) -> Setup:
    """RFC 8842 section 5: an answer must choose."""
    allowed = ("actpass", "active", "passive") if kind == "offer" else ("active", "passive")
    if text not in allowed:
        message = f"an {kind} with a=setup:{text[:16]!r}"
        raise PeerMisbehaved(message)
    return cast("Setup", text)


def _fingerprints(values: Iterable[str]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for value in values:
        name, _, digits = value.strip().partition(" ")
        name, digits = name.lower(), digits.strip().upper()
        if name not in _DIGESTS:
            continue
        if not _HEX_PAIRS.fullmatch(digits) or len(digits) != 3 * _DIGESTS[name] - 1:
            message = "an SDP with a malformed fingerprint"
            raise PeerMisbehaved(message)
        if found.setdefault(name, digits) != digits:
            message = "an SDP with two fingerprints of one kind"
            raise PeerMisbehaved(message)
    if not found:
        message = "an SDP without a fingerprint"
        raise PeerMisbehaved(message)
    return tuple(found.items())
