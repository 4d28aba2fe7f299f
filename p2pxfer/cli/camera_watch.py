"""``p2pxfer camera snap`` and ``p2pxfer camera record``: what another machine's camera sees."""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import Struct

from p2pxfer.cli.camera_flags import CameraFlag, OverwriteFlag
from p2pxfer.cli.given_code import completed, given, given_once
from p2pxfer.cli.network_flags import (
    IceCredentialsFlag,
    IceServerFlag,
    LanFlag,
    NetworkFlags,
    RelayOnlyFlag,
    RendezvousFlag,
)
from p2pxfer.cli.options import (
    CODE_VARIABLE,
    CodeFileFlag,
    JsonFlag,
    OutputFlags,
    QuietFlag,
    VerboseFlag,
    VerifyFlag,
    WaitFlag,
)
from p2pxfer.cli.quantities import seconds
from p2pxfer.errors import UsageError

if TYPE_CHECKING:
    from p2pxfer.cli.render import Renderer

STDOUT = "-"
WHERE = "Where it goes"
WHAT = "What is taken"

CodeArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="CODE",
        help=f"The code; else {CODE_VARIABLE}, else --code-file, else you are asked for it, "
        "which keeps it out of other users' sight.",
        autocompletion=completed,
    ),
]


class StillFormat(StrEnum):
    """How a still is written."""

    JPG = "jpg"
    PNG = "png"
    WEBP = "webp"


class FilmFormat(StrEnum):
    """How a recording is written."""

    MP4 = "mp4"
    MKV = "mkv"
    WEBM = "webm"


def snap(
    code: CodeArgument = None,
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            help="A .jpg, .png or .webp, numbered if there are several; or - for standard output.",
            show_default=True,
            rich_help_panel=WHERE,
        ),
    ] = "still.jpg",
    form: Annotated[
        StillFormat | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="jpg, png or webp; else by the file's name, and jpg for standard output.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    overwrite: OverwriteFlag = False,
    count: Annotated[
        int,
        typer.Option(
            "--count",
            metavar="N",
            help="How many stills.",
            show_default=True,
            rich_help_panel=WHAT,
        ),
    ] = 1,
    every: Annotated[
        str,
        typer.Option(
            "--every",
            metavar="TIME",
            help="How long from one to the next: 5s, 10m.",
            show_default=True,
            rich_help_panel=WHAT,
        ),
    ] = "1s",
    camera: CameraFlag = None,
    code_file: CodeFileFlag = None,
    wait: WaitFlag = "1h",
    verify: VerifyFlag = False,
    rendezvous: RendezvousFlag = None,
    lan: LanFlag = False,
    ice_server: IceServerFlag = None,
    ice_credentials_file: IceCredentialsFlag = None,
    relay_only: RelayOnlyFlag = False,
    quiet: QuietFlag = False,
    verbose: VerboseFlag = False,
    json: JsonFlag = False,
) -> int:
    """Take stills with a camera that another machine shares.

    Each is a whole picture, never one that was pieced together, and has inside when it was taken
    and with which camera. Where several are shown, there is one of each: still-camera1.jpg and so
    on.
    """

    async def work(code: str, **options: Any) -> None:
        from p2pxfer.session.snap import snap as snap_session

        await snap_session(
            code,
            output=output,
            form=form.value if form is not None else None,
            count=count,
            every=seconds(every),
            camera=camera,
            overwrite=overwrite,
            **options,
        )

    visit = Visit(
        command="p2pxfer camera snap",
        code=code,
        code_file=code_file,
        wait=wait,
        verify=verify,
        to_stdout=output == STDOUT,
        network=NetworkFlags(
            rendezvous=rendezvous,
            lan=lan,
            ice_servers=tuple(ice_server or ()),
            ice_credentials_file=ice_credentials_file,
            relay_only=relay_only,
        ),
        flags=OutputFlags(quiet=quiet, verbose=verbose, json=json),
    )
    return visit.run(work)


