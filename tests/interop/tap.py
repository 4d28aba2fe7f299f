"""What our association sent and took, packet by packet, as counts. Patched in on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from p2pxfer.sctp.association import Association
from p2pxfer.sctp.chunks import ChunkType

HEADER = 12
CHECKSUM = slice(8, 12)


class Tap:
    """Looks at each packet of every association that this process makes from now on."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.longest = {"sent": 0, "taken": 0}
        transmit, receive = Association.transmit, Association.receive

        def transmit_seen(association: Association, now: float) -> object:
            flight = transmit(association, now)
            if flight is not None:
                self._look("sent", self.sent, flight.packets)
            return flight

        def receive_seen(association: Association, packets: Sequence[bytes], now: float) -> None:
            self._look("taken", self.taken, packets)
            receive(association, packets, now)

        Association.transmit = transmit_seen
        Association.receive = receive_seen

    def _look(self, which: str, counts: Counter[str], packets: Sequence[bytes]) -> None:
        for packet in packets:
            kinds = set(_chunks(packet))
            counts.update(kinds)
            if not any(packet[CHECKSUM]):
                counts["zero checksum"] += 1
                counts.update(f"{kind} with zero checksum" for kind in kinds)
            if "DATA" in kinds:
                self.longest[which] = max(self.longest[which], len(packet))


def _chunks(packet: bytes) -> list[str]:
    found, at = [], HEADER
    while at + 4 <= len(packet):
        length = int.from_bytes(packet[at + 2 : at + 4], "big")
        try:
            found.append(ChunkType(packet[at]).name)
        except ValueError:
            found.append(f"type {packet[at]}")
        at += max(4, length + 3 & ~3)
    return found
