"""A room in virtual time: who gets in, what becomes of mail, how it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2pxfer.rendezvous import messages as wire
from p2pxfer.rendezvous.messages import Crowded, Ended, Mail, Reason, Taken
from p2pxfer.rendezvous.server.rooms import (
    ABSENCE_PAIRED,
    ABSENCE_WAITING,
    ENDINGS,
    MEMORY,
    PAIRED_LIFETIME,
    TRANSITIONS,
    Input,
    Refused,
    Room,
    Seat,
    State,
    View,
    create,
)

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
NAME = bytes(32)


def paired(key: int | bytes = 7, now: float = 0) -> tuple[Room, Seat, Seat]:
    room, first = create(key, A, 600, now)
    room, second = room.enter(B, now)
    assert second is not None
    return room, first, second


def refusal(act) -> Reason:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.reason


def test_two_sides_come_in_and_mail_crosses():
    """Mail sent before the other side came waits for it."""
    room, first = create(7, A, 600, 0)
    room = room.send(first, 1, b"one", 0).send(first, 2, b"two", 0)
    room, second = room.enter(B, 5)
    assert second is not None
    there, here = View(second), View(first)
    assert there.observe(room) == [Mail(1, b"one"), Mail(2, b"two")]
    assert there.observe(room) == []
    room = room.acknowledge(second, 1, 5)
    assert here.observe(room) == [Taken(1)]
    assert room.size() == 3


def test_a_third_side_is_refused_and_both_are_told():
    """Each time again, and the room goes on."""
    room, first, second = paired()
    views = View(first), View(second)
    for count in (1, 2):
        room, seat = room.enter(C, 1)
        assert seat is None
        assert [view.observe(room) for view in views] == [[Crowded(count)], [Crowded(count)]]
    assert room.state is State.PAIRED


def test_a_side_comes_back_to_what_it_has_not_taken():
    """Mail that was handed out but not acknowledged is handed out again."""
    room, first, second = paired()
    room = room.send(first, 1, b"one", 0).send(first, 2, b"two", 0)
    view = View(second)
    assert len(view.observe(room)) == 2
    room = room.acknowledge(second, 1, 0).leave(second, 1)
    room, again = room.enter(B, 2, resume=True)
    assert again == Seat(1, B, 2)
    assert View(again).observe(room) == [Mail(2, b"two")]
    assert room.welcome(first, 2).stored == 2


def test_a_newer_connection_takes_over():
    """What the older one still says counts for nothing, and it is told to go."""
    room, first, second = paired()
    room, newer = room.enter(A, 1)
    assert newer is not None
    assert room.holds(newer)
    assert not room.holds(first)
    for after in (
        room.send(first, 1, b"x", 1),
        room.acknowledge(first, 9, 1),
        room.close(first, 1),
        room.burn(first, 1),
        room.leave(first, 1),
    ):
        assert after == room
    assert View(first).observe(room) == [Ended(Reason.SUPERSEDED)]
    assert room.holds(second)


def test_a_repeated_number_is_dropped_and_a_gap_refused():
    """Numbers tell repeats apart; nothing can be left out."""
    room, first, _ = paired()
    room = room.send(first, 1, b"one", 0)
    assert room.send(first, 1, b"other", 0) == room
    assert refusal(lambda: room.send(first, 3, b"three", 0)) is Reason.MALFORMED


def test_only_mail_that_exists_can_be_acknowledged():
    """Neither more than was sent, nor anything while nobody else is there."""
    room, first, second = paired()
    room = room.send(first, 1, b"one", 0).acknowledge(second, 1, 0)
    assert room.acknowledge(second, 1, 0) == room
    assert room.acknowledge(second, 0, 0) == room
    assert refusal(lambda: room.acknowledge(second, 2, 0)) is Reason.MALFORMED
    alone, seat = create(7, A, 600, 0)
    assert refusal(lambda: alone.acknowledge(seat, 0, 0)) is Reason.MALFORMED


def test_what_waits_is_bounded_in_count_and_bytes():
    """One side can't make the rendezvous keep more than the window."""
    room, first, second = paired()
    for number in range(1, wire.WINDOW_MESSAGES + 1):
        room = room.send(first, number, b"x", 0)
    more = wire.WINDOW_MESSAGES + 1
    assert refusal(lambda: room.send(first, more, b"x", 0)) is Reason.OVERFLOW
    room = room.acknowledge(second, 1, 0).send(first, more, b"x", 0)
    body = bytes(wire.MAX_BODY)
    big, seat = create(7, A, 600, 0)
    for number in range(1, wire.WINDOW_BYTES // len(body) + 1):
        big = big.send(seat, number, body, 0)
    assert big.size() == wire.WINDOW_BYTES
    more = wire.WINDOW_BYTES // len(body) + 1
    assert refusal(lambda: big.send(seat, more, b"x", 0)) is Reason.OVERFLOW


def test_a_room_carries_so_much_and_no_more():
    """A rendezvous is no relay for the transfer itself."""
    room, first, second = paired()
    for number in range(1, wire.MAX_NUMBER + 1):
        room = room.send(first, number, b"x", 0).acknowledge(second, number, 0)
    more = wire.MAX_NUMBER + 1
    assert refusal(lambda: room.send(first, more, b"x", 0)) is Reason.OVERFLOW


def test_a_closed_room_still_delivers():
    """The last mail before a close arrives, even at a side that was away."""
    room, first, second = paired()
    room = room.send(first, 1, b"bye", 0).leave(second, 1).close(first, 2)
    room, again = room.enter(B, 3, resume=True)
    assert again is not None
    assert View(again).observe(room) == [Mail(1, b"bye"), Ended(Reason.CLOSED)]
    assert refusal(lambda: room.enter(C, 3)) is Reason.CLOSED


def test_a_burnt_room_keeps_nothing_but_that():
    """Both sides hear of it, the mail is gone, and nobody gets in."""
    room, first, second = paired()
    room = room.send(first, 1, b"secret", 0).burn(second, 1)
    assert room.size() == 0
    assert View(first).observe(room) == [Ended(Reason.BURNT)]
    assert View(second).observe(room) == [Ended(Reason.BURNT)]
    assert refusal(lambda: room.enter(C, 2)) is Reason.BURNT
    assert room.send(first, 2, b"more", 2).size() == 0
    assert room.close(first, 2).burn(first, 3).state is State.BURNT


def test_a_code_expires_when_nobody_comes():
    """At its deadline, not before; it says so for a while, and then its number is free."""
    room, first = create(7, A, 600, 100)
    assert room.deadline() == 700
    assert room.handle_timer(699) == room
    expired = room.handle_timer(700)
    assert expired is not None
    assert View(first).observe(expired) == [Ended(Reason.EXPIRED)]
    assert refusal(lambda: expired.enter(B, 701)) is Reason.EXPIRED
    assert expired.handle_timer(700 + MEMORY - 1) == expired
    assert expired.handle_timer(700 + MEMORY) is None


def test_a_room_that_fills_late_lives_on():
    """A code typed in its last second leaves time for the rest."""
    room, _ = create(7, A, 600, 0)
    room, _ = room.enter(B, 599)
    assert room.deadline() == 599 + PAIRED_LIFETIME


@pytest.mark.parametrize(("both", "patience"), [(False, ABSENCE_WAITING), (True, ABSENCE_PAIRED)])
def test_a_side_may_be_away_for_so_long(both, patience):
    """A laptop may sleep; a side that never comes back is given up, and the other told."""
    room, first = create(7, A, 6000, 0)
    if both:
        room, _ = room.enter(B, 0)
    gone = room.leave(first, 10)
    assert gone.deadline() == 10 + patience
    back, _ = gone.enter(A, 9 + patience, resume=True)
    assert back.deadline() > 10 + patience
    given_up = gone.handle_timer(10 + patience)
    assert given_up is not None
    assert given_up.state is State.ABANDONED
    if both:
        assert View(Seat(1, B, 1)).observe(given_up) == [Ended(Reason.ABANDONED)]


def test_resuming_needs_the_token():
    """A stranger learns nothing, not even whether anybody is there."""
    room, _ = create(7, A, 600, 0)
    assert refusal(lambda: room.enter(C, 0, resume=True)) is Reason.UNKNOWN


def test_coming_in_twice_with_one_token_is_coming_back():
    """A first answer that was lost costs nobody a place."""
    room, _, _ = paired()
    room, seat = room.enter(B, 1)
    assert seat == Seat(1, B, 2)
    assert room.crowded == 0


def test_a_newcomer_by_name_may_take_over_from_a_side_that_is_away():
    """A run that was killed does not keep the next one out; connected sides are never displaced."""
    room, _, second = paired(NAME)
    assert not room.replaceable()
    away = room.leave(second, 1)
    assert away.replaceable()
    assert away.burn(Seat(0, A, 1), 2).replaceable()
    assert not create(NAME, A, 600, 0)[0].leave(Seat(0, A, 1), 1).replaceable()


def test_whose_room_was_taken_over_hears_that_the_other_side_left():
    """It opens the room again, and meets the newcomer."""
    fresh, _ = create(NAME, C, 600, 5)
    for seat in (Seat(0, A, 1), Seat(1, B, 1)):
        assert View(seat).observe(fresh) == [Ended(Reason.CLOSED)]
    assert View(Seat(0, A, 1)).observe(None) == [Ended(Reason.UNKNOWN)]


def test_an_ended_room_never_lives_again():
    """Of all that may happen to it, nothing leads out."""
    for (state, _), after in TRANSITIONS.items():
        if state in ENDINGS:
            assert after is state
    for state in (State.WAITING, State.PAIRED):
        assert {TRANSITIONS[state, what] for what in (Input.CLOSE, Input.BURN, Input.EXPIRE)} == {
            State.CLOSED,
            State.BURNT,
            State.EXPIRED,
        }


def test_a_room_shows_no_secret():
    """Neither name, token nor mail is in what a log or traceback would show."""
    room, first = create(b"n" * 32, A, 600, 0)
    room = room.send(first, 1, b"mail", 0)
    assert "aaaa" not in repr(room) + repr(first)
    assert "nnnn" not in repr(room)
    assert "mail" not in repr(room)


class Guests(RuleBasedStateMachine):
    """Three sides, old connections of theirs and time, in any order: the room stays a room.

    The third may be whoever guesses numbers, and any of them may send and acknowledge nonsense.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.room, seat = create(7, A, 600, 0)
        self.seats = [seat]
        self.views = [View(seat)]

    which = st.integers(0, 1000)

    def seat(self, which: int) -> Seat:
        return self.seats[which % len(self.seats)]

    def step(self, act: Callable[[], Room]) -> None:
        """Do something: it is refused, and nothing has changed, or leads where the table says."""
        before = self.room
        try:
            after = act()
        except Refused:
            return
        if after.state is not before.state:
            assert after.state in {to for (of, _), to in TRANSITIONS.items() if of is before.state}
        self.room = after

    @rule(token=st.sampled_from((A, B, C)), resume=st.booleans())
    def enter(self, token: bytes, resume: bool) -> None:
        known, paired = self.room.knows(token), self.room.state is State.PAIRED

        def act() -> Room:
            room, seat = self.room.enter(token, self.now, resume=resume)
            if seat is None:
                assert paired
                assert not known
                return room
            assert known or not (resume or paired)
            assert not any(room.holds(other) for other in self.seats if other.token == token)
            self.seats.append(seat)
            self.views.append(View(seat))
            return room

        self.step(act)

    @rule(which=which, number=st.integers(1, 6), size=st.sampled_from((1, 100, 65_536)))
    def send(self, which: int, number: int, size: int) -> None:
        self.step(lambda: self.room.send(self.seat(which), number, bytes(size), self.now))

    @rule(which=which)
    def send_next(self, which: int) -> None:
        seat = self.seat(which)
        if seat.index < len(self.room.sides):
            number = self.room.sides[seat.index].stored + 1
            self.step(lambda: self.room.send(seat, number, bytes(60_000), self.now))

    @rule(which=which, through=st.integers(0, 6))
    def acknowledge(self, which: int, through: int) -> None:
        self.step(lambda: self.room.acknowledge(self.seat(which), through, self.now))

    @rule(which=which)
    def leave(self, which: int) -> None:
        self.step(lambda: self.room.leave(self.seat(which), self.now))

    @precondition(lambda self: len(self.seats) > 4)  # or little else would happen
    @rule(which=which, burn=st.booleans())
    def end(self, which: int, burn: bool) -> None:
        act = self.room.burn if burn else self.room.close
        self.step(lambda: act(self.seat(which), self.now))

    @rule(seconds=st.sampled_from((0.0, 1.0, 100.0, 500.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        room = self.room.handle_timer(self.now)
        if room is None:
            assert self.room.ended is not None
            assert self.now >= self.room.ended + MEMORY
        else:
            self.step(lambda: room)
            assert self.now < room.deadline() or room.ended is not None

    @invariant()
    def two_sides_and_little_mail(self) -> None:
        room = self.room
        tokens = [side.token for side in room.sides]
        assert len(tokens) == len(set(tokens)) <= 2
        assert (room.state in ENDINGS) == (room.ended is not None)
        for side in room.sides:
            assert 0 <= side.taken <= side.stored
            assert len(side.pending) <= wire.WINDOW_MESSAGES
            assert sum(map(len, side.pending)) <= wire.WINDOW_BYTES
            if room.state in (State.BURNT, State.EXPIRED, State.ABANDONED):
                assert side.pending == ()
            else:
                assert len(side.pending) == side.stored - side.taken

    @invariant()
    def one_connection_speaks_for_a_side(self) -> None:
        for token in (A, B, C):
            seats = [seat for seat in self.seats if seat.token == token]
            assert sum(map(self.room.holds, seats)) == self.room.knows(token)

    @invariant()
    def everybody_is_told_what_is_so(self) -> None:
        for seat, view in zip(self.seats, self.views, strict=True):
            said = view.observe(self.room)
            over = isinstance(said[-1], Ended) if said else False
            assert over == (self.room.state in ENDINGS or not self.room.holds(seat))


TestGuests = Guests.TestCase
