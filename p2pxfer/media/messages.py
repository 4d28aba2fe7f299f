"""What the two ends of a camera session tell each other over the data channel; bytes and back.

Each message is a JSON object of at most `MAX_SIZE` bytes with ``v`` and ``kind``. The watcher says
``watch`` once, and ``here`` every `BEAT` seconds; the camera's side says ``showing`` once what is
watched is open and whenever that changes, ``ended`` or ``failed`` when nothing more comes, and
``here`` as well. Either may ask for other tracks with an ``offer``, which an ``answer`` follows.
docs/camera-protocol.md has the tables.
"""

from __future__ import annotations

import json
import re
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.tracks import Kind

VERSION: Final = 1
MAX_SIZE: Final = 60 * 1024  # bytes of a message
MAX_TEXT: Final = 200  # characters of a name or a reason
MAX_TRACKS: Final = 8  # as many as a description has sections of media
BEAT: Final = 2.0  # seconds between two signs of life
SILENCE: Final = 8.0  # seconds without any after which the other side is gone


_MID = re.compile(r"[A-Za-z0-9._-]{1,32}")


class Watch(Struct, frozen=True):
    """The watcher wants pictures, and sound if ``audio``.

    ``camera`` is which one, by name, part of it or number, where not all are wanted.
    """

    audio: bool
    camera: str | None = None


class Shown(Struct, frozen=True):
    """One track that is fed.

    Attributes:
        mid: of its section.
        kind: what it carries.
        name: what it is called there.
        muted: whether somebody there keeps to themselves what it would carry.
    """

    mid: str
    kind: Kind
    name: str
    muted: bool = False


class Showing(Struct, frozen=True):
    """What is watched is open; these tracks come from now on, and no others."""

    tracks: tuple[Shown, ...]


class Offer(Struct, frozen=True):
    """A further description of the connection (RFC 8829), by whom the tracks of one side change."""

    sdp: str


class Answer(Struct, frozen=True):
    """What comes of an `Offer`."""

    sdp: str


class Ended(Struct, frozen=True):
    """The clip is over, or the one who shares has ended it."""


class Failed(Struct, frozen=True):
    """Nothing can be shown. ``reason`` is for people."""

    reason: str


class Here(Struct, frozen=True):
    """A sign of life."""


Message = Watch | Showing | Offer | Answer | Ended | Failed | Here


def encode(message: Message) -> bytes:
    """The bytes of ``message``; texts are cut to `MAX_TEXT`."""
    fields: dict[str, object] = {"v": VERSION}
    match message:
        case Watch(audio, camera):
            fields |= {"kind": "watch", "audio": audio}
            if camera is not None:
                fields["camera"] = camera[:MAX_TEXT]
        case Showing(tracks):
            told = [{**asdict(track), "name": track.name[:MAX_TEXT]} for track in tracks]
            fields |= {"kind": "showing", "tracks": told}
        case Offer(sdp):
            fields |= {"kind": "offer", "sdp": sdp}
        case Answer(sdp):
            fields |= {"kind": "answer", "sdp": sdp}
        case Ended():
            fields |= {"kind": "ended"}
        case Failed(reason):
            fields |= {"kind": "failed", "reason": reason[:MAX_TEXT]}
        case Here():
            fields |= {"kind": "here"}
    return json.dumps(fields, separators=(",", ":")).encode()


def decode(data: bytes) -> Message:  # noqa: PLR0911  # one case a message
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
            case {"kind": "watch", "audio": bool(audio), "camera": str(camera)} if _short(camera):
                return Watch(audio, camera)
            case {"kind": "watch", "audio": bool(audio)} if "camera" not in fields:
                return Watch(audio)
            case {"kind": "showing", "tracks": list(tracks)} if len(tracks) <= MAX_TRACKS:
                return Showing(_shown(tracks))
            case {"kind": "offer", "sdp": str(sdp)}:
                return Offer(sdp)
            case {"kind": "answer", "sdp": str(sdp)}:
                return Answer(sdp)
            case {"kind": "ended"}:
                return Ended()
            case {"kind": "failed", "reason": str(reason)} if _short(reason):
                return Failed(reason)
            case {"kind": "here"}:
                return Here()
    raise PeerMisbehaved("a message that belongs to no camera session")


def _shown(tracks: list[object]) -> tuple[Shown, ...]:
    found: dict[str, Shown] = {}
    for track in tracks:
        match track:
            case {
                "mid": str(mid),
                "kind": "audio" | "video" as kind,
                "name": str(name),
                "muted": bool(muted),
            } if _MID.fullmatch(mid) and _short(name):
                found[mid] = Shown(mid, "video" if kind == "video" else "audio", name, muted)
    if len(found) != len(tracks):
        raise PeerMisbehaved("a malformed list of what is shown")
    return tuple(found.values())


def _short(text: str) -> bool:
    return len(text) <= MAX_TEXT
