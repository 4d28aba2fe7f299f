"""Tunnels through proxies: CONNECT through a web proxy, and SOCKS by python-socks.

A web proxy is asked for a tunnel to plain HTTP, too: most of them relay no WebSocket otherwise
(RFC 6455 section 4.1). Loaded only where a proxy is set, since few are.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode

from p2pxfer.rendezvous import certificates
from p2pxfer.rendezvous.connection import (
    ProxyFailed,
    ProxyRefused,
    ProxyUnreached,
    Stream,
    closed_on_failure,
    reach,
)
from p2pxfer.rendezvous.proxy import Proxy
from p2pxfer.rendezvous.request import AGENT, Headers, Unanswered, ask

_TUNNELLED = range(200, 300)


async def through(proxy: Proxy, host: str, port: int) -> Stream:
    """A stream to ``host`` through ``proxy``.

    Raises:
        ProxyUnreached, ProxyRefused, ProxyFailed: there is none.
        OSError: the connection to the proxy broke, or ``host`` is not known here and would have to
            be.
    """
    try:
        return await (_socks if proxy.socks else _web)(proxy, host, port)
    except ValueError:  # which might quote a secret
        raise ProxyFailed(f"the proxy {proxy} can't be told that host, user or password") from None


async def _web(proxy: Proxy, host: str, port: int) -> Stream:
    secure = proxy.scheme == "https"
    context = await asyncio.to_thread(certificates.trusted) if secure else None
    try:
        stream = await reach(proxy.host, proxy.port, context, proxy.host)
    except ssl.SSLCertVerificationError as error:
        raise ProxyFailed(
            f"the certificate of the proxy {proxy} does not prove who it is"
        ) from error
    except OSError as error:
        raise ProxyUnreached(f"no connection to the proxy {proxy}") from error
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with closed_on_failure(stream):
        headers = [("Host", place), ("User-Agent", AGENT), *_authorization(proxy)]
        try:
            _, head = await ask(stream, "CONNECT", place, headers)
        except Unanswered as error:
            raise ProxyFailed(f"the proxy {proxy} answers as none does: {error}") from error
        if head.status_code not in _TUNNELLED:
            raise ProxyRefused(head.status_code)
    return stream


async def _socks(proxy: Proxy, host: str, port: int) -> Stream:
    from python_socks import (  # noqa: PLC0415  # web proxies do without
        ProxyConnectionError,
        ProxyError,
        ProxyTimeoutError,
        ProxyType,
    )
    from python_socks.async_.asyncio.v2 import Proxy as Socks  # noqa: PLC0415

    version = ProxyType.SOCKS4 if proxy.socks == 4 else ProxyType.SOCKS5  # noqa: PLR2004
    username, password = proxy.credentials()
    asked = Socks(version, proxy.host, proxy.port, username, password, rdns=proxy.resolves)
    try:
        made = await asked.connect(host, port)
    except ProxyConnectionError as error:
        raise ProxyFailed(f"no connection to the proxy {proxy}") from error
    except (ProxyError, ProxyTimeoutError) as error:
        raise ProxyFailed(f"the proxy {proxy} refuses: {error}") from error
    return Stream(made.reader, made.writer)


def _authorization(proxy: Proxy) -> Headers:
    """RFC 7617's, for a proxy that wants a user."""
    username, password = proxy.credentials()
    if not username:
        return []
    secret = b64encode(f"{username}:{password or ''}".encode("latin-1"))
    return [("Proxy-Authorization", f"Basic {secret.decode('ascii')}")]
