"""aiortc's transports where their own ways are not enough: from DTLS to the socket, SCTP's queues.

`shorten_sending` spares each packet steps on its way out; `Outstanding` tells when all has been
acknowledged that aiortc's SCTP was given, as ours in `seam` does itself. Uses private names, which
are there if `known` says so. How the path was found is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

_SCTP_NAMES = ("_data_channel_queue", "_outbound_queue", "_receive_sack_chunk", "_sent_queue")


def known(sctp: Any) -> bool:
    """Whether ``sctp``, and what is under it, have the names that are used here.

    Raises:
        AttributeError: there is not even a transport under it.
    """
    names = [hasattr(sctp.transport, "_send_data"), hasattr(sctp.transport.transport, "_send")]
    if not hasattr(sctp, "acknowledged"):  # ours knows that by itself
        names += [hasattr(sctp, name) for name in _SCTP_NAMES]
    return all(names)


class Outstanding:
    """What the peer has not acknowledged yet of what aiortc's SCTP has taken to send."""

    def __init__(self, sctp: Any) -> None:
        self._sctp = sctp
        self._waiting: list[asyncio.Event] = []

    async def acknowledged(self) -> None:
        """Wait until the peer's SCTP has acknowledged all that was sent."""
        sctp = self._sctp

        def outstanding() -> bool:
            return bool(sctp._data_channel_queue or sctp._outbound_queue or sctp._sent_queue)

        if not outstanding():
            return
        changed = asyncio.Event()
        self._waiting.append(changed)
        handle = type(sctp)._receive_sack_chunk

        async def handle_and_tell(chunk: Any) -> None:
            await handle(sctp, chunk)
            for waiting in self._waiting:
                waiting.set()

        sctp._receive_sack_chunk = handle_and_tell
        try:
            while outstanding():
                changed.clear()
                await changed.wait()
        finally:
            self._waiting.remove(changed)
            if not self._waiting:
                del sctp._receive_sack_chunk


def shorten_sending(dtls: Any, nominated: Mapping[int, Any]) -> None:
    """One step from DTLS to the socket instead of three, and no error once that is closed.

    aiortc sends from tasks that nobody awaits: what they raise when a connection has just
    ended would be logged as an exception never retrieved.

    Args:
        dtls: the transport that is shortened.
        nominated: the pair in use, by its component.
    """

    async def send(data: bytes) -> None:
        pair = nominated.get(1)
        if pair is not None:
            pair.protocol.transport.sendto(data, pair.remote_addr)

    async def discard(_data: bytes) -> None:
        """The transport is closed."""

    def changed() -> None:
        if dtls.state in ("closed", "failed"):
            dtls._send_data = discard
            task = getattr(dtls, "_task", None)
            if task is not None:
                task.add_done_callback(_retrieve)

    dtls.transport._send = send
    dtls.on("statechange", changed)


def _retrieve(task: asyncio.Task[None]) -> None:
    """A peer's malformed packet has ended the reading task: that closes, and is no crash."""
    if not task.cancelled():
        task.exception()
