"""Real servers on loopback, and the wires to them that a test can cut."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from p2pxfer.rendezvous.server.app import Running, start
from tests.certificates import certificate

Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def serve() -> AsyncIterator[Start]:
    """Start rendezvous; all are closed with the test."""
    running: list[Running] = []

    async def serve(port: int = 0, **options) -> Running:
        running.append(await start("127.0.0.1", port, **options))
        return running[-1]

    yield serve
    for server in running:
        await server.close()


class Wire:
    """A TCP relay to a port of this machine. It can be cut, and come back."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Nobody gets through, and whoever was through is cut off."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection; new ones get through."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(back)
            await carry_both((reader, writer), (there, back))
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def carry_both(one: Stream, two: Stream) -> None:
    """Carry bytes both ways until either side ends."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    await asyncio.gather(carry(one[0], two[1]), carry(two[0], one[1]))


@pytest.fixture
async def wire() -> AsyncIterator[Callable[[int], Awaitable[Wire]]]:
    """Lay wires to a port; all are taken up with the test."""
    wires: list[Wire] = []

    async def lay(target: int) -> Wire:
        wires.append(Wire(target))
        await wires[-1].up()
        return wires[-1]

    yield lay
    for laid in wires:
        await laid.down()


@pytest.fixture
def relay() -> Callable[[Stream, Stream], Awaitable[None]]:
    """What carries bytes both ways between two streams."""
    return carry_both


class Tls(NamedTuple):
    """A certificate for ``rendezvous.test`` and 127.0.0.1 on disk, and both ends' contexts."""

    certificate: Path
    key: Path
    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """One self-signed certificate for all tests."""
    paths = certificate(tmp_path_factory.mktemp("tls"), "rendezvous.test", "127.0.0.1")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*paths)
    return Tls(*paths, server, ssl.create_default_context(cafile=paths[0]))
