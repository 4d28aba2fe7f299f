"""``p2pxfer doctor``: what works here, what that means, and what to do."""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2pxfer.cli.network_flags import (
    IceCredentialsFlag,
    IceServerFlag,
    NetworkFlags,
    RendezvousFlag,
)
from p2pxfer.errors import ExitCode, TransferError

if TYPE_CHECKING:
    from p2pxfer.cli.screen import Screen
    from p2pxfer.session.doctor import Finding, Patient

LABEL = 12  # columns of the subjects
LEAST_WIDTH = 30


def doctor(
    *,
    rendezvous: RendezvousFlag = None,
    ice_server: IceServerFlag = None,
    ice_credentials_file: IceCredentialsFlag = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where what arrives would go."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="A line of JSON for each finding on standard output.")
    ] = False,
) -> int:
    """Look at all that a transfer needs: what works, what that means, what to do.

    The exit code is 0 if nothing is bad, else that of a transfer that fails over the first thing
    that is.
    """
    import asyncio

    from p2pxfer.cli.screen import Screen
    from p2pxfer.cli.sentences import error_lines

    screen, listing = Screen(sys.stderr), Screen(sys.stdout)
    flags = NetworkFlags(
        rendezvous=rendezvous,
        ice_servers=tuple(ice_server or ()),
        ice_credentials_file=ice_credentials_file,
        relay_only=False,
    )
    try:
        return asyncio.run(_examine(_patient(flags, output), listing, json=json))
    except TransferError as error:
        screen.write(error_lines(screen, error))
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    finally:
        listing.close()
        screen.close()


def _patient(flags: NetworkFlags, output: Path | None) -> Patient:
    from p2pxfer.files.state import state_path
    from p2pxfer.identity.config import load
    from p2pxfer.session.doctor import Patient

    config = load()
    destination = (output or config.output or Path()).expanduser().absolute()
    return Patient(
        rendezvous=flags.url(config),
        ice_servers=flags.servers(config),
        folders=(destination, Path(state_path("transfers")).parent),
    )


async def _examine(patient: Patient, listing: Screen, *, json: bool) -> int:
    from p2pxfer.session.doctor import Verdict, examine

    code = ExitCode.DONE
    async for finding in examine(patient):
        listing.write(_line(finding) if json else _text(finding, listing))
        if finding.verdict is Verdict.BAD and code is ExitCode.DONE:
            code = finding.exit_code
    return code


def _line(finding: Finding) -> str:
    import json

    fields = {
        "subject": finding.subject,
        "verdict": finding.verdict.value,
        "found": finding.found,
        "meaning": finding.meaning,
        "advice": finding.advice,
    }
    return json.dumps(fields) + "\n"


def _text(finding: Finding, listing: Screen) -> str:
    from p2pxfer.cli.screen import Style
    from p2pxfer.files.escaping import escaped

    styles = {"good": Style.green, "limited": Style.yellow, "bad": Style.red, "unknown": Style.dim}
    verdict = styles[finding.verdict.value](listing.style, f"{finding.verdict.value:<8}")
    width = max(listing.columns, LABEL + LEAST_WIDTH)
    indent = " " * (LABEL + 9)
    head, *rest = textwrap.wrap(escaped(finding.found), width - len(indent)) or [""]
    shown = f"{finding.subject:<{LABEL}}{verdict} {head}\n"
    for text in (*rest, *textwrap.wrap(finding.meaning, width - len(indent))):
        shown += f"{indent}{text}\n"
    for text in textwrap.wrap(finding.advice, width - len(indent) - 2, break_long_words=False):
        shown += f"{indent}{listing.style.bold(text)}\n"
    return shown
