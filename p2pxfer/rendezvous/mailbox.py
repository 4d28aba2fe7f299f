"""A side's own end of its mail: numbers it, keeps it until taken, tells repeats apart.

Without I/O: a `Room` feeds it what comes from the rendezvous and writes what it says. It lives as
long as the room, over any number of connections. What is in the mail it does not know.
"""

from __future__ import annotations

from collections import deque

from p2pxfer.errors import RendezvousMisbehaved, RoomRefused
from p2pxfer.rendezvous.messages import (
    MAX_BODY,
    MAX_NUMBER,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    Acknowledge,
    Mail,
    Send,
    Taken,
    Welcome,
)


class Mailbox:
    """Mail out and mail in. Each piece reaches the far `take` once, in order."""

    def __init__(self) -> None:
        self._out: deque[bytes] = deque()  # numbers taken + 1 to sent
        self._out_size = 0
        self._sent = 0
        self._taken = 0
        self._written = 0  # newest number that this connection, or the rendezvous, has
        self._in: deque[bytes] = deque()  # up to number received
        self._in_size = 0
        self._received = 0
        self._acknowledged = 0  # newest number that this connection was told of

    def may_send(self, size: int) -> bool:
        """Whether ``size`` bytes more may wait for the other side."""
        return len(self._out) < WINDOW_MESSAGES and self._out_size + size <= WINDOW_BYTES

    def send(self, body: bytes) -> None:
        """Take ``body`` for the other side; ask `may_send` before.

        Raises:
            ValueError: it is empty or longer than `MAX_BODY`.
            RoomRefused: the room has carried all that a room may.
        """
        if not 1 <= len(body) <= MAX_BODY:
            raise ValueError(f"mail has 1 to {MAX_BODY} bytes, not {len(body)}")
        if self._sent == MAX_NUMBER:
            raise RoomRefused("the room has carried as much mail as a room may")
        self._sent += 1
        self._out.append(body)
        self._out_size += len(body)

    def take(self) -> bytes | None:
        """The other side's next mail, which thereby is acknowledged; None if there is none."""
        if not self._in:
            return None
        body = self._in.popleft()
        self._in_size -= len(body)
        return body

    def connected(self, welcome: Welcome) -> None:
        """A connection is up; what the rendezvous lacks is said again by `next_message`.

        Raises:
            RendezvousMisbehaved: it has mail that was never sent, or lost some that was taken.
        """
        if not self._taken <= welcome.stored <= self._sent:
            raise RendezvousMisbehaved("the rendezvous miscounts the mail of this side")
        self._written = welcome.stored
        self._acknowledged = 0

    def receive(self, message: Mail | Taken) -> None:
        """Take what the rendezvous says of mail.

        Raises:
            RendezvousMisbehaved: out of order, more than may wait, or mail taken that never was.
        """
        if isinstance(message, Taken):
            self._forget(message.through)
            return
        if message.number <= self._received:
            return
        if message.number != self._received + 1:
            raise RendezvousMisbehaved("the rendezvous left out mail")
        if len(self._in) == WINDOW_MESSAGES or self._in_size + len(message.body) > WINDOW_BYTES:
            raise RendezvousMisbehaved("the rendezvous sends more mail than may wait")
        self._received += 1
        self._in.append(message.body)
        self._in_size += len(message.body)

    def next_message(self) -> Acknowledge | Send | None:
        """What to write next on this connection, None if all is said."""
        took = self._received - len(self._in)
        if took > self._acknowledged:
            self._acknowledged = took
            return Acknowledge(took)
        if self._written < self._sent:
            self._written += 1
            return Send(self._written, self._out[self._written - self._taken - 1])
        return None

    def _forget(self, through: int) -> None:
        if through > self._written:
            raise RendezvousMisbehaved("the rendezvous says that mail was taken before it was sent")
        while self._taken < through:
            self._out_size -= len(self._out.popleft())
            self._taken += 1
