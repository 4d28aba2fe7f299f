"""A rendezvous that attacks the stream that it carries, one attack a test.

Both ends are the real circuit with the real sealing, over links in memory whose other end is the
attacker. Whatever it does, what arrives is a beginning of what was sent, and anything worse than a
cut or a delay is told as misbehaviour, for which no other connection is tried.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest

from p2pxfer.errors import PeerGone, PeerMisbehaved, RelaySpent, RendezvousMisbehaved
from p2pxfer.pairing.keys import ATTEMPT_NONCE, SessionKeys
from p2pxfer.pairing.stream import LAST, FrameOpener, FrameSealer
from p2pxfer.rendezvous import circuit as circuits
from p2pxfer.rendezvous.circuit import Circuit
from p2pxfer.rendezvous.messages import (
    CIRCUIT_WINDOW,
    FRAME_OVERHEAD,
    MAX_FRAME,
    ClientMessage,
    Credit,
    Ended,
    Forward,
    Frame,
    Mail,
    Reason,
    ServerMessage,
    Took,
    Welcome,
)
from p2pxfer.session.fallback import MAX_MESSAGE, RELAY
from tests.session.conftest import eventually
from tests.session.ends import paired

MESSAGES = [b"the first of them", b"tw" * 32_768, b"three"]  # the second takes two frames
A, B = 0, 1


class Wire:
    """What a circuit needs of its link to the rendezvous; tests hold the other end."""

    ends = ("192.0.2.1:1", "192.0.2.2:2")

    def __init__(self) -> None:
        self.said: asyncio.Queue[ClientMessage] = asyncio.Queue()
        self.heard: asyncio.Queue[ServerMessage] = asyncio.Queue()
        self.closed = False

    async def send(self, message: ClientMessage) -> None:
        self.said.put_nowait(message)

    async def receive(self) -> ServerMessage:
        return await self.heard.get()

    async def close(self) -> None:
        self.closed = True


class Stream:
    """Two sides and the rendezvous between them, which by default is faithful.

    Attributes:
        frames: what each side has sent.
        got: the messages that each has been handed.
    """

    def __init__(self, keys: tuple[SessionKeys, SessionKeys], *, nonce: int = 0) -> None:
        nonces = [bytes([nonce + n]) * ATTEMPT_NONCE for n in range(2)]
        self.keys = [each.relayed(*nonces) for each in keys]
        self.wires = [Wire(), Wire()]
        self.frames: list[list[bytes]] = [[], []]
        self.got: list[list[bytes]] = [[], []]
        self.sides = [
            Circuit(
                wire,
                FrameSealer(keys.sealer(RELAY)),
                FrameOpener(keys.opener(RELAY), MAX_MESSAGE),
                rate=lambda: math.inf,
            )
            for wire, keys in zip(self.wires, self.keys, strict=True)
        ]
        self._middle: list[asyncio.Task[None]] = []

    def begin(self, carry: Carry) -> None:
        """Let the rendezvous do ``carry`` with each frame, and greet."""
        for side in (A, B):
            self.sides[side].on_message(self.got[side].append)
            self._middle.append(asyncio.create_task(self._carry(side, carry)))

    async def open(self) -> list[BaseException | None]:
        return await asyncio.gather(
            *(side.open(PATIENCE) for side in self.sides), return_exceptions=True
        )

    def give(self, side: int, message: ServerMessage) -> None:
        """Say something to a side."""
        self.wires[side].heard.put_nowait(message)

    async def _carry(self, side: int, carry: Carry) -> None:
        while True:
            match await self.wires[side].said.get():
                case Forward(body):
                    self.frames[side].append(body)
                    await carry(self, side, body)
                case Took(size):
                    self.give(1 - side, Credit(size))

    async def close(self) -> None:
        for task in self._middle:
            task.cancel()
        await asyncio.gather(*(side.close() for side in self.sides))


Carry = Callable[[Stream, int, bytes], Awaitable[None]]
PATIENCE = 60.0


async def faithful(stream: Stream, side: int, body: bytes) -> None:
    stream.give(1 - side, Frame(body))


@pytest.fixture
async def stream(monkeypatch):
    """A stream between two paired sides, closed with the test."""
    monkeypatch.setattr(circuits, "CLOSE_GRACE", 0.1)
    monkeypatch.setattr(circuits, "RTT_GRACE", 0.0)
    made = Stream(paired())
    yield made
    await made.close()


async def send(stream: Stream) -> None:
    """A sends everything, as far as it gets."""
    for message in MESSAGES:
        try:
            await stream.sides[A].send(message)
        except (PeerGone, RendezvousMisbehaved):
            break


async def refused(stream: Stream, side: int = B) -> None:
    """That side hears of it, loudly, and was handed a beginning of what was sent."""
    await eventually(lambda: stream.sides[side].error is not None)
    assert type(stream.sides[side].error) is RendezvousMisbehaved
    assert stream.wires[side].closed
    assert stream.got[B] == MESSAGES[: len(stream.got[B])]
    with pytest.raises(RendezvousMisbehaved):
        await stream.sides[side].send(b"more")


async def attacked(stream: Stream, carry: Carry) -> None:
    """Frames of A from the first after its greeting are handled; B refuses."""

    async def handle(stream: Stream, side: int, body: bytes) -> None:
        if side == A and len(stream.frames[A]) > 1:
            await carry(stream, side, body)
        else:
            await faithful(stream, side, body)

    stream.begin(handle)
    assert await stream.open() == [None, None]
    await send(stream)
    await refused(stream)


async def test_a_faithful_one_is_enough(stream):
    """The script is sound: all arrives, both ways, and is known to have been taken."""
    stream.begin(faithful)
    assert await stream.open() == [None, None]
    await send(stream)
    await stream.sides[B].send(b"and back")
    for side in stream.sides:
        await side.drain()
    assert stream.got == [[b"and back"], MESSAGES]
    assert MESSAGES[0] not in b"".join(stream.frames[A])


async def test_what_comes_of_a_long_message_shows_before_it_is_whole(stream):
    """Frames that open do: on a slow line they are all that tells that the other side is there."""
    shown = []

    async def look(stream: Stream, side: int, body: bytes) -> None:
        shown.append(stream.sides[B].arriving)
        await faithful(stream, side, body)
        await eventually(stream.wires[1 - side].heard.empty)

    stream.begin(look)
    assert await stream.open() == [None, None]
    shown.clear()
    await stream.sides[A].send(MESSAGES[1])
    await eventually(lambda: stream.got[B])
    first, second = shown
    assert (first, stream.sides[B].arriving) == (0, 0)
    assert second > 32_768


async def test_it_replays(stream):
    """The same frame twice."""

    async def replay(stream, side, body):
        for _ in range(2):
            await faithful(stream, side, body)

    await attacked(stream, replay)
    assert stream.got[B] == MESSAGES[:1]


async def test_it_reflects(stream):
    """A side's own frame comes back to it."""

    async def reflect(stream, side, body):
        await faithful(stream, 1 - side, body)

    stream.begin(reflect)
    assert {type(each) for each in await stream.open()} == {RendezvousMisbehaved}


