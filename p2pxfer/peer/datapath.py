"""Runs an SCTP association of ours: time, packets and what it tells, between a lane and channels.

The association itself has no clock and no socket. Here it gets batches and the time at which they
could be read, one timer, and turns of the loop that end within a millisecond: the checks that keep
a path alive (RFC 7675) wait for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from p2pxfer.peer.lanes import Lane
from p2pxfer.sctp.association import Association
from p2pxfer.sctp.channel_events import ChannelEvent, ChannelMessage, ChannelSent
from p2pxfer.sctp.datachannel import DataChannels
from p2pxfer.sctp.events import AllAcknowledged

BLOCKED = 0.005  # seconds between looks at a lane that takes nothing
TURN = 0.0007  # seconds of sending after which others get their turn

_UNANSWERED = (ChannelSent, ChannelMessage, AllAcknowledged)


class DataPath:
    """Drives one association.

    Args:
        association: not yet connected.
        channels: over it; taken from for events.
        on_event: takes each event of the channels.
    """

    def __init__(
        self,
        association: Association,
        channels: DataChannels,
        on_event: Callable[[ChannelEvent], None],
    ) -> None:
        self._association = association
        self._channels = channels
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._lane: Lane | None = None
        self._singles: list[bytes] = []
        self._flush_soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0  # when it goes off; not every loop's timers tell
        self._stopped = False

    def start(self, lane: Lane) -> None:
        """Say the first word."""
        self._lane = lane
        self._association.connect(self._loop.time())
        self.flush()

    def receive(self, packets: Sequence[bytes], now: float) -> None:
        """Take what was decrypted, and answer."""
        if not self._stopped:
            self._association.receive(packets, now)
            self.flush()

    def receive_single(self, packet: bytes) -> None:
        """Take one packet; those of one turn of the loop go together."""
        self._singles.append(packet)
        if len(self._singles) == 1:
            self._loop.call_soon(self._receive_singles, self._loop.time())

    def soon(self) -> None:
        """Send what was queued at the end of this turn of the loop."""
        if self._flush_soon is None and not self._stopped:
            self._flush_soon = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what may leave, tell what happened, and set the timer."""
        if self._flush_soon is not None:
            self._flush_soon.cancel()
            self._flush_soon = None
        if self._stopped:
            return
        self._transmit()  # first of all what the far end waits for
        while self._tell():
            self._transmit()
        self._arm()

    async def stop(self, reason: str) -> None:
        """End the association, tell the far end, and let go of everything."""
        if not self._stopped:
            self._association.abort(self._loop.time(), reason)
            self.flush()
        self.halt()
        if self._lane is not None:
            await self._lane.stop()

    def halt(self) -> None:
        """Do nothing any more."""
        self._stopped = True
        for handle in (self._timer, self._flush_soon):
            if handle is not None:
                handle.cancel()
        self._timer = self._flush_soon = None

    def _receive_singles(self, now: float) -> None:
        packets, self._singles = self._singles, []
        self.receive(packets, now)

    def _tell(self) -> bool:
        """Tell what happened; returns whether that may have left something to be sent at once."""
        answered = False
        while (event := self._channels.next_event()) is not None:
            answered = answered or not isinstance(event, _UNANSWERED)
            try:
                self._on_event(event)
            except Exception as error:  # noqa: BLE001  # whoever listens must not stop the rest
                self._loop.call_exception_handler(
                    {"message": "a data channel's listener raised", "exception": error}
                )
        return answered and not self._stopped

    def _transmit(self) -> None:
        lane, transmit, clock = self._lane, self._association.transmit, self._loop.time
        assert lane is not None
        now = clock()
        end = now + TURN
        while not lane.blocked:
            flight = transmit(now)
            if flight is None:
                return
            lane.send(flight.packets, whole=not flight.fragmentable)
            now = clock()
            if now > end:
                self.soon()
                return

    def _arm(self) -> None:
        """One timer, set anew only if it would be late: an early one finds nothing to do."""
        at, timer = self._association.deadline(), self._timer
        if at is None or self._stopped or self._flush_soon is not None:
            return
        if self._lane is not None and self._lane.blocked:
            at = max(at, self._loop.time() + BLOCKED)  # whatever is due, there is no room for it
        if timer is not None:
            if self._due_at <= at:
                return
            timer.cancel()
        self._due_at = at
        self._timer = self._loop.call_at(at, self._due)

    def _due(self) -> None:
        self._timer = None
        now = self._loop.time()
        at = self._association.deadline()
        if at is not None and at <= now:
            self._association.handle_timer(now)
            self.flush()
        else:
            self._arm()
