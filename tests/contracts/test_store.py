"""What every store of rooms must do. A new one is added to `STORES`, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from p2pxfer.rendezvous.messages import Reason
from p2pxfer.rendezvous.server.rooms import MEMORY, Refused, Room, Seat, create
from p2pxfer.rendezvous.server.store import Load, MemoryStore, Store

STORES = {"memory": MemoryStore}
TOKEN = bytes(16)
NAME = bytes(32)


@pytest.fixture(params=STORES.values(), ids=STORES.keys())
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    store: Store = request.param()
    yield store
    await store.close()


def putting(room: Room | None):
    return lambda _: (room, None)


async def test_a_store_begins_empty(store: Store):
    """No room, no nameplate, no load."""
    assert await store.get(7) is None
    assert await store.nameplates() == frozenset()
    assert await store.load() == Load(0, 0)
    assert await store.due(float("inf")) == ()


async def test_what_is_put_is_got(store: Store):
    """By nameplate and by name, every field of it."""
    for key in (7, NAME):
        room, seat = create(key, TOKEN, 60, 1000)
        room = room.send(seat, 1, b"mail", 1000).leave(seat, 1001)
        await store.update(key, putting(room))
        assert await store.get(key) == room
    assert await store.nameplates() == {7}
    assert await store.load() == Load(2, 8)


async def test_a_step_sees_the_room_and_its_result_comes_back(store: Store):
    """Read, compute, write: one operation."""
    room, seat = create(7, TOKEN, 60, 0)
    await store.update(7, putting(room))
    seen: list[Room | None] = []

    def step(found: Room | None) -> tuple[Room | None, str]:
        seen.append(found)
        assert found is not None
        return found.send(seat, 1, b"x", 1), "result"

    assert await store.update(7, step) == "result"
    assert seen[-1] == room
    found = await store.get(7)
    assert found is not None
    assert found.sides[0].stored == 1


async def test_a_step_that_raises_changes_nothing(store: Store):
    """A refusal leaves the room, and its watchers, alone."""
    room, _ = create(7, TOKEN, 60, 0)
    await store.update(7, putting(room))
    calls: list[int] = []
    store.watch(7, lambda: calls.append(1))

    def step(_: Room | None) -> tuple[Room | None, Seat]:
        raise Refused(Reason.FULL)

    with pytest.raises(Refused):
        await store.update(7, step)
    await asyncio.sleep(0)
    assert await store.get(7) == room
    assert calls == []


async def test_steps_do_not_overlap(store: Store):
    """Of many sides that come at once, one makes the room and each counts once."""

    def step(room: Room | None) -> tuple[Room | None, bool]:
        if room is None:
            return create(7, TOKEN, 60, 0)[0], True
        return replace(room, crowded=room.crowded + 1), False

    made = await asyncio.gather(*(store.update(7, step) for _ in range(50)))
    assert made.count(True) == 1
    room = await store.get(7)
    assert room is not None
    assert room.crowded == 49


async def test_none_forgets_the_room(store: Store):
    """And its nameplate is free, and its bytes are given back."""
    room, seat = create(7, TOKEN, 60, 0)
    await store.update(7, putting(room.send(seat, 1, b"mail", 0)))
    await store.update(7, putting(None))
    await store.update(7, putting(None))
    assert await store.get(7) is None
    assert await store.nameplates() == frozenset()
    assert await store.load() == Load(0, 0)


async def test_due_names_the_rooms_whose_time_is_over(store: Store):
    """The deadline is the room's own, as it is now."""
    early, seat = create(7, TOKEN, 60, 0)
    late, _ = create(NAME, TOKEN, 90, 0)
    await store.update(7, putting(early))
    await store.update(NAME, putting(late))
    assert await store.due(59) == ()
    assert await store.due(60) == (7,)
    assert set(await store.due(90)) == {7, NAME}
    await store.update(7, putting(early.close(seat, 10)))
    assert await store.due(90) == (NAME,)
    assert 7 in await store.due(10 + MEMORY)


async def test_watchers_hear_of_changes_until_they_stop(store: Store):
    """Of this room, made, changed and forgotten; not of others."""
    heard = asyncio.Event()
    end = store.watch(7, heard.set)
    room, seat = create(7, TOKEN, 60, 0)
    for after in (room, room.send(seat, 1, b"x", 0), None):
        heard.clear()
        await store.update(7, putting(after))
        async with asyncio.timeout(5):
            await heard.wait()
    heard.clear()
    await store.update(8, putting(create(8, TOKEN, 60, 0)[0]))
    end()
    end()
    await store.update(7, putting(room))
    await asyncio.sleep(0)
    assert not heard.is_set()
