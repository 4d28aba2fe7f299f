"""Where a rendezvous is, as people write it: one function from their text to a URL.

No network, and nothing heavy: a command checks its options with this before it does anything.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from p2pxfer.errors import UsageError

DEFAULT_PORT: Final = 8765  # of a rendezvous that no web server stands before
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_MAX_LENGTH: Final = 2000
_HINT: Final = "a rendezvous looks like https://example.org, or 192.168.1.5:8765"


def parse(text: str) -> str:
    """The base URL of a rendezvous, ``http`` or ``https`` and without a slash at its end.

    ``text`` is such a URL, one with ``ws`` or ``wss``, or just ``host[:port]``: that is https,
    but http, with port 8765 unless one is given, for a private, link-local or loopback address
    and for ``localhost``.

    Raises:
        UsageError: it is none of these.
    """
    text = text.strip()
    if not text or len(text) > _MAX_LENGTH or not text.isprintable() or " " in text:
        raise UsageError("the address of the rendezvous is none", _HINT)
    bare = "://" not in text
    try:
        parts = urlsplit(f"//{text}" if bare else text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError("the address of the rendezvous is none", _HINT) from None
    if not host or port == 0 or (not bare and parts.scheme not in _SCHEMES):
        raise UsageError("the address of the rendezvous is none", _HINT)
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError("the address of the rendezvous has more in it than a place", _HINT)
    if not bare:
        return _join(_SCHEMES[parts.scheme], parts, host, port)
    if is_near(host):
        return _join("http", parts, host, port or DEFAULT_PORT)
    return _join("https", parts, host, port)


def is_near(host: str) -> bool:
    """Whether ``host`` is an address of this machine or this network, or ``localhost``."""
    try:
        address = ip_address(host.split("%", 1)[0])
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_private or address.is_link_local or address.is_loopback


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _join(scheme: str, parts: SplitResult, host: str, port: int | None) -> str:
    place = f"[{host}]" if ":" in host else host
    if port is not None:
        place = f"{place}:{port}"
    return f"{scheme}://{place}{parts.path.rstrip('/')}"
