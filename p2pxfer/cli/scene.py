"""The scene: which side of what this is. It is set before anything happens, and stays."""

from __future__ import annotations

from msgspec import Struct


class Scene(Struct, frozen=True, kw_only=True):
    """What a renderer must know beyond the events.

    Attributes:
        sending: which of the two sides this is.
        join: the command to type on the other side.
        code_known: whether both sides have the code already, so that it need not be shown.
        destination: where what arrives goes, as the user gave it.
        qr: whether to draw the code as a QR code, too.
        verbose: whether to tell the details.
        own: the command that this is, as the user would type it again.
        camera: whether pictures cross, not files.
    """

    sending: bool
    join: str = "p2pxfer receive"
    code_known: bool = False
    destination: str = ""
    qr: bool = False
    verbose: bool = False
    own: str = "p2pxfer send"
    camera: bool = False
