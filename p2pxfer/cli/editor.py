"""Editor: one line while it is being typed, with completion. Sans I/O: keys in, text out.

It knows the keys that a shell's prompt knows and nothing of terminals or of how it is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum

MAX_LENGTH = 1024  # characters; no code is longer
SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[@-~]|[^\[O])")  # ECMA-48, section 5.4
UNFINISHED = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*|O)?$")
CODE_START = re.compile(r"\d+[- _.,]")
LONE_WORD = re.compile(r"\d+-[a-z]+")


class Ending(Enum):
    """How a line came to its end."""

    SUBMITTED = "Enter"
    ENDED = "Ctrl-D on an empty line, or the terminal is gone"


class Editor:
    """A line of text, a cursor, and what Tab found.

    Attributes:
        text: what was typed so far.
        cursor: characters before the cursor.
        candidates: what the last Tab could mean; empty after any other key.
    """

    def __init__(self, complete: Callable[[str], Sequence[str]] | None = None) -> None:
        self.text = ""
        self.cursor = 0
        self.candidates: tuple[str, ...] = ()
        self._complete = complete
        self._pending = ""
        self._keys: dict[str, Callable[[], None]] = {
            "\t": self.tab,
            "\x7f": self._backspace,
            "\x08": self._backspace,
            "\x01": self._home,
            "\x1b[H": self._home,
            "\x1bOH": self._home,
            "\x1b[1~": self._home,
            "\x05": self._end,
            "\x1b[F": self._end,
            "\x1bOF": self._end,
            "\x1b[4~": self._end,
            "\x02": self._left,
            "\x1b[D": self._left,
            "\x1bOD": self._left,
            "\x06": self._right,
            "\x1b[C": self._right,
            "\x1bOC": self._right,
            "\x1b[3~": self._delete,
            "\x15": self._erase_before,
            "\x0b": self._erase_after,
            "\x17": self._erase_word,
        }

    def feed(self, typed: str) -> Ending | None:
        """Take what the terminal sent, any part of a key sequence included.

        Returns:
            How the line ended, or None while it goes on. What follows the end is dropped.
        """
        typed = self._pending + typed
        self._pending = ""
        at = 0
        while at < len(typed):
            if typed[at] == "\x1b":
                if UNFINISHED.match(typed, at):
                    self._pending = typed[at : at + MAX_LENGTH]
                    break
                found = SEQUENCE.match(typed, at)
                key = found.group() if found else typed[at]
            else:
                key = typed[at]
            at += len(key)
            ending = self._press(key)
            if ending is not None:
                return ending
        return None

    def _press(self, key: str) -> Ending | None:
        if key in {"\r", "\n"}:
            self.candidates = ()
            return Ending.SUBMITTED
        if key == "\x04":
            if not self.text:
                return Ending.ENDED
            self._delete()
        elif key in self._keys:
            if key != "\t":
                self.candidates = ()
            self._keys[key]()
        elif len(key) == 1 and key.isprintable():
            self.candidates = ()
            self.insert(key)
        return None

    def insert(self, text: str) -> None:
        """Put ``text`` before the cursor."""
        if len(self.text) + len(text) <= MAX_LENGTH:
            self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
            self.cursor += len(text)

    def tab(self) -> None:
        """Complete as far as it is certain; show what is left to choose from."""
        found = self._found()
        if not found:
            return
        common = next(
            found[0][:length]
            for length in range(len(found[0]), -1, -1)
            if all(other.startswith(found[0][:length]) for other in found)
        )
        self.text, self.cursor = common, len(common)
        self.candidates = tuple(found) if len(found) > 1 else ()

    def clear(self) -> None:
        """Start over with an empty line."""
        self.text, self.cursor = "", 0

    @property
    def ghost(self) -> str:
        """The rest of the only completion, to be shown faintly after the cursor."""
        found = self._found()
        return found[0][len(self.text) :] if len(found) == 1 else ""

    def _found(self) -> list[str]:
        if self._complete is None or not self.text or self.cursor != len(self.text):
            return []
        return [found for found in self._complete(self.text) if found.startswith(self.text)]

    def _backspace(self) -> None:
        if self.cursor:
            self.text = self.text[: self.cursor - 1] + self.text[self.cursor :]
            self.cursor -= 1

    def _delete(self) -> None:
        self.text = self.text[: self.cursor] + self.text[self.cursor + 1 :]

    def _home(self) -> None:
        self.cursor = 0

    def _end(self) -> None:
        self.cursor = len(self.text)

    def _left(self) -> None:
        self.cursor = max(0, self.cursor - 1)

    def _right(self) -> None:
        if self.cursor == len(self.text):
            self.insert(self.ghost)
        else:
            self.cursor += 1

    def _erase_before(self) -> None:
        self.text, self.cursor = self.text[self.cursor :], 0

    def _erase_after(self) -> None:
        self.text = self.text[: self.cursor]

    def _erase_word(self) -> None:
        kept = re.sub(r"[^\s-]*[\s-]*$", "", self.text[: self.cursor])
        self.text, self.cursor = kept + self.text[self.cursor :], len(kept)


class CodeEditor(Editor):
    """An editor for codes: a space or a dot is the hyphen, and finishes the word before it."""

    def tab(self) -> None:
        """Complete, and go on behind the first word: no code ends there."""
        super().tab()
        if not self.candidates and LONE_WORD.fullmatch(self.text) and self._found():
            self.insert("-")

    def insert(self, text: str) -> None:
        """Put ``text`` before the cursor, as a code has it."""
        typed = self.text + text
        if text in {" ", "-", "_", ".", ","} and CODE_START.match(typed):
            super().insert(self.ghost)
            if not self.text.endswith("-"):
                super().insert("-")
        elif CODE_START.match(typed):
            super().insert(text.lower())
        else:
            super().insert(text)
