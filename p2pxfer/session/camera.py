"""Sharing cameras, clips or the test pattern: `serve` is the whole of it. No terminal.

The device is opened when somebody who has the code asks for it, and free as soon as they leave.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from p2pxfer.errors import (
    CodeExpired,
    ConnectionFailed,
    DeviceBusy,
    PeerGone,
    PeerMisbehaved,
    RendezvousError,
)
from p2pxfer.media.wanted import Wanted, check
from p2pxfer.progress import Note, NullProgress, Progress, Reconnecting
from p2pxfer.session.connect import Connector
from p2pxfer.session.interaction import Interaction, Unattended
from p2pxfer.session.muting import Muting
from p2pxfer.session.network import Network, Sending
from p2pxfer.session.stage import Codec, Stage

# What ends one visit, and not the sharing.
VISIT: Final = (PeerGone, PeerMisbehaved, ConnectionFailed, DeviceBusy)
FIRST_PAUSE: Final = 1.0  # seconds until a rendezvous that is away is tried again; doubled, up to
LONGEST_PAUSE: Final = 60.0


async def serve(
    wanted: Sequence[Wanted],
    *,
    network: Network,
    code: str | None = None,
    words: int = 2,
    wait: float = 3600.0,
    once: bool = False,
    verify: bool = False,
    code_out: Path | None = None,
    codec: Codec = "VP8",
    muting: Muting | None = None,
    progress: Progress | None = None,
    interaction: Interaction | None = None,
) -> None:
    """Show what is wanted to whoever has the code, one after another, until cancelled.

    A rendezvous that was there and goes away is waited for, as long as it takes, unless ``once``.

    Args:
        wanted: what to show, all at once; with sound it is that of the first.
        network: how to find the other side.
        code: a code of your own; None draws a fresh one for each watcher, told by `CodeReady`.
        words: how many words to draw.
        wait: seconds that a code lives; then there is a fresh one.
        once: end when the first watcher has left.
        verify: have both sides show four words and wait for a yes.
        code_out: a file for the drawn code, made with mode 0600.
        codec: the preferred one for pictures.
        muting: what is muted, which may change at any time; None for nothing.
        progress: told what happens.
        interaction: asked what only a human can answer; None refuses.

    Raises:
        UsageError: ``wanted`` makes no sense.
        LocalFileError: it can't be had; devices have classes of their own.
        TransferError: any other of the tree in `p2pxfer.errors`.
    """
    check(wanted)
    progress = progress or NullProgress()
    muting = muting or Muting()
    names = await _try_out(wanted)
    sending = Sending(chosen=code, words=words, wait=wait, code_out=code_out)
    away = _Away(progress)
    while True:
        stage = Stage(wanted, names, codec, muting)
        connector = Connector(
            network,
            verify=verify,
            progress=progress,
            interaction=interaction or Unattended(),
            tracks=stage.tracks,
        )
        connector.warm()
        try:
            await stage.perform(await connector.offer(sending), progress)
        except CodeExpired:
            if once:
                raise
        except VISIT as error:
            if once:
                raise
            progress.emit(Note(f"a visit came to nothing: {error.message}"))
        except RendezvousError as error:
            if once or not (away.known or connector.met):
                raise
            await away.wait(error)
        finally:
            away.known |= connector.met
            await connector.close()
        if once:
            return


class _Away:
    """Waits for a rendezvous that went away.

    Attributes:
        known: it was there once: what it was called is no mistake.
    """

    def __init__(self, progress: Progress) -> None:
        self.known = False
        self._progress = progress
        self._attempts = 0
        self._last = 0.0

    async def wait(self, error: RendezvousError) -> None:
        """Until it is worth another try; the longer, the longer it has been away."""
        now = time.monotonic()
        if now - self._last > 2 * LONGEST_PAUSE:
            self._attempts = 0
        self._attempts += 1
        if self._attempts == 1:
            self._progress.emit(Note(f"{error.message}: waiting until it is back, or for Ctrl-C"))
        self._progress.emit(Reconnecting("rendezvous", self._attempts))
        pause = min(FIRST_PAUSE * 2 ** (self._attempts - 1), LONGEST_PAUSE)
        # Spread, so that a server that comes back does not meet all its clients at once.
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
        self._last = time.monotonic()


async def _try_out(wanted: Sequence[Wanted]) -> list[str]:
    """What each is called; so that what can't be shown is told at once, not when it is asked for.

    All of them are open at the same time, as they will be.
    """
    from p2pxfer.media.source import Source, opened  # noqa: PLC0415  # heavy

    sources: list[Source] = []
    try:
        for number, each in enumerate(wanted):
            sources.append(await opened(each, audio=each.audio and number == 0))
    finally:
        for source in sources:
            await source.stop()
    return [source.name for source in sources]
