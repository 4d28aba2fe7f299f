"""What a user waits for before bytes flow, and what one large file takes in memory."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from benchmarks import lab
from benchmarks.commands import P2PXFER, P2pxfer
from benchmarks.measure import spread, wait
from benchmarks.sections import FREE, Lines, write_random

WANTED = {
    "`p2pxfer --help`": 150,
    "Enter to code": 500,
    "`receive` with its code to the first byte": 1000,
}  # ms


def start_up(rounds: int, work: Path) -> Lines:
    """Milliseconds from Enter to help, to the code, and from the code to the first byte."""
    with lab.loopback(FREE) as place:
        tool = P2pxfer(place, work)
        found = [_once(place, tool, work) for _ in range(rounds)]
        tool.close()
    rows = ["| start-up | ms | wanted |", "|---|---|---|"]
    for (name, wanted), values in zip(WANTED.items(), zip(*found, strict=True), strict=True):
        rows.append(f"| {name} | {spread([value * 1e3 for value in values], 0)} | {wanted} |")
    return rows


def _once(place: lab.Lab, tool: P2pxfer, work: Path) -> tuple[float, float, float]:
    host = place.sender
    began = time.monotonic()
    wait(host.popen([*P2PXFER, "--help"], stdout=subprocess.DEVNULL))
    help_shown = time.monotonic() - began
    small = work / "small"
    small.write_bytes(b"x" * 1000)
    began = time.monotonic()
    sender = host.popen(
        [*P2PXFER, "send", "--json", small], env=tool.env, stdout=subprocess.PIPE, text=True
    )
    code = next(e for e in map(json.loads, sender.stdout) if e["event"] == "code")["code"]
    code_shown = time.monotonic() - began
    began = time.monotonic()
    receiver = host.popen(
        [*P2PXFER, "receive", "-y", "--json", "-o", work / "got"],
        env={**tool.env, "P2PXFER_CODE": code}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    first = None
    for line in receiver.stdout:
        if first is None and json.loads(line)["event"] in ("progress", "file"):
            first = time.monotonic() - began
    sender.stdout.read()
    wait(sender)
    wait(receiver)
    os.unlink(work / "got")
    return help_shown, code_shown, first


def memory(rounds: int, work: Path, gigabytes: int = 5) -> Lines:  # noqa: ARG001  # once is enough
    """Peak memory for one large file that is not sparse."""
    source = write_random(work / "huge", gigabytes * 10**9)
    with lab.loopback(FREE) as place:
        tool = P2pxfer(place, work)
        run = tool.transfer(source, work / "target", 3600)
        tool.close()
    sender, receiver = (usage.peak for usage in run.usages)
    peak = f"peak RSS {sender:.0f} MB (sender), {receiver:.0f} MB (receiver)"
    return [f"A file of {gigabytes} GB: {run.rate:.1f} MB/s, {peak}; wanted: under 150."]
