"""p2pxfer: files, folders and streams straight from one machine to another.

    import asyncio, p2pxfer

    network = p2pxfer.Network(rendezvous="https://rendezvous.example.org")
    summary = asyncio.run(p2pxfer.receive("7-orbit-lamp", network=network, accept=True))

Everything below loads at first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pxfer.errors import TransferError
    from p2pxfer.files.walk import WalkOptions
    from p2pxfer.peer.servers import IceServer
    from p2pxfer.progress import Event, Progress
    from p2pxfer.session.interaction import Interaction
    from p2pxfer.session.network import Network
    from p2pxfer.session.receive import receive
    from p2pxfer.session.send import send
    from p2pxfer.session.summary import Summary

__version__ = "0.1.0"
__all__ = [
    "Event",
    "IceServer",
    "Interaction",
    "Network",
    "Progress",
    "Summary",
    "TransferError",
    "WalkOptions",
    "receive",
    "send",
]

_HOMES = {
    "Event": "p2pxfer.progress",
    "IceServer": "p2pxfer.peer.servers",
    "Interaction": "p2pxfer.session.interaction",
    "Network": "p2pxfer.session.network",
    "Progress": "p2pxfer.progress",
    "Summary": "p2pxfer.session.summary",
    "TransferError": "p2pxfer.errors",
    "WalkOptions": "p2pxfer.files.walk",
    "receive": "p2pxfer.session.receive",
    "send": "p2pxfer.session.send",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
