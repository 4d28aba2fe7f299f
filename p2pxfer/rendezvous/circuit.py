"""A circuit as one side uses it: messages to the other side and back, through the rendezvous.

`Circuit` has the face of `p2pxfer.peer.channel.Channel`. It knows no keys: frames are sealed and
opened by what it is given, and whatever does not open ends it. How much may be under way is the
`Flow`'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from p2pxfer.errors import (
    IntegrityError,
    PeerGone,
    PeerMisbehaved,
    RendezvousMisbehaved,
    RendezvousUnreachable,
    TransferError,
)
from p2pxfer.rendezvous import refusals
from p2pxfer.rendezvous.duplex import converse
from p2pxfer.rendezvous.flow import Flow
from p2pxfer.rendezvous.link import Link
from p2pxfer.rendezvous.messages import FRAME_OVERHEAD, Credit, Ended, Forward, Frame

MAX_MESSAGE: Final = 256 * 1024  # bytes of a message that is sent, as over a data channel
MOST_QUEUED: Final = 256 * 1024  # bytes in front of the window above which `Circuit.send` waits
CLOSE_GRACE: Final = 0.5  # seconds for what is queued, when closing
RTT_GRACE: Final = 0.5  # seconds for the first round trip to be measured


class Seal(Protocol):
    """Cuts and seals what is sent: `p2pxfer.pairing.stream.FrameSealer`."""

    def greeting(self) -> bytes:
        """The first frame."""

    def seal(self, message: bytes) -> list[bytes]:
        """The frames of a message."""


class Open(Protocol):
    """Opens and joins what comes: `p2pxfer.pairing.stream.FrameOpener`.

    Attributes:
        greeted: the other side's greeting was opened.
    """

    greeted: bool

    def open(self, frame: bytes) -> bytes | None:
        """The message that a frame completes; raises `IntegrityError` for what does not open."""


class Circuit:
    """A channel through the rendezvous. `open` it first, `close` it in the end.

    Args:
        link: to the rendezvous, where the other side has come.
        sealer: seals for it.
        opener: opens what it sealed.
        rate: bytes a second that may be sent now; asked for each frame.

    Attributes:
        max_message: bytes of a message.
        error: why it closed, where that was more than a lost connection.
        arriving: bytes that came of a message whose last frame has not.
        rtt_ms: the round trip of the greeting in milliseconds, None until measured.
    """

    def __init__(
        self, link: Link, sealer: Seal, opener: Open, *, rate: Callable[[], float]
    ) -> None:
        self.max_message = MAX_MESSAGE
        self.error: TransferError | None = None
        self.rtt_ms: float | None = None
        self.arriving = 0
        self._link = link
        self._sealer = sealer
        self._opener = opener
        self._rate = rate
        self._flow = Flow()
        self._queue: deque[bytes] = deque()
        self._queued = 0  # bytes in there
        self._next_turn = 0.0  # when the rate allows another frame
        self._receiver: Callable[[bytes], None] | None = None
        self._early: list[tuple[bytes | None, int]] = []  # with the bytes that they hold up
        self._watchers: list[Callable[[], None]] = []
        self._closed = asyncio.Event()
        self._greeted = asyncio.Event()
        self._measured = asyncio.Event()
        self._moved = asyncio.Event()  # room, credit, or the end
        self._to_write = asyncio.Event()
        self._living: asyncio.Task[None] | None = None

    async def open(self, seconds: float) -> None:
        """Greet the other side, and wait until it has proved to be it.

        Raises:
            PeerGone: it did not within ``seconds``, or left.
            RendezvousMisbehaved: the rendezvous changed what it carried, or somebody else came.
            TransferError: as `error` has it.
        """
        self._put(self._sealer.greeting())
        began = asyncio.get_running_loop().time()
        self._living = asyncio.create_task(self._live())
        waiting = [asyncio.create_task(each.wait()) for each in (self._greeted, self._closed)]
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not self._greeted.is_set() or self.error is not None:
                raise self._gone()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._measured.wait(), RTT_GRACE)
                trip = asyncio.get_running_loop().time() - began
                self.rtt_ms = round(trip * 1000, 2)
        finally:
            for each in waiting:
                each.cancel()

    @property
    def ends(self) -> tuple[str, str]:
        """``host:port`` of this side and of the rendezvous."""
        return self._link.ends

    @property
    def buffered(self) -> int:
        """Bytes queued here that have not left."""
        return self._queued

    def on_message(self, callback: Callable[[bytes], None]) -> None:
        """Hand over what came early, then each message as it arrives."""
        self._receiver = callback
        early, self._early = self._early, []
        for message, size in early:
            self._hand_over(message, size)

    def on_closed(self, callback: Callable[[], None]) -> None:
        """Call back once; soon, if it is closed already."""
        if self._closed.is_set():
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._watchers.append(callback)

    async def send(self, message: bytes) -> None:
        """Queue one message, waiting for room first.

        Raises:
            PeerGone: it is closed.
            ValueError: the message is empty or longer than ``max_message``.
            TransferError: as `error` has it.
        """
        if not 0 < len(message) <= self.max_message:
            error = f"a message of {len(message)} bytes; 1 to {self.max_message} can be sent"
            raise ValueError(error)
        while self._queued > MOST_QUEUED and not self._closed.is_set():
            self._moved.clear()
            await self._moved.wait()
        if self._closed.is_set():
            raise self._gone()
        for frame in self._sealer.seal(message):
            self._put(frame)

    async def drain(self) -> None:
        """Wait until the far end is said to have taken all that was sent.

        Raises:
            PeerGone: it closed before.
        """
        while (self._queue or self._flow.outstanding) and not self._closed.is_set():
            self._moved.clear()
            await self._moved.wait()
        if self._queue or self._flow.outstanding:
            raise self._gone()

    async def close(self) -> None:
        """Leave; what is queued gets a little time. The other side learns it."""
        with contextlib.suppress(TransferError, TimeoutError):
            await asyncio.wait_for(self.drain(), CLOSE_GRACE)
        if self._living is not None:
            self._living.cancel()
            await asyncio.gather(self._living, return_exceptions=True)
        self._mark_closed(None)
        await self._link.close()

    def _put(self, frame: bytes) -> None:
        self._queue.append(frame)
        self._queued += len(frame)
        self._to_write.set()

    def _gone(self) -> TransferError:
        return self.error or PeerGone("the connection through the rendezvous is closed")

    def _mark_closed(self, error: TransferError | None) -> None:
        if self._closed.is_set():
            return
        lost = error is None or isinstance(error, PeerGone | RendezvousUnreachable)
        self.error = None if lost else error
        self._closed.set()
        self._moved.set()
        self._early.clear()
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            asyncio.get_running_loop().call_soon(watcher)

    async def _live(self) -> None:
        """Read and write until one of the two fails."""
        results = await converse(self._read(), self._write())
        # Of two failures, a drop says less: the rendezvous may have had a last word.
        failures = [result for result in results if isinstance(result, TransferError)]
        failures.sort(key=lambda failure: isinstance(failure, RendezvousUnreachable))
        self._mark_closed(failures[0] if failures else None)
        await self._link.close()
        for result in results:
            if not isinstance(result, TransferError):
                raise result

    async def _read(self) -> None:
        while True:
            match await self._link.receive():
                case Frame(body):
                    self._flow.received(body)
                    self._take(body)
                case Credit(size):
                    self._flow.credited(size)
                    self._measured.set()
                    self._moved.set()
                    self._to_write.set()
                case Ended() as ended:
                    raise refusals.on_a_circuit(ended)
                case _:
                    raise RendezvousMisbehaved("the rendezvous speaks of rooms on a circuit")

    async def _write(self) -> None:
        now = asyncio.get_running_loop().time
        turn: float | None = None  # of the first frame in the queue
        while True:
            self._to_write.clear()
            if (told := self._flow.to_tell()) is not None:
                await self._link.send(told)
            frame = self._queue[0] if self._queue else None
            if frame is None or not self._flow.may_send(frame):
                await self._to_write.wait()
                continue
            if turn is None:
                turn = max(self._next_turn, now())
                self._next_turn = turn + len(frame) / self._rate()
            if now() < turn:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._to_write.wait(), turn - now())
                continue
            turn = None
            self._queue.popleft()
            self._queued -= len(frame)
            self._flow.sent(frame)
            self._moved.set()
            await self._link.send(Forward(frame))

    def _take(self, frame: bytes) -> None:
        try:
            message = self._opener.open(frame)
        except PeerMisbehaved:
            raise
        except IntegrityError as error:
            raise RendezvousMisbehaved(
                "the rendezvous changed, lost or repeated what it carried"
            ) from error
        if message is not None:
            self.arriving = 0
        elif self._greeted.is_set():  # no greeting, then
            self.arriving += len(frame)
        if self._opener.greeted:
            self._greeted.set()
        size = len(frame) + FRAME_OVERHEAD
        if message is None or self._receiver is not None:
            self._hand_over(message, size)
        else:
            self._early.append((message, size))

    def _hand_over(self, message: bytes | None, size: int) -> None:
        self._flow.took(size)
        self._to_write.set()
        if message is None:
            return
        assert self._receiver is not None
        try:
            self._receiver(message)
        except Exception as error:  # noqa: BLE001  # it must not end the reading task
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the receiver of a circuit's messages raised", "exception": error}
            )
