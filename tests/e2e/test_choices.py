"""What the flags of the two commands choose: where it goes, what is sent, what is kept."""

from __future__ import annotations

import os
import random
import subprocess

import pytest


def test_into_a_file(machine):
    """-o names the file that a single one becomes."""
    (machine.path / "report.pdf").write_bytes(b"%PDF" * 100_000)
    sender, receiver = machine.transfer(["report.pdf"], "-o", "there/renamed.pdf")
    assert (sender.end(), receiver.end()) == (0, 0)
    assert os.listdir(machine.there) == ["renamed.pdf"]
    assert (machine.there / "renamed.pdf").read_bytes() == b"%PDF" * 100_000


def test_a_slash_makes_it_a_folder(machine):
    """``-o new/`` puts a single file into a folder that is made for it."""
    (machine.path / "report.pdf").write_text("x")
    sender, receiver = machine.transfer(["report.pdf"], "-o", "new/")
    assert (sender.end(), receiver.end()) == (0, 0)
    assert (machine.path / "new" / "report.pdf").read_text() == "x"


def test_from_pipe_to_pipe(machine):
    """Standard input comes out of standard output as it went in, with the events on the side."""
    content = random.Random(3).randbytes(5_000_001)
    sender = machine.send("-", "--name", "shop.sql", stdin=subprocess.PIPE)
    code = sender.event("code")["code"]
    receiver = machine.receive(code, "-o", "-", told="err")
    sender.process.stdin.write(content)
    sender.process.stdin.close()
    assert (sender.end(), receiver.end()) == (0, 0)
    assert receiver.out == content
    assert [event["path"] for event in receiver.events("file")] == ["shop.sql"]
    assert receiver.events("done")[0]["bytes"] == len(content)


def test_a_pipe_into_a_folder(machine):
    """Standard input becomes a file of the name that it was given, an empty one too."""
    for content in (b"select 1;\n" * 300_000, b""):
        sender = machine.send("-", "--name", f"{len(content)}.sql", stdin=subprocess.PIPE)
        receiver = machine.receive(sender.event("code")["code"], "-o", "there")
        sender.process.stdin.write(content)
        sender.process.stdin.close()
        assert (sender.end(), receiver.end()) == (0, 0)
        assert (machine.there / f"{len(content)}.sql").read_bytes() == content


def test_a_text(machine):
    """--text comes out of standard output and is written nowhere."""
    sender = machine.send("--text", "the password is käse\n")
    code = sender.event("code")["code"]
    receiver = machine.run("receive", "-y", env={"P2PXFER_CODE": code})
    assert (sender.end(), receiver.end()) == (0, 0)
    assert receiver.out.decode() == "the password is käse\n"


@pytest.mark.parametrize(
    ("policy", "exit_code", "expected"),
    [
        ("overwrite", 0, {"a": "new", "b": "new"}),
        ("rename", 0, {"a": "old", "a (1)": "new", "b": "new"}),
        ("skip", 9, {"a": "old", "b": "new"}),
        ("fail", 9, {"a": "old", "b": "new"}),
    ],
)
def test_a_file_that_is_there_already(machine, policy, exit_code, expected):
    """--existing decides; nothing is ever replaced unasked."""
    (machine.path / "tree").mkdir()
    (machine.there / "tree").mkdir()
    for name in ("a", "b"):
        (machine.path / "tree" / name).write_text("new")
    (machine.there / "tree/a").write_text("old")
    sender, receiver = machine.transfer(["tree"], "-o", "there", "--existing", policy)
    assert (sender.end(), receiver.end()) == (exit_code, exit_code)
    found = {path.name: path.read_text() for path in (machine.there / "tree").iterdir()}
    assert found == expected
    assert list(receiver.skipped()) == (["tree/a"] if exit_code else [])


def test_symlinks_as_they_are(machine):
    """By default links stay links; one that leads out of the tree is refused by the receiver."""
    tree = linked(machine.path)
    sender, receiver = machine.transfer([tree], "-o", "there")
    assert (sender.end(), receiver.end()) == (9, 9)
    assert sorted(receiver.skipped()) == ["tree/absolute", "tree/folder/outside"]
    assert sorted(sender.skipped()) == ["tree/absolute", "tree/folder/outside"]
    arrived = machine.there / "tree"
    assert os.readlink(arrived / "inside") == "folder/file"
    assert os.readlink(arrived / "folder/back") == ".."
    assert os.readlink(arrived / "dangling") == "nowhere"
    assert not os.path.lexists(arrived / "absolute")
    assert not os.path.lexists(arrived / "folder/outside")


