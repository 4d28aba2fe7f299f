"""What a rendezvous tells everybody who asks: version, ICE servers, what else it offers.

The JSON of ``GET /v1/config``, shared by both ends. A client reads it from a server that may be
hostile, so every part is bounded. Pure values; no network.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NotRequired, TypedDict

from msgspec import Struct

from p2pxfer.discreet import Discreet
from p2pxfer.rendezvous.messages import VERSION

MAX_CONFIG: Final = 64 * 1024  # bytes of the whole answer
MAX_MOTD: Final = 500  # characters
MAX_RELAY_BYTES: Final = 2**53 - 1  # what every JSON parser reads exactly: RFC 8259 section 6
_MAX_VERSION = 255  # it is one byte on the WebSocket
_MAX_SERVERS = 16
_MAX_URLS = 8
_MAX_TEXT = 512  # characters of a URL, a user name, a credential
# RFC 7064 section 3.1 and RFC 7065 section 3.1: no slashes, an IPv6 address in brackets.
_ICE_URL: Final = re.compile(
    r"(?:stuns?|turns?):(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?"
    r"(?:\?transport=(?:udp|tcp))?"
)


class IceServer(TypedDict):
    """One entry of a W3C ``RTCConfiguration.iceServers``; here ``urls`` is always a list."""

    urls: list[str]
    username: NotRequired[str]
    credential: NotRequired[str]


class ServerConfig(Discreet, Struct, frozen=True):
    """What a rendezvous offers. Credentials stay out of its repr.

    Attributes:
        version: of the protocol on its WebSocket.
        ice_servers: STUN and TURN servers for its users.
        motd: the operator's message of the day, raw: whoever shows it escapes it.
        relay_bytes: what circuits carry in a day for one address; 0: none are made.
    """

    hidden = ("ice_servers",)

    version: int = VERSION
    ice_servers: tuple[IceServer, ...] = ()
    motd: str = ""
    relay_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """As ``GET /v1/config`` answers it."""
        return {
            "version": self.version,
            "ice_servers": list(self.ice_servers),
            "motd": self.motd,
            "relay_bytes": self.relay_bytes,
        }


def parse(data: bytes) -> ServerConfig:
    """The configuration in the JSON ``data``; members that are not known here are passed over.

    Raises:
        ValueError: not such a configuration, or out of bounds.
    """
    if len(data) > MAX_CONFIG:
        raise ValueError("the configuration is too long")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("the configuration is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("the configuration is no JSON object")
    version = found.get("version")
    servers = found.get("ice_servers", [])
    motd = found.get("motd", "")
    relay_bytes = found.get("relay_bytes", 0)
    if type(version) is not int or not 0 < version <= _MAX_VERSION:
        raise ValueError("the configuration has no version")
    if not isinstance(servers, list) or len(servers) > _MAX_SERVERS:
        raise ValueError("the configuration's ICE servers are no short list")
    if not isinstance(motd, str) or len(motd) > MAX_MOTD:
        raise ValueError("the message of the day is no short text")
    if type(relay_bytes) is not int or not 0 <= relay_bytes <= MAX_RELAY_BYTES:
        raise ValueError("what circuits carry is no number of bytes")
    servers = tuple(_ice_server(server) for server in servers)
    return ServerConfig(version, servers, motd, relay_bytes)


def _ice_server(found: object) -> IceServer:
    if not isinstance(found, dict):
        raise ValueError("an ICE server is no JSON object")
    urls = found.get("urls")
    urls = [urls] if isinstance(urls, str) else urls
    if not isinstance(urls, list) or not 0 < len(urls) <= _MAX_URLS:
        raise ValueError("an ICE server has no short list of URLs")
    for url in urls:
        if not isinstance(url, str) or len(url) > _MAX_TEXT or not _ICE_URL.fullmatch(url):
            raise ValueError("an ICE server's URL is none")
    server = IceServer(urls=urls)
    username, credential = found.get("username"), found.get("credential")
    if username is None and credential is None:
        return server
    for text in (username, credential):
        if not isinstance(text, str) or len(text) > _MAX_TEXT or not text.isprintable():
            raise ValueError("an ICE server's credential is no short text")
    return {**server, "username": username, "credential": credential}  # type: ignore[typeddict-item]  # both were just found to be str
