"""What our association sent and took, packet by packet, as counts. Patched in on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

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
        self._arrived: set[bytes] = set()
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
            chunks = list(_chunks(packet))
            kinds = {kind for kind, _ in chunks}
            counts.update(kinds)
            if not any(packet[CHECKSUM]):
                counts["zero checksum"] += 1
                counts.update(f"{kind} with zero checksum" for kind in kinds)
            if "DATA" in kinds:
                self.longest[which] = max(self.longest[which], len(packet))
            if which == "taken":
                numbers = {packet[at + 4 : at + 8] for kind, at in chunks if kind == "DATA"}
                counts["DATA again"] += bool(numbers & self._arrived)
                self._arrived |= numbers


def _chunks(packet: bytes) -> Iterator[tuple[str, int]]:
    """Each chunk's name, and where it begins."""
    at = HEADER
    while at + 4 <= len(packet):
        length = int.from_bytes(packet[at + 2 : at + 4], "big")
        try:
            name = ChunkType(packet[at]).name
        except ValueError:
            name = f"type {packet[at]}"
        yield name, at
        at += max(4, length + 3 & ~3)
