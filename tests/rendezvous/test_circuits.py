"""Circuits in virtual time: the server's half and both clients' counts, in any interleaving."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from p2pxfer.errors import RendezvousMisbehaved
from p2pxfer.rendezvous.encoding import encode
from p2pxfer.rendezvous.flow import Flow
from p2pxfer.rendezvous.messages import (
    CIRCUIT_WINDOW,
    FRAME_OVERHEAD,
    MAX_FRAME,
    Connected,
    Credit,
    Ended,
    Frame,
    Reason,
)
from p2pxfer.rendezvous.server.circuits import ALONE, IDLE, End, Switchboard
from p2pxfer.rendezvous.server.limits import DAY, Carriage, Limits, Pace, Volume
from p2pxfer.rendezvous.server.rooms import Refused

NAME, OTHER = bytes(32), bytes([1]) * 32
PLENTY = Carriage(each=10**12, total=10**12)
HERE, THERE = "192.0.2.1", "192.0.2.2"


def nothing() -> None:
    """Nobody is woken: tests look by themselves."""


def joined(
    carriage: Carriage = PLENTY, limits: Limits | None = None, here: str = HERE, there: str = THERE
) -> tuple[Switchboard, End, End]:
    board = Switchboard(limits or Limits(), carriage)
    one, two = (board.enter(NAME, address, 0, nothing) for address in (here, there))
    for end in (one, two):
        assert board.next_message(end, 0) == Connected()
        assert board.next_message(end, 0) is None
    return board, one, two


def refusal(act) -> Reason:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.reason


class Client:
    """One side: sends when its count allows, takes when the test says so."""

    def __init__(self, end: End, unsent: list[bytes]) -> None:
        self.end = end
        self.flow = Flow()
        self.unsent = deque(unsent)
        self.came: deque[bytes] = deque()
        self.taken: list[bytes] = []
        self.connected = False

    def send(self, board: Switchboard, now: float) -> None:
        if self.connected and self.unsent and self.flow.may_send(self.unsent[0]):
            frame = self.unsent.popleft()
            self.flow.sent(frame)
            board.forward(self.end, frame, now)

    def hear(self, board: Switchboard, now: float) -> None:
        match board.next_message(self.end, now):
            case Connected():
                self.connected = True
            case Frame(body):
                self.flow.received(body)
                self.came.append(body)
            case Credit(size):
                encode(Credit(size))  # in its range
                self.flow.credited(size)
            case None:
                pass
            case said:
                raise AssertionError(said)

    def take(self) -> None:
        if self.came:
            frame = self.came.popleft()
            self.taken.append(frame)
            self.flow.took(len(frame) + FRAME_OVERHEAD)

    def tell(self, board: Switchboard) -> None:
        told = self.flow.to_tell()
        if told is not None:
            board.took(self.end, told.size)


sizes = st.lists(st.sampled_from([1, 60_000, MAX_FRAME]), max_size=20)


@given(st.data(), sizes, sizes)
def test_whatever_the_order_of_things_all_frames_arrive_and_no_more_than_a_window_waits(
    data, here, there
):
    """Two honest sides, each step at any time; in the end nothing is left over anywhere."""
    board = Switchboard(Limits(), PLENTY)
    sent = [[bytes([n]) * size for n, size in enumerate(side)] for side in (here, there)]
    ends = [board.enter(NAME, address, 0, nothing) for address in (HERE, THERE)]
    clients = [Client(end, list(unsent)) for end, unsent in zip(ends, sent, strict=True)]

    def step(client: Client, what: int) -> None:
        (
            lambda: client.send(board, 0),
            lambda: client.hear(board, 0),
            client.take,
            lambda: client.tell(board),
        )[what]()
        for end in ends:
            waiting = sum(len(body) + FRAME_OVERHEAD for body in end.waiting)
            assert waiting == end.owed - end.handed <= CIRCUIT_WINDOW

    for who, what in data.draw(
        st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3)), max_size=60)
    ):
        step(clients[who], what)
    for _ in range(4 * (len(here) + len(there) + 4)):
        for client in clients:
            for what in range(4):
                step(client, what)
    assert [client.taken for client in clients] == [sent[1], sent[0]]
    assert [client.flow.outstanding for client in clients] == [0, 0]
    assert [end.owed + end.handed + end.credit for end in ends] == [0, 0]


deeds = st.tuples(
    st.integers(0, 1),
    st.sampled_from(["forward", "took", "look"]),
    st.one_of(st.integers(1, MAX_FRAME), st.integers(1, CIRCUIT_WINDOW)),
)


@given(st.lists(deeds, max_size=40))
def test_hostile_sides_get_errors_and_no_memory(done):
    """Any sizes at any time, of either side: a refusal, or within the window."""
    board, *ends = joined()
    refusals: set[Reason] = set()
    for who, what, size in done:
        try:
            if what == "forward":
                board.forward(ends[who], bytes(min(size, MAX_FRAME)), 0)
            elif what == "took":
                board.took(ends[who], size)
            elif (said := board.next_message(ends[who], 0)) is not None:
                encode(said)
        except Refused as refused:
            refusals.add(refused.reason)
        for end, other in (ends, reversed(ends)):
            assert 0 <= end.handed <= end.owed
            assert end.owed + other.credit <= CIRCUIT_WINDOW
            assert sum(map(len, end.waiting)) <= CIRCUIT_WINDOW
    assert refusals <= {Reason.OVERFLOW, Reason.MALFORMED}


def test_a_side_that_takes_nothing_stops_the_other():
    """A window waits, in tiny frames as well; one more is not taken in."""
    for size in (1, 1000, MAX_FRAME):
        board, one, two = joined()
        fit = CIRCUIT_WINDOW // (size + FRAME_OVERHEAD)
        for _ in range(fit):
            board.forward(one, bytes(size), 0)
        assert refusal(lambda b=board, o=one, s=size: b.forward(o, bytes(s), 0)) is Reason.OVERFLOW
        assert len(two.waiting) == fit
        board.forward(two, b"the other way", 0)


def test_credit_that_a_side_does_not_fetch_is_no_more_window():
    """Who sends on without reading is stopped, whatever the other side takes."""
    board, one, two = joined()
    size = CIRCUIT_WINDOW // 8 - FRAME_OVERHEAD
    for _ in range(8):
        board.forward(one, bytes(size), 0)
        assert board.next_message(two, 0) == Frame(bytes(size))
        board.took(two, size + FRAME_OVERHEAD)
    assert refusal(lambda: board.forward(one, b"x", 0)) is Reason.OVERFLOW
    assert board.next_message(one, 0) == Credit(CIRCUIT_WINDOW)
    board.forward(one, b"x", 0)


def test_nobody_takes_what_was_not_handed_out():
    """A frame that still waits can't be acknowledged, nor one twice."""
    board, one, two = joined()
    board.forward(one, b"x", 0)
    assert refusal(lambda: board.took(two, 1)) is Reason.MALFORMED
    board.next_message(two, 0)
    board.took(two, 1 + FRAME_OVERHEAD)
    assert refusal(lambda: board.took(two, 1)) is Reason.MALFORMED


