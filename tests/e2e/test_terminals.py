"""Two people at two terminals: the real commands in pseudo-terminals, and what the screens show."""

from __future__ import annotations

import os
import random
import re

CODE = r"and give it this code\s+(\S+)"


def hand_over(machine, *sent: str, receive: tuple[str, ...] = ()):
    """Start both sides and give the code to the receiver, who types it."""
    sender = machine.terminal("send", *sent)
    code = sender.until(CODE)
    receiver = machine.terminal("receive", *receive)
    receiver.until("Code:")
    return sender, receiver, code


def test_a_folder_from_one_terminal_to_the_other(machine, listed):
    """Send, type the code with Tab, accept, watch the bars: the trees are equal."""
    holiday = machine.path / "holiday"
    (holiday / "photos").mkdir(parents=True)
    (holiday / "empty folder").mkdir()
    (holiday / "film.mov").write_bytes(random.Random(2).randbytes(48 * 1024 * 1024))
    for number in range(50):
        (holiday / "photos" / f"IMG_{number}.jpg").write_bytes(b"jpg" * 1000 * number)
    (holiday / "photos/best").symlink_to("IMG_7.jpg")
    (holiday / "run.sh").write_text("#!/bin/sh\n")
    (holiday / "run.sh").chmod(0o751)
    os.utime(holiday / "run.sh", ns=(1, 1_234_567_890_123_456_789))

    sender, receiver, code = hand_over(machine, "holiday", receive=("-o", "there"))
    nameplate, first, second = code.split("-")
    receiver.type(f"{nameplate}-{first[:4]}\t")
    receiver.until(re.escape(f"Code: {nameplate}-{first}"))
    receiver.type(f" {second[:4]}\t")
    receiver.until(re.escape(f"Code: {code}"))
    receiver.type("\r")
    receiver.until(r"holiday[\s\S]*Receive\? \[y/N\]")
    sender.until("Waiting for the other side to accept")
    assert not os.listdir(machine.there)
    receiver.type("y\r")

    assert (receiver.end(), sender.end()) == (0, 0)
    assert listed(machine.there / "holiday") == listed(holiday)
    for side, verb in ((sender, "Sent"), (receiver, "Received")):
        assert re.search(rf"{verb} 52 files, 54\.0 MB", side.text), side.text
        bars = [re.search(r"━.* (\d+) %", frame) for frame in side.frames]
        shares = [int(bar[1]) for bar in bars if bar]
        assert shares, "no bar was ever drawn"
        assert shares == sorted(shares)
        assert any("film.mov" in frame and "━" in frame for frame in side.frames)


def test_the_receiver_says_no(machine):
    """A declined offer writes nothing, and both sides are told."""
    (machine.path / "unwanted").write_text("x")
    sender, receiver, code = hand_over(machine, "unwanted", receive=("-o", "there"))
    receiver.type(f"{code}\r")
    receiver.until(r"Receive\? \[y/N\]")
    receiver.type("n\r")
    assert (receiver.end(), sender.end()) == (10, 10)
    assert "declined" in sender.text
    assert not os.listdir(machine.there)


def test_words_compared_on_both_sides(machine):
    """With --verify both show the same four words and go on after two times yes."""
    (machine.path / "file").write_text("x")
    sender, receiver, code = hand_over(machine, "--verify", "file", receive=("-o", "there"))
    receiver.type(f"{code}\r")
    words = [
        side.until(r"must show these words:\s+(\w+   \w+   \w+   \w+)")
        for side in (sender, receiver)
    ]
    assert words[0] == words[1]
    for side in (sender, receiver):
        side.until(r"the same\? \[y/N\]")
        side.type("y\r")
    receiver.until(r"Receive\? \[y/N\]")
    receiver.type("y\r")
    assert (receiver.end(), sender.end()) == (0, 0)
    assert (machine.there / "file").read_text() == "x"


def test_words_that_differ(machine):
    """A no to the words ends it on both sides before anything is offered."""
    (machine.path / "file").write_text("x")
    sender, receiver, code = hand_over(machine, "file", receive=("--verify", "-o", "there"))
    receiver.type(f"{code}\r")
    for side in (sender, receiver):
        side.until(r"the same\? \[y/N\]")
    receiver.type("n\r")
    assert receiver.end() == 3
    assert sender.end() == 3
    assert not os.listdir(machine.there)


def test_asked_about_files_that_are_there(machine):
    """On a terminal each existing file is asked about, and a capital answers for the rest."""
    tree = machine.path / "tree"
    tree.mkdir()
    (machine.there / "tree").mkdir()
    for name in "abcd":
        (tree / name).write_text(f"new {name}")
        (machine.there / "tree" / name).write_text(f"old {name}")
    sender, receiver, code = hand_over(machine, "tree", receive=("-o", "there", "-y"))
    receiver.type(f"{code}\r")
    for name, answer in (("a", "o"), ("b", "r"), ("c", "S")):
        receiver.until(rf"tree/{name} is already there\.\s+\[o\]verwrite.*for all:")
        receiver.type(f"{answer}\r")
    assert (receiver.end(), sender.end()) == (9, 9)
    found = {path.name: path.read_text() for path in (machine.there / "tree").iterdir()}
    assert found == {"a": "new a", "b": "old b", "b (1)": "new b", "c": "old c", "d": "old d"}


def test_ctrl_c_at_the_sender(machine):
    """Ctrl-C while the receiver is being asked ends both sides, and leaves nothing behind."""
    (machine.path / "file").write_bytes(bytes(range(256)) * 10_000)
    sender, receiver, code = hand_over(machine, "file", receive=("-o", "there"))
    receiver.type(f"{code}\r")
    receiver.until(r"Receive\? \[y/N\]")
    sender.type("\x03")
    assert sender.end() == 130
    assert receiver.end() == 4
    assert "nothing was heard" not in receiver.text  # it was told, and did not have to find out
    assert not os.listdir(machine.there)


def test_ctrl_c_at_the_code(machine):
    """Ctrl-C at the receiver's first question ends it; the sender's code still works."""
    (machine.path / "file").write_text("x")
    sender, receiver, code = hand_over(machine, "file")
    receiver.type("\x03")
    assert receiver.end() == 130
    again = machine.terminal("receive", "-y", "-o", "there", code)
    assert (again.end(), sender.end()) == (0, 0)


def test_a_text_is_shown(machine):
    """A text appears on the receiver's terminal with its escapes made harmless."""
    sender = machine.terminal("send", "--text", "the password is \x1b]0;evil\x07 käse")
    code = sender.until(CODE)
    receiver = machine.terminal("receive", code)
    receiver.until(r"Show it\? \[y/N\]")
    receiver.type("y\r")
    assert (receiver.end(), sender.end()) == (0, 0)
    assert r"the password is \x1b]0;evil\x07 käse" in receiver.text
