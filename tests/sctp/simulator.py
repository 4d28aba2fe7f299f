"""Two associations over a simulated link, run as the real shell runs them, and watched.

An endpoint reads what came within a tick as one batch, takes events, sends until nothing is left,
and sets one timer; its loop may stall. A monitor reads every packet on both sides of it and fails
as soon as a limit is broken. Nothing here sleeps or asks for the real time.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p2pxfer.sctp.association import Association, Config
from p2pxfer.sctp.events import Event
from tests.sctp.link import Clock, Link

SPINS = 20  # timers at one time that may fire in a row
TIMERS = 2_500  # timers in a second of virtual time, besides
MASK = 0xFFFFFFFF
HALF = 0x80000000
GRAIN = 1e-6  # timers may be that early
_data = struct.Struct(">BBHIHHI")
_sack = struct.Struct(">BBHIIHH")


class Broken(AssertionError):
    """A property does not hold."""


class Monitor:
    """What one end may have in flight, by what it was told: the peer's window and its own."""

    def __init__(self, association: Association, config: Config):
        self._association = association
        self._largest = max(config.packet_sizes)
        self._outstanding: dict[int, int] = {}
        self._size = 0
        self._cumulative: int | None = None
        self._highest: int | None = None
        self._window = math.inf
        self.packets = 0
        self.again = 0  # packets that bore something once more

    def came(self, packet: bytes) -> None:
        """A packet that is as it was sent reaches this end."""
        at = 12
        while at + 4 <= len(packet):
            length = packet[at + 2] << 8 | packet[at + 3]
            if packet[at] == 3:
                self._report(packet, at)
            elif packet[at] == 7:  # SHUTDOWN acknowledges too
                self._acknowledge(int.from_bytes(packet[at + 4 : at + 8], "big"))
            elif packet[at] in (1, 2) and self._highest is None:
                self._window = int.from_bytes(packet[at + 8 : at + 12], "big")
            at += max(4, (length + 3) & ~3)

    def _report(self, packet: bytes, at: int) -> None:
        _, _, _, cumulative, window, gaps, _ = _sack.unpack_from(packet, at)
        if self._cumulative is not None and (cumulative - self._cumulative) & MASK >= HALF:
            return
        self._window = window
        self._acknowledge(cumulative)
        outstanding = self._outstanding
        ends = struct.unpack_from(f">{2 * gaps}H", packet, at + 16)
        for start, end in zip(ends[::2], ends[1::2], strict=True):
            for offset in range(start, end + 1):
                self._size -= outstanding.pop((cumulative + offset) & MASK, 0)

    def _acknowledge(self, cumulative: int) -> None:
        if self._cumulative is not None and (cumulative - self._cumulative) & MASK >= HALF:
            return
        self._cumulative = cumulative
        outstanding = self._outstanding
        while outstanding:
            first = next(iter(outstanding))
            if (first - cumulative - 1) & MASK < HALF:
                break
            self._size -= outstanding.pop(first)

    def left(self, packets: Sequence[bytes], *, probe: bool, fragmentable: bool) -> None:
        """Packets leave together."""
        if not packets:
            raise Broken("a transmission without packets")
        if probe and len(packets) != 1:
            raise Broken("a probe that is not alone")
        self.packets += len(packets)
        for packet in packets:
            if len(packet) > self._largest:
                raise Broken(f"a packet of {len(packet)} bytes, {self._largest} at most")
            if len(packet) & 3:
                raise Broken("a packet that is not padded")
            if not (probe or fragmentable) and len(packet) > self._association.packet_size:
                raise Broken(f"{len(packet)} bytes where {self._association.packet_size} pass")
            at = 12
            again = False
            while at < len(packet):
                kind, _, length, tsn, *_ = _data.unpack_from(packet.ljust(at + 16, b"\0"), at)
                if kind == 0:
                    again = self._sent(tsn, length - 16, len(packet)) or again
                at += (length + 3) & ~3
            self.again += again

    def _sent(self, tsn: int, size: int, packet: int) -> bool:
        """A chunk leaves; True if it does once more."""
        if self._highest is not None and (tsn - self._highest - 1) & MASK >= HALF:
            return True
        if self._highest is not None and tsn != (self._highest + 1) & MASK:
            raise Broken(f"TSN {tsn} follows {self._highest}")
        self._highest = tsn
        self._outstanding[tsn] = size
        self._size += size
        if self._size > self._window + packet:
            raise Broken(f"{self._size} bytes outstanding, the peer takes {self._window}")
        return False


@dataclass(slots=True, kw_only=True)
class Shell:
    """How the loop around an association behaves.

    Attributes:
        tick: seconds within which packets are read as one batch.
        late: most seconds by which a timer fires late.
        offset: what its clock shows when virtual time begins.
        stalls: times between which the loop runs nothing.
        reads_every: seconds between the application's looks at events; 0: at once.
    """

    tick: float = 0.0
    late: float = 0.0
    offset: float = 0.0
    stalls: tuple[tuple[float, float], ...] = ()
    reads_every: float = 0.0


