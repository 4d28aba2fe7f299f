"""Options: the flags that commands share, and what their values mean.

Each flag is named once here, with its help; `NetworkFlags` joins flags, environment and
configuration in that order. A TURN credential never comes from argv, which every user of the
machine may read.
"""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from p2pxfer.errors import LocalFileError, UsageError
from p2pxfer.identity.config import Config, config_path, refuse_if_others_may_read
from p2pxfer.rendezvous.address import parse

if TYPE_CHECKING:
    from p2pxfer.cli.render import Renderer
    from p2pxfer.cli.scene import Scene
    from p2pxfer.peer.restraint import Restraint
    from p2pxfer.peer.servers import IceServer
    from p2pxfer.session.network import Network

CODE_VARIABLE = "P2PXFER_CODE"
RENDEZVOUS_VARIABLE = "P2PXFER_RENDEZVOUS"
ICE_CREDENTIALS_VARIABLE = "P2PXFER_ICE_CREDENTIALS"
MAX_SECRET_FILE = 4096  # bytes of a code or a credential

NETWORK = "Network"
OUTPUT = "What is shown"
CODE = "The code"

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
VerifyFlag = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Show four words on both sides and wait for somebody to compare them.",
        rich_help_panel=CODE,
    ),
]
CodeFileFlag = Annotated[
    Path | None,
    typer.Option(
        "--code-file",
        metavar="FILE",
        help="Read the code from a file.",
        rich_help_panel=CODE,
    ),
]
WaitFlag = Annotated[
    str,
    typer.Option(
        "--wait",
        metavar="TIME",
        help="How long to wait for the other side: 90s, 10m, 2h.",
        show_default=True,
        rich_help_panel=CODE,
    ),
]
GiveUpFlag = Annotated[
    str,
    typer.Option(
        "--give-up-after",
        metavar="TIME",
        help="How long to try to make a broken connection again: 90s, 1h; 0 for not at all.",
        rich_help_panel=CODE,
    ),
]
QuietFlag = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show errors only.", rich_help_panel=OUTPUT),
]
VerboseFlag = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Show each file and what goes on underneath.",
        rich_help_panel=OUTPUT,
    ),
]
JsonFlag = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Events as lines of JSON on standard output.",
        rich_help_panel=OUTPUT,
    ),
]


class OutputFlags(Struct, frozen=True, kw_only=True):
    """How to show what goes on."""

    quiet: bool
    verbose: bool
    json: bool

    def renderer(self, scene: Scene, *, output_is_data: bool = False) -> Renderer:
        """The renderer that these flags and this terminal call for.

        Args:
            scene: what it should know beyond the events.
            output_is_data: whether received bytes go to standard output.
        """
        from p2pxfer.cli.render import Lines, Quiet
        from p2pxfer.cli.screen import Screen

        screen = Screen(sys.stderr)
        if self.json:
            from p2pxfer.cli.ndjson import Ndjson
            from p2pxfer.cli.outlet import Outlet

            return Ndjson(screen, scene, Outlet(sys.stderr if output_is_data else sys.stdout))
        if self.quiet:
            return Quiet(screen, scene)
        if screen.moves:
            from p2pxfer.cli.bars import Bars

            return Bars(screen, scene)
        return Lines(screen, scene)

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            UsageError: ``--quiet`` with ``--json`` or ``--verbose``.
        """
        if self.quiet and (self.json or self.verbose):
            raise UsageError("--quiet goes with neither --json nor --verbose", "leave one out")


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


def secret_file(path: Path, *, refuse: Callable[[int, Path], None] | None = None) -> str:
    """The first line of a small file that holds a secret.

    Args:
        path: the file.
        refuse: takes its mode and path, and raises where others may read what they must not.

    Raises:
        LocalFileError: it can't be read, or is not such a file.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_SECRET_FILE + 1).decode()
    except OSError as error:
        raise LocalFileError(f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LocalFileError(f"{path} is not text", "give the file that holds it") from error
    if len(text) > MAX_SECRET_FILE or not text.strip():
        raise LocalFileError(f"{path} holds no such thing", "give the file that holds it")
    if refuse is not None:
        refuse(mode, path)
    return text.strip().splitlines()[0].strip()
