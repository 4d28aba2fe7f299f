"""Probes of the path's packet size: a HEARTBEAT filled up to it (RFC 8899 section 6.2).

The filling is a PAD chunk (RFC 4820), which is not sent back; or it is part of the HEARTBEAT, which
any stack takes, but some, like Chromium, don't send back what is longer than packets of their own.
So where one way was lost the other is tried, but for stacks that a PAD chunk would harm. An answer
that comes after its probe was given up counts all the same: a peer that is slow is no narrow path.
Which size to try and what to make of the outcome is mtu.py's; here is one probe at a time and its
timer.
"""

from __future__ import annotations

import random
from typing import Final

from p2pxfer.sctp.chunks import Heartbeat, Pad, write_chunk
from p2pxfer.sctp.mtu import PathMtu
from p2pxfer.sctp.rtt import RoundTrip
from p2pxfer.sctp.wire import HEADER, Wire

INFO: Final = 16  # bytes that the peer returns, drawn at random
PATIENCE: Final = 2  # timeouts until a probe counts as lost (RFC 8899 section 5.1.1)
REMEMBERED: Final = 8  # given-up probes whose answers still count


class Probing:
    """The probe that is under way."""

    __slots__ = (
        "_changes",
        "_due",
        "_given_up",
        "_info",
        "_mtu",
        "_pads",
        "_rng",
        "_rtt",
        "_size",
        "_wire",
    )

    def __init__(
        self, mtu: PathMtu, rtt: RoundTrip, wire: Wire, rng: random.Random, *, pads: bool
    ) -> None:
        self._pads = self._changes = pads
        self._mtu = mtu
        self._rtt = rtt
        self._wire = wire
        self._rng = rng
        self._info: bytes | None = None
        self._given_up: dict[bytes, int] = {}  # their sizes
        self._size = 0
        self._due = 0.0

    def transmit(self, now: float) -> bytes | None:
        """A packet of the length to try, if there is one to try now."""
        if self._info is not None:
            return None
        size = self._mtu.probe(now)
        if size is None:
            return None
        info = self._rng.randbytes(INFO)
        self._size = size
        self._due = now + PATIENCE * self._rtt.timeout
        rest = size - HEADER - len(write_chunk(Heartbeat(info)))
        if not self._pads:
            info += bytes(rest)
            rest = 0
        self._info = info
        return self._wire.wrap(
            write_chunk(Heartbeat(info)) + (write_chunk(Pad(rest)) if rest else b"")
        )

    def acknowledged(self, info: bytes, now: float) -> None:
        """HEARTBEAT ACK came."""
        if info == self._info:
            self._info = None
            self._mtu.on_probe_acked(self._size, now)
        elif info in self._given_up:
            self._mtu.on_probe_acked(self._given_up.pop(info), now)

    def deadline(self) -> float | None:
        """When `handle_timer` or `transmit` is due."""
        return self._mtu.deadline() if self._info is None else self._due

    def handle_timer(self, now: float) -> None:
        """See whether the probe is lost."""
        if self._info is not None and now >= self._due:
            self._given_up[self._info] = self._size
            if len(self._given_up) > REMEMBERED:
                del self._given_up[next(iter(self._given_up))]
            self._info = None
            self._pads = self._changes and not self._pads
            self._mtu.on_probe_lost(self._size, now)

    def path_changed(self, now: float) -> None:
        """What is under way says nothing about the new path."""
        self._info = None
        self._given_up.clear()
        self._mtu.on_path_change(now)
