"""The words of a camera session over its link, and the signs of life between them.

An offer is answered here, whatever is said beside it: only the link knows what it is about. What
other words lead to is not known here, and neither is a picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from p2pxfer.errors import PeerGone, PeerMisbehaved, TransferError
from p2pxfer.media.messages import (
    BEAT,
    SILENCE,
    Answer,
    Here,
    Message,
    Offer,
    decode,
    encode,
)

if TYPE_CHECKING:
    from p2pxfer.session.link import Link

MOST_UNHEARD: Final = 16  # words that nobody has taken yet; an honest side says four a second
MOST_WORDS: Final = 64  # of one side in `WHILE` seconds, signs of life aside
MOST_OFFERS: Final = 8  # of them
WHILE: Final = 10.0


class Conversation:
    """Says and hears.

    Args:
        link: open.

    Attributes:
        on_answer: called after each offer of the other side that was answered.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._heard: deque[Message] = deque()
        self._news = asyncio.Event()
        self._last = time.monotonic()
        self._failure: TransferError | None = None
        self._offers: asyncio.Queue[str] = asyncio.Queue()
        self._spoken: deque[float] = deque(maxlen=MOST_WORDS)  # when
        self._offered: deque[float] = deque(maxlen=MOST_OFFERS)
        self.on_answer: Callable[[], None] = lambda: None
        link.channel.on_message(self._take)
        link.channel.on_closed(self._closed)
        self._tasks = [asyncio.create_task(self._beat()), asyncio.create_task(self._answer())]

    async def say(self, message: Message) -> None:
        """Send one message.

        Raises:
            PeerGone: the connection is closed.
        """
        await self._link.channel.send(encode(message))

    async def hear(self) -> Message:
        """The next message.

        Raises:
            PeerGone: the other side has left, or gives no sign of life.
            PeerMisbehaved: it said what nobody says.
        """
        while not self._heard:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            left = self._last + SILENCE - time.monotonic()
            if left <= 0:
                raise PeerGone(f"the other side gave no sign of life for {SILENCE:.0f} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()
        return self._heard.popleft()

    async def close(self) -> None:
        """Say nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, data: bytes) -> None:
        self._link.settled()
        self._last = time.monotonic()
        try:
            message = decode(data)
            if len(self._heard) >= MOST_UNHEARD:
                raise PeerMisbehaved("it says too much")
            if not isinstance(message, Here):
                self._count(self._spoken, "it says too much")
            if isinstance(message, Offer):
                self._count(self._offered, "it offers other tracks again and again")
        except PeerMisbehaved as error:
            self._failure = self._failure or error
        else:
            if isinstance(message, Offer):
                self._offers.put_nowait(message.sdp)
            elif not isinstance(message, Here):
                self._heard.append(message)
        self._news.set()

    def _count(self, times: deque[float], complaint: str) -> None:
        if len(times) == times.maxlen and self._last - times[0] < WHILE:
            raise PeerMisbehaved(complaint)
        times.append(self._last)

    async def _answer(self) -> None:
        """Answer offers one after the other."""
        try:
            while True:
                answer = await self._link.renegotiate(await self._offers.get())
                await self.say(Answer(answer))
                self.on_answer()
        except TransferError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  # of aiortc, which takes no offer for hostile
            self._fail(PeerMisbehaved(f"its offer can't be answered: {type(error).__name__}"))

    def _closed(self) -> None:
        self._fail(PeerGone("the other side left"))

    def _fail(self, error: TransferError) -> None:
        self._failure = self._failure or error
        self._news.set()

    async def _beat(self) -> None:
        with contextlib.suppress(PeerGone):
            while True:
                await asyncio.sleep(BEAT)
                await self.say(Here())
