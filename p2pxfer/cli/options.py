"""Options: the flags that commands share, and what their values mean.

Each flag is named once here, with its help; those about the network are in `network_flags`.
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

if TYPE_CHECKING:
    from p2pxfer.cli.render import Renderer
    from p2pxfer.cli.scene import Scene

CODE_VARIABLE = "P2PXFER_CODE"
MAX_SECRET_FILE = 4096  # bytes of a code or a credential

OUTPUT = "What is shown"
CODE = "The code"

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
