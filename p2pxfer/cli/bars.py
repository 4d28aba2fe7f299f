"""Bars: progress on a terminal, drawn with tqdm's meter.

At the bottom stands either a status ("Waiting for the other side") or the total, and under it the
file that crosses if it is a large one, bar under bar. A frame is one write, at most ten a second.
It is never wider than `MAX_WIDTH`, so that a terminal made narrower has nothing to re-wrap until it
is narrower than that, and leaves room after it for the ``^C`` that a terminal echoes.
"""

from __future__ import annotations

import re
import time

from p2pxfer.cli import wording
from p2pxfer.cli.render import FINDING, OFFER_AWAITED, WAITING, Human
from p2pxfer.cli.scene import Scene
from p2pxfer.cli.screen import CLEAR_BELOW, Screen
from p2pxfer.errors import TransferError
from p2pxfer.progress import CodeReady, Event, Finished, Offered

LARGE = 16 * 1024 * 1024  # bytes from which a file has a bar of its own
MAX_WIDTH = 96
ROOM_AFTER = 3  # columns
WIDE = 74  # columns that hold bar, amounts, rate, time and files
MIDDLE = 48  # columns that hold bar, rate and time
MIN_NAME = 8  # columns; a name cut shorter tells nothing
SGR = re.compile(r"\x1b\[[0-9;]*m")
SETTLED = 0.25  # seconds without a change of size before drawing goes on


class Bars(Human):
    """tqdm bars for people at a terminal."""

    def __init__(self, screen: Screen, scene: Scene) -> None:
        super().__init__(screen, scene)
        self._status: str | None = None
        self._expires: float | None = None
        self._columns = screen.columns
        self._changed_at = 0.0
        self._ended = False

    def emit(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, CodeReady):
            self._expires = time.monotonic() + event.lives
        elif isinstance(event, Finished):
            self._ended = True
            self.screen.drop(self)
        super().emit(event)
        if isinstance(event, Offered) and self._status == OFFER_AWAITED:
            self._status = "Starting"

    def fail(self, error: TransferError) -> None:
        """Say how it ended, with nothing moving any more."""
        self._ended = True
        self.screen.drop(self)
        super().fail(error)

    def status(self, text: str | None) -> None:
        """Show it at the bottom from the next frame on."""
        self._status = text
        if text is None and not self.tally.started:
            self.screen.drop(self)

    def finding(self) -> None:
        """Show that it is under way: nothing else moves until the other side is found."""
        self.status(FINDING)

    def resumed(self) -> None:
        """Nothing to say: the bar moves."""

    def tick(self, now: float) -> None:
        """Draw the next frame, unless the terminal is being resized or does not keep up."""
        super().tick(now)
        columns = self.screen.columns
        if columns != self._columns:
            self._columns, self._changed_at = columns, now
        if self.screen.outlet.behind or now - self._changed_at < SETTLED:
            return
        if self._changed_at:
            self._changed_at = 0.0
            if self.screen.shows(self):
                self.screen.outlet.write(CLEAR_BELOW)
        if self._ended or (self._status is None and not self.tally.started):
            return
        if self.screen.shows(self):
            self.show()
        elif not self.screen.busy:
            self.screen.push(self)

    def show(self) -> None:
        """Draw a frame; the cursor ends at the end of its first line."""
        lines = self._frame(time.monotonic(), self._width)
        up = ""
        if len(lines) > 1:
            up = f"\x1b[{len(lines) - 1}A\r\x1b[{wording.columns(SGR.sub('', lines[0]))}C"
        self.screen.outlet.write("\r" + "\x1b[K\n".join(lines) + "\x1b[J" + up)

    def hide(self) -> None:
        """Wipe the frame."""
        self.screen.outlet.write(CLEAR_BELOW)

    @property
    def _width(self) -> int:
        return max(1, min(self.screen.columns - ROOM_AFTER, MAX_WIDTH))

    def _frame(self, now: float, width: int) -> list[str]:
        if self._status is not None:
            return [self._status_line(self._status, now, width)]
        tally = self.tally
        large = tally.path is not None and tally.path_size is not None and tally.path_size >= LARGE
        if tally.fraction is None:
            lines = [self._counting_line(now, width)]
            bar = width // 3
        else:
            tail = self._total_tail(now, width)
            bar = max(0, width - wording.columns(tail))
            lines = [self._bar(tally.fraction, bar) + tail]
        if large:
            lines.append(self._file_line(bar, width))
        return lines

    def _status_line(self, status: str, now: float, width: int) -> str:
        text = status + self.screen.style.dots
        if self._expires is not None and status == WAITING["peer"]:
            text += f"  {wording.clock(self._expires - now)}"
        return self.screen.style.dim(text[:width])

    def _ahead(self, now: float) -> str:
        silence = self.tally.stalled_for(now)
        if silence is not None:
            return f"stalled {silence:.0f} s"
        if self.tally.finishing:
            return "finishing"
        left = self.tally.left
        return "" if left is None else f"{wording.clock(left)} left"

    def _counting_line(self, now: float, width: int) -> str:
        tally = self.tally
        amount = wording.size(tally.done)
        if tally.total is not None:
            amount += f" of {wording.size(tally.total)} so far"
        files = wording.count(tally.files, "file") if tally.files else ""
        parts = (amount, wording.rate(tally.rate), files, self._ahead(now))
        return "  ".join(part for part in parts if part)[:width]

    def _total_tail(self, now: float, width: int) -> str:
        tally = self.tally
        share = f" {int((tally.fraction or 0) * 100):3} %"
        speed = f"{wording.rate(tally.rate):>9}"
        ahead = self._ahead(now)
        if width >= WIDE:
            amount = f"{wording.size(tally.done):>7} of {wording.size(tally.total or 0):<7}"
            files = wording.count(tally.files, "file") if tally.files else ""
            return f"{share}  {amount}  {speed}  {ahead:<11}  {files:>8}"
        if width >= MIDDLE:
            return f"{share}  {speed}  {ahead:<11}"
        parts = (share.strip(), speed.strip(), ahead)
        return "  ".join(part for part in parts if part)[:width]

    def _file_line(self, bar: int, width: int) -> str:
        tally = self.tally
        size = tally.path_size or 0
        done = min(tally.path_done, size)
        tail = f" {done * 100 // size:3} %"
        if width >= WIDE:
            tail += f"  {wording.size(done):>7} of {wording.size(size):<7}"
        elif width < MIDDLE:
            bar, tail = 0, tail.strip()
        room = width - bar - len(tail) - 2
        shown = wording.shortened(wording.name(tally.path or b""), room, self.screen.style.dots)
        name = f"  {shown}" if room >= MIN_NAME else ""
        return self._bar(done / size, bar) + tail + name

    def _bar(self, fraction: float, width: int) -> str:
        from tqdm import tqdm  # noqa: PLC0415  # 75 ms, after the code is on the screen

        if width < 1:
            return ""
        style = self.screen.style
        return tqdm.format_meter(
            fraction,
            1,
            0,
            ncols=width,
            ascii="─╾━" if style.unicode else "-=",
            bar_format="{bar}",
            colour="cyan" if style.colour else None,
        )