def test_names_bring_together_two_and_no_third():
    """A third side of the same name waits by itself, and in vain."""
    board, one, two = joined()
    third = board.enter(NAME, HERE, 0, nothing)
    stranger = board.enter(OTHER, HERE, 0, nothing)
    board.forward(one, b"for two", 0)
    assert board.next_message(two, 0) == Frame(b"for two")
    for alone in (third, stranger):
        assert refusal(lambda a=alone: board.forward(a, b"x", 0)) is Reason.MALFORMED
        assert board.next_message(alone, 0) is None
        assert board.deadline(alone) == ALONE
        assert board.next_message(alone, ALONE) == Ended(Reason.GONE)
    late = board.enter(NAME, HERE, ALONE, nothing)
    assert late.other is None, "one whose time is over meets nobody any more"


def test_what_was_sent_before_a_side_left_still_arrives():
    """Then the other one hears that it is alone, and what it sends leads nowhere."""
    board, one, two = joined()
    board.forward(one, b"last", 0)
    board.leave(one)
    assert board.next_message(two, 0) == Frame(b"last")
    assert board.next_message(two, 0) == Ended(Reason.GONE)
    board.forward(two, b"nobody", 0)
    board.took(two, 4 + FRAME_OVERHEAD)
    board.leave(two)
    assert board._tally.total == 0


