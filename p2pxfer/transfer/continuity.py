"""Continuity: what lets a transfer outlive its channel.

Each side counts the messages that it hands to channels, and keeps those that the other side has not
said it had. On a new channel both first say how many they have had; what is missing is sent again,
in order, and the dialogue above notices nothing. `Attach` and `Received` are not counted. A side
that was started again says so, and the dialogue begins anew. No channel and no clock in here.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.transfer.frames import LINK_TYPES, decode, encode
from p2pxfer.transfer.messages import Attach, Received

TELL_EVERY: Final = 512 * 1024  # bytes had until the other side is told
KEEP: Final = 16 * 1024 * 1024  # bytes kept for the other side, beyond which nothing more is sent


class PeerRestarted(Exception):
    """The other side was started again: it has nothing of this dialogue."""


class Continuity:
    """One side's count of a dialogue, over all its channels.

    Attributes:
        attached: both sides have said where they stand on the present channel.
    """

    def __init__(self) -> None:
        self.attached = False
        self._kept: deque[bytes] = deque()
        self._kept_size = 0
        self._acknowledged = 0  # messages, the first that is kept follows
        self._received = 0
        self._told = 0
        self._untold_size = 0
        self._channels = 0

    @classmethod
    def begun(cls) -> Continuity:
        """For a dialogue that begins anew on a channel where both sides have said where they stand.

        That is what `PeerRestarted` leaves.
        """
        continuity = cls()
        continuity.attached = True
        continuity._channels = 1
        return continuity

    def attach(self) -> bytes:
        """A new channel is open: what to send first on it."""
        self.attached = False
        self._channels += 1
        self._told, self._untold_size = self._received, 0
        return encode(Attach(self._received, fresh=self._channels == 1))

    def may_send(self) -> bool:
        """Whether one more message can be kept."""
        return self._kept_size < KEEP

    def sent(self, message: bytes) -> None:
        """This message is about to be handed to the channel, or would be if there were one."""
        self._kept.append(message)
        self._kept_size += len(message)

    def receive(self, message: bytes) -> list[bytes] | None:
        """Take a message of the channel.

        Returns:
            None if it belongs to the dialogue; else what to send again, usually nothing.

        Raises:
            PeerRestarted: the other side begins anew, and this side has to.
            PeerMisbehaved: it stands where it can't.
        """
        if not message or message[0] not in LINK_TYPES:
            if not self.attached:
                raise PeerMisbehaved("the other side began a channel without a word")
            self._received += 1
            self._untold_size += len(message)
            return None
        match list(decode(message)):
            case [Attach() as attach]:
                return self._attach(attach)
            case [Received(count)] if self.attached:
                self._forget(count)
                return []
            case _:
                raise PeerMisbehaved("the other side said out of turn where it stands")

    def to_tell(self, *, idle: bool) -> bytes | None:
        """What to tell the other side of what has been had; ``idle``: nothing else is going out."""
        if self._received == self._told or not (idle or self._untold_size >= TELL_EVERY):
            return None
        self._told, self._untold_size = self._received, 0
        return encode(Received(self._received))

    def _attach(self, attach: Attach) -> list[bytes]:
        if self.attached:
            raise PeerMisbehaved("the other side began a channel twice")
        first = self._channels == 1
        if attach.fresh and not first:
            raise PeerRestarted
        if first:
            if not attach.fresh:  # it goes on, and this side was started again: it will begin anew
                attach = Attach(0, fresh=True)
            elif attach.received:
                raise PeerMisbehaved("the other side has had messages that were never sent")
        self._forget(attach.received)
        self.attached = True
        return list(self._kept)

    def _forget(self, count: int) -> None:
        if not self._acknowledged <= count <= self._acknowledged + len(self._kept):
            raise PeerMisbehaved("the other side has had messages that were never sent")
        while self._acknowledged < count:
            self._kept_size -= len(self._kept.popleft())
            self._acknowledged += 1
