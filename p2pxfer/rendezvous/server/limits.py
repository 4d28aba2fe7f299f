"""How much the rendezvous does for one address, and in all. No clock, no socket.

An IPv6 customer holds at least a /64, so its addresses count as one; an IPv4 address mapped into
IPv6 counts as the IPv4 address that it is.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Network, ip_address
from math import ceil, inf
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

DAY: Final = 24 * 3600.0  # seconds
SPARE: Final = 128  # descriptors: half for what was accepted and not looked at, half for the rest
LEAST_SHARE: Final = 1 / 8  # of a volume, that must be left for a circuit to begin
_ADDRESSES: Final = (
    65_536  # remembered by each kind of count; the longest unseen is forgotten first
)


class Rate(Struct, frozen=True):
    """``burst`` at once, then one each ``seconds``."""

    burst: int
    seconds: float


class Limits(Struct, frozen=True, kw_only=True):
    """What one rendezvous allows.

    Attributes:
        allocations: rooms made by one address.
        failed_joins: joins of one address that found no room to be in, or whose room burnt.
        connections: WebSockets of one address at a time.
        total_connections: WebSockets at a time.
        idle: connections at a time that are no WebSocket; the oldest makes room for a new one.
        rooms: rooms at a time, ended ones that are still remembered included.
        stored: bytes of mail kept in all rooms together.
        mailed: bytes of mail that one address sends in a `DAY`, so that none fills all of it soon.
        messages: what one WebSocket may send in all.
        first_message: seconds until a WebSocket must have said what it wants.
        ends: ends of circuits that one address holds at a time.
        total_ends: ends of circuits at a time.
    """

    allocations: Rate = Rate(60, 5)
    failed_joins: Rate = Rate(10, 30)
    connections: int = 256
    total_connections: int = 10_000
    idle: int = 1024
    rooms: int = 20_000
    stored: int = 256 * 1024 * 1024
    mailed: int = 64 * 1024 * 1024
    messages: int = 16_384
    first_message: float = 10
    ends: int = 16
    total_ends: int = 128

    @property
    def descriptors(self) -> int:
        """That a process needs for as many connections."""
        return self.total_connections + self.idle + SPARE

    def within(self, descriptors: int) -> Limits:
        """The same, with so few connections that a process has enough with ``descriptors``.

        Of too few a quarter is for those that are no WebSocket.
        """
        room = max(4, descriptors - SPARE)
        idle = min(self.idle, room // 4)
        return replace(self, idle=idle, total_connections=min(self.total_connections, room - idle))


class Carriage(Struct, frozen=True, kw_only=True):
    """How much the circuits of one rendezvous carry: nothing, unless its operator says so.

    Attributes:
        each: bytes in a `DAY` for one address.
        total: bytes in a `DAY` for all.
        rate: bytes a second for all.
    """

    each: int = 0
    total: int = 0
    rate: float = inf


def _whole(seconds: float) -> int:
    """So many that the time is over then; a sum of clock readings is off by less than 1 ms."""
    return max(0, ceil(round(seconds, 3)))


class Budget:
    """A token bucket for each address."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._free_at: OrderedDict[str, float] = OrderedDict()  # when the bucket is full again

    def wait(self, address: str, now: float) -> int:
        """Whole seconds until ``address`` may spend one; 0 for now."""
        backlog = self._free_at.get(address, now) - now
        over = backlog - (self._rate.burst - 1) * self._rate.seconds
        return _whole(over)

    def spend(self, address: str, now: float) -> None:
        """Take one from ``address``, which may go into debt by at most one burst."""
        most = now + 2 * self._rate.burst * self._rate.seconds
        free_at = max(now, self._free_at.pop(address, now)) + self._rate.seconds
        self._free_at[address] = min(most, free_at)
        if len(self._free_at) > _ADDRESSES:
            self._free_at.popitem(last=False)


class Volume:
    """Bytes carried: a bucket that drains within a `DAY`, for each address and one for all."""

    def __init__(self, each: float, total: float) -> None:
        self._each = each
        self._total = total
        self._free_at: OrderedDict[str, float] = OrderedDict()  # when the bucket is empty again
        self._all_free_at = 0.0

    def wait(self, address: str, now: float) -> int:
        """Whole seconds until ``address`` may begin, with `LEAST_SHARE` at hand; 0 for now."""
        free_at = max(self._free_at.get(address, now), self._all_free_at, now)
        if not (self._each and self._total):
            return ceil(DAY)
        return _whole(free_at - now - DAY * (1 - LEAST_SHARE))

    def spend(self, addresses: frozenset[str], size: int, now: float) -> bool:
        """Count ``size`` bytes for each address; False if that is too much for a bucket.

        What is left in one that can't take them is lost, so that `wait` says when to come again.
        """
        if not (self._each and self._total):
            return False
        full = now + DAY
        all_free_at = max(self._all_free_at, now) + size / self._total * DAY
        after = {
            address: max(self._free_at.get(address, now), now) + size / self._each * DAY
            for address in addresses
        }
        fits = max(all_free_at, *after.values()) <= full
        if fits or all_free_at > full:
            self._all_free_at = min(all_free_at, full)
        for address, free_at in after.items():
            if fits or free_at > full:
                self._free_at[address] = min(free_at, full)
                self._free_at.move_to_end(address)
        while len(self._free_at) > _ADDRESSES:
            self._free_at.popitem(last=False)
        return fits


class Pace:
    """A rate that all share: each takes its turn, in the order in which they came."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._next = 0.0

    def turn(self, size: int, now: float) -> float:
        """When ``size`` bytes may go that come ``now``."""
        turn = max(self._next, now)
        self._next = turn + size / self._rate
        return turn


class Tally(Struct):
    """Things that exist at the moment, counted by address."""

    total: int = 0
    _by_address: dict[str, int] = field(default_factory=dict)

    def of(self, address: str) -> int:
        """How many belong to ``address``."""
        return self._by_address.get(address, 0)

    def add(self, address: str) -> None:
        """One more."""
        self.total += 1
        self._by_address[address] = self.of(address) + 1

    def remove(self, address: str) -> None:
        """One less."""
        self.total -= 1
        left = self.of(address) - 1
        if left:
            self._by_address[address] = left
        else:
            del self._by_address[address]


def network(address: str) -> str:
    """Who ``address`` counts as: the address itself for IPv4, its /64 for IPv6.

    Text that is no address (a Unix socket has none) counts as itself.
    """
    try:
        parsed = ip_address(address.split("%", 1)[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed), 64), strict=False))
