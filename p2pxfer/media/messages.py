"""What the two ends of a camera session tell each other over the data channel; bytes and back.

Each message is a JSON object of at most `MAX_SIZE` bytes with ``v`` and ``kind``. The watcher says
``watch`` once, and ``here`` every `BEAT` seconds; the camera's side says ``showing`` once what is
watched is open, ``ended`` or ``failed`` when nothing more comes, and ``here`` as well.
docs/camera-protocol.md has the tables.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from p2pxfer.errors import PeerMisbehaved

VERSION: Final = 1
MAX_SIZE: Final = 4096  # bytes of a message
MAX_TEXT: Final = 200  # characters of a name or a reason
BEAT: Final = 2.0  # seconds between two signs of life
SILENCE: Final = 8.0  # seconds without any after which the other side is gone


@dataclass(frozen=True, slots=True)
class Watch:
    """The watcher wants pictures, and sound if ``audio``."""

    audio: bool


@dataclass(frozen=True, slots=True)
class Showing:
    """What is watched is open and begins. ``source`` is what it is called there."""

    source: str
    audio: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The clip is over, or the one who shares has ended it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing can be shown. ``reason`` is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Here:
    """A sign of life."""


Message = Watch | Showing | Ended | Failed | Here


def encode(message: Message) -> bytes:
    """The bytes of ``message``; texts are cut to `MAX_TEXT`."""
    fields: dict[str, object] = {"v": VERSION}
    match message:
        case Watch(audio):
            fields |= {"kind": "watch", "audio": audio}
        case Showing(source, audio):
            fields |= {"kind": "showing", "source": source[:MAX_TEXT], "audio": audio}
        case Ended():
            fields |= {"kind": "ended"}
        case Failed(reason):
            fields |= {"kind": "failed", "reason": reason[:MAX_TEXT]}
        case Here():
            fields |= {"kind": "here"}
    return json.dumps(fields, separators=(",", ":")).encode()


def decode(data: bytes) -> Message:
    """Read a message of the other side.

    Raises:
        PeerMisbehaved: it is none.
    """
    try:
        fields = json.loads(data) if len(data) <= MAX_SIZE else None
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict) and fields.get("v") == VERSION:
        match fields:
            case {"kind": "watch", "audio": bool(audio)}:
                return Watch(audio)
            case {"kind": "showing", "source": str(source), "audio": bool(audio)} if _short(source):
                return Showing(source, audio)
            case {"kind": "ended"}:
                return Ended()
            case {"kind": "failed", "reason": str(reason)} if _short(reason):
                return Failed(reason)
            case {"kind": "here"}:
                return Here()
    raise PeerMisbehaved("a message that belongs to no camera session")


def _short(text: str) -> bool:
    return len(text) <= MAX_TEXT
