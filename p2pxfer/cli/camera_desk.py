"""What whoever shares a camera can do while it is watched: mute it, by keys or by signals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Final

from p2pxfer.cli.keyboard import keys
from p2pxfer.progress import Event, Muted, Note, WatchEnded, Watching
from p2pxfer.tracks import Kind

if TYPE_CHECKING:
    from p2pxfer.cli.render import Renderer
    from p2pxfer.session.muting import Muting

KEYS: Final[dict[str, Kind]] = {"v": "video", "m": "audio"}
BOTH: Final[frozenset[Kind]] = frozenset(KEYS.values())
# States, not changes: what is sent twice does no harm.
SIGNALS: Final = {"SIGUSR1": BOTH, "SIGUSR2": frozenset[Kind]()}


class Desk:
    """Hands events on, and takes keys while somebody watches; no question is asked meanwhile.

    Args:
        renderer: what the events go to.
        muting: what is changed.
        keyboard: the terminal, or None.
    """

    def __init__(self, renderer: Renderer, muting: Muting, keyboard: int | None) -> None:
        self._renderer = renderer
        self._muting = muting
        self._keyboard = keyboard
        self._typing: asyncio.Task[None] | None = None
        self._told: frozenset[Kind] = frozenset()
        loop = asyncio.get_running_loop()
        for name, kinds in SIGNALS.items():
            with contextlib.suppress(AttributeError, NotImplementedError):  # Windows has none
                loop.add_signal_handler(getattr(signal, name), self._change, kinds)

    def emit(self, event: Event) -> None:
        """Take one event."""
        self._renderer.emit(event)
        if isinstance(event, Watching) and self._typing is None:
            for kind in sorted(self._muting.kinds):
                self._renderer.emit(Muted(kind, "", muted=True))
            if self._keyboard is not None:
                self._typing = asyncio.create_task(self._type(self._keyboard))
        elif isinstance(event, WatchEnded) and self._typing is not None:
            self._typing.cancel()
            self._typing = None

    def _change(self, kinds: frozenset[Kind]) -> None:
        self._muting.change(kinds)
        for kind in sorted(self._told ^ kinds):
            self._renderer.emit(Muted(kind, "", muted=kind in kinds))
        self._told = kinds

    async def _type(self, keyboard: int) -> None:
        self._renderer.emit(Note("v mutes the camera, m the microphone"))
        async with keys(keyboard, drop_typed=True, again=lambda: None, yielding=True) as typed:
            while text := await typed.get():
                for key in text.strip().lower():
                    if key in KEYS:
                        self._change(self._muting.kinds ^ {KEYS[key]})
