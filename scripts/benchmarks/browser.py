"""Chromium at one end of a bare channel, through the programs of tests/interop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from benchmarks import lab, sections
from benchmarks.lab import Host, Lab
from benchmarks.measure import Run
from benchmarks.peers import PYTHON

MESSAGE = 64 * 1024  # bytes
# Chromium uses the address from which it would go there; nothing is sent.
AWAY = "8.8.8.8"


def transfer(place: Lab, sender: str, receiver: str, size: int) -> Run:
    """Move ``size`` bytes; stacks are ``chromium``, ``p2pxfer`` and ``aiortc``."""
    sys.path[:0] = [str(Path(__file__).resolve().parents[2])]
    try:
        from tests.interop import harness
    finally:
        del sys.path[0]
    harness.PROGRAMS["aiortc"] = (
        str(PYTHON), "-m", "tests.interop.peer_aiortc", "--uvloop"
    )  # fmt: skip
    hosts = (place.sender.inside, place.receiver.inside)

    async def move() -> Run:
        async with harness.running(sender, receiver, hosts=hosts) as (near, far):
            await harness.join(near, far)
            arrived = await harness.carry(near, far, count=size // MESSAGE, size=MESSAGE)
        return Run(arrived["bytes"], arrived["seconds"])

    return asyncio.run(move())


def _route(host: Host, *way: str) -> None:
    subprocess.run([*host.inside, "ip", "route", "add", AWAY, *way], check=True)


def _table(rounds: int, place: Lab, size: int) -> sections.Lines:
    others = ("aiortc", "p2pxfer")
    pairs = [pair for name in others for pair in (("chromium", name), (name, "chromium"))]
    found = sections.interleaved(rounds, {
        f"{near} to {far}": lambda near=near, far=far: transfer(place, near, far, size)
        for near, far in pairs
    })  # fmt: skip
    return [
        *sections.rate_rows(found), *sections.RATIOS,
        sections.versus(found, "chromium to p2pxfer", "chromium to aiortc", "1; 2 if it can"),
        sections.versus(found, "p2pxfer to chromium", "aiortc to chromium", "1; 2 if it can"),
    ]  # fmt: skip


def browser(rounds: int, work: Path) -> sections.Lines:  # noqa: ARG001
    """Chromium on loopback, and 50 ms away."""
    with lab.loopback(sections.ETHERNET) as place:
        _route(place.sender, "dev", "own0")
        here = _table(rounds, place, 50 * 10**6)
    with lab.link(delay=25, rate=500) as place:
        _route(place.sender, "via", lab.FAR)
        _route(place.receiver, "via", lab.NEAR)
        there = _table(rounds, place, 20 * 10**6)
    return [
        "Chromium on loopback; aiortc with uvloop.", "", *here, "",
        "Chromium, 50 ms away:", "", *there,
    ]  # fmt: skip
