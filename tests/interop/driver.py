"""What the peer programs written in Python share: commands in, events out, messages and digests.

README.md beside this file says which commands and events there are.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

HIGH_WATER = 1 << 20  # bytes that may be queued before sending waits


def tell(event: dict) -> None:
    """Hand an event to the harness."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def messages(count: int, size: int, vary: bool = False) -> Iterator[bytes]:
    """What a ``send`` command asks for: no two alike, if there is room for a number in them."""
    noise = os.urandom(size + 4096)
    for i in range(count):
        length = 1 + i * 7919 % size if vary else size
        message = noise[i % 4096 : i % 4096 + length]
        yield i.to_bytes(4, "big") + message[4:] if length >= 4 else message


def report(event: str, seen: list[tuple[float, bytes]]) -> None:
    """Tell how many messages there were, what they hold, and how long it took."""
    digest = hashlib.sha256()
    for _, message in seen:
        digest.update(len(message).to_bytes(4, "big"))
        digest.update(message)
    tell(
        {
            "event": event,
            "count": len(seen),
            "bytes": sum(len(message) for _, message in seen),
            "seconds": seen[-1][0] - seen[0][0],
            "cpu": time.process_time(),
            "sha256": digest.hexdigest(),
        }
    )


class Inbox:
    """The messages that arrived, until an ``expect`` takes them."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, bytes]] = []
        self._wanted: int | None = None

    def take(self, message: bytes | str) -> None:
        if isinstance(message, str):
            tell({"event": "text", "text": message})
            return
        self._seen.append((time.monotonic(), message))
        if self._wanted is not None and len(self._seen) >= self._wanted:
            self.expect(self._wanted)

    def expect(self, count: int) -> None:
        self._wanted = count
        if len(self._seen) >= count:
            taken, self._seen, self._wanted = self._seen[:count], self._seen[count:], None
            report("received", taken)


async def obey(commands: dict[str, Callable[[dict], Awaitable[None]]]) -> None:
    """Obey in turn what comes on standard input, sending beside, until it ends.

    Args:
        commands: what to do, by the command's ``do`` or ``kind``.
    """
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    sending: set[asyncio.Task] = set()
    while line := await reader.readline():
        command = json.loads(line)
        name = command.get("do") or command["kind"]
        if name == "quit":
            break
        work = asyncio.create_task(_told_if_it_fails(commands[name](command)))
        if name == "send":
            sending.add(work)
            work.add_done_callback(sending.discard)
        else:
            await work
    for task in sending:
        task.cancel()


async def _told_if_it_fails(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001  # the harness decides what it means
        tell({"event": "error", "error": f"{type(error).__name__}: {error}"})
