"""NDJSON: one event a line, for programs.

Every line is an object with ``event`` and ``time`` (UTC, RFC 3339 with milliseconds) and only ASCII
characters, so that no terminal it ends up on obeys it. A ``path`` is Unicode; where a name is not
UTF-8, the bytes that are not read U+FFFD and ``path_base64`` has the exact bytes beside it. New
events and fields may come; a reader skips what it doesn't know.
"""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime

from msgspec.structs import asdict

from p2pxfer.cli.outlet import Outlet
from p2pxfer.cli.render import Renderer
from p2pxfer.cli.scene import Scene
from p2pxfer.cli.screen import Screen
from p2pxfer.errors import TransferError
from p2pxfer.progress import (
    CodeBurnt,
    CodeReady,
    Connected,
    EntryFailed,
    Event,
    FilesFinished,
    Finished,
    FinishedFile,
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

PROGRESS_EVERY = 1.0  # seconds


class Ndjson(Renderer):
    """Events as lines of JSON. ``outlet`` is standard output, or error when that carries data."""

    def __init__(self, screen: Screen, scene: Scene, outlet: Outlet) -> None:
        super().__init__(screen, scene)
        self._lines = outlet
        self._next = 0.0
        self._told = -1

    def emit(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Note) and not self.told(event):
            return
        if isinstance(event, Finished | Restarted):
            self._progress()
        super().emit(event)
        if isinstance(event, Restarted):
            self._told = -1
        if isinstance(event, FilesFinished):
            for file in event.files:
                self._write(_file(file))
            return
        fields = _fields(event, code_known=self.scene.code_known)
        if isinstance(event, Finished):
            fields["moved"] = self.tally.moved
        if fields:
            self._write(fields)

    def tick(self, now: float) -> None:
        """Write the ``progress`` that is due, if anything moved."""
        super().tick(now)
        if now >= self._next:
            self._next = now + PROGRESS_EVERY
            self._progress()

    def warn(self, text: str) -> None:
        """Say it as a note."""
        self._write({"event": "note", "text": text})

    def fail(self, error: TransferError) -> None:
        """Say how it ended, and how far it was."""
        self._progress()
        self._write(
            {
                "event": "error",
                "code": int(error.exit_code),
                "name": error.name,
                "message": error.message,
                "hint": error.hint,
                "retryable": error.retryable,
                "fault": error.fault.name.lower(),
            }
        )

    def close(self) -> None:
        """Wait until every line is out."""
        super().close()
        self._lines.close()

    def _progress(self) -> None:
        tally = self.tally
        if not tally.started or tally.done == self._told:
            return
        self._told = tally.done
        self._write(
            {
                "event": "progress",
                "bytes": tally.done,
                "moved": tally.moved,
                "total": tally.total if tally.complete else None,
                "rate": round(tally.rate or 0),
            }
        )

    def _write(self, fields: dict[str, object]) -> None:
        line = {"event": fields["event"], "time": _time(time.time()), **fields}
        self._lines.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")


def _file(file: FinishedFile) -> dict[str, object]:
    path, size, digest = file
    return {"event": "file", **_path(path), "bytes": size, "digest": digest.hex()}


def _fields(event: Event, *, code_known: bool) -> dict[str, object]:  # noqa: C901, PLR0911, PLR0912  # one case an event
    match event:
        case CodeReady(code, url, lives, located):
            shown = None if code_known else code  # one that both sides keep is a lasting secret
            more = {"located": located} if located else {}
            return {"event": "code", "code": shown, "url": url, "lives": round(lives), **more}
        case CodeBurnt(code, left, wrong):
            return {"event": "burnt", "code": code, "left": left, "wrong": wrong}
        case Waiting(on):
            return {"event": "waiting", "on": on}
        case Connected(path, local, remote, rtt_ms, took, via):
            return {
                "event": "connected",
                "path": path,
                "via": via,
                "local": local,
                "remote": remote,
                "rtt_ms": rtt_ms,
                "took_ms": {part: round(1000 * s, 1) for part, s in asdict(took).items()},
            }
        case Offered(entries, size, complete):
            return {"event": "offer", "entries": entries, "bytes": size, "complete": complete}
        case EntryFailed(path, reason):
            return {"event": "skipped", **_path(path), "reason": reason}
        case Stalled(seconds, cause):
            return {"event": "stalled", "seconds": seconds, "cause": cause}
        case Resumed():
            return {"event": "resumed"}
        case Reconnecting(what, attempt):
            return {"event": "reconnecting", "what": what, "attempt": attempt}
        case Restarted():
            return {"event": "restarted"}
        case Note(text):
            return {"event": "note", "text": text}
        case TextReceived(text):
            return {"event": "text", "text": text}
        case Watching(sources, audio):
            first = sources[0] if sources else ""
            return {"event": "watching", "source": first, "sources": sources, "audio": audio}
        case Muted(kind, source, muted):
            return {"event": "muted", "kind": kind, "source": source, "muted": muted}
        case WatchEnded(seconds):
            return {"event": "left", "seconds": round(seconds, 3)}
        case StillTaken(path, width, height, size, captured, source):
            return {
                "event": "still",
                **_path(path),
                "source": source,
                "width": width,
                "height": height,
                "bytes": size,
                "captured": _time(captured),
            }
        case Recording(seconds):
            return {"event": "recording", "seconds": round(seconds, 3)}
        case Recorded(path, seconds, pictures, lost):
            return {
                "event": "recorded",
                **_path(path),
                "seconds": round(seconds, 3),
                "pictures": pictures,
                "lost": lost,
            }
        case Finished(size, files, failed, seconds, root):
            return {
                "event": "done",
                "bytes": size,
                "files": files,
                "failed": failed,
                "seconds": round(seconds, 3),
                "root": root.hex(),
            }
        case _:  # progress is told by the clock, and the end by whoever saw it
            return {}


def _time(seconds: float) -> str:
    """RFC 3339, with milliseconds, of seconds since 1970."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _path(path: bytes) -> dict[str, object]:
    try:
        return {"path": path.decode()}
    except UnicodeDecodeError:
        return {
            "path": path.decode(errors="replace"),
            "path_base64": base64.b64encode(path).decode(),
        }
