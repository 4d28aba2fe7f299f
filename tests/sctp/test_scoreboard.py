"""The scoreboard against a list that knows the fate of each TSN."""

from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.sctp.flights import ACKED, FLYING, LOST, Flight
from p2pxfer.sctp.scoreboard import Scoreboard

FIRST = 1000


def flight_of(board, time, count, size=100):
    """A flight of so many packets."""
    flight = Flight(time)
    entries = [bytes(size + n % 3) for n in range(count)]
    board.sent(flight, entries, sum(map(len, entries)), whole=True)
    board.flights.append(flight)
    return flight


def check(board):
    """Everything that must hold between two calls."""
    expected = board.una
    for run in board.runs:
        assert run.entries
        assert run.first == expected
        assert run.size == sum(map(len, run.entries))
        expected += len(run.entries)
    assert expected == board.next
    flying = sum(run.size for run in board.runs if run.state == FLYING)
    assert board.in_flight == flying == sum(flight.flying for flight in board.flights)
    assert board.lost == sum(run.size for run in board.runs if run.state == LOST)
    # loss detection goes by flights: what no flight knows is never found lost
    found = {id(run) for flight in board.flights for run in flight.runs if run.flight is flight}
    assert all(id(run) in found for run in board.runs if run.state == FLYING)


def states(board):
    """What became of each outstanding TSN."""
    return {run.first + n: run.state for run in board.runs for n in range(len(run.entries))}


step = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 6)),
    st.tuples(st.just("cumulative"), st.integers(0, 8)),
    st.tuples(
        st.just("report"),
        st.lists(st.tuples(st.integers(2, 6), st.integers(0, 4)), min_size=1, max_size=4),
    ),
    st.tuples(st.just("lose"), st.integers(0, 5)),
    st.tuples(st.just("resend"), st.integers(1, 900)),
    st.tuples(st.just("restore"), st.just(0)),
    st.tuples(st.just("renege"), st.just(0)),
    st.tuples(st.just("last"), st.just(0)),
)


class Model:
    """The board, and what should have become of each TSN."""

    def __init__(self):
        self.board = Scoreboard(FIRST)
        self.fate: dict[int, int] = {}
        self.time = 0.0

    def again(self, tsns, state):
        self.fate.update(dict.fromkeys(tsns, state))

    def flight(self):
        self.time += 1
        return Flight(self.time)

    def send(self, count):
        self.again(range(self.board.next, self.board.next + count), FLYING)
        flight_of(self.board, self.flight().sent, count)

    def cumulative(self, count):
        cumulative = min(self.board.una - 1 + count, self.board.next - 1)
        news = cumulative >= self.board.una
        assert self.board.acknowledge(cumulative) == news
        self.fate = {tsn: state for tsn, state in self.fate.items() if tsn > cumulative}

    def report(self, drawn):
        blocks, at = [], self.board.una - 1
        for gap, length in drawn:
            start, at = at + gap, at + gap + length
            if at >= self.board.next:
                break
            blocks.append((start, at))
            self.again(range(start, at + 1), ACKED)
        self.board.report(blocks)

    def lose(self, index):
        for run in [run for run in self.board.runs if run.state == FLYING][: index + 1][-1:]:
            self.board.lose(run)
            self.again(range(run.first, run.first + len(run.entries)), LOST)

    def resend(self, room):
        flight = self.flight()
        lost = sorted(tsn for tsn, state in self.fate.items() if state == LOST)
        runs = self.board.resend(flight, room, 1000)
        taken = [run.first + n for run in runs for n in range(len(run.entries))]
        self.board.flights.append(flight)
        assert taken == lost[: len(taken)]
        assert bool(taken) == bool(lost)
        self.again(taken, FLYING)

    def restore(self, _):
        self.board.restore()
        self.again([tsn for tsn, state in self.fate.items() if state == LOST], FLYING)

    def renege(self, _):
        reneged = self.board.reneged()
        assert reneged == (self.fate.get(self.board.una) == ACKED)
        if reneged:
            self.again([tsn for tsn, state in self.fate.items() if state == ACKED], LOST)

    def last(self, _):
        run = self.board.last()
        if run is None:
            assert self.fate.get(self.board.next - 1) != FLYING
            return
        assert run.first + 1 == self.board.next
        flight = self.flight()
        self.board.repeat(run, flight)
        self.board.flights.append(flight)


