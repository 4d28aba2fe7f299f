"""What one transfer of the soak is to be: drawn from its seed, and from nothing else."""

from __future__ import annotations

import random
from dataclasses import dataclass

MEGABYTE = 10**6
CARGOES = ("file", "folder", "stream", "update")
ALONE = (
    "kill-sender", "kill-receiver", "kill-both", "interrupt-sender", "interrupt-receiver",
    "stop-sender", "stop-receiver", "cut", "rendezvous-restarts", "rendezvous-gone",
)  # fmt: skip
ON_DISK = ("fill-disk", "remove-target", "change-source", "spoil-journal", "spoil-partial")

LONG = (("cut", 200.0), ("stop-sender", 60.0), ("stop-receiver", 60.0))


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: one of `ALONE` or `ON_DISK`, or ``turn-restarts``.
        after: seconds from the last one or the start, with content moving unless ``early``.
        early: it comes while the two sides look for each other.
        lasts: seconds until it is over, where it is one that ends.
        waits: after a kill, whether the side that lives is left to notice by itself.
        dice: seed for whatever else has to be chosen.
    """

    kind: str
    after: float
    early: bool
    lasts: float
    waits: bool
    dice: int

    def __str__(self) -> str:
        early = ", maybe early" if self.early else ""
        return f"{self.kind} after {self.after:.1f} s{early}, for {self.lasts:.1f} s"


@dataclass(frozen=True)
class Plan:
    """One transfer.

    Attributes:
        seed: of all of it.
        cargo: one of `CARGOES`.
        size: content bytes, about.
        limit: bytes a second.
        relayed: through a TURN server.
        link: what ``linkemu.c`` is told.
        small_disk: the receiver's disk has little more than is needed.
        faults: in the order in which they come.
        give_up_after: what both commands are told.
    """

    seed: int
    cargo: str
    size: int
    limit: int
    relayed: bool
    link: dict[str, float]
    small_disk: bool
    faults: tuple[Fault, ...]
    give_up_after: str = "20s"

    def __str__(self) -> str:
        link = " ".join(f"{name}={value:g}" for name, value in self.link.items())
        relayed = ", relayed" if self.relayed else ""
        faults = "".join(f"\n    {fault}" for fault in self.faults)
        return (
            f"{self.cargo} of {self.size / MEGABYTE:.1f} MB at {self.limit / MEGABYTE:.1f} MB/s"
            f"{relayed}, over {link or 'a plain link'}{faults}"
        )


def drawn(seed: int) -> Plan:
    """The transfer with that seed."""
    dice = random.Random(seed)  # noqa: S311  # to be repeated, not to be secret
    cargo = dice.choice(CARGOES)
    size = int(10 ** dice.uniform(5.5, 7.6))
    limit = int(10 ** dice.uniform(6.0, 6.9))
    relayed = dice.random() < 0.2
    kinds = list(ALONE)
    if relayed:
        kinds += ["turn-restarts"] * 4
    small_disk = dice.random() < 0.5
    if cargo != "stream":
        kinds += [kind for kind in ON_DISK if small_disk or kind != "fill-disk"]
    count = dice.choice((0, 1, 2, 2, 3, 4, 5))
    faults = tuple(_fault(dice, dice.choice(kinds), size / limit) for _ in range(count))
    return Plan(seed, cargo, size, limit, relayed, _link(dice), small_disk, faults)


def long(number: int) -> Plan:
    """One of the transfers whose faults take minutes: see `LONG`."""
    kind, lasts = LONG[number]
    fault = Fault(kind, 5.0, early=False, lasts=lasts, waits=True, dice=0)
    link = {"seed": 1.0, "delay": 10.0, "rate": 50.0}
    size = 20 * MEGABYTE
    return Plan(number, "file", size, MEGABYTE, False, link, False, (fault,), "600s")


def _fault(dice: random.Random, kind: str, seconds: float) -> Fault:
    early = dice.random() < 0.2 and kind not in ON_DISK
    after = dice.uniform(0, 2.5 if early else min(seconds, 12.0))
    lasts = dice.choice((dice.uniform(0.2, 3), dice.uniform(3, 25)))
    return Fault(kind, after, early, lasts, dice.random() < 0.5, dice.randrange(2**32))


def _link(dice: random.Random) -> dict[str, float]:
    """A link as they are found; some are bad."""
    link: dict[str, float] = {"seed": dice.randrange(1, 10**6)}
    if dice.random() < 0.2:
        return link
    link["delay"] = round(10 ** dice.uniform(0, 2.2), 1)
    link["rate"] = round(10 ** dice.uniform(1.0, 2.5), 1)
    if dice.random() < 0.4:
        link["loss"] = round(10 ** dice.uniform(-1.5, 0.7), 2)
    if dice.random() < 0.3:
        link["jitter"] = round(dice.uniform(0.5, 20), 1)
    if dice.random() < 0.2:
        link["reorder"] = round(dice.uniform(0.1, 3), 1)
    if dice.random() < 0.15:
        link["mtu"] = dice.choice((1280, 1400, 1492, 9000))
    return link
