"""What scripts/bench runs: ratios against peers from interleaved runs, and what a user waits for.

    scripts/bench                    every section; two hours
    scripts/bench channel files      these
    scripts/bench --write …          the same, and the figures into docs/benchmarks.md
    scripts/bench --realtime …       every tool, alike, ahead of whatever else runs here

Both ends run as processes of their own, in network namespaces made for it; the peers are installed
into an environment of their own. Quote ratios and medians: machines are noisy. With --realtime
(Linux, root) all of it, both ends of every tool included, is scheduled in real time (SCHED_RR,
sched(7)): other work on the machine waits.
"""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import re
import tempfile
import time
from pathlib import Path

from benchmarks import browser, peers, pictures, sections, waiting

ROOT = Path(__file__).resolve().parent.parent
PRIORITY = 10  # of 1 to 99
PAGE = ROOT / "docs" / "benchmarks.md"
MARK = "<!-- scripts/bench writes what follows -->"
SECTIONS = {
    "channel": ("A bare channel", sections.channel),
    "disk": ("From disk to disk", sections.disk),
    "files": ("One large file", sections.files),
    "many": ("Many small files", sections.many),
    "links": ("Links with delay and loss", sections.links),
    "beside": ("Beside TCP", sections.beside),
    "stock": ("From a stock sender", sections.stock),
    "browser": ("A browser", browser.browser),
    "start": ("Start-up", waiting.start_up),
    "memory": ("Memory", waiting.memory),
    "pictures": ("Pictures beside data", pictures.pictures),
}


ALONE = {"start", "memory", "pictures"}  # these need nobody else's tools


def machine(*, realtime: bool) -> str:
    """What the figures were taken on."""
    system = f"{platform.system()} {platform.release()}, {os.cpu_count()} processors"
    how = ", all tools with real-time priority" if realtime else ""
    return f"{time.strftime('%Y-%m-%d')}, {system}, Python {platform.python_version()}{how}."


def write(title: str, text: str) -> None:
    """Put ``text`` into the page, in the place of the section with its title."""
    head, _, tail = PAGE.read_text().partition(MARK)
    found = {part.splitlines()[0]: part.rstrip() for part in re.split(r"(?m)^(?=## )", tail)
             if part.strip()}  # fmt: skip
    found[title] = text.rstrip()
    order = [f"## {name}" for name, _ in SECTIONS.values()]
    kept = [found[name] for name in order if name in found]
    PAGE.write_text(head + MARK + "\n\n" + "\n\n".join(kept) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--realtime", action="store_true", help="ahead of other work here")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}")
    names = options.sections or list(SECTIONS)
    if not ALONE.issuperset(names):
        peers.install()
    compileall.compile_dir(ROOT / "p2pxfer", quiet=1)  # as pip does for those that it installs
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    for name in names:
        title, work = SECTIONS[name]
        print(f"{title} …", flush=True)
        with tempfile.TemporaryDirectory(prefix="p2pxfer-bench-") as folder:
            lines = work(options.rounds, Path(folder))
        text = "\n".join([f"## {title}", "", machine(realtime=options.realtime), "", *lines]) + "\n"
        print(text, flush=True)
        if options.write:
            write(f"## {title}", text)


if __name__ == "__main__":
    main()
