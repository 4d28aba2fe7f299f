"""What an association hands out to be sent, and what it counts."""

from __future__ import annotations

from msgspec import Struct


class Transmit(Struct, frozen=True):
    """Packets that leave together.

    Attributes:
        packets: of equal length where possible, the last perhaps shorter.
        probe: one packet that asks whether its length passes: alone, and never cut by IP.
        fragmentable: longer than the path takes and not to be cut again: let IP do it.
    """

    packets: list[bytes]
    probe: bool = False
    fragmentable: bool = False


class Statistics(Struct):
    """Counts since the association was established.

    Attributes:
        sent: bytes of packets with DATA, repetitions included.
        resent: bytes of repetitions.
        lost: bytes that were declared lost.
        timeouts: how often T3-rtx ran out.
        probes: tail loss probes sent.
        spurious: how often a loss turned out to be none.
    """

    sent: int = 0
    resent: int = 0
    lost: int = 0
    timeouts: int = 0
    probes: int = 0
    spurious: int = 0
