"""The demonstration that scripts/demo starts: a rendezvous, a sender and a receiver on one machine.

The two sides are the real commands in processes of their own; the receiver's bars are shown.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
import tempfile
import time
from pathlib import Path

LARGE = 200 * 1000 * 1000  # bytes of the largest file
COMMAND = (sys.executable, "-m", "p2pxfer")


def say(text: str) -> None:
    """One line to the person who watches."""
    print(text, file=sys.stderr, flush=True)


def generate(folder: Path) -> None:
    """Several sizes, odd names, a symlink, an empty folder."""
    folder.mkdir()
    for name, size in (("empty", 0), ("one byte", 1), ("megabyte.bin", 2**20 + 1)):
        (folder / name).write_bytes(os.urandom(size))
    with (folder / "large.bin").open("wb") as large:
        for _ in range(LARGE // 10**6):
            large.write(os.urandom(10**6))
    photos = folder / "photos"
    photos.mkdir()
    for number in range(200):
        (photos / f"IMG_{number:04}.jpg").write_bytes(os.urandom(4096 + number))
    odd = folder / "odd names"
    odd.mkdir()
    for name in ("-rf", ".hidden", "tab\there", "line\nbreak", "käse 🧀", "ends with dot."):
        (odd / name).write_bytes(name.encode())
    if sys.platform.startswith("linux"):
        Path(os.fsdecode(os.fsencode(odd) + b"/not utf-8 \xff\xfe")).write_bytes(b"raw bytes")
    (folder / "empty folder").mkdir()
    (folder / "link to large").symlink_to("large.bin")
    script = folder / "run.sh"
    script.write_text("#!/bin/sh\necho hello\n")
    script.chmod(0o755)
    os.utime(script, ns=(1_234_567_890_123_456_789, 1_234_567_890_123_456_789))


def listing(folder: Path) -> dict[str, tuple[object, ...]]:
    """What makes two trees equal: kinds, modes, times, content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        name = os.fsdecode(os.path.relpath(path, folder))
        if stat.S_ISLNK(status.st_mode):
            found[name] = ("symlink", os.readlink(path))
        elif stat.S_ISDIR(status.st_mode):
            found[name] = ("directory", stat.S_IMODE(status.st_mode), status.st_mtime_ns)
        else:
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "blake2b").hexdigest()
            mode = stat.S_IMODE(status.st_mode)
            found[name] = ("file", mode, status.st_mtime_ns, status.st_size, digest)
    return found


async def exchange(rendezvous: str, folder: Path, target: Path, code_file: Path) -> None:
    """Run both commands, the receiver with the code that the sender drew."""
    sender = await asyncio.create_subprocess_exec(
        *COMMAND, "send", "--quiet", "-r", rendezvous, "--code-out", str(code_file), str(folder)
    )
    while not code_file.exists() and sender.returncode is None:
        await asyncio.sleep(0.05)
    if sender.returncode is not None:
        raise SystemExit(sender.returncode)
    say(f"    p2pxfer send {folder.name}/   prints {code_file.read_text().strip()}")
    say("    p2pxfer receive --yes   is given that code\n")
    receiver = await asyncio.create_subprocess_exec(
        *COMMAND, "receive", "-y", "-r", rendezvous, "-o", str(target),
        env={**os.environ, "P2PXFER_CODE": code_file.read_text().strip()},
    )  # fmt: skip
    codes = await asyncio.gather(receiver.wait(), sender.wait())
    if any(codes):
        say(f"receive exited {codes[0]}, send exited {codes[1]}")
        raise SystemExit(max(codes))


async def demonstrate() -> int:
    """Generate, move, compare."""
    from p2pxfer.rendezvous.server.app import start

    with tempfile.TemporaryDirectory(prefix="p2pxfer-demo-") as directory:
        folder, target = Path(directory, "holiday"), Path(directory, "received")
        say("Generating a folder: 200 photos, odd names, a symlink, a file of 200 MB …")
        generate(folder)
        target.mkdir()
        server = await start("127.0.0.1", 0)
        try:
            began = time.monotonic()
            await exchange(
                f"http://127.0.0.1:{server.port}", folder, target, Path(directory, "code")
            )
            seconds = time.monotonic() - began
        finally:
            await server.close()
        sent, received = listing(folder), listing(target / folder.name)
        if sent != received:
            wrong = sorted(name for name in sent | received if sent.get(name) != received.get(name))
            say(f"\nDIFFERENT: {wrong[:10]!r}")
            return 1
        size = sum(int(str(entry[3])) for entry in sent.values() if entry[0] == "file")
        say(
            f"\nVerified: {len(sent)} entries, {size / 1e6:.0f} MB, equal in content, mode, time."
            f"\n{size / 1e6 / seconds:.1f} MB/s, start of the two programs and pairing included"
            f" ({seconds:.1f} s)."
        )
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(demonstrate()))
