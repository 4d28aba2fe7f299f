"""What scripts/soak runs: transfers under random faults over random links, every byte compared.

    scripts/soak --seed 1000 --minutes 60     transfers 1000, 1001, … for an hour
    scripts/soak --seed 1017 --count 1        transfer 1017 again
    scripts/soak --long                       a cut of 200 s, a minute of SIGSTOP on either side

A seed decides what is sent, over which link, and what goes wrong when; the rest is the machine's.
Real commands run in network namespaces; needs Linux and root.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.lab import need_root
from soaking.cargo import Cargo
from soaking.place import made
from soaking.plan import LONG, Plan, drawn, long
from soaking.transfer import Failed, Transfer


@dataclass
class Count:
    """What all of it came to."""

    began: float = field(default_factory=time.monotonic)
    cargoes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    size: int = 0
    moved: int = 0
    failed: list[int] = field(default_factory=list)

    def add(self, transfer: Transfer, plan: Plan, cargo: Cargo) -> None:
        self.cargoes[plan.cargo] += 1
        self.faults += transfer.faults
        self.ends += transfer.ends
        self.size += cargo.size
        self.moved += transfer.moved

    def show(self) -> None:
        minutes = (time.monotonic() - self.began) / 60
        print(f"\n{sum(self.cargoes.values())} transfers in {minutes:.0f} minutes")
        for name, counted in (("sent", self.cargoes), ("faults", self.faults), ("ends", self.ends)):
            parts = ", ".join(f"{count} {what}" for what, count in sorted(counted.items()))
            print(f"{name}: {sum(counted.values())}: {parts}")
        print(f"bytes compared: {self.size:,}; received in all: {self.moved:,}")
        print(f"failed: {len(self.failed)} {self.failed or ''}", flush=True)


def soak(plan: Plan, work: Path, count: Count) -> None:
    """Carry one out, and count it."""
    dice = random.Random(plan.seed)  # noqa: S311  # to be repeated, not to be secret
    cargo = Cargo("file" if plan.cargo == "stream" else plan.cargo, work / "sent", plan.size, dice)
    with made(plan, work, cargo.size) as place:
        if plan.cargo == "update":
            cargo.make_older(place.there)
        transfer = Transfer(plan, place, cargo)
        try:
            transfer.carry_out()
        except Exception as error:  # noqa: BLE001  # told, counted, and the next one begins
            count.failed.append(plan.seed)
            told = str(error) if isinstance(error, Failed) else traceback.format_exc()
            print(f"  FAILED, seed {plan.seed}: {told}\n{transfer.story()}", flush=True)
            for log in work.glob("*.log"):
                if text := log.read_text(errors="replace")[-1500:].strip():
                    print(f"  {log.name}: {text}", flush=True)
        finally:
            transfer.close()
            count.add(transfer, plan, cargo)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="of the first transfer")
    parser.add_argument("--count", type=int, default=sys.maxsize, help="transfers at most")
    parser.add_argument("--minutes", type=float, default=60, help="begin no transfer after these")
    parser.add_argument("--long", action="store_true", help="only those that take minutes")
    arguments = parser.parse_args()
    need_root()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with the counts so far
    count = Count()
    try:
        seeds = range(arguments.seed, arguments.seed + arguments.count)
        for seed in range(len(LONG)) if arguments.long else seeds:
            if time.monotonic() > count.began + arguments.minutes * 60:
                break
            plan = long(seed) if arguments.long else drawn(seed)
            began = time.monotonic()
            print(f"{seed}: {plan}", flush=True)
            with tempfile.TemporaryDirectory(prefix="p2pxfer-soak-") as directory:
                soak(plan, Path(directory), count)
            print(f"  {time.monotonic() - began:.0f} s", flush=True)
    finally:
        count.show()
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main())
