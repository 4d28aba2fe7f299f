"""Pictures and data on one connection: what each takes from the other."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import lab
from benchmarks.measure import spread, wait
from benchmarks.sections import FREE, Lines

END = Path(__file__).with_name("picture_end.py")
SECONDS = 20.0  # of each half


def pictures(rounds: int, work: Path) -> Lines:  # noqa: ARG001  # all sections are called alike
    """Frames lost and late, and stills, without and with a transfer at full speed beside them."""
    with lab.loopback(FREE) as place:
        found = [_once(place) for _ in range(rounds)]
    rows = [
        "640 × 480 at 30 pictures a second (VP8), one connection on loopback, a process each;",
        "beside data at full speed on its channel, and without. Lost are pictures that were drawn",
        "and never seen, for whatever reason; late is from drawing to seeing; a still is from",
        "asking for a whole picture to having it.",
        "",
        "| | pictures lost, % | late, ms, median | late, ms, 95 of 100 | still, ms | data, MB/s |",
        "|---|---|---|---|---|---|",
    ]
    for half in ("alone", "beside data"):
        runs = [run[half] for run in found]
        lost = [100 * (1 - run["seen"] / run["expected"]) for run in runs]
        middle = [1e3 * statistics.median(run["late"]) for run in runs]
        most = [1e3 * statistics.quantiles(run["late"], n=20)[-1] for run in runs]
        stills = [1e3 * still for run in runs for still in run["stills"]]
        rates = [run["rate"] for run in runs]
        cells = [spread(lost), spread(middle, 0), spread(most, 0), spread(stills, 0), spread(rates)]
        rows.append(f"| {half} | {' | '.join(cells)} |")
    return rows


def _once(place: lab.Lab) -> dict[str, dict]:
    ends = [
        place.sender.popen(
            [sys.executable, END, role, SECONDS],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for role in ("shows", "watches")
    ]  # fmt: skip
    shows, watches = ends
    watches.stdin.write(shows.stdout.readline())
    watches.stdin.flush()
    shows.stdin.write(watches.stdout.readline())
    shows.stdin.flush()
    told = {said["half"]: said for said in map(json.loads, watches.stdout)}
    for end in ends:
        wait(end)
    return told
