"""How fast the path delivers, measured at each acknowledgement.

Delivery-rate estimation after draft-cheng-iccrg-delivery-rate-estimation, with one record a
flight instead of one a packet: a flight leaves at one time, so its packets would carry the same
stamp. Rounds of the path are counted here too, since they need the same stamps.
"""

from __future__ import annotations

from p2pxfer.sctp.flights import Flight


class DeliveryRate:
    """The stamps and samples of one association.

    Attributes:
        delivered: bytes acknowledged so far.
    """

    __slots__ = ("_delivered_at", "_first_sent", "_limited_until", "_round_end", "delivered")

    def __init__(self, now: float) -> None:
        self.delivered = 0
        self._delivered_at = self._first_sent = now
        self._limited_until = 0  # what was sent before this many bytes arrived was app-limited
        self._round_end = 0

    def stamp(self, flight: Flight, in_flight: int) -> None:
        """Mark a flight that leaves with ``in_flight`` bytes under way before it."""
        if not in_flight:
            self._first_sent = self._delivered_at = flight.sent
        flight.first_sent = self._first_sent
        flight.delivered = self.delivered
        flight.delivered_at = self._delivered_at
        flight.app_limited = self._limited_until > 0

    def limited(self, in_flight: int) -> None:
        """The sender has no more to send although it might."""
        self._limited_until = self.delivered + in_flight or 1

    def acknowledge(self, size: int, now: float) -> None:
        """Bytes were newly acknowledged; before `sample`."""
        self.delivered += size
        self._delivered_at = now
        if self._limited_until and self.delivered > self._limited_until:
            self._limited_until = 0

    def sample(self, newest: Flight, now: float, min_rtt: float) -> float | None:
        """Bytes per second as the newest acknowledged flight saw them.

        None where the interval is shorter than the path allows: then acknowledgements came
        compressed, or what was sent twice confuses them.
        """
        interval = max(newest.sent - newest.first_sent, now - newest.delivered_at)
        self._first_sent = newest.sent
        if interval <= 0 or interval < min_rtt:
            return None
        return (self.delivered - newest.delivered) / interval

    def round_start(self, newest: Flight) -> bool:
        """Whether a round trip of the path ended with this flight's acknowledgement."""
        if newest.delivered < self._round_end:
            return False
        self._round_end = self.delivered
        return True
