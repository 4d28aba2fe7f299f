"""Messages over one WebSocket to a rendezvous, from the first one on; why there is none, in words.

Every wait for the server has a deadline and every size a limit: the server may be hostile. A link
carries messages and knows nothing of rooms; it is never opened again, a new one is.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from typing import Final, TypeVar

from p2pxfer.errors import RendezvousMisbehaved, RendezvousUnreachable
from p2pxfer.rendezvous import proxy
from p2pxfer.rendezvous.connection import ProxyFailed, ProxyRefused, ProxyUnreached, Route
from p2pxfer.rendezvous.encoding import MalformedMessage, decode_server, encode
from p2pxfer.rendezvous.messages import (
    MAX_MESSAGE,
    ClientMessage,
    Connect,
    Connected,
    Ended,
    FirstMessage,
    ServerMessage,
    Welcome,
)
from p2pxfer.rendezvous.request import Answered
from p2pxfer.rendezvous.websocket import Violation, WebSocket, upgrade

AnswerT = TypeVar("AnswerT", Welcome, Connected)
_BUSY: Final = {429, 502, 503, 504}
_QUOTED: Final = 200  # characters of somebody else's text in an error
_NUMBER: Final = re.compile(r"\[Errno ([1-9]\d*)\]")  # also the first of several addresses'


class Link:
    """Messages over one WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    @property
    def ends(self) -> tuple[str, str]:
        """``host:port`` of this side, and of the server or a proxy before it; empty: not known."""
        return self._websocket.ends

    async def send(self, message: ClientMessage) -> None:
        """Write ``message``.

        Raises:
            RendezvousUnreachable: the connection is gone.
        """
        try:
            await self._websocket.send(encode(message))
        except OSError as error:
            raise RendezvousUnreachable("the connection to the rendezvous broke") from error

    async def receive(self) -> ServerMessage:
        """The next message.

        Raises:
            RendezvousUnreachable: the connection is gone.
            RendezvousMisbehaved: it is none, or too long.
        """
        try:
            return decode_server(await self._websocket.receive())
        except MalformedMessage as error:
            raise RendezvousMisbehaved(f"the rendezvous sent what is no message: {error}") from None
        except Violation:
            raise RendezvousMisbehaved("the rendezvous broke the WebSocket protocol") from None
        except OSError as error:
            raise RendezvousUnreachable("the connection to the rendezvous broke") from error

    async def close(self) -> None:
        """Hang up."""
        await self._websocket.close()


async def dial(
    route: Route,
    url: str,
    first: FirstMessage | Connect,
    answers: type[AnswerT],
    *,
    seconds: float,
    heartbeat: float,
) -> tuple[Link, AnswerT | Ended]:
    """Connect to the rendezvous at ``url``, say ``first``, and hear the answer.

    Args:
        route: how it is reached.
        url: its base URL, for errors.
        first: what to ask for.
        answers: what the rendezvous answers if it does not refuse.
        seconds: for all of it.
        heartbeat: seconds between pings from then on.

    Raises:
        RendezvousUnreachable: no connection, or no answer in time.
        RendezvousMisbehaved: the answer is none.
    """
    link: Link | None = None
    try:
        async with asyncio.timeout(seconds):
            link = Link(await upgrade(route, "/v1/ws", most=MAX_MESSAGE, heartbeat=heartbeat))
            await link.send(first)
            answer = await link.receive()
        if not isinstance(answer, answers | Ended):
            raise RendezvousMisbehaved("the rendezvous began with something else than an answer")
    except OSError as error:
        if link is not None:
            await link.close()
        raise unreachable(error, url, seconds) from error
    except BaseException:
        if link is not None:
            await link.close()
        raise
    return link, answer


def unreachable(error: OSError, url: str, seconds: float) -> RendezvousUnreachable:
    """What went wrong on the way to ``url``, which had ``seconds``, as an error for people."""
    hint = None
    match error:
        case TimeoutError(errno=None):
            message = f"{url} did not answer within {seconds:g} s"
        case ProxyRefused(status=status):
            message = f"the proxy refused a connection to {url} (HTTP status {status})"
            hint = f"check {proxy.VARIABLES}"
        case ProxyUnreached():
            message = f"no connection to the proxy on the way to {url}"
            hint = f"check {proxy.VARIABLES}"
        case ProxyFailed():
            message = f"no connection to {url}: {str(error)[:_QUOTED]}"
            hint = f"check {proxy.VARIABLES}"
        case Answered(status=status) if status in _BUSY:
            message = f"{url} is too busy (HTTP status {status})"
            hint = "try again in a minute"
        case Answered(status=status):
            message = f"{url} answers, but not as a rendezvous does (HTTP status {status})"
        case ssl.SSLCertVerificationError():
            message = f"the certificate of {url} does not prove who it is"
            hint = "check the address given with --rendezvous, and this machine's clock"
        case _:
            message = f"no connection to {url}: {_reason(error)[:_QUOTED]}"
    return RendezvousUnreachable(message, hint)


def _reason(error: OSError) -> str:
    match error:
        case ssl.SSLError(reason=str(reason)):
            return f"TLS: {reason.replace('_', ' ').lower()}"
        case socket.gaierror(strerror=str(reason)):  # whose number is none of the system's
            return reason
    numbered = _NUMBER.search(str(error))
    if numbered:
        return os.strerror(int(numbered[1]))
    return str(error) or "the connection broke"  # asyncio says no more where TLS was cut off
