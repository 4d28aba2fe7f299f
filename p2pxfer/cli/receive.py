"""``p2pxfer receive``."""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct
from msgspec.structs import replace

from p2pxfer.cli.given_code import completed, given, given_once
from p2pxfer.cli.network_flags import (
    BackgroundFlag,
    IceCredentialsFlag,
    IceServerFlag,
    LanFlag,
    LimitFlag,
    NetworkFlags,
    RelayOnlyFlag,
    RendezvousFlag,
)
from p2pxfer.cli.options import (
    CODE_VARIABLE,
    CodeFileFlag,
    GiveUpFlag,
    JsonFlag,
    OutputFlags,
    QuietFlag,
    VerboseFlag,
    VerifyFlag,
    WaitFlag,
)
from p2pxfer.cli.quantities import byte_count, patience, seconds
from p2pxfer.errors import UsageError
from p2pxfer.files.handles import more_handles

if TYPE_CHECKING:
    from p2pxfer.cli.render import Renderer
    from p2pxfer.identity.config import Config

STDOUT = "-"
WHERE = "Where it goes"


class Existing(StrEnum):
    """What becomes of files that are there."""

    ASK = "ask"
    OVERWRITE = "overwrite"
    RENAME = "rename"
    SKIP = "skip"
    FAIL = "fail"
    UPDATE = "update"


class Resume(StrEnum):
    """What of earlier runs to go on with."""

    AUTO = "auto"
    ANY = "any"
    NEVER = "never"


def receive(
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE",
            help=f"The code; else --code-file, else {CODE_VARIABLE}, else you are asked for it, "
            "which keeps it out of other users' sight.",
            autocompletion=completed,
        ),
    ] = None,
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE|-",
            help="A folder, a file for a single one, or - for standard output; else this folder.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Take it without asking.", rich_help_panel=WHERE),
    ] = False,
    existing: Annotated[
        Existing | None,
        typer.Option(
            "--existing",
            metavar="HOW",
            help="ask, overwrite, update, rename, skip or fail, where a file is there already; "
            "asks on a terminal, else fails.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            help="Refuse more than this in all: 500M, 2GiB.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    unsafe_symlinks: Annotated[
        bool,
        typer.Option(
            "--unsafe-symlinks",
            help="Keep symlinks that are absolute or lead out of the output folder.",
            rich_help_panel=WHERE,
        ),
    ] = False,
    portable_names: Annotated[
        bool,
        typer.Option(
            "--portable-names",
            help="Refuse names that other systems can't hold.",
            rich_help_panel=WHERE,
        ),
    ] = False,
    code_file: CodeFileFlag = None,
    wait: WaitFlag = "1h",
    give_up_after: GiveUpFlag = "10m",
    resume: Annotated[
        Resume,
        typer.Option(
            "--resume",
            metavar="HOW",
            help="auto goes on with what this sender began, any with whatever was begun here, "
            "never starts anew.",
            show_default=True,
            rich_help_panel=WHERE,
        ),
    ] = Resume.AUTO,
    verify: VerifyFlag = False,
    rendezvous: RendezvousFlag = None,
    lan: LanFlag = False,
    ice_server: IceServerFlag = None,
    ice_credentials_file: IceCredentialsFlag = None,
    relay_only: RelayOnlyFlag = False,
    limit: LimitFlag = None,
    background: BackgroundFlag = False,
    quiet: QuietFlag = False,
    verbose: VerboseFlag = False,
    json: JsonFlag = False,
) -> int:
    """Receive what the other side sends; asks for the code that it shows."""
    from p2pxfer.cli.run import run
    from p2pxfer.cli.scene import Scene

    flags = OutputFlags(quiet=quiet, verbose=verbose, json=json)
    renderer = flags.renderer(
        Scene(sending=False, verbose=verbose, destination=output or ""),
        output_is_data=output == STDOUT,
    )
    order = Order(
        code=code,
        output=output,
        yes=yes,
        existing=existing,
        max_size=max_size,
        unsafe_symlinks=unsafe_symlinks,
        portable_names=portable_names,
        code_file=code_file,
        wait=wait,
        give_up_after=give_up_after,
        resume=resume,
        verify=verify,
        network=NetworkFlags(
            rendezvous=rendezvous,
            lan=lan,
            ice_servers=tuple(ice_server or ()),
            ice_credentials_file=ice_credentials_file,
            relay_only=relay_only,
            limit=limit,
            background=background,
        ),
        flags=flags,
    )
    more_handles()
    return run(renderer, lambda: order.carry_out(renderer))


class Order(Struct, frozen=True, kw_only=True):
    """What the command line asks for, checked before anything happens."""

    code: str | None
    output: str | None
    yes: bool
    existing: Existing | None
    max_size: str | None
    unsafe_symlinks: bool
    portable_names: bool
    code_file: Path | None
    wait: str
    give_up_after: str
    resume: Resume
    verify: bool
    network: NetworkFlags
    flags: OutputFlags

    def check(self, keyboard: int | None) -> None:
        """Refuse what makes no sense together, or needs somebody where nobody is.

        Raises:
            UsageError: with what to type instead.
        """
        self.flags.check()
        given_once(self.code, self.code_file)
        if keyboard is not None:
            return
        if not self.yes:
            raise UsageError(
                "nobody is at a terminal to accept what comes", "type: p2pxfer receive --yes …"
            )
        if self.existing is Existing.ASK:
            raise UsageError(
                "--existing ask needs a terminal", "choose update, overwrite, rename, skip or fail"
            )
        if self.verify:
            raise UsageError(
                "--verify needs a terminal, where somebody compares words", "leave out --verify"
            )

    async def carry_out(self, renderer: Renderer) -> None:
        """Receive it.

        Raises:
            TransferError: why it was not done, or not wholly.
        """
        from p2pxfer.cli.keyboard import terminal

        keyboard = terminal(input_is_data=False)
        self.check(keyboard)
        from p2pxfer.cli.answers import Answers
        from p2pxfer.identity.config import load
        from p2pxfer.peer.loading import without_media
        from p2pxfer.session.receive import receive as receive_session

        without_media()
        config = load()
        output = self._output(config)
        if output != STDOUT:
            renderer.scene = replace(renderer.scene, destination=str(output or ""))
        network = self.network.network(config)
        code = await given(self.code, self.code_file, renderer, keyboard)
        renderer.finding()
        await receive_session(
            code,
            network=network,
            output=output,
            existing=self._existing(config, keyboard),
            max_size=None if self.max_size is None else byte_count(self.max_size),
            verify=self.verify,
            wait=seconds(self.wait),
            give_up_after=patience(self.give_up_after),
            resume=self.resume.value,
            unsafe_symlinks=self.unsafe_symlinks,
            portable_names=self.portable_names,
            progress=renderer,
            interaction=Answers(renderer, keyboard, yes=self.yes),
        )

    def _output(self, config: Config) -> str | None:
        """As `session.receive` takes it: a slash at the end makes it a folder in any case."""
        if self.output is None and config.output is not None:
            return os.path.join(config.output, "")
        return self.output

    def _existing(self, config: Config, keyboard: int | None) -> str:
        chosen = self.existing or (Existing(config.existing) if config.existing else None)
        if chosen is None or (chosen is Existing.ASK and keyboard is None):
            chosen = Existing.FAIL if keyboard is None else Existing.ASK
        return chosen.value
