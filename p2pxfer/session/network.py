"""How the two sides are to find one another, as callers say it, and the code as scripts read it.

Values only: who acts on them is in ``connect.py``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from p2pxfer.errors import LocalFileError

if TYPE_CHECKING:
    from p2pxfer.peer.restraint import Restraint
    from p2pxfer.peer.servers import IceServer


class Network(Struct, frozen=True, kw_only=True):
    """How the two sides find one another.

    Attributes:
        rendezvous: its URL, ``https://…``, ``http://…`` or ``host:port``; None to meet on this
            network, where the sender runs a rendezvous of its own.
        lan: meet on this network, whether or not a rendezvous is known.
        ice_servers: STUN and TURN servers, beside those that the rendezvous offers.
        relay_only: use TURN only, and not the rendezvous either; so the peer never learns this
            machine's addresses.
        restraint: how what is sent, either way, is held back; None: not at all.
        timeout: seconds that the peers may take to find a path once they share a key.
    """

    rendezvous: str | None = None
    lan: bool = False
    ice_servers: tuple[IceServer, ...] = ()
    relay_only: bool = False
    restraint: Restraint | None = None
    timeout: float = 60.0


class Sending(Struct, frozen=True, kw_only=True):
    """How a sender lets itself be found.

    Attributes:
        chosen: the user's own code, or None to have one drawn.
        words: how many words to draw.
        wait: seconds that the code lives.
        code_out: a file that takes the drawn code, for scripts.
    """

    chosen: str | None = None
    words: int = 2
    wait: float = 3600.0
    code_out: Path | None = None


def write_code(path: Path, code: str) -> None:
    """Write ``code`` for scripts: whole or not at all, and for nobody else's eyes.

    Raises:
        LocalFileError: it can't be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="ascii") as out:
            out.write(f"{code}\n")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise LocalFileError(f"the code can't be written to {path}: {error.strerror}") from error
