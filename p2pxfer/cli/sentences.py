"""Sentences: what is said to people of a code, a connection, an error, the end; lines, no state.

What came from a peer is escaped here, as everywhere it is put into a line. Nothing is drawn, and
whether and when something is said is not known.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from p2pxfer.cli import wording
from p2pxfer.cli.screen import Screen
from p2pxfer.errors import ExitCode, Fault, RoomRefused, TransferError
from p2pxfer.files.escaping import escaped

if TYPE_CHECKING:
    from p2pxfer.cli.scene import Scene
    from p2pxfer.cli.tally import Tally
    from p2pxfer.progress import CodeBurnt, CodeReady, Connected, EntryFailed, Finished, Stalled

HANDS = {
    Fault.OURS: "in p2pxfer itself",
    Fault.USER: "in your hands",
    Fault.PEER: "in the hands of the other side",
    Fault.NETWORK: "in the network between you",
    Fault.RENDEZVOUS: "in the hands of the rendezvous",
}
SAID = {ExitCode.USAGE, ExitCode.INTERRUPTED, ExitCode.DECLINED}  # the message itself says whose
MAX_INDENT = 10  # columns of a label that following lines stand under
NARROW = 64  # columns below which the code stands under its label instead of beside it
LABEL = 30  # columns of those labels
TOLD_FROM = 0.01  # of all: what needed not travel is worth a line
THROUGH_RENDEZVOUS = (
    "No other path was found: the rendezvous itself carries the bytes, which it can't read. "
    "This is the slow way."
)
STDOUT = "-"


def code(screen: Screen, scene: Scene, event: CodeReady) -> str:
    """The code, and what to do with it on the other machine."""
    style = screen.style
    rows = (
        ("On the other machine, type", style.bold(escaped(scene.join))),
        ("and give it this code", style.code(escaped(event.code))),
    )
    if screen.columns >= NARROW:
        shown = "".join(f"  {label:<{LABEL}}{value}\n" for label, value in rows)
    else:
        shown = "".join(f"  {label}\n    {value}\n" for label, value in rows)
    if scene.qr:
        from p2pxfer.cli.qr import drawn  # noqa: PLC0415  # 40 ms that few ask for

        shown += "\n" + drawn(event.code, style)
    lives = style.dim(f"It works once, within {wording.duration(event.lives)}.")
    near = _this_network_only(screen, scene, event.located) if event.located else ""
    return f"\n{shown}\n  {lives}\n\n{near}"


def _this_network_only(screen: Screen, scene: Scene, located: tuple[str, ...]) -> str:
    only = "Only machines on this network can use it. One that does not find this one types"
    elsewhere = f"For a machine elsewhere, stop, and type {scene.own} --rendezvous URL"
    forms = "".join(
        f"    {screen.style.bold(f'{scene.join} {escaped(form)}')}\n" for form in located
    )
    margin = "  "
    return (
        f"{wrapped(screen, only, margin=margin)}\n{forms}\n"
        f"{wrapped(screen, elsewhere, margin=margin)}\n"
    )


def burnt(screen: Screen, event: CodeBurnt) -> str:
    """A code is used up."""
    code = escaped(event.code)
    who = f"gave wrong words for {code}" if event.wrong else f"came for {code} and did not stay"
    after = "Here is a fresh one:" if event.left else "No more are drawn."
    return wrapped(screen, f"Somebody {who}: that code is void. {after}")


def connected(screen: Screen, scene: Scene, event: Connected) -> str:
    """Which way the bytes go."""
    style = screen.style
    way = "directly" if event.path == "direct" else "through a relay"
    if event.via == "rendezvous":
        way = "through the rendezvous"
    arrow = "↔" if style.unicode else "<->"
    trip = "" if event.rtt_ms is None else f", {event.rtt_ms:.3g} ms"
    local, remote = escaped(event.local), escaped(event.remote)
    line = f"Connected {way}  {local} {arrow} {remote}{trip}"
    if screen.moves and wording.columns(line) > screen.columns:
        ends = f"{trip}\n  {local}\n  {arrow} {remote}"
    else:
        ends = f"  {local} {arrow} {remote}{trip}"
    shown = f"Connected {way}{style.dim(ends)}\n"
    if event.via == "rendezvous":
        shown += wrapped(screen, THROUGH_RENDEZVOUS)
    if scene.verbose:
        times = wrapped(screen, wording.connect_times(event.took)).removesuffix("\n")
        shown += style.dim(times) + "\n"
    return shown


def stalled(screen: Screen, event: Stalled) -> str:
    """Nothing moves, and why."""
    label = "stalled:"
    line = f"{label} nothing has moved for {event.seconds:.0f} s, {escaped(event.cause)}"
    return screen.style.yellow(label) + wrapped(screen, line).removeprefix(label)


def finished(screen: Screen, scene: Scene, event: Finished, tally: Tally) -> str:
    """What crossed, and what of it was there already."""
    style = screen.style
    verb = "Sent" if scene.sending else "Received"
    files = wording.count(event.files, "file") + ", " if event.files else ""
    into = f" {destination(scene)}" if scene.destination else ""
    pace = event.size / event.seconds if event.seconds > 0 else 0.0
    verified = "verified by the other side" if scene.sending else "verified"
    done = f"{verb} {files}{wording.size(event.size)}{into}"
    facts = f"  {wording.clock(event.seconds)}, {wording.rate(pace)}, {verified}"
    if wording.columns(done + facts) + 2 > screen.columns:
        facts = ""
    tick = style.tick if event.failed == 0 else ""
    shown = f"{tick}{style.bold(done)}{style.dim(facts)}\n"
    saved = tally.done - tally.moved
    if saved > tally.done * TOLD_FROM:
        shown += style.dim(f"  {wording.size(saved)} of it did not need to travel") + "\n"
    return shown


def kept(scene: Scene, tally: Tally) -> str:
    """What an interruption leaves behind, as half a sentence."""
    if scene.camera:
        return "nothing is shown any more" if scene.sending else "what was taken is in place"
    if not tally.started:
        return "nothing had crossed yet"
    files = wording.count(tally.files, "file")
    place = "stay" if tally.files != 1 else "stays"
    if scene.sending:
        if not tally.files:
            return "nothing was changed on this side"
        return f"{files} had crossed and {place} on the other side"
    if scene.destination == STDOUT:
        return "what had arrived is on standard output"
    whole = f"{files} had arrived whole and {place} in {scene.destination or '.'}"
    return whole if tally.files else "no file was complete yet"


def go_on(scene: Scene, tally: Tally) -> str:
    """What to type after an interruption."""
    if not tally.connected or scene.camera:
        return "run the same command again"
    if scene.sending:
        again = "run the same command again; the other side needs the new code"
    else:
        again = "ask the sender to send it again, and receive with the new code"
    if tally.started and scene.destination != STDOUT:
        return f"{again}: what has crossed is not sent twice"
    return again


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
    if tally.rate is not None:
        parts.append(wording.rate(tally.rate))
    if tally.finishing:
        parts.append("finishing")
    elif tally.left is not None:
        parts.append(f"{wording.clock(tally.left)} left")
    if tally.files:
        parts.append(wording.count(tally.files, "file"))
    return parts


def failed(screen: Screen, event: EntryFailed) -> str:
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