async def test_it_reflects_later(stream):
    """Under the number that is due, where the greeting was let through."""

    async def reflect(stream, side, body):
        await faithful(stream, 1 - side if len(stream.frames[side]) > 1 else side, body)

    stream.begin(reflect)
    assert await stream.open() == [None, None]
    await send(stream)
    await eventually(lambda: stream.sides[A].error is not None)
    assert type(stream.sides[A].error) is RendezvousMisbehaved
    assert stream.got == [[], []]


async def test_it_reorders(stream):
    """The second of two first."""
    held: list[bytes] = []

    async def reorder(stream, side, body):
        held.append(body)
        if len(held) == 2:
            for each in reversed(held):
                await faithful(stream, side, each)

    await attacked(stream, reorder)
    assert stream.got[B] == []


async def test_it_leaves_out(stream):
    """A frame in the middle; what follows does not open."""

    async def drop(stream, side, body):
        if len(stream.frames[side]) != 3:
            await faithful(stream, side, body)

    await attacked(stream, drop)
    assert stream.got[B] == MESSAGES[:1]


@pytest.mark.parametrize("keep", [1, 15, 16, 17])
async def test_it_truncates_a_frame(stream, keep):
    """Less than a tag, a tag alone, and more."""

    async def cut(stream, side, body):
        await faithful(stream, side, body[:keep])

    await attacked(stream, cut)


async def test_it_changes_and_extends(stream):
    """A bit, or a byte more."""

    async def change(stream, side, body):
        last = len(stream.frames[side]) == 3
        await faithful(stream, side, body + b"\0" if last else body)

    await attacked(stream, change)
    assert stream.got[B] == MESSAGES[:1]


async def test_it_makes_up_frames(stream):
    """Of its own, before the first true one: there is nobody else in here."""

    async def invent(stream, side, body):
        await faithful(stream, side, bytes(100))
        await faithful(stream, side, body)

    await attacked(stream, invent)
    assert stream.got[B] == []


async def test_it_truncates_the_stream(stream):
    """Everything from some frame on is held back, and the end made up: a lost path, no end.

    That the transfer is not whole, its receipt shows, which was never sent.
    """

    async def truncate(stream, side, body):
        if side == A and len(stream.frames[A]) > 3:
            stream.give(B, Ended(Reason.GONE))
        else:
            await faithful(stream, side, body)

    closed = asyncio.Event()
    stream.sides[B].on_closed(closed.set)
    stream.begin(truncate)
    assert await stream.open() == [None, None]
    await send(stream)
    async with asyncio.timeout(PATIENCE):
        await closed.wait()
    assert stream.got[B] == MESSAGES[:1], "half a message is none"
    assert stream.sides[B].error is None
    with pytest.raises(PeerGone):
        await stream.sides[B].send(b"more")


