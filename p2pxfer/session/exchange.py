"""One transfer machine over one channel: messages in, actions out, timers, the end.

`Exchange` drives a `Sender` or `Receiver` and owns everything that both sides do alike: packing,
pumping, pings, stalls, giving up. What an action does to files is the business of the `Side` that
it is given. No terminal, no paths.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from p2pxfer.errors import (
    IntegrityError,
    Interrupted,
    LocalFileError,
    PeerGone,
    PeerMisbehaved,
    TransferError,
)
from p2pxfer.progress import Progress, Resumed, Stalled
from p2pxfer.transfer.actions import Done, Lost, Send
from p2pxfer.transfer.dialogue import Dialogue
from p2pxfer.transfer.frames import decode
from p2pxfer.transfer.messages import AbortCode, Activity, Data, Receipt
from p2pxfer.transfer.outbox import Outbox

if TYPE_CHECKING:
    from p2pxfer.session.connect import Link

OUTGOING_LIMIT: Final = 1024 * 1024  # bytes packed ahead of the channel
FAREWELL: Final = 3.0  # seconds that the last words may take


class Side(Protocol):
    """What a sender or receiver does beside the machine.

    Attributes:
        doing: what it is at, where the machine can't know: a prompt.
    """

    doing: Activity | None

    def perform(self, action: Any) -> None:
        """Begin what the machine asks for; must not block."""

    def advance(self, exchange: Exchange) -> bool:
        """Answer the machine with whatever has become ready; whether anything was answered."""

    def take(self, payload: bytes | memoryview) -> None:
        """Bytes of content have arrived."""


class Exchange:
    """Drives ``machine`` over ``channel`` until it is done."""

    def __init__(self, link: Link, machine: Dialogue[Any], side: Side, progress: Progress) -> None:
        self._link = link
        self._channel = channel = link.channel
        self._machine = machine
        self._side = side
        self._progress = progress
        self._outbox = Outbox(channel.max_message)
        self._outgoing: deque[bytes] = deque()
        self._waiting = 0  # bytes in there
        self._wake = asyncio.Event()
        self._pour = asyncio.Event()
        self._empty = asyncio.Event()
        self._error: BaseException | None = None
        self._receipt: Receipt | None = None

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
        return self._waiting < OUTGOING_LIMIT

    def post(self, messages: list[bytes]) -> None:
        """Send full messages of the outbox, in order."""
        for message in messages:
            self._outgoing.append(message)
            self._waiting += len(message)
        if messages:
            self._pour.set()

    @property
    def outbox(self) -> Outbox:
        """Where frames are packed."""
        return self._outbox

    async def run(self) -> Receipt:
        """Until the receipt is exchanged.

        Raises:
            TransferError: whatever ended the transfer early; the other side has been told.
        """
        self._channel.on_closed(self._on_closed)
        self._channel.on_message(self._on_message)
        pump = asyncio.create_task(self._pump())
        try:
            receipt = await self._drive()
            await self._last_words(pump)
            return receipt
        except BaseException as error:
            self._machine.abort(*_farewell(error))
            self.drain()
            self.post(self._outbox.flush())
            with contextlib.suppress(TransferError, TimeoutError):
                await asyncio.shield(asyncio.wait_for(self._last_words(pump), FAREWELL))
            raise
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, TransferError):
                await pump

    async def _drive(self) -> Receipt:
        while True:
            self._wake.clear()
            if self._error is not None:
                raise self._error
            self.drain()
            if self._receipt is not None:
                self.post(self._outbox.flush())
                return self._receipt
            if self._side.advance(self):
                await asyncio.sleep(0)
                continue
            self.post(self._outbox.flush())
            self._machine.doing = self._side.doing
            if not self.has_room():
                self._machine.doing = Activity.SENDING
            await self._rest()

    def drain(self) -> None:
        """Do what the machine asks for, until it asks for nothing more."""
        machine, now = self._machine, time.monotonic()
        while (action := machine.next_action(now)) is not None:
            if isinstance(action, Send):
                self.post(self._outbox.add(action.message))
            elif isinstance(action, Stalled | Resumed):
                self._progress.emit(action)
            elif isinstance(action, Lost):
                raise PeerGone(f"nothing was heard from the other side for {action.seconds:.0f} s")
            elif isinstance(action, Done):
                self._receipt = action.receipt
            else:
                self._side.perform(action)

    async def _rest(self) -> None:
        deadline = self._machine.deadline()
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            self._machine.handle_timer(time.monotonic())

    async def _pump(self) -> None:
        while True:
            while self._outgoing:
                message = self._outgoing.popleft()
                try:
                    await self._channel.send(message)
                except TransferError as error:
                    self.fail(error)
                    self._empty.set()
                    return
                self._waiting -= len(message)
                self._machine.liveness.moved(time.monotonic())
                if self._waiting < OUTGOING_LIMIT:
                    self._wake.set()
            self._empty.set()
            self._pour.clear()
            await self._pour.wait()

    async def _last_words(self, pump: asyncio.Task[None]) -> None:
        """Wait until everything packed has been acknowledged by the far end."""
        self._empty.clear()
        if self._outgoing and not pump.done():
            self._pour.set()
            await self._empty.wait()
        await self._channel.drain()

    def _on_message(self, message: bytes) -> None:
        if self._error is not None:
            return
        self._link.settled()
        now = time.monotonic()
        try:
            for frame in decode(message):
                self._machine.receive(frame, now)
                if isinstance(frame, Data):
                    self._side.take(frame.payload)
        except TransferError as error:
            self.fail(error)
        self._wake.set()

    def _on_closed(self) -> None:
        self.fail(PeerGone("the other side closed the connection before the transfer was over"))


def _farewell(error: BaseException) -> tuple[AbortCode, str]:
    """What to tell the other side of ``error``: no names, no paths."""
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | Interrupted):
        return AbortCode.INTERRUPTED, ""
    if isinstance(error, PeerMisbehaved):
        return AbortCode.MISBEHAVED, error.message
    if isinstance(error, IntegrityError):
        return AbortCode.INTEGRITY, error.message
    if isinstance(error, LocalFileError):
        return AbortCode.LOCAL_FILES, type(error).__name__
    return AbortCode.UNEXPECTED, type(error).__name__