def test_symlinks_of_any_kind(machine, listed):
    """--unsafe-symlinks takes those, too."""
    tree = linked(machine.path)
    sender, receiver = machine.transfer([tree], "-o", "there", "--unsafe-symlinks")
    assert (sender.end(), receiver.end()) == (0, 0)
    assert listed(machine.there / "tree") == listed(tree)


def test_symlinks_followed(machine):
    """--symlinks follow sends what they lead to; loops and dead ends are named."""
    tree = linked(machine.path)
    sender, receiver = machine.transfer([tree, "--symlinks", "follow"], "-o", "there")
    assert (sender.end(), receiver.end()) == (9, 9)
    assert sorted(sender.skipped()) == ["tree/dangling", "tree/folder/back"]
    arrived = machine.there / "tree"
    for name in ("inside", "absolute", "folder/outside"):
        assert not (arrived / name).is_symlink()
    assert (arrived / "inside").read_text() == "inside"
    assert (arrived / "absolute").read_text() == "elsewhere"
    assert (arrived / "folder/outside").read_text() == "elsewhere"


def test_symlinks_left_out(machine):
    """--symlinks skip leaves them out and names them."""
    tree = linked(machine.path)
    sender, receiver = machine.transfer([tree, "--symlinks", "skip"], "-o", "there")
    assert (sender.end(), receiver.end()) == (9, 9)
    assert len(sender.skipped()) == 5
    assert sorted(os.listdir(machine.there / "tree")) == ["folder"]
    assert sorted(os.listdir(machine.there / "tree/folder")) == ["file"]


def linked(path):
    """A tree with five symlinks, two of which lead out of it."""
    tree = path / "home/tree"
    (tree / "folder").mkdir(parents=True)
    (tree / "folder/file").write_text("inside")
    (path / "elsewhere").write_text("elsewhere")
    (tree / "inside").symlink_to("folder/file")
    (tree / "dangling").symlink_to("nowhere")
    (tree / "absolute").symlink_to(path / "elsewhere")
    (tree / "folder/outside").symlink_to("../../../elsewhere")
    (tree / "folder/back").symlink_to("..")
    return tree


def test_what_is_left_out(machine):
    """--exclude, --exclude-from and --gitignore leave out what they name, without a word."""
    project = machine.path / "project"
    for name in (
        "src/main.py",
        "src/main.pyc",
        "build/out.o",
        "notes.log",
        "keep.log",
        ".git/HEAD",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    (project / ".gitignore").write_text("*.pyc\n/build/\n")
    (machine.path / "patterns").write_text("# logs\n*.log\n!keep.log\n")
    words = [project, "--gitignore", "--exclude-from", "patterns", "--exclude", ".gitignore"]
    sender, receiver = machine.transfer(words, "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0)
    arrived = machine.there / "project"
    found = sorted(str(path.relative_to(arrived)) for path in arrived.rglob("*"))
    assert found == ["keep.log", "src", "src/main.py"]


def test_no_more_than_so_much(machine):
    """--max-size takes what fits into it and names the rest."""
    (machine.path / "tree").mkdir()
    (machine.path / "tree/a").write_bytes(b"x" * 600_000)
    (machine.path / "tree/b").write_bytes(b"x" * 600_000)
    sender, receiver = machine.transfer(["tree"], "-o", "there", "--max-size", "1M")
    assert (sender.end(), receiver.end()) == (9, 9)
    assert list(sender.skipped()) == list(receiver.skipped()) == ["tree/b"]
    assert os.listdir(machine.there / "tree") == ["a"]


def test_names_for_other_systems(machine):
    """--portable-names refuses what Windows can't hold, by name, and takes the rest."""
    (machine.path / "tree").mkdir()
    for name in ("fine", "con.txt", "a:b", "dot."):
        (machine.path / "tree" / name).write_text("x")
    sender, receiver = machine.transfer(["tree"], "-o", "there", "--portable-names")
    assert (sender.end(), receiver.end()) == (9, 9)
    assert sorted(receiver.skipped()) == ["tree/a:b", "tree/con.txt", "tree/dot."]
    assert os.listdir(machine.there / "tree") == ["fine"]
