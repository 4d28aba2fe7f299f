"""A scenario drawn from one number: two ends, a link each way, what is sent, and what must hold.

`draw` makes it, `run` plays it. The same seed gives the same run, so a failure is its own report:
`scripts/scenarios SEED` plays it again.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections import Counter, deque
from dataclasses import dataclass, field, replace

from p2pxfer.sctp.association import Association, Config, State
from p2pxfer.sctp.events import Closed, Established, Event, Message, ResetRefused, StreamsReset
from tests.sctp.controllers import CONTROLLERS
from tests.sctp.link import OVERHEAD, Burst, Clock, Link, Path
from tests.sctp.simulator import Broken, Endpoint, Shell

LADDER = (1172, 1252, 1372, 1424, 1444)  # bytes of SCTP packets
LONG = (*LADDER, 4000, 8900, 16000)
NAMES = ("left", "right")
PPIDS = (50, 51, 53, 0, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Send:
    """A message that the application sends."""

    time: float
    stream: int
    ppid: int
    data: bytes
    unordered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One end's part.

    Attributes:
        config: of its association.
        controller: its congestion control.
        path: from it to the other end.
        shell: its loop.
        connects: when it begins; None: it only answers.
        sends: in order of time.
        resets: time and streams.
    """

    config: Config
    controller: str
    path: Path
    shell: Shell
    connects: float | None
    sends: tuple[Send, ...]
    resets: tuple[tuple[float, tuple[int, ...]], ...]

    @property
    def size(self) -> int:
        """Bytes that it sends."""
        return sum(len(send.data) for send in self.sends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that one run needs.

    Attributes:
        kinds: what is unusual about it.
        sides: both ends.
        roams: a time after which both directions are like this, and the associations are told.
        shutdown: who ends it (0, 1, or 2 for both), and whether before everything arrived.
    """

    seed: int
    kinds: tuple[str, ...]
    sides: tuple[Side, Side]
    roams: tuple[float, Path] | None
    shutdown: tuple[int, bool]

    @property
    def patience(self) -> float:
        """Virtual seconds that it may take, generously: every packet alone, half of them lost."""
        paths = [side.path for side in self.sides]
        if self.roams is not None:
            paths.append(self.roams[1])
        rate = min(path.rate for path in paths)
        trip = sum(sorted(path.delay + path.jitter + path.late for path in paths)[-2:])
        trip += sum(min(path.queue, 400_000) / path.rate for path in paths)
        size = sum(side.size for side in self.sides)
        count = sum(len(side.sends) for side in self.sides)
        packets = size / 1000 + count
        loss = max(path.vanishing for path in paths)
        wait = sum(stop - start for path in paths for start, stop in path.cuts)
        wait += sum(stop - start for side in self.sides for start, stop in side.shell.stalls)
        wait += max(side.shell.reads_every for side in self.sides) * (10 + packets / 4)
        begin = max(side.sends[-1].time if side.sends else 0.0 for side in self.sides)
        begin += max([side.resets[-1][0] for side in self.sides if side.resets], default=0.0)
        moving = 10 * (size + OVERHEAD * packets) / rate + packets * trip * (0.5 + 20 * loss)
        moving += LONGEST_TIMEOUT * packets * loss**2  # a window of two packets, both lost
        if any(side.controller == "fixed" for side in self.sides):  # too much at each timeout
            moving += LONGEST_TIMEOUT * packets * max(LADDER) / min(path.queue for path in paths)
        return begin + 3 * wait + moving + 60 * (1 + 10 * loss) + 40 * trip


def _path(rng: random.Random, kinds: set[str]) -> Path:
    """One direction of an ordinary link, with what the kinds ask for."""
    rate = 10 ** rng.uniform(4.6, 8.3)  # 40 kB/s to 200 MB/s
    delay = 0.0 if rng.random() < 0.1 else 10 ** rng.uniform(-4, -0.8)  # 0.1 to 160 ms
    path = Path(
        rate=math.inf if rng.random() < 0.1 else rate,
        delay=delay,
        queue=max(3000, int(rate * max(delay, 0.002) * rng.choice((0.5, 1, 2, 8)))),
        mtu=max(LONG) if "long" in kinds else rng.choice((1444, 1444, 1424, 1300, 1172)),
    )
    if "jitter" in kinds:
        path = replace(path, jitter=rng.uniform(0.0, 2 * delay + 0.005))
    if "loss" in kinds:
        path = replace(path, loss=rng.choice((0.001, 0.01, 0.03, 0.1, 0.25)))
    if "bursts" in kinds:
        path = replace(
            path, burst=Burst(begins=rng.uniform(0.001, 0.02), ends=rng.uniform(0.05, 0.5))
        )
    if "reordering" in kinds:
        path = replace(
            path, reordered=rng.uniform(0.01, 0.3), late=rng.uniform(0.0005, delay + 0.01)
        )
    if "duplicates" in kinds:
        path = replace(path, duplicated=rng.uniform(0.01, 0.3))
    if "corruption" in kinds:
        path = replace(path, corrupted=rng.uniform(0.005, 0.1))
    if "replays" in kinds:
        path = replace(path, replayed=rng.uniform(0.01, 0.2))
    if "truncation" in kinds:
        path = replace(path, truncated=rng.uniform(0.005, 0.1))
    if "shallow" in kinds:
        path = replace(path, queue=rng.randint(3000, 12_000))
    if "deep" in kinds:
        rate = rng.uniform(50_000, 1_000_000)
        path = replace(path, rate=rate, queue=int(rate * rng.uniform(0.8, 1.5)))
    if "cut" in kinds:
        start = rng.uniform(0.0, 1.0)
        path = replace(path, cuts=((start, start + rng.choice((0.1, 0.6, 2.0, 7.0))),))
    return path


LONGEST_TIMEOUT = 5.0  # seconds
SLOW = 0.2  # seconds one way, from which the first timeout may come before the first answer
CALM = frozenset({"asymmetric", "huge message", "jitter", "long", "many", "resets"})
KINDS = {  # chance of each
    "jitter": 0.3,
    "loss": 0.35,
    "bursts": 0.15,
    "reordering": 0.2,
    "duplicates": 0.15,
    "corruption": 0.15,
    "replays": 0.08,
    "truncation": 0.08,
    "shallow": 0.15,
    "deep": 0.1,
    "cut": 0.15,
    "stall": 0.2,
    "long": 0.15,
    "slow reader": 0.15,
    "small window": 0.15,
    "huge message": 0.06,
    "many": 0.15,
    "roaming": 0.08,
    "resets": 0.25,
    "asymmetric": 0.3,
}


def _sizes(rng: random.Random, kinds: set[str], limit: int) -> list[int]:
    """Sizes of messages, most of them short, few of them long."""
    if "huge message" in kinds:
        return [limit, *(rng.randint(1, 300) for _ in range(rng.randint(0, 5)))]
    if "many" in kinds:
        return [rng.randint(1, 200) for _ in range(rng.randint(50, 400))]
    budget = int(10 ** rng.uniform(3.0, 5.6))
    sizes = []
    while budget > 0 and len(sizes) < 150:
        size = min(int(10 ** rng.uniform(0.0, 5.3)), budget, limit)
        sizes.append(max(1, size))
        budget -= size
    return sizes


def _sends(rng: random.Random, kinds: set[str], streams: int, limit: int) -> tuple[Send, ...]:
    if rng.random() < 0.1:
        return ()
    over = rng.choice((0.0, 0.0, 0.5, 2.0))
    number = rng.choice((1, 2, 4, 16))
    used = [rng.randrange(streams) for _ in range(number)]
    share = rng.choice((0.0, 0.0, 0.3, 1.0))
    sends = [
        Send(
            rng.uniform(0.0, over),
            rng.choice(used),
            rng.choice(PPIDS),
            rng.randbytes(size),
            rng.random() < share,
        )
        for size in _sizes(rng, kinds, limit)
    ]
    sends.sort(key=lambda send: send.time)
    return tuple(sends)


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(seed)
    kinds = {kind for kind, chance in KINDS.items() if rng.random() < chance}
    if rng.random() < 0.15:
        kinds = set()
    first = _path(rng, kinds)
    if "asymmetric" in kinds:
        second = _path(rng, kinds)
    else:
        second = replace(first, cuts=()) if rng.random() < 0.5 else first
    second = replace(second, mtu=first.mtu)
    own = rng.random() < 0.6
    limit = rng.choice((1 << 18, 1 << 20)) if "huge message" in kinds else 1 << 18
    if "small window" in kinds:
        limit = rng.choice((4096, 20_000, 70_000, 200_000))
    streams = [rng.choice((1, 16, 300, 65535)) for _ in NAMES]
    connects = rng.choice(
        ((0.0, 0.0), (0.0, None), (0.0, rng.uniform(0.0, 0.5)), (0.0, first.delay))
    )
    sizes = LONG if "long" in kinds else LADDER
    sides = []
    for number, path in enumerate((first, second)):
        window = 16 << 20
        if "small window" in kinds:
            window = int(limit * rng.choice((1, 1.2, 2, 4)))
        stalls = ()
        if "stall" in kinds:
            start = rng.uniform(0.0, 1.5)
            stalls = ((start, start + rng.choice((0.05, 0.6))),)
        sends = _sends(rng, kinds, min(streams), limit)
        resets = ()
        if "resets" in kinds and sends:
            ids = sorted({send.stream for send in sends})
            resets = tuple(
                (rng.uniform(0.0, 2.0), (stream,))
                for stream in rng.sample(ids, rng.randint(1, min(4, len(ids))))
            )
        sides.append(
            Side(
                config=Config(
                    port=5000,
                    remote_port=5000,
                    max_message=limit,
                    receive_window=window,
                    own_peer=own,
                    packet_sizes=sizes,
                    zero_checksum=rng.random() < (0.8 if own else 0.4),
                    streams=streams[number],
                ),
                controller=rng.choice(tuple(CONTROLLERS)),
                path=path,
                shell=Shell(
                    tick=rng.choice((0.0, 0.00005, 0.001)),
                    late=rng.choice((0.0, 0.001)),
                    offset=rng.choice((0.0, 1.0, 1e6 * rng.random())),
                    stalls=stalls,
                    reads_every=rng.uniform(0.01, 0.3) if "slow reader" in kinds else 0.0,
                ),
                connects=connects[number],
                sends=sends,
                resets=tuple(sorted(resets)),
            )
        )
    roams = None
    if "roaming" in kinds:
        roams = (
            rng.uniform(0.1, 2.0),
            replace(_path(rng, kinds - {"cut"}), mtu=rng.choice((1172, 1444))),
        )
    return Scenario(
        seed=seed,
        kinds=tuple(sorted(kinds)),
        sides=(sides[0], sides[1]),
        roams=roams,
        shutdown=(rng.choice((0, 1, 2)), rng.random() < 0.5),
    )


@dataclass(slots=True)
class Application:
    """Whoever sends and takes the messages of one end.

    Attributes:
        name: of the end.
        unsent: planned messages that were not handed over yet.
        ordered: what the other end will send, by stream.
        unordered: the same, in any order.
        resetting: own streams whose reset was asked for and not told.
    """

    name: str
    unsent: int
    ordered: dict[int, deque[tuple[int, bytes]]] = field(default_factory=dict)
    unordered: Counter[tuple[int, int, bytes]] = field(default_factory=Counter)
    expected: int = 0
    resetting: set[int] = field(default_factory=set)
    established: Established | None = None
    closed: Closed | None = None

    def expect(self, send: Send) -> None:
        """The other end was given a message."""
        self.expected += 1
        if send.unordered:
            self.unordered[send.stream, send.ppid, send.data] += 1
        else:
            self.ordered.setdefault(send.stream, deque()).append((send.ppid, send.data))

    def told(self, event: Event) -> None:
        """Take an event."""
        if self.closed is not None:
            raise Broken(f"{self.name}: {event} after the end")
        if isinstance(event, Message):
            self._message(event)
        elif isinstance(event, Established):
            if self.established is not None:
                raise Broken(f"{self.name}: established twice")
            self.established = event
        elif isinstance(event, StreamsReset):
            if not event.incoming:
                self.resetting -= set(event.stream_ids)
        elif isinstance(event, ResetRefused):
            raise Broken(f"{self.name}: reset of {event.stream_ids} refused")
        elif isinstance(event, Closed):
            self.closed = event

    def _message(self, event: Message) -> None:
        queue = self.ordered.get(event.stream_id)
        if queue and queue[0] == (event.ppid, event.data):
            queue.popleft()
        else:
            key = (event.stream_id, event.ppid, event.data)
            if self.unordered[key] <= 0:
                raise Broken(
                    f"{self.name}: {len(event.data)} bytes on stream {event.stream_id} were not "
                    "sent, came twice or came too early"
                )
            self.unordered[key] -= 1
        self.expected -= 1


@dataclass(slots=True)
class Run:
    """A scenario being played.

    Attributes:
        scenario: what is played.
        hostile: an end may find that it sends no more, at any time.
        ends: both endpoints.
    """

    scenario: Scenario
    hostile: bool = False
    clock: Clock = field(default_factory=Clock)
    ends: list[Endpoint] = field(default_factory=list)
    applications: list[Application] = field(default_factory=list)
    asked: bool = False

    def __post_init__(self):
        scenario = self.scenario
        for number, side in enumerate(scenario.sides):
            rng = random.Random(f"{scenario.seed} {number}")
            controller = CONTROLLERS[side.controller]()
            application = Application(NAMES[number], len(side.sends))
            self.applications.append(application)
            self.ends.append(
                Endpoint(
                    clock=self.clock,
                    association=Association(side.config, controller, rng=rng),
                    config=side.config,
                    controller=controller,
                    link=Link(self.clock, side.path, rng),
                    shell=side.shell,
                    rng=rng,
                    told=application.told,
                )
            )
        left, right = self.ends
        left.peer, right.peer = right, left
        for number in range(2):
            self._plan(number)
        if scenario.roams is not None:
            self.clock.at(scenario.roams[0], self._roam)

    def _plan(self, number: int) -> None:
        side, end = self.scenario.sides[number], self.ends[number]
        if side.connects is not None:
            end.call(side.connects, lambda: end.association.connect(end.time))
        for send in side.sends:
            end.call(send.time, lambda send=send: self._send(number, send))
        for time, ids in side.resets:
            end.call(time, lambda ids=ids: self._reset(number, ids))

    def _send(self, number: int, send: Send) -> None:
        self.applications[number].unsent -= 1
        self.applications[1 - number].expect(send)
        with contextlib.suppress(*(ValueError,) * self.hostile):
            self.ends[number].association.send(
                send.stream, send.ppid, send.data, unordered=send.unordered
            )

    def _reset(self, number: int, ids: tuple[int, ...]) -> None:
        if not self.asked:
            self.applications[number].resetting |= set(ids)
            self.ends[number].association.reset_streams(ids)

    def _roam(self) -> None:
        for end in self.ends:
            end.link.path = self.scenario.roams[1]
            end.link.busy_until = self.clock.now
            end.call(self.clock.now, lambda end=end: end.association.path_changed(end.time))

    # the course of it

    def _stop(self) -> bool:
        """Whether both are closed; asks for it once everything was sent."""
        applications = self.applications
        if self.asked:
            return all(application.closed is not None for application in applications)
        who, early = self.scenario.shutdown
        if any(
            application.established is None or application.unsent or application.closed
            for application in applications
        ):
            return any(application.closed is not None for application in applications)
        if early or not any(
            application.expected or application.resetting for application in applications
        ):
            self.asked = True
            for number in (0, 1) if who == 2 else (who,):
                end = self.ends[number]
                end.call(self.clock.now, lambda end=end: end.association.shutdown(end.time))
        return False

    def play(self) -> None:
        """Run it to its end.

        Raises:
            Broken: a property does not hold.
        """
        stopped = self.clock.run(self.scenario.patience, self._stop)
        for application in self.applications:
            closed = application.closed
            if closed is not None and not closed.clean:
                raise Broken(f"{application.name}: closed: {closed.reason}")
        if not stopped:
            raise Broken(f"not done after {self.scenario.patience:.1f} s: {self.state()}")
        for application in self.applications:
            if application.expected:
                raise Broken(f"{application.name}: {application.expected} messages never came")
        for end in self.ends:
            association = end.association
            if association.state is not State.CLOSED or association.deadline() is not None:
                raise Broken(f"closed, but {association.state} until {association.deadline()}")
        self._check_calm()

    def _check_calm(self) -> None:
        """Where nothing goes wrong, next to nothing is sent twice."""
        counts = [end.link.counts for end in self.ends]
        slow = any(side.path.delay + side.path.jitter > SLOW for side in self.scenario.sides)
        if (
            slow
            or not CALM.issuperset(self.scenario.kinds)
            or any(count.lost or count.overflowed for count in counts)
        ):
            return
        for end, application in zip(self.ends, self.applications, strict=True):
            monitor = end.monitor
            if monitor.again > 8 + monitor.packets // 8:
                raise Broken(
                    f"{application.name}: {monitor.again} of {monitor.packets} packets were sent "
                    "again, and nothing was lost"
                )

    def state(self) -> str:
        """Where both ends are, for a report."""
        parts = []
        for application, end in zip(self.applications, self.ends, strict=True):
            sending = end.association.sending
            board = sending.board if sending is not None else None
            parts.append(
                f"{application.name} {end.association.state.value}, expects "
                f"{application.expected}, pending {end.association.pending}, in flight "
                f"{board.in_flight if board else None}, lost {board.lost if board else None}, "
                f"window {end.controller.window}, resetting {sorted(application.resetting)}, "
                f"deadline in {(end.association.deadline() or math.nan) - end.time:.3f}"
            )
        return "; ".join(parts)


def run(seed: int) -> Run:
    """Draw a scenario and play it.

    Raises:
        Broken: a property does not hold; the message tells how to play it again.
    """
    scenario = draw(seed)
    try:
        played = Run(scenario)
        played.play()
    except Exception as error:
        kinds = ", ".join(scenario.kinds) or "nothing unusual"
        error.add_note(f"again: scripts/scenarios {seed}   ({kinds})")
        raise
    return played
