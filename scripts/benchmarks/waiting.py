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

WANTED: dict[str, int | str] = {
    "`p2pxfer --help`": 150,
    "Enter to code": 500,
    "`receive` with its code to the first byte": 1000,
    "without a rendezvous: Enter to code": 500,
    "`receive` to the sender found": 1000,
    "`receive` to its first byte": "",
}  # ms


def start_up(rounds: int, work: Path) -> Lines:
    """Milliseconds from Enter to help, to the code, and from the code to the first byte."""
    small = work / "small"
    small.write_bytes(b"x" * 1000)
    with lab.loopback(FREE) as place, lab.cable() as lan:
        tool = P2pxfer(place, work)
        alone = {name: text for name, text in tool.env.items() if name != "P2PXFER_RENDEZVOUS"}
        found = []
        for _ in range(rounds):
            code, _, first = _once(place, small, work / "got", tool.env)
            found.append((_help(place), code, first, *_once(lan, small, work / "got", alone)))
        tool.close()
    rows = ["| start-up | ms | wanted |", "|---|---|---|"]
    for (name, wanted), values in zip(WANTED.items(), zip(*found, strict=True), strict=True):
        rows.append(f"| {name} | {spread([value * 1e3 for value in values], 0)} | {wanted} |")
    return rows


def _help(place: lab.Lab) -> float:
    began = time.monotonic()
    wait(place.sender.popen([*P2PXFER, "--help"], stdout=subprocess.DEVNULL))
    return time.monotonic() - began


def _once(
    place: lab.Lab, source: Path, target: Path, env: dict[str, str]
) -> tuple[float, float, float]:
    """Seconds to the code; from then until the sender is found, and until the first byte."""
    began = time.monotonic()
    sender = place.sender.popen(
        [*P2PXFER, "send", "--json", source], env=env, stdout=subprocess.PIPE, text=True
    )
    code = next(e for e in map(json.loads, sender.stdout) if e["event"] == "code")["code"]
    code_shown = time.monotonic() - began
    began = time.monotonic()
    receiver = place.receiver.popen(
        [*P2PXFER, "receive", "-y", "--json", "--verbose", "-o", target],
        env={**env, "P2PXFER_CODE": code}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    found = first = 0.0
    for event in map(json.loads, receiver.stdout):
        if event["event"] == "note" and event["text"].startswith("found the sender"):
            found = time.monotonic() - began
        elif event["event"] in ("progress", "file"):
            first = first or time.monotonic() - began
    sender.stdout.read()
    wait(sender)
    wait(receiver)
    os.unlink(target)
    return code_shown, found, first


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
