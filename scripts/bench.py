"""What scripts/bench runs: ratios from interleaved runs on this machine, and start-up times.

    scripts/bench                speed and start-up, five interleaved rounds
    scripts/bench --memory 5     peak memory of both sides for a file of 5 GB (minutes)
    scripts/bench --write        the same, and the figures into docs/benchmarks.md

Both ends run as processes of their own on loopback. Quote ratios and medians: machines are noisy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", "p2pxfer")
CHUNK = 64 * 1024  # bytes a message, the most that stock aiortc announces
WATER = 1024 * 1024
MARK = "<!-- scripts/bench writes what follows -->"


@dataclass(frozen=True)
class Run:
    """One transfer: megabytes a second, and what both processes took."""

    rate: float
    cpu_ms_per_mb: float
    peak_mb: tuple[float, float]


# --- stock aiortc's channel, raw -----------------------------------------------------------------


async def raw_end(*, offerer: bool, size: int) -> None:
    """One end of a stock data channel; descriptions go over standard input and output."""
    from aiortc import (
        RTCConfiguration,
        RTCDataChannel,
        RTCPeerConnection,
        RTCSessionDescription,
    )

    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    async def exchange(other_first: bool) -> None:
        async def hear() -> None:
            line = await loop.run_in_executor(None, sys.stdin.readline)
            await peer.setRemoteDescription(RTCSessionDescription(**json.loads(line)))

        if other_first:
            await hear()
        await peer.setLocalDescription()
        said = {"sdp": peer.localDescription.sdp, "type": peer.localDescription.type}
        print(json.dumps(said), flush=True)
        if not other_first:
            await hear()

    if offerer:
        channel = peer.createDataChannel("raw")
        opened, low = asyncio.Event(), asyncio.Event()
        channel.on("open", opened.set)
        channel.on("bufferedamountlow", low.set)
        channel.on("message", done.set_result)
        channel.bufferedAmountLowThreshold = WATER // 2
        await exchange(other_first=False)
        await opened.wait()
        content, began = os.urandom(CHUNK), time.monotonic()
        for _ in range(size // CHUNK):
            if channel.bufferedAmount > WATER:
                low.clear()
                await low.wait()
            channel.send(content)
        await done
        print(json.dumps({"seconds": time.monotonic() - began}), flush=True)
    else:
        received = 0

        def take(channel: RTCDataChannel, message: bytes) -> None:
            nonlocal received
            received += len(message)
            if received >= size // CHUNK * CHUNK:
                channel.send(b"all")

        @peer.on("datachannel")
        def found(channel: RTCDataChannel) -> None:
            channel.on("message", lambda message: take(channel, message))
            channel.on("close", lambda: done.set_result(None))

        await exchange(other_first=True)
        await loop.run_in_executor(None, sys.stdin.readline)
    await peer.close()


def raw(size: int) -> Run:
    """Move ``size`` bytes over a stock channel between two processes."""
    ends = [
        subprocess.Popen(
            [sys.executable, __file__, "--raw-end", role, str(size)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for role in ("offerer", "answerer")
    ]  # fmt: skip
    offerer, answerer = ends
    answerer.stdin.write(offerer.stdout.readline())
    answerer.stdin.flush()
    offerer.stdin.write(answerer.stdout.readline())
    offerer.stdin.flush()
    seconds = json.loads(offerer.stdout.readline())["seconds"]
    answerer.stdin.write("end\n")
    answerer.stdin.flush()
    return _run(size, seconds, [wait(end) for end in ends])


# --- p2pxfer, whole commands ---------------------------------------------------------------------


def wait(process: subprocess.Popen) -> tuple[float, float]:
    """Seconds of processor time and peak megabytes of a process that ends by itself."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{process.args} exited {process.returncode}")
    scale = 1 if sys.platform == "darwin" else 1024
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale / 1e6


def _run(size: int, seconds: float, ends: list[tuple[float, float]]) -> Run:
    cpu = sum(seconds for seconds, _ in ends)
    return Run(size / 1e6 / seconds, cpu * 1e3 / (size / 1e6), (ends[0][1], ends[1][1]))