def test_a_circuit_over_which_nothing_goes_ends_for_both():
    """Not while frames come, or wait for their turn; those of one side alone are enough."""
    board, one, two = joined(replace(PLENTY, rate=10))
    board.forward(two, bytes(936), IDLE - 1)
    assert board.next_message(one, IDLE - 1) == Frame(bytes(936))
    board.forward(two, b"x", IDLE)
    assert board.next_message(one, IDLE) is None
    assert board.deadline(two) is None
    turn = board.deadline(one)
    assert turn is not None
    assert turn > 2 * IDLE - 1
    for end in (one, two):
        assert board.next_message(end, turn - 1) is None
    assert board.next_message(one, turn) == Frame(b"x")
    assert board.deadline(one) == board.deadline(two) == turn + IDLE
    for end in (one, two):
        assert board.next_message(end, turn + IDLE - 1) is None
    assert board.next_message(two, turn + IDLE) == Ended(Reason.GONE)
    assert board.next_message(one, turn + IDLE) == Ended(Reason.GONE)
    for end in (one, two):
        board.leave(end)
    assert board._tally.total == 0


def test_ends_are_counted_by_address_and_in_all():
    """And given back."""
    limits = replace(Limits(), ends=2, total_ends=3)
    board, one, _ = joined(limits=limits, there=HERE)
    assert refusal(lambda: board.enter(OTHER, HERE, 0, nothing)) is Reason.BUSY
    board.enter(OTHER, THERE, 0, nothing)
    assert refusal(lambda: board.enter(OTHER, "192.0.2.3", 0, nothing)) is Reason.BUSY
    board.leave(one)
    board.enter(OTHER, HERE, 0, nothing)


def test_a_spent_volume_ends_the_circuit_for_both():
    """Whichever of the two addresses it was; it comes back with time, and others have theirs."""
    carriage = Carriage(each=100_000, total=10**9)
    for here, there in ((HERE, HERE), (HERE, THERE)):
        board, one, two = joined(carriage, here=here, there=there)
        board.forward(one, bytes(60_000), 0)
        assert refusal(lambda b=board, o=one: b.forward(o, bytes(60_000), 0)) is Reason.SPENT
        assert board.next_message(two, 0) == Frame(bytes(60_000))
        assert board.next_message(two, 0) == Ended(Reason.SPENT, DAY / 8)
        board.forward(two, bytes(30_000), 0)  # not carried: it has ended
        board.enter(OTHER, "192.0.2.3", 0, nothing)


def test_a_circuit_begins_with_a_share_of_the_volume():
    """Not with the crumbs that a second brings back; the wait that is told is one that helps."""
    board, one, _ = joined(Carriage(each=80_000, total=10**9))
    board.forward(one, bytes(80_000 - FRAME_OVERHEAD), 0)
    with pytest.raises(Refused) as caught:
        board.enter(OTHER, THERE, 0, nothing)
    assert caught.value.reason is Reason.SPENT
    assert caught.value.seconds == DAY / 8
    assert refusal(lambda: board.enter(OTHER, THERE, DAY / 8 - 1, nothing)) is Reason.SPENT
    board.enter(OTHER, THERE, DAY / 8, nothing)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 500), st.floats(0, DAY / 4))))