@given(st.lists(step, max_size=40))
def test_every_tsn_has_one_fate_and_bytes_add_up(steps):
    """Whatever is sent, reported, lost, sent again or taken back, in whatever order."""
    model = Model()
    for what, value in steps:
        getattr(model, what)(value)
        check(model.board)
        assert states(model.board) == model.fate


def test_what_was_split_while_lost_is_found_by_its_flight_when_it_flies_on():
    """A part was sent again, then all turns out to be under way: all can be found lost again."""
    board = Scoreboard(FIRST)
    flight = flight_of(board, 1.0, 10)
    board.lose(board.runs[0])
    again = Flight(2.0)
    board.resend(again, 250, 1000)
    board.flights.append(again)
    board.report([(FIRST + 5, FIRST + 5)])
    board.restore()
    check(board)
    assert sum(len(run.entries) for run in flight.runs if run.state == FLYING) == 7


def test_what_is_newly_acknowledged_is_counted_once():
    """By a gap report first, and not again when the sequence closes."""
    board = Scoreboard(FIRST)
    flight_of(board, 1.0, 3, size=99)
    board.report([(FIRST + 2, FIRST + 2)])
    assert board.acked == 101
    board.report([(FIRST + 2, FIRST + 2)])
    board.acknowledge(FIRST + 2)
    assert board.acked == 99 + 100 + 101
    assert board.in_flight == 0


def test_the_newest_flight_is_sampled_and_repetitions_are_not():
    """A round trip is never measured on what was sent twice (RFC 9260 section 6.3.1 C5)."""
    board = Scoreboard(FIRST)
    flight_of(board, 1.0, 1)
    second = flight_of(board, 2.0, 1)
    board.lose(board.runs[0])
    third = Flight(3.0)
    board.resend(third, 1000, 1000)
    board.flights.append(third)
    board.acknowledge(FIRST + 1)
    assert board.sampled is second
    assert board.newest is third
    assert board.newest_tries == 2


def test_reordering_is_seen_by_what_was_sent_once():
    """Something sent earlier arrives later; a repetition that does is none."""
    board = Scoreboard(FIRST)
    flight_of(board, 1.0, 4)
    board.report([(FIRST + 2, FIRST + 3)])
    assert not board.reordered
    board.settle()
    board.acknowledge(FIRST)
    assert board.reordered


def test_flights_let_go_of_what_they_carried():
    """The two refer to each other: memory would grow until a collection."""
    board = Scoreboard(FIRST)
    flight = flight_of(board, 1.0, 4)
    board.acknowledge(FIRST + 3)
    assert not flight.runs
    assert not board.flights


def test_a_packet_that_is_too_long_goes_by_itself():
    """After the path's packets shrank, so that only it has to be cut up by IP."""
    board = Scoreboard(FIRST)
    flight = Flight(1.0)
    entries = [bytes(1400), bytes(1400), bytes(500), bytes(500)]
    board.sent(flight, entries, 3800, whole=True)
    board.flights.append(flight)
    board.lose(board.runs[0])
    sizes = []
    while board.lost:
        runs = board.resend(Flight(2.0), 10_000, 1200)
        sizes.append([len(entry) for run in runs for entry in run.entries])
    assert sizes == [[1400], [1400, 500, 500]]


def test_clearing_leaves_nothing():
    """At the end of an association."""
    board = Scoreboard(FIRST)
    flight_of(board, 1.0, 4)
    board.clear()
    check(board)
    assert board.in_flight == 0
