"""Tunnels to a rendezvous: through SOCKS, and through a web proxy where it speaks plain HTTP.

aiohttp itself has web proxies relay plain HTTP, and most of them relay no WebSocket so: RFC 6455
section 4.1 asks for CONNECT there, too. Loaded only where such a proxy is set, since few are.
"""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp
from aiohttp_socks import (
    ProxyConnectionError,
    ProxyConnector,
    ProxyError,
    ProxyTimeoutError,
    ProxyType,
)

from p2pxfer.rendezvous.link import ProxyFailed
from p2pxfer.rendezvous.proxy import Proxy

_TYPES = {0: ProxyType.HTTP, 4: ProxyType.SOCKS4, 5: ProxyType.SOCKS5}


class Tunnels(ProxyConnector):
    """Connects through ``proxy``; what goes wrong there is a `ProxyFailed`."""

    def __init__(self, proxy: Proxy) -> None:
        username, password = proxy.credentials()
        super().__init__(
            proxy.host,
            proxy.port,
            _TYPES[proxy.socks],
            username,
            password,
            rdns=proxy.resolves,
            proxy_ssl=ssl.create_default_context() if proxy.scheme == "https" else None,
        )
        self._proxy = proxy

    async def connect(self, *arguments: Any, **options: Any) -> aiohttp.connector.Connection:
        """A connection, as any connector makes."""
        try:
            return await super().connect(*arguments, **options)
        except ProxyConnectionError as error:
            raise ProxyFailed(f"no connection to the proxy {self._proxy}") from error
        except (ProxyError, ProxyTimeoutError) as error:
            raise ProxyFailed(f"the proxy {self._proxy} refuses: {error}") from error
