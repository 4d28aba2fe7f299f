"""``p2pxfer send``."""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct
from msgspec.structs import replace

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
    CODE,
    CodeFileFlag,
    GiveUpFlag,
    JsonFlag,
    OutputFlags,
    QuietFlag,
    VerboseFlag,
    VerifyFlag,
    WaitFlag,
    secret_file,
)
from p2pxfer.cli.quantities import patience, seconds
from p2pxfer.errors import LocalFileError, UsageError

if TYPE_CHECKING:
    from p2pxfer.cli.render import Renderer

STDIN = "-"
MAX_TEXT = 1024 * 1024  # bytes of --text
STDIN_NAME = "stdin"
WORDS = 2
WHAT = "What is sent"


class Symlinks(StrEnum):
    """What becomes of symlinks."""

    KEEP = "keep"
    FOLLOW = "follow"
    SKIP = "skip"


def send(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="Files and folders; - is standard input."),
    ] = None,
    *,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="What standard input is called on the other side.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            metavar="TEXT",
            help="Send this text; with - what standard input says, out of other users' sight.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Leave out what matches, as .gitignore matches. May be repeated.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    exclude_from: Annotated[
        list[Path] | None,
        typer.Option(
            "--exclude-from",
            metavar="FILE",
            help="Read such patterns from a file. May be repeated.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    gitignore: Annotated[
        bool,
        typer.Option(
            "--gitignore",
            help="Leave out what the .gitignore files in the tree name.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    symlinks: Annotated[
        Symlinks,
        typer.Option(
            "--symlinks",
            metavar="HOW",
            help="keep, follow or skip: send links, what they point to, or neither.",
            show_default=True,
            rich_help_panel=WHAT,
        ),
    ] = Symlinks.KEEP,
    words: Annotated[
        int | None,
        typer.Option(
            "--words",
            metavar="N",
            help=f"How many words the code has, {WORDS} unless given.",
            rich_help_panel=CODE,
        ),
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(
            "--code",
            metavar="CODE",
            help="A code of your own, at least 64 bits; other users can see it: see --code-file.",
            rich_help_panel=CODE,
        ),
    ] = None,
    code_file: CodeFileFlag = None,
    code_out: Annotated[
        Path | None,
        typer.Option(
            "--code-out",
            metavar="FILE",
            help="Write the code into a file that you alone can read.",
            rich_help_panel=CODE,
        ),
    ] = None,
    wait: WaitFlag = "1h",
    give_up_after: GiveUpFlag = "10m",
    verify: VerifyFlag = False,
    qr: Annotated[
        bool,
        typer.Option("--qr", help="Show the code as a QR code, too.", rich_help_panel=CODE),
    ] = False,
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
    """Send files, folders, standard input or a text; shows the code for the other side."""
    from p2pxfer.cli.run import run
    from p2pxfer.cli.scene import Scene

    output = OutputFlags(quiet=quiet, verbose=verbose, json=json)
    own_code = code is not None or code_file is not None
    told = own_code or (quiet and code_out is not None)
    renderer = output.renderer(Scene(sending=True, verbose=verbose, qr=qr, code_known=told))
    order = Order(
        paths=tuple(paths or ()),
        name=name,
        text=text,
        exclude=tuple(exclude or ()),
        exclude_from=tuple(exclude_from or ()),
        gitignore=gitignore,
        symlinks=symlinks,
        words=words,
        code=code,
        code_file=code_file,
        code_out=code_out,
        wait=wait,
        give_up_after=give_up_after,
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
        output=output,
    )
    return run(renderer, lambda: order.carry_out(renderer))


class StandardInput:
    """Standard input as a stream to send, read as it comes and without blocking the loop."""

    async def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, as soon as there are any; none at the end."""
        from aiofiles import stdin_bytes

        return await stdin_bytes.read1(size)


class Order(Struct, frozen=True, kw_only=True):
    """What the command line asks for, checked before anything happens."""

    paths: tuple[str, ...]
    name: str | None
    text: str | None
    exclude: tuple[str, ...]
    exclude_from: tuple[Path, ...]
    gitignore: bool
    symlinks: Symlinks
    words: int | None
    code: str | None
    code_file: Path | None
    code_out: Path | None
    wait: str
    give_up_after: str
    verify: bool
    network: NetworkFlags
    output: OutputFlags

    @property
    def streams(self) -> bool:
        """Whether standard input is what is sent."""
        return self.paths == (STDIN,)

    def check(self) -> None:
        """Refuse what makes no sense together.

        Raises:
            UsageError: with what to type instead.
        """
        self.output.check()
        if not self.paths and self.text is None:
            raise UsageError(
                "nothing to send",
                "name files or folders, - for standard input, or --text TEXT",
            )
        if self.paths and self.text is not None:
            raise UsageError("--text goes alone, without paths", "send them one after the other")
        if STDIN in self.paths and not self.streams:
            raise UsageError(
                "- goes alone, since standard input is one stream",
                "send the paths by themselves, or ./- for a file of that name",
            )
        if self.name is not None and not self.streams:
            raise UsageError("--name is for standard input", "type: p2pxfer send - --name NAME")
        if self.code is not None and self.code_file is not None:
            raise UsageError("--code and --code-file exclude each other", "give one of them")
        if (self.code or self.code_file) and (self.words or self.code_out):
            raise UsageError(
                "--words and --code-out are for a code that is drawn, not for your own",
                "leave them out, or leave out --code and --code-file",
            )

    async def carry_out(self, renderer: Renderer) -> None:
        """Send it.

        Raises:
            TransferError: why it was not done, or not wholly.
        """
        self.check()
        from p2pxfer.cli.answers import Answers
        from p2pxfer.cli.keyboard import terminal
        from p2pxfer.files.walk import WalkOptions
        from p2pxfer.identity.config import load
        from p2pxfer.pairing.code import MAX_WORDS, MIN_WORDS
        from p2pxfer.peer.loading import without_media
        from p2pxfer.session.send import send as send_session

        without_media()
        config = load()
        renderer.scene = replace(renderer.scene, join=self.network.join(config))
        keyboard = terminal(input_is_data=self.streams or self.text == STDIN)
        if self.verify and keyboard is None:
            raise UsageError(
                "--verify needs a terminal, where somebody compares words", "leave out --verify"
            )
        if self.words is not None and not MIN_WORDS <= self.words <= MAX_WORDS:
            raise UsageError(
                f"a code has {MIN_WORDS} to {MAX_WORDS} words, not {self.words}",
                "give another --words",
            )
        await send_session(
            () if self.streams else self.paths,
            network=self.network.network(config),
            text=self._text(),
            stream=StandardInput() if self.streams else None,
            stream_name=os.fsencode(self.name or STDIN_NAME),
            code=self._code(renderer),
            words=self.words or WORDS,
            wait=seconds(self.wait),
            give_up_after=patience(self.give_up_after),
            verify=self.verify,
            options=WalkOptions(
                symlinks=self.symlinks.value,
                exclude=self.exclude,
                exclude_from=self.exclude_from,
                gitignore=self.gitignore,
            ),
            code_out=self.code_out,
            progress=renderer,
            interaction=Answers(renderer, keyboard),
        )

    def _text(self) -> str | None:
        if self.text != STDIN:
            return self.text
        raw = sys.stdin.buffer.read(MAX_TEXT + 1)
        if len(raw) > MAX_TEXT:
            raise UsageError("a text of more than 1 MiB", "type: p2pxfer send - --name NAME")
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise LocalFileError(
                "standard input is not text", "type: p2pxfer send - --name NAME"
            ) from error

    def _code(self, renderer: Renderer) -> str | None:
        if self.code_file is None:
            return self.code
        return secret_file(self.code_file, refuse=renderer.warn_if_others_may_read)
