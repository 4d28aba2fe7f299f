"""Sending: `send` is the whole of it for callers. No terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from p2pxfer.errors import UsageError
from p2pxfer.files.walk import Found, Skipped, WalkOptions, walk
from p2pxfer.manifest import UNKNOWN_SIZE, Entry, EntryKind, TransferKind
from p2pxfer.progress import NullProgress, Progress
from p2pxfer.session.connect import Connector
from p2pxfer.session.interaction import Interaction, Unattended
from p2pxfer.session.network import Network, Sending
from p2pxfer.session.sending import Cargo, transfer
from p2pxfer.session.side import to_the_end
from p2pxfer.session.stream_feed import AsyncReader
from p2pxfer.session.summary import Summary
from p2pxfer.session.walking import Walking

MAX_TEXT: Final = 1024 * 1024  # bytes of a --text transfer


async def send(
    paths: Sequence[str | bytes | os.PathLike[str]] = (),
    *,
    network: Network,
    text: str | None = None,
    stream: AsyncReader | None = None,
    stream_name: bytes = b"stdin",
    code: str | None = None,
    words: int = 2,
    wait: float = 3600.0,
    verify: bool = False,
    options: WalkOptions | None = None,
    code_out: Path | None = None,
    give_up_after: float = 0.0,
    progress: Progress | None = None,
    interaction: Interaction | None = None,
) -> Summary:
    """Offer files, a stream or a text, and send it to whoever has the code.

    Args:
        paths: files and folders. Exactly one of ``paths``, ``stream`` and ``text`` is given.
        network: how to find the other side.
        text: a text to show on the other side.
        stream: anything with ``await read(n)``; its end is found when it is there.
        stream_name: what a stream's file is called on the other side, unless it says otherwise.
        code: a code of your own, of at least 64 bits, which both sides know beforehand; None
            draws one, told by `CodeReady`.
        words: how many words to draw.
        wait: seconds that the code lives.
        verify: have both sides show four words and wait for a yes.
        options: what of ``paths`` is left out, and what becomes of symlinks.
        code_out: a file for the drawn code, made with mode 0600.
        give_up_after: seconds to try to make a broken connection again; 0 not to try.
        progress: told what happens.
        interaction: asked what only a human can answer; None refuses.

    Raises:
        PartlyDone: over, but some entries did not arrive; each was told by `EntryFailed`.
        TransferError: any other of the tree in `p2pxfer.errors`.
    """
    progress = progress or NullProgress()
    cargo = _cargo(paths, text, stream, stream_name, options or WalkOptions())
    walking = Walking(cargo.entries)
    connector = Connector(
        network,
        verify=verify,
        progress=progress,
        interaction=interaction or Unattended(),
        meanwhile=walking.begin,
    )
    sending = Sending(chosen=code, words=words, wait=wait, code_out=code_out)
    try:
        link = await connector.offer(sending)
        ways = connector.ways(link, give_up_after)
        return await transfer(link, cargo, walking, progress, ways)
    finally:
        await to_the_end(_close(connector, walking))


async def _close(connector: Connector, walking: Walking) -> None:
    try:
        await connector.close()
    finally:
        await walking.close()


def _cargo(
    paths: Sequence[str | bytes | os.PathLike[str]],
    text: str | None,
    stream: AsyncReader | None,
    stream_name: bytes,
    options: WalkOptions,
) -> Cargo:
    """What is offered.

    Raises:
        UsageError: nothing, or more than one kind; a text too long; arguments that clash.
        LocalFileError: an argument can't be found.
    """
    if sum((bool(paths), text is not None, stream is not None)) != 1:
        raise UsageError("give files, or a stream, or a text: one of them")
    now = time.time_ns()
    if text is not None:
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise UsageError("what is no Unicode text can be sent as a file only") from None
        if len(content) > MAX_TEXT:
            raise UsageError(
                f"a text of {len(content):,} bytes; at most {MAX_TEXT:,} can be sent as one"
            )
        entry = Entry(EntryKind.FILE, b"text", len(content), 0o600, now)
        return Cargo(TransferKind.TEXT, b"", _single(entry), content)
    if stream is not None:
        entry = Entry(EntryKind.FILE, stream_name, UNKNOWN_SIZE, 0o644, now)
        return Cargo(TransferKind.STREAM, stream_name, _single(entry), stream)
    walk(paths, options)  # says at once what is wrong with the arguments
    label = os.path.basename(os.fsencode(paths[0]).rstrip(b"/"))
    follow = options.symlinks == "follow"
    return Cargo(
        TransferKind.FILES, label, lambda: walk(paths, options), follow=follow, paths=tuple(paths)
    )


def _single(entry: Entry) -> Callable[[], Iterator[Found | Skipped]]:
    return lambda: iter((Found(entry, b""),))
