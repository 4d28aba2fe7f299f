"""Where rooms are kept: the `Store` protocol, and the store in this process's memory.

A room is a value; a store swaps one value for the next, one change at a time, and tells whoever
watches. So a store that several processes share needs nothing of the rooms' rules. Any store
passes the suite in ``tests/contracts``. It must not know what a change means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from msgspec import Struct

from p2pxfer.rendezvous.server.rooms import Room, RoomKey

_ResultT = TypeVar("_ResultT")
Step = Callable[[Room | None], tuple[Room | None, _ResultT]]


class Load(Struct, frozen=True):
    """How much a store holds: rooms, and bytes of mail in them."""

    rooms: int
    size: int


class Store(Protocol):
    """Rooms by their key."""

    async def get(self, key: RoomKey) -> Room | None:
        """The room as it is now."""

    async def update(self, key: RoomKey, step: Step[_ResultT]) -> _ResultT:
        """Put what ``step`` makes of the room in its place, with nothing in between.

        Args:
            key: which room.
            step: takes the room or None, returns the next room or None to forget it, and what
                `update` shall return. It may run more than once, so it only computes. What it
                raises is raised here, and nothing has changed then.
        """

    async def nameplates(self) -> frozenset[int]:
        """Nameplates of all rooms."""

    async def due(self, now: float) -> tuple[RoomKey, ...]:
        """Keys of the rooms whose deadline is ``now`` or before."""

    async def load(self) -> Load:
        """How much is held."""

    def watch(self, key: RoomKey, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` soon after each change of the room, once for several perhaps.

        Returns:
            What ends the watch.
        """

    async def close(self) -> None:
        """Let go of whatever the store holds open."""


class MemoryStore:
    """Rooms of one process; they are gone when it ends."""

    def __init__(self) -> None:
        self._rooms: dict[RoomKey, Room] = {}
        self._watchers: dict[RoomKey, list[Callable[[], None]]] = {}
        self._size = 0

    async def get(self, key: RoomKey) -> Room | None:
        """See `Store.get`."""
        return self._rooms.get(key)

    async def update(self, key: RoomKey, step: Step[_ResultT]) -> _ResultT:
        """See `Store.update`; ``step`` runs once, since nothing else runs meanwhile."""
        before = self._rooms.get(key)
        after, result = step(before)
        if after is before:
            return result
        self._size += (after.size() if after else 0) - (before.size() if before else 0)
        if after is None:
            del self._rooms[key]
        else:
            self._rooms[key] = after
        for changed in tuple(self._watchers.get(key, ())):
            changed()
        return result

    async def nameplates(self) -> frozenset[int]:
        """See `Store.nameplates`."""
        return frozenset(key for key in self._rooms if isinstance(key, int))

    async def due(self, now: float) -> tuple[RoomKey, ...]:
        """See `Store.due`."""
        return tuple(key for key, room in self._rooms.items() if room.deadline() <= now)

    async def load(self) -> Load:
        """See `Store.load`."""
        return Load(len(self._rooms), self._size)

    def watch(self, key: RoomKey, changed: Callable[[], None]) -> Callable[[], None]:
        """See `Store.watch`."""
        self._watchers.setdefault(key, []).append(changed)

        def end() -> None:
            watchers = self._watchers.get(key, [])
            if changed in watchers:
                watchers.remove(changed)
            if not watchers:
                self._watchers.pop(key, None)

        return end

    async def close(self) -> None:
        """See `Store.close`."""
        self._rooms.clear()
        self._size = 0