@dataclass(slots=True)
class Endpoint:
    """One association in its shell.

    Args:
        clock: virtual time.
        association: what runs.
        config: it was made with.
        controller: it was made with.
        link: where its packets go.
        shell: how its loop behaves.
        rng: draws when timers fire.
        told: takes its events.
        watched: limits are checked, at a cost.
    """

    clock: Clock
    association: Association
    config: Config
    controller: object
    link: Link
    shell: Shell
    rng: random.Random
    told: Callable[[Event], None]
    watched: bool = True
    peer: Endpoint | None = None
    timers: int = 0
    largest_batch: int = 0
    most_buffered: int = 0
    monitor: Monitor = field(init=False)
    _inbox: list[bytes] = field(default_factory=list)
    _sound: list[bytes] = field(default_factory=list)
    _reading: bool = False
    _armed: int = 0
    _armed_at: float | None = None
    _spun: int = 0
    _fired_at: float = -math.inf
    _time: float = -math.inf
    _looks_at: float | None = None
    _largest: int = 0

    def __post_init__(self):
        self.monitor = Monitor(self.association, self.config)
        self._largest = max(self.config.packet_sizes)

    @property
    def time(self) -> float:
        """What this end's clock shows; it never goes back."""
        self._time = max(self._time, self.clock.now + self.shell.offset)
        return self._time

    # what happens to it

    def call(self, time: float, call: Callable[[], None]) -> None:
        """The application does something at a time, or when the loop runs again."""
        self.clock.at(time, self._call, call)

    def _call(self, call: Callable[[], None]) -> None:
        free = self._free(self.clock.now)
        if free > self.clock.now:
            self.clock.at(free, self._call, call)
            return
        call()
        self._flush()

    def arrive(self, packet: bytes, sound: bool) -> None:
        """A packet reached the socket."""
        if not sound and packet[8:12] == bytes(4):
            return  # DTLS authenticates what has no checksum
        self._inbox.append(packet)
        if self.watched and sound:
            self._sound.append(packet)
        if not self._reading:
            self._reading = True
            self.clock.at(self._free(self.clock.now + self.shell.tick), self._read)

    def _free(self, time: float) -> float:
        for start, stop in self.shell.stalls:
            if start <= time < stop:
                return stop
        return time

    def _read(self) -> None:
        self._reading = False
        batch, self._inbox = self._inbox, []
        for packet in self._sound:
            self.monitor.came(packet)
        self._sound.clear()
        self.largest_batch = max(self.largest_batch, len(batch))
        self.association.receive(batch, self.time)
        self._check_buffers()
        self._flush()

    def _fire(self, armed: int, at: float) -> None:
        if armed != self._armed:
            return
        free = self._free(self.clock.now)
        if free > self.clock.now:
            self.clock.at(free, self._fire, armed, at)
            return
        self._armed_at = None
        self._time = max(self.time, at)
        self.timers += 1
        self._spun = self._spun + 1 if self._time <= self._fired_at else 0
        if self._spun > SPINS or self.timers > 1000 + TIMERS * self.clock.now:
            raise Broken(f"timers spin in {self.association.state} at {self.clock.now:.6f}")
        self._fired_at = self._time
        self.association.handle_timer(self._time)
        self._flush()
        due = self.association.deadline()
        if due is not None and due <= self._time - GRAIN:
            raise Broken(f"the deadline is {self._time - due:.6f} s ago, with nothing to send")

    # what it does

    def _flush(self) -> None:
        association, now = self.association, self.time
        while True:
            self._events()
            sent = self._checked(now) if self.watched else association.transmit(now)
            if sent is None:
                break
            arrive = self.peer.arrive
            for packet in sent.packets:
                self.link.send(packet, arrive, whole=not sent.fragmentable)
        due = association.deadline()
        if due is None:
            self._armed += 1
            self._armed_at = None
        elif due != self._armed_at:
            self._armed += 1
            self._armed_at = due
            late = self.rng.random() * self.shell.late if self.shell.late else 0.0
            self.clock.at(due - self.shell.offset + late, self._fire, self._armed, due)

    def _events(self) -> None:
        every = self.shell.reads_every
        if every:
            if self._looks_at is None or self.clock.now < self._looks_at:
                if self._looks_at is None:
                    self._looks_at = self.clock.now + every
                    self.call(self._looks_at, lambda: None)
                return
            self._looks_at = None
        while (event := self.association.next_event()) is not None:
            self.told(event)

    # limits

    def _checked(self, now: float):
        """What leaves next, within the controller's window and one packet."""
        association = self.association
        before = association.sending.board.in_flight if association.sending is not None else 0
        sent = association.transmit(now)
        if sent is None:
            return None
        self.monitor.left(sent.packets, probe=sent.probe, fragmentable=sent.fragmentable)
        if association.sending is not None:
            after = association.sending.board.in_flight
            limit = max(before, self.controller.window) + self._largest
            if after > limit:
                raise Broken(f"{after} bytes in flight, {before} before, {limit} at most")
        return sent

    def _check_buffers(self) -> None:
        inbound = self.association.inbound
        if inbound is None:
            return
        used = inbound.used
        self.most_buffered = max(self.most_buffered, used)
        limit = 2 * self.config.receive_window + self.config.max_message + 2 * self._largest
        if used > limit:
            raise Broken(f"{used} bytes buffered, {limit} at most")
