"""One address at which a peer may be reached, to and from the text that ICE and SDP have for it.

Every field of a peer's text is checked. Nothing here tries an address, or knows a library.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, cast

from msgspec import Struct

from p2pxfer.errors import PeerMisbehaved

MAX_CANDIDATES = 128  # of one peer; an honest one has a dozen
LAST_PORT = 0xFFFF
LAST_PRIORITY = 0xFFFFFFFF
ICE_CHARS = r"[A-Za-z0-9+/]"  # RFC 8839 section 5.1

CandidateType = Literal["host", "srflx", "relay"]

_CANDIDATE = re.compile(
    rf"candidate:(?P<foundation>{ICE_CHARS}{{1,32}}) (?P<component>[0-9]{{1,3}})"
    r" (?P<transport>[A-Za-z0-9-]{1,16}) (?P<priority>[0-9]{1,10}) (?P<address>[^ ]{1,255})"
    r" (?P<port>[0-9]{1,5}) typ (?P<type>[a-z]{1,8})(?P<rest>(?: [^ ]{1,255}){0,24})"
)
_RELATED = re.compile(r" raddr (?P<address>[^ ]+) rport (?P<port>[0-9]{1,5})")
_LOCAL_NAME = re.compile(r"[A-Za-z0-9-]{1,63}\.local")  # what browsers hide an address behind


class Candidate(Struct, frozen=True):
    """One UDP address at which a peer may be reached (RFC 8839 section 5.1).

    Attributes:
        address: an IP address, or a name under ``.local``.
        related: the address and port behind a reflexive or relayed one, if told.
    """

    foundation: str
    priority: int
    address: str
    port: int
    type: CandidateType
    related: tuple[str, int] | None = None

    def __str__(self) -> str:
        related = "" if self.related is None else " raddr {} rport {}".format(*self.related)
        return (
            f"candidate:{self.foundation} 1 udp {self.priority} {self.address} {self.port}"
            f" typ {self.type}{related}"
        )


def parse_candidate(text: str) -> Candidate | None:
    """Read ``candidate:…``.

    Returns:
        The candidate, or None when it is sound but of no use here: TCP, another component, another
        type, an address nobody can send to.

    Raises:
        PeerMisbehaved: it is malformed.
    """
    match = _CANDIDATE.fullmatch(text.rstrip())
    if match is None:
        message = "a malformed ICE candidate"
        raise PeerMisbehaved(message)
    kind, address, port = match["type"], match["address"], int(match["port"])
    priority = int(match["priority"])
    if kind not in ("host", "srflx", "relay") or match["component"] != "1":
        return None
    if match["transport"].lower() != "udp":
        return None
    if not 0 < port <= LAST_PORT or priority > LAST_PRIORITY:
        message = "an ICE candidate with an impossible number"
        raise PeerMisbehaved(message)
    if not _LOCAL_NAME.fullmatch(address):
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return None
        if parsed.is_multicast or parsed.is_unspecified or "%" in address:
            return None
        address = str(parsed)
    related = _RELATED.match(match["rest"])
    return Candidate(
        match["foundation"],
        priority,
        address,
        port,
        cast("CandidateType", kind),
        (related["address"], int(related["port"])) if related else None,
    )
