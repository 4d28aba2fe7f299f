"""A detour: while a relay carries a transfer, a direct path is looked for, to go over to.

A direct path may appear or be found only after a relay was taken. Both sides look for one at the
same moments after they connected, through a room of their own at the rendezvous, and with a peer
connection of its own; what works meanwhile is left alone. Role A goes over as soon as the new
channel is open, and its first message there tells B to follow. How a transfer goes on over another
channel is the exchange's business. No files, no terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final

from p2pxfer.errors import TransferError
from p2pxfer.pairing.keys import Role
from p2pxfer.progress import Note, Progress

if TYPE_CHECKING:
    from p2pxfer.peer.channel import Channel
    from p2pxfer.session.link import Link

DIRECT: Final = "direct"  # capability of a side that looks; label of the room's name
FIRST: Final = 4.0  # seconds on a relay until a direct path is looked for; each time twice that
LONGEST: Final = 128.0  # seconds between two looks at most
MEETING: Final = 10.0  # seconds for the other side to come
CHECKING: Final = 8.0  # seconds for a path to be found and the channel to open
FOLLOWING: Final = 10.0  # seconds until B gives up a channel that A does not go over to
STEADY: Final = 60.0  # seconds that a direct path must last to have been worth it
PENALTY: Final = 2  # moments that are passed over next time if it did not
MOST_EARLY: Final = 4  # messages that A may have said before B listens; it has one to say

FindDirect = Callable[[], Awaitable["Link"]]  # looks once: an open, direct link, or an error


def moments(passed_over: int) -> Iterator[float]:
    """Seconds since a relay was taken at which both sides look, without the first few.

    The two may pass over a different number, and still meet at all that follow.
    """
    at, gap, number = 0.0, FIRST, 0
    while True:
        at += gap
        gap = min(2 * gap, LONGEST)
        if number >= passed_over:
            yield at
        number += 1


class Detour:
    """Looks for a way around the relay, for one exchange.

    Args:
        find: looks once; None where nobody is to look.
        role: of this side.
        progress: told of looks in vain, for whoever asks.
        ready: called when there is something to `take`.
    """

    def __init__(
        self, find: FindDirect | None, role: Role, progress: Progress, ready: Callable[[], None]
    ) -> None:
        self._find = find
        self._leads = role is Role.A
        self._progress = progress
        self._ready = ready
        self._found: tuple[Link, list[bytes]] | None = None
        self._passed_over = 0
        self._gone_over: float | None = None  # when, if the present link was found here
        self._looking: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def found(self) -> bool:
        """Whether there is a direct link to go over to now."""
        return self._found is not None

    def take(self) -> tuple[Link, list[bytes]]:
        """The link that was found, and a list of what comes over it until somebody listens."""
        assert self._found is not None
        found, self._found = self._found, None
        self._gone_over = time.monotonic()
        return found

    def follow(self, link: Link) -> None:
        """``link`` carries the transfer from now on."""
        if link.relayed and self._find is not None and self._looking is None:
            self._looking = asyncio.create_task(self._look(self._find))

    def stop(self) -> None:
        """The link broke: what was found beside it is of no use, and nothing more is looked for."""
        if self._gone_over is not None and time.monotonic() - self._gone_over < STEADY:
            self._passed_over += PENALTY
        self._gone_over = None
        if self._looking is not None:
            self._looking.cancel()
            self._end(self._looking)
            self._looking = None
        if self._found is not None:
            self.let_go(self._found[0])
            self._found = None

    def let_go(self, link: Link) -> None:
        """Close a link that is of no more use, without waiting for it."""
        self._end(asyncio.create_task(link.close()))

    async def close(self) -> None:
        """Stop, and wait until everything is closed that was let go of."""
        self.stop()
        while self._ending:
            await asyncio.wait(self._ending)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _look(self, find: FindDirect) -> None:
        """At one moment after another, until a direct link can be gone over to."""
        began = time.monotonic()
        for moment in moments(self._passed_over):
            left = began + moment - time.monotonic()
            if left < 0:
                continue  # the last look took until later than that
            await asyncio.sleep(left)
            try:
                link = await find()
            except TransferError as error:
                self._progress.emit(Note(f"no direct path yet: {error.message}", detail=True))
                continue
            early: list[bytes] = []
            try:
                agreed = self._leads or await _invited(link.channel, early)
            except BaseException:
                self.let_go(link)
                raise
            if agreed:
                self._found, self._looking = (link, early), None
                self._ready()
                return
            self.let_go(link)


async def _invited(channel: Channel, early: list[bytes]) -> bool:
    """Whether A goes over to ``channel``; what it says there goes into ``early`` from now on."""
    over = asyncio.Event()

    def take(message: bytes) -> None:
        if len(early) < MOST_EARLY:
            early.append(message)
        over.set()

    channel.on_closed(over.set)
    channel.on_message(take)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), FOLLOWING)
    return bool(early)
