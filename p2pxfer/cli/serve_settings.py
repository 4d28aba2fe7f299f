"""What the flags of ``p2pxfer serve`` mean: each checked, with its file read, or refused in words.

How the rendezvous runs with them is not known here.
"""

# ruff: noqa: PLC0415  # what is not asked for is not loaded

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from p2pxfer.cli.options import secret_file
from p2pxfer.cli.quantities import byte_count, rate
from p2pxfer.errors import LocalFileError, UsageError
from p2pxfer.identity.config import refuse_if_others_may_read

if TYPE_CHECKING:
    import ssl

    from p2pxfer.rendezvous.config import IceServer
    from p2pxfer.rendezvous.server.limits import Carriage
    from p2pxfer.rendezvous.server.turn import TurnSecret

TOTAL_OF_ADDRESSES = 10  # that use up their --relay-bytes, unless --relay-total says otherwise


class Settings(Struct, frozen=True, kw_only=True):
    """The command line, checked. ``lifetime`` is in seconds."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    trust_proxy: bool
    ice_servers: list[IceServer]
    turn: TurnSecret | None
    motd: str
    carriage: Carriage
    lifetime: float


def tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """The certificate to serve https with; None for http.

    Raises:
        UsageError: one file without the other, or they are no certificate with its key.
        LocalFileError: one can't be read.
    """
    import ssl

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError("TLS takes both --tls-cert and --tls-key", "give the other file, too")
    for path in (certificate, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise LocalFileError(f"can't read {path}: {error.strerror}") from error
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, UsageError) as error:
        raise UsageError(
            f"{certificate} and {key} are no certificate with its key, in PEM and without a "
            "password",
            "check the two files, and that they belong together",
        ) from error
    return context


def _no_password() -> str:
    """A server that starts by itself has nobody to ask."""
    raise UsageError("the key has a password")


def ice_servers(stun: list[str]) -> list[IceServer]:
    """The STUN servers that clients are told of.

    Raises:
        UsageError: a URL is none of a STUN server.
    """
    from p2pxfer.rendezvous.config import IceServer

    if not stun:
        return []
    return [IceServer(urls=list(_checked(stun, "stun")))]


def turn(urls: list[str], secret_path: Path | None) -> TurnSecret | None:
    """The TURN servers that clients get credentials for, with the secret they are made of.

    Raises:
        UsageError: URLs without a secret, or the other way round; or they are not such.
        LocalFileError: the secret can't be read, or others may read it.
    """
    from p2pxfer.rendezvous.server.turn import TurnSecret

    if not urls and secret_path is None:
        return None
    if not urls or secret_path is None:
        raise UsageError(
            "TURN takes both --turn-url and --turn-secret-file",
            "the file holds what the TURN server has as its static-auth-secret",
        )
    secret = secret_file(secret_path, refuse=refuse_if_others_may_read)
    try:
        return TurnSecret(_checked(urls, "turn"), secret)
    except ValueError as error:
        raise UsageError(str(error), "make one with: openssl rand -hex 32") from error


def carriage(each: str | None, total: str | None, most: str | None) -> Carriage:
    """How much is carried for clients that find no path.

    Raises:
        UsageError: it is no size or rate, or nothing is to be carried at all.
    """
    from p2pxfer.rendezvous.config import MAX_RELAY_BYTES
    from p2pxfer.rendezvous.server.limits import Carriage

    if each is None:
        if total is not None or most is not None:
            raise UsageError(
                "--relay-total and --relay-rate are about what --relay-bytes allows",
                "give --relay-bytes, too, or leave them out",
            )
        return Carriage()
    size = byte_count(each)
    in_all = size * TOTAL_OF_ADDRESSES if total is None else byte_count(total)
    if not 0 < size <= MAX_RELAY_BYTES or not in_all:
        raise UsageError(
            "--relay-bytes and --relay-total take a size", "leave out what is not meant"
        )
    return Carriage(each=size, total=in_all, rate=inf if most is None else rate(most))


def _checked(urls: list[str], scheme: str) -> tuple[str, ...]:
    from p2pxfer.peer.servers import IceServer as Checked

    for url in urls:
        if not url.lower().startswith(scheme):
            raise UsageError(
                f"not the URL of a {scheme.upper()} server: {url}",
                f"it looks like {scheme}:host:port",
            )
    return Checked(tuple(urls)).urls


def motd(text: str) -> str:
    """The line that every client shows.

    Raises:
        UsageError: it is longer, or no line.
    """
    from p2pxfer.rendezvous.config import MAX_MOTD

    if len(text) > MAX_MOTD or not text.isprintable():
        raise UsageError(f"--motd takes one line of at most {MAX_MOTD} characters", "shorten it")
    return text
