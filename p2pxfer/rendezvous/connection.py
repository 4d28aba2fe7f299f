"""The way to a rendezvous: from its URL to a stream of bytes, over TCP, TLS and perhaps a proxy.

What is said over the stream is not known here. All that goes wrong is an `OSError`; the classes of
this module say what no error number does. Nothing here has a deadline: whoever calls has one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, urlsplit

from msgspec import Struct

from p2pxfer.errors import UsageError
from p2pxfer.rendezvous.proxy import Proxy

CHUNK: Final = 64 * 1024  # bytes that are read at a time
STAGGER: Final = 0.25  # seconds until a name's next address is tried, too (RFC 8305 section 5)
LINGER: Final = 5.0  # seconds after a close for the other side to take what was written before
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PATH: Final = "/%:@!$&'()*+,;=~"  # what stays as it is in a path: RFC 3986 section 3.3


class ProxyUnreached(ConnectionError):
    """There is no connection to the web proxy."""


class ProxyRefused(ConnectionError):
    """The web proxy does not lead there.

    Attributes:
        status: of HTTP, that it answered with.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the proxy answers with status {status}")
        self.status = status


class ProxyFailed(ConnectionError):
    """A proxy led nowhere; says which, and why, for people."""


class Stream:
    """Bytes both ways.

    Attributes:
        ends: ``host:port`` of this side, and of the server or a proxy before it; empty: not known.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        local, remote = map(writer.get_extra_info, ("sockname", "peername"))
        self.ends = (_shown(local), _shown(remote))
        self._reader = reader
        self._writer = writer
        self._below: asyncio.StreamWriter | None = None  # what TLS goes over since `secure`
        self._secure = writer.get_extra_info("sslcontext") is not None

    def write(self, data: bytes) -> None:
        """Queue ``data``; what can't be sent any more is lost, which `read` and `drain` tell."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait while more is queued than a few packets.

        Raises:
            OSError: the connection is gone.
        """
        with _told_as_it_is():
            await self._writer.drain()

    async def read(self, most: int = CHUNK) -> bytes:
        """What has come, ``most`` bytes at most; empty at the end.

        Raises:
            OSError: the connection is gone.
        """
        await asyncio.sleep(0)  # what is there already is read without a pause for anybody else
        with _told_as_it_is():
            return await self._reader.read(most)

    async def secure(self, context: ssl.SSLContext, name: str) -> None:
        """Speak TLS from now on, with whoever proves to be ``name``.

        What has come before and was not read is dropped: `StreamWriter.start_tls` would keep it,
        and have it taken for what comes over TLS.

        Raises:
            OSError: it does not prove that, or speaks no TLS.
        """
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        with _name_checked(name), _told_as_it_is():
            transport = await loop.start_tls(
                self._writer.transport, protocol, context, server_hostname=name
            )
        if transport is None:  # lost again at once
            raise ConnectionError("the connection is gone")
        protocol.connection_made(transport)
        self._below = self._writer  # which would hang up if it were collected, from Python 3.13 on
        self._reader, self._writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        self._secure = True

    def close(self) -> None:
        """Hang up, once what is queued has left; whoever does not take it is cut off."""
        transport = self._writer.transport  # which answers no question if TLS over it has failed
        queued = not self._secure and transport.get_write_buffer_size()
        self._writer.close()
        # Of TLS, asyncio awaits a farewell for half a minute, and what is queued below without end.
        if self._secure:
            asyncio.get_running_loop().call_later(LINGER, transport.abort)
        elif queued:
            asyncio.get_running_loop().call_later(LINGER, self._cut)

    def _cut(self) -> None:
        if self._writer.transport.get_write_buffer_size():
            self._writer.transport.abort()


class Route(Struct, frozen=True):
    """How a rendezvous is reached.

    Attributes:
        host: its name in ASCII, or its address, IPv6 without brackets.
        port: its TCP port.
        authority: both as HTTP writes them.
        prefix: path that it lives below; empty or with a slash in front, none at the end.
        context: whom to trust, where it speaks TLS.
        proxy: on the way there.
    """

    host: str
    port: int
    authority: str
    prefix: str
    context: ssl.SSLContext | None = None
    proxy: Proxy | None = None

    @classmethod
    def to(cls, url: str, context: ssl.SSLContext | None, proxy: Proxy | None) -> Route:
        """The route to ``url``, which `address.parse` gave; ``context`` where that is https.

        Raises:
            UsageError: the host's name is none.
        """
        parts = urlsplit(url)
        host = _ascii(parts.hostname or "")
        usual = _DEFAULT_PORTS[parts.scheme]
        port = parts.port or usual
        authority = _bracketed(_zoneless(host)) + (f":{port}" if port != usual else "")
        return cls(host, port, authority, quote(parts.path, safe=_PATH), context, proxy)


async def connect(route: Route) -> Stream:
    """A stream to the end of ``route``, which has proved to be who it is where there is TLS.

    Raises:
        OSError: there is none, as this module's classes and those of `ssl` and `socket` say.
    """
    name = _zoneless(route.host).rstrip(".")
    if route.proxy is None:
        return await reach(route.host, route.port, route.context, name)
    from p2pxfer.rendezvous import tunnel  # noqa: PLC0415  # few need it

    stream = await tunnel.through(route.proxy, route.host, route.port)
    if route.context is not None:
        with closed_on_failure(stream):
            await stream.secure(route.context, name)
    return stream


async def reach(host: str, port: int, context: ssl.SSLContext | None, name: str) -> Stream:
    """A stream straight to ``host``, which by TLS proves to be ``name`` if there is a ``context``.

    Raises:
        OSError: there is none.
    """
    with _name_checked(name):
        reader, writer = await asyncio.open_connection(
            host,
            port,
            ssl=context,
            server_hostname=name if context is not None else None,
            happy_eyeballs_delay=STAGGER,
        )
    return Stream(reader, writer)


@contextlib.contextmanager
def closed_on_failure(stream: Stream) -> Iterator[None]:
    """Close ``stream`` if what is done with it fails."""
    try:
        yield
    except BaseException:
        stream.close()
        raise


@contextlib.contextmanager
def _told_as_it_is() -> Iterator[None]:
    """Raise what TLS over TLS failed by: asyncio up to Python 3.12 stumbles when it tells that."""
    try:
        yield
    except TypeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise ConnectionError("TLS broke") from error  # it is told again, without its context


@contextlib.contextmanager
def _name_checked(name: str) -> Iterator[None]:
    """Raise `OSError` where a name is none; by an empty one, TLS would trust anybody's proof."""
    try:
        if not name:
            raise UnicodeError
        yield
    except UnicodeError as error:  # a label that is empty or too long
        raise OSError("that is no name of a host") from error


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    import idna  # noqa: PLC0415  # most names are ASCII

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except UnicodeError:
        raise UsageError("the address of the rendezvous is none") from None


def _zoneless(host: str) -> str:
    """Without the interface of a link-local address, which means nothing to others (RFC 6874)."""
    return host.split("%", 1)[0] if ":" in host else host


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _shown(address: object) -> str:
    match address:
        case (str(host), int(port), *_):
            return f"{_bracketed(host)}:{port}"
    return ""
