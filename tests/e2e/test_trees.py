"""Whole trees, as people have them and as they can get, arrive equal."""

from __future__ import annotations

import os
import random
import socket
import sys
from pathlib import Path

AGO = 1_234_567_890_123_456_789  # an mtime with every digit in use


def test_twenty_thousand_small_files(machine, listed):
    """20,000 small files, 10,000 of them in one folder, arrive equal in every respect."""
    tree = machine.path / "tree"
    for number in range(100):
        (tree / f"{number:02}").mkdir(parents=True)
        for file in range(100):
            (tree / f"{number:02}" / f"{file}").write_text(f"{number} {file}\n" * (file % 7))
    (tree / "all in one").mkdir()
    for number in range(10_000):
        (tree / "all in one" / f"IMG_{number:05}.txt").write_text(f"{number}")
    sender, receiver = machine.transfer([tree], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0)
    assert listed(machine.there / "tree") == listed(tree)
    assert [event["files"] for event in sender.events("done")] == [20_000]


def test_two_hundred_folders_deep(machine, listed):
    """A file 200 folders down arrives there."""
    tree = machine.path / "tree"
    deep = tree.joinpath(*["deeper"] * 200)
    deep.mkdir(parents=True)
    (deep / "bottom").write_text("made it")
    sender, receiver = machine.transfer([tree], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0)
    assert listed(machine.there / "tree") == listed(tree)


def test_names_of_any_bytes(machine, listed):
    """Every byte that Linux allows in a name survives, alone and in sequences that are no UTF-8."""
    tree = os.fsencode(machine.path / "tree")
    os.mkdir(tree)
    every = [bytes([byte]) for byte in range(1, 256) if byte not in b"/."]
    odd = [
        b"\xff\xfe", b"\xed\xa0\x80", b"a\xffb", b"a\xc3", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"...",
        b"\xff" * 255, b"-rf", b"--", b"\x1b]0;title\x07", b"line\nbreak", b"C:\\CON",
        b"\xe2\x80\xae",
    ]  # fmt: skip
    names = every + odd
    if sys.platform == "darwin":  # takes nothing but UTF-8, and "A" for "a"
        names = [name for name in names if name.isascii() and not name.isupper()]
    for name in names:
        with open(os.path.join(tree, name), "wb") as file:
            file.write(name)
    os.mkdir(os.path.join(tree, names[-1] + b" folder"))
    os.symlink(names[-2], os.path.join(tree, names[-1] + b" link"))
    sender, receiver = machine.transfer([tree], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0)
    assert listed(machine.there / "tree") == listed(machine.path / "tree")
    assert len(listed(machine.there / "tree")) == len(names) + 3


def test_a_sparse_file_stays_sparse(machine):
    """A file of 5 GB that is almost all hole arrives as one, with what is in it in its place."""
    size = 5_000_000_000
    source = machine.path / "disk.img"
    islands = {0: b"boot", 2_500_000_000: b"middle", size - 3: b"end"}
    with source.open("wb") as image:
        for offset, content in islands.items():
            image.seek(offset)
            image.write(content)
    sender, receiver = machine.transfer([source], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0)
    arrived = machine.there / "disk.img"
    assert arrived.stat().st_size == size
    assert arrived.stat().st_blocks * 512 < 32 * 1024 * 1024  # a few blocks of the protocol
    with arrived.open("rb") as image:
        for offset, content in islands.items():
            image.seek(max(0, offset - 100))
            around = image.read(300)
            assert around.strip(b"\0") == content
            assert around.index(content) == min(offset, 100)
    (digest,) = {event["digest"] for side in (sender, receiver) for event in side.events("file")}
    assert len(bytes.fromhex(digest)) == 32


def test_empty_things_modes_and_times(machine, listed):
    """Empty files and folders, modes, times to the nanosecond and symlinks are kept."""
    tree = machine.path / "tree"
    tree.mkdir()
    (tree / "empty").touch()
    (tree / "empty folder").mkdir(mode=0o700)
    (tree / "read only").mkdir()
    (tree / "read only/inside").write_text("x")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "private").write_text("secret")
    (tree / "private").chmod(0o400)
    (tree / "link").symlink_to("run.sh")
    (tree / "dangling").symlink_to("nowhere")
    content = random.Random(1).randbytes(9 * 1024 * 1024 + 17)
    (tree / "several blocks").write_bytes(content)
    (tree / "read only").chmod(0o500)
    for number, name in enumerate(("empty", "empty folder", "read only/inside", "link", "private")):
        os.utime(tree / name, ns=(AGO, AGO + number), follow_symlinks=False)
    for name in ("read only", "."):
        os.utime(tree / name, ns=(AGO, -AGO), follow_symlinks=False)  # before 1970
    sender, receiver = machine.transfer([tree], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0)
    assert listed(machine.there / "tree") == listed(tree)


def test_setuid_does_not_cross(machine):
    """Permissions arrive without setuid, setgid and sticky."""
    tool = machine.path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o6755)
    machine.transfer([tool], "-o", "there")
    assert (machine.there / "tool").stat().st_mode & 0o7777 == 0o755


def test_what_is_no_file_is_skipped_and_named(machine):
    """A FIFO and a socket are skipped and named on both ends of the line; the rest arrives."""
    tree = machine.path / "tree"
    tree.mkdir()
    os.mkfifo(tree / "pipe")
    (tree / "file").write_text("arrives")
    here = Path.cwd()
    os.chdir(tree)  # a socket's path is bounded at some hundred bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
    finally:
        os.chdir(here)
    sender, receiver = machine.transfer([tree], "-o", "there")
    assert (sender.end(), receiver.end()) == (9, 9)
    assert sender.skipped() == {
        "tree/pipe": "a named pipe can't be sent",
        "tree/socket": "a socket can't be sent",
    }
    assert sorted(os.listdir(machine.there / "tree")) == ["file"]
    for side in (sender, receiver):
        assert side.events("done")[0]["failed"] == 2
        assert side.events("error")[0]["name"] == "PartlyDone"


def test_a_folder_named_like_an_option(machine, listed):
    """A folder called -rf is sent after -- or with ./ before it."""
    folder = machine.path / "-rf"
    folder.mkdir()
    (folder / "--help").write_text("x")
    for number, words in enumerate((["--", "-rf"], ["./-rf"])):
        sender, receiver = machine.transfer(words, "-o", f"there{number}")
        assert (sender.end(), receiver.end()) == (0, 0)
        assert listed(machine.path / f"there{number}/-rf") == listed(folder)


def test_several_paths(machine, listed):
    """Files and folders named together arrive side by side."""
    (machine.path / "a").mkdir()
    (machine.path / "a/inside").write_text("1")
    (machine.path / "elsewhere/b").mkdir(parents=True)
    (machine.path / "elsewhere/b/inside").write_text("2")
    (machine.path / "c.txt").write_text("3")
    sender, receiver = machine.transfer(["a/", "elsewhere/b", "c.txt"], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0)
    assert sorted(os.listdir(machine.there)) == ["a", "b", "c.txt"]
    assert listed(machine.there / "a") == listed(machine.path / "a")
    assert listed(machine.there / "b") == listed(machine.path / "elsewhere/b")
    assert (machine.there / "c.txt").read_text() == "3"
