"""Files that change, vanish or can't be read while they are sent: noticed, named, the rest goes on.

Where a file has to be open while it changes, the receiver writes to a pipe that nobody empties:
once the first byte has come out, the file is being sent, and it can't be sent to its end.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

LARGE = 96 * 1024 * 1024  # bytes: more than is on the way between a full pipe and the file
AHEAD = 24 * 1024 * 1024  # bytes: more than a sender reads before the receiver has accepted
NO_ROOT = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, LARGE // 2)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    beside = path.with_name("beside")
    beside.write_bytes(b"as editors save")
    beside.replace(path)


@pytest.mark.parametrize(
    ("meddle", "reason"),
    [
        (grow, "changed"),
        (shrink, "changed"),
        (rewrite, "changed"),
        (delete, "vanished"),
        (replace, "vanished"),
    ],
)
def test_a_file_that_changes_while_it_is_sent(machine, meddle, reason):
    """Growing, truncated, rewritten, deleted or replaced: neither calls it done, both say why."""
    source = machine.path / "large"
    source.write_bytes(os.urandom(LARGE))
    sender = machine.send(source)
    code = sender.event("code")["code"]
    receiver = machine.receive(code, "-o", "-", read_output=False, told="err")
    pipe = receiver.process.stdout
    pipe.read(1)
    meddle(source)
    while pipe.read(1024 * 1024):
        pass
    assert (sender.end(), receiver.end()) == (9, 9)
    for side in (sender, receiver):
        assert list(side.skipped()) == ["large"]
        assert reason in side.skipped()["large"]
        assert side.events("file") == []


def test_a_log_that_grows_in_a_tree(machine):
    """A log that is written to all the time is named; what comes after it arrives."""
    tree = machine.path / "tree"
    tree.mkdir()
    (tree / "a.log").write_bytes(os.urandom(LARGE))
    (tree / "b").write_text("arrives")
    over = threading.Event()

    def log() -> None:
        while not over.wait(0.001):
            grow(tree / "a.log")

    logging = threading.Thread(target=log)
    logging.start()
    try:
        sender, receiver = machine.transfer([tree], "-o", "there")
    finally:
        over.set()
        logging.join()
    assert (sender.end(), receiver.end()) == (9, 9)
    assert sender.skipped() == {"tree/a.log": "it changed while it was being sent"}
    assert os.listdir(machine.there / "tree") == ["b"]


def test_what_happens_to_files_before_their_turn(machine):
    """Gone or no file any more: named. Changed before it was opened: sent as it is then."""
    tree = machine.path / "tree"
    tree.mkdir()
    (tree / "a large file that comes first").write_bytes(os.urandom(AHEAD))
    for name in ("deleted", "now a pipe", "now a link", "now longer", "now shorter", "untouched"):
        (tree / name).write_text("as it was listed")
    (tree / "gone with its folder").mkdir()
    (tree / "gone with its folder/inside").write_text("x")

    sender = machine.send(tree)
    code = sender.event("code")["code"]
    receiver = machine.terminal("receive", "-o", "there", env={"P2PXFER_CODE": code})
    receiver.until(r"Receive\? \[y/N\]")
    sender.event("offer", lambda offer: offer["complete"])
    for name in ("deleted", "now a pipe", "now a link", "gone with its folder/inside"):
        (tree / name).unlink()
    (tree / "gone with its folder").rmdir()
    os.mkfifo(tree / "now a pipe")
    (tree / "now a link").symlink_to("/etc/passwd")
    (tree / "now longer").write_text("longer than it was listed")
    (tree / "now shorter").write_text("short")
    receiver.type("y\r")

    assert (receiver.end(), sender.end()) == (9, 9)
    assert sorted(sender.skipped()) == [
        "tree/deleted", "tree/gone with its folder/inside", "tree/now a link", "tree/now a pipe",
    ]  # fmt: skip
    arrived = machine.there / "tree"
    assert sorted(os.listdir(arrived)) == [
        "a large file that comes first", "gone with its folder", "now longer", "now shorter",
        "untouched",
    ]  # fmt: skip
    assert (arrived / "now longer").read_text() == "longer than it was listed"
    assert (arrived / "now shorter").read_text() == "short"


def test_what_the_sender_may_not_read(machine):
    """A file and a folder without read permission are named; the rest arrives."""
    tree = machine.path / "tree"
    tree.mkdir()
    (tree / "private").write_text("x")
    (tree / "private folder").mkdir()
    (tree / "private folder/inside").write_text("x")
    (tree / "public").write_text("arrives")
    for name in ("private", "private folder"):
        (tree / name).chmod(0)
    before = NO_ROOT if os.geteuid() == 0 else ()
    try:
        sender, receiver = machine.transfer([tree], "-o", "there", before=before)
    finally:
        (tree / "private folder").chmod(0o700)
    assert (sender.end(), receiver.end()) == (9, 9)
    assert sorted(sender.skipped()) == ["tree/private", "tree/private folder"]
    assert all("read" in reason for reason in sender.skipped().values())
    assert sorted(os.listdir(machine.there / "tree")) == ["private folder", "public"]
    (machine.there / "tree/private folder").chmod(0o700)
