"""Disks that fill up, fail or vanish under a transfer: what is told, and the same commands again.

Whatever breaks, no file has its name with a byte of it wrong, the exit code says whose turn it is,
and once the disk is well the same two commands bring what is missing, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, Machine
from tests.e2e.disks import MEBIBYTE, disk, failing

SMALL, LARGE = 20, 3  # files
BAD = 2 * MEBIBYTE  # the offset from which a disk is bad
SLOWLY = "3M"  # bytes a second, so that there is something to break
NO_ROOT = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")


@pytest.fixture
def tree(machine: Machine) -> Path:
    """A folder with small files before and after large ones."""
    folder = machine.path / "tree"
    folder.mkdir()
    for number in range(SMALL):
        (folder / f"a{number:02}").write_bytes(os.urandom(1000))
        (folder / f"z{number:02}").write_bytes(os.urandom(1000))
    for number in range(LARGE):
        (folder / f"m{number}").write_bytes(os.urandom(4 * MEBIBYTE))
    return folder


def begin(machine: Machine, *words: str | Path, **options) -> tuple[Command, Command]:
    """Both commands, under way."""
    sender = machine.send(*words)
    code = sender.event("code")["code"]
    return sender, machine.receive(code, "-o", str(machine.there), **options)


def half(receiver: Command) -> None:
    """Wait until some of the large files have come."""
    receiver.event("progress", lambda event: event["bytes"] > 5 * MEBIBYTE)


def right(tree: Path, there: Path) -> set[str]:
    """What has arrived by its name; every byte of it is compared."""
    found = {path.name: path for path in (there / "tree").iterdir() if ".p2pxfer-" not in path.name}
    for name, path in found.items():
        assert path.read_bytes() == (tree / name).read_bytes()
    return set(found)


def again(machine: Machine, tree: Path, listed, there: Path | None = None, **options) -> int:
    """The same commands once more, which finish it; returns what had to travel."""
    there = there or machine.there
    sender, receiver = begin(machine, tree, **options)
    assert (sender.end(), receiver.end()) == (0, 0), receiver.out
    assert listed(there / "tree") == listed(tree)
    home = Path(machine.env["HOME"])
    assert [*home.rglob("*.journal"), *home.rglob("*.sending")] == []
    return sender.events("done")[0]["moved"]


def missing(side: Command) -> set[str]:
    """Names that were told not to have arrived."""
    return {os.path.basename(path) for path in side.skipped()}


def test_the_disk_is_full(machine, tree, listed):
    """What does not fit is named, the rest arrives; with room again only that is sent."""
    with disk(machine, "size=40m") as place:
        sender, receiver = begin(machine, tree, "--limit", SLOWLY, before=place.inside)
        half(receiver)
        place.fill()
        assert (sender.end(), receiver.end()) == (9, 9), receiver.out
        lost = missing(receiver)
        assert lost == missing(sender)
        assert lost
        assert all("space" in reason for reason in receiver.skipped().values())
        assert right(tree, place.there) == set(os.listdir(tree)) - lost
        place.empty()
        size = sum((tree / name).stat().st_size for name in lost)
        assert again(machine, tree, listed, place.there, before=place.inside) == size


def test_the_disk_takes_no_more_files(machine, tree, listed):
    """As many entries as there are inodes arrive."""
    with disk(machine, f"nr_inodes={SMALL * 2 + LARGE + 20}") as place:
        sender, receiver = begin(machine, tree, "--limit", SLOWLY, before=place.inside)
        half(receiver)
        number = 0
        with contextlib.suppress(OSError):
            while number := number + 1:
                (place.there / f"file {number}").touch()
        assert (sender.end(), receiver.end()) == (9, 9), receiver.out
        lost = missing(receiver)
        assert all(name.startswith(("m", "z")) for name in lost)
        assert right(tree, place.there) == set(os.listdir(tree)) - lost
        for path in place.there.glob("file *"):
            path.unlink()
        again(machine, tree, listed, place.there, before=place.inside)


def test_there_is_room_for_the_rest(machine):
    """What an interrupted run has left is counted as there: no room is asked for it twice."""
    data = machine.path / "data"
    data.write_bytes(os.urandom(24 * MEBIBYTE))
    with disk(machine, "size=32m") as place:
        sender, receiver = begin(machine, data, "--limit", "8M", before=place.inside)
        receiver.event("progress", lambda event: event["bytes"] > 12 * MEBIBYTE)
        receiver.interrupt()
        assert (receiver.end(), sender.end()) == (130, 4)
        sender, receiver = begin(machine, data, before=place.inside)
        assert (sender.end(), receiver.end()) == (0, 0), receiver.out
        assert (place.there / "data").read_bytes() == data.read_bytes()
        assert os.listdir(place.there) == ["data"]


@pytest.mark.parametrize(
    "case",
    [
        (("write", "EDQUOT", BAD), (9, 9), {"m0", "m1", "m2"}, "quota"),
        (("write", "EIO", BAD), (9, 9), {"m0", "m1", "m2"}, "input/output error"),
        (("name", "ENOSPC"), (9, 9), None, "no space left"),
        (("sync", "EIO"), (4, 8), None, "input/output error"),
    ],
    ids=["quota", "write", "name", "sync"],
)
def test_the_receivers_disk_fails(machine, tree, listed, case):
    """What can't be written, named or brought to the disk is told, and never has a name."""
    how, ends, lost, reason = case
    lost = lost or set(os.listdir(tree))
    sender, receiver = begin(machine, tree, before=failing(*how))
    assert (sender.end(), receiver.end()) == ends, receiver.out
    assert missing(receiver) == lost
    assert all(reason in told for told in receiver.skipped().values())
    assert right(tree, machine.there) == set(os.listdir(tree)) - lost
    again(machine, tree, listed)


def test_the_senders_disk_fails(machine, tree, listed):
    """A file that can't be read to its end is named, and the rest arrives."""
    sender = machine.send(tree, before=failing("read", "EIO", BAD))
    receiver = machine.receive(sender.event("code")["code"], "-o", "there")
    assert (sender.end(), receiver.end()) == (9, 9), sender.out
    assert missing(sender) == missing(receiver) == {"m0", "m1", "m2"}
    assert right(tree, machine.there) == set(os.listdir(tree)) - missing(sender)
    assert again(machine, tree, listed) == LARGE * 4 * MEBIBYTE


def test_the_folder_is_removed(machine, tree, listed):
    """Nobody is told that what was removed is there; once more all of it comes."""
    sender, receiver = begin(machine, tree, "--limit", SLOWLY)
    half(receiver)
    shutil.rmtree(machine.there)
    assert (sender.end(), receiver.end()) == (4, 8), receiver.out
    assert "removed" in receiver.events("error")[0]["message"]
    assert again(machine, tree, listed) == sum(path.stat().st_size for path in tree.iterdir())


def test_the_folder_may_not_be_written_to_any_more(machine, tree, listed):
    """As after a chmod by somebody else: what comes then is named."""
    before = NO_ROOT if os.geteuid() == 0 else ()
    sender, receiver = begin(machine, tree, "--limit", SLOWLY, before=before)
    half(receiver)
    (machine.there / "tree").chmod(0o500)
    assert (sender.end(), receiver.end()) == (9, 9), receiver.out
    assert missing(receiver) >= {f"z{number:02}" for number in range(SMALL)}
    assert all("permission" in told for told in receiver.skipped().values())
    assert right(tree, machine.there) == set(os.listdir(tree)) - missing(receiver)
    (machine.there / "tree").chmod(0o700)
    again(machine, tree, listed, before=before)