async def test_it_splices_two_connections_of_the_same_sides(stream):
    """Frames of an earlier connection in a later one, greeting and all: its keys are gone."""
    stream.begin(faithful)
    assert await stream.open() == [None, None]
    await send(stream)
    await stream.sides[A].drain()
    later = Stream(paired(), nonce=2)
    old = iter(stream.frames[A])

    async def splice(later, side, body):
        await faithful(later, side, next(old) if side == A else body)

    later.begin(splice)
    opened = await later.open()
    await later.close()
    assert type(opened[B]) is RendezvousMisbehaved
    assert later.got == [[], []]


@pytest.mark.usefixtures("stream")
async def test_it_splices_two_connections_in_the_middle():
    """The rest of one under the numbers of another, both of one session."""
    keys = paired()
    one, two = Stream(keys, nonce=2), Stream(keys, nonce=4)
    one.begin(faithful)

    async def splice(two, side, body):
        number = len(two.frames[side]) - 1
        await faithful(two, side, one.frames[A][number] if side == A and number else body)

    two.begin(splice)
    for each in (one, two):
        assert await each.open() == [None, None]
        await send(each)
        if each is one:
            await one.sides[A].drain()
    await refused(two)
    assert two.got[B] == []
    for each in (one, two):
        await each.close()


async def test_it_joins_two_strangers(stream):
    """Sides of different sessions under one name: neither proves anything to the other."""
    other = Stream(paired())
    stream.keys[B] = other.keys[B]
    stream.sides[B] = other.sides[B]
    stream.wires[B] = other.wires[B]
    stream.begin(faithful)
    opened = await stream.open()
    assert {type(each) for each in opened} == {RendezvousMisbehaved}


async def test_it_sends_more_than_the_window(stream):
    """Frames that open, to a side that does not take them yet: no more than a window is kept."""
    stream.begin(faithful)
    assert await stream.open() == [None, None]
    side = stream.sides[B]
    side._receiver = None  # it listens later
    for _ in range(CIRCUIT_WINDOW // MAX_FRAME + 1):
        for frame in stream.sides[A]._sealer.seal(b"x" * circuits.MAX_MESSAGE):
            stream.give(B, Frame(frame))
    await refused(stream)
    assert not side._early


@pytest.mark.parametrize(
    "lie",
    [Credit(CIRCUIT_WINDOW), Welcome(7, 600, 0), Mail(1, b"x"), Ended(Reason.FULL)],
    ids=lambda lie: type(lie).__name__,
)
async def test_it_says_what_cannot_be(stream, lie):
    """Credit for what was never sent, words of rooms, ends that make no sense."""
    stream.begin(faithful)
    assert await stream.open() == [None, None]
    stream.give(B, lie)
    await refused(stream)


async def test_it_keeps_credit_back(stream):
    """What waits is bounded, and what was handed over is not called taken."""
    stream.begin(faithful)
    assert await stream.open() == [None, None]
    stream._middle[B].cancel()  # the one that passes B's word on
    a = stream.sides[A]
    sending = asyncio.create_task(repeat(a, b"x" * 60_000))
    await eventually(lambda: a.buffered > circuits.MOST_QUEUED)
    await eventually(lambda: a._flow.outstanding > CIRCUIT_WINDOW - 2 * MAX_FRAME)
    assert a._flow.outstanding <= CIRCUIT_WINDOW
    assert a.buffered <= circuits.MOST_QUEUED + 60_000 + FRAME_OVERHEAD
    assert not sending.done()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(a.drain(), 0.05)
    sending.cancel()


async def repeat(side: Circuit, message: bytes) -> None:
    while True:
        await side.send(message)


async def test_it_says_that_the_volume_is_spent(stream):
    """It may end what it carries at any time; that is told as what it says."""
    stream.begin(faithful)
    assert await stream.open() == [None, None]
    stream.give(B, Ended(Reason.SPENT, 7000))
    await eventually(lambda: stream.sides[B].error is not None)
    error = stream.sides[B].error
    assert type(error) is RelaySpent
    assert error.retryable
    assert "2 h" in error.hint


async def test_a_hostile_peer_is_not_taken_for_the_rendezvous(stream):
    """What opens and is no frame is the other side's doing."""
    stream.begin(faithful)
    a = stream.sides[A]
    a._sealer = Nonsense(a._sealer)
    assert await stream.open() == [None, None]
    await a.send(b"x")
    await eventually(lambda: stream.sides[B].error is not None)
    assert type(stream.sides[B].error) is PeerMisbehaved


class Nonsense:
    """Seals properly what is no frame."""

    def __init__(self, sealer: FrameSealer) -> None:
        self._sealer = sealer._sealer

    def greeting(self) -> bytes:
        return self._sealer.seal(LAST)

    def seal(self, message: bytes) -> list[bytes]:
        return [self._sealer.seal(b"\7" + message)]
