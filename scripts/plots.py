"""What scripts/plots runs: the congestion controls in steady state, as a table and as plots.

Everything is simulated (tests/sctp), so it is the same on every machine; only how long it takes
differs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.sctp.steady import Bottleneck, Measured, Sample, measure  # once the path is right

root = Path(__file__).resolve().parent.parent
PAGE = root / "docs" / "congestion.md"
PLOTS = root / "docs" / "congestion"
MARK = "<!-- scripts/plots writes what follows -->\n"
CONTROLLERS = ("bbr", "cubic", "ledbat")
POINTS = 240  # of one line
INK = {"ours": "#0b6fb8", "tcp": "#c8501e", "window": "#6b7280"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One link of the table."""

    name: str
    link: Bottleneck
    tcp: int = 0
    warm_up: float = 5.0
    seconds: float = 15.0


def _fat(loss: float) -> Row:
    name = f"200 Mbit/s, 50 ms, {100 * loss:g} % loss" if loss else "200 Mbit/s, 50 ms"
    link = Bottleneck(megabits=200, trip=50, loss=loss)
    return Row(name=name, link=link, seconds=10.0)


ROWS = (
    Row(name="20 Mbit/s, 100 ms", link=Bottleneck(megabits=20, trip=100)),
    *map(_fat, (0.0, 0.001, 0.01, 0.03)),
    Row(
        name="1 Gbit/s, 4 ms",
        link=Bottleneck(megabits=1000, trip=4),
        warm_up=1.0,
        seconds=2.0,
    ),
    Row(
        name="50 Mbit/s, 40 ms, a tenth of a round trip of queue",
        link=Bottleneck(megabits=50, trip=40, queue=0.1),
    ),
    Row(
        name="10 Mbit/s, 40 ms, 1 s of queue",
        link=Bottleneck(megabits=10, trip=40, queue=25),
        seconds=25.0,
    ),
    Row(
        name="50 Mbit/s, 40 ms, 20 ms of jitter",
        link=Bottleneck(megabits=50, trip=40, jitter=20),
    ),
    Row(
        name="50 Mbit/s, 40 ms, 5 % reordered",
        link=Bottleneck(megabits=50, trip=40, reordered=0.05),
    ),
    Row(
        name="20 Mbit/s, 600 ms, 0.5 % loss",
        link=Bottleneck(megabits=20, trip=600, loss=0.005),
        warm_up=20.0,
        seconds=30.0,
    ),
)
BESIDE = (
    Row(
        name="20 Mbit/s, 100 ms, 2 round trips of queue",
        link=Bottleneck(megabits=20, trip=100, queue=2),
        tcp=1,
        warm_up=10.0,
        seconds=60.0,
    ),
    Row(
        name="50 Mbit/s, 30 ms, 1 round trip of queue",
        link=Bottleneck(megabits=50, trip=30, queue=1),
        tcp=1,
        warm_up=10.0,
        seconds=40.0,
    ),
    Row(
        name="10 Mbit/s, 40 ms, 8 round trips of queue",
        link=Bottleneck(megabits=10, trip=40, queue=8),
        tcp=1,
        warm_up=10.0,
        seconds=60.0,
    ),
)


def play(row: Row, controller: str | None, tcp: int) -> Measured:
    """Measure one cell."""
    return measure(row.link, controller, tcp=tcp, warm_up=row.warm_up, seconds=row.seconds)


