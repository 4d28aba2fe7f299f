"""One request over a stream, and its answer: HTTP/1.1 by h11.

What the answer means is not known here. The server may be hostile: heads, their number and bodies
are bounded, and it sends nobody elsewhere: not to a machine that only the client can reach.
"""

from __future__ import annotations

from typing import Final

import h11

from p2pxfer.rendezvous.connection import Route, Stream, connect

AGENT: Final = "p2pxfer"
# Bytes of an answer's head. h11 bounds one that is incomplete alone, so that it gets small pieces;
# and to find a line illegal may take it time that grows with the square of its length.
MAX_HEAD: Final = 8 * 1024
MAX_INTERIM: Final = 16  # answers that say that one is to come: RFC 9110 section 15.2
OK: Final = 200
_PIECE: Final = 1024
_REDIRECTIONS: Final = {301, 302, 303, 307, 308}

Head = h11.Response | h11.InformationalResponse
Headers = list[tuple[str, str]]


class Unanswered(ConnectionError):
    """No answer came that is one; says why, for people."""


class Answered(ConnectionError):
    """An answer came, and not the one that was wanted.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"it answers with status {status}")
        self.status = status


async def fetch(route: Route, path: str, most: int) -> tuple[Head, bytes]:
    """What is at ``path`` below the route's end: the answer's head and, if that is OK, its body.

    Args:
        route: where to ask.
        path: what for.
        most: bytes of the body that matter; where it has more, it is given with a few more.

    Raises:
        OSError: no connection, or no answer.
    """
    stream = await connect(route)
    try:
        connection, head = await get(stream, route, path, [("Connection", "close")])
        body = bytearray()
        while head.status_code == OK and len(body) <= most:
            event = await _next(stream, connection)
            if not isinstance(event, h11.Data):
                break
            body += event.data
    finally:
        stream.close()
    return head, bytes(body)


async def get(
    stream: Stream, route: Route, path: str, headers: Headers
) -> tuple[h11.Connection, Head]:
    """Ask for ``path`` below the route's end, and hear the head of the answer.

    Raises:
        OSError: there is none, or a redirection.
    """
    common = [
        ("Host", route.authority),
        ("User-Agent", AGENT),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
    ]
    connection, head = await ask(stream, "GET", f"{route.prefix}{path}", common + headers)
    if head.status_code in _REDIRECTIONS:
        raise Unanswered("it redirects, which a rendezvous does not")
    return connection, head


async def ask(
    stream: Stream, method: str, target: str, headers: Headers
) -> tuple[h11.Connection, Head]:
    """Make a request without a body, and hear the head of the answer: the last, or 101.

    Raises:
        OSError: there is none.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    request = h11.Request(method=method, target=target, headers=headers)
    stream.write(connection.send(request) + connection.send(h11.EndOfMessage()))
    for _ in range(MAX_INTERIM + 1):
        match await _next(stream, connection):
            case h11.Response() | h11.InformationalResponse(status_code=101) as head:
                return connection, head
            case h11.InformationalResponse():
                continue
            case _:
                raise Unanswered("it hangs up instead of answering")
    raise Unanswered("it says again and again that it is about to answer")


async def _next(
    stream: Stream, connection: h11.Connection
) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
    try:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await stream.read(_PIECE))
    except h11.RemoteProtocolError as error:
        if connection.trailing_data[1]:
            raise Unanswered("it hangs up before it has answered") from error
        raise Unanswered("what it answers is no HTTP, or too long") from error
    return event
