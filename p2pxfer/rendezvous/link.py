"""One WebSocket to a rendezvous, from its first message on; aiohttp's exceptions end here.

Every wait for the server has a deadline and every size a limit: the server may be hostile. A link
carries messages and knows nothing of rooms; it is never opened again, a new one is.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Final, TypeVar

import aiohttp

from p2pxfer.errors import RendezvousMisbehaved, RendezvousUnreachable
from p2pxfer.rendezvous import proxy
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

CLOSE_SECONDS: Final = 1.0  # for the closing handshake, which nobody needs
AnswerT = TypeVar("AnswerT", Welcome, Connected)
_BUSY: Final = {429, 502, 503, 504}
_QUOTED: Final = 200  # characters of somebody else's text in an error


class ProxyFailed(aiohttp.ClientError):
    """A proxy led nowhere; says which, and why, for people."""


class Link:
    """Messages over one WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    @property
    def ends(self) -> tuple[str, str]:
        """``host:port`` of this side, and of the server or a proxy before it; empty: not known."""
        local, remote = map(self._socket.get_extra_info, ("sockname", "peername"))
        return _shown(local), _shown(remote)

    async def send(self, message: ClientMessage) -> None:
        """Write ``message``.

        Raises:
            RendezvousUnreachable: the connection is gone.
        """
        try:
            await self._socket.send_bytes(encode(message))
        except (aiohttp.ClientError, OSError) as error:
            raise RendezvousUnreachable("the connection to the rendezvous broke") from error

    async def receive(self) -> ServerMessage:
        """The next message.

        Raises:
            RendezvousUnreachable: the connection is gone.
            RendezvousMisbehaved: it is none, or too long.
        """
        frame = await self._socket.receive()
        if frame.type is aiohttp.WSMsgType.BINARY:
            try:
                return decode_server(frame.data)
            except MalformedMessage as error:
                raise RendezvousMisbehaved(
                    f"the rendezvous sent what is no message: {error}"
                ) from None
        if frame.type is aiohttp.WSMsgType.TEXT or (
            frame.type is aiohttp.WSMsgType.ERROR and isinstance(frame.data, aiohttp.WebSocketError)
        ):
            raise RendezvousMisbehaved("the rendezvous broke the WebSocket protocol")
        raise RendezvousUnreachable("the connection to the rendezvous broke")

    async def close(self) -> None:
        """Hang up."""
        await self._socket.close()


async def dial(
    session: aiohttp.ClientSession,
    url: str,
    first: FirstMessage | Connect,
    answers: type[AnswerT],
    *,
    ssl_context: ssl.SSLContext | None,
    seconds: float,
    heartbeat: float,
) -> tuple[Link, AnswerT | Ended]:
    """Connect to the rendezvous at ``url``, say ``first``, and hear the answer.

    Args:
        session: makes the connection.
        url: the rendezvous' base URL.
        first: what to ask for.
        answers: what the rendezvous answers if it does not refuse.
        ssl_context: for https; None for the system's certificates.
        seconds: for all of it.
        heartbeat: seconds between pings from then on.

    Raises:
        RendezvousUnreachable: no connection, or no answer in time.
        RendezvousMisbehaved: the answer is none.
    """
    link: Link | None = None
    try:
        async with asyncio.timeout(seconds):
            socket = await session.ws_connect(
                f"{url}/v1/ws",
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                heartbeat=heartbeat,
                max_msg_size=MAX_MESSAGE + 1,  # aiohttp refuses what reaches it
                ssl=ssl_context or True,
            )
            link = Link(socket)
            await link.send(first)
            answer = await link.receive()
        if not isinstance(answer, answers | Ended):
            raise RendezvousMisbehaved("the rendezvous began with something else than an answer")
    except (aiohttp.ClientError, OSError) as error:
        if link is not None:
            await link.close()
        raise unreachable(error, url, seconds) from error
    except BaseException:
        if link is not None:
            await link.close()
        raise
    return link, answer


def unreachable(
    error: aiohttp.ClientError | OSError, url: str, seconds: float
) -> RendezvousUnreachable:
    """What went wrong on the way to ``url``, which had ``seconds``, as an error for people."""
    hint = None
    match error:
        case TimeoutError():
            message = f"{url} did not answer within {seconds:g} s"
        case aiohttp.ClientHttpProxyError(status=status):
            message = f"the proxy refused a connection to {url} (HTTP status {status})"
            hint = f"check {proxy.VARIABLES}"
        case aiohttp.ClientProxyConnectionError():
            message = f"no connection to the proxy on the way to {url}"
            hint = f"check {proxy.VARIABLES}"
        case ProxyFailed():
            message = f"no connection to {url}: {str(error)[:_QUOTED]}"
            hint = f"check {proxy.VARIABLES}"
        case aiohttp.WSServerHandshakeError(status=status) if status in _BUSY:
            message = f"{url} is too busy (HTTP status {status})"
            hint = "try again in a minute"
        case aiohttp.WSServerHandshakeError(status=status):
            message = f"{url} answers, but not as a rendezvous does (HTTP status {status})"
        case (
            aiohttp.ClientConnectorCertificateError()
            | aiohttp.ClientOSError(__cause__=ssl.SSLCertVerificationError())
        ):
            message = f"the certificate of {url} does not prove who it is"
            hint = "check the address given with --rendezvous, and this machine's clock"
        case aiohttp.ClientConnectorError(os_error=OSError(errno=int(number))) if number > 0:
            message = f"no connection to {url}: {os.strerror(number)}"
        case aiohttp.ClientConnectorError(os_error=OSError(strerror=str(reason))):
            message = f"no connection to {url}: {reason[:_QUOTED]}"
        case _:
            message = f"no connection to {url}: {str(error)[:_QUOTED]}"
    return RendezvousUnreachable(message, hint)


def _shown(address: object) -> str:
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ""
