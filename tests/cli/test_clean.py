"""``p2pxfer clean``: it shows what is left, asks, and removes nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pexpect
import pytest

from p2pxfer.files.journal import Journals
from p2pxfer.files.keyring import Keyring
from p2pxfer.files.records import Header, Partial

COMMAND = [sys.executable, "-m", "p2pxfer", "clean"]
DAY = 86400
NAME = ".f.p2pxfer-0123456789ab"


@pytest.fixture
def state(tmp_path):
    """The state directory of a user."""
    return tmp_path / "state" / "p2pxfer"


def environment(tmp_path):
    """Of a user whose state is below ``tmp_path``."""
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "NO_COLOR": "1"}


def clean(tmp_path, *arguments):
    """Exit code and what was shown, without a terminal."""
    ended = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture
def unfinished(tmp_path, state):
    """Makes a transfer that was cut so many days ago; returns its temporary and its journal."""

    def make(days, label=b"holiday"):
        out = tmp_path / f"out{days}"
        out.mkdir()
        temporary = out / NAME
        temporary.write_bytes(b"x" * 1_000_000)
        found = temporary.stat()
        journal = Journals(state / "transfers").create(
            Header(
                resume_id=bytes(16), secret=bytes(32), code=b"", rendezvous="",
                output=os.fsencode(out), label=label, created=0,
            )
        )  # fmt: skip
        journal.partial(Partial(b"f", NAME.encode(), found.st_ino, 5, 5))
        (path,) = (
            p for p in (state / "transfers").iterdir() if out.name.encode() in p.read_bytes()
        )
        os.utime(path, (time.time() - days * DAY,) * 2)
        return temporary, journal

    return make


def test_nothing_to_clean(tmp_path, state):
    """The usual case; it makes no directory."""
    assert clean(tmp_path) == (0, "nothing to clean\n")
    assert clean(tmp_path, "--all", "--yes")[0] == 0
    assert not state.exists()


def test_it_shows_what_there_is_and_removes_it_when_told(tmp_path, unfinished, state):
    """Without a terminal nothing is removed but with --yes; the recent stays without --all."""
    old, journal = unfinished(3)
    recent, other = unfinished(0)
    journal.close()
    other.close()
    code, shown = clean(tmp_path)
    assert code == 0
    assert f"holiday, into {old.parent}, 3 days ago" in shown
    assert NAME in shown
    assert "1 unfinished transfer, 1 partial file, 1.00 MB" in shown
    assert "1 unfinished transfer of the last day" in shown
    assert "nothing was removed" in shown
    assert old.exists()
    assert clean(tmp_path, "--yes")[0] == 0
    assert (old.exists(), recent.exists()) == (False, True)
    Keyring(state / "sending").remember(bytes(32), bytes(32), time.time())
    code, shown = clean(tmp_path, "--all", "-y")
    assert code == 0
    assert "1 unfinished send " in shown
    assert not recent.exists()
    assert clean(tmp_path, "--all")[1] == "nothing to clean\n"


def test_what_went_to_a_disk_that_is_not_mounted(tmp_path, unfinished):
    """It is not forgotten, since nothing else would tell of it, unless everything is."""
    temporary, journal = unfinished(20)
    journal.close()
    temporary.parent.rename(tmp_path / "elsewhere")
    code, shown = clean(tmp_path, "--yes")
    assert (code, "1 unfinished transfer went to a folder that is not" in shown) == (0, True)
    (tmp_path / "elsewhere").rename(temporary.parent)
    assert NAME in clean(tmp_path)[1]
    temporary.parent.rename(tmp_path / "elsewhere")
    assert f"holiday, into {temporary.parent}" in clean(tmp_path, "--all", "--yes")[1]
    assert clean(tmp_path) == (0, "nothing to clean\n")


@pytest.mark.parametrize(("answer", "removed"), [("y\r", True), ("n\r", False), ("\x04", False)])
def test_at_a_terminal_it_asks(tmp_path, unfinished, answer, removed):
    """Only a yes removes."""
    temporary, journal = unfinished(3)
    journal.close()
    child = pexpect.spawn(COMMAND[0], [*COMMAND[1:]], env=environment(tmp_path), timeout=120)
    child.expect_exact("stays. [y/N] ")
    child.send(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert temporary.exists() != removed


def test_a_running_transfer_is_left_alone(tmp_path, unfinished):
    """However old its last record is."""
    temporary, journal = unfinished(3)
    assert clean(tmp_path, "--all", "--yes") == (0, "nothing to clean\n")
    assert temporary.exists()
    journal.close()


def test_a_label_is_a_peers(tmp_path, unfinished):
    """It can't act on the terminal."""
    _, journal = unfinished(2, b"\x1b[2Jwiped\xe2\x80\xae")
    journal.close()
    assert r"\x1b[2Jwiped\u202e, into" in clean(tmp_path)[1]