def test_no_address_and_not_all_together_have_more_than_their_volume_in_a_day(spent):
    """Beyond the bucket itself, which a day fills again: twice the volume in any day at most."""
    volume, now = Volume(1000, 1500), 0.0
    carried: list[tuple[float, str, int]] = []
    for who, size, pause in spent:
        now += pause
        if volume.spend(frozenset((who,)), size, now):
            carried.append((now, who, size))
    for start in [at for at, *_ in carried]:
        day = [(who, size) for at, who, size in carried if start <= at < start + DAY]
        assert sum(size for _, size in day) <= 2 * 1500
        for address in "abc":
            assert sum(size for who, size in day if who == address) <= 2 * 1000


def test_a_volume_that_is_used_up_says_the_same_time_whatever_the_clock():
    """Three hours for an eighth of a day's: what a sum of large numbers is off by is no second."""
    draw = random.Random(1)
    for now in [draw.uniform(0, 1e5) for _ in range(200)]:
        volume = Volume(1000, 10**6)
        assert volume.spend(frozenset((HERE,)), 999, now)
        assert not volume.spend(frozenset((HERE,)), 2, now)
        assert volume.wait(HERE, now) == DAY / 8


def test_nothing_is_carried_unless_the_operator_says_so():
    """The default."""
    board = Switchboard(Limits(), Carriage())
    assert refusal(lambda: board.enter(NAME, HERE, 0, nothing)) is Reason.SPENT
    assert not Volume(0, 0).spend(frozenset((HERE,)), 1, 0)


def test_counting_addresses_takes_bounded_memory():
    """The longest unseen is forgotten first; what all have used is not."""
    volume = Volume(10, 200_000)
    for number in range(65_537):
        assert volume.spend(frozenset((str(number),)), 2, 0)
    assert not volume.spend(frozenset(("65536",)), 9, 0)
    assert volume.spend(frozenset(("0",)), 9, 0)
    assert not volume.spend(frozenset(("new",)), 200_000, 0)


def test_a_rate_is_shared_in_turns():
    """Neither direction and no circuit starves; a frame goes when its turn has come."""
    rate = 10_000.0
    board, one, two = joined(replace(PLENTY, rate=rate))
    size = 1000 - FRAME_OVERHEAD
    for _ in range(2):
        board.forward(one, bytes(size), 0)
        board.forward(two, bytes(size), 0)
    assert board.next_message(two, 0) == Frame(bytes(size))
    assert board.next_message(one, 0) is None
    assert board.next_message(two, 0.05) is None
    assert (board.deadline(one), board.deadline(two)) == (0.1, 0.2)
    assert board.next_message(one, 0.1) == Frame(bytes(size))
    assert board.next_message(two, 0.2) == Frame(bytes(size))
    assert board.next_message(one, 0.2) is None
    assert board.deadline(one) == pytest.approx(0.3)
    assert Pace(float("inf")).turn(10**9, 5) == 5


def test_credit_passes_frames_that_wait_for_their_turn():
    """A side that is held back still learns what was taken of its own."""
    board, one, two = joined(replace(PLENTY, rate=1000))
    board.forward(two, bytes(936), 0)
    board.forward(one, bytes(936), 0)
    assert board.next_message(one, 0) == Frame(bytes(936))
    assert board.next_message(two, 0) is None
    board.took(one, 1000)
    assert board.next_message(two, 0) == Credit(1000)


@pytest.mark.parametrize(
    "lie",
    [
        lambda flow: flow.credited(1),
        lambda flow: [flow.received(bytes(MAX_FRAME)) for _ in range(9)],
        lambda flow: [flow.received(b"x") for _ in range(CIRCUIT_WINDOW)],
    ],
    ids=["credit for nothing", "beyond the window", "tiny frames beyond the window"],
)
def test_a_client_believes_nothing_that_cannot_be(lie):
    """A hostile rendezvous makes it keep one window at most."""
    flow = Flow()
    with pytest.raises(RendezvousMisbehaved):
        lie(flow)
    assert flow._held <= CIRCUIT_WINDOW + MAX_FRAME + FRAME_OVERHEAD
