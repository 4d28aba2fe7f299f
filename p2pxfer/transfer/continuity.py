"""Continuity: what lets a transfer outlive its channel.

Each side counts the messages that it hands to channels, and keeps those that the other side has not
said it had. On a new channel both first say how many they have had; what is missing is sent again,
in order, and the dialogue above notices nothing. `Attach` and `Received` are not counted. A side
that was started again says so, and the dialogue begins anew. No channel and no clock in here.

Whoever owns the channels says `attach` once for each, and from then on gives `receive` only what
comes over that one. Before `attached` nothing is sent but what these two return.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.transfer.frames import LINK_TYPES, decode, encode
from p2pxfer.transfer.messages import Attach, Received

TELL_EVERY: Final = 2 * 1024 * 1024  # bytes had until the other side is told
KEEP: Final = 16 * 1024 * 1024  # bytes kept for the other side, beyond which nothing more is sent
OVERHEAD: Final = 64  # bytes charged for a message beside its own, so that tiny ones are bounded


class PeerRestarted(Exception):
    """The other side was started again: it has nothing of this dialogue, and waits for a new one.

    `Continuity.begun` goes on over the same channel; its `attach` is what to send first.
    """


class Continuity:
    """One side's count of a dialogue, over all its channels.

    Attributes:
        attached: both sides have said where they stand on the present channel.
    """

    __slots__ = (
        "_acknowledged",
        "_awaited",
        "_entered",
        "_kept",
        "_kept_size",
        "_received",
        "_told",
        "_untold_size",
        "_waiting",
        "attached",
    )

    def __init__(self) -> None:
        self.attached = False
        self._entered = False  # it was attached on some channel: messages may have passed
        self._awaited = False  # the other side has said where it stands, and waits for this one
        self._waiting = False  # the other way round: it will begin anew, and say so
        self._kept: deque[bytes] = deque()
        self._kept_size = 0
        self._acknowledged = 0  # messages, the first that is kept follows
        self._received = 0
        self._told = 0
        self._untold_size = 0

    @classmethod
    def begun(cls) -> Continuity:
        """For a dialogue that begins anew on the channel where `PeerRestarted` was raised."""
        continuity = cls()
        continuity._awaited = True
        return continuity

    def attach(self) -> bytes:
        """A channel is open, or begins anew: what to send first on it."""
        greeting = encode(Attach(self._received, fresh=not self._entered))
        self._told, self._untold_size = self._received, 0
        self.attached = self._awaited
        self._entered |= self._awaited
        self._awaited = self._waiting = False
        return greeting

    def may_send(self) -> bool:
        """Whether one more message can be kept."""
        return self._kept_size < KEEP

    def sent(self, message: bytes) -> None:
        """This message is about to be handed to the channel, or would be if there were one."""
        self._kept.append(message)
        self._kept_size += len(message) + OVERHEAD

    def receive(self, message: bytes) -> list[bytes] | None:
        """Take a message of the channel.

        Returns:
            None if it belongs to the dialogue; else what to send now, ahead of anything new.

        Raises:
            PeerRestarted: the other side begins anew, and this side has to.
            PeerMisbehaved: it stands where it can't.
        """
        if not message or message[0] not in LINK_TYPES:
            if not self.attached:
                raise PeerMisbehaved("the other side began a channel without a word")
            self._received += 1
            self._untold_size += len(message) + OVERHEAD
            return None
        match list(decode(message)):
            case [Attach() as attach] if not self.attached:
                return self._attach(attach)
            case [Received(count)] if self.attached:
                self._forget(count)
                return []
            case _:
                raise PeerMisbehaved("the other side said out of turn where it stands")

    def to_tell(self, *, idle: bool) -> bytes | None:
        """What to tell the other side of what has been had; ``idle``: nothing else is going out."""
        news = self._received != self._told and (idle or self._untold_size >= TELL_EVERY)
        if not (news and self.attached):
            return None
        self._told, self._untold_size = self._received, 0
        return encode(Received(self._received))

    def _attach(self, attach: Attach) -> list[bytes]:
        if (attach.fresh and attach.received) or (self._waiting and not attach.fresh):
            raise PeerMisbehaved("the other side stands where it can't")
        answer: list[bytes] = []
        if not attach.fresh:
            if not self._entered:  # it goes on with what this side was before it was started again
                self._waiting = True
                return answer
            self._forget(attach.received)
        elif self._received or self._acknowledged:
            raise PeerRestarted
        elif self._entered:  # nothing has passed yet: this is a beginning for both
            answer.append(encode(Attach(0, fresh=True)))
        self.attached = self._entered = True
        self._waiting = False
        return [*answer, *self._kept]

    def _forget(self, count: int) -> None:
        if not self._acknowledged <= count <= self._acknowledged + len(self._kept):
            raise PeerMisbehaved("the other side has had messages that were never sent")
        while self._acknowledged < count:
            self._kept_size -= len(self._kept.popleft()) + OVERHEAD
            self._acknowledged += 1
