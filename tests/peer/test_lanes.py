"""Flights over a real connection: whatever their sizes, and whichever path is in use."""

from __future__ import annotations

import asyncio
import copy
import struct

import pytest

from p2pxfer.peer import lanes
from p2pxfer.peer.relay import Relay

PORTS = struct.pack(">HH", 5000, 5000)  # with which their packets begin: RFC 8841 section 5


class Kept(lanes.BatchLane):
    """A lane that a test can reach."""

    made: list[Kept]

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.made.append(self)


class Stalled(lanes._Direct):
    """A way whose far end has stopped reading."""

    def __init__(self) -> None:
        pass

    @property
    def blocked(self) -> bool:
        return True


@pytest.fixture
async def lane(joined, monkeypatch):
    """One end's lane, and what the other's hands over."""
    Kept.made = []
    monkeypatch.setattr(lanes, "BatchLane", Kept)
    async with joined() as pair:
        await pair.open()
        near, far = Kept.made
        arrived: asyncio.Queue[bytes] = asyncio.Queue()

        def take(packets: list[bytes], _now: float) -> None:
            for packet in packets:
                if not packet.startswith(PORTS):  # what the two associations say meanwhile
                    arrived.put_nowait(packet)

        far._on_packets = take
        yield near, arrived


async def came(arrived: asyncio.Queue[bytes], flight: list[bytes]) -> list[bytes]:
    async with asyncio.timeout(20):
        return [await arrived.get() for _ in flight]


@pytest.mark.parametrize("size", [1400, 16_300])
async def test_a_short_packet_before_long_ones(lane, size):
    """As when a lost one is repeated: all arrive, and what follows as well."""
    near, arrived = lane
    for first in (b"s" * 200, b"l" * size):
        flight = [first, *(bytes([number]) * size for number in range(63))]
        near.send(flight, whole=True)
        assert await came(arrived, flight) == flight


async def test_what_waits_on_a_path_that_was_left_holds_nothing_up(lane):
    """The next flight takes the path that is in use now."""
    near, arrived = lane
    near._way = Stalled()
    assert near.blocked
    near._nominated[1] = copy.copy(near._pair)
    assert not near.blocked
    near.send([b"here"], whole=True)
    assert await came(arrived, [b"here"]) == [b"here"]
    assert not isinstance(near._way, Stalled | Relay)
