"""Which proxy leads to a rendezvous, as the environment says. Nothing is asked of it here.

The variables are curl's, in upper or lower case: HTTPS_PROXY or HTTP_PROXY by the scheme of what is
asked for, else ALL_PROXY, and none of them for the hosts of NO_PROXY, each with a port or without.
Where a system has settings of its own, as macOS does, these count if no variable is set.
"""

from __future__ import annotations

import os
import sys
from typing import Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from p2pxfer.discreet import Discreet
from p2pxfer.errors import UsageError

VARIABLES: Final = "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"
_HINT: Final = f"it looks like http://host:3128 or socks5h://host:1080; check {VARIABLES}"
_WEB: Final = {"http": 80, "https": 443}  # the usual ports
_SETTINGS: Final = {"darwin", "win32"}  # systems that have them beside the environment
_SOCKS_PORT: Final = 1080  # RFC 1928 section 3
# The version, and whether the proxy looks names up; "socks" is what GNOME writes.
_SOCKS: Final = {
    "socks": (5, True),
    "socks4": (4, False),
    "socks4a": (4, True),
    "socks5": (5, False),
    "socks5h": (5, True),
}


class Proxy(Discreet, Struct, frozen=True):
    """A proxy.

    Attributes:
        scheme: ``http``, ``https``, or one of SOCKS.
        host: its name or address, IPv6 without brackets.
        port: its TCP port.
        url: all of it, with username and password if it wants them; never shown.
    """

    hidden = ("url",)

    scheme: str
    host: str
    port: int
    url: str

    @property
    def socks(self) -> int:
        """The version of SOCKS that it speaks; 0 if it is a web proxy."""
        return _SOCKS.get(self.scheme, (0, True))[0]

    @property
    def resolves(self) -> bool:
        """Whether it looks names up itself."""
        return _SOCKS.get(self.scheme, (0, True))[1]

    def credentials(self) -> tuple[str | None, str | None]:
        """Username and password."""
        parts = urlsplit(self.url)
        name, password = parts.username, parts.password
        return name and unquote(name), password and unquote(password)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def towards(url: str) -> Proxy | None:
    """The proxy on the way to ``url``, None where there is none.

    Raises:
        UsageError: what the environment names is none.
    """
    named = any(name.lower().endswith("_proxy") for name in os.environ)
    if not named and sys.platform not in _SETTINGS:
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415  # few set any

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _WEB.get(parts.scheme)
    if proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return None
    proxies = getproxies()
    text = proxies.get(parts.scheme) or proxies.get("all")
    return parse(text) if text else None


def parse(text: str) -> Proxy:
    """Read a proxy's URL; without a scheme it is a web proxy's.

    Raises:
        UsageError: it is none.
    """
    text = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port == 0 or not (parts.scheme in _WEB or parts.scheme in _SOCKS):
        raise UsageError("the proxy that the environment names is none", _HINT)
    return Proxy(parts.scheme, host, port or _WEB.get(parts.scheme, _SOCKS_PORT), text)