class Bench:
    """A rendezvous, a folder, and the two commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True
        )
        for line in self.server.stderr:
            if found := re.search(r"port (\d+)", line):
                self.url = f"http://127.0.0.1:{found[1]}"
                return
        raise SystemExit("the rendezvous did not start")

    def close(self) -> None:
        """End the rendezvous."""
        self.server.terminate()
        self.server.wait()

    def transfer(self, source: Path) -> Run:
        """Disk to disk, verified; the rate is of the transfer itself, as the receiver tells it."""
        target = self.folder / "target"
        code = self.folder / "code"
        code.unlink(missing_ok=True)
        sender = subprocess.Popen(
            [*COMMAND, "send", "-q", "-r", self.url, "--code-out", code, source]
        )
        while not code.exists():
            time.sleep(0.01)
        receiver = subprocess.Popen(
            [*COMMAND, "receive", "-y", "--json", "-r", self.url, "-o", target],
            env={**os.environ, "P2PXFER_CODE": code.read_text()},
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        events = [json.loads(line) for line in receiver.stdout]
        done = next(event for event in events if event["event"] == "done")
        ends = [wait(sender), wait(receiver)]
        subprocess.run(["rm", "-rf", target], check=True)
        return _run(done["bytes"], done["seconds"], ends)

    def start_up(self) -> dict[str, float]:
        """Seconds from Enter to help, to the code, and from the code to the first byte."""
        began = time.monotonic()
        subprocess.run([*COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
        help_shown = time.monotonic() - began
        small = self.folder / "small"
        small.write_bytes(b"x" * 1000)
        began = time.monotonic()
        sender = subprocess.Popen(
            [*COMMAND, "send", "--json", "-r", self.url, small], stdout=subprocess.PIPE, text=True
        )
        code = next(e for e in map(json.loads, sender.stdout) if e["event"] == "code")["code"]
        code_shown = time.monotonic() - began
        began = time.monotonic()
        receiver = subprocess.Popen(
            [*COMMAND, "receive", "-y", "--json", "-r", self.url, "-o", self.folder / "got"],
            env={**os.environ, "P2PXFER_CODE": code}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        first = None
        for line in receiver.stdout:
            if first is None and json.loads(line)["event"] in ("progress", "file"):
                first = time.monotonic() - began
        sender.stdout.read()
        wait(sender)
        wait(receiver)
        subprocess.run(["rm", "-rf", self.folder / "got"], check=True)
        return {"--help": help_shown, "code": code_shown, "first byte": first}


def write_random(path: Path, size: int) -> Path:
    """A file of ``size`` random bytes."""
    with path.open("wb") as out:
        for _ in range(size // 2**20):
            out.write(os.urandom(2**20))
    return path


def spread(values: list[float], digits: int = 1) -> str:
    """Median, and the range around it."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def speed_table(bench: Bench, rounds: int, size: int) -> list[str]:
    """Interleaved runs of both."""
    source = write_random(bench.folder / "source", size)
    stock, ours = [], []
    for number in range(rounds):
        stock.append(raw(size))
        ours.append(bench.transfer(source))
        print(f"round {number + 1}: raw {stock[-1].rate:.1f} MB/s, file {ours[-1].rate:.1f} MB/s")
    source.unlink()
    ratios = [mine.rate / theirs.rate for mine, theirs in zip(ours, stock, strict=True)]
    rows = [
        "| work | MB/s | CPU ms/MB, both ends | peak RSS, MB |",
        "|---|---|---|---|",
    ]
    for name, runs in (
        (f"stock aiortc, raw channel, {size // 10**6} MB", stock),
        ("p2pxfer, disk to disk, verified", ours),
    ):
        peak = max(max(run.peak_mb) for run in runs)
        rows.append(
            f"| {name} | {spread([run.rate for run in runs])}"
            f" | {spread([run.cpu_ms_per_mb for run in runs])} | {peak:.0f} |"
        )
    rows += ["", f"Ratio, pair by pair: {spread(ratios, 2)} (wanted: at least 0.9)."]
    return rows


def start_table(bench: Bench, rounds: int) -> list[str]:
    """Start-up times."""
    runs = [bench.start_up() for _ in range(rounds)]
    wanted = {"--help": 150, "code": 500, "first byte": 1000}
    names = {
        "--help": "`p2pxfer --help`",
        "code": "Enter to code",
        "first byte": "`receive` with its code to the first byte",
    }
    rows = ["| start-up | ms | wanted |", "|---|---|---|"]
    for key, name in names.items():
        rows.append(f"| {name} | {spread([run[key] * 1e3 for run in runs], 0)} | {wanted[key]} |")
    return rows


def memory_table(bench: Bench, gigabytes: float) -> list[str]:
    """Peak memory for one large file that is not sparse."""
    run = bench.transfer(write_random(bench.folder / "source", int(gigabytes * 1e9)))
    sender, receiver = run.peak_mb
    peak = f"peak RSS {sender:.0f} MB (sender), {receiver:.0f} MB (receiver)"
    return [f"A file of {gigabytes:g} GB: {run.rate:.1f} MB/s, {peak}; wanted: under 150."]


def machine() -> str:
    """What the figures were taken on."""
    system = f"{platform.system()} {platform.release()}, {os.cpu_count()} processors"
    return f"{time.strftime('%Y-%m-%d')}, {system}, Python {platform.python_version()}, loopback."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=200, help="megabytes a run")
    parser.add_argument("--memory", type=float, metavar="GB", help="only this")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--raw-end", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.raw_end:
        role, size = options.raw_end
        asyncio.run(raw_end(offerer=role == "offerer", size=int(size)))
        return
    with tempfile.TemporaryDirectory(prefix="p2pxfer-bench-", dir=os.environ.get("TMPDIR")) as name:
        bench = Bench(Path(name))
        try:
            if options.memory:
                tables, title = [memory_table(bench, options.memory)], "## Memory"
            else:
                size = options.size * 10**6
                tables = [
                    speed_table(bench, options.rounds, size),
                    start_table(bench, options.rounds),
                ]
                title = "## Speed and start-up"
        finally:
            bench.close()
    text = "\n\n".join("\n".join(rows) for rows in [[title], [machine()], *tables]) + "\n"
    print(text)
    if options.write:
        write(title, text)


def write(title: str, text: str) -> None:
    """Put ``text`` into docs/benchmarks.md, in the place of the section with its title."""
    page = ROOT / "docs" / "benchmarks.md"
    head, _, tail = page.read_text().partition(MARK)
    sections = [part for part in re.split(r"(?m)^(?=## )", tail) if part.strip()]
    kept = [part.rstrip() + "\n" for part in sections if not part.startswith(title)]
    page.write_text(head + MARK + "\n\n" + "\n".join(sorted([*kept, text])))


if __name__ == "__main__":
    main()
