"""Prompt: a question at the bottom of the screen, and the answer being typed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from p2pxfer.cli import wording
from p2pxfer.cli.editor import Editor, Ending
from p2pxfer.cli.keyboard import keys
from p2pxfer.cli.screen import CLEAR_BELOW, Screen

REFRESH = 0.2  # seconds between looks at whether what stands above the question has changed
ROOM = 12  # columns that an answer has at least, however long the question


class Prompt:
    """One question. `answer` shows it, waits, and leaves question and answer on the screen.

    Args:
        screen: where it is shown.
        question: one short line, plain text that is safe to show.
        editor: takes the keys.
        above: a line over the question that may change while it waits, or empty.
        refused: what is wrong with an answer, or None when it will do; it is asked again then.
    """

    def __init__(
        self,
        screen: Screen,
        question: str,
        editor: Editor,
        *,
        above: Callable[[], str] = lambda: "",
        refused: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._screen = screen
        self._question = question
        self._editor = editor
        self._above = above
        self._refused = refused
        self._complaint = ""
        self._drawn_above = ""

    async def answer(self, fd: int, *, drop_typed: bool = True) -> str:
        """Ask at the terminal ``fd`` until an answer will do.

        Raises:
            EOFError: Ctrl-D, or the terminal is gone.
        """
        async with keys(fd, drop_typed=drop_typed, again=self.show) as typed:
            self._screen.push(self)
            try:
                while not await self._line_done(typed):
                    pass
            finally:
                self._screen.drop(self)
        above = self._above()
        self._screen.write(
            (above + "\n" if above else "")
            + self._screen.style.bold(self._question)
            + f"{self._editor.text}\n"
        )
        return self._editor.text

    async def _line_done(self, typed: asyncio.Queue[str]) -> bool:
        try:
            text = await asyncio.wait_for(typed.get(), REFRESH)
        except TimeoutError:
            if self._above() != self._drawn_above and self._screen.shows(self):
                self._redraw()
            return False
        ending = self._editor.feed(text) if text else Ending.ENDED
        if ending is Ending.ENDED:
            raise EOFError
        self._complaint = ""
        if ending is Ending.SUBMITTED:
            complaint = self._refused(self._editor.text)
            if complaint is None:
                return True
            self._complaint = complaint
        self._redraw()
        return False

    def _redraw(self) -> None:
        self.hide()
        self.show()

    def hide(self) -> None:
        """Wipe it."""
        up = "\x1b[A" if self._drawn_above else ""
        self._screen.outlet.write(up + CLEAR_BELOW)

    def show(self) -> None:
        """Draw it; the cursor ends where the next character will be."""
        style = self._screen.style
        width = self._screen.columns - 1
        dots = style.dots
        question = self._question
        if wording.columns(question) > width - ROOM:
            question = wording.shortened(question, max(0, width - ROOM), dots)
        start = wording.columns(question)
        text, cursor = self._visible(width - start)
        ghost = self._editor.ghost if style.colour else ""
        ghost = ghost[: max(0, width - start - wording.columns(text))]
        self._drawn_above = self._above()
        above = self._drawn_above[:width] + "\n" if self._drawn_above else ""
        below = self._below(width)
        column = start + wording.columns(text[:cursor])
        self._screen.outlet.write(
            f"\r{above}{style.bold(question)}{text}{style.dim(ghost)}\x1b[J"
            + (f"\n{below}\x1b[A" if below else "")
            + "\r"
            + (f"\x1b[{column}C" if column else "")
        )

    def _visible(self, width: int) -> tuple[str, int]:
        """The part of the text around the cursor that fits, and the cursor in it."""
        text, cursor = self._editor.text, self._editor.cursor
        if wording.columns(text) < width:
            return text, cursor
        kept = wording.shortened(text[:cursor], max(1, width - 1), self._screen.style.dots)
        return kept, len(kept)

    def _below(self, width: int) -> str:
        style = self._screen.style
        if self._complaint:
            return style.yellow(("  " + self._complaint)[:width])
        line = ""
        candidates = self._editor.candidates
        for number, candidate in enumerate(candidates):
            left = len(candidates) - number
            more = f"  {style.dots} {left} more"
            if len(line) + len(candidate) + 2 + len(more) > width:
                line += more
                break
            line += "  " + candidate
        return style.dim(line[:width])
