"""One transfer machine over one channel after another: messages in, actions out, timers, the end.

`Exchange` drives a `Sender` or `Receiver` and owns what both sides do alike: packing, pings,
stalls, another link in place of one that broke, giving up. How messages reach the channel is
`outflow`'s, and what an action does to files that of the `Side` it is given. No terminal, no paths.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from p2pxfer.errors import (
    IntegrityError,
    Interrupted,
    LocalFileError,
    NoSpace,
    PeerGone,
    PeerMisbehaved,
    StreamLost,
    TransferError,
)
from p2pxfer.pairing.keys import Role
from p2pxfer.progress import Progress, Reconnecting, Resumed, Stalled
from p2pxfer.session.detour import Detour, FindDirect
from p2pxfer.session.memory import steady
from p2pxfer.session.outflow import Outflow
from p2pxfer.session.side import Side
from p2pxfer.transfer.actions import Done, Lost, Send
from p2pxfer.transfer.continuity import Continuity, PeerRestarted
from p2pxfer.transfer.dialogue import Dialogue, Phase
from p2pxfer.transfer.frames import decode
from p2pxfer.transfer.messages import (
    MIN_MESSAGE,
    AbortCode,
    Activity,
    Data,
    Page,
    Receipt,
    WholeFiles,
)
from p2pxfer.transfer.outbox import Outbox

if TYPE_CHECKING:
    from p2pxfer.peer.channel import Channel
    from p2pxfer.session.link import Link

OUTGOING_LIMIT: Final = 1024 * 1024  # bytes packed ahead of the channel
MOST_WAITING: Final = 32 * 1024 * 1024  # bytes; an honest side owes its peer half of that at most
SLICE: Final = 0.001  # seconds of the machine's deeds before other tasks get the loop
FAREWELL: Final = 3.0  # seconds that the last words may take
LINGER: Final = 10.0  # seconds for a sender to come back for a receipt that it may not have had
MOST_UNHEARD: Final = 64  # messages; whoever begins anew says little before it is answered
SIGN: Final = 1024  # bytes: a message up to that may be signs of life alone
CLOSED: Final = "the connection to the other side broke"


class Ways(Struct, frozen=True):
    """How a link to the same peer is had once more.

    Attributes:
        again: in place of one that broke: takes seconds, None for as long as usual.
        direct: beside one that works, through no relay; None where that is not wanted.
    """

    again: Callable[[float | None], Awaitable[Link]]
    direct: FindDirect | None = None


class Exchange:
    """Drives ``machine`` over ``link``, and over those that replace it, until it is done.

    Args:
        link: to the other side, open.
        machine: a sender or receiver.
        side: what it does beside the machine.
        progress: told of stalls, reconnections and the path that was gone over to.
        ways: to a new link to the same peer; None if there are none.
        continuity: what was said on this link already; none by default.
        unheard: what came over this link already; see the attribute.

    Attributes:
        link: the present one.
        confirmed: the other side is known to have the receipt.
        unheard: messages that came after the other side began anew, for the exchange that follows.
    """

    def __init__(
        self,
        link: Link,
        machine: Dialogue[Any],
        side: Side,
        progress: Progress,
        *,
        ways: Ways | None = None,
        continuity: Continuity | None = None,
        unheard: Sequence[bytes] = (),
    ) -> None:
        self.link = link
        self.confirmed = False
        self.unheard = list(unheard)
        self._machine = machine
        self._side = side
        self._progress = progress
        self._ways = ways
        self._detour = Detour(ways.direct if ways else None, link.keys.role, progress, self.wake)
        self._former: Link | None = None  # that was gone over from, until the other side did, too
        self._continuity = continuity or Continuity()
        self._max_message = max(link.channel.max_message, MIN_MESSAGE)
        self._outbox = Outbox(self._max_message)
        self._outflow = Outflow(link.channel, self._continuity, self._gone, self._closed)
        self._wake = asyncio.Event()
        self._error: BaseException | None = None
        self._cut: TransferError | None = None
        self._receipt: Receipt | None = None
        self._arriving = 0  # of the channel, when it was looked at last

    def wake(self) -> None:
        """Something has become ready: look at it soon."""
        self._wake.set()

    def fail(self, error: BaseException) -> None:
        """End the transfer with ``error``."""
        if self._error is None:
            self._error = error
        self._wake.set()

    def has_room(self) -> bool:
        """Whether more content should be packed now."""
        return self._outflow.waiting < OUTGOING_LIMIT

    def post(self, messages: list[bytes]) -> None:
        """Send full messages of the outbox, in order."""
        if not messages:
            return
        self._outflow.add(messages)
        if self._outflow.waiting > MOST_WAITING:
            self.fail(PeerMisbehaved("the other side asks, and does not take the answers"))

    @property
    def outbox(self) -> Outbox:
        """Where frames are packed."""
        return self._outbox

    async def run(self) -> Receipt:
        """Until the receipt is exchanged.

        Raises:
            PeerRestarted: the other side has nothing of this dialogue any more; the link is well.
            TransferError: whatever ended the transfer early; the other side has been told.
        """
        with steady():
            return await self._run()

    async def close(self) -> None:
        """Close what is still open beside the present link."""
        await self._detour.close()

    async def _run(self) -> Receipt:
        self._outflow.start()
        try:
            if self.link.channel.max_message < MIN_MESSAGE:
                raise PeerMisbehaved("the other side takes no messages of a useful size")
            if self._continuity.attached:
                self._listen(self.link)
            else:
                await self._greet(self.link)
            receipt = await self._drive()
            with contextlib.suppress(TransferError, TimeoutError):  # all is done already
                await asyncio.wait_for(self._outflow.drain(), FAREWELL)
            return receipt
        except PeerRestarted:
            raise
        except BaseException as error:
            self._machine.abort(*_farewell(error))
            with contextlib.suppress(TransferError, TimeoutError):
                self.drain()
                self.post(self._outbox.flush())
                await self._say_farewell()
            raise
        finally:
            await self._outflow.stop()
            self._detour.stop()
            self._leave_former()

    async def _say_farewell(self) -> None:
        """Get the last words across, where the other side listens or, going over, is about to."""
        if self._cut is None and (self._continuity.attached or self._former is not None):
            await asyncio.shield(asyncio.wait_for(self._outflow.drain(), FAREWELL))

    async def _greet(self, link: Link) -> None:
        """Say on a new link where this side stands, and go on over it."""
        if link.channel.max_message < self._max_message:
            raise PeerMisbehaved("the other side came back and takes smaller messages only")
        self.link = link
        await self._outflow.follow(link.channel)
        self._listen(link)

    def _listen(self, link: Link) -> None:
        channel = link.channel
        channel.on_closed(lambda: self._closed(channel))
        unheard, self.unheard = self.unheard, []
        for message in unheard:
            self._take(channel, message)
        channel.on_message(lambda message: self._take(channel, message))
        self._detour.follow(link)

    async def _drive(self) -> Receipt:
        while True:
            self._wake.clear()
            if self._error is not None:
                raise self._error
            if self._cut is not None:
                outcome = await self._go_on(self._cut)
                if outcome is not None:
                    return outcome
            if self._detour.found:
                await self._go_over()
            if self._former is not None and self._continuity.attached:
                self._leave_former()
            more = self.drain()
            if self._receipt is not None:
                self.post(self._outbox.flush())
                self.confirmed = True
                return self._receipt
            if more or self._side.advance(self):
                await asyncio.sleep(0)
                continue
            self.post(self._outbox.flush())
            self._machine.doing = self._side.doing
            if not self.has_room():
                self._machine.doing = Activity.SENDING
            await self._rest()

    async def _go_over(self) -> None:
        """Go on over a direct link that was found beside the present one, which broke nothing.

        Until the other side has said on the new one where it stands, it still listens on the old.
        """
        link, early = self._detour.take()
        smaller = link.channel.max_message < self._max_message
        if smaller or (link.keys.role is Role.A and self._machine.phase >= Phase.CLOSING):
            self._detour.let_go(link)  # what is left is a few words: the other side may have ended
            return
        await self._outflow.stop()  # it may wait for room on the old channel; what it sent is kept
        self._leave_former()
        self._former, self.unheard = self.link, early
        self._machine.reconnected(time.monotonic())
        self._progress.emit(link.path)
        await self._greet(link)
        self._outflow.start()

    def _leave_former(self) -> None:
        if self._former is not None:
            self._detour.let_go(self._former)
            self._former = None

    async def _go_on(self, cut: TransferError) -> Receipt | None:
        """Replace a link that broke; the receipt, if that is all that was missing at the far end.

        Raises:
            TransferError: there is no way to the other side any more.
        """
        outcome = self._side.outcome()
        self._detour.stop()
        self._leave_former()
        await self.link.close()
        if self._ways is None or self.link.channel.error is not None:  # broken on purpose
            if outcome is not None:
                return outcome
            raise cut
        if outcome is None:
            self._progress.emit(Reconnecting("peer", 1))
        seconds = LINGER if outcome is not None else None
        reconnecting = asyncio.ensure_future(self._ways.again(seconds))
        try:
            link = await self._unless_failed(reconnecting)
        except TransferError:
            if outcome is not None:
                return outcome
            raise
        self._cut = None
        self._machine.reconnected(time.monotonic())
        await self._greet(link)
        return None

    async def _unless_failed(self, reconnecting: asyncio.Future[Link]) -> Link:
        """The new link, unless something here ends the transfer meanwhile."""
        try:
            while not reconnecting.done():
                self._wake.clear()
                if self._error is not None:
                    raise self._error
                woken = asyncio.ensure_future(self._wake.wait())
                try:
                    either: set[asyncio.Future[Any]] = {reconnecting, woken}
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    woken.cancel()
            return reconnecting.result()
        finally:
            if not reconnecting.done():
                reconnecting.cancel()
                await asyncio.gather(reconnecting, return_exceptions=True)

    def drain(self) -> bool:
        """Do what the machine asks for, for a short time; whether there is more."""
        machine, now = self._machine, time.monotonic()
        stop = now + SLICE
        while (action := machine.next_action(now)) is not None:
            if isinstance(action, Send):
                self.post(self._outbox.add(action.message))
                if isinstance(action.message, Page):  # two of them take the far loop too long
                    self.post(self._outbox.flush())
            elif isinstance(action, Stalled | Resumed):
                self._progress.emit(action)
            elif isinstance(action, Lost):
                silence = f"nothing was heard from the other side for {action.seconds:.0f} s"
                self._cut_off(self.link.channel, PeerGone(silence))
            elif isinstance(action, Done):
                self._receipt = action.receipt
            else:
                self._side.perform(action)
            if time.monotonic() > stop:
                return True
        return False

    async def _rest(self) -> None:
        now = time.monotonic()
        deadline = self._machine.deadline()
        timeout = None if deadline is None else max(0.0, deadline - now)
        self._outflow.tell(resting=True)
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            now = time.monotonic()
            self._look_for_parts(now)
            self._machine.handle_timer(now)

    def _look_for_parts(self, now: float) -> None:
        """On a slow line one message takes longer than silence may: what came of it is a word."""
        arriving = self.link.channel.arriving
        if arriving != self._arriving:
            self._arriving = arriving
            self._machine.liveness.heard(now)
            self._machine.liveness.moved(now)

    def _gone(self, size: int) -> None:
        """A message of ``size`` bytes was handed to the channel."""
        if size > SIGN:
            self._machine.liveness.moved(time.monotonic())
        if self.has_room():
            self._wake.set()

    def _take(self, channel: Channel, message: bytes) -> None:
        """A message has come over ``channel``."""
        if channel is not self.link.channel:
            return
        if self._error is not None:
            if isinstance(self._error, PeerRestarted) and len(self.unheard) < MOST_UNHEARD:
                self.unheard.append(message)
            return
        self.link.settled()
        now = time.monotonic()
        try:
            again = self._continuity.receive(message)
            if again is not None:
                self._outflow.put_first(again)
                return
            for frame in decode(message):
                self._machine.receive(frame, now)
                if isinstance(frame, Data | WholeFiles) and frame.payload:
                    self._side.take(frame.payload)
        except Exception as error:  # noqa: BLE001  # raised where the transfer is driven
            self.fail(error)
        self._outflow.tell(resting=False)
        self._wake.set()

    def _closed(self, channel: Channel) -> None:
        self._cut_off(channel, channel.error or PeerGone(CLOSED))

    def _cut_off(self, channel: Channel, error: TransferError) -> None:
        """``channel`` carries nothing any more."""
        if channel is self.link.channel and self._cut is None:
            self._cut = error
            self._outflow.cut()
            self._wake.set()


def _farewell(error: BaseException) -> tuple[AbortCode, str]:
    """What to tell the other side of ``error``: no names, no paths."""
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | Interrupted):
        return AbortCode.INTERRUPTED, ""
    if isinstance(error, StreamLost):
        return AbortCode.STREAM_LOST, ""
    if isinstance(error, PeerMisbehaved):
        return AbortCode.MISBEHAVED, error.message
    if isinstance(error, IntegrityError):
        return AbortCode.INTEGRITY, error.message
    if isinstance(error, LocalFileError):
        return AbortCode.LOCAL_FILES, "its disk is full" if isinstance(error, NoSpace) else ""
    return AbortCode.UNEXPECTED, "" if isinstance(error, TransferError) else type(error).__name__
