"""What resets of streams (reconfig.py) ask and change in the rest of an association."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from p2pxfer.sctp.events import Event
from p2pxfer.sctp.inbound import Inbound
from p2pxfer.sctp.outbound import Outbound
from p2pxfer.sctp.scoreboard import Scoreboard
from p2pxfer.sctp.serial import TSN_MASK


class Numbering:
    """The sequence numbers of both directions; no ids mean all streams."""

    __slots__ = ("_board", "_events", "_inbound", "_outbound")

    def __init__(
        self, outbound: Outbound, board: Scoreboard, inbound: Inbound, events: deque[Event]
    ) -> None:
        self._outbound = outbound
        self._board = board
        self._inbound = inbound
        self._events = events

    def last_assigned(self) -> int:
        """Wire TSN that was given out last."""
        return (self._board.next - 1) & TSN_MASK

    def acknowledged(self) -> int:
        """Wire TSN up to which the far end has everything."""
        return (self._board.una - 1) & TSN_MASK

    def cumulative(self) -> int:
        """Wire TSN up to which everything came."""
        return self._inbound.cumulative & TSN_MASK

    def drained(self, stream_id: int) -> bool:
        """Whether a stream has nothing queued without a TSN."""
        return not self._outbound.buffered(stream_id)

    def hold(self, ids: Sequence[int]) -> None:
        """Begin no message of these streams."""
        for stream_id in ids or self._outbound.streams():
            self._outbound.hold(stream_id)

    def release(self, ids: Sequence[int]) -> None:
        """Go on with these streams as they were."""
        for stream_id in ids or self._outbound.streams():
            self._outbound.release(stream_id, reset=False)

    def reset_outgoing(self, ids: Sequence[int]) -> None:
        """Go on with these streams from their first sequence number."""
        for stream_id in ids or self._outbound.streams():
            self._outbound.release(stream_id, reset=True)

    def reset_incoming(self, ids: Sequence[int]) -> None:
        """Expect the first sequence number of these streams next."""
        self._inbound.reset(ids)

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        self._events.append(event)
