"""Congestion controls by name, for whoever runs associations over simulated links."""

from __future__ import annotations

import math

from p2pxfer.sctp.congestion.bbr import Bbr
from p2pxfer.sctp.congestion.cubic import Cubic
from p2pxfer.sctp.congestion.ledbat import Ledbat
from p2pxfer.sctp.congestion.limit import Limited

LIMIT = 500_000.0  # bytes per second, of what is limited


class Fixed:
    """A window that nothing changes: what is left is the association's own behaviour."""

    def __init__(self, window: int = 60_000, quantum: int = 64_000):
        self.window = window
        self.rate = math.inf
        self.quantum = quantum

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


CONTROLLERS = {
    "fixed": Fixed,
    "bbr": Bbr,
    "cubic": Cubic,
    "ledbat": Ledbat,
    "limited": lambda: Limited(Bbr(), lambda: LIMIT),
}
