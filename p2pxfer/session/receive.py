"""Receiving: `receive` is the whole of it for callers. No terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.progress import (
    NullProgress,
    Progress,
)
from p2pxfer.session.connect import Connector, Network
from p2pxfer.session.interaction import Interaction, Unattended
from p2pxfer.session.receiving import Acceptance, transfer
from p2pxfer.session.sinks import (
    ByteWriter,
)
from p2pxfer.session.summary import Summary


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
            to; ``-`` is standard output.
        existing: ``ask``, ``overwrite``, ``rename``, ``skip`` or ``fail``.
        max_size: content bytes that are taken in all.
        unsafe_symlinks: keep symlinks that are absolute or leave the tree.
        portable_names: refuse names that other systems can't hold.
        verify: have both sides show four words and wait for a yes.
        wait: seconds to wait for the other side, with a code of your own.
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
        existing=ExistingPolicy(existing),
        max_size=max_size,
        unsafe_symlinks=unsafe_symlinks,
        portable_names=portable_names,
    )
    connector = Connector(network, verify=verify, progress=progress, interaction=interaction)
    link = await connector.join(code, wait)
    reconnect = connector.reconnecting(link, give_up_after)
    return await transfer(link, acceptance, progress, interaction, reconnect)


def _destination(output: str | os.PathLike[str] | ByteWriter | None) -> Path | ByteWriter:
    if output == "-":
        return sys.stdout.buffer
    if output is None or isinstance(output, str | os.PathLike):
        return Path(output or ".")
    return output
