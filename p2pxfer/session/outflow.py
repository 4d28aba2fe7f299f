"""What goes out: packed messages, handed to one channel after another as fast as it takes them.

`Outflow` queues what is said, and before it what the last channel may have lost, and signs of what
this side has had; a task of its own waits for room on the channel. What a message means is not
known here, nor when a channel is given up and how another one is had: its owner says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from p2pxfer.errors import TransferError
from p2pxfer.transfer.continuity import Continuity

if TYPE_CHECKING:
    from p2pxfer.peer.channel import Channel

OVERHEAD: Final = 64  # bytes charged for a message beside its own, so that tiny ones are bounded
TELL_PAUSE: Final = 0.5  # seconds between two signs of what has been had, when little comes


class Outflow:
    """Messages on their way to the present channel.

    Args:
        channel: the first one, open.
        continuity: counts and keeps what is handed over; nothing is before it is attached.
        gone: called with the bytes of each message that a channel took.
        broken: called with a channel that takes none any more; it is to call `cut`.
    """

    def __init__(
        self,
        channel: Channel,
        continuity: Continuity,
        gone: Callable[[int], None],
        broken: Callable[[Channel], None],
    ) -> None:
        self._channel: Channel | None = channel
        self._continuity = continuity
        self._gone = gone
        self._broken = broken
        self._queue: deque[bytes] = deque()
        self._waiting = 0
        self._first: deque[bytes] = deque()  # what goes before the queue, and is not counted
        self._pour = asyncio.Event()
        self._empty = asyncio.Event()
        self._told_at = 0.0
        self._pumping: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Bytes that no channel has taken yet, each message's overhead among them."""
        return self._waiting

    def add(self, messages: Iterable[bytes]) -> None:
        """Queue messages of the dialogue, in order."""
        for message in messages:
            self._queue.append(message)
            self._waiting += len(message) + OVERHEAD
        self._pour.set()

    def put_first(self, messages: Iterable[bytes]) -> None:
        """Send what the continuity gives before all that is queued."""
        self._first.extend(messages)
        self._pour.set()

    def tell(self, *, resting: bool) -> None:
        """Say how much has been had, now and then, so that the other side may forget it.

        Args:
            resting: nothing else is going on; otherwise it is said only if it is much.
        """
        if not self._continuity.attached:
            return
        idle = resting and time.monotonic() - self._told_at >= TELL_PAUSE
        sign = self._continuity.to_tell(idle=idle)
        if sign is not None:
            self._told_at = time.monotonic()
            self.put_first((sign,))

    def start(self) -> None:
        """Begin to hand over."""
        self._pumping = asyncio.create_task(self._pump())

    async def stop(self) -> None:
        """Hand over nothing more; what was not is still queued."""
        assert self._pumping is not None
        self._pumping.cancel()
        await asyncio.gather(self._pumping, return_exceptions=True)

    async def follow(self, channel: Channel) -> None:
        """Say on a new channel where this side stands, and go on over it."""
        self._channel = channel
        self._first.clear()
        greeting = self._continuity.attach()
        with contextlib.suppress(TransferError):  # whoever listens to it learns that as well
            await channel.send(greeting)
        self._pour.set()

    def cut(self) -> None:
        """The channel carries nothing any more: wait for another one."""
        self._channel = None
        self._empty.set()

    async def drain(self) -> None:
        """Wait until the far end has acknowledged all that was added, or the channel is cut.

        Raises:
            PeerGone: the channel closed before.
        """
        if self._channel is None:
            return
        self._empty.clear()
        self._pour.set()
        await self._empty.wait()
        if self._channel is not None:
            await self._channel.drain()

    async def _pump(self) -> None:
        while True:
            channel = self._channel
            while channel is not None and channel is self._channel:
                message = self._next()
                if message is None:
                    break
                try:
                    await channel.send(message)
                except TransferError:
                    self._broken(channel)
                    break
                self._gone(len(message))
            if channel is not self._channel:
                continue
            if not self._queue and not self._first:
                self._empty.set()
            self._pour.clear()
            await self._pour.wait()

    def _next(self) -> bytes | None:
        if not self._continuity.attached:
            return None
        if self._first:
            return self._first.popleft()
        if not self._queue or not self._continuity.may_send():
            return None
        message = self._queue.popleft()
        self._waiting -= len(message) + OVERHEAD
        self._continuity.sent(message)
        return message
