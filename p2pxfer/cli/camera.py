"""``p2pxfer camera``: the group, and what needs no other side: ``list`` and ``show``."""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from p2pxfer.cli.camera_flags import (
    DeviceFlag,
    FacingFlag,
    FromFlag,
    HeightFlag,
    RateFlag,
    WidthFlag,
)
from p2pxfer.cli.camera_serve import serve
from p2pxfer.cli.camera_watch import record, snap
from p2pxfer.cli.manual import GroupedCommand, Overview
from p2pxfer.errors import ExitCode, TransferError

camera = typer.Typer(
    cls=Overview,
    help="See through a camera of another machine, or let others see through this one's.",
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def list_devices(
    *,
    json: Annotated[
        bool, typer.Option("--json", help="A line of JSON for each device on standard output.")
    ] = False,
) -> int:
    """List the cameras and microphones of this machine, and what the cameras can do."""
    import json as jsonlib

    from p2pxfer.cli.screen import Screen
    from p2pxfer.files.escaping import escaped
    from p2pxfer.session.look import devices

    listing, screen = Screen(sys.stdout), Screen(sys.stderr)
    found = devices()
    for number, device in found:
        if json:
            fields = {
                "kind": device.kind,
                "number": number,
                "name": device.name,
                "label": device.label,
                "modes": device.modes,
            }
            listing.write(jsonlib.dumps(fields) + "\n")
            continue
        what = "camera" if device.kind == "video" else "microphone"
        listing.write(f"{what:<11}{number:>2}  {escaped(device.label)}  {escaped(device.name)}\n")
        for mode in device.modes:
            listing.write(f"{'':<15}{escaped(mode)}\n")
    if not found:
        screen.write("no camera and no microphone is known here; --from test: needs none\n")
    listing.close()
    screen.close()
    return ExitCode.DONE


def show(
    *,
    device: DeviceFlag = None,
    from_: FromFlag = None,
    width: WidthFlag = None,
    height: HeightFlag = None,
    rate: RateFlag = None,
    facing: FacingFlag = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the picture there, as .jpg, .png or .webp, instead of showing it.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
) -> int:
    """Look at what others would see: a picture in the terminal, or in a file."""
    import asyncio

    from p2pxfer.cli.preview import drawn
    from p2pxfer.cli.screen import Screen
    from p2pxfer.cli.sentences import error_lines
    from p2pxfer.files.escaping import escaped
    from p2pxfer.media.wanted import Wanted
    from p2pxfer.session.look import look

    screen = Screen(sys.stderr)
    wanted = Wanted(
        clip=from_,
        device=device,
        width=width,
        height=height,
        rate=rate,
        facing=facing.value if facing is not None else None,
    )
    try:
        sight = asyncio.run(look(wanted))
        seen = f"{escaped(sight.name)}, {sight.width} × {sight.height}"
        shown = None if output is not None else drawn(sight)
        if shown is None:
            place = sight.save(output, overwrite=overwrite)
            screen.write(f"{seen}, is in {escaped(str(place))}\n")
        else:
            sys.stdout.write(shown)
            sys.stdout.flush()
            screen.write(f"{seen}\n")
    except TransferError as error:
        screen.write(error_lines(screen, error))
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    finally:
        screen.close()
    return ExitCode.DONE


camera.command("list", cls=GroupedCommand, short_help="List cameras and microphones.")(list_devices)
camera.command(cls=GroupedCommand, short_help="Share a camera; shows a code.")(serve)
camera.command(cls=GroupedCommand, short_help="Take stills of another machine's camera.")(snap)
camera.command(cls=GroupedCommand, short_help="Record another machine's camera.")(record)
camera.command(cls=GroupedCommand, short_help="Look at what others would see.")(show)
