"""Two ends joined by a wire in memory, and network namespaces that a test owns.

Traffic stays on the loopback addresses or inside such a namespace. Every test here also proves
that nothing was left running and that no task ended with an error that nobody saw.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aioice.ice
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer import seam, udp
from p2pxfer.peer.channel import Channel
from p2pxfer.peer.connection import PeerConnection
from tests import namespaces

PATIENCE = 60.0  # seconds until a test is called hung

Tap = Callable[[str, bytes], list[bytes]]


def as_sent(_end: str, body: bytes) -> list[bytes]:
    return [body]


@dataclass
class Pair:
    """Two ends; ``sent`` and ``states`` tell what each of them mailed and reported."""

    a: PeerConnection
    b: PeerConnection
    sent: dict[str, list[bytes]]
    states: dict[str, list[str]]
    refusals: list[PeerMisbehaved] = field(default_factory=list)

    async def open(self, patience: float = PATIENCE) -> tuple[Channel, Channel]:
        opened = await asyncio.gather(self.a.open(patience), self.b.open(patience))
        return opened[0], opened[1]

    def said(self, end: str) -> list[dict]:
        return [json.loads(body) for body in self.sent[end]]


@asynccontextmanager
async def joined(
    *, tap: Tap = as_sent, a: dict | None = None, b: dict | None = None, **both: object
) -> AsyncIterator[Pair]:
    """Two started ends whose mail passes ``tap``; everything is closed and checked in the end."""
    options = {"ice_servers": (), "relay_only": False, "loopback": True, **both}
    before = asyncio.all_tasks()
    files = len(os.listdir("/dev/fd"))
    mail: dict[str, asyncio.Queue[bytes]] = {"a": asyncio.Queue(), "b": asyncio.Queue()}
    sent: dict[str, list[bytes]] = {"a": [], "b": []}
    states: dict[str, list[str]] = {"a": [], "b": []}

    def post(end: str, body: bytes) -> None:
        sent[end].append(body)
        for passed in tap(end, body):
            mail["b" if end == "a" else "a"].put_nowait(passed)

    def make(end: str, own: dict | None) -> PeerConnection:
        return PeerConnection(
            offerer=end == "a",
            signal=lambda body: post(end, body),
            on_state=states[end].append,
            **{**options, **(own or {})},
        )

    pair = Pair(make("a", a), make("b", b), sent, states)

    async def deliver(end: str, connection: PeerConnection) -> None:
        while True:
            try:
                await connection.receive(await mail[end].get())
            except PeerMisbehaved as error:
                pair.refusals.append(error)

    await pair.a.start()
    await pair.b.start()
    postmen = [asyncio.create_task(deliver(e, c)) for e, c in (("a", pair.a), ("b", pair.b))]
    try:
        yield pair
    finally:
        await asyncio.gather(pair.a.close(), pair.b.close())
        for postman in postmen:
            postman.cancel()
        await asyncio.wait(postmen)
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if left:  # a turn of the loop is allowed to those that are about to end
            _, left = await asyncio.wait(left, timeout=5)
        assert not left
        assert len(os.listdir("/dev/fd")) <= files


class StockEnd:
    """Plain aiortc, as anybody would write it, at the other end of the wire."""

    def __init__(self, connection: PeerConnection, inbox: asyncio.Queue[bytes]) -> None:
        self.rtc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.opened: asyncio.Future = asyncio.get_running_loop().create_future()
        self.messages: asyncio.Queue[bytes | str] = asyncio.Queue()
        self.closed = asyncio.Event()
        self._connection = connection
        self._inbox = inbox
        self.rtc.on("datachannel", self.take)

    def take(self, channel) -> None:
        channel.on("message", self.messages.put_nowait)
        channel.on("close", self.closed.set)
        if channel.readyState == "open":
            self.opened.set_result(channel)
        else:
            channel.on("open", lambda: self.opened.set_result(channel))

    async def answer(self) -> None:
        await self._hear()
        await self.rtc.setLocalDescription()
        await self._say()

    async def offer(self, **options) -> None:
        self.take(self.rtc.createDataChannel("p2pxfer", **options))
        await self.rtc.setLocalDescription()
        await self._say()
        await self._hear()

    async def _say(self) -> None:
        local = self.rtc.localDescription
        body = {"v": 1, "kind": "description", "type": local.type, "sdp": local.sdp}
        await self._connection.receive(json.dumps(body).encode())

    async def _hear(self) -> None:
        body = json.loads(await self._inbox.get())
        await self.rtc.setRemoteDescription(RTCSessionDescription(body["sdp"], body["type"]))
        while (body := json.loads(await self._inbox.get()))["kind"] == "candidate":
            candidate = candidate_from_sdp(body["candidate"].removeprefix("candidate:"))
            candidate.sdpMLineIndex = 0
            await self.rtc.addIceCandidate(candidate)
        await self.rtc.addIceCandidate(None)


@asynccontextmanager
async def joined_to_stock(*, offerer: bool) -> AsyncIterator[tuple[PeerConnection, StockEnd]]:
    """One of our ends and a plain aiortc one."""
    inbox: asyncio.Queue[bytes] = asyncio.Queue()
    ours = PeerConnection(
        offerer=offerer, ice_servers=(), relay_only=False, signal=inbox.put_nowait, loopback=True
    )
    stock = StockEnd(ours, inbox)
    await ours.start()
    try:
        yield ours, stock
    finally:
        await asyncio.gather(ours.close(), stock.rtc.close())


def pytest_asyncio_loop_factories(config, item) -> dict:  # noqa: ARG001  # as the plugin calls it
    """Loops as the commands have them."""
    return {"batches": udp.BatchLoop}


@pytest.fixture(params=["batched", "single", "stock"])
def layer(request, monkeypatch) -> str:
    """What is under the channels of both ends, each in its turn."""
    monkeypatch.setenv(seam.VARIABLE, request.param)
    return request.param


@pytest.fixture(name="joined")
def joined_fixture():
    return joined


@pytest.fixture(name="joined_to_stock")
def joined_to_stock_fixture(monkeypatch):
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_families: ["127.0.0.1"])
    return joined_to_stock


@pytest.fixture(autouse=True)
def nothing_unseen(caplog):
    """No task may end with an error that only the garbage collector finds."""
    yield
    gc.collect()
    assert [r.getMessage() for r in caplog.records if r.name == "asyncio" and r.levelno > 30] == []


@pytest.fixture
def in_namespace():
    """`namespaces.run`, where that can be."""
    namespaces.require()
    return functools.partial(namespaces.run, patience=PATIENCE, loop_factory=udp.new_event_loop)


@pytest.fixture
def turn_server(tmp_path):
    """Start coturn at addresses; user ``alice``, password ``s3cret``, unless it has a secret.

    With a certificate and its key it speaks TLS at port 5349, too.
    """
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed")
    running: list[subprocess.Popen] = []

    def start(
        *addresses: str, secret: str = "", tls: tuple[Path, Path] | None = None
    ) -> subprocess.Popen:
        command = [program, "-n", "--no-dtls", "--no-cli", "--log-file", "stdout"]
        command += ["--cert", str(tls[0]), "--pkey", str(tls[1])] if tls else ["--no-tls"]
        command += ["--realm", "test", "--userdb", str(tmp_path / "db")]
        command += [word for address in addresses for word in ("-L", address)]
        command += ["--pidfile", str(tmp_path / "pid")]
        if secret:
            command += ["--use-auth-secret", "--static-auth-secret", secret]
        else:
            command += ["--lt-cred-mech", "--user", "alice:s3cret"]
        command += ["--allow-loopback-peers", "--min-port", "50000", "--max-port", "50099"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        running.append(server)
        late = time.monotonic() + PATIENCE
        for port in (3478, 5349) if tls else (3478,):
            while True:  # its log is buffered: only a connection tells that it listens
                try:
                    socket.create_connection((addresses[0], port), timeout=1).close()
                    break
                except OSError:
                    assert server.poll() is None
                    assert time.monotonic() < late
                    time.sleep(0.02)
        return server

    yield start
    for server in running:
        server.kill()
        server.wait()
