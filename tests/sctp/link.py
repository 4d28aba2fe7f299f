"""One direction of a link in virtual time, with everything that goes wrong on a real one.

A drop-tail queue before a bottleneck, then a delay; packets are lost, late, doubled, damaged, cut
short or repeated by chance. It knows nothing of what the packets say.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

OVERHEAD = 65  # bytes of IPv4, UDP and a DTLS 1.2 record with AES-GCM around a packet
MEMORY = 64  # packets that may be repeated by somebody on the way


class Clock:
    """Virtual time: what is due, in order."""

    def __init__(self):
        self.now = 0.0
        self._due = []
        self._count = 0

    def at(self, time, call, *arguments):
        """Call at a time, after what was asked for the same time before."""
        self._count += 1
        heappush(self._due, (max(time, self.now), self._count, call, arguments))

    def run(self, until: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Go on until a time or a condition; False if the time came first."""
        due = self._due
        while not stop():
            if not due or due[0][0] > until:
                self.now = until
                return False
            self.now, _, call, arguments = heappop(due)
            call(*arguments)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Gilbert's and Elliott's model: a good and a bad state with a chance of loss in the latter.

    The chances are a packet's; what comes after a pause finds either state, as its share is.
    """

    begins: float
    ends: float
    loss: float = 1.0
    pause: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What one direction is like: bytes, seconds, chances a packet.

    Attributes:
        rate: bytes per second, `OVERHEAD` included.
        delay: of every packet.
        jitter: most that is added, in order.
        loss: by chance.
        burst: loss in bursts, besides.
        reordered: share of packets that come ``late`` seconds after their turn.
        duplicated: share that comes twice.
        corrupted: share of which up to three bits change.
        truncated: share that ends early.
        replayed: share after which an older packet comes again.
        queue: bytes that wait for the bottleneck at most.
        mtu: longest packet that passes, unless IP may cut it.
        cuts: times between which nothing passes.
    """

    rate: float = math.inf
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    burst: Burst | None = None
    reordered: float = 0.0
    late: float = 0.0
    duplicated: float = 0.0
    corrupted: float = 0.0
    truncated: float = 0.0
    replayed: float = 0.0
    queue: int = 1 << 20
    mtu: int = 1 << 16
    cuts: tuple[tuple[float, float], ...] = ()

    @property
    def vanishing(self) -> float:
        """Share of packets that chance takes away, cuts and full queues aside."""
        burst = self.burst
        bad = burst.loss * burst.begins / (burst.begins + burst.ends) if burst is not None else 0.0
        arrives = (1 - self.loss) * (1 - bad) * (1 - self.corrupted) * (1 - self.truncated)
        return 1 - arrives


@dataclass(slots=True)
class Counts:
    """What happened: packets, and bytes where it says so."""

    taken: int = 0
    carried: int = 0
    carried_bytes: int = 0
    overflowed: int = 0
    lost: int = 0
    too_long: int = 0
    corrupted: int = 0
    waited: float = 0.0  # seconds in the queue, all packets' sum
    longest_wait: float = 0.0


@dataclass(slots=True)
class Link:
    """One direction; several senders may share it.

    Args:
        clock: virtual time.
        path: what it is like; may be another one from now on.
        rng: draws what happens.
    """

    clock: Clock
    path: Path
    rng: random.Random
    counts: Counts = field(default_factory=Counts)
    busy_until: float = 0.0
    _last: float = 0.0
    _bad: bool = False
    _asked: float = 0.0
    _recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=MEMORY))

    @property
    def backlog(self) -> float:
        """Seconds that a packet would wait now."""
        return max(0.0, self.busy_until - self.clock.now)

    def send(self, packet, deliver, *, whole=True, size=None):
        """Take a packet; ``deliver(packet, sound)`` is called when it arrives.

        Args:
            packet: bytes, or anything where nothing is damaged or repeated.
            deliver: called once for each arrival.
            whole: IP may not cut it.
            size: of the packet.
        """
        path, counts, rng, now = self.path, self.counts, self.rng, self.clock.now
        size = len(packet) if size is None else size
        counts.taken += 1
        if whole and size > path.mtu:
            counts.too_long += 1
            return
        if self._is_lost(now):
            counts.lost += 1
            return
        wait = self.busy_until - now
        if wait <= 0.0:
            wait = 0.0
        elif wait * path.rate + size + OVERHEAD > path.queue:
            counts.overflowed += 1
            return
        counts.carried += 1
        counts.carried_bytes += size + OVERHEAD
        counts.waited += wait
        counts.longest_wait = max(counts.longest_wait, wait)
        self.busy_until = now + wait + (size + OVERHEAD) / path.rate
        arrival = self.busy_until + path.delay
        if path.jitter:
            arrival += rng.random() * path.jitter
        if path.reordered and rng.random() < path.reordered:
            arrival += path.late
        else:
            arrival = self._last = max(arrival, self._last)
        self.clock.at(arrival, deliver, *self._damage(packet))
        if path.duplicated and rng.random() < path.duplicated:
            self.clock.at(arrival + rng.random() * path.delay, deliver, packet, True)
        if path.replayed:
            self._recent.append(packet)
            if rng.random() < path.replayed:
                self.clock.at(arrival, deliver, rng.choice(self._recent), True)

    def _is_lost(self, now: float) -> bool:
        path, rng, burst = self.path, self.rng, self.path.burst
        if burst is not None:
            if now - self._asked > burst.pause:
                self._bad = rng.random() * (burst.begins + burst.ends) < burst.begins
            elif self._bad:
                self._bad = rng.random() >= burst.ends
            else:
                self._bad = rng.random() < burst.begins
            self._asked = now
            if self._bad and rng.random() < burst.loss:
                return True
        if path.loss and rng.random() < path.loss:
            return True
        return any(start <= now < stop for start, stop in path.cuts)

    def _damage(self, packet):
        path, rng = self.path, self.rng
        if path.corrupted and rng.random() < path.corrupted:
            self.counts.corrupted += 1
            damaged = bytearray(packet)
            for bit in rng.sample(range(8 * len(packet)), rng.randint(1, 3)):
                damaged[bit >> 3] ^= 1 << (bit & 7)
            return bytes(damaged), False
        if path.truncated and rng.random() < path.truncated:
            return packet[: rng.randrange(len(packet))], False
        return packet, True
