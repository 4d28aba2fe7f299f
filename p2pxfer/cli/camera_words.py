"""What becomes of a camera's pictures, in sentences for people."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from p2pxfer.cli import wording
from p2pxfer.files.escaping import escaped
from p2pxfer.progress import Muted, Recorded, StillTaken, WatchEnded, Watching

if TYPE_CHECKING:
    from p2pxfer.cli.scene import Scene
    from p2pxfer.cli.screen import Style

STDOUT = b"-"


Event = Watching | Muted | WatchEnded | StillTaken | Recorded


def line(event: Event, scene: Scene, style: Style) -> str:
    """The line that stays of ``event``."""
    match event:
        case Watching(sources, audio):
            what = f"{escaped(', '.join(sources))}{', with sound' if audio else ''}"
            return f"Somebody watches {what}" if scene.sending else f"Watching {what}"
        case Muted():
            return _muted(event, scene)
        case WatchEnded(seconds):
            return f"They have left after {wording.clock(seconds)}, and the camera is free"
        case StillTaken(path, width, height, size, captured):
            at = datetime.fromtimestamp(captured).astimezone().strftime("%H:%M:%S")
            facts = f"  {width} × {height}, {wording.size(size)}, taken at {at}"
            return style.tick + style.bold(f"Still {_place(path)}") + style.dim(facts)
        case Recorded(path, seconds, pictures, lost):
            facts = f"  {wording.clock(seconds)}, {wording.count(pictures, 'picture')}"
            if lost:
                facts += f"; {lost:,} more came too fast for this machine"
            return style.tick + style.bold(f"Recorded {_place(path)}") + style.dim(facts)


def _muted(event: Muted, scene: Scene) -> str:
    if scene.sending:
        what, sent = {
            "video": ("The camera", "black pictures are sent"),
            "audio": ("The microphone", "silence is sent"),
        }[event.kind]
    else:
        what, sent = escaped(event.source), "nothing of it comes"
        if event.kind == "audio":
            what = f"The sound of {what}"
    return f"{what} is muted: {sent}" if event.muted else f"{what} is no longer muted"


def _place(path: bytes) -> str:
    return "to standard output" if path == STDOUT else f"into {wording.name(path)}"
