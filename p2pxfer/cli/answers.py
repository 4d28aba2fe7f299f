"""Answers: what a person at the terminal says to a session's questions, or a flag beforehand.

Ctrl-D is no, and keeps what is there. Without a terminal nothing is asked: the commands refuse
flags that would need somebody to answer.
"""

from __future__ import annotations

from collections.abc import Callable

from p2pxfer.cli import wording
from p2pxfer.cli.editor import CodeEditor, Editor
from p2pxfer.cli.prompt import Prompt
from p2pxfer.cli.render import Renderer
from p2pxfer.cli.sentences import destination
from p2pxfer.errors import InvalidCode
from p2pxfer.manifest import TransferKind
from p2pxfer.session.interaction import Existing, OfferView

YES = {"y", "yes"}
NO = {"", "n", "no"}
CHOICES: dict[str, Existing] = {"o": "overwrite", "r": "rename", "s": "skip"}
EXISTING_QUESTION = "  [o]verwrite, [r]ename, [s]kip; a capital letter for all: "


class Answers:
    """The `Interaction` of the two commands.

    Args:
        renderer: what draws; its tally tells how large an offer has grown.
        fd: the terminal to ask at, or None.
        yes: whether offers are taken unasked.
    """

    def __init__(self, renderer: Renderer, fd: int | None, *, yes: bool = False) -> None:
        self._renderer = renderer
        self._screen = renderer.screen
        self._fd = fd
        self._yes = yes
        self._for_all: Existing | None = None

    @property
    def asks(self) -> bool:
        """Whether offers are shown to somebody who says yes or no."""
        return not self._yes

    async def verify(self, words: tuple[str, ...]) -> bool:
        """Show the words and ask whether the other side shows the same."""
        style = self._screen.style
        shown = "   ".join(style.code(word) for word in words)
        self._screen.write(f"\n  Both sides must show these words:\n\n    {shown}\n\n")
        return await self._agreed("  Does the other side show the same? [y/N] ")

    async def accept(self, offer: OfferView) -> bool:
        """Show what is offered and ask whether to take it."""
        text = offer.kind is TransferKind.TEXT
        if self._yes:
            known = "" if text else self._known(offer) + "\n"
            self._renderer.announce(f"{offered(offer, self._renderer)}{known}\n")
            return True
        self._screen.write(offered(offer, self._renderer))
        if text:
            return await self._agreed("  Show it? [y/N] ")
        return await self._agreed("  Receive? [y/N] ", above=lambda: self._known(offer))

    async def existing(self, path: bytes) -> Existing:
        """Ask what to do about a file that is there."""
        if self._for_all is not None:
            return self._for_all
        style = self._screen.style
        name = style.bold(wording.name(path))
        self._screen.write(f"  {name} is already there.\n")
        answer = await self._asked(
            EXISTING_QUESTION,
            refused=lambda text: None if text.strip().lower() in CHOICES else "type o, r or s",
        )
        if answer is None:
            return "skip"
        choice = CHOICES[answer.strip().lower()]
        if answer.strip().isupper():
            self._for_all = choice
        return choice

    async def _agreed(self, question: str, above: Callable[[], str] = lambda: "") -> bool:
        answer = await self._asked(
            question,
            above=above,
            refused=lambda text: None if text.strip().lower() in YES | NO else "type y or n",
        )
        return answer is not None and answer.strip().lower() in YES

    async def _asked(
        self,
        question: str,
        *,
        refused: Callable[[str], str | None],
        above: Callable[[], str] = lambda: "",
    ) -> str | None:
        if self._fd is None:
            return None
        editor = Editor()

        def checked(text: str) -> str | None:
            complaint = refused(text)
            if complaint is not None:
                editor.clear()  # a wrong letter is typed anew, not mended
            return complaint

        prompt = Prompt(self._screen, question, editor, above=above, refused=checked)
        try:
            return await prompt.answer(self._fd)
        except EOFError:
            self._screen.write(question + "\n")
            return None

    def _known(self, offer: OfferView) -> str:
        tally = self._renderer.tally
        entries = max(offer.entries, tally.entries)
        size = max(offer.size or 0, tally.total or 0)
        complete = offer.complete or tally.complete
        parts = []
        if offer.kind is TransferKind.FILES:
            parts.append(wording.count(entries, "entry", "entries"))
        parts.append("of unknown size" if offer.size is None else wording.size(size))
        so_far = "" if complete or offer.size is None else " so far"
        return f"  {', '.join(parts)}{so_far}, {destination(self._renderer.scene)}"


async def ask_code(
    renderer: Renderer,
    fd: int,
    *,
    complete: Callable[[str], list[str]],
    check: Callable[[str], object],
) -> str:
    """Ask for the code, Tab completing its words, until it can be one.

    Raises:
        EOFError: nobody gives one.
    """

    def refused(text: str) -> str | None:
        if not text.strip():
            return "type the code that the other side shows"
        try:
            check(text)
        except InvalidCode as error:
            return error.message
        return None

    prompt = Prompt(renderer.screen, "Code: ", CodeEditor(complete), refused=refused)
    return await prompt.answer(fd, drop_typed=False)


def offered(offer: OfferView, renderer: Renderer) -> str:
    """The lines that tell what the other side offers."""
    style = renderer.screen.style
    if offer.kind is TransferKind.TEXT:
        amount = "" if offer.size is None else f" of {wording.size(offer.size)}"
        return f"\n  The other side offers a text{amount}.\n"
    what = "a stream" if offer.kind is TransferKind.STREAM else "these"
    width = max(8, renderer.screen.columns - 5)
    names = [
        "    " + style.bold(wording.shortened(wording.name(name), width, style.dots)) + "\n"
        for name in offer.names
    ]
    more = f"    {style.dots} and more\n" if offer.more_names else ""
    return f"\n  The other side offers {what}:\n\n{''.join(names)}{more}\n"
