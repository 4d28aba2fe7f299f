"""STUN and TURN servers as people and configurations name them. Nothing is asked of them here.

Cheap to import: whoever only carries servers from a flag to a connection pays for no WebRTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from p2pxfer.discreet import Discreet
from p2pxfer.errors import UsageError

MAX_URLS = 16  # of one server
LAST_PORT = 0xFFFF
MAX_TEXT = 1024  # characters of a URL, a username or a credential

_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[^\s:?\[\]@/]{1,253}))"
    r"(?::(?P<port>[0-9]{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?"
)


class Endpoint(Discreet, Struct, frozen=True):
    """One address to ask, from one URL (RFC 7064, RFC 7065)."""

    hidden = ("credential",)

    kind: Literal["stun", "turn"]
    host: str
    port: int
    transport: Literal["udp", "tcp"] = "udp"
    tls: bool = False
    username: str | None = None
    credential: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = f"{self.kind}{'s' if self.tls else ''}"
        query = "?transport=tcp" if self.transport == "tcp" and not self.tls else ""
        return f"{scheme}:{host}:{self.port}{query}"


class IceServer(Discreet, Struct, frozen=True):
    """A server in the shape of W3C's RTCIceServer.

    Attributes:
        urls: ``stun:host[:port]``, ``turn:host[:port][?transport=udp|tcp]``, ``turns:…``; an IPv6
            address stands in brackets.
        username: for TURN.
        credential: the password for TURN; never shown.

    Raises:
        UsageError: a URL is not one, or something is far too long.
    """

    hidden = ("credential",)

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.urls) <= MAX_URLS:
            message = f"a STUN or TURN server has 1 to {MAX_URLS} URLs, not {len(self.urls)}"
            raise UsageError(message)
        for text in (*self.urls, self.username or "", self.credential or ""):
            if len(text) > MAX_TEXT:
                message = "a STUN or TURN server's URL, username or credential is too long"
                raise UsageError(message)
        for url in self.urls:
            _parse(url)

    @classmethod
    def from_config(cls, entry: Mapping[str, object]) -> IceServer:
        """Read one entry of a configuration or of a rendezvous' answer.

        Args:
            entry: ``urls`` (text or a list of texts), ``username``, ``credential``; other keys
                are ignored, as browsers do.

        Raises:
            UsageError: ``entry`` has another shape.
        """
        urls = entry.get("urls")
        if isinstance(urls, str):
            urls = [urls]
        if not isinstance(urls, list | tuple) or not all(isinstance(url, str) for url in urls):
            message = "a STUN or TURN server needs urls: a text or a list of texts"
            raise UsageError(message)
        words: dict[str, str | None] = {}
        for key in ("username", "credential"):
            value = entry.get(key)
            if value is not None and not isinstance(value, str):
                message = f"a TURN server's {key} is a text"
                raise UsageError(message)
            words[key] = value
        return cls(tuple(urls), words["username"], words["credential"])

    def without_turn(self) -> tuple[IceServer, ...]:
        """What is left of it where nothing may be relayed: nothing, if it is TURN alone."""
        urls = tuple(url for url in self.urls if not url.lower().startswith("turn"))
        return (IceServer(urls),) if urls else ()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What can be asked; STUN over TLS and TURN over DTLS can't, and are left out."""
        found = []
        for url in self.urls:
            endpoint = _parse(url)
            if endpoint is None:
                continue
            if endpoint.kind == "turn":
                endpoint = Endpoint(
                    "turn",
                    endpoint.host,
                    endpoint.port,
                    endpoint.transport,
                    endpoint.tls,
                    self.username,
                    self.credential,
                )
            found.append(endpoint)
        return tuple(found)


def _parse(url: str) -> Endpoint | None:
    """Take a URL apart; None when it is well-formed but nothing here speaks it."""
    match = _URL.fullmatch(url)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or port == 0 or (port or 0) > LAST_PORT:
        message = f"not the URL of a STUN or TURN server: {url!r}"
        raise UsageError(message, "it looks like stun:host:port or turn:host:port?transport=tcp")
    scheme = match["scheme"]
    tls = scheme.endswith("s")
    transport: Literal["udp", "tcp"] = "tcp" if (match["transport"] or "") == "tcp" else "udp"
    if tls and not match["transport"]:
        transport = "tcp"  # RFC 7065 section 3.1
    host = match["v6"] or match["host"]
    port = port or (5349 if tls else 3478)  # RFC 8489 section 8.1
    if scheme.startswith("stun"):
        return None if tls else Endpoint("stun", host, port)
    return None if tls and transport == "udp" else Endpoint("turn", host, port, transport, tls)