def tables(jobs: int) -> str:
    """Both tables, in Markdown."""
    cells = [(row, name, 0) for row in ROWS for name in CONTROLLERS]
    cells += [(row, name, 1) for row in BESIDE for name in (*CONTROLLERS, None)]
    cells = [(row, name, 2 if name is None else tcp) for row, name, tcp in cells]
    with ProcessPoolExecutor(jobs) as pool:
        done = dict(
            zip(
                [(row.name, name, row.tcp) for row, name, _ in cells],
                pool.map(play, *zip(*cells, strict=True)),
                strict=True,
            )
        )
    lines = [
        "## Alone",
        "",
        "Share of the link's bits that arrive as user data, and the mean wait in the queue.",
        "Headers of IP, UDP, DTLS and SCTP leave 94 % at most.",
        "",
        "| link | " + " | ".join(CONTROLLERS) + " |",
        "|---" * (1 + len(CONTROLLERS)) + "|",
    ]
    for row in ROWS:
        results = [done[row.name, name, 0] for name in CONTROLLERS]
        texts = [f"{100 * result.share:.0f} %, {result.wait:.0f} ms" for result in results]
        lines.append(f"| {row.name} | " + " | ".join(texts) + " |")
    lines += [
        "",
        "## Beside one TCP flow",
        "",
        "The TCP flow runs CUBIC and begins at the same time. Share of ours, share of TCP's, mean",
        "wait of everybody's packets, share of packets that found the queue full.",
        "",
        "| link | " + " | ".join(CONTROLLERS) + " | two TCP flows |",
        "|---" * (2 + len(CONTROLLERS)) + "|",
    ]
    for row in BESIDE:
        texts = []
        for name in (*CONTROLLERS, None):
            result = done[row.name, name, 1]
            shares = [result.share, *result.tcp] if name else result.tcp
            texts.append(
                " / ".join(f"{100 * share:.0f} %" for share in shares)
                + f", {result.wait:.0f} ms, {100 * result.dropped:.2f} %"
            )
        lines.append(f"| {row.name} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One picture."""

    file: str
    title: str
    link: Bottleneck
    controller: str
    tcp: int = 0
    seconds: float = 20.0


PICTURES = (
    Plot(
        file="bbr-alone.svg",
        title="BBR alone: 20 Mbit/s, 100 ms, 2 round trips of queue",
        link=Bottleneck(megabits=20, trip=100, queue=2),
        controller="bbr",
    ),
    Plot(
        file="bbr-loss.svg",
        title="BBR: 200 Mbit/s, 50 ms, 1 % loss",
        link=Bottleneck(megabits=200, trip=50, loss=0.01),
        controller="bbr",
        seconds=12.0,
    ),
    Plot(
        file="cubic-alone.svg",
        title="CUBIC alone: 20 Mbit/s, 100 ms, 2 round trips of queue",
        link=Bottleneck(megabits=20, trip=100, queue=2),
        controller="cubic",
    ),
    Plot(
        file="bbr-beside-tcp.svg",
        title="BBR beside TCP: 20 Mbit/s, 100 ms, 2 round trips of queue",
        link=Bottleneck(megabits=20, trip=100, queue=2),
        controller="bbr",
        tcp=1,
        seconds=60.0,
    ),
    Plot(
        file="ledbat-beside-tcp.svg",
        title="LEDBAT++ beside TCP: 20 Mbit/s, 100 ms, 2 round trips of queue",
        link=Bottleneck(megabits=20, trip=100, queue=2),
        controller="ledbat",
        tcp=1,
        seconds=60.0,
    ),
)


def _thinned(samples: list[Sample], field: str) -> tuple[list[float], list[float]]:
    """Means of stretches: times and values.

    What arrives in sequence comes in heaps where something is lost, so rates take longer ones.
    """
    points = POINTS // 4 if field in ("goodput", "tcp") else POINTS
    step = max(1, len(samples) // points)
    stretches = [samples[at : at + step] for at in range(0, len(samples) - step + 1, step)]
    return (
        [round(stretch[0].time, 3) for stretch in stretches],
        [statistics.fmean(getattr(sample, field) for sample in stretch) for stretch in stretches],
    )


def draw(plot: Plot) -> None:
    """Simulate and write one picture."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "p2pxfer",
            "path.simplify_threshold": 0.5,
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e5e7eb",
        }
    )
    from matplotlib import pyplot as plt

    samples = measure(
        plot.link, plot.controller, tcp=plot.tcp, warm_up=0.0, seconds=plot.seconds
    ).samples
    figure, (window, rate, queue) = plt.subplots(
        3, 1, sharex=True, figsize=(8, 6), layout="constrained"
    )
    for axes, unit, lines in (
        (
            window,
            "kB",
            [("window", "window", "window", 1e-3), ("in_flight", "in flight", "ours", 1e-3)],
        ),
        (
            rate,
            "Mbit/s",
            [("goodput", plot.controller, "ours", 8e-6)]
            + [("tcp", "TCP CUBIC", "tcp", 8e-6)] * plot.tcp,
        ),
        (queue, "queue, ms", [("queue", "", "window", 1e3)]),
    ):
        for field, label, ink, scale in lines:
            times, values = _thinned(samples, field)
            axes.plot(
                times, [value * scale for value in values], color=INK[ink], label=label, lw=1.1
            )
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        if len(lines) > 1:
            axes.legend(frameon=False, loc="upper right", ncols=2)
    rate.axhline(plot.link.megabits, color="#9ca3af", lw=0.8, ls="--")
    window.set_title(plot.title, loc="left")
    queue.set_xlabel("seconds")
    queue.set_xlim(0, plot.seconds)
    PLOTS.mkdir(exist_ok=True)
    file = PLOTS / plot.file
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
    text = file.read_text()
    file.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="scripts/plots", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/congestion.md's table")
    parser.add_argument("--draw", action="store_true", help="draw docs/congestion/*.svg")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    given = parser.parse_args()
    if given.draw:
        with ProcessPoolExecutor(given.jobs) as pool:
            list(pool.map(draw, PICTURES))
    if given.write or not given.draw:
        text = tables(given.jobs)
        print(text)
        if given.write:
            page = PAGE.read_text()
            PAGE.write_text(page[: page.index(MARK) + len(MARK)] + "\n" + text)


if __name__ == "__main__":
    main()
