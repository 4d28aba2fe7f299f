"""What an exchange asks of whoever sends or receives: files, feeds and sinks are behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from p2pxfer.transfer.messages import Activity, Receipt

if TYPE_CHECKING:
    from p2pxfer.session.exchange import Exchange


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

    def outcome(self) -> Receipt | None:
        """What the transfer came to if the other side is never heard again; None: nothing yet."""


async def to_the_end(closing: Coroutine[Any, Any, None]) -> None:
    """Close, also if whoever waits for that is cancelled meanwhile: once, not twice."""
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
