"""RACK-TLP (RFC 8985) and T3-rtx over a scoreboard, with times chosen by hand."""

import pytest

from p2pxfer.sctp.flights import FLYING, LOST, Flight
from p2pxfer.sctp.recovery import PROBE_LEAST, Due, Recovery
from p2pxfer.sctp.rtt import LEAST, MOST, RoundTrip
from p2pxfer.sctp.scoreboard import Scoreboard

TRIP = 0.1
SIZE = 100


class Bench:
    """A scoreboard with its loss detection, of a path with 100 ms."""

    def __init__(self):
        self.board = Scoreboard(0)
        self.rtt = RoundTrip(0.025)
        self.rtt.sample(TRIP, 0.0)
        self.recovery = Recovery(self.board, self.rtt, 0.025)

    def send(self, now, count=1):
        flight, before = Flight(now), self.board.in_flight
        self.board.sent(flight, [bytes(SIZE)] * count, SIZE * count, whole=True)
        self.board.flights.append(flight)
        self.recovery.sent(now, before, first=False)

    def resend(self, now):
        flight, before = Flight(now), self.board.in_flight
        runs = self.board.resend(flight, 1 << 20, 1 << 20)
        self.board.flights.append(flight)
        self.recovery.resent(sum(len(run.entries) for run in runs))
        self.recovery.sent(now, before, first=True)

    def ack(self, now, cumulative=None, blocks=(), duplicates=0):
        """Returns bytes lost, and whether losses turned out to be none."""
        advanced = cumulative is not None and self.board.acknowledge(cumulative)
        self.board.report(blocks)
        lost = self.recovery.acknowledged(now, advanced=advanced, duplicates=duplicates)
        spurious = self.recovery.spurious(duplicates)
        self.board.settle()
        return lost, spurious

    def timer(self):
        """The next timer fires: when, and what it says."""
        at = self.recovery.deadline()
        assert at is not None
        return at, *self.recovery.handle_timer(at)


@pytest.fixture
def bench():
    return Bench()


def test_what_left_before_something_that_arrived_is_lost_after_three(bench):
    """Without any reordering seen, as three duplicates say in RFC 5681."""
    for n in range(6):
        bench.send(n / 100)
    lost, _ = bench.ack(0.14, -1, [(4, 4)])
    assert lost == 4 * SIZE
    assert bench.board.runs[0].state == LOST
    assert bench.board.runs[-1].state == FLYING


def test_less_waits_for_a_quarter_of_a_round_trip(bench):
    """One step of reordering may be none, until the window has passed."""
    bench.send(0.0)
    bench.send(0.01)
    lost, _ = bench.ack(0.11, -1, [(1, 1)])
    assert lost == 0
    at, due, lost = bench.timer()
    assert due is Due.LOSS
    assert lost == SIZE
    assert at == pytest.approx(0.0 + TRIP + TRIP / 4)


def test_once_reordering_was_seen_three_do_not_suffice(bench):
    """Then time alone decides (RFC 8985 section 6.2, step 4)."""
    bench.send(0.0, 2)
    bench.ack(0.1, -1, [(1, 1)])
    bench.ack(0.101, 1)
    for n in range(6):
        bench.send(0.2 + n / 100)
    assert bench.ack(0.36, 1, [(6, 7)])[0] == 3 * SIZE
    assert bench.board.runs[-2].state == FLYING


def test_within_one_flight_the_order_of_tsns_counts(bench):
    """Chunks that left together have one stamp."""
    bench.send(0.0, 10)
    lost, _ = bench.ack(0.1, 1, [(5, 6)])
    assert lost == 3 * SIZE
    assert bench.board.runs[0].state == LOST
    assert bench.board.runs[-1].state == FLYING


def test_a_repetition_that_is_lost_is_found_too(bench):
    """By what left after it, which no count of duplicates can tell."""
    bench.send(0.0, 5)
    bench.ack(0.1, 0, [(2, 4)])
    bench.resend(0.11)
    bench.send(0.12, 5)
    lost, _ = bench.ack(0.22, 0, [(2, 9)])
    assert lost == SIZE
    assert bench.board.lost == SIZE


def test_a_tail_is_probed_after_two_round_trips(bench):
    """Nothing follows it that could tell (RFC 8985 section 7.2)."""
    bench.send(0.0, 3)
    at, due, _ = bench.timer()
    assert due is Due.PROBE
    assert at == pytest.approx(2 * TRIP)


def test_a_single_packet_gets_the_ack_delay_too(bench):
    """The peer may wait before it acknowledges one."""
    bench.send(0.0)
    assert bench.recovery.deadline() == pytest.approx(2 * TRIP + 0.025)


