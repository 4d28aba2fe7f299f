"""Bytes to and from the peer, in order, with back-pressure. No frames, no signalling here.

`Channel` is all that is known of WebRTC above this room, so that a faster data path can be put
under it. `RtcChannel` is the one over aiortc's data channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from p2pxfer.errors import PeerGone, PeerMisbehaved, TransferError

if TYPE_CHECKING:
    from aiortc import RTCDataChannel

LABEL = "p2pxfer"
HIGH_WATER = 1 << 20  # bytes waiting to be sent above which `Channel.send` waits
LOW_WATER = HIGH_WATER // 2  # bytes at which it goes on
BEST_MESSAGE = 256 * 1024  # bytes; beyond that more is waited for than is saved
MAX_EARLY = 4 << 20  # bytes kept until somebody listens
OVERHEAD = 64  # bytes charged for a message beside its own, so that tiny ones are bounded
LONGEST = 256 * 1024  # bytes of a message that is taken


def accepted(told: int) -> int:
    """Bytes in a message: what the peer says that it takes, but no more than is of use."""
    return min(told or BEST_MESSAGE, BEST_MESSAGE)


class Channel(Protocol):
    """A reliable, ordered way to the peer; both ends share this face.

    Attributes:
        max_message: bytes the other side accepts in one message.
        error: why it closed, where that is worse than a path that was lost.
    """

    max_message: int
    error: TransferError | None

    def on_message(self, callback: Callable[[bytes], None]) -> None:
        """Have each message handed to ``callback``, in order, as it arrives.

        What came earlier is handed over at once. The callback runs on the event loop: it returns
        within a millisecond and doesn't raise.
        """

    def on_closed(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called once, when either side has closed or the path is lost."""

    async def send(self, message: bytes) -> None:
        """Queue one message, first waiting while more than `HIGH_WATER` bytes are queued.

        Raises:
            PeerGone: the channel is closed.
            ValueError: the message is empty or longer than ``max_message``.
        """

    async def drain(self) -> None:
        """Wait until the far transport has acknowledged all that was sent.

        Raises:
            PeerGone: the channel closed before.
        """

    @property
    def buffered(self) -> int:
        """Bytes queued here that the transport has not taken yet."""

    @property
    def arriving(self) -> int:
        """Bytes of a message that has not come whole; 0 where that can't be told.

        On a slow line it is all that shows for many seconds that the other side is there.
        """


class RtcChannel:
    """`Channel` over an open `RTCDataChannel`.

    Args:
        rtc: the channel, open or about to be.
        max_message: bytes that the peer accepts, already bounded.
        acknowledged: waits until nothing that was sent is unacknowledged; None when that can't
            be told.
    """

    def __init__(
        self,
        rtc: RTCDataChannel,
        max_message: int,
        acknowledged: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self.max_message = max_message
        self.error: TransferError | None = None
        self._rtc = rtc
        self._acknowledged = acknowledged
        self._receiver: Callable[[bytes], None] | None = None
        self._early: list[bytes] = []
        self._early_size = 0
        self._watchers: list[Callable[[], None]] = []
        self._closed = asyncio.Event()
        self._room = asyncio.Event()
        rtc.bufferedAmountLowThreshold = LOW_WATER
        rtc.on("message", self._take)
        rtc.on("bufferedamountlow", self._room.set)
        rtc.on("close", self.mark_closed)

    @property
    def buffered(self) -> int:
        """Bytes queued here that the transport has not taken yet."""
        return self._rtc.bufferedAmount

    @property
    def arriving(self) -> int:
        """Bytes of a message that has not come whole; aiortc's own layer takes short ones only."""
        arriving: int = getattr(self._rtc.transport, "arriving", 0)
        return arriving

    @property
    def closed(self) -> asyncio.Event:
        """Set once the channel is closed."""
        return self._closed

    def on_message(self, callback: Callable[[bytes], None]) -> None:
        """Hand over what came early, then each message as it arrives."""
        self._receiver = callback
        early, self._early, self._early_size = self._early, [], 0
        for message in early:
            self._hand_over(message)

    def on_closed(self, callback: Callable[[], None]) -> None:
        """Call back once; soon, if the channel is closed already."""
        if self._closed.is_set():
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._watchers.append(callback)

    async def send(self, message: bytes) -> None:
        """Queue one message, waiting for room first."""
        rtc = self._rtc
        while rtc.bufferedAmount > HIGH_WATER and not self._closed.is_set():
            self._room.clear()
            await self._room.wait()
        if self._closed.is_set() or rtc.readyState != "open":
            raise self._gone()
        if not 0 < len(message) <= self.max_message:
            error = f"a message of {len(message)} bytes; 1 to {self.max_message} can be sent"
            raise ValueError(error)
        rtc.send(message)

    async def drain(self) -> None:
        """Wait until everything is acknowledged, or at least out of this process."""
        if self._acknowledged is None:
            self._rtc.bufferedAmountLowThreshold = 0
            try:
                while self._rtc.bufferedAmount and not self._closed.is_set():
                    self._room.clear()
                    await self._room.wait()
            finally:
                self._rtc.bufferedAmountLowThreshold = LOW_WATER
        else:
            ended = asyncio.ensure_future(self._closed.wait())
            done = asyncio.ensure_future(self._acknowledged())
            try:
                await asyncio.wait({ended, done}, return_when=asyncio.FIRST_COMPLETED)
                if done.done():
                    return
            finally:
                ended.cancel()
                done.cancel()
        if self._closed.is_set():
            raise self._gone()

    def start_closing(self) -> None:
        """Ask for an orderly end: what is queued goes out first."""
        self._rtc.close()

    def mark_closed(self) -> None:
        """The channel carries nothing any more: wake whoever waits and tell whoever watches."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._room.set()
        self._early.clear()
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            asyncio.get_running_loop().call_soon(watcher)

    def misbehaved(self, message: str) -> None:
        """The peer broke the rules of the channel: take nothing more, and close."""
        if self.error is None:
            self.error = PeerMisbehaved(message)
            self.start_closing()
            self.mark_closed()

    def _gone(self) -> TransferError:
        return self.error or PeerGone("the connection to the other side is closed")

    def _take(self, message: bytes | str) -> None:
        if self._closed.is_set():
            return
        if not isinstance(message, bytes):
            self.misbehaved("a text message, where only bytes are spoken")
        elif len(message) > LONGEST:
            self.misbehaved("a message longer than any that is spoken")
        elif self._receiver is not None:
            self._hand_over(message)
        elif self._early_size + len(message) + OVERHEAD > MAX_EARLY:
            self.misbehaved("more was sent before the first answer than can be kept")
        else:
            self._early.append(message)
            self._early_size += len(message) + OVERHEAD

    def _hand_over(self, message: bytes) -> None:
        assert self._receiver is not None
        try:
            self._receiver(message)
        except Exception as error:  # noqa: BLE001  # it must not end aiortc's reading task
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the receiver of a channel's messages raised", "exception": error}
            )
