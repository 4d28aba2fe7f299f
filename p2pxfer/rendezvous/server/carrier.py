"""One client's WebSocket as an end of a circuit: what it says goes to the switchboard, and back.

Whatever comes is read at once, so that no client's windows and pings are held up by the other side.
Frames are opaque, and nothing is known of rooms.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from p2pxfer.rendezvous.duplex import converse
from p2pxfer.rendezvous.encoding import encode
from p2pxfer.rendezvous.messages import ClientMessage, Connect, Ended, Forward, Reason, Took
from p2pxfer.rendezvous.server.circuits import End, Switchboard
from p2pxfer.rendezvous.server.rooms import Refused

STUCK: Final = 30.0  # seconds that a client may take none of what is written to it


class Carrier:
    """Serves one end.

    Args:
        switchboard: all circuits.
        socket: to the client.
        hear: gives its next message, None when it has hung up.
        abort: drops the connection, whatever waits to be written.
        now: the clock, in seconds.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        socket: web.WebSocketResponse,
        hear: Callable[[], Awaitable[ClientMessage | None]],
        abort: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self._switchboard = switchboard
        self._socket = socket
        self._hear = hear
        self._abort = abort
        self._now = now
        self._changed = asyncio.Event()

    async def serve(self, first: Connect, address: str) -> None:
        """Carry until either side is done; the socket is the caller's to close.

        Raises:
            Refused: with the reason to tell the client.
            ConnectionError: it hung up while it was spoken to.
        """
        end = self._switchboard.enter(first.name, address, self._now(), self._changed.set)
        try:
            for failure in await converse(self._listen(end), self._speak(end)):
                raise failure
        finally:
            self._switchboard.leave(end)

    async def _listen(self, end: End) -> None:
        while (message := await self._hear()) is not None:
            match message:
                case Forward(body):
                    self._switchboard.forward(end, body, self._now())
                case Took(size):
                    self._switchboard.took(end, size)
                case _:
                    raise Refused(Reason.MALFORMED)

    async def _speak(self, end: End) -> None:
        try:
            while True:
                self._changed.clear()
                while (message := self._switchboard.next_message(end, self._now())) is not None:
                    async with asyncio.timeout(STUCK):
                        await self._socket.send_bytes(encode(message))
                    if isinstance(message, Ended):
                        return
                await self._rest(self._switchboard.deadline(end))
        except TimeoutError:
            self._abort()

    async def _rest(self, deadline: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if deadline is None else deadline - self._now()):
                await self._changed.wait()