def record(
    code: CodeArgument = None,
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            help="A .mp4, .mkv or .webm; or - for standard output.",
            show_default=True,
            rich_help_panel=WHERE,
        ),
    ] = "clip.mp4",
    form: Annotated[
        FilmFormat | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="mp4, mkv or webm; else by the file's name, and mkv for standard output.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    overwrite: OverwriteFlag = False,
    duration: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="TIME",
            help="How long: 30s, 10m; else until it ends, or Ctrl-C.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    silent: Annotated[
        bool,
        typer.Option("--silent", help="Leave sound out.", rich_help_panel=WHAT),
    ] = False,
    camera: CameraFlag = None,
    code_file: CodeFileFlag = None,
    wait: WaitFlag = "1h",
    verify: VerifyFlag = False,
    rendezvous: RendezvousFlag = None,
    lan: LanFlag = False,
    ice_server: IceServerFlag = None,
    ice_credentials_file: IceCredentialsFlag = None,
    relay_only: RelayOnlyFlag = False,
    quiet: QuietFlag = False,
    verbose: VerboseFlag = False,
    json: JsonFlag = False,
) -> int:
    """Record a camera that another machine shares, with its sound.

    Where several are shown, each has a video stream of its own in the file. What was recorded until
    Ctrl-C, or until the other side is lost or the disk is full, is kept.
    """

    async def work(code: str, **options: Any) -> None:
        from p2pxfer.session.record import record as record_session

        await record_session(
            code,
            output=output,
            form=form.value if form is not None else None,
            seconds=seconds(duration) if duration is not None else None,
            audio=not silent,
            camera=camera,
            overwrite=overwrite,
            **options,
        )

    visit = Visit(
        command="p2pxfer camera record",
        code=code,
        code_file=code_file,
        wait=wait,
        verify=verify,
        to_stdout=output == STDOUT,
        network=NetworkFlags(
            rendezvous=rendezvous,
            lan=lan,
            ice_servers=tuple(ice_server or ()),
            ice_credentials_file=ice_credentials_file,
            relay_only=relay_only,
        ),
        flags=OutputFlags(quiet=quiet, verbose=verbose, json=json),
    )
    return visit.run(work)


class Visit(Struct, frozen=True, kw_only=True):
    """What both commands share: the code, the network, what is shown."""

    command: str
    code: str | None
    code_file: Path | None
    wait: str
    verify: bool
    to_stdout: bool
    network: NetworkFlags
    flags: OutputFlags

    def run(self, work: Callable[..., Awaitable[None]]) -> int:
        """Do ``work`` with the code and the options of every visit; the exit code."""
        from p2pxfer.cli.run import run
        from p2pxfer.cli.scene import Scene

        scene = Scene(
            sending=False,
            verbose=self.flags.verbose,
            destination=STDOUT if self.to_stdout else "",
            own=self.command,
            camera=True,
        )
        renderer = self.flags.renderer(scene, output_is_data=self.to_stdout)
        return run(renderer, lambda: self._carry_out(renderer, work))

    async def _carry_out(self, renderer: Renderer, work: Callable[..., Awaitable[None]]) -> None:
        from p2pxfer.cli.answers import Answers
        from p2pxfer.cli.keyboard import terminal
        from p2pxfer.identity.config import load

        self.flags.check()
        given_once(self.code, self.code_file)
        keyboard = terminal(input_is_data=False)
        if self.verify and keyboard is None:
            raise UsageError(
                "--verify needs a terminal, where somebody compares words", "leave out --verify"
            )
        config = load()
        network = self.network.network(config)
        code = await given(self.code, self.code_file, renderer, keyboard)
        renderer.finding()
        await work(
            code,
            network=network,
            wait=seconds(self.wait),
            verify=self.verify,
            progress=renderer,
            interaction=Answers(renderer, keyboard),
        )
