"""One room: two sides, their mail, and how it ends. A pure value and its transitions.

Every change makes a new `Room`; `TRANSITIONS` is all there is to know of the states, and the
diagram in ``docs/rendezvous-protocol.md`` is drawn from it. No clock, socket or store in here:
``now`` is seconds of whatever clock the caller keeps. What the mail says is nobody's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from hmac import compare_digest
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from p2pxfer.discreet import Discreet
from p2pxfer.rendezvous.messages import (
    MAX_NUMBER,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    Crowded,
    Ended,
    Mail,
    Reason,
    ServerMessage,
    Taken,
    Welcome,
)

RoomKey = int | bytes  # a nameplate, or a name of 32 bytes

ABSENCE_WAITING: Final = 600.0  # seconds that the only side may be away: a laptop that sleeps
ABSENCE_PAIRED: Final = 120.0  # and one of two, while the other waits for it
PAIRED_LIFETIME: Final = 3600.0  # a room lives at least this long once both sides are in
MEMORY: Final = 600.0  # seconds that an ended room still says how it ended


class State(Enum):
    """Where a room is in its life."""

    WAITING = "waiting"  # one side is in
    PAIRED = "paired"  # both are
    CLOSED = "closed"
    BURNT = "burnt"
    EXPIRED = "expired"
    ABANDONED = "abandoned"


class Input(Enum):
    """What may happen to a room."""

    JOIN = "second side joins"
    THIRD = "third side is refused"
    REPLACE = "newcomer replaces a side that is away"
    RETURN = "side comes back"
    LEAVE = "connection of a side drops"
    SEND = "mail"
    ACKNOWLEDGE = "acknowledgement"
    CLOSE = "side closes"
    BURN = "side burns"
    EXPIRE = "lifetime is over"
    ABSENCE = "side stays away"


_STAYS: Final = (Input.RETURN, Input.LEAVE, Input.SEND, Input.ACKNOWLEDGE)
_ENDS: Final = {
    Input.CLOSE: State.CLOSED,
    Input.BURN: State.BURNT,
    Input.EXPIRE: State.EXPIRED,
    Input.ABSENCE: State.ABANDONED,
}
ENDINGS: Final[Mapping[State, Reason]] = {
    State.CLOSED: Reason.CLOSED,
    State.BURNT: Reason.BURNT,
    State.EXPIRED: Reason.EXPIRED,
    State.ABANDONED: Reason.ABANDONED,
}
TRANSITIONS: Final[Mapping[tuple[State, Input], State]] = {
    (State.WAITING, Input.JOIN): State.PAIRED,
    (State.PAIRED, Input.THIRD): State.PAIRED,
    (State.PAIRED, Input.REPLACE): State.WAITING,
    **{(state, what): state for state in (State.WAITING, State.PAIRED) for what in _STAYS},
    **{(state, what): to for state in (State.WAITING, State.PAIRED) for what, to in _ENDS.items()},
    # An ended room changes no more; its sides still fetch mail sent before a close.
    **{(state, what): state for state in ENDINGS for what in (*_STAYS, Input.CLOSE, Input.BURN)},
}


class Refused(Exception):
    """The rendezvous says no, and why. What was asked for changed nothing."""

    def __init__(self, reason: Reason, seconds: int = 0) -> None:
        super().__init__(reason.name.lower())
        self.reason = reason
        self.seconds = seconds


class Side(Discreet, Struct, frozen=True):
    """One of the two. Secrets and mail stay out of its repr.

    Attributes:
        token: what it proves itself with.
        connection: counts its connections; only the newest one speaks for the side.
        away_since: when that connection dropped, None while there is one.
        stored: number of its newest mail.
        taken: number of its newest mail that the other side acknowledged.
        pending: bodies of mail ``taken + 1`` to ``stored``.
    """

    hidden = ("token", "pending")

    token: bytes
    connection: int = 1
    away_since: float | None = None
    stored: int = 0
    taken: int = 0
    pending: tuple[bytes, ...] = ()


class Seat(Discreet, Struct, frozen=True):
    """A connection's place in a room: which side it speaks for, and its own count there."""

    hidden = ("token",)

    index: int
    token: bytes
    connection: int


