"""What a transfer tells whoever watches it: events, and the interface that takes them.

Sessions own the interface and emit; a terminal, an NDJSON stream or an embedding program draws.
No tqdm, no terminal, no clock here. Text that came from a peer is raw: whoever shows it escapes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct, field

from p2pxfer.errors import TransferError

PathKind = Literal["direct", "relay"]
Via = Literal["turn", "rendezvous"]
TrackKind = Literal["audio", "video"]


class CodeReady(Struct, frozen=True):
    """The code to type on the other side. ``lives`` is in seconds.

    ``located`` are longer forms of the code, with an address of this machine, where the two sides
    meet at none but this; empty where they meet at a rendezvous.
    """

    code: str
    url: str
    lives: float
    located: tuple[str, ...] = ()


class Waiting(Struct, frozen=True):
    """Nothing to do until somebody acts.

    ``on``: ``peer``, ``network``, ``verify``, ``accept``, ``receipt``.
    """

    on: str


class CodeBurnt(Struct, frozen=True):
    """``code`` is used up; a fresh one follows unless ``left`` is 0.

    Attributes:
        wrong: by a guess; else by somebody who came with it, or with nothing, and did not stay.
    """

    code: str
    left: int
    wrong: bool


class ConnectTimes(Struct, frozen=True, kw_only=True):
    """What connecting took: seconds of each part, one after the other; waits for people are none.

    Attributes:
        rendezvous: to get into a room.
        pake: from the other side's first word to shared keys.
        gathering: until this side's own addresses were told.
        signals: until the other side's description came.
        checks: to find a pair of addresses that works; or none, and to meet through the rendezvous.
        dtls: to prove certificates, and encrypt.
        sctp: to open the channel.
    """

    rendezvous: float = 0.0
    pake: float = 0.0
    gathering: float = 0.0
    signals: float = 0.0
    checks: float = 0.0
    dtls: float = 0.0
    sctp: float = 0.0


class Connected(Struct, frozen=True):
    """A channel is open. Addresses are ``host:port``; ``rtt_ms`` is None until measured.

    ``via`` is what relays, None where nothing does.
    """

    path: PathKind
    local: str
    remote: str
    rtt_ms: float | None
    took: ConnectTimes = field(default_factory=ConnectTimes)
    via: Via | None = None


class Offered(Struct, frozen=True):
    """What is known of the transfer so far; emitted again as pages arrive.

    ``complete`` tells that the whole tree has been walked. ``size`` is in bytes, None for a stream.
    """

    entries: int
    size: int | None
    complete: bool


class FileStarted(Struct, frozen=True):
    """Content of one file begins to cross. ``size`` is None for a stream.

    Of small files that cross together, the last is told.
    """

    path: bytes
    size: int | None


class FinishedFile(NamedTuple):
    """One file has crossed and is verified. ``digest`` is its root."""

    path: bytes
    size: int
    digest: bytes


class FilesFinished(Struct, frozen=True):
    """These files have, in this order: many small ones are told of together."""

    files: Sequence[FinishedFile]


class EntryFailed(Struct, frozen=True):
    """One entry was skipped or failed; ``reason`` is for people."""

    path: bytes
    reason: str


class Advanced(Struct, frozen=True):
    """``size`` more content bytes are done since the last of these events.

    ``saved`` of them did not have to travel: zeros, or there already.
    """

    size: int
    saved: int = 0


class Stalled(Struct, frozen=True):
    """Nothing has moved for ``seconds``; ``cause`` is for people."""

    seconds: float
    cause: str


class Resumed(Struct, frozen=True):
    """Something moves again after `Stalled`."""


class Reconnecting(Struct, frozen=True):
    """The connection named by ``what`` broke and is being re-made; ``attempt`` counts from 1."""

    what: str
    attempt: int


class Restarted(Struct, frozen=True):
    """The other side was started again: all that is offered is counted from the start."""


class Note(Struct, frozen=True):
    """Something worth a line: a peer's version, a server's message of the day.

    ``detail`` marks a line for ``--verbose`` only.
    """

    text: str
    detail: bool = False


class TextReceived(Struct, frozen=True):
    """The content of a ``--text`` transfer, raw."""

    text: str


class Watching(Struct, frozen=True):
    """Pictures of these and no others are shown from now on, and sound if ``audio``.

    ``sources`` are what the cameras are called on their own side, raw.
    """

    sources: tuple[str, ...]
    audio: bool


class Muted(Struct, frozen=True):
    """Pictures or sound are kept back on the camera's side from now on, or no longer.

    ``source`` is what the camera is called there, raw; empty on that side, where it is all of them.
    """

    kind: TrackKind
    source: str
    muted: bool


class WatchEnded(Struct, frozen=True):
    """Whoever watched has left after ``seconds``, and the camera is free."""

    seconds: float


class StillTaken(Struct, frozen=True):
    """A still is in place. ``captured`` is in seconds since 1970, ``size`` in bytes.

    ``source`` is what the camera is called on its own side, raw.
    """

    path: bytes
    width: int
    height: int
    size: int
    captured: float
    source: str


class Recording(Struct, frozen=True):
    """A recording is under way, and ``seconds`` long by now."""

    seconds: float


class Recorded(Struct, frozen=True):
    """A recording is in place. ``lost`` are pictures that came too fast to be recorded."""

    path: bytes
    seconds: float
    pictures: int
    lost: int


class Finished(Struct, frozen=True):
    """The transfer ended and the receipt was exchanged. ``root`` stands for all that crossed."""

    size: int
    files: int
    failed: int
    seconds: float
    root: bytes


class Failed(Struct, frozen=True):
    """The transfer ended with ``error``."""

    error: TransferError


Event = (
    CodeReady
    | Waiting
    | CodeBurnt
    | Connected
    | Offered
    | FileStarted
    | FilesFinished
    | EntryFailed
    | Advanced
    | Stalled
    | Resumed
    | Reconnecting
    | Restarted
    | Note
    | TextReceived
    | Watching
    | Muted
    | WatchEnded
    | StillTaken
    | Recording
    | Recorded
    | Finished
    | Failed
)


class Progress(Protocol):
    """Takes events as they happen. `emit` must return at once and never raise."""

    def emit(self, event: Event) -> None:
        """Take one event."""


class NullProgress:
    """Takes events and does nothing."""

    def emit(self, event: Event) -> None:
        """Drop the event."""
