"""How an association ends with everything delivered: SHUTDOWN and its answers.

RFC 9260 section 9.2. Its timers are here: T2-shutdown, which repeats what was not answered, and
T5-shutdown-guard, which gives up on a peer that is silent. An end at once is association.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2pxfer.sctp.chunks import Shutdown, ShutdownAck, ShutdownComplete
from p2pxfer.sctp.config import State
from p2pxfer.sctp.serial import TSN_MASK

if TYPE_CHECKING:
    from p2pxfer.sctp.association import Association

GUARD: Final = 60.0  # seconds without a word until it is given up (five times RTO.Max in the RFC)
NEXT: Final = {
    State.SHUTDOWN_PENDING: State.SHUTDOWN_SENT,
    State.SHUTDOWN_RECEIVED: State.SHUTDOWN_ACK_SENT,
}


class Closing:
    """One association's orderly end."""

    __slots__ = ("_association", "_guard", "_repeat_at", "_told")

    def __init__(self, association: Association) -> None:
        self._association = association
        self._repeat_at: float | None = None
        self._guard: float | None = None
        self._told = 0  # TSN that the last SHUTDOWN bore

    def advance(self, now: float) -> None:
        """Go on once everything has arrived."""
        association = self._association
        sending = association.sending
        if association.state in NEXT and sending is not None and sending.idle:
            association.enter(NEXT[association.state])
            self._guard = now + GUARD
            self._say(now)

    def _say(self, now: float) -> None:
        """Say that this end is done; again, until it is answered."""
        association = self._association
        sending, inbound = association.sending, association.inbound
        if sending is None or inbound is None:
            return
        self._repeat_at = now + sending.rtt.timeout
        self._told = inbound.cumulative
        if association.state is State.SHUTDOWN_SENT:
            association.control.chunk(Shutdown(inbound.cumulative & TSN_MASK))
        elif association.state is State.SHUTDOWN_ACK_SENT:
            association.control.chunk(ShutdownAck())

    def came(self, now: float) -> None:
        """A batch was read: while the peer still delivers, it is told how far it got."""
        association = self._association
        inbound = association.inbound
        if association.state is not State.SHUTDOWN_SENT or inbound is None:
            return
        if inbound.unreported or inbound.hurry:
            self._guard = now + GUARD
            if inbound.cumulative != self._told:
                self._say(now)

    def peer_shuts_down(self, wire_tsn: int, now: float) -> None:
        """SHUTDOWN came."""
        association = self._association
        if association.sending is None:
            return
        association.sending.acknowledged(wire_tsn)
        if association.state in (State.ESTABLISHED, State.SHUTDOWN_PENDING):
            association.enter(State.SHUTDOWN_RECEIVED)
            association.sending.settle(now)
            self.advance(now)
        elif association.state in (State.SHUTDOWN_SENT, State.SHUTDOWN_ACK_SENT):
            association.enter(State.SHUTDOWN_ACK_SENT)
            self._say(now)

    def peer_acknowledges(self) -> None:
        """SHUTDOWN ACK came."""
        association = self._association
        if association.state in (State.SHUTDOWN_SENT, State.SHUTDOWN_ACK_SENT):
            association.control.chunk(ShutdownComplete())
            association.close("closed", clean=True)

    def peer_is_done(self) -> None:
        """SHUTDOWN COMPLETE came."""
        if self._association.state is State.SHUTDOWN_ACK_SENT:
            self._association.close("closed", clean=True)

    def stop(self) -> None:
        """It is over: nothing is repeated."""
        self._repeat_at = self._guard = None

    def deadlines(self) -> tuple[float | None, float | None]:
        """When `handle_timer` is due."""
        return self._repeat_at, self._guard

    def handle_timer(self, now: float) -> None:
        """See what is due."""
        if self._guard is not None and now >= self._guard:
            self._association.abort(now, "the other side did not answer the shutdown")
        elif self._repeat_at is not None and now >= self._repeat_at:
            self._say(now)
