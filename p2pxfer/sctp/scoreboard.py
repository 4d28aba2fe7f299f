"""What was sent and is not yet known to have arrived.

Without loss a flight is one run, and an acknowledgement costs the same whether it covers two
packets or fifty; runs are split only where the peer's reports cut them. TSNs here are plain
integers that never wrap: whoever reads and writes packets maps them to 32 bits.

It doesn't know why something is lost (recovery.py), nor how much may be sent (congestion/).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import islice

from p2pxfer.sctp.flights import ACKED, FLYING, LOST, Flight, Run
from p2pxfer.sctp.wire import HEADER


class Scoreboard:
    """Every TSN between the last one acknowledged in sequence and the last one sent.

    Counts of what reports newly acknowledged add up until `settle` is called, once a batch.

    Attributes:
        runs: by TSN, without a hole between them.
        flights: in the order they left.
        una: the lowest TSN that is not acknowledged in sequence.
        next: the TSN that the next new chunk gets.
        in_flight: bytes under way.
        lost: bytes declared lost and not sent again yet.
        highest: highest TSN acknowledged in any way.
        acked: bytes newly acknowledged since `settle`.
        spurious: of these, bytes that had been declared lost and were not sent again.
        newest: the flight that left last, of those that had something newly acknowledged.
        newest_end: the highest TSN of it that was.
        newest_tries: how often that was sent.
        sampled: the flight that left last, of those acknowledged with what was sent but once.
        reordered: something sent once arrived after what was sent later.
    """

    __slots__ = (
        "_blocks",
        "_lost",
        "acked",
        "flights",
        "highest",
        "in_flight",
        "lost",
        "newest",
        "newest_end",
        "newest_tries",
        "next",
        "reordered",
        "runs",
        "sampled",
        "spurious",
        "una",
    )

    def __init__(self, initial: int) -> None:
        self.runs: list[Run] = []
        self.flights: deque[Flight] = deque()
        self.una = self.next = initial
        self.highest = initial - 1
        self.in_flight = self.lost = 0
        self._lost: list[int] = []
        self._blocks: set[tuple[int, int]] = set()
        self.settle()

    def settle(self) -> None:
        """Begin to count newly acknowledged bytes anew."""
        self.acked = self.spurious = 0
        self.newest: Flight | None = None
        self.newest_end = -1
        self.newest_tries = 0
        self.sampled: Flight | None = None
        self.reordered = False

    def sent(self, flight: Flight, entries: list[bytes], size: int, *, whole: bool) -> Run:
        """Note new chunks as part of a flight; they get the next TSNs."""
        run = Run(self.next, entries, size, flight, whole=whole)
        self.next += len(entries)
        self.runs.append(run)
        flight.runs.append(run)
        flight.flying += size
        self.in_flight += size
        return run

    def locate(self, tsn: int) -> int:
        """Index of the run that holds an outstanding TSN."""
        runs = self.runs
        low, high = 0, len(runs)
        while low < high:
            middle = (low + high) >> 1
            if runs[middle].first <= tsn:
                low = middle + 1
            else:
                high = middle
        return low - 1

    def _count(self, run: Run, size: int, end: int) -> None:
        """Bytes of a run are newly acknowledged, up to a TSN."""
        flight = run.flight
        self.acked += size
        if run.state == FLYING:
            self.in_flight -= size
            flight.flying -= size
        else:
            self.lost -= size
            self.spurious += size
        newest = self.newest
        if (
            newest is None
            or flight.sent > newest.sent
            or (flight.sent == newest.sent and end > self.newest_end)
        ):
            self.newest = flight
            self.newest_end = end
            self.newest_tries = run.tries
        if run.tries == 1:
            if end > self.highest:
                self.highest = end
            elif end < self.highest:
                self.reordered = True
            if self.sampled is None or flight.sent > self.sampled.sent:
                self.sampled = flight
        elif end > self.highest:
            self.highest = end

    def acknowledge(self, cumulative: int) -> bool:
        """All up to a TSN has arrived; returns whether that is news."""
        if cumulative < self.una:
            return False
        runs = self.runs
        whole = 0
        for run in runs:
            count = cumulative + 1 - run.first
            if count >= len(run.entries):
                if run.state != ACKED:
                    self._count(run, run.size, run.first + len(run.entries) - 1)
                    run.state = ACKED
                whole += 1
                continue
            if count > 0:
                size = sum(map(len, islice(run.entries, count)))
                if run.state != ACKED:
                    self._count(run, size, cumulative)
                del run.entries[:count]
                run.first += count
                run.size -= size
                if run.state == LOST:
                    heappush(self._lost, run.first)
            break
        del runs[:whole]
        self.una = cumulative + 1
        self.highest = max(self.highest, cumulative)
        flights = self.flights
        while flights and not flights[0].flying:
            flights.popleft().runs.clear()  # or the two hold each other until a collection
        return True

    def report(self, blocks: Sequence[tuple[int, int]]) -> None:
        """Stretches beyond the sequence have arrived: (first, last) TSNs, not in `una`'s way."""
        known = self._blocks
        self._blocks = set(blocks)
        for block in blocks:
            if block not in known:
                self._mark(*block)

    def _mark(self, start: int, end: int) -> None:
        at = self.locate(start)
        runs = self.runs
        while at < len(runs):
            run = runs[at]
            if run.first > end:
                return
            last = run.first + len(run.entries) - 1
            if run.state != ACKED:
                if run.first < start:
                    self._split(at, start - run.first)
                    at += 1
                    continue
                if last > end:
                    self._split(at, end + 1 - run.first)
                    last = end
                self._count(run, run.size, last)
                run.state = ACKED
                at = self._merge(at)
            at += 1

    def _split(self, at: int, count: int) -> None:
        """Cut a run in two, ``count`` entries in the first."""
        left = self.runs[at]
        right = Run(
            left.first + count,
            left.entries[count:],
            0,
            left.flight,
            whole=left.whole,
        )
        del left.entries[count:]
        if len(left.entries) < len(right.entries):
            size = sum(map(len, left.entries))
            right.size = left.size - size
            left.size = size
        else:
            right.size = sum(map(len, right.entries))
            left.size -= right.size
        right.state = left.state
        right.tries = left.tries
        self.runs.insert(at + 1, right)
        if right.state == FLYING:
            left.flight.runs.append(right)
        elif right.state == LOST:
            heappush(self._lost, right.first)

    def _merge(self, at: int) -> int:
        """Join an acknowledged run to acknowledged neighbours; returns where it is then."""
        runs = self.runs
        run = runs[at]
        if at + 1 < len(runs):
            right = runs[at + 1]
            if right.state == ACKED and right.whole == run.whole:
                run.entries += right.entries
                run.size += right.size
                del runs[at + 1]
        if at > 0:
            left = runs[at - 1]
            if left.state == ACKED and left.whole == run.whole:
                left.entries += run.entries
                left.size += run.size
                del runs[at]
                return at - 1
        return at

    def lose(self, run: Run) -> int:
        """Declare a flying run lost; returns its bytes."""
        size = run.size
        run.state = LOST
        run.flight.flying -= size
        self.in_flight -= size
        self.lost += size
        heappush(self._lost, run.first)
        return size

    def lose_first(self) -> int:
        """Declare the lowest outstanding packet lost if it is flying; returns its bytes."""
        if not self.runs or self.runs[0].state != FLYING:
            return 0
        if len(self.runs[0].entries) > 1:
            self._split(0, 1)
        return self.lose(self.runs[0])

    def restore(self) -> None:
        """Let everything lost that was not sent again fly on, as it left."""
        flights = set(self.flights)
        for flight in flights:
            flight.runs.clear()  # it doesn't know what was split off while that was lost
        for run in self.runs:
            if run.state == ACKED:
                continue
            flight = run.flight
            if run.state == LOST:
                run.state = FLYING
                flight.flying += run.size
            flights.add(flight)
            flight.runs.append(run)
        self.in_flight += self.lost
        self.lost = 0
        self._lost.clear()
        self.flights = deque(sorted(flights, key=lambda flight: flight.sent))

    def reneged(self) -> bool:
        """Whether the peer took back what it had reported beyond the sequence.

        Then it waits for a TSN that it reported: RFC 9260 section 6.2 lets it. All of it counts
        as lost.
        """
        if not self.runs or self.runs[0].state != ACKED:
            return False
        for run in self.runs:
            if run.state == ACKED:
                run.state = LOST
                self.lost += run.size
                heappush(self._lost, run.first)
        self._blocks.clear()
        return True

    def resend(self, flight: Flight, room: int, largest: int) -> list[Run]:
        """Take lost runs into a flight, lowest TSN first.

        Args:
            flight: what they leave with.
            room: bytes that may be sent; one entry is taken in any case.
            largest: stop before an entry longer than this that is not the first one taken, so
                that packets that only fragmented datagrams carry go by themselves.
        """
        taken: list[Run] = []
        waiting = self._lost
        while waiting and (room > 0 or not taken):
            at = self.locate(max(waiting[0], self.una))
            run = self.runs[at] if at >= 0 else None
            if run is None or run.state != LOST or run.first != waiting[0]:
                heappop(waiting)
                continue
            size = count = 0
            longer = False
            for entry in run.entries:
                size += len(entry)
                longer = len(entry) + (0 if run.whole else HEADER) > largest
                if (size > room or longer) and (taken or count):
                    break
                count += 1
            if not count:
                break
            heappop(waiting)
            if count < len(run.entries):
                self._split(at, count)
            run.state = FLYING
            run.flight = flight
            run.tries += 1
            flight.runs.append(run)
            flight.flying += run.size
            self.lost -= run.size
            self.in_flight += run.size
            room -= run.size
            taken.append(run)
            if longer:
                break
        return taken

    def repeat(self, run: Run, flight: Flight) -> None:
        """A flying run leaves once more."""
        run.flight.flying -= run.size
        run.flight = flight
        run.tries += 1
        flight.runs.append(run)
        flight.flying += run.size

    def clear(self) -> None:
        """Let go of everything: nothing will be sent again."""
        for flight in self.flights:
            flight.runs.clear()
        self.flights.clear()
        self.runs.clear()
        self.in_flight = self.lost = 0
        self.una = self.next

    def last(self) -> Run | None:
        """The last outstanding chunk as a run of its own, None unless it is flying."""
        if not self.runs or self.runs[-1].state != FLYING:
            return None
        if len(self.runs[-1].entries) > 1:
            self._split(len(self.runs) - 1, len(self.runs[-1].entries) - 1)
        return self.runs[-1]
