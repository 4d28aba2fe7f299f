"""Rendering: one class for each output mode, all of them a `Progress`.

Rules of this module, and of `bars` and `ndjson` beside it:

1. `emit` counts and returns; drawing happens in `tick`, ten times a second at most.
2. People are written to on standard error, through `Screen`; standard output is for what was asked
   for: received bytes, a received text, or NDJSON.
3. Everything that came from a peer is escaped where it is put into a line, never before.
4. Nothing here raises because a reader went away.

`Lines` is for standard error without a terminal; `Quiet` shows what went wrong and no more. Lines
that need no renderer are in `sentences`.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from msgspec import Struct

from p2pxfer.cli import camera_words, wording
from p2pxfer.cli.outlet import Outlet
from p2pxfer.cli.screen import Screen
from p2pxfer.cli.sentences import (
    STDOUT,
    destination,
    error_lines,
    failed_line,
    progress_parts,
    wrapped,
)
from p2pxfer.cli.tally import Tally
from p2pxfer.errors import LocalFileError, TransferError
from p2pxfer.files.escaping import escaped
from p2pxfer.identity.config import refuse_if_others_may_read
from p2pxfer.progress import (
    CodeBurnt,
    CodeReady,
    Connected,
    EntryFailed,
    Event,
    FileFinished,
    FileStarted,
    Finished,
    Muted,
    Note,
    Offered,
    Reconnecting,
    Recorded,
    Recording,
    Restarted,
    Resumed,
    Stalled,
    StillTaken,
    TextReceived,
    Waiting,
    WatchEnded,
    Watching,
)

LINE_EVERY = 5.0  # seconds between plain lines of progress
NARROW = 64  # columns below which the code stands under its label instead of beside it
LABEL = 30  # columns of those labels
TOLD_FROM = 0.01  # of all: what needed not travel is worth a line

FINDING = "Finding the other side"
OFFER_AWAITED = "Waiting for the offer"
WAITING = {
    "peer": "Waiting for the other side",
    "network": "Looking on this network",
    "accept": "Waiting for the other side to accept",
    "verify": "Waiting for the other side to compare the words",
    "receipt": "All is sent: waiting for the other side to have the rest of it, and verify it",
}
THROUGH_RENDEZVOUS = (
    "No other path was found: the rendezvous itself carries the bytes, which it can't read. "
    "This is the slow way."
)
PLACES = {"peer": "the other side", "rendezvous": "the rendezvous"}


class Scene(Struct, frozen=True, kw_only=True):
    """What a renderer must know beyond the events.

    Attributes:
        sending: which of the two sides this is.
        join: the command to type on the other side.
        code_known: whether both sides have the code already, so that it need not be shown.
        destination: where what arrives goes, as the user gave it.
        qr: whether to draw the code as a QR code, too.
        verbose: whether to tell the details.
        own: the command that this is, as the user would type it again.
        camera: whether pictures cross, not files.
    """

    sending: bool
    join: str = "p2pxfer receive"
    code_known: bool = False
    destination: str = ""
    qr: bool = False
    verbose: bool = False
    own: str = "p2pxfer send"
    camera: bool = False


class Renderer:
    """What the output modes share: the tally, what is kept, and a text on standard output."""

    def __init__(self, screen: Screen, scene: Scene) -> None:
        self.screen = screen
        self.scene = scene
        self.tally = Tally()
        self._output: Outlet | None = None
        self._over = False

    def emit(self, event: Event) -> None:
        """Take one event: microseconds, and no exception."""
        self.tally.take(event, time.monotonic())
        if isinstance(event, Finished):
            self._over = True

    def told(self, note: Note) -> bool:
        """Whether ``note`` is to be shown: details on request, and nothing after the end."""
        return not self._over and (self.scene.verbose or not note.detail)

    def tick(self, now: float) -> None:
        """Draw what is due at ``now`` seconds; called ten times a second."""
        self.tally.sample(now)

    def warn(self, text: str) -> None:
        """Say something the user should know before it goes on."""

    def warn_if_others_may_read(self, mode: int, path: Path) -> None:
        """Warn of a file that holds a secret and whose ``mode`` lets others read it."""
        try:
            refuse_if_others_may_read(mode, path)
        except LocalFileError as error:
            self.warn(f"{error.message}; {error.hint}")

    def announce(self, lines: str) -> None:
        """Show lines that nobody is asked about."""

    def finding(self) -> None:
        """The other side is looked for, and no event has come yet."""

    def fail(self, error: TransferError) -> None:
        """Say how it ended: ``error``, whose hands it is in, what to do."""

    def close(self) -> None:
        """Leave the terminal as it was, with everything written."""
        self.screen.close()
        if self._output is not None:
            self._output.close()

    def output(self, text: str) -> None:
        """Write ``text`` to standard output: safe on a terminal, as it is into a pipe."""
        if sys.stdout.isatty():
            text = re.sub(r"[^\n\t\\]+", lambda found: escaped(found.group()), text)
            text = text.removesuffix("\n") + "\n"
            if self.screen.is_on(sys.stdout):  # one terminal: nothing may be drawn in between
                self.screen.write(text)
                return
        if self._output is None:
            self._output = Outlet(sys.stdout, encoding="utf-8")
        self._output.write(text)

    def kept(self) -> str:
        """What an interruption leaves behind, as half a sentence."""
        if self.scene.camera:
            return "what was taken until now is in place"
        if not self.tally.started:
            return "nothing had crossed yet"
        files = wording.count(self.tally.files, "file")
        place = "stay" if self.tally.files != 1 else "stays"
        if self.scene.sending:
            if not self.tally.files:
                return "nothing was changed on this side"
            return f"{files} had crossed and {place} on the other side"
        if self.scene.destination == STDOUT:
            return "what had arrived is on standard output"
        whole = f"{files} had arrived whole and {place} in {self.scene.destination or '.'}"
        return whole if self.tally.files else "no file was complete yet"

    def go_on(self) -> str:
        """What to type after an interruption."""
        if not self.tally.connected or self.scene.camera:
            return "run the same command again"
        if self.scene.sending:
            again = "run the same command again; the other side needs the new code"
        else:
            again = "ask the sender to send it again, and receive with the new code"
        if self.tally.started and self.scene.destination != STDOUT:
            return f"{again}: what has crossed is not sent twice"
        return again


class Quiet(Renderer):
    """Errors only, and the code when nothing else tells it."""

    def emit(self, event: Event) -> None:
        """Take one event."""
        super().emit(event)
        match event:
            case CodeReady(code) if not self.scene.code_known:
                self.screen.write(f"{code}\n")
            case EntryFailed():
                self.screen.write(failed_line(self.screen, event))
            case TextReceived(text):
                self.output(text)

    def warn(self, text: str) -> None:
        """Say it all the same: a warning is about safety."""
        self.screen.write(f"{self.screen.style.yellow('warning:')} {escaped(text)}\n")

    def fail(self, error: TransferError) -> None:
        """Say how it ended."""
        self.screen.write(error_lines(self.screen, error))


class Human(Quiet):
    """What the two modes for people share: the sentences."""

    def emit(self, event: Event) -> None:  # noqa: C901, PLR0912  # one case an event
        """Take one event."""
        Renderer.emit(self, event)
        match event:
            case CodeReady():
                self._code(event)
            case CodeBurnt():
                self._burnt(event)
            case Waiting(on):
                self._waiting(on)
            case Connected():
                self._connected(event)
            case Offered():
                self.offered(event)
            case FileStarted():
                self.status(None)
            case FileFinished(path, size) if self.scene.verbose:
                self.say(f"{wording.size(size):>9}  {wording.name(path)}")
            case EntryFailed():
                self.screen.write(failed_line(self.screen, event))
            case Stalled(seconds, cause):
                label = "stalled:"
                line = f"{label} nothing has moved for {seconds:.0f} s, {escaped(cause)}"
                shown = wrapped(self.screen, line).removeprefix(label)
                self.screen.write(self.screen.style.yellow(label) + shown)
            case Resumed():
                self.resumed()
            case Reconnecting(what, attempt):
                place = PLACES.get(what, escaped(what))
                self.status(f"Connecting to {place} again, attempt {attempt}")
            case Restarted():
                self.say("The receiver was started again; it takes what it lacks")
            case Note(text) if self.told(event):
                line = wrapped(self.screen, escaped(text)).removesuffix("\n")
                self.say(self.screen.style.dim(line))
            case TextReceived(text):
                self.status(None)
                self.output(text)
            case Watching() | Muted() | WatchEnded() | StillTaken() | Recorded():
                self.status(None)
                self.say(camera_words.line(event, self.scene, self.screen.style))
            case Recording(seconds):
                self.status(f"Recording, {wording.clock(seconds)} so far")
            case Finished():
                self._finished(event)

    def announce(self, lines: str) -> None:
        """Show lines that nobody is asked about."""
        self.screen.write(lines)

    def say(self, line: str) -> None:
        """Write one line that stays."""
        self.screen.write(line + "\n")

    def status(self, text: str | None) -> None:
        """Say what is awaited now, or nothing any more."""
        raise NotImplementedError

    def offered(self, event: Offered) -> None:
        """Say how much there is once it is known."""
        if event.complete and self.scene.sending and self.scene.verbose:
            amount = "" if event.size is None else f", {wording.size(event.size)}"
            self.say(f"Offered {wording.count(event.entries, 'entry', 'entries')}{amount}")

    def resumed(self) -> None:
        """Say that bytes move again."""

    def _code(self, event: CodeReady) -> None:
        if self.scene.code_known:
            return
        style = self.screen.style
        rows = (
            ("On the other machine, type", style.bold(escaped(self.scene.join))),
            ("and give it this code", style.code(escaped(event.code))),
        )
        if self.screen.columns >= NARROW:
            shown = "".join(f"  {label:<{LABEL}}{value}\n" for label, value in rows)
        else:
            shown = "".join(f"  {label}\n    {value}\n" for label, value in rows)
        if self.scene.qr:
            from p2pxfer.cli.qr import drawn  # noqa: PLC0415  # 40 ms that few ask for

            shown += "\n" + drawn(event.code, style)
        lives = wording.duration(event.lives)
        self.screen.write(f"\n{shown}\n  {style.dim(f'It works once, within {lives}.')}\n\n")
        if event.located:
            self._this_network_only(event.located)

    def _this_network_only(self, located: tuple[str, ...]) -> None:
        style = self.screen.style
        only = "Only machines on this network can use it. One that does not find this one types"
        elsewhere = f"For a machine elsewhere, stop, and type {self.scene.own} --rendezvous URL"
        self.screen.write(
            f"{wrapped(self.screen, only, margin='  ')}\n"
            + "".join(
                f"    {style.bold(f'{self.scene.join} {escaped(form)}')}\n" for form in located
            )
            + f"\n{wrapped(self.screen, elsewhere, margin='  ')}\n"
        )

    def _waiting(self, on: str) -> None:
        if on == "accept" and not self.scene.sending:
            self.status(OFFER_AWAITED)
        else:
            self.status(WAITING.get(on, f"Waiting for {on}"))

    def _burnt(self, event: CodeBurnt) -> None:
        void = f"Somebody gave wrong words for {escaped(event.code)}: that code is void."
        after = " Here is a fresh one:" if event.left else " No more are drawn."
        self.screen.write(wrapped(self.screen, void + after))

    def _connected(self, event: Connected) -> None:
        self.status(None)
        way = "directly" if event.path == "direct" else "through a relay"
        if event.via == "rendezvous":
            way = "through the rendezvous"
        arrow = "↔" if self.screen.style.unicode else "<->"
        trip = "" if event.rtt_ms is None else f", {event.rtt_ms:.3g} ms"
        local, remote = escaped(event.local), escaped(event.remote)
        line = f"Connected {way}  {local} {arrow} {remote}{trip}"
        if self.screen.moves and wording.columns(line) > self.screen.columns:
            ends = f"{trip}\n  {local}\n  {arrow} {remote}"
        else:
            ends = f"  {local} {arrow} {remote}{trip}"
        self.say(f"Connected {way}{self.screen.style.dim(ends)}")
        if event.via == "rendezvous":
            self.screen.write(wrapped(self.screen, THROUGH_RENDEZVOUS))
        if self.scene.verbose:
            line = wrapped(self.screen, wording.connect_times(event.took)).removesuffix("\n")
            self.say(self.screen.style.dim(line))

    def _finished(self, event: Finished) -> None:
        self.status(None)
        style = self.screen.style
        verb = "Sent" if self.scene.sending else "Received"
        files = wording.count(event.files, "file") + ", " if event.files else ""
        into = f" {destination(self.scene)}" if self.scene.destination else ""
        pace = event.size / event.seconds if event.seconds > 0 else 0.0
        verified = "verified by the other side" if self.scene.sending else "verified"
        done = f"{verb} {files}{wording.size(event.size)}{into}"
        facts = f"  {wording.clock(event.seconds)}, {wording.rate(pace)}, {verified}"
        if wording.columns(done + facts) + 2 > self.screen.columns:
            facts = ""
        saved = self.tally.done - self.tally.moved
        tick = style.tick if event.failed == 0 else ""
        self.say(tick + style.bold(done) + style.dim(facts))
        if saved > self.tally.done * TOLD_FROM:
            self.say(style.dim(f"  {wording.size(saved)} of it did not need to travel"))


class Lines(Human):
    """Plain lines, one every few seconds while bytes move."""

    def __init__(self, screen: Screen, scene: Scene) -> None:
        super().__init__(screen, scene)
        self._next = 0.0

    def status(self, text: str | None) -> None:
        """Say it once."""
        if text is not None:
            self.say(text)

    def resumed(self) -> None:
        """Say it: the last line said the contrary."""
        self.say("moving again")

    def tick(self, now: float) -> None:
        """Write the line that is due."""
        super().tick(now)
        if not self.tally.started or self.tally.stalled is not None or self.screen.outlet.behind:
            return
        if not self._next:
            self._next = now + LINE_EVERY
        elif now >= self._next:
            self._next = now + LINE_EVERY
            self.say("  ".join(progress_parts(self.tally)))
