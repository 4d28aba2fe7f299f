"""Both ends of the mail and the room between them, under any interleaving."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2pxfer.errors import RendezvousMisbehaved, RoomRefused
from p2pxfer.rendezvous import encoding
from p2pxfer.rendezvous import messages as wire
from p2pxfer.rendezvous.mailbox import Mailbox
from p2pxfer.rendezvous.messages import Acknowledge, Mail, Send, Taken, Welcome
from p2pxfer.rendezvous.server.rooms import Room, Seat, View, create

TOKENS = (b"a" * 16, b"b" * 16)


@dataclass
class Connection:
    """Messages under way between one side and the room, both directions in order."""

    seat: Seat
    view: View
    up: deque[bytes] = field(default_factory=deque)
    down: deque[bytes] = field(default_factory=deque)


@dataclass
class End:
    """One side: its mailbox, its connection if there is one, and what people sent and got."""

    mailbox: Mailbox = field(default_factory=Mailbox)
    connection: Connection | None = None
    sent: list[bytes] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)


class Post(RuleBasedStateMachine):
    """Each message reaches the other side exactly once and in order, whatever happens between.

    Connections drop with messages under way, an old connection's messages reach the room after
    a newer one is up, and the room hears things twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ends = (End(), End())
        self.late: list[Connection] = []  # dropped by the client; the server has yet to notice
        self.room: Room
        self.room, _ = create(7, TOKENS[0], 1e9, 0)
        self.count = 0
        for side in (0, 1):
            self.connect(side)

    side = st.sampled_from((0, 1))

    @rule(side=side, size=st.integers(1, 40))
    def send(self, side: int, size: int) -> None:
        end = self.ends[side]
        body = f"{self.count}:".encode() + bytes(size)
        if end.mailbox.may_send(len(body)):
            self.count += 1
            end.mailbox.send(body)
            end.sent.append(body)

    @rule(side=side)
    def take(self, side: int) -> None:
        end = self.ends[side]
        if (body := end.mailbox.take()) is not None:
            end.got.append(body)

    @rule(side=side)
    def connect(self, side: int) -> None:
        self.drop(side)
        self.room, seat = self.room.enter(TOKENS[side], self.now)
        assert seat is not None
        end = self.ends[side]
        end.mailbox.connected(self.room.welcome(seat, self.now))
        end.connection = Connection(seat, View(seat))

    @rule(side=side)
    def drop(self, side: int) -> None:
        end = self.ends[side]
        if end.connection is not None:
            self.late.append(end.connection)
            end.connection = None

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def notice(self, data: st.DataObject) -> None:
        gone = self.late.pop(data.draw(st.integers(0, len(self.late) - 1)))
        for message in gone.up:
            self.hear(gone, message)
        self.room = self.room.leave(gone.seat, self.now)

    @rule(side=side, count=st.integers(1, 5))
    def write(self, side: int, count: int) -> None:
        end = self.ends[side]
        if end.connection is None:
            return
        for _ in range(count):
            if (message := end.mailbox.next_message()) is None:
                break
            end.connection.up.append(encoding.encode(message))

    @rule(side=side, count=st.integers(1, 5), twice=st.booleans())
    def reach_server(self, side: int, count: int, twice: bool) -> None:
        connection = self.ends[side].connection
        for _ in range(count):
            if connection is None or not connection.up:
                return
            message = connection.up.popleft()
            self.hear(connection, message)
            if twice:
                self.hear(connection, message)

    @rule(side=side)
    def speak(self, side: int) -> None:
        connection = self.ends[side].connection
        if connection is not None:
            connection.down.extend(map(encoding.encode, connection.view.observe(self.room)))

    @rule(side=side, count=st.integers(1, 5), twice=st.booleans())
    def reach_client(self, side: int, count: int, twice: bool) -> None:
        end = self.ends[side]
        for _ in range(count):
            if end.connection is None or not end.connection.down:
                return
            message = encoding.decode_server(end.connection.down.popleft())
            assert isinstance(message, Mail | Taken)
            end.mailbox.receive(message)
            if twice:
                end.mailbox.receive(message)

    @rule()
    def flow(self) -> None:
        """All that is under way arrives, and what that leads to, as on a good line."""
        for side in (0, 1, 0, 1):
            self.write(side, 100)
            self.reach_server(side, 100, twice=False)
            for other in (0, 1):
                self.speak(other)
                self.reach_client(other, 100, twice=False)

    def hear(self, connection: Connection, data: bytes) -> None:
        match encoding.decode_client(data):
            case Send(number, body):
                self.room = self.room.send(connection.seat, number, body, self.now)
            case Acknowledge(through):
                self.room = self.room.acknowledge(connection.seat, through, self.now)
            case other:
                raise AssertionError(other)

    @invariant()
    def in_order_and_once(self) -> None:
        for end, other in (self.ends, self.ends[::-1]):
            assert end.got == other.sent[: len(end.got)]

    def teardown(self) -> None:
        for side in (0, 1):
            self.connect(side)
        for _ in range(3 * self.count + 10):
            self.flow()
            for side in (0, 1):
                self.take(side)
        self.flow()
        for end, other in (self.ends, self.ends[::-1]):
            assert end.got == other.sent
        assert self.room.size() == 0


