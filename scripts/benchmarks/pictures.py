"""Pictures and data on one connection: what each takes from the other."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import lab
from benchmarks.commands import P2PXFER, P2pxfer
from benchmarks.measure import spread, wait
from benchmarks.sections import FREE, Lines

END = Path(__file__).with_name("picture_end.py")
SECONDS = 20.0  # of each half
WANTED = 2  # seconds from pairing to the first still


def pictures(rounds: int, work: Path) -> Lines:
    """Frames lost and late, and stills, without and with a transfer at full speed beside them."""
    with lab.loopback(FREE) as place:
        found = [_once(place) for _ in range(rounds)]
        tool = P2pxfer(place, work)
        firsts = [_first(place, tool, work) for _ in range(rounds)]
        tool.close()
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
    rows += [
        "",
        "The first still of `camera snap`, a picture of the test pattern as a JPEG on the disk:",
        "",
        "| first still | s | wanted |",
        "|---|---|---|",
    ]
    for name, values in zip(
        ("from Enter, with its code", "from the connection"), zip(*firsts, strict=True), strict=True
    ):
        rows.append(f"| {name} | {spread(values, 2)} | {WANTED} |")
    return rows


def _first(place: lab.Lab, tool: P2pxfer, work: Path) -> tuple[float, float]:
    """Seconds to the first still: from Enter, which pairing is a part of, and from the channel."""
    camera = place.sender.popen(
        [*P2PXFER, "camera", "serve", "--from", "test:", "--once", "--json"],
        env=tool.env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    code = next(e for e in map(json.loads, camera.stdout) if e["event"] == "code")["code"]
    began = time.monotonic()
    watcher = place.receiver.popen(
        [*P2PXFER, "camera", "snap", "--json", "--overwrite", "-o", work / "still.jpg"],
        env={**tool.env, "P2PXFER_CODE": code}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    at = {json.loads(line)["event"]: time.monotonic() for line in watcher.stdout}
    camera.stdout.read()
    wait(camera)
    wait(watcher)
    return at["still"] - began, at["still"] - at["connected"]


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
