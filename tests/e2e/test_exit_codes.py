"""How it ends: the exit code that a script relies on, and the sentence for a person."""

from __future__ import annotations

import os
import subprocess

import pytest

MEBIBYTE = 1024 * 1024
BRIEFLY = ("--give-up-after", "3s")  # of trying to make a broken connection again


def other_words(code: str) -> str:
    """The same nameplate with words that are not those."""
    nameplate, first, second = code.split("-")
    return f"{nameplate}-{second}-{first}" if first != second else f"{nameplate}-zoo-{second}"


def streaming(machine):
    """Both sides in the middle of a transfer that goes on for as long as the test writes."""
    sender = machine.send("-", *BRIEFLY, stdin=subprocess.PIPE)
    code = sender.event("code")["code"]
    receiver = machine.receive(code, *BRIEFLY, "-o", "-", read_output=False, told="err")
    sender.process.stdin.write(os.urandom(4 * MEBIBYTE))
    sender.process.stdin.flush()
    assert receiver.process.stdout.read(MEBIBYTE)
    receiver.event("progress", lambda event: event["bytes"] >= MEBIBYTE)  # its pipe is full again
    return sender, receiver


def drain(receiver) -> None:
    while receiver.process.stdout.read(MEBIBYTE):
        pass


def error(side) -> dict:
    """The one ``error`` event of a command that has ended; its code is the process's own."""
    (told,) = side.events("error")
    assert told["code"] == side.end()
    assert told["message"]
    assert told["hint"]
    return told


@pytest.mark.parametrize(
    "words",
    [
        ("send",),
        ("send", "--frobnicate", "file"),
        ("send", "--code", "too-short", "file"),
        ("receive", "7-orbit-lamp"),  # nobody is there to accept
        ("receive", "--yes"),  # nobody is there to give a code
        ("receive", "--yes", "no code at all"),
        ("receive", "--yes", "7-orbit-qqqq"),
        ("serve", "--tls-key", "key"),
    ],
)
def test_usage(machine, words):
    """What makes no sense is refused with 2 and a hint, before anything is sent anywhere."""
    (machine.path / "file").touch()
    command = machine.run(*words, env={"P2PXFER_RENDEZVOUS": "http://127.0.0.1:1"})
    assert command.end() == 2
    assert "error: " in command.err
    assert "hint: " in command.err


def test_a_wrong_code(machine):
    """A wrong guess uses a code up: fresh words are drawn three times, then both sides exit 3."""
    (machine.path / "file").write_text("x")
    sender = machine.send("file")
    seen: set[str] = set()
    for left in (3, 2, 1, 0):
        code = sender.event("code", lambda event: event["code"] not in seen)["code"]
        seen.add(code)
        receiver = machine.receive(other_words(code))
        assert receiver.end() == 3
        assert error(receiver)["name"] == "WrongCode"
        burnt = sender.event("burnt", lambda event, code=code: event["code"] == code)
        assert burnt["left"] == left
    assert sender.end() == 3
    assert error(sender)["retryable"] is False
    assert len(seen) == 4


def test_the_fresh_words_work(machine):
    """After a wrong guess the used code is void, and the fresh one works."""
    (machine.path / "file").write_text("x")
    sender = machine.send("file")
    first = sender.event("code")["code"]
    assert machine.receive(other_words(first)).end() == 3
    second = sender.event("code", lambda event: event["code"] != first)["code"]
    assert machine.receive(first).end() in {3, 6}
    assert machine.receive(second, "-o", "there").end() == 0
    assert sender.end() == 0
    assert (machine.there / "file").read_text() == "x"


@pytest.mark.parametrize("victim", ["sender", "receiver"])
def test_the_other_side_is_killed(machine, victim):
    """When one side is killed in mid-transfer the other one notices and exits 4."""
    sender, receiver = streaming(machine)
    dead, left = (sender, receiver) if victim == "sender" else (receiver, sender)
    dead.kill()
    assert left.end() == 4
    told = error(left)
    assert told["name"] == "PeerGone"
    assert told["retryable"] is True


def test_nobody_comes(machine):
    """A code that nobody uses within --wait ends the sender with 4."""
    (machine.path / "file").touch()
    sender = machine.send("file", "--wait", "1s")
    assert sender.end() == 4
    assert error(sender)["name"] == "CodeExpired"


