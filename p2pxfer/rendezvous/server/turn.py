"""TURN credentials that expire: what coturn calls ``use-auth-secret``.

After draft-uberti-behave-turn-rest-00: the TURN server and this one share a secret, nobody else. A
user name says until when it is good, and its password is a MAC over it. Pure values; the time is
passed in.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final

from msgspec import Struct

from p2pxfer.discreet import Discreet
from p2pxfer.rendezvous.config import IceServer

LIFETIME: Final = 24 * 3600  # seconds; a TURN server asks again for each refresh (RFC 8656 sec. 7)
LEAST_SECRET: Final = 16  # characters; who guesses it relays for nothing


class TurnSecret(Discreet, Struct, frozen=True):
    """TURN servers, and the secret that they share with this one.

    Attributes:
        urls: ``turn:…`` and ``turns:…``.
        secret: never shown.

    Raises:
        ValueError: the secret can be guessed.
    """

    hidden = ("secret",)

    urls: tuple[str, ...]
    secret: str

    def __post_init__(self) -> None:
        if len(self.secret) < LEAST_SECRET:
            message = f"a TURN server's secret has at least {LEAST_SECRET} characters"
            raise ValueError(message)

    def ice_server(self, now: float) -> IceServer:
        """An entry for one client, good for `LIFETIME`.

        Args:
            now: seconds since 1970, as the TURN server's clock has it, too.
        """
        username = f"{int(now) + LIFETIME}:p2pxfer"
        mac = hmac.digest(self.secret.encode(), username.encode(), "sha1")
        credential = base64.b64encode(mac).decode()
        return IceServer(urls=list(self.urls), username=username, credential=credential)