def test_probes_are_not_sent_faster_than_a_loop_answers(bench):
    """On a path of microseconds."""
    for n in range(200):
        bench.rtt.sample(0.0001, n / 1000)
    bench.send(1.0, 3)
    assert bench.recovery.deadline() == pytest.approx(1.0 + PROBE_LEAST, abs=0.002)


def test_after_a_probe_only_the_timeout_is_left(bench):
    """One probe a flight; the timeout counts from it."""
    bench.send(0.0, 3)
    at, _, _ = bench.timer()
    run = bench.board.last()
    flight = Flight(at)
    bench.board.repeat(run, flight)
    bench.board.flights.append(flight)
    bench.recovery.probed(at, run.size)
    after, due, lost = bench.timer()
    assert due is Due.TIMEOUT
    assert after == pytest.approx(at + bench.rtt.timeout)
    assert lost == 3 * SIZE


def test_a_probe_that_repaired_a_loss_tells_it(bench):
    """Nobody else noticed (RFC 8985 section 7.4); a duplicate says that there was none."""
    for duplicates, lost in ((0, SIZE), (1, 0)):
        bench = Bench()
        bench.send(0.0)
        at, _, _ = bench.timer()
        run = bench.board.last()
        flight = Flight(at)
        bench.board.repeat(run, flight)
        bench.board.flights.append(flight)
        bench.recovery.resent(1)
        bench.recovery.probed(at, run.size)
        assert bench.ack(at + TRIP, 0, duplicates=duplicates)[0] == lost


def test_timeouts_back_off_and_progress_ends_that(bench):
    """Doubled each time, to a bound; RFC 9260 section 6.3.3."""
    bench.send(0.0, 3)
    bench.timer()
    waits, last = [], 0.0
    for _ in range(8):
        bench.recovery.probed(last, 0)
        at, due, _ = bench.timer()
        assert due is Due.TIMEOUT
        waits.append(at - last)
        last = at
        bench.resend(at)
    assert waits[1] == pytest.approx(2 * waits[0])
    assert waits[-1] == pytest.approx(MOST)
    bench.ack(last + TRIP, 0)
    assert bench.recovery.backoff == 0


def test_a_timeout_spares_what_left_lately(bench):
    """It may well be on its way."""
    bench.send(0.0, 3)
    bench.recovery.probed(0.0, 0)
    at = bench.recovery.deadline()
    bench.send(at - TRIP / 2, 2)
    _, lost = bench.recovery.handle_timer(at)
    assert lost == 3 * SIZE
    assert bench.board.in_flight == 2 * SIZE


def test_a_timeout_that_was_none_is_taken_back(bench):
    """What was called lost arrives before it was sent again: a stall, not a loss."""
    bench.send(0.0, 5)
    bench.recovery.probed(0.0, 0)
    at, due, lost = bench.timer()
    assert (due, lost) == (Due.TIMEOUT, 5 * SIZE)
    _, spurious = bench.ack(at + 0.01, 2)
    assert spurious
    bench.recovery.restore(at + 0.01)
    assert bench.board.lost == 0
    assert bench.board.in_flight == 2 * SIZE


def test_duplicates_of_all_that_was_repeated_take_a_loss_back(bench):
    """And widen the reordering window for a while (RFC 8985 section 6.2, step 4)."""
    bench.send(0.0, 5)
    bench.ack(0.1, 0, [(2, 4)])
    bench.resend(0.11)
    before = bench.recovery.window()
    _, spurious = bench.ack(0.13, 4, duplicates=1)
    assert spurious
    assert bench.recovery.window() >= before
    bench.send(0.2, 2)
    bench.ack(0.3, 5)
    assert bench.recovery.window() == pytest.approx(TRIP / 2, rel=0.2)


def test_nothing_in_flight_needs_no_timer(bench):
    """Nothing to wait for."""
    bench.send(0.0)
    bench.ack(0.1, 0)
    assert bench.recovery.deadline() is None


def test_the_timeout_leaves_room_on_a_steady_path():
    """Four deviations of nothing are nothing."""
    rtt = RoundTrip(0.025)
    for n in range(1000):
        rtt.sample(1.0, n / 10)
    assert rtt.timeout == pytest.approx(1.0 + LEAST + 0.025)


def test_the_least_round_trip_is_forgotten_after_minutes():
    """A path that changed is believed at last."""
    rtt = RoundTrip(0.025)
    for n in range(900):
        rtt.sample(0.1 if n < 10 else 0.2, float(n))
    assert rtt.least == pytest.approx(0.2)
    rtt.reset()
    assert rtt.smoothed is None
