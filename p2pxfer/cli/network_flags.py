"""The flags that say how the two sides find one another, and what comes of them.

`NetworkFlags` joins flags, environment and configuration in that order. A TURN credential never
comes from argv, which every user of the machine may read.
"""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from p2pxfer.cli.options import secret_file
from p2pxfer.errors import UsageError
from p2pxfer.identity.config import Config, config_path, refuse_if_others_may_read
from p2pxfer.rendezvous.address import parse

if TYPE_CHECKING:
    from p2pxfer.peer.restraint import Restraint
    from p2pxfer.peer.servers import IceServer
    from p2pxfer.session.network import Network

RENDEZVOUS_VARIABLE = "P2PXFER_RENDEZVOUS"
ICE_CREDENTIALS_VARIABLE = "P2PXFER_ICE_CREDENTIALS"

NETWORK = "Network"

RendezvousFlag = Annotated[
    str | None,
    typer.Option(
        "--rendezvous",
        "-r",
        metavar="URL",
        help=f"Where the two sides meet; else {RENDEZVOUS_VARIABLE}, else the configuration, "
        "else this network.",
        rich_help_panel=NETWORK,
    ),
]
LanFlag = Annotated[
    bool,
    typer.Option(
        "--lan",
        help="Meet on this network, without a rendezvous, as is done when none is known.",
        rich_help_panel=NETWORK,
    ),
]
IceServerFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--ice-server",
        metavar="URL",
        help="A STUN or TURN server, such as stun:host or turn:host:3478. May be repeated.",
        rich_help_panel=NETWORK,
    ),
]
IceCredentialsFlag = Annotated[
    Path | None,
    typer.Option(
        "--ice-credentials-file",
        metavar="FILE",
        help="USER:PASSWORD for the TURN servers given with --ice-server; "
        f"else {ICE_CREDENTIALS_VARIABLE}.",
        rich_help_panel=NETWORK,
    ),
]
RelayOnlyFlag = Annotated[
    bool,
    typer.Option(
        "--relay-only",
        help="Go through a TURN server and no other way: this machine's addresses stay untold.",
        rich_help_panel=NETWORK,
    ),
]
LimitFlag = Annotated[
    str | None,
    typer.Option(
        "--limit",
        metavar="RATE",
        help="Bytes per second at most: 2M, 500k, off; or by the time of the day: "
        "08:00-18:00=2M,*=off.",
        rich_help_panel=NETWORK,
    ),
]
BackgroundFlag = Annotated[
    bool,
    typer.Option(
        "--background",
        help="Let everything else on the network go first.",
        rich_help_panel=NETWORK,
    ),
]


class NetworkFlags(Struct, frozen=True, kw_only=True):
    """How the two sides find one another, as far as the command line says."""

    rendezvous: str | None
    ice_servers: tuple[str, ...]
    ice_credentials_file: Path | None
    relay_only: bool
    lan: bool = False
    limit: str | None = None
    background: bool = False

    def url(self, config: Config) -> str | None:
        """The rendezvous: flag, environment, configuration; None to meet on this network.

        Returns:
            Its base URL, whole, however short it was given.

        Raises:
            UsageError: the flags contradict each other, or it is no address.
        """
        if self.lan:
            if self.rendezvous:
                raise UsageError("--lan and --rendezvous exclude each other", "leave one out")
            return None
        given = self.rendezvous or os.environ.get(RENDEZVOUS_VARIABLE) or config.rendezvous
        return parse(given) if given else None

    def network(self, config: Config) -> Network:
        """How the two sides are to find one another, as sessions take it.

        Raises:
            UsageError: flags contradict each other, or have values that make no sense.
            LocalFileError: credentials can't be read, or others may read them.
        """
        from p2pxfer.session.network import Network

        return Network(
            rendezvous=self.url(config),
            ice_servers=self.servers(config),
            relay_only=self.relays(config),
            restraint=self.restraint(config),
        )

    def join(self, config: Config, command: str = "p2pxfer receive") -> str:
        """``command`` for the other side, with the rendezvous unless both have it set up."""
        url = self.rendezvous or os.environ.get(RENDEZVOUS_VARIABLE)
        if not self.lan and url and url != config.rendezvous:
            return f"{command} -r {url}"
        return command

    def servers(self, config: Config) -> tuple[IceServer, ...]:
        """STUN and TURN servers: those of the flags, else those of the configuration.

        Raises:
            UsageError: not such a URL, or it holds a password.
            LocalFileError: the credentials can't be read, or others may read them.
        """
        from p2pxfer.peer.servers import IceServer

        if not self.ice_servers:
            return tuple(
                IceServer(urls=server.urls, username=server.username, credential=server.credential)
                for server in config.ice_servers
            )
        for url in self.ice_servers:
            if "@" in url:
                raise UsageError(
                    "a password in --ice-server can be seen by every user of this machine",
                    f"put USER:PASSWORD into a file and type: --ice-credentials-file FILE\n"
                    f"or set {ICE_CREDENTIALS_VARIABLE}, or write it into {config_path()}",
                )
        turn = tuple(url for url in self.ice_servers if url.lower().startswith("turn"))
        stun = tuple(url for url in self.ice_servers if url not in turn)
        username, credential = self._credentials() if turn else (None, None)
        return (
            *(IceServer(urls=(url,)) for url in stun),
            *(IceServer(urls=(url,), username=username, credential=credential) for url in turn),
        )

    def relays(self, config: Config) -> bool:
        """Whether to use TURN servers alone."""
        return self.relay_only or bool(config.relay_only)

    def restraint(self, config: Config) -> Restraint | None:
        """How much of the network to take; None: what there is.

        Raises:
            UsageError: the limit is no rate, and no timetable of rates.
        """
        text = config.limit if self.limit is None else self.limit
        background = self.background or bool(config.background)
        if text is None and not background:
            return None
        from p2pxfer.peer.restraint import Limit, Restraint

        try:
            limit = Limit() if text is None else Limit.parse(text)
        except ValueError as error:
            raise UsageError(
                f"not a limit: {error}",
                "a limit looks like 2M, which is 2,000,000 bytes per second, or like "
                "08:00-18:00=2M,*=off",
            ) from error
        return Restraint(limit, background)

    def _credentials(self) -> tuple[str | None, str | None]:
        if self.ice_credentials_file is not None:
            text = secret_file(self.ice_credentials_file, refuse=refuse_if_others_may_read)
        else:
            text = os.environ.get(ICE_CREDENTIALS_VARIABLE, "")
        if not text:
            return None, None
        username, colon, credential = text.partition(":")
        if not colon:
            raise UsageError(
                "TURN credentials must be USER:PASSWORD",
                f"mend the file, or {ICE_CREDENTIALS_VARIABLE}",
            )
        return username, credential
