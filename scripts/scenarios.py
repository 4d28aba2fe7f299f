"""Play simulated associations (tests/sctp): one seed again, or more of them than the tests do."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.sctp.scenario import run  # once the path is right

SLICE = 50


def play(first: int, last: int) -> tuple[int, float, list[tuple[int, str, str]]]:
    """Scenarios of some seeds: how many, the slowest in seconds, and what failed."""
    slowest = 0.0
    failures = []
    for seed in range(first, last):
        begun = time.perf_counter()
        try:
            run(seed)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
            notes = "; ".join(getattr(error, "__notes__", ()))
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno}"
            failures.append((seed, f"{type(error).__name__} in {where}: {error}", notes))
        slowest = max(slowest, time.perf_counter() - begun)
    return last - first, slowest, failures


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int, help="seed; alone, it is played and its error shown")
    parser.add_argument("last", type=int, nargs="?", help="seed before which to end")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = parser.parse_args()
    if given.last is None:
        run(given.first)
        print(f"{given.first}: everything holds")
        return 0
    begun = time.perf_counter()
    count, slowest, failed = 0, 0.0, 0
    slices = range(given.first, given.last, SLICE)
    ends = [min(start + SLICE, given.last) for start in slices]
    with ProcessPoolExecutor(given.jobs) as pool:
        for done, longest, failures in pool.map(play, slices, ends):
            count += done
            slowest = max(slowest, longest)
            failed += len(failures)
            for seed, what, notes in failures:
                print(f"{seed}: {what}\n    {notes}", flush=True)
    seconds = time.perf_counter() - begun
    print(
        f"{count} scenarios in {seconds:.0f} s, {1000 * seconds * given.jobs / count:.0f} ms each, "
        f"the slowest {slowest:.2f} s; {failed} failed"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
