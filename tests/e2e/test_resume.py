"""The same commands again: after a kill or Ctrl-C, with a changed file, onto an older copy.

What travelled is what the side that lived to the end of a run has counted.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from p2pxfer.errors import ExitCode, RoomRefused
from p2pxfer.session.receive import STILL_THERE
from tests.e2e.conftest import Command, Machine

BLOCK = 256 * 1024  # bytes, of a file of this size
SIZE = 256 * BLOCK
PART = SIZE // 5  # bytes after which a transfer is interrupted
SLOWLY = "16M"  # bytes a second, so that there is something to interrupt
SHARE = 0.05  # of the whole, that may travel twice
ON_THE_WAY = 8 << 20  # bytes that a killed receiver may have had in its queues
KILLS = 4
SECONDS = 3000  # after which they hang


@pytest.fixture
def data(machine: Machine) -> Path:
    """A file to send."""
    path = machine.path / "data"
    path.write_bytes(os.urandom(SIZE))
    return path


def moved(command: Command) -> int:
    """Bytes that travelled, as one side has counted them until it ended."""
    return max((event["moved"] for event in command.events() if "moved" in event), default=0)


def under_way(machine: Machine, data: Path, *words: str) -> tuple[Command, Command]:
    """Send and receive until a part has arrived."""
    sender = machine.send(data, "--limit", SLOWLY)
    receiver = machine.receive(sender.event("code")["code"], "-o", "there", *words)
    receiver.event("progress", lambda event: event["bytes"] >= PART)
    return sender, receiver


def interrupted(machine: Machine, data: Path, *words: str) -> int:
    """Send, and interrupt the receiver; returns how much it has had."""
    sender, receiver = under_way(machine, data, *words)
    receiver.interrupt()
    assert (receiver.end(), sender.end()) == (130, 4)
    return moved(receiver)


def again(machine: Machine, data: Path, *words: str) -> int:
    """Send once more, under a new code, to the end; returns how much had to travel."""
    sender, receiver = machine.transfer([data], "-o", "there", *words)
    assert (sender.end(), receiver.end()) == (0, 0), receiver.out
    assert (machine.there / data.name).read_bytes() == data.read_bytes()
    assert moved(sender) == moved(receiver)
    return moved(sender)


def others(machine: Machine) -> list[str]:
    """What is beside the file that was sent."""
    return sorted(name for name in os.listdir(machine.there) if name != "data")


def journals(machine: Machine) -> list[Path]:
    """What is remembered of transfers, by either side."""
    home = Path(machine.env["HOME"])
    return [*home.rglob("*.journal"), *home.rglob("*.sending")]


def forget_secrets(machine: Machine) -> None:
    """The sender can prove nothing any more."""
    for path in journals(machine):
        if path.suffix == ".sending":
            path.unlink()


def test_kills_at_random_moments(machine, pytestconfig):
    """Either side, four times in 300 MB: the right bytes, nothing left, little sent twice."""
    script = pytestconfig.rootpath / "scripts/kills.py"
    seed = str(random.randrange(10**6))
    command = machine.run("--count", str(KILLS), "--seed", seed, program=[sys.executable, script])
    assert command.process.wait(SECONDS) == 0, command.out.decode() + command.err


@pytest.mark.parametrize("side", [0, 1], ids=["sender", "receiver"])
def test_ctrl_c_and_the_same_commands(machine, data, side):
    """Whoever it was: under the new code only the rest travels, and nothing stays of the old."""
    commands = under_way(machine, data)
    commands[side].interrupt()
    assert commands[side].end() == 130
    assert commands[1 - side].end() == 4
    before = moved(commands[1])
    assert before >= PART
    assert before + again(machine, data) <= SIZE * (1 + SHARE)
    assert others(machine) == []
    assert journals(machine) == []


def test_a_killed_sender(machine, data):
    """The receiver is told to stop; the same commands then go on, under a new code."""
    sender, receiver = under_way(machine, data)
    sender.kill()
    receiver.interrupt()
    assert receiver.end() == 130
    assert moved(receiver) + again(machine, data) <= SIZE * (1 + SHARE)
    assert others(machine) == []


def test_a_killed_receiver(machine, data):
    """The same command with the old code finds the live sender, which sends the rest."""
    sender, receiver = under_way(machine, data)
    receiver.kill()
    receiver = machine.receive(sender.event("code")["code"], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0), receiver.out
    assert sender.events("restarted")
    assert len(sender.events("code")) == 1
    assert sender.events("burnt") == []
    assert moved(sender) <= SIZE + ON_THE_WAY
    assert moved(receiver) < SIZE - PART * 0.9
    assert (machine.there / "data").read_bytes() == data.read_bytes()
    assert others(machine) == []
    assert journals(machine) == []


def test_both_killed(machine, data):
    """As when the power fails. The old code alone leads nowhere, and costs nothing."""
    sender, receiver = under_way(machine, data)
    for command in (sender, receiver):
        command.kill()
    alone = machine.receive(sender.event("code")["code"], "-o", "there")
    assert alone.end() == ExitCode.RENDEZVOUS, alone.out
    (error,) = alone.events("error")
    assert error["retryable"]
    assert error["hint"].splitlines() == [STILL_THERE, RoomRefused.default_hint]
    assert again(machine, data) < SIZE - PART * 0.9
    assert others(machine) == []


def test_the_file_has_changed_since(machine, data):
    """The result is the new file, and of what was there only the blocks that differ travel."""
    had = interrupted(machine, data)
    with data.open("r+b") as file:
        for place in (0, 3 * BLOCK + 17, PART - 1):
            file.seek(place)
            file.write(b"changed")
    assert had + again(machine, data) <= SIZE * (1 + SHARE) + 4 * BLOCK
    assert others(machine) == []


@pytest.mark.parametrize("size", [PART // 2 + 1, SIZE + BLOCK + 1], ids=["shorter", "longer"])
def test_the_file_has_another_size_since(machine, data, size):
    """Cut to less than what was there already, or grown."""
    had = interrupted(machine, data)
    os.truncate(data, size)
    with data.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    travelled = again(machine, data)
    if size < had:
        assert travelled == BLOCK - BLOCK * (size // BLOCK + 1) + size  # the last block
    else:
        assert had + travelled <= size + SIZE * SHARE
    assert others(machine) == []


def test_update_moves_what_differs(machine, data):
    """Three blocks of an older copy are old: three blocks travel, and the new file replaces it."""
    content = bytearray(data.read_bytes())
    content[0] ^= 1
    content[100 * BLOCK] ^= 1
    content[-1] ^= 1
    older = machine.there / "data"
    older.write_bytes(content)
    older.chmod(0o600)
    data.chmod(0o644)
    before = older.stat()
    assert again(machine, data, "--existing", "update") == 3 * BLOCK
    after = older.stat()
    assert (after.st_mode, after.st_mtime_ns) == (data.stat().st_mode, data.stat().st_mtime_ns)
    assert after.st_ino != before.st_ino
    assert others(machine) == []


def test_update_of_what_is_the_same_already(machine, data):
    """Nothing travels, and the file stays the one that it is."""
    older = machine.there / "data"
    older.write_bytes(data.read_bytes())
    before = older.stat()
    assert again(machine, data, "--existing", "update") == 0
    assert older.stat().st_ino == before.st_ino
    assert older.stat().st_mtime_ns == data.stat().st_mtime_ns


def test_resume_never(machine, data):
    """Leaves nothing to go on with, and goes on with nothing."""
    interrupted(machine, data, "--resume", "never")
    assert others(machine) == []
    interrupted(machine, data)
    (partial,) = others(machine)
    assert again(machine, data, "--resume", "never") == SIZE
    assert others(machine) == [partial]


def test_resume_any(machine, data):
    """What a sender can't prove to have begun is kept aside, unless the user wants any of it."""
    had = interrupted(machine, data)
    forget_secrets(machine)
    (partial,) = others(machine)
    interrupted(machine, data)
    assert partial in others(machine)
    forget_secrets(machine)
    assert again(machine, data, "--resume", "any") <= SIZE * (1 + SHARE) - min(had, PART)
    assert others(machine) == []


def test_a_stream_and_a_receiver_that_was_killed(machine):
    """The sender has read what is lost: it says so, and what to do."""
    sender = machine.send("-", stdin=subprocess.PIPE)
    receiver = machine.receive(sender.event("code")["code"], "-o", "there")
    assert sender.process.stdin is not None
    sender.process.stdin.write(os.urandom(2**20))
    sender.process.stdin.flush()
    receiver.event("progress")
    receiver.kill()
    receiver = machine.receive(sender.event("code")["code"], "-o", "there")
    assert sender.end() == 4
    (error,) = sender.events("error")
    assert "stream" in error["message"]
    assert error["hint"] == "run both commands again"
    assert receiver.end() == 4
    (error,) = receiver.events("error")
    assert "stream" in error["message"]
    assert os.listdir(machine.there) == []
    assert journals(machine) == []
