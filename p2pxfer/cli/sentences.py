"""Sentences: what is said of an error, of an entry that failed, of how far it is; lines, no state.

What came from a peer is escaped here, as everywhere it is put into a line. Nothing is drawn.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from p2pxfer.cli import wording
from p2pxfer.cli.screen import Screen
from p2pxfer.errors import ExitCode, Fault, RoomRefused, TransferError
from p2pxfer.files.escaping import escaped

if TYPE_CHECKING:
    from p2pxfer.cli.render import Scene
    from p2pxfer.cli.tally import Tally
    from p2pxfer.progress import EntryFailed

HANDS = {
    Fault.OURS: "in p2pxfer itself",
    Fault.USER: "in your hands",
    Fault.PEER: "in the hands of the other side",
    Fault.NETWORK: "in the network between you",
    Fault.RENDEZVOUS: "in the hands of the rendezvous",
}
SAID = {ExitCode.USAGE, ExitCode.INTERRUPTED, ExitCode.DECLINED}  # the message itself says whose
MAX_INDENT = 10  # columns of a label that following lines stand under
STDOUT = "-"


def destination(scene: Scene) -> str:
    """Where what arrives goes, after the word that comes before it."""
    if scene.destination == STDOUT:
        return "to standard output"
    return f"into {escaped(scene.destination or '.')}"


def progress_parts(tally: Tally) -> list[str]:
    """How far it is, as the words of a line."""
    fraction = tally.fraction
    parts = [] if fraction is None else [f"{int(fraction * 100)} %"]
    if tally.total is None:
        parts.append(wording.size(tally.done))
    else:
        more = "" if tally.complete else " so far"
        parts.append(f"{wording.size(tally.done)} of {wording.size(tally.total)}{more}")
    parts.append(wording.rate(tally.rate))
    if tally.finishing:
        parts.append("finishing")
    elif tally.left is not None:
        parts.append(f"{wording.clock(tally.left)} left")
    if tally.files:
        parts.append(wording.count(tally.files, "file"))
    return parts


def failed_line(screen: Screen, event: EntryFailed) -> str:
    """The line of an entry that did not cross."""
    label = screen.style.yellow("skipped:")
    return f"{label} {wording.name(event.path)}: {escaped(event.reason)}\n"


def error_lines(screen: Screen, error: TransferError) -> str:
    """What happened, whose hands it is in, what to type next."""
    style = screen.style
    interrupted = error.exit_code is ExitCode.INTERRUPTED
    label, colour = ("stopped:", style.yellow) if interrupted else ("error:", style.red)
    message = escaped(error.message)
    if error.exit_code not in SAID and not isinstance(error, RoomRefused):
        message += f" ({HANDS[error.fault]})"
    shown = colour(label) + wrapped(screen, f"{label} {message}").removeprefix(label)
    for hint in error.hint.splitlines():
        label = "hint:"
        shown += style.bold(label) + wrapped(screen, f"{label} {escaped(hint)}").removeprefix(label)
    return shown


def wrapped(screen: Screen, text: str, *, margin: str = "") -> str:
    """``text`` as lines that break between words; one line where there is no terminal."""
    if not screen.moves:
        return f"{margin}{text}\n"
    indent = margin + " " * (text.index(": ") + 2 if ": " in text[:MAX_INDENT] else 0)
    return (
        textwrap.fill(
            text,
            max(screen.columns - 1, MAX_INDENT * 2),
            initial_indent=margin,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
    )
