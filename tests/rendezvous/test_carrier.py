"""Circuits over real WebSockets: a real server, real clients, and some that break the rules."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from p2pxfer.errors import PeerGone, RelaySpent, RoomRefused
from p2pxfer.rendezvous import encoding
from p2pxfer.rendezvous import messages as wire
from p2pxfer.rendezvous.circuit import Circuit
from p2pxfer.rendezvous.client import RendezvousClient
from p2pxfer.rendezvous.messages import Connect, Connected, Credit, Ended, Forward, Frame, Reason
from p2pxfer.rendezvous.server import carrier
from p2pxfer.rendezvous.server.carrier import Carrier
from p2pxfer.rendezvous.server.circuits import Switchboard
from p2pxfer.rendezvous.server.limits import Carriage, Limits

NAME = bytes(32)
PLENTY = Carriage(each=10**12, total=10**12)
PATIENCE = 60.0  # seconds until a test is called hung
FIT = wire.CIRCUIT_WINDOW // (wire.MAX_FRAME + wire.FRAME_OVERHEAD)  # whole frames of a window


async def eventually(holds: Callable[[], object]) -> None:
    """Wait until it holds, but not for ever."""
    for _ in range(int(PATIENCE / 0.02)):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never held")


class Plain:
    """Seals nothing: what the other modules make of that is their tests' business."""

    def __init__(self) -> None:
        self.greeted = False

    def greeting(self) -> bytes:
        return b"greeting"

    def seal(self, message: bytes) -> list[bytes]:
        return [message]

    def open(self, frame: bytes) -> bytes | None:
        first, self.greeted = not self.greeted, True
        return None if first else frame


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Raw:
    """One end that says whatever a test wants."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def say(self, message: wire.ClientMessage) -> None:
        await self._socket.send_bytes(encoding.encode(message))

    async def hear(self) -> wire.ServerMessage:
        return encoding.decode_server(await self._socket.receive_bytes(timeout=PATIENCE))

    async def hang_up(self) -> None:
        await self._socket.close()


async def ends(http: aiohttp.ClientSession, port: int, count: int = 2) -> list[Raw]:
    """So many that ask for the same name."""
    found = []
    for _ in range(count):
        found.append(Raw(await http.ws_connect(f"http://127.0.0.1:{port}/v1/ws")))
        await found[-1].say(Connect(NAME))
    return found


async def circuits(client: RendezvousClient, *, rate: float = math.inf) -> list[Circuit]:
    """Both ends of one, open."""
    links = await asyncio.gather(*(client.circuit(NAME, PATIENCE) for _ in range(2)))
    sides = [Circuit(link, Plain(), Plain(), rate=lambda: rate) for link in links]
    await asyncio.gather(*(side.open(PATIENCE) for side in sides))
    return sides


async def test_two_ends_speak_and_one_leaves(serve):
    """Far more than a window crosses, both ways at once; what was sent before the end arrives."""
    server = await serve(carriage=PLENTY)
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        assert (await client.config()).relay_bytes == 10**12
        one, two = await circuits(client)
        assert one.rtt_ms is not None
        assert one.ends[1] == f"127.0.0.1:{server.port}"
        sent = [bytes([n]) * wire.MAX_FRAME for n in range(4 * FIT)]
        got: list[list[bytes]] = [[], []]
        for side, taken in zip((one, two), got, strict=True):
            side.on_message(taken.append)

        async def send(side: Circuit) -> None:
            for message in sent:
                await side.send(message)
            await side.drain()

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(send(one), send(two))
        assert got == [sent, sent]
        closed = asyncio.Event()
        two.on_closed(closed.set)
        await one.send(b"last")
        await one.close()
        async with asyncio.timeout(PATIENCE):
            await closed.wait()
        assert got[1][-1] == b"last"
        assert two.error is None
        with pytest.raises(PeerGone):
            await two.send(b"nobody")
        await two.close()


async def test_a_receiver_that_does_not_read(serve, http):
    """The sender is stopped at a window, others are not, and the server can be closed."""
    server = await serve(carriage=PLENTY)
    one, two = await ends(http, server.port)
    assert await one.hear() == Connected()
    for _ in range(FIT):
        await one.say(Forward(bytes(wire.MAX_FRAME)))
    board = server._rendezvous._desk.switchboard
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        for side in await circuits(client):
            await side.close()
    await one.say(Forward(bytes(wire.MAX_FRAME)))
    assert await one.hear() == Ended(Reason.OVERFLOW)
    await two.hang_up()
    await eventually(lambda: not board._tally.total)


async def test_a_receiver_that_takes_what_it_reads_late(serve, http):
    """Nothing is credited before it says so, whatever has left the server."""
    server = await serve(carriage=PLENTY)
    one, two = await ends(http, server.port)
    assert await one.hear() == await two.hear() == Connected()
    await one.say(Forward(b"x" * 936))
    assert await two.hear() == Frame(b"x" * 936)
    await two.say(Forward(b"y"))
    assert await one.hear() == Frame(b"y"), "and no credit came before"
    await two.say(wire.Took(600))
    await two.say(wire.Took(400))
    credit = 0
    while credit < 1000:
        said = await one.hear()
        assert isinstance(said, Credit)
        credit += said.size
    await one.hang_up()
    assert await two.hear() == Ended(Reason.GONE)


@pytest.mark.parametrize(
    "said", [wire.Send(1, b"x"), wire.Close(), Connect(NAME), wire.Took(1)], ids=repr
)
async def test_what_does_not_belong_on_a_circuit(serve, http, said):
    """Words of rooms, a second name, acknowledgements of nothing."""
    server = await serve(carriage=PLENTY)
    one, two = await ends(http, server.port)
    assert await one.hear() == await two.hear() == Connected()
    await one.say(said)
    assert await one.hear() == Ended(Reason.MALFORMED)
    assert await two.hear() == Ended(Reason.GONE)


async def test_nothing_is_carried_by_default(serve):
    """And the configuration says so."""
    server = await serve()
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        assert (await client.config()).relay_bytes == 0
        with pytest.raises(RelaySpent):
            await client.circuit(NAME, PATIENCE)


async def test_ends_of_one_address_are_counted(serve):
    """One more is refused with a word."""
    server = await serve(carriage=PLENTY, limits=Limits(ends=2))
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        sides = await circuits(client)
        with pytest.raises(RoomRefused, match="busy"):
            await client.circuit(NAME, PATIENCE)
        for side in sides:
            await side.close()


async def test_a_spent_volume_is_told_to_both(serve):
    """In mid-stream, and at the door afterwards; with what to do."""
    server = await serve(carriage=Carriage(each=200_000, total=10**9))
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        one, two = await circuits(client)
        two.on_message(lambda _: None)
        closed = asyncio.Event()
        two.on_closed(closed.set)
        for _ in range(4):
            await one.send(bytes(50_000))
        with pytest.raises(RelaySpent):
            await asyncio.wait_for(one.drain(), PATIENCE)
        await asyncio.wait_for(closed.wait(), PATIENCE)
        for error in (one.error, two.error):
            assert isinstance(error, RelaySpent)
            assert "3 h" in error.hint
        with pytest.raises(RelaySpent):
            await client.circuit(NAME, PATIENCE)
        for side in (one, two):
            await side.close()


async def test_who_is_late_with_reading_hears_why_it_ended_as_well(serve):
    """The last word comes behind a window of frames, while their reader says that it took them."""
    server = await serve(carriage=Carriage(each=wire.CIRCUIT_WINDOW - wire.MAX_FRAME, total=10**9))
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client, asyncio.timeout(PATIENCE):
        one, two = await asyncio.gather(*(client.circuit(NAME, PATIENCE) for _ in range(2)))
        for _ in range(FIT):
            await one.send(Forward(bytes(wire.MAX_FRAME)))
        said = await one.receive()
        assert isinstance(said, Ended)
        assert said.reason is Reason.SPENT
        frames = 0
        while isinstance(heard := await two.receive(), Frame):
            frames += 1
            await two.send(wire.Took(len(heard.body) + wire.FRAME_OVERHEAD))
        assert heard == said
        assert frames == FIT - 1
        for link in (one, two):
            await link.close()


async def test_a_limit_holds_whoever_sets_it(serve):
    """The client's own, and the server's: neither side sends faster than it says."""
    rate, size = 400_000.0, 200_000
    for own, carriage in ((rate, PLENTY), (math.inf, Carriage(each=10**9, total=10**9, rate=rate))):
        server = await serve(carriage=carriage)
        async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
            one, two = await circuits(client, rate=own)
            two.on_message(lambda _: None)
            began = time.monotonic()
            for _ in range(4):
                await one.send(bytes(size // 4))
            await one.drain()
            assert time.monotonic() - began > size * 3 / 4 / rate  # the last leaves when it may
            for side in (one, two):
                await side.close()


async def test_a_client_that_takes_nothing_off_the_wire_is_dropped(monkeypatch):
    """Its connection is aborted: there is no other way to be rid of what waits to be written."""
    monkeypatch.setattr(carrier, "STUCK", 0.05)
    board = Switchboard(Limits(), PLENTY)
    aborted = asyncio.Event()

    class Stuck:
        async def send_bytes(self, _data: bytes) -> None:
            await asyncio.Event().wait()

    async def hear() -> None:
        await aborted.wait()

    other = board.enter(NAME, "192.0.2.1", 0, lambda: None)
    stuck = Carrier(board, Stuck(), hear, aborted.set, lambda: 0.0)  # type: ignore[arg-type]
    async with asyncio.timeout(PATIENCE):
        await stuck.serve(Connect(NAME), "192.0.2.2")
    assert board.next_message(other, 0) == Ended(Reason.GONE)
