"""Rendering: one class for each output mode, all of them a `Progress`.

Rules of this module, and of `bars` and `ndjson` beside it:

1. `emit` counts and returns; drawing happens in `tick`, ten times a second at most.
2. People are written to on standard error, through `Screen`; standard output is for what was asked
   for: received bytes, a received text, or NDJSON.
3. Everything that came from a peer is escaped where it is put into a line, never before.
4. Nothing here raises because a reader went away.

`Lines` is for standard error without a terminal; `Quiet` shows what went wrong and no more. Here is
which event is shown when, and where; what is said of it is in `sentences` and `camera_words`.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from p2pxfer.cli import camera_words, sentences, wording
from p2pxfer.cli.outlet import Outlet
from p2pxfer.cli.scene import Scene
from p2pxfer.cli.screen import Screen
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
    FilesFinished,
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

FINDING = "Finding the other side"
OFFER_AWAITED = "Waiting for the offer"
WAITING = {
    "peer": "Waiting for the other side",
    "network": "Looking on this network",
    "accept": "Waiting for the other side to accept",
    "verify": "Waiting for the other side to compare the words",
    "receipt": "All is sent: waiting for the other side to have the rest of it, and verify it",
}
PLACES = {"peer": "the other side", "rendezvous": "the rendezvous"}


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


class Quiet(Renderer):
    """Errors only, and the code when nothing else tells it."""

    def emit(self, event: Event) -> None:
        """Take one event."""
        super().emit(event)
        match event:
            case CodeReady(code) if not self.scene.code_known:
                self.screen.write(f"{code}\n")
            case EntryFailed():
                self.screen.write(sentences.failed(self.screen, event))
            case TextReceived(text):
                self.output(text)

    def warn(self, text: str) -> None:
        """Say it all the same: a warning is about safety."""
        self.screen.write(f"{self.screen.style.yellow('warning:')} {escaped(text)}\n")

    def fail(self, error: TransferError) -> None:
        """Say how it ended."""
        self.screen.write(sentences.error_lines(self.screen, error))


class Human(Quiet):
    """What the two modes for people share: the sentences."""

    def emit(self, event: Event) -> None:  # noqa: C901, PLR0912  # one case an event
        """Take one event."""
        Renderer.emit(self, event)
        match event:
            case CodeReady() if not self.scene.code_known:
                self.screen.write(sentences.code(self.screen, self.scene, event))
            case CodeBurnt():
                self.screen.write(sentences.burnt(self.screen, event))
            case Waiting(on):
                self._waiting(on)
            case Connected():
                self.status(None)
                self.screen.write(sentences.connected(self.screen, self.scene, event))
            case Offered():
                self.offered(event)
            case FileStarted():
                self.status(None)
            case FilesFinished(files) if self.scene.verbose:
                for path, size, _ in files:
                    self.say(f"{wording.size(size):>9}  {wording.name(path)}")
            case EntryFailed():
                self.screen.write(sentences.failed(self.screen, event))
            case Stalled():
                self.screen.write(sentences.stalled(self.screen, event))
            case Resumed():
                self.resumed()
            case Reconnecting(what, attempt):
                place = PLACES.get(what, escaped(what))
                self.status(f"Connecting to {place} again, attempt {attempt}")
            case Restarted():
                self.say("The receiver was started again; it takes what it lacks")
            case Note(text) if self.told(event):
                line = sentences.wrapped(self.screen, escaped(text)).removesuffix("\n")
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
                self.status(None)
                self.screen.write(sentences.finished(self.screen, self.scene, event, self.tally))

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

    def _waiting(self, on: str) -> None:
        if on == "accept" and not self.scene.sending:
            self.status(OFFER_AWAITED)
        else:
            self.status(WAITING.get(on, f"Waiting for {on}"))


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
            self.say("  ".join(sentences.progress_parts(self.tally)))
