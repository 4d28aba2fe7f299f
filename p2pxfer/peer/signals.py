"""What two peers tell each other to find a path: descriptions and candidates, as bytes and back.

A body is JSON: ``{"v": 1, "kind": "description", "type": "offer"|"answer", "sdp": …}``,
``{"v": 1, "kind": "candidate", "candidate": "candidate:…"}`` or ``{"v": 1, "kind": "end"}``. What
stands in them is read in `sdp` and `candidates`.
"""

from __future__ import annotations

import json
from typing import cast

from msgspec import Struct

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer.candidates import Candidate, parse_candidate
from p2pxfer.peer.sdp import Description, DescriptionType, parse_sdp

VERSION = 1
MAX_BODY = 56 * 1024  # bytes; an honest one has about 2 KiB, and 5 for each track of a browser


class EndOfCandidates(Struct, frozen=True):
    """No further candidate follows (RFC 8838 section 13)."""


Signal = Description | Candidate | EndOfCandidates


def encode(signal: Signal) -> bytes:
    """The body that carries ``signal``."""
    body: dict[str, object] = {"v": VERSION}
    match signal:
        case Description():
            body |= {"kind": "description", "type": signal.type, "sdp": signal.sdp()}
        case Candidate():
            body |= {"kind": "candidate", "candidate": str(signal)}
        case EndOfCandidates():
            body |= {"kind": "end"}
    return json.dumps(body, separators=(",", ":")).encode()


def decode(body: bytes) -> Signal | None:
    """Read a peer's body.

    Returns:
        What it says, or None for a candidate of a kind that is not spoken here, such as TCP.

    Raises:
        PeerMisbehaved: it is too long, malformed, or describes anything but one data channel.
    """
    if len(body) > MAX_BODY:
        message = f"a signalling body of {len(body)} bytes"
        raise PeerMisbehaved(message)
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        message = "a signalling body that is not a JSON object"
        raise PeerMisbehaved(message)
    if fields.get("v") != VERSION:
        message = "a signalling body of another version"
        raise PeerMisbehaved(message)
    match fields:
        case {"kind": "description", "type": "offer" | "answer" as kind, "sdp": str(sdp)}:
            return parse_sdp(cast("DescriptionType", kind), sdp)
        case {"kind": "candidate", "candidate": str(text)}:
            return parse_candidate(text.removeprefix("a="))
        case {"kind": "end"}:
            return EndOfCandidates()
    message = "a signalling body of unknown shape"
    raise PeerMisbehaved(message)
