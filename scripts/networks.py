"""What scripts/networks runs: the cases of tests/e2e/networks.py, all of them, with their times.

Each is two hosts in namespaces of their own, behind routers, with a rendezvous, STUN and TURN
servers between them. Prints a table for docs/connectivity.md, and what was not as expected.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests import namespaces  # once the path is right
from tests.e2e.networks import CASES, DIRECT, RELAY, Case, Outcome, carry_out

PARTS = ("rendezvous", "pake", "gathering", "signals", "checks", "dtls", "sctp")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/networks", description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", help="parts of the names of cases; all without any")
    parser.add_argument("--times", type=int, default=1, help="how often to try each")
    arguments = parser.parse_args()
    if not namespaces.allowed():
        print(f"NOTHING WAS TRIED: {namespaces.NONE}.", file=sys.stderr)
        return 1
    chosen = [
        case
        for case in CASES
        if not arguments.cases or any(part in case.name for part in arguments.cases)
    ]
    heads = ("from, to", "path", "connected in", *PARTS, "MB/s")
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|", flush=True)
    bad = 0
    for case in chosen:
        outcomes = [attempt(case) for _ in range(arguments.times)]
        bad += sum(bool(outcome.wrong) for outcome in outcomes)
        print(row(case, outcomes), flush=True)
        for line in (line for outcome in outcomes for line in outcome.wrong):
            print(f"    {line}", file=sys.stderr, flush=True)
    return 1 if bad else 0


def attempt(case: Case) -> Outcome:
    """One try, judged by its time, too."""
    with tempfile.TemporaryDirectory(prefix="p2pxfer-networks-") as folder:
        try:
            outcome = carry_out(case, Path(folder))
        except AssertionError as error:
            outcome = Outcome([str(error)])
    most = DIRECT if case.path == "direct" else RELAY
    if outcome.seconds > most:
        outcome.wrong.append(f"connected in {outcome.seconds:.2f} s, and {most:g} s are allowed")
    return outcome


def row(case: Case, outcomes: list[Outcome]) -> str:
    """Medians, as a row of a table."""
    median = statistics.median
    parts = [median(outcome.parts.get(part, 0.0) for outcome in outcomes) for part in PARTS]
    paths = "/".join(sorted({outcome.path or "none" for outcome in outcomes}))
    cells = [
        case.name,
        paths,
        f"{median(o.seconds for o in outcomes):.2f} s",
        *(f"{part:.0f}" for part in parts),
        f"{median(o.rate for o in outcomes) / 1e6:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
