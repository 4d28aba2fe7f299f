"""A room as one side lives in it: mail that survives the loss of its connection.

Owns the task that reads, writes and reconnects. What to say is the `Mailbox`'s business, how to
say it the `Link`'s. No keys: bodies are sealed above, and opaque here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, Literal, Self

from msgspec import Struct

from p2pxfer.errors import (
    PeerGone,
    RendezvousMisbehaved,
    RendezvousUnreachable,
    TransferError,
)
from p2pxfer.rendezvous import refusals
from p2pxfer.rendezvous.duplex import converse
from p2pxfer.rendezvous.link import Link
from p2pxfer.rendezvous.mailbox import Mailbox
from p2pxfer.rendezvous.messages import Burn, Close, Crowded, Ended, Mail, Taken, Welcome

RoomState = Literal["connected", "reconnecting", "crowded"]

PATIENCE: Final = 60.0  # seconds without a connection until the room is given up
_FIRST_PAUSE: Final = 0.1  # seconds before the first reconnection; doubled each time, up to
_LONGEST_PAUSE: Final = 5.0
_STEADY: Final = 10.0  # seconds that a connection must last for an outage to be over
_LAST_WORD: Final = 2.0  # seconds for the rendezvous to confirm a close or burn


class _Outage(Struct):
    """Reconnections in a row, those that dropped again at once included."""

    give_up: float
    pause: float = _FIRST_PAUSE


class Room:
    """One side's place in a room. Made by a `RendezvousClient`; leave it with `close` or `burn`.

    Attributes:
        nameplate: the room's number, None if it has a name.
        crowded: how many further sides have tried to come in, and were refused.
        entry: seconds that it took to get in.
    """

    def __init__(
        self,
        link: Link,
        welcome: Welcome,
        dial_again: Callable[[int], Awaitable[tuple[Link, Welcome | Ended]]],
        *,
        patience: float,
        on_state: Callable[[RoomState], None] | None,
        entry: float = 0.0,
    ) -> None:
        self.nameplate = welcome.nameplate or None
        self.crowded = 0
        self.entry = entry
        self._title = f"room {self.nameplate}" if self.nameplate else "the room"
        self._dial_again = dial_again
        self._patience = patience
        self._on_state = on_state
        self._mailbox = Mailbox()
        self._farewell: Burn | Close | None = None
        self._error: TransferError | None = None
        self._to_write = asyncio.Event()
        self._moved = asyncio.Condition()
        self._welcomed(welcome)
        self._living = asyncio.create_task(self._live(link))

    @property
    def expires_in(self) -> float:
        """Seconds until the room expires if the other side does not come; never negative."""
        return max(0.0, self._expires_at - asyncio.get_running_loop().time())

    async def send(self, body: bytes) -> None:
        """Mail ``body`` to the other side, whether or not it is there yet.

        Returns once the mail is on its way or kept for the next connection; waits only while the
        other side leaves more than the window of `messages` untaken.

        Raises:
            ValueError: it is empty or longer than `MAX_BODY`.
            TransferError: the room is over, as `receive` would say.
        """
        async with self._moved:
            await self._moved.wait_for(lambda: self._error or self._mailbox.may_send(len(body)))
            if self._error:
                raise self._error
            self._mailbox.send(body)
        self._to_write.set()

    async def receive(self) -> bytes:
        """The other side's next mail: in order, each once. Waits as long as it takes.

        Raises:
            PeerGone: the other side closed the room, or was away for too long.
            CodeExpired: the room has expired.
            RoomBurnt: the other side found the code to be wrong.
            RoomRefused: the rendezvous lost the room, or it overflowed.
            RendezvousUnreachable: no connection could be made for the length of the patience.
            RendezvousMisbehaved: the rendezvous broke its protocol.
        """
        async with self._moved:
            while (body := self._mailbox.take()) is None:
                if self._error:
                    raise self._error
                await self._moved.wait()
        self._to_write.set()
        return body

    async def burn(self) -> None:
        """Say that a wrong guess was made: nobody uses this room again.

        Raises nothing: a rendezvous that can't be told can't be helped, and a side that has left
        answers no second guess.
        """
        await self._leave(Burn())

    async def close(self) -> None:
        """Leave the room; the other side still gets the mail sent before. Raises nothing."""
        await self._leave(Close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def _leave(self, farewell: Burn | Close) -> None:
        if self._farewell is None:
            self._farewell = farewell
            self._to_write.set()
        try:
            await asyncio.wait({self._living}, timeout=_LAST_WORD)
        finally:
            self._living.cancel()
            await asyncio.gather(self._living, return_exceptions=True)

    async def _live(self, link: Link) -> None:
        """Converse, reconnect and converse again, until the room is over."""
        error: TransferError = PeerGone(f"this side has left {self._title}")
        now = asyncio.get_running_loop().time
        outage = _Outage(now() + self._patience)
        try:
            while True:
                began = now()
                try:
                    await self._converse(link)
                except RendezvousUnreachable:
                    self._tell("reconnecting")
                finally:
                    await link.close()
                if now() - began > _STEADY or outage.pause == _FIRST_PAUSE:
                    outage = _Outage(now() + self._patience)
                link = await self._reconnect(outage)
                self._tell("connected")
        except TransferError as failure:
            if self._farewell is None:
                error = failure
        finally:
            self._error = error
            async with self._moved:
                self._moved.notify_all()

    async def _converse(self, link: Link) -> None:
        """Read and write until one of the two fails."""
        failures = await converse(self._read(link), self._write(link))
        # Of two failures, a drop says less: the rendezvous may have had a last word.
        failures.sort(key=lambda failure: isinstance(failure, RendezvousUnreachable))
        raise failures[0]

    async def _read(self, link: Link) -> None:
        while True:
            match await link.receive():
                case Mail() | Taken() as message:
                    self._mailbox.receive(message)
                    async with self._moved:
                        self._moved.notify_all()
                case Crowded(count):
                    self.crowded = count
                    self._tell("crowded")
                case Ended() as ended:
                    raise refusals.inside(ended, self._title)
                case Welcome():
                    raise RendezvousMisbehaved("the rendezvous welcomes twice")

    async def _write(self, link: Link) -> None:
        while True:
            self._to_write.clear()
            while message := self._mailbox.next_message():
                await link.send(message)
            if self._farewell is not None:
                await link.send(self._farewell)
            await self._to_write.wait()

    async def _reconnect(self, outage: _Outage) -> Link:
        """A new link into the same room.

        Raises:
            RendezvousUnreachable: not before the outage is given up.
            TransferError: the rendezvous answers that the room is over.
        """
        failure = RendezvousUnreachable("the connection to the rendezvous keeps breaking")
        while asyncio.get_running_loop().time() + outage.pause < outage.give_up:
            # Spread, so that a server that comes back does not meet all its clients at once.
            await asyncio.sleep(outage.pause * random.uniform(0.5, 1.5))  # noqa: S311  # no secret
            outage.pause = min(2 * outage.pause, _LONGEST_PAUSE)
            try:
                link, answer = await self._dial_again(self.nameplate or 0)
            except RendezvousUnreachable as error:
                failure = error
                continue
            try:
                if isinstance(answer, Ended):
                    raise refusals.inside(answer, self._title)
                if answer.nameplate != (self.nameplate or 0):
                    raise RendezvousMisbehaved("the rendezvous led back into another room")
                self._welcomed(answer)
            except TransferError:
                await link.close()
                raise
            return link
        raise failure

    def _welcomed(self, welcome: Welcome) -> None:
        self._mailbox.connected(welcome)
        self._expires_at = asyncio.get_running_loop().time() + welcome.expires

    def _tell(self, state: RoomState) -> None:
        if self._on_state is not None:
            self._on_state(state)