TestPost = Post.TestCase
TestPost.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)


def connected() -> Mailbox:
    mailbox = Mailbox()
    mailbox.connected(Welcome(7, 60, 0))
    return mailbox


def test_what_waits_for_the_other_side_is_bounded():
    """A side asks first, and mail that is taken makes room."""
    mailbox = connected()
    for _ in range(wire.WINDOW_MESSAGES):
        assert mailbox.may_send(1)
        mailbox.send(b"x")
        mailbox.next_message()
    assert not mailbox.may_send(1)
    mailbox.receive(Taken(1))
    assert mailbox.may_send(1)
    assert not mailbox.may_send(wire.WINDOW_BYTES)


def test_an_acknowledgement_that_was_lost_is_said_again():
    """Or the other side would wait for ever to send more."""
    mailbox = connected()
    mailbox.receive(Mail(1, b"x"))
    mailbox.take()
    assert mailbox.next_message() == Acknowledge(1)
    assert mailbox.next_message() is None
    mailbox.connected(Welcome(7, 60, 0))
    assert mailbox.next_message() == Acknowledge(1)


@pytest.mark.parametrize("body", [b"", bytes(wire.MAX_BODY + 1)])
def test_a_body_of_no_length_is_refused(body):
    """Before anything is numbered."""
    with pytest.raises(ValueError, match="mail has 1 to"):
        connected().send(body)


def test_a_room_carries_so_much_and_no_more():
    """The error is one of the tree, since a long session may meet it."""
    mailbox = connected()
    for number in range(1, wire.MAX_NUMBER + 1):
        mailbox.send(b"x")
        mailbox.next_message()
        mailbox.receive(Taken(number))
    with pytest.raises(RoomRefused, match="as much mail"):
        mailbox.send(b"x")


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (Mail(2, b"x"), "left out"),
        (Taken(1), "before it was sent"),
    ],
)
def test_a_rendezvous_that_miscounts_is_caught(message, complaint):
    """Mail left out, or taken before it was sent."""
    mailbox = connected()
    with pytest.raises(RendezvousMisbehaved, match=complaint):
        mailbox.receive(message)


@pytest.mark.parametrize("body", [b"x", bytes(wire.MAX_BODY)], ids=len)
def test_a_rendezvous_that_floods_is_caught(body):
    """No more is held for a side that does not take than an honest rendezvous would send."""
    mailbox = connected()
    most = min(wire.WINDOW_MESSAGES, wire.WINDOW_BYTES // len(body))
    for number in range(1, most + 1):
        mailbox.receive(Mail(number, body))
    with pytest.raises(RendezvousMisbehaved, match="more mail than may wait"):
        mailbox.receive(Mail(most + 1, body))


@pytest.mark.parametrize("stored", [0, 3])
def test_a_rendezvous_that_forgot_or_invented_mail_is_caught(stored):
    """What it says after a reconnection must fit what was sent and taken."""
    mailbox = connected()
    for _ in range(2):
        mailbox.send(b"x")
        mailbox.next_message()
    mailbox.receive(Taken(1))
    with pytest.raises(RendezvousMisbehaved, match="miscounts"):
        mailbox.connected(Welcome(7, 60, stored))
