"""What a congestion control is told, and what it decides.

The sender tells what left and what came back; the control answers with three numbers that may be
read at any time. It has no clock, no timer and no packet: times come in as seconds, and sizes are
bytes of SCTP packets.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class Ack(Struct, frozen=True):
    """What one batch of reports brought.

    Attributes:
        now: when it was readable.
        rtt: a round trip in seconds, of what was sent once; None: none was measured.
        min_rtt: least round trip of the last minutes; 0 before the first.
        srtt: smoothed round trip; 0 before the first.
        acked: bytes newly delivered.
        lost: bytes newly declared lost.
        in_flight: bytes under way after it.
        prior_in_flight: bytes under way before it.
        delivered: bytes delivered of the whole association.
        rate: bytes per second as the newest flight saw them
            (draft-cheng-iccrg-delivery-rate-estimation); None: no sample.
        app_limited: that flight left while the sender had nothing more to send.
        round_start: a round trip of the path ended with it.
    """

    now: float
    rtt: float | None
    min_rtt: float
    srtt: float
    acked: int
    lost: int
    in_flight: int
    prior_in_flight: int
    delivered: int
    rate: float | None
    app_limited: bool
    round_start: bool


class Controller(Protocol):
    """A congestion control.

    Attributes:
        window: bytes that may be in flight.
        rate: bytes per second at which flights leave; `math.inf`: as they come.
        quantum: bytes of one burst.
    """

    window: int
    rate: float
    quantum: int

    def on_sent(self, now: float, size: int, in_flight: int, app_limited: bool) -> None:
        """A flight of ``size`` bytes left, with ``in_flight`` bytes under way before it."""

    def on_ack(self, ack: Ack) -> None:
        """Reports came, or a timer found something lost."""

    def on_timeout(self, now: float, in_flight: int) -> None:
        """T3-rtx ran out: nothing was heard for long."""

    def on_spurious_loss(self, now: float) -> None:
        """What was declared lost last had arrived."""

    def on_path_change(self, now: float) -> None:
        """Packets take another path now."""

    def on_packet_size(self, size: int) -> None:
        """Packets have this many bytes from now on."""