class Room(Discreet, Struct, frozen=True):
    """Two sides at most, as they stand.

    Attributes:
        key: nameplate, or name.
        sides: who made the room comes first.
        expires: when its lifetime is over.
        ended: when it ended, None while it lives.
        crowded: how many further sides were refused.
    """

    hidden = ("key",)

    key: RoomKey
    sides: tuple[Side, ...]
    expires: float
    state: State = State.WAITING
    ended: float | None = None
    crowded: int = 0

    def size(self) -> int:
        """Bytes of mail that the room keeps."""
        return sum(len(body) for side in self.sides for body in side.pending)

    def deadline(self) -> float:
        """When `handle_timer` is due."""
        if self.ended is not None:
            return self.ended + MEMORY
        away = [side.away_since for side in self.sides if side.away_since is not None]
        patience = ABSENCE_WAITING if self.state is State.WAITING else ABSENCE_PAIRED
        return min([self.expires, *(since + patience for since in away)])

    def handle_timer(self, now: float) -> Room | None:
        """The room after its deadline, None once it may be forgotten."""
        if now < self.deadline():
            return self
        if self.ended is not None:
            return None
        return self._after(Input.EXPIRE if now >= self.expires else Input.ABSENCE, now)

    def enter(self, token: bytes, now: float, *, resume: bool = False) -> tuple[Room, Seat | None]:
        """A side comes in, or comes back over a new connection.

        Returns:
            The room, and the seat; no seat for a third side, which the room has counted.

        Raises:
            Refused: the room has ended, or has no side of this token to resume.
        """
        for index, side in enumerate(self.sides):
            if compare_digest(side.token, token):
                back = replace(side, connection=side.connection + 1, away_since=None)
                seat = Seat(index, token, back.connection)
                return self._after(Input.RETURN, now, sides=self._with(index, back)), seat
        if resume:
            raise Refused(Reason.UNKNOWN)
        if self.state in ENDINGS:
            raise Refused(ENDINGS[self.state])
        if self.state is State.PAIRED:
            return self._after(Input.THIRD, now, crowded=self.crowded + 1), None
        sides = (*self.sides, Side(token))
        expires = max(self.expires, now + PAIRED_LIFETIME)
        return self._after(Input.JOIN, now, sides=sides, expires=expires), Seat(1, token, 1)

    def knows(self, token: bytes) -> bool:
        """Whether a side of this token is in the room."""
        return any(compare_digest(side.token, token) for side in self.sides)

    def replaceable(self) -> bool:
        """Whether a newcomer who knows the name may start the room afresh."""
        away = any(side.away_since is not None for side in self.sides)
        return self.state in ENDINGS or (away and (self.state, Input.REPLACE) in TRANSITIONS)

    def leave(self, seat: Seat, now: float) -> Room:
        """The connection of ``seat`` dropped."""
        if not self.holds(seat):
            return self
        side = replace(self.sides[seat.index], away_since=now)
        return self._after(Input.LEAVE, now, sides=self._with(seat.index, side))

    def send(self, seat: Seat, number: int, body: bytes, now: float) -> Room:
        """Keep mail until the other side acknowledges it; what came before is dropped.

        Raises:
            Refused: a number was left out (MALFORMED), or a limit is passed (OVERFLOW).
        """
        if not self.holds(seat):
            return self
        side = self.sides[seat.index]
        if number <= side.stored:
            return self
        if number > side.stored + 1:
            raise Refused(Reason.MALFORMED)
        if (
            number > MAX_NUMBER
            or len(side.pending) >= WINDOW_MESSAGES
            or sum(map(len, side.pending)) + len(body) > WINDOW_BYTES
        ):
            raise Refused(Reason.OVERFLOW)
        if self.state in ENDINGS:
            return self
        side = replace(side, stored=number, pending=(*side.pending, body))
        return self._after(Input.SEND, now, sides=self._with(seat.index, side))

    def acknowledge(self, seat: Seat, through: int, now: float) -> Room:
        """Forget the other side's mail up to ``through``.

        Raises:
            Refused: there is no such mail (MALFORMED).
        """
        if not self.holds(seat):
            return self
        other = 1 - seat.index
        if other >= len(self.sides) or through > self.sides[other].stored:
            raise Refused(Reason.MALFORMED)
        side = self.sides[other]
        if through <= side.taken:
            return self
        pending = side.pending[through - side.taken :]
        side = replace(side, taken=through, pending=pending)
        return self._after(Input.ACKNOWLEDGE, now, sides=self._with(other, side))

    def close(self, seat: Seat, now: float) -> Room:
        """A side is done. Mail sent before stays for the other one."""
        return self._after(Input.CLOSE, now) if self.holds(seat) else self

    def burn(self, seat: Seat, now: float) -> Room:
        """A wrong guess was made here: keep nothing but that fact."""
        return self._after(Input.BURN, now) if self.holds(seat) else self

    def holds(self, seat: Seat) -> bool:
        """Whether ``seat`` still speaks for its side; a newer connection may have taken over."""
        return (
            seat.index < len(self.sides)
            and self.sides[seat.index].connection == seat.connection
            and compare_digest(self.sides[seat.index].token, seat.token)
        )

    def welcome(self, seat: Seat, now: float) -> Welcome:
        """What to tell a side that has just come in."""
        nameplate = self.key if isinstance(self.key, int) else 0
        expires = max(0, round(self.expires - now))
        return Welcome(nameplate, expires, self.sides[seat.index].stored)

    def _with(self, index: int, side: Side) -> tuple[Side, ...]:
        return (*self.sides[:index], side, *self.sides[index + 1 :])

    def _after(self, what: Input, now: float, **changes: Any) -> Room:
        state = TRANSITIONS[self.state, what]
        if state is not self.state:
            changes["state"] = state
            if state in ENDINGS:
                changes["ended"] = now
            if state in ENDINGS and state is not State.CLOSED:
                changes["sides"] = tuple(replace(side, pending=()) for side in self.sides)
        return replace(self, **changes) if changes else self


