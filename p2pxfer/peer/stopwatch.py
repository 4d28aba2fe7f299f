"""How long the parts of connecting take, one after the other, so that they add up to the whole."""

from __future__ import annotations

import time
from typing import Any, Literal

Part = Literal["gathering", "signals", "checks", "dtls", "sctp"]


class Stopwatch:
    """Runs from when it is made.

    Attributes:
        parts: seconds of each so far.
    """

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, part: Part) -> None:
        """What went on since the last lap was ``part``."""
        now = time.perf_counter()
        self.parts[part] = self.parts.get(part, 0.0) + now - self._since
        self._since = now

    def follow(self, peer: Any) -> None:
        """Take laps at what ``peer``, aiortc's connection, tells of ICE and DTLS."""
        dtls = peer.sctp.transport

        def ice_changed() -> None:
            if peer.iceConnectionState == "checking":
                self.lap("signals")
            elif peer.iceConnectionState == "completed":
                self.lap("checks")

        def dtls_changed() -> None:
            if dtls.state == "connected":
                self.lap("dtls")

        peer.on("iceconnectionstatechange", ice_changed)
        dtls.on("statechange", dtls_changed)
