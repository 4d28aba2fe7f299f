"""A media section of a peer's SDP, taken apart and built afresh: what is sent, in which codecs.

What is kept is what is spoken here: VP8, H.264 and Opus, retransmission (RFC 4588), the feedback
and header extensions that go with them. Anything else of a section is left out, and so is what
tells of the peer's machine: names of tracks and streams. Nothing here knows a library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Literal, cast

from msgspec import Struct

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.tracks import Kind

MAX_SECTIONS = 8  # of media beside the data channel
MAX_CODECS = 16  # of one section, retransmission counted
MAX_EXTENSIONS = 4
MAX_FORMATS = 64  # that a section may name, those not spoken here counted
MID = re.compile(r"[A-Za-z0-9._-]{1,32}")

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
DIRECTIONS: tuple[Direction, ...] = ("sendrecv", "sendonly", "recvonly", "inactive")
_SECTION = re.compile(
    rf"(?P<kind>audio|video) (?P<port>[0-9]{{1,5}}) UDP/TLS/RTP/SAVPF"
    rf"(?P<formats>(?: [0-9]{{1,3}}){{1,{MAX_FORMATS}}})"
)
_RTPMAP = re.compile(r"(?P<payload>[0-9]{1,3}) (?P<name>[A-Za-z0-9-]{1,32}/[0-9]{1,6}(?:/[0-9])?)")
_FMTP = re.compile(r"(?P<payload>[0-9]{1,3}) (?P<parameters>[^\0-\x1f]{1,256})")
_FEEDBACK_LINE = re.compile(r"(?P<payload>[0-9]{1,3}|\*) (?P<what>[a-z-]{1,32}(?: [a-z-]{1,32})?)")
_EXTMAP = re.compile(r"(?P<id>[0-9]{1,2})(?:/[a-z]{1,8})? (?P<uri>[!-~]{1,128})(?: .*)?")
_SSRC = re.compile(r"(?P<ssrc>[0-9]{1,10})(?: .*)?")
_PROFILE = re.compile(r"42[0-9a-f]{4}", re.IGNORECASE)  # H.264 baseline: RFC 6184 section 8.1

_DYNAMIC = range(96, 128)  # payload types that name a codec: RFC 3551 section 6
_NAMES: dict[Kind, dict[str, str]] = {  # as rtpmap tells them, in lower case
    "video": {"vp8/90000": "VP8", "h264/90000": "H264", "rtx/90000": "rtx"},
    "audio": {"opus/48000/2": "opus"},
}
_RATES = {"VP8": "VP8/90000", "H264": "H264/90000", "rtx": "rtx/90000", "opus": "opus/48000/2"}
_FEEDBACK = ("nack", "nack pli", "goog-remb")  # RFC 4585; draft-alvestrand-rmcat-remb
_EXTENSIONS = (
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
)
_LAST_EXTENSION = 14  # of one-byte headers: RFC 8285 section 4.2
_LAST_SSRC = 0xFFFFFFFF


class Codec(Struct, frozen=True):
    """One way to encode, under the number it has in packets.

    Attributes:
        payload: its payload type, 96 to 127.
        name: ``VP8``, ``H264``, ``opus``, or ``rtx`` for what is sent again.
        again: of ``rtx``, the payload type that it repeats.
        profile: of ``H264``, its profile and level, six hexadecimal digits.
        feedback: what a receiver may say about it, of what is known here.
    """

    payload: int
    name: str
    again: int = 0
    profile: str = ""
    feedback: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """As attributes of a section."""
        lines = [f"a=rtpmap:{self.payload} {_RATES[self.name]}"]
        lines += [f"a=rtcp-fb:{self.payload} {what}" for what in self.feedback]
        if self.name == "rtx":
            lines.append(f"a=fmtp:{self.payload} apt={self.again}")
        elif self.name == "H264":
            lines.append(
                f"a=fmtp:{self.payload} level-asymmetry-allowed=1;packetization-mode=1;"
                f"profile-level-id={self.profile}"
            )
        return lines


class Media(Struct, frozen=True):
    """What one section says, from the side of whoever wrote it.

    Attributes:
        codecs: the preferred first; of a section that is rejected there may be none.
        extensions: pairs of number and URI.
        ssrcs: the sources of what it sends, the second repeats the first; none if it didn't say.
        rejected: whether it is no part of the bundle, for good (RFC 8829 section 5.2.2).
    """

    kind: Kind
    mid: str
    direction: Direction
    codecs: tuple[Codec, ...]
    extensions: tuple[tuple[int, str], ...] = ()
    ssrcs: tuple[int, ...] = ()
    rejected: bool = False

    @property
    def sends(self) -> bool:
        """Whether whoever wrote it sends."""
        return self.direction in ("sendrecv", "sendonly")

    @property
    def takes(self) -> bool:
        """Whether whoever wrote it takes what is sent."""
        return self.direction in ("sendrecv", "recvonly")

    def lines(self) -> list[str]:
        """The section, but for what it shares with all others of the bundle."""
        payloads = " ".join(str(codec.payload) for codec in self.codecs)
        port = 0 if self.rejected else 9
        lines = [
            f"m={self.kind} {port} UDP/TLS/RTP/SAVPF {payloads or 0}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{self.mid}",
            f"a={self.direction}",
            "a=rtcp-mux",
            *(f"a=extmap:{number} {uri}" for number, uri in self.extensions),
        ]
        for codec in self.codecs:
            lines += codec.lines()
        if len(self.ssrcs) > 1:
            lines.append("a=ssrc-group:FID {} {}".format(*self.ssrcs))
        return lines + [f"a=ssrc:{ssrc} cname:-" for ssrc in self.ssrcs]


def parse(line: str, attributes: Mapping[str, Sequence[str]]) -> Media:
    """Read a section.

    Args:
        line: what stands behind ``m=``.
        attributes: values by name, in the order of the lines; flags have an empty one.

    Raises:
        PeerMisbehaved: it is malformed, speaks no codec of ours, or won't share a transport.
    """
    match = _SECTION.fullmatch(line)
    mid = (attributes.get("mid") or [""])[-1]
    if match is None or not MID.fullmatch(mid):
        raise PeerMisbehaved("an SDP with a malformed media section")
    rejected = match["port"] == "0" and "bundle-only" not in attributes  # RFC 8843 section 7.2.1
    if "rtcp-mux" not in attributes and not rejected:  # RFC 8843 section 9.3
        raise PeerMisbehaved("a media section that does not bundle")
    kind = cast("Kind", match["kind"])
    codecs = _codecs(kind, match["formats"].split(), attributes)
    if not codecs and not rejected:
        raise PeerMisbehaved(f"an SDP with {kind} in no codec that is spoken here")
    said = [direction for direction in DIRECTIONS if direction in attributes]
    direction: Direction = said[0] if len(said) == 1 else "inactive" if said else "sendrecv"
    return Media(
        kind=kind,
        mid=mid,
        direction="inactive" if rejected else direction,
        codecs=codecs,
        extensions=_extensions(attributes.get("extmap", ())),
        ssrcs=_ssrcs(attributes),
        rejected=rejected,
    )


def _codecs(
    kind: Kind, formats: Sequence[str], attributes: Mapping[str, Sequence[str]]
) -> tuple[Codec, ...]:
    """Those of ours, in the order of ``formats``, which is that of preference."""
    names: dict[str, str] = {}
    for value in attributes.get("rtpmap", ()):
        match = _RTPMAP.fullmatch(value.strip())
        if match is not None and match["name"].lower() in _NAMES[kind]:
            names[match["payload"]] = _NAMES[kind][match["name"].lower()]
    parameters = _parameters(attributes.get("fmtp", ()))
    feedback = _feedback(attributes.get("rtcp-fb", ()))
    found: dict[str, Codec] = {}
    for payload in formats:
        name, own = names.get(payload), parameters.get(payload, {})
        if name is None or int(payload) not in _DYNAMIC or payload in found:
            continue
        profile = own.get("profile-level-id", "42e01f")
        if name == "H264" and not (
            own.get("packetization-mode") == "1" and _PROFILE.fullmatch(profile)
        ):
            continue
        told = feedback.get(payload, set()) | feedback.get("*", set())
        found[payload] = Codec(
            payload=int(payload),
            name=name,
            again=_again(own.get("apt", "")) if name == "rtx" else 0,
            profile=profile.lower() if name == "H264" else "",
            feedback=tuple(what for what in _FEEDBACK if what in told and name != "rtx"),
        )
    spoken = {codec.payload for codec in found.values() if codec.name != "rtx"}
    kept = (c for c in found.values() if (c.again if c.name == "rtx" else c.payload) in spoken)
    return tuple(islice(kept, MAX_CODECS))


def _again(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,3}", text) else 0


def _parameters(values: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for value in values:
        match = _FMTP.fullmatch(value.strip())
        if match is not None:
            pairs = (part.strip().partition("=") for part in match["parameters"].split(";"))
            found[match["payload"]] = {name.lower(): told for name, _, told in pairs}
    return found


def _feedback(values: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for value in values:
        match = _FEEDBACK_LINE.fullmatch(value.strip())
        if match is not None:
            found.setdefault(match["payload"], set()).add(match["what"])
    return found


def _extensions(values: Sequence[str]) -> tuple[tuple[int, str], ...]:
    found: dict[int, str] = {}
    for value in values:
        match = _EXTMAP.fullmatch(value.strip())
        if match is not None and match["uri"] in _EXTENSIONS:
            number = int(match["id"])
            if 0 < number <= _LAST_EXTENSION and match["uri"] not in found.values():
                found.setdefault(number, match["uri"])
    return tuple(found.items())[:MAX_EXTENSIONS]


def _ssrcs(attributes: Mapping[str, Sequence[str]]) -> tuple[int, ...]:
    """The source, and the one that repeats it: RFC 5576 section 4, RFC 4588 section 8."""
    for group in attributes.get("ssrc-group", ()):
        semantics, *members = group.split() or [""]
        if semantics == "FID" and len(members) == 2:  # noqa: PLR2004  # the two
            found = tuple(_ssrc(member) for member in members)
            return found if found[0] != found[1] else found[:1]
    for value in attributes.get("ssrc", ()):
        return (_ssrc(value),)
    return ()


def _ssrc(text: str) -> int:
    match = _SSRC.fullmatch(text)
    if match is None or int(match["ssrc"]) > _LAST_SSRC:
        raise PeerMisbehaved("an SDP with a malformed source")
    return int(match["ssrc"])
