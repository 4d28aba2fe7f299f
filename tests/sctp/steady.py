"""One long flow over a simulated link, alone or beside TCP: what it takes and what it costs.

For the tests of the congestion controls, and for the tables and plots of docs/congestion.md.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from p2pxfer.sctp.association import Association, Config
from p2pxfer.sctp.events import Established, Message, Sent
from tests.sctp.controllers import CONTROLLERS
from tests.sctp.link import Clock, Counts, Link, Path
from tests.sctp.simulator import Endpoint, Shell
from tests.sctp.tcp import Cubic

LADDER = (1172, 1252, 1372, 1424, 1444)
MESSAGE = bytes(64 * 1024)
AHEAD = 8 << 20  # bytes that the application keeps queued
SAMPLE = 0.02  # seconds between two samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """A link as people name them.

    Attributes:
        megabits: per second.
        trip: milliseconds there and back.
        loss: by chance, in either direction.
        queue: round trips' worth of bytes that it holds.
        jitter: milliseconds at most.
        reordered: share of packets that come a quarter of a round trip late.
    """

    megabits: float
    trip: float
    loss: float = 0.0
    queue: float = 1.0
    jitter: float = 0.0
    reordered: float = 0.0

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.megabits * 125_000

    @property
    def path(self) -> Path:
        """One direction of it."""
        trip = self.trip / 1000
        return Path(
            rate=self.rate,
            delay=trip / 2,
            loss=self.loss,
            queue=max(32_000, int(self.queue * self.rate * trip)),
            jitter=self.jitter / 1000,
            reordered=self.reordered,
            late=trip / 4,
            mtu=LADDER[-1],
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment: seconds; bytes; bytes per second; seconds that a packet would wait."""

    time: float
    window: float
    in_flight: int
    rate: float
    goodput: float
    tcp: float
    queue: float


@dataclass(slots=True)
class Measured:
    """What came of it, of the seconds after the warm-up.

    Attributes:
        share: of the link as user data.
        tcp: the same of every TCP flow beside it.
        wait: mean milliseconds in the queue, everybody's packets.
        worst: 95th percentile of the queue over time, in milliseconds.
        dropped: share of everybody's packets that found no room in the queue.
        samples: from the beginning.
    """

    share: float
    tcp: list[float]
    wait: float
    worst: float
    dropped: float
    samples: list[Sample]


@dataclass(slots=True)
class Flow:
    """An association that always has more to send, and its receiver.

    Attributes:
        received: bytes of user data that arrived as messages.
    """

    clock: Clock
    link: Link
    back: Path
    controller: str
    begins: float = 0.0
    seed: int = 1
    received: int = 0
    ends: list[Endpoint] = field(default_factory=list)

    def __post_init__(self):
        config = Config(own_peer=True, packet_sizes=LADDER)
        for number in range(2):
            rng = random.Random(f"steady {self.seed} {number}")
            controller = CONTROLLERS[self.controller]()
            link = Link(self.clock, self.back, rng) if number else self.link
            end = Endpoint(
                clock=self.clock,
                association=Association(config, controller, rng=rng),
                config=config,
                controller=controller,
                link=link,
                shell=Shell(tick=0.0005, late=0.001),
                rng=rng,
                told=self._receive if number else self._refill,
                watched=False,
            )
            self.ends.append(end)
        self.ends[0].peer, self.ends[1].peer = self.ends[1], self.ends[0]
        for end in self.ends:
            end.call(self.begins, lambda end=end: end.association.connect(end.time))

    def _refill(self, event) -> None:
        association = self.ends[0].association
        if isinstance(event, Established | Sent):
            while association.pending < AHEAD:
                association.send(0, 53, MESSAGE)

    def _receive(self, event) -> None:
        if isinstance(event, Message):
            self.received += len(event.data)

    @property
    def delivered(self) -> int:
        """Bytes of user data that arrived, those of unfinished messages too."""
        inbound = self.ends[1].association.inbound
        return self.received + (inbound.reassembly.size if inbound is not None else 0)


def measure(
    bottleneck: Bottleneck,
    controller: str | None,
    *,
    tcp: int = 0,
    warm_up: float = 5.0,
    seconds: float = 15.0,
    seed: int = 1,
) -> Measured:
    """Run a flow of ours (None: none), and TCP flows that begin with it, over one bottleneck.

    Args:
        bottleneck: what they share.
        controller: name of ours.
        tcp: how many of TCP's.
        warm_up: seconds that don't count.
        seconds: that do.
        seed: for what chance decides.
    """
    clock = Clock()
    path = bottleneck.path
    link = Link(clock, path, random.Random(seed))
    flow = None
    if controller is not None:
        flow = Flow(clock, link, replace(path, rate=max(path.rate, 1e6)), controller, seed=seed)
    cubics = [Cubic(clock, link, path.delay, begins=0.05 * number) for number in range(tcp)]
    samples: list[Sample] = []
    last = [0, 0]

    def look() -> None:
        ours = flow.delivered if flow is not None else 0
        theirs = sum(cubic.delivered for cubic in cubics)
        control = flow.ends[0].controller if flow is not None else None
        sending = flow.ends[0].association.sending if flow is not None else None
        samples.append(
            Sample(
                clock.now,
                control.window if control is not None else 0,
                sending.board.in_flight if sending is not None else 0,
                control.rate if control is not None else 0.0,
                (ours - last[0]) / SAMPLE,
                (theirs - last[1]) / SAMPLE,
                link.backlog,
            )
        )
        last[:] = ours, theirs
        clock.at(clock.now + SAMPLE, look)

    clock.at(0.0, look)
    clock.run(warm_up)
    before = replace(link.counts)
    ours = flow.delivered if flow is not None else 0
    theirs = [cubic.delivered for cubic in cubics]
    clock.run(warm_up + seconds)
    whole = bottleneck.rate * seconds
    queue = sorted(sample.queue for sample in samples if sample.time >= warm_up)
    wait, dropped = _costs(before, link.counts)
    return Measured(
        share=(flow.delivered - ours) / whole if flow is not None else 0.0,
        tcp=[(cubic.delivered - was) / whole for cubic, was in zip(cubics, theirs, strict=True)],
        wait=1000 * wait,
        worst=1000 * queue[int(0.95 * len(queue))],
        dropped=dropped,
        samples=samples,
    )


def _costs(before: Counts, after: Counts) -> tuple[float, float]:
    """Mean seconds in the queue, and the share that found no room, between two counts."""
    carried = after.carried - before.carried
    overflowed = after.overflowed - before.overflowed
    return (
        (after.waited - before.waited) / max(1, carried),
        overflowed / max(1, carried + overflowed),
    )
