# ruff: noqa: T201  # what it prints is what it is for
"""A machine that offers somebody else's number, with words of its own: ``impostor.py NUMBER``.

It is the real sender but for that, which is all that an attacker on the network could be: what it
does not know are the words. Writes ``offers`` when it can be found, ``guessed`` for each handshake.
"""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace

import p2pxfer
from p2pxfer.errors import TransferError
from p2pxfer.progress import CodeBurnt
from p2pxfer.rendezvous import lan as announcing
from p2pxfer.rendezvous.messages import LAN_NAMEPLATES
from p2pxfer.session import lan


class Told:
    """Says on standard output what happens."""

    def emit(self, event: object) -> None:
        if isinstance(event, CodeBurnt):
            print("guessed", flush=True)


async def announce(*arguments: object) -> object:
    announcement = await genuine(*arguments)
    print("offers", flush=True)
    return announcement


number = int(sys.argv[1])
lan.secrets = SimpleNamespace(randbelow=lambda _: number - LAN_NAMEPLATES[0])
genuine, announcing.announce = announcing.announce, announce
try:
    asyncio.run(p2pxfer.send(text="hello", network=p2pxfer.Network(), progress=Told()))
except TransferError as error:
    print(error, flush=True)
