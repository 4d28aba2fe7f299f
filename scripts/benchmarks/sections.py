"""The tables of docs/benchmarks.md: each function runs one section's work and returns its lines."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from benchmarks import channels, lab
from benchmarks.commands import MagicWormhole, P2pxfer, Rsync, SyncingRsync, Tool, WormholeWilliam
from benchmarks.measure import Run, ratios, spread

ETHERNET = 1500  # bytes of a packet
FREE = 65536  # what loopback takes
# Seconds for which ext4 passes over each inode that was given back, with a look at it, before it
# hands out another one (RECENTCY_MIN, RECENTCY_DIRTY of fs/ext4/ialloc.c): all tools are slower.
FORGOTTEN = 340

Lines = list[str]


def write_random(path: Path, size: int) -> Path:
    """A file of ``size`` random bytes."""
    with path.open("wb") as out:
        for begin in range(0, size, 1 << 20):
            out.write(os.urandom(min(1 << 20, size - begin)))
    return path


def interleaved(rounds: int, works: dict[str, Callable[[], Run]]) -> dict[str, list[Run]]:
    """Run each work in turn, ``rounds`` times, each time in another order.

    What ran right before tells: many small files take p2pxfer 7 % longer after rsync than after
    itself, though all is on the disk by then. The orders are the same whenever a section runs.
    """
    found: dict[str, list[Run]] = {name: [] for name in works}
    for number in range(rounds):
        order = random.Random(number).sample(list(works), len(works))  # noqa: S311  # no secret
        for name in order:
            found[name].append(works[name]())
            print(f"  {number + 1}. {name}: {found[name][-1].rate:.1f} MB/s", flush=True)
    return found


def rate_rows(found: dict[str, list[Run]]) -> Lines:
    """One row a work: MB/s, processor time, memory."""
    rows = ["| work | MB/s | CPU ms/MB, both ends | peak RSS, MB |", "|---|---|---|---|"]
    for name, runs in found.items():
        whole = all(len(run.usages) > 1 for run in runs)
        cpu = spread([run.cpu for run in runs]) if whole else ""
        peak = f"{max(run.peak for run in runs):.0f}" if whole else ""
        rows.append(f"| {name} | {spread([run.rate for run in runs])} | {cpu} | {peak} |")
    return rows


def versus(
    found: dict[str, list[Run]], ours: str, theirs: str, wanted: str, attribute: str = "rate"
) -> str:
    """A ratio, pair by pair."""
    values = [[getattr(run, attribute) for run in found[name]] for name in (ours, theirs)]
    what = {"rate": "", "cpu": ", CPU"}[attribute]
    return f"| {ours} / {theirs}{what} | {spread(ratios(*values), 2)} | {wanted} |"


RATIOS = ["", "| ratio, pair by pair | | wanted |", "|---|---|---|"]


def channel(rounds: int, work: Path) -> Lines:  # noqa: ARG001  # all sections are called alike
    """Bare channels on loopback, a process each."""
    with lab.loopback(ETHERNET) as place:
        found = interleaved(rounds, {
            "aiortc": lambda: channels.transfer(place, "aiortc", "aiortc", 100 * 10**6),
            "libdatachannel": lambda: channels.transfer(
                place, "libdatachannel", "libdatachannel", 300 * 10**6
            ),
            "p2pxfer": lambda: channels.transfer(place, "p2pxfer", "p2pxfer", 1000 * 10**6),
        })  # fmt: skip
    return [
        "A bare channel on loopback, 64 KiB a message, 1,500 bytes a packet; aiortc with uvloop.",
        "", *rate_rows(found), *RATIOS,
        versus(found, "p2pxfer", "aiortc", "8"),
        versus(found, "p2pxfer", "libdatachannel", "2.5"),
        versus(found, "p2pxfer", "aiortc", "at most 0.2", "cpu"),
    ]  # fmt: skip


def _moving(tool: Tool, source: Path, target: Path, limit: float = 900.0) -> Callable[[], Run]:
    def move() -> Run:
        try:
            return tool.transfer(source, target, limit)
        finally:
            shutil.rmtree(target, ignore_errors=True)

    return move


def _tools(
    place: lab.Lab, work: Path, kinds: list[Callable[[lab.Lab, Path], Tool]], label: str = ""
) -> list[Tool]:
    tools = []
    for kind in kinds:
        folder = work / f"{kind.__name__}{label}"
        folder.mkdir()
        tools.append(kind(place, folder))
    return tools


def disk(rounds: int, work: Path) -> Lines:
    """Whole commands from disk to disk, against what a bare channel of stock aiortc carries."""
    source = write_random(work / "some", 300 * 10**6)
    with lab.loopback(ETHERNET) as place:
        (tool,) = _tools(place, work, [P2pxfer], "-disk")
        bare = "aiortc, bare channel"
        try:
            found = interleaved(rounds, {
                bare: lambda: channels.transfer(place, "aiortc", "aiortc", 100 * 10**6),
                "p2pxfer": _moving(tool, source, work / "target"),
            })  # fmt: skip
        finally:
            tool.close()
    return [
        "300 MB from disk to disk, whole commands, beside 100 MB over a bare channel of stock",
        "aiortc with uvloop; on loopback, 1,500 bytes a packet.",
        "", *rate_rows(found), *RATIOS, versus(found, "p2pxfer", bare, "0.9"),
    ]  # fmt: skip


def _followed(place: lab.Lab, work: Path) -> P2pxfer:
    return P2pxfer(place, work, follow=True)


def _followed_rival(place: lab.Lab, work: Path) -> MagicWormhole:
    return MagicWormhole(place, work, follow=True)


def files(rounds: int, work: Path) -> Lines:
    """One large file, whole commands, on loopback."""
    source = write_random(work / "large", 1 << 30)
    target = work / "target"
    with lab.loopback(FREE) as free, lab.loopback(ETHERNET) as narrow:
        peers = _tools(free, work, [MagicWormhole, WormholeWilliam, Rsync, P2pxfer])
        ours = _tools(narrow, work, [P2pxfer], "-narrow")
        works = {tool.name: _moving(tool, source, target) for tool in peers}
        works["p2pxfer, 1,500"] = _moving(ours[0], source, target)
        try:
            found = interleaved(rounds, works)
        finally:
            for tool in (*peers, *ours):
                tool.close()
    return [
        "1 GiB, disk to disk, whole commands, on loopback, with packets of any size or 1,500.",
        "", *rate_rows(found), *RATIOS,
        versus(found, "p2pxfer", "magic-wormhole", "1.2"),
        versus(found, "p2pxfer", "wormhole-william", "2"),
        versus(found, "p2pxfer", "rsync over ssh", "1.2"),
        versus(found, "p2pxfer, 1,500", "magic-wormhole", "0.6"),
    ]  # fmt: skip


def many(rounds: int, work: Path) -> Lines:
    """Twenty thousand small files, long after anybody removed as many."""
    print(f"  waiting {FORGOTTEN} s for the filesystem to forget what was removed", flush=True)
    time.sleep(FORGOTTEN)
    folder = work / "many"
    content = os.urandom(4096)
    for number in range(200):
        (folder / f"{number:03}").mkdir(parents=True)
        for name in range(100):
            (folder / f"{number:03}" / f"{name:02}").write_bytes(content)

    # What has arrived stays until the end, for the same reason.
    def moving(tool: Tool) -> Callable[[], Run]:
        targets = (work / f"{tool.name.replace(' ', '-')}-{number}" for number in count())
        return lambda: tool.transfer(folder, next(targets))

    with lab.loopback(FREE) as place:
        tools = _tools(place, work, [MagicWormhole, Rsync, SyncingRsync, P2pxfer])
        try:
            found = interleaved(rounds, {tool.name: moving(tool) for tool in tools})
        finally:
            for tool in tools:
                tool.close()
    return [
        "20,000 files of 4 KiB in 200 folders, whole commands, on loopback.", "",
        *rate_rows(found), *RATIOS,
        versus(found, "p2pxfer", "magic-wormhole", "1.5"),
        versus(found, "p2pxfer", "rsync over ssh", "1"),
        versus(found, "p2pxfer", "rsync --fsync over ssh", ""),
    ]  # fmt: skip


LOSSY = {"rate": 200, "delay": 25}  # Mbit/s, ms one way
LOSSES = {0: 88, 0.1: 85, 1: 80, 3: 60}  # percent lost: percent of the link that is wanted


def share(run: Run, rate: float, begin: float, end: float) -> float:
    """Percent of a link of ``rate`` Mbit/s that file bytes took from one second to another."""
    return run.between(begin, end) * 8 / rate * 100


def links(rounds: int, work: Path) -> Lines:
    """One file over emulated links."""
    source = write_random(work / "large", 700 * 10**6)
    target = work / "target"
    cases = [({"rate": 1000, "delay": 2}, 1.0, 6.0, 85)]
    cases += [({**LOSSY, "loss": loss}, 5.0, 20.0, wanted) for loss, wanted in LOSSES.items()]
    rows = ["| link | percent of it, as file bytes | wanted |", "|---|---|---|"]
    plain: list[float] = []
    for number, (options, begin, end, wanted) in enumerate(cases):
        with lab.link(**options) as place:
            (tool,) = _tools(place, work, [_followed], f"-{number}")
            runs = [_moving(tool, source, target, end + 4)() for _ in range(rounds)]
            tool.close()
        shares = [share(run, options["rate"], begin, end) for run in runs]
        plain = plain or shares
        rows.append(f"| {_named(options)} | {spread(shares, 0)} | {wanted} |")
        print(rows[-1], flush=True)
    reordered: list[float] = []
    for number in range(rounds):
        for options in ({**LOSSY}, {**LOSSY, "reorder": 5}):
            with lab.link(**options) as place:
                label = f"-order-{number}-{len(options)}"
                (tool,) = _tools(place, work, [_followed], label)
                run = _moving(tool, source, target, 19)()
                tool.close()
            reordered.append(share(run, 200, 5.0, 15.0))
    values = ratios(reordered[1::2], reordered[::2])
    rows.append(
        f"| 5 % reordered, of the same link without | {spread([100 * v for v in values], 0)} | 80 |"
    )
    with lab.link(**LOSSY, loss=1) as place:
        tools = _tools(place, work, [_followed_rival, _followed], "-slow")
        rates = [
            [_moving(tool, source, target, 24)().between(5.0, 20.0) for _ in range(rounds)]
            for tool in tools
        ]
        for tool in tools:
            tool.close()
    ratio = spread(ratios(rates[1], rates[0]), 1)
    return [
        "Between cards that cut and gather; each packet is lost, queued and delayed by itself.",
        "",
        *rows,
        *RATIOS,
        f"| p2pxfer / magic-wormhole at 1 % loss, its TCP with CUBIC | {ratio} | 10 |",
    ]


def _named(options: dict[str, float]) -> str:
    text = f"{options['rate']} Mbit/s, {2 * options['delay']:g} ms"
    return text + (f", {options['loss']:g} % lost" if "loss" in options else "")


QUEUE = 500  # kB: two bandwidth-delay products of 20 Mbit/s and 100 ms
SECONDS = 40


def beside(rounds: int, work: Path) -> Lines:
    """One TCP CUBIC flow and us, through one queue."""
    source = write_random(work / "large", 200 * 10**6)
    head = "| one TCP CUBIC flow, and | TCP, % | that, % | median queueing, ms |"
    rows = [head, "|---|---|---|---|"]
    for name, options in (("another TCP CUBIC flow", None), ("p2pxfer", ()),
                          ("p2pxfer --background", ("--background",))):  # fmt: skip
        found = [_beside(work, source, options, f"{name}{number}") for number in range(rounds)]
        columns = [spread(list(values), 0) for values in zip(*found, strict=True)]
        rows.append(f"| {name} | {' | '.join(columns)} |")
        print(rows[-1], flush=True)
    wanted = "Wanted: 30 to 70 each, queueing as of two TCP flows; in the background TCP keeps 85."
    return ["On 20 Mbit/s, 100 ms, a queue of 500 kB.", "", *rows, "", wanted]


def _beside(
    work: Path, source: Path, options: tuple[str, ...] | None, label: str
) -> tuple[float, float, float]:
    """Percent of the link for TCP and for the other, milliseconds in the queue."""
    import json
    import statistics
    import sys

    echo = Path(__file__).with_name("echo.py")
    folder = work / label.replace(" ", "-")
    folder.mkdir()
    with lab.link(rate=20, delay=50, queue=QUEUE) as place:
        near, far = place.sender, place.receiver
        servers = [
            far.popen(["iperf3", "-s", "-p", port], stdout=subprocess.DEVNULL)
            for port in (5201, 5202)
        ]
        servers.append(far.popen([sys.executable, echo, "serve"]))
        pinger = near.popen(
            [sys.executable, echo, far.address, SECONDS - 5], stdout=subprocess.PIPE, text=True
        )

        def flow(port: int) -> subprocess.Popen:
            words = ["iperf3", "-c", far.address, "-p", port, "-C", "cubic", "-t", SECONDS, "-J"]
            return near.popen([*words, "-O", 5], stdout=subprocess.PIPE, text=True)

        tcp = flow(5201)
        if options is None:
            rate = _goodput(flow(5202)) / 1e6
        else:
            tool = P2pxfer(place, folder, *options, follow=True)
            rate = tool.transfer(source, folder / "target", SECONDS).between(5, SECONDS - 2) * 8
            tool.close()
        other = _goodput(tcp) / 1e6
        queueing = statistics.median(json.loads(pinger.communicate()[0]))
        for server in servers:
            server.kill()
            server.wait()
    return other / 20 * 100, rate / 20 * 100, queueing


def _goodput(iperf: subprocess.Popen) -> float:
    """Bits a second that arrived."""
    import json

    return json.loads(iperf.communicate()[0])["end"]["sum_received"]["bits_per_second"]


def stock(rounds: int, work: Path) -> Lines:  # noqa: ARG001
    """A stock sender at 50 ms."""
    with lab.link(delay=25, rate=500) as place:
        found = interleaved(rounds, {
            f"aiortc to {other}": lambda other=other: channels.transfer(
                place, "aiortc", other, 400 * 10**6, limit=15
            )
            for other in ("aiortc", "p2pxfer")
        })  # fmt: skip
    return [
        "A stock sender, 50 ms away.", "", *rate_rows(found), *RATIOS,
        versus(found, "aiortc to p2pxfer", "aiortc to aiortc", "1"),
    ]  # fmt: skip
