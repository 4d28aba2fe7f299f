"""What scripts/fuzz runs: atheris over the packet parser, and over an association in any state.

atheris (libFuzzer) changes inputs and keeps those that reach new code. The parser gets packets; an
association gets the programs of tests/sctp/hostile.py, which mix a recorded conversation with
damage, made-up chunks and time. An input that breaks a property is written to the corpus' folder as
``crash-…``, and replayed by giving its path.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["p2pxfer.sctp"]):
    from p2pxfer.sctp.chunks import Chunk
    from p2pxfer.sctp.dcep import read_open
    from p2pxfer.sctp.packets import Malformed, encode, parse
    from tests.sctp import hostile
    from tests.sctp.vectors import VECTORS

SEEDS = 200  # programs drawn at random to begin with


def packets(data: bytes) -> None:
    """A packet is read or refused with `Malformed`; what is read is written and read the same."""
    read_open(data)
    try:
        packet = parse(data)
    except Malformed:
        return
    again: tuple[Chunk, ...] = parse(encode(packet.tag, packet.chunks)).chunks
    assert again == packet.chunks


TARGETS: dict[str, Callable[[bytes], None]] = {"packets": packets, "association": hostile.play}


def seeds(target: str) -> list[bytes]:
    """What to begin with."""
    if target == "packets":
        found = [encode(7, [chunk]) for chunk, _ in VECTORS.values()]
        stacks = json.loads((ROOT / "tests/vectors/sctp-stacks.json").read_text())["stacks"]
        found += [bytes.fromhex(entry["packet"]) for stack in stacks.values() for entry in stack]
        for role in (0, 1):
            for name, arguments, _ in hostile.recorded(role, False, 3):
                found += arguments[0] if name == "receive" else []
        return found
    chance = random.Random(1)  # noqa: S311  # repeatable on purpose
    return [chance.randbytes(chance.randrange(1, 400)) for _ in range(SEEDS)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("inputs", nargs="*", type=Path, help="replay these and end")
    parser.add_argument("--seconds", type=int, default=60, help="how long (60)")
    parser.add_argument("--corpus", type=Path, help="a folder that keeps what was found")
    options = parser.parse_args()
    target = TARGETS[options.target]
    if options.inputs:
        for path in options.inputs:
            print(path)
            target(path.read_bytes())
        return
    corpus = options.corpus or ROOT / ".fuzz" / options.target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(options.target)):
        (corpus / f"seed-{number:04}").write_bytes(seed)
    flags = [
        f"-max_total_time={options.seconds}",
        f"-artifact_prefix={corpus}/",
        "-max_len=1500" if options.target == "packets" else "-max_len=600",
        "-timeout=30",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        "-reload=1",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
