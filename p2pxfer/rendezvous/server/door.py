"""Who is let in over TCP: everybody, but whoever only stands there goes when another one comes.

A connection without a WebSocket costs a descriptor, of which a process has few: the sender that
runs a rendezvous beside its transfer reads its files with the same. Nothing of HTTP in here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web


class Door:
    """Makes the protocol of each new connection, as `asyncio.loop.create_server` wants it.

    Args:
        server: speaks HTTP.
        most_idle: connections at a time that are not `talking`.

    Attributes:
        talking: connections that are needed.
    """

    def __init__(self, server: web.Server, most_idle: int) -> None:
        self.talking: set[asyncio.Protocol] = set()
        self._server = server
        self._most_idle = most_idle

    def __call__(self) -> asyncio.Protocol:
        """One more; if that is one too many, the one that came first hangs up."""
        connections = self._server.connections
        if len(connections) - len(self.talking) >= self._most_idle:
            idle = [each for each in connections if each not in self.talking]
            for each in idle[: len(idle) - self._most_idle + 1]:
                each.force_close()
        return self._server()
