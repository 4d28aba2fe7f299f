"""``p2pxfer clean``: what unfinished transfers have left behind, shown and removed."""

# ruff: noqa: PLC0415  # --help must answer at once

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from p2pxfer.cli import wording
from p2pxfer.errors import ExitCode

if TYPE_CHECKING:
    from p2pxfer.cli.screen import Screen
    from p2pxfer.files.journal import Journals, JournalView
    from p2pxfer.files.leftovers import Leftover

QUESTION = "Remove all this? What has arrived whole stays. [y/N] "
SIZE_COLUMNS = 9


def clean(
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove it without asking.")] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Also what was used within the last day, what went to a disk that is not mounted "
            "now, and what unfinished sends need to go on.",
        ),
    ] = False,
) -> int:
    """Show what unfinished transfers have left, and remove it.

    Transfers that are running now are left alone; so is what was used within the last day, and what
    went into a folder that is not there now, or closed, unless --all is given. After two weeks it
    goes by itself, or after half a year where the folder is not there.
    """
    from p2pxfer.cli.screen import Screen
    from p2pxfer.files.journal import Journals
    from p2pxfer.files.keyring import Keyring
    from p2pxfer.files.state import state_path

    listing, screen = Screen(sys.stdout), Screen(sys.stderr)
    journals, keyring = Journals(state_path("transfers")), Keyring(state_path("sending"))
    try:
        sends = len(keyring) if everything else 0
        found = Found.of(journals, time.time(), everything=everything, sends=sends)
        listing.write(found.lines(listing))
        listing.close()
        if found.recent:
            some = wording.count(found.recent, "unfinished transfer")
            screen.write(f"{some} of the last day may still go on; --all shows all\n")
        if found.away:
            some = wording.count(found.away, "unfinished transfer")
            screen.write(
                f"{some} went to a folder that is not there now, or closed; --all forgets that\n"
            )
        if found and not yes and not _agreed(screen):
            screen.write("nothing was removed; p2pxfer clean --yes removes it without asking\n")
            return ExitCode.DONE
        for transfer in found.transfers:
            journals.remove(transfer.view, away=everything)
        if everything:
            keyring.clear()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    finally:
        listing.close()
        screen.close()
    return ExitCode.DONE


class Unfinished(Struct, frozen=True):
    """One transfer that nobody works on.

    Attributes:
        view: its journal.
        leftovers: its temporaries that are there.
        age: seconds since it was worked on.
    """

    view: JournalView
    leftovers: list[Leftover]
    age: float


class Found(Struct, frozen=True):
    """What there is to remove.

    Attributes:
        transfers: that were to be received.
        recent: how many others are too recent.
        away: of how many others the folder is not there, or closed: its disk may not be mounted.
        sends: secrets that unfinished sends would need to go on.
    """

    transfers: list[Unfinished]
    recent: int
    away: int
    sends: int

    @classmethod
    def of(cls, journals: Journals, now: float, *, everything: bool, sends: int) -> Found:
        """Look for it."""
        idle = [view for view in journals.all() if not view.live]
        old = [view for view in idle if everything or now - view.modified > wording.DAY]
        there = [view for view in old if everything or not view.away]
        transfers = [Unfinished(view, view.leftovers(), now - view.modified) for view in there]
        return cls(transfers, len(idle) - len(old), len(old) - len(there), sends)

    def __bool__(self) -> bool:
        return bool(self.transfers or self.sends)

    def lines(self, screen: Screen) -> str:
        """The listing."""
        if not self:
            return "nothing to clean\n"
        shown = ""
        for transfer in self.transfers:
            header = transfer.view.header
            label = screen.style.bold(wording.name(header.label) or "a transfer")
            age = wording.duration(max(transfer.age, 1.0))
            shown += f"{label}, into {wording.name(header.output)}, {age} ago\n"
            for leftover in transfer.leftovers:
                path = wording.name(os.path.relpath(leftover.path, header.output))
                shown += f"  {wording.size(leftover.size):>{SIZE_COLUMNS}}  {path}\n"
        files = [leftover for transfer in self.transfers for leftover in transfer.leftovers]
        amount = wording.size(sum(leftover.size for leftover in files))
        if self.transfers:
            transfers = wording.count(len(self.transfers), "unfinished transfer")
            partials = wording.count(len(files), "partial file")
            shown += f"{transfers}, {partials}, {amount}\n"
        if self.sends:
            shown += f"what {wording.count(self.sends, 'unfinished send')} would need to go on\n"
        return shown


def _agreed(screen: Screen) -> bool:
    """Ask, if somebody is at a terminal."""
    import asyncio

    from p2pxfer.cli.answers import NO, YES
    from p2pxfer.cli.editor import Editor
    from p2pxfer.cli.keyboard import terminal
    from p2pxfer.cli.prompt import Prompt

    keyboard = terminal(input_is_data=False)
    if keyboard is None:
        return False
    prompt = Prompt(
        screen,
        QUESTION,
        Editor(),
        refused=lambda text: None if text.strip().lower() in YES | NO else "type y or n",
    )
    try:
        return asyncio.run(prompt.answer(keyboard)).strip().lower() in YES
    except EOFError:
        return False