def create(key: RoomKey, token: bytes, lifetime: float, now: float) -> tuple[Room, Seat]:
    """A room with its first side in it, for ``lifetime`` seconds."""
    return Room(key, (Side(token),), now + lifetime), Seat(0, token, 1)


class View:
    """What one connection has been told of its room. Level-triggered: it compares, then speaks."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._mail = 0  # number of the newest mail handed out
        self._taken = 0
        self._crowded = 0

    def observe(self, room: Room | None) -> list[ServerMessage]:
        """What to say, given the room as it is now; an `Ended` at the end is the last word."""
        if room is None:
            return [Ended(Reason.UNKNOWN)]
        seat = self._seat
        if not room.holds(seat):
            same = seat.index < len(room.sides) and compare_digest(
                room.sides[seat.index].token, seat.token
            )
            return [Ended(Reason.SUPERSEDED if same else Reason.CLOSED)]
        said: list[ServerMessage] = []
        if len(room.sides) > 1:
            other = room.sides[1 - seat.index]
            first = other.taken + 1
            for number, body in enumerate(other.pending, first):
                if number > self._mail:
                    said.append(Mail(number, body))
            self._mail = max(self._mail, other.stored)
        if room.sides[seat.index].taken > self._taken:
            self._taken = room.sides[seat.index].taken
            said.append(Taken(self._taken))
        if room.crowded > self._crowded:
            self._crowded = room.crowded
            said.append(Crowded(self._crowded))
        if room.state in ENDINGS:
            said.append(Ended(ENDINGS[room.state]))
        return said
