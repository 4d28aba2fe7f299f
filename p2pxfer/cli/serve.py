"""``p2pxfer serve``: a rendezvous, until somebody ends it.

What its flags mean, and which are refused, is in `serve_settings`.
"""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2pxfer.cli.quantities import seconds
from p2pxfer.errors import ExitCode, TransferError, UsageError
from p2pxfer.files.handles import more_handles
from p2pxfer.rendezvous.address import DEFAULT_PORT, is_loopback

if TYPE_CHECKING:
    from p2pxfer.cli.screen import Screen
    from p2pxfer.cli.serve_settings import Settings
    from p2pxfer.rendezvous.server.limits import Carriage

LASTING = (700, 10, 10)  # Python's own thresholds: a server outlives what a start is spared
LISTENING = "Where it listens"
CLIENTS = "What clients get"
RELAY = "What is carried for clients that find no path"
LOOPBACK_ONLY = "that is this machine alone; --host 0.0.0.0 lets others in, too\n"


def serve(
    *,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Listen on this address; :: for all, 0.0.0.0 for all of IPv4.",
            rich_help_panel=LISTENING,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port",
            metavar="PORT",
            min=0,
            max=65535,
            help="Listen on this port; 0 for any free one.",
            rich_help_panel=LISTENING,
        ),
    ] = DEFAULT_PORT,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            "--tls-cert",
            metavar="FILE",
            help="Serve https with this certificate chain (PEM).",
            rich_help_panel=LISTENING,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            "--tls-key",
            metavar="FILE",
            help="And this private key (PEM).",
            rich_help_panel=LISTENING,
        ),
    ] = None,
    trust_proxy: Annotated[
        bool,
        typer.Option(
            "--trust-proxy",
            help="Believe the X-Forwarded-For that a web server in front adds.",
            rich_help_panel=LISTENING,
        ),
    ] = False,
    stun_url: Annotated[
        list[str] | None,
        typer.Option(
            "--stun-url",
            metavar="URL",
            help="A STUN server, such as stun:host:3478. May be repeated.",
            rich_help_panel=CLIENTS,
        ),
    ] = None,
    turn_url: Annotated[
        list[str] | None,
        typer.Option(
            "--turn-url",
            metavar="URL",
            help="A TURN server, such as turn:host:3478 or turns:host:443. May be repeated.",
            rich_help_panel=CLIENTS,
        ),
    ] = None,
    turn_secret_file: Annotated[
        Path | None,
        typer.Option(
            "--turn-secret-file",
            metavar="FILE",
            help="Its static-auth-secret (coturn): clients get credentials that last a day.",
            rich_help_panel=CLIENTS,
        ),
    ] = None,
    motd: Annotated[
        str,
        typer.Option(
            "--motd",
            metavar="TEXT",
            help="A line that every client shows its user.",
            rich_help_panel=CLIENTS,
        ),
    ] = "",
    relay_bytes: Annotated[
        str | None,
        typer.Option(
            "--relay-bytes",
            metavar="SIZE",
            help="Carry their sealed streams, so much a day for one address: 2G. Else nothing is.",
            rich_help_panel=RELAY,
        ),
    ] = None,
    relay_total: Annotated[
        str | None,
        typer.Option(
            "--relay-total",
            metavar="SIZE",
            help="And so much a day for all; else what ten addresses may use.",
            rich_help_panel=RELAY,
        ),
    ] = None,
    relay_rate: Annotated[
        str | None,
        typer.Option(
            "--relay-rate",
            metavar="RATE",
            help="Bytes per second at most, for all together: 5M, 800k.",
            rich_help_panel=RELAY,
        ),
    ] = None,
    code_lifetime: Annotated[
        str,
        typer.Option(
            "--code-lifetime",
            metavar="TIME",
            help="How long a code may live at most: 90s, 10m, 2h, 7d.",
            rich_help_panel=CLIENTS,
        ),
    ] = "7d",
) -> int:
    """Run a rendezvous: where two sides meet, and nothing of what they say can be read.

    Ctrl-C or SIGTERM ends it; that is not an error, and the exit code is 0.
    """
    import asyncio

    from p2pxfer.cli import serve_settings
    from p2pxfer.cli.screen import Screen
    from p2pxfer.cli.sentences import error_lines

    screen = Screen(sys.stderr)
    try:
        settings = serve_settings.Settings(
            host=host,
            port=port,
            tls=serve_settings.tls(tls_cert, tls_key),
            trust_proxy=trust_proxy,
            ice_servers=serve_settings.ice_servers(stun_url or []),
            turn=serve_settings.turn(turn_url or [], turn_secret_file),
            motd=serve_settings.motd(motd),
            carriage=serve_settings.carriage(relay_bytes, relay_total, relay_rate),
            lifetime=seconds(code_lifetime),
        )
        asyncio.run(_serve(settings, screen))
    except TransferError as error:
        screen.write(error_lines(screen, error))
        return error.exit_code
    except KeyboardInterrupt:  # where the loop can't watch signals, as on Windows
        return ExitCode.DONE
    finally:
        screen.close()
    return ExitCode.DONE


async def _serve(settings: Settings, screen: Screen) -> None:
    from p2pxfer.rendezvous.server import app
    from p2pxfer.rendezvous.server.limits import Limits

    limits = Limits()
    limits = limits.within(more_handles(limits.descriptors))
    try:
        running = await app.start(
            None if settings.host == "::" and settings.port else settings.host,  # IPv4, too
            settings.port,
            ssl_context=settings.tls,
            trust_proxy=settings.trust_proxy,
            ice_servers=settings.ice_servers,
            turn=settings.turn,
            motd=settings.motd,
            limits=limits,
            carriage=settings.carriage,
            max_lifetime=settings.lifetime,
        )
    except OSError as error:
        raise UsageError(
            f"can't listen on {settings.host} port {settings.port}: {error.strerror or error}",
            "choose another with --host and --port",
        ) from error
    gc.set_threshold(*LASTING)
    try:
        screen.write(_welcome(settings, running.port, screen))
        await _told_to_end()
    finally:
        await running.close()


async def _told_to_end() -> None:
    import asyncio

    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, told.set)
        except NotImplementedError:  # Windows: KeyboardInterrupt it is
            break
    await told.wait()


def _welcome(settings: Settings, port: int, screen: Screen) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.tls else "http"
    everywhere = settings.host in {"0.0.0.0", "::"}  # noqa: S104  # compared, not bound
    url = f"{scheme}://{'THIS-MACHINE' if everywhere else host}:{port}"
    shown = screen.style.bold(url)
    return (
        f"rendezvous listens on {host} port {port}; Ctrl-C ends it\n"
        f"one side types:  p2pxfer send FILE -r {shown}\n"
        f"the other:       p2pxfer receive -r {shown}\n"
        + _carries(settings.carriage)
        + ("" if not is_loopback(settings.host) else LOOPBACK_ONLY)
    )


def _carries(carriage: Carriage) -> str:
    from p2pxfer.cli.wording import size

    if not carriage.each:
        return ""
    each, total = size(carriage.each), size(carriage.total)
    return f"it carries streams that find no path: {each} a day for one address, {total} in all\n"
