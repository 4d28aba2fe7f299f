"""What scripts/filming runs: a camera shared and recorded for minutes, in bounded memory.

    scripts/filming                 ten minutes
    scripts/filming --minutes 60

The test pattern with its tone is shared by `camera serve`, and piped on by `camera record -o -`.
Every ten seconds both sides' memory is read; neither may have grown by more than 64 MB since the
second minute, or since the first quarter where that is sooner. Needs Linux, root and network
namespaces.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from benchmarks import lab
from benchmarks.commands import P2PXFER, P2pxfer

EVERY = 10.0  # seconds between two looks
MOST = 64.0  # MB that either side may grow
SETTLED = 120.0  # seconds at most until it counts


def memory(pid: int) -> float:
    """Megabytes that a process has in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def film(place: lab.Lab, work: Path, minutes: float) -> bool:
    """Share and record; whether memory stayed within bounds."""
    tool = P2pxfer(place, work)
    camera = place.sender.popen(
        [*P2PXFER, "camera", "serve", "--from", "test:", "--audio", "--once", "--json"],
        env=tool.env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    code = next(e for e in map(json.loads, camera.stdout) if e["event"] == "code")["code"]
    recorder = place.receiver.popen(
        [*P2PXFER, "camera", "record", "-o", "-", "--for", f"{minutes}m", "--quiet"],
        env={**tool.env, "P2PXFER_CODE": code}, stdout=subprocess.PIPE,
    )  # fmt: skip
    size = 0

    def drain() -> None:
        nonlocal size
        while chunk := recorder.stdout.read1(1 << 16):
            size += len(chunk)

    for work_beside in (drain, camera.stdout.read):
        threading.Thread(target=work_beside, daemon=True).start()
    began, settled = time.monotonic(), min(SETTLED, minutes * 60 / 4)
    first: tuple[float, ...] | None = None
    grown = 0.0
    while recorder.poll() is None and camera.poll() is None:
        passed = time.monotonic() - began
        now = memory(camera.pid), memory(recorder.pid)
        if passed >= settled:
            first = first or now
            grown = max(grown, *(b - a for a, b in zip(first, now, strict=True)))
        print(
            f"{passed:6.0f} s  camera {now[0]:4.0f} MB  recorder {now[1]:4.0f} MB  "
            f"film {size / 1e6:6.1f} MB",
            flush=True,
        )
        try:
            recorder.wait(EVERY)
        except subprocess.TimeoutExpired:
            continue
    codes = recorder.wait(), camera.wait()
    tool.close()
    print(f"exit codes {codes}; grown by {grown:.1f} MB at most; {size / 1e6:.1f} MB of film")
    return codes == (0, 0) and grown <= MOST and size > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    with (
        lab.loopback() as place,
        tempfile.TemporaryDirectory(prefix="p2pxfer-filming-") as folder,
    ):
        raise SystemExit(0 if film(place, Path(folder), options.minutes) else 1)


if __name__ == "__main__":
    main()
