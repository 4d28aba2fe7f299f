"""How the bytes travel, for people."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from p2pxfer.progress import PathKind


class PathInfo(Struct, frozen=True):
    """How the bytes travel.

    Attributes:
        kind: relayed if a TURN server is on the way, on either side.
        local: ``host:port`` of this end; empty when it can't be told.
        remote: the same of the other end.
        rtt_ms: the round trip of one ICE check in milliseconds, None when it got lost.
        took: seconds that each part of connecting took, see `Stopwatch`.
    """

    kind: PathKind
    local: str
    remote: str
    rtt_ms: float | None
    took: Mapping[str, float]