def test_no_way_between_the_two(machine):
    """Where no path exists it is exit 5: here the sender insists on a relay, and there is none."""
    (machine.path / "file").touch()
    sender, receiver = machine.transfer(["file", "--relay-only"])
    assert sender.end() == 5
    assert error(sender)["retryable"] is True
    assert error(receiver)["retryable"] is True


@pytest.mark.parametrize("side", ["send", "receive"])
def test_no_rendezvous(machine, side):
    """A rendezvous that can't be reached is exit 6, and the error says so."""
    (machine.path / "file").touch()
    nowhere = {"P2PXFER_RENDEZVOUS": "http://127.0.0.1:1"}
    command = (
        machine.send("file", env=nowhere)
        if side == "send"
        else machine.receive("7-orbit-lamp", env=nowhere)
    )
    assert command.end() == 6
    assert error(command)["name"] == "RendezvousUnreachable"


def test_no_such_path(machine):
    """A path that is not there is exit 8, before a code is drawn."""
    sender = machine.send("missing")
    assert sender.end() == 8
    assert "missing" in error(sender)["message"]
    assert not sender.events("code")


def test_no_space(machine):
    """What does not fit on the disk is refused with 8 before anybody is asked to wait for it."""
    (machine.path / "large").write_bytes(os.urandom(12 * MEBIBYTE))
    small_disk = ("unshare", "--mount", "sh", "-c", MOUNT, "sh", str(machine.there))
    sender = machine.send("large")
    receiver = machine.receive(sender.event("code")["code"], "-o", "there", before=small_disk)
    assert (receiver.end(), sender.end()) == (8, 4)
    assert error(receiver)["name"] == "NoSpace"
    told = error(sender)
    assert (told["name"], told["retryable"]) == ("PeerFailed", False)
    assert told["message"] == "the other side could not go on with its files: its disk is full"


def test_no_space_for_a_stream(machine):
    """A stream that outgrows the disk is not kept, and not called done."""
    small_disk = ("unshare", "--mount", "sh", "-c", MOUNT, "sh", str(machine.there))
    with (machine.path / "large").open("w+b") as source:
        source.write(os.urandom(12 * MEBIBYTE))
        source.seek(0)
        sender = machine.send("-", stdin=source)
    receiver = machine.receive(sender.event("code")["code"], "-o", "there", before=small_disk)
    assert (receiver.end(), sender.end()) == (9, 9)
    assert "space" in receiver.skipped()["stdin"]


def test_a_stream_for_an_output_that_is_closed(machine):
    """Nobody is told that it has arrived."""
    (machine.path / "data").write_text("the only copy")
    sender = machine.send("data")
    closed = ("sh", "-c", 'exec "$@" >&-', "sh")
    receiver = machine.receive(sender.event("code")["code"], "-o", "-", before=closed, told="err")
    assert (receiver.end(), sender.end()) == (8, 4)


MOUNT = 'mount -t tmpfs -o size=8m tmpfs "$1" && shift && exec "$@"'


@pytest.mark.parametrize("presser", ["sender", "receiver"])
def test_ctrl_c(machine, presser):
    """Ctrl-C on either side is 130 there and 4 at once on the other, which is told."""
    sender, receiver = streaming(machine)
    pressed, left = (sender, receiver) if presser == "sender" else (receiver, sender)
    pressed.interrupt()
    if presser == "sender":
        drain(receiver)
    assert pressed.end() == 130
    assert left.end() == 4
    assert error(pressed)["name"] == "Interrupted"
    assert "nothing was heard" not in error(left)["message"]  # it did not have to find out


def test_ctrl_c_while_waiting(machine):
    """Ctrl-C before anybody came leaves at once."""
    (machine.path / "file").touch()
    sender = machine.send("file")
    sender.event("code")
    sender.interrupt()
    assert sender.end() == 130


def test_nothing_is_left_of_what_was_interrupted(machine):
    """The receiver's folder holds no temporaries after Ctrl-C in the middle of a file."""
    sender = machine.send("-", *BRIEFLY, stdin=subprocess.PIPE)
    receiver = machine.receive(sender.event("code")["code"], "-o", "there")
    sender.process.stdin.write(os.urandom(3 * MEBIBYTE))
    sender.process.stdin.flush()
    receiver.event("progress", lambda event: event["bytes"] > 0)
    assert len(os.listdir(machine.there)) == 1  # the temporary
    receiver.interrupt()
    assert (receiver.end(), sender.end()) == (130, 4)
    assert os.listdir(machine.there) == []
