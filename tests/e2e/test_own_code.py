"""A code of one's own: two machines meet without a nameplate, every night, and after a crash."""

from __future__ import annotations

import os
import secrets

import pytest

NIGHTLY = "scripts/nightly"


@pytest.fixture
def code_file(machine):
    """A file with a code that both machines have had all along."""
    path = machine.path / "nightly.code"
    path.write_text(f"{secrets.token_hex(20)}\n")
    path.chmod(0o600)
    return path


def test_either_may_come_first(machine, code_file):
    """Sender first, then receiver first, with the same code: it serves again and again."""
    (machine.path / "data").write_text("x")
    for first in ("send", "receive"):
        words = {
            "send": ("send", "--json", "--code-file", code_file, "data"),
            "receive": (
                "receive", "--json", "-y", "--code-file", code_file, "-o", f"there/{first}"
            ),
        }  # fmt: skip
        early = machine.run(*words.pop(first))
        early.event("waiting")
        late = machine.run(*words.popitem()[1])
        assert (early.end(), late.end()) == (0, 0)
        assert (machine.there / first).read_text() == "x"
        assert code_file.read_text().strip() not in (early.out + late.out).decode()


@pytest.mark.parametrize("victim", ["send", "receive"])
def test_after_a_crash(machine, code_file, victim):
    """One side is killed while it waits: its next run and the other side still meet."""
    (machine.path / "data").write_text("x")
    sending = ("send", "--json", "--code-file", code_file, "data")
    receiving = ("receive", "--json", "-y", "--code-file", code_file, "-o", "there")
    again, other = (sending, receiving) if victim == "send" else (receiving, sending)
    crashed = machine.run(*again)
    crashed.event("waiting")
    crashed.kill()
    commands = machine.run(*again), machine.run(*other)
    assert [command.end() for command in commands] == [0, 0]
    assert (machine.there / "data").read_text() == "x"


def test_different_codes_never_meet(machine, code_file):
    """Another code leads to another room: each waits for its own, and exits 4."""
    (machine.path / "data").write_text("x")
    other = machine.path / "other.code"
    other.write_text(secrets.token_hex(20))
    other.chmod(0o600)
    sender = machine.send("--code-file", code_file, "--wait", "2s", "data")
    receiver = machine.run(
        "receive", "--json", "-y", "--code-file", other, "--wait", "2s", "-o", "there"
    )
    assert (sender.end(), receiver.end()) == (4, 4)
    assert os.listdir(machine.there) == []


class Night:
    """The two scripts of one night, as cron runs them."""

    def __init__(self, machine, root, code_file, **env: str) -> None:
        self._machine = machine
        self._scripts = root / NIGHTLY
        self._code_file = code_file
        self._env = {
            "WAIT": "40",
            "GIVE_UP_AFTER": "3",
            "TRIES": "3",
            "PAUSE": "0.2",
            **env,
        }

    def send(self, folder, **env: str):
        program = [str(self._scripts / "nightly-send"), str(self._code_file)]
        return self._machine.run(folder, program=program, env=self._env | env)

    def receive(self, backups, **env: str):
        program = [str(self._scripts / "nightly-receive"), str(self._code_file)]
        return self._machine.run(backups, program=program, env=self._env | env)


def test_the_nightly_backup(machine, listed, code_file, pytestconfig):
    """Three nights: each gets a folder of its own, and the oldest goes.

    Partial ones make no whole one go, and stay for as long as these do. What a clock named that
    was ahead stays, and counts for nothing.
    """
    data = machine.path / "data"
    data.mkdir()
    night = Night(machine, pytestconfig.rootpath, code_file, KEEP="2")
    others = {"2999-01-01T02.00.00", "not a night"}
    whole, *partial = "2001-01-01T02.00.00", *[f"2001-01-0{n}T02.00.00.partial" for n in (2, 3, 4)]

    def there() -> set[str]:
        return set(os.listdir(machine.there)) - others

    def next_night(ends: int) -> str:
        before = there()
        receiver = night.receive(machine.there)
        sender = night.send(data)
        assert (sender.end(), receiver.end()) == (ends, ends), receiver.err
        (new,) = there() - before
        return new

    for name in (whole, *partial, *others):
        (machine.there / name).mkdir()
    (data / "file").write_text("of the first night")
    first = next_night(0)
    assert there() == {whole, *partial[1:], first}
    (data / "other").write_text("of the second night")
    second = next_night(0)
    assert there() == {first, second}
    assert listed(machine.there / second / "data") == listed(data)
    for name in (whole, *partial):
        (machine.there / name).mkdir()
    os.mkfifo(data / "pipe")
    third = next_night(9)
    assert third.endswith(".partial")
    assert there() == {whole, first, second, third}
    assert (machine.there / first / "data" / "file").read_text() == "of the first night"
    assert others < set(os.listdir(machine.there))


def test_a_night_with_a_crash(machine, listed, code_file, pytestconfig):
    """The sender is killed in the middle; run again, it still makes a whole backup that night."""
    data = machine.path / "data"
    data.mkdir()
    (data / "large").write_bytes(os.urandom(64 * 1024 * 1024))
    night = Night(machine, pytestconfig.rootpath, code_file)
    receiver = night.receive(machine.there)
    killed = machine.run("send", "--json", "--code-file", code_file, data)
    killed.event("connected")
    killed.kill()
    sender = night.send(data)
    assert (sender.end(), receiver.end()) == (0, 0), receiver.err
    (made,) = os.listdir(machine.there)
    assert listed(machine.there / made / "data") == listed(data)


def test_a_night_without_the_other_side(machine, code_file, pytestconfig):
    """When nobody sends, the receiver tries as often as it was told, exits 4, leaves nothing."""
    night = Night(machine, pytestconfig.rootpath, code_file, WAIT="1", TRIES="2")
    receiver = night.receive(machine.there)
    assert receiver.end() == 4
    assert len(receiver.events("error")) == 2
    assert os.listdir(machine.there) == []


def test_a_night_that_is_partly_done(machine, code_file, pytestconfig):
    """What can't be sent is named; the rest is kept under a name that says so."""
    data = machine.path / "data"
    data.mkdir()
    (data / "file").write_text("x")
    os.mkfifo(data / "pipe")
    night = Night(machine, pytestconfig.rootpath, code_file)
    receiver = night.receive(machine.there)
    sender = night.send(data)
    assert (sender.end(), receiver.end()) == (9, 9)
    assert list(sender.skipped()) == ["data/pipe"]
    (made,) = os.listdir(machine.there)
    assert made.endswith(".partial")
    assert os.listdir(machine.there / made / "data") == ["file"]
