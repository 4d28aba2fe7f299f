"""The sender's half of an established association: what leaves when, and what reports mean.

Joins the queues (outbound.py), the scoreboard (flights.py), loss detection (recovery.py), the
samples (rate.py, rtt.py), the congestion controller, the pacer and the path's packet size. It
knows DATA and SACK alone; handshake, shutdown and the peer's DATA are association.py's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from p2pxfer.sctp.congestion.controller import Ack, Controller
from p2pxfer.sctp.events import AllAcknowledged, Event, Sent
from p2pxfer.sctp.flights import Flight, Run
from p2pxfer.sctp.mtu import PathMtu
from p2pxfer.sctp.outbound import FLAGS_AT, IMMEDIATE, Outbound
from p2pxfer.sctp.pacing import Pacer
from p2pxfer.sctp.rate import DeliveryRate
from p2pxfer.sctp.recovery import GRAIN, Due, Recovery
from p2pxfer.sctp.rtt import RoundTrip
from p2pxfer.sctp.scoreboard import Scoreboard
from p2pxfer.sctp.transmit import Statistics, Transmit
from p2pxfer.sctp.wire import HEADER, Wire

MASK: Final = 0xFFFFFFFF
HALF: Final = 0x80000000
CALL_PACKETS: Final = 64  # what one UDP_SEGMENT call takes
CALL_BYTES: Final = 65_507  # the longest UDP payload over IPv4
FLIGHT_PACKETS: Final = 180  # so that what a flight costs by itself is shared by many of them,
FLIGHT_CALLS: Final = 12  # and a flight of the longest takes no longer to encrypt
RECORD: Final = 64  # bytes of a DTLS record and more around a packet


class Sending:
    """Everything between the queues and the packets.

    Attributes:
        board: what is outstanding.
        rtt: the path's round trips.
        statistics: counts.
    """

    __slots__ = (
        "_advanced",
        "_busy",
        "_controller",
        "_duplicates",
        "_events",
        "_mtu",
        "_outbound",
        "_pacer",
        "_prior",
        "_probe",
        "_rate",
        "_ready_at",
        "_recovery",
        "_reported",
        "_rwnd",
        "_timed_out",
        "_window_probe_at",
        "_wire",
        "board",
        "rtt",
        "statistics",
    )

    def __init__(
        self,
        *,
        tsn: int,
        rwnd: int,
        wire: Wire,
        outbound: Outbound,
        controller: Controller,
        mtu: PathMtu,
        ack_delay: float,
        events: deque[Event],
        now: float,
    ) -> None:
        self.board = Scoreboard(tsn)
        self.rtt = RoundTrip(ack_delay)
        self.statistics = Statistics()
        self._recovery = Recovery(self.board, self.rtt, ack_delay)
        self._rate = DeliveryRate(now)
        self._pacer = Pacer()
        self._outbound = outbound
        self._controller = controller
        self._mtu = mtu
        self._wire = wire
        self._events = events
        self._rwnd = rwnd
        self._probe = self._timed_out = self._busy = False
        self._ready_at: float | None = None  # when more may leave; None: a report has to come
        self._window_probe_at: float | None = None
        self._reported = self._advanced = False
        self._duplicates = self._prior = 0

    # reports

    def report(
        self,
        wire_tsn: int,
        rwnd: int,
        gaps: Sequence[tuple[int, int]] = (),
        duplicates: int = 0,
    ) -> bool:
        """Take a SACK (RFC 9260 section 6.2.1); False if it acknowledges what was never sent."""
        board = self.board
        news = (wire_tsn + 1 - board.una) & MASK
        if news >= HALF:
            return True  # an old one, overtaken
        cumulative = board.una - 1 + news
        if cumulative >= board.next:
            return False
        if not self._reported:
            self._reported = True
            self._prior = board.in_flight
        self._rwnd = rwnd
        self._duplicates += duplicates
        if news:
            board.acknowledge(cumulative)
            self._advanced = True
        if gaps:
            blocks = []
            least = cumulative + 2
            for first, last in gaps:
                start, end = cumulative + first, cumulative + last
                if start < least or end < start or end >= board.next:
                    return False
                blocks.append((start, end))
                least = end + 2
            board.report(blocks)
        return True

    def acknowledged(self, wire_tsn: int) -> None:
        """SHUTDOWN says that all up to a TSN came (RFC 9260 section 9.2)."""
        self.report(wire_tsn, self._rwnd)

    def settle(self, now: float) -> None:
        """Draw the conclusions from a batch of reports."""
        if not self._reported:
            return
        self._reported = False
        board, recovery, rtt, rate = self.board, self._recovery, self.rtt, self._rate
        board.reneged()
        if board.sampled is not None:
            rtt.sample(now - board.sampled.sent, now)
        lost = recovery.acknowledged(now, advanced=self._advanced, duplicates=self._duplicates)
        self.statistics.lost += lost
        if recovery.spurious(self._duplicates):
            self.statistics.spurious += 1
            self._controller.on_spurious_loss(now)
            recovery.restore(now)
        newest = board.newest
        if newest is not None:
            rate.acknowledge(board.acked, now)
        if newest is not None or lost:
            self._controller.on_ack(
                Ack(
                    now=now,
                    rtt=None if board.sampled is None else now - board.sampled.sent,
                    min_rtt=rtt.least,
                    srtt=rtt.smoothed or 0.0,
                    acked=board.acked,
                    lost=lost,
                    in_flight=board.in_flight,
                    prior_in_flight=self._prior,
                    delivered=rate.delivered,
                    rate=None if newest is None else rate.sample(newest, now, rtt.least),
                    app_limited=newest is not None and newest.app_limited,
                    round_start=newest is not None and rate.round_start(newest),
                )
            )
        self._duplicates = 0
        self._advanced = False
        board.settle()
        if self._rwnd >= self._mtu.size:
            self._window_probe_at = None
        if self._busy and board.una == board.next and not self._outbound.pending:
            self._busy = False
            self._events.append(AllAcknowledged())

    def queued(self) -> None:
        """Something was put into the queues."""
        self._busy = True
        if self._ready_at is None:
            self._ready_at = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or outstanding."""
        return self.board.una == self.board.next and not self._outbound.pending

    # what leaves

    def transmit(self, now: float) -> Transmit | None:
        """The next flight; None if nothing may leave now."""
        board = self.board
        self._ready_at = None
        size = self._mtu.size
        if self._probe:
            self._probe = False
            probe = self._send_probe(Flight(now), size, board.in_flight)
            if probe is not None:
                return probe
        self._timed_out = self._timed_out and board.lost > 0
        if not (board.lost or self._outbound.ready):
            return None
        if self._timed_out:
            room = size
        else:
            room = self._room(size, now)
            if room <= 0:
                return None
        flight = Flight(now)
        before = board.in_flight
        self._rate.stamp(flight, before)
        if board.lost:
            return self._resend(flight, room, size, before)
        return self._send_new(flight, room, size, before)

    def _room(self, size: int, now: float) -> int:
        """Bytes that the windows and the pacer let go; not more than one flight."""
        board = self.board
        room = self._controller.window - board.in_flight
        if board.in_flight and room < size:
            self._pacer.blocked()
            return 0
        room = max(room, size)
        if not board.lost:
            outstanding = board.in_flight + board.lost
            credit = self._rwnd - outstanding
            if credit < size:
                if outstanding or not self._probe_window(now):
                    self._pacer.blocked()
                    return 0
                credit = size
            room = min(room, credit)
        allowance = self._pacer.allowance(now, self._controller)
        if allowance <= 0:
            self._ready_at = self._pacer.ready_at(now)
            return 0
        if self._pacer.late:
            self._rate.limited(board.in_flight)
        together = min(CALL_PACKETS, max(1, CALL_BYTES // (size + RECORD)))
        flight = min(FLIGHT_CALLS, FLIGHT_PACKETS // together) * together * size
        return min(room, max(allowance, size), flight)

    def _probe_window(self, now: float) -> bool:
        """Whether to try a window that the peer closed (RFC 9260 section 6.1 A)."""
        if self._window_probe_at is None:
            self._window_probe_at = now + self.rtt.timeout
            return False
        if now + GRAIN < self._window_probe_at:
            return False
        self._window_probe_at = None
        return True

    def _send_probe(self, flight: Flight, size: int, before: int) -> Transmit | None:
        """Ask for a report: with new data if there is some, else with the last chunk again.

        None if the last chunk is no longer under way: a report came before the probe could leave.
        """
        board = self.board
        if self._outbound.ready and self._rwnd - board.in_flight - board.lost >= size:
            self._rate.stamp(flight, before)
            self.statistics.probes += 1
            transmit = self._send_new(flight, size, size, before)
            self._recovery.probed(flight.sent, 0)
            return transmit
        run = board.last()
        if run is None:
            return None
        self._rate.stamp(flight, before)
        self.statistics.probes += 1
        board.repeat(run, flight)
        self._recovery.resent(1)
        self._recovery.probed(flight.sent, run.size)
        packets = [self._hurry(self._packets([run], size)[0])]
        self._left(flight, before, run.size)
        self.statistics.resent += run.size
        return Transmit(packets, fragmentable=max(map(len, packets)) > size)

    def _resend(self, flight: Flight, room: int, size: int, before: int) -> Transmit | None:
        board = self.board
        runs = board.resend(flight, room, size)
        if not runs:
            return None
        self._timed_out = False
        packets = self._packets(runs, size)
        self._recovery.resent(sum(len(run.entries) for run in runs))
        self._left(flight, before, flight.flying, first=runs[0].first == board.una)
        self.statistics.resent += flight.flying
        return Transmit(packets, fragmentable=max(map(len, packets)) > size)

    def _packets(self, runs: list[Run], size: int) -> list[bytes]:
        """Packets of what is sent again, in order: as they were, or bundled anew."""
        packets: list[bytes] = []
        chunks: list[bytes] = []
        space = 0
        for run in runs:
            if run.whole:
                if chunks:
                    packets.append(self._wire.wrap(b"".join(chunks)))
                    chunks.clear()
                packets += run.entries
                continue
            for chunk in run.entries:
                if chunks and len(chunk) > space:
                    packets.append(self._wire.wrap(b"".join(chunks)))
                    chunks.clear()
                if not chunks:
                    space = size - HEADER
                chunks.append(chunk)
                space -= len(chunk)
        if chunks:
            packets.append(self._wire.wrap(b"".join(chunks)))
        return packets

    def _send_new(self, flight: Flight, room: int, size: int, before: int) -> Transmit:
        board = self.board
        sent: dict[int, int] = {}
        packets = self._outbound.cut(board, flight, room, size, sent)
        for stream_id, count in sent.items():
            self._events.append(Sent(stream_id, count))
        if not self._outbound.ready:
            self._rate.limited(board.in_flight)
            packets[-1] = self._hurry(packets[-1])
        elif (
            self._controller.window - board.in_flight < size
            or self._rwnd - board.in_flight - board.lost < size
        ):
            packets[-1] = self._hurry(packets[-1])
        self._left(flight, before, flight.flying)
        return Transmit(packets)

    def _hurry(self, packet: bytes) -> bytes:
        """The same packet with a request to be acknowledged at once (RFC 7053)."""
        changed = bytearray(packet)
        changed[FLAGS_AT] |= IMMEDIATE
        return self._wire.wrap(bytes(changed[HEADER:]))

    def _left(self, flight: Flight, before: int, size: int, *, first: bool = False) -> None:
        """Note a flight with everybody who counts."""
        now = flight.sent
        self.board.flights.append(flight)
        self.statistics.sent += size
        self._recovery.sent(now, before, first=first)
        self._window_probe_at = None  # it is for when nothing is under way that brings a report
        self._pacer.sent(now, size)
        self._controller.on_sent(now, size, before, flight.app_limited)

    # timers

    def deadline(self) -> float | None:
        """When to call `handle_timer` and `transmit` again."""
        due = self._recovery.deadline()
        if self._window_probe_at is not None and (due is None or self._window_probe_at < due):
            due = self._window_probe_at
        if self._ready_at is not None and (due is None or self._ready_at < due):
            due = self._ready_at
        if due is None and (self.board.lost or self._outbound.ready):
            return 0.0  # nobody asked `transmit` since that could leave: there was no room for it
        return due

    def handle_timer(self, now: float) -> None:
        """See what is due."""
        due, lost = self._recovery.handle_timer(now)
        if due is Due.NOTHING:
            return
        self.statistics.lost += lost
        board, controller = self.board, self._controller
        if due is Due.PROBE:
            self._probe = True
        elif due is Due.TIMEOUT:
            self.statistics.timeouts += 1
            self._timed_out = True
            if self._rwnd >= self._mtu.size:
                controller.on_timeout(now, board.in_flight)
                self._mtu.on_timeout(now, max(map(len, board.runs[0].entries)))
        elif lost:
            controller.on_ack(
                Ack(
                    now=now,
                    rtt=None,
                    min_rtt=self.rtt.least,
                    srtt=self.rtt.smoothed or 0.0,
                    acked=0,
                    lost=lost,
                    in_flight=board.in_flight,
                    prior_in_flight=board.in_flight + lost,
                    delivered=self._rate.delivered,
                    rate=None,
                    app_limited=False,
                    round_start=False,
                )
            )

    def path_changed(self, now: float) -> None:
        """Everything measured was of another path; the new one is tried at once.

        One packet goes whatever is in flight, and tells what of the rest the old path swallowed.
        """
        self._recovery.reset(now)
        self.rtt.reset()
        self._controller.on_path_change(now)
        self._timed_out = self.board.lost > 0
        self._probe = self.board.in_flight > 0 and not self._timed_out
        self._ready_at = now
