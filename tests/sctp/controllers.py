"""Congestion controls by name, for whoever runs associations over simulated links."""

from __future__ import annotations

import contextlib
import importlib
import math


class Fixed:
    """A window that nothing changes: what is left is the association's own behaviour."""

    def __init__(self, window: int = 60_000):
        self.window = window
        self.rate = math.inf
        self.quantum = 64_000

    def on_sent(self, now, size, in_flight, app_limited):
        """Nothing."""

    def on_ack(self, ack):
        """Nothing."""

    def on_timeout(self, now, in_flight):
        """Nothing."""

    def on_spurious_loss(self, now):
        """Nothing."""

    def on_path_change(self, now):
        """Nothing."""

    def on_packet_size(self, size):
        """Nothing."""


CONTROLLERS = {"fixed": Fixed}
for _room, _name in (("bbr", "Bbr"), ("cubic", "Cubic"), ("ledbat", "Ledbat")):
    with contextlib.suppress(ImportError, AttributeError):
        CONTROLLERS[_room] = getattr(
            importlib.import_module(f"p2pxfer.sctp.congestion.{_room}"), _name
        )
