"""Receiving: `receive` is the whole of it for callers. No terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Final

from p2pxfer.errors import LocalFileError, PeerGone, RoomGone, RoomRefused, StreamLost
from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.pairing import code as codes
from p2pxfer.progress import NullProgress, Progress
from p2pxfer.session.connect import Connector
from p2pxfer.session.interaction import Interaction, Unattended
from p2pxfer.session.link import Link
from p2pxfer.session.network import Network
from p2pxfer.session.placement import Acceptance
from p2pxfer.session.receiving import transfer
from p2pxfer.session.resume import ReceiverMemory, Resume, SessionMemory
from p2pxfer.session.sinks import ByteWriter
from p2pxfer.session.summary import Summary

REJOIN_PATIENCE: Final = 12.0  # seconds for a live sender: it notices a dead peer within eight
STILL_THERE: Final = "where the sender waits for this side to come back, type the same once more"


async def receive(
    code: str,
    *,
    network: Network,
    output: str | os.PathLike[str] | ByteWriter | None = None,
    existing: ExistingPolicy | str = ExistingPolicy.FAIL,
    max_size: int | None = None,
    unsafe_symlinks: bool = False,
    portable_names: bool = False,
    verify: bool = False,
    wait: float = 3600.0,
    give_up_after: float = 0.0,
    resume: Resume = "auto",
    accept: bool = False,
    progress: Progress | None = None,
    interaction: Interaction | None = None,
) -> Summary:
    """Receive what the sender that shows ``code`` offers.

    Args:
        code: as the sender shows it, or the code of your own that both sides know.
        network: how to find the other side.
        output: a directory, which is made if it is missing, by default the current one; or, for a
            single file or a stream, a path that is no directory, or something to write its bytes
            to; ``-`` is standard output. A text with a slash at its end is a directory in any case.
        existing: ``ask``, ``overwrite``, ``update``, ``rename``, ``skip`` or ``fail``. With the
            first and the last a file that is just what is sent counts as done, unasked.
        max_size: content bytes that are taken in all.
        unsafe_symlinks: keep symlinks that are absolute or leave the tree.
        portable_names: refuse names that other systems can't hold.
        verify: have both sides show four words and wait for a yes.
        wait: seconds to wait for the other side, with a code of your own.
        resume: what of earlier runs to go on with: ``auto``, what this sender proves to have begun;
            ``any``, also what was begun into the same directory by whoever; or ``never``, which
            leaves nothing to go on with either.
        give_up_after: seconds to try to make a broken connection again; 0 not to try.
        accept: take the offer, if there is no ``interaction`` to ask.
        progress: told what happens.
        interaction: asked what only a human can answer.

    Raises:
        PartlyDone: over, but some entries did not arrive; each was told by `EntryFailed`.
        TransferError: any other of the tree in `p2pxfer.errors`.
    """
    progress = progress or NullProgress()
    interaction = interaction or Unattended(accept=accept)
    acceptance = Acceptance(
        output=_destination(output),
        folder=isinstance(output, str) and output.endswith(("/", os.sep)),
        existing=ExistingPolicy(existing),
        max_size=max_size,
        unsafe_symlinks=unsafe_symlinks,
        portable_names=portable_names,
    )
    connector = Connector(network, verify=verify, progress=progress, interaction=interaction)
    shared = codes.read(codes.split(code)[0])
    if isinstance(shared, codes.ChosenCode):
        connector.warm()  # beside what is slow on purpose
    memory = await asyncio.to_thread(ReceiverMemory, shared, resume)
    link = await _found(connector, code, wait, memory)

    try:
        return await transfer(
            link,
            acceptance,
            progress,
            interaction=interaction,
            ways=connector.ways(link, give_up_after),
            memory=SessionMemory(memory, link.keys, connector.rendezvous),
        )
    except StreamLost:
        await asyncio.to_thread(memory.forget, link.keys)
        raise


async def _found(connector: Connector, code: str, wait: float, memory: ReceiverMemory) -> Link:
    """The sender: of a session that was interrupted here, if it still waits, else of a new one."""
    interrupted = await asyncio.to_thread(memory.interrupted)
    if interrupted is None:
        return await connector.join(code, wait)
    keys, rendezvous = interrupted
    with contextlib.suppress(PeerGone):
        return await connector.rejoin_at(rendezvous, keys, REJOIN_PATIENCE)
    try:
        return await connector.join(code, wait)
    except RoomRefused as error:
        again = RoomRefused if isinstance(error, RoomGone) else type(error)  # it may be there then
        raise again(error.message, f"{STILL_THERE}\n{error.hint}") from error


def _destination(output: str | os.PathLike[str] | ByteWriter | None) -> Path | ByteWriter:
    if output == "-":
        return sys.stdout.buffer
    if output is None or isinstance(output, str | os.PathLike):
        path = Path(output or ".")
        try:
            path.absolute()
        except OSError as error:
            message = "the folder you are in is gone"
            raise LocalFileError(message, "go to one that is there") from error
        return path
    return output
