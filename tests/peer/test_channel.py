"""The channel: bytes in order, back-pressure, and ends that both sides notice."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from p2pxfer.errors import PeerGone, PeerMisbehaved
from p2pxfer.peer import channel as channels

pytestmark = pytest.mark.usefixtures("layer")


async def test_messages_arrive_whole_and_in_order(joined):
    """From one byte to the longest, both ways at once."""
    async with joined() as pair:
        near, far = await pair.open()
        sizes = [1, 1171, 1172, 1173, 16384, near.max_message] * 3
        messages = [bytes([number]) * size for number, size in enumerate(sizes)]
        arrived: dict[str, list[bytes]] = {"near": [], "far": []}
        near.on_message(arrived["near"].append)
        far.on_message(arrived["far"].append)
        for message in messages:
            await near.send(message)
            await far.send(message)
        await asyncio.gather(near.drain(), far.drain())
        assert arrived == {"near": messages, "far": messages}


async def test_sending_waits_while_much_is_queued(joined):
    """Memory stays bounded whatever the sender would like to send."""
    async with joined() as pair:
        near, far = await pair.open()
        done = asyncio.Event()
        size = 0
        peak = 0

        def count(message: bytes) -> None:
            nonlocal size
            size += len(message)
            if size == 4 << 20:
                done.set()

        far.on_message(count)
        for _ in range((4 << 20) // near.max_message):
            await near.send(bytes(near.max_message))
            peak = max(peak, near.buffered)
        assert channels.LOW_WATER < peak <= channels.HIGH_WATER + near.max_message
        await done.wait()


async def test_drained_means_delivered(joined):
    """After `drain` the far side has everything, even for two who wait at once."""
    async with joined() as pair:
        near, far = await pair.open()
        await near.drain()
        arrived: list[bytes] = []
        far.on_message(arrived.append)
        for _ in range(20):
            await near.send(bytes(50_000))
        await asyncio.gather(near.drain(), near.drain())
        assert len(arrived) == 20


async def test_early_messages_wait_for_a_listener(joined):
    """What comes before anybody listens is kept, in order."""
    async with joined() as pair:
        near, far = await pair.open()
        await near.send(b"one")
        await near.send(b"two")
        await near.drain()
        arrived: list[bytes] = []
        far.on_message(arrived.append)
        assert arrived == [b"one", b"two"]


async def test_a_flood_before_anybody_listens_ends_the_channel(joined):
    """What is kept is bounded; whoever sends more is cut off, and the reason is known."""
    async with joined() as pair:
        near, far = await pair.open()
        cut = asyncio.Event()
        far.on_closed(cut.set)

        async def flood() -> None:
            while True:
                await near.send(bytes(near.max_message))

        with pytest.raises(PeerGone):
            await flood()
        await cut.wait()
        with pytest.raises(PeerMisbehaved):
            await far.send(b"too late")


@pytest.mark.parametrize("messages", [[b""] * 100_000, [bytes(channels.LONGEST + 1)]])
async def test_messages_of_no_or_endless_bytes_are_not_kept(joined, messages):
    """Whatever WebRTC lets a peer send."""
    async with joined() as pair:
        _, far = await pair.open()
        for message in messages:
            far._take(message)
        assert isinstance(far.error, PeerMisbehaved)


@pytest.mark.parametrize("size", [0, 256 * 1024 + 1])
async def test_a_message_of_impossible_size_is_refused_here(joined, size):
    """The caller learns at once, not by silence from the other side."""
    async with joined() as pair:
        near, _ = await pair.open()
        with pytest.raises(ValueError, match=str(size)):
            await near.send(bytes(size))


async def test_closing_delivers_what_was_sent_and_tells_the_far_side(joined):
    """An orderly close loses nothing, and takes a moment only."""
    async with joined() as pair:
        near, far = await pair.open()
        arrived: list[bytes] = []
        over = asyncio.Event()
        far.on_message(arrived.append)
        far.on_closed(over.set)
        for _ in range(10):
            await near.send(bytes(10_000))
        async with asyncio.timeout(10):
            await pair.a.close()
            await over.wait()
        assert len(arrived) == 10
        assert pair.states == {"a": ["connecting", "connected", "closed"]} | {
            "b": ["connecting", "connected", "closed"]
        }


async def test_a_closed_channel_says_so(joined):
    """Sending and draining raise on both sides; a late watcher is called nevertheless."""
    async with joined() as pair:
        near, far = await pair.open()
        over = asyncio.Event()
        far.on_closed(over.set)
        await pair.a.close()
        await over.wait()
        for end in (near, far):
            with pytest.raises(PeerGone):
                await end.send(b"x")
        late = asyncio.Event()
        near.on_closed(late.set)
        await late.wait()


async def test_whoever_waits_to_send_is_woken_by_the_end(joined):
    """Nobody hangs on a channel that is gone."""
    async with joined() as pair:
        near, _ = await pair.open()

        async def fill() -> None:
            while True:
                await near.send(bytes(near.max_message))

        filling = asyncio.create_task(fill())
        draining = asyncio.create_task(near.drain())
        await asyncio.sleep(0)
        await pair.b.close()
        with pytest.raises(PeerGone):
            await filling
        with contextlib.suppress(PeerGone):  # unless all was delivered before the end
            await draining


async def test_a_listener_that_raises_harms_nobody_else(joined, caplog):
    """The bug is logged and the next message still arrives."""
    async with joined() as pair:
        near, far = await pair.open()
        arrived: list[bytes] = []

        def listen(message: bytes) -> None:
            arrived.append(message)
            if len(arrived) == 1:
                raise RuntimeError

        far.on_message(listen)
        await near.send(b"one")
        await near.send(b"two")
        await near.drain()
        assert arrived == [b"one", b"two"]
    assert "raised" in caplog.text
    caplog.clear()
