"""Journals: found again, taken over, expired; one transfer each, and never in one another's way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from unittest.mock import Mock

import msgspec
import pytest

from p2pxfer.errors import LocalFileError
from p2pxfer.files import journal as journal_module
from p2pxfer.files.journal import EXPIRY, Journals
from p2pxfer.files.records import Identity, Partial, Placed, placed_records
from p2pxfer.files.writer import OutputTree, SmallFile
from tests.files.resuming import entry, header

TEMPORARY = b".f.p2pxfer-0123456789ab"


@pytest.fixture
def state(tmp_path):
    """Where the journals are."""
    return tmp_path / "state" / "transfers"


@pytest.fixture
def journals(state):
    """No journal yet."""
    return Journals(state)


@pytest.fixture
def partial(root):
    """A temporary that is there, as a journal tells of it."""
    root.mkdir()
    path = root / os.fsdecode(TEMPORARY)
    path.write_bytes(b"x" * 10_000)
    found = path.stat()
    return Partial(b"f", TEMPORARY, found.st_ino, 20_000, 5)


def aged(state, days):
    """Let all journals be as old as that."""
    for path in state.iterdir():
        os.utime(path, (time.time() - days * 86400,) * 2)


def test_found_by_code_id_or_output(journals, root):
    """Newest first; what was recorded is told."""
    for number in range(3):
        head = header(root / str(number), b"code%d" % number, bytes([number]) * 16)
        journal = journals.create(head)
        journal.placed([Placed(b"a", b"a", Identity(2, 3, 4))])
        journal.close()
        time.sleep(0.05)  # some ticks of the filesystem's clock, which orders them
    names = [view.header.code for view in journals.all()]
    assert names == [b"code2", b"code1", b"code0"]
    (view,) = journals.find(code=b"code1")
    assert (view.placed, view.live, view.partials) == (1, False, ())
    assert [v.header.code for v in journals.find(resume_ids=[b"\0" * 16, b"\2" * 16])] == [
        b"code2",
        b"code0",
    ]
    assert [v.header.code for v in journals.find(output=os.fsencode(root / "0"))] == [b"code0"]
    assert not view.over
    head = header(root / "1", b"later", b"\3" * 16)
    journal = journals.create(header(root / "1", b"over", b"\4" * 16))
    journal.over()
    journal.close()
    (view,) = journals.find(code=b"over")
    assert view.over
    journals.create(head, [view]).close()
    (view,) = journals.find(code=b"later")
    assert not view.over
    assert journals.find(code=b"unknown") == []
    assert journals.find() == []


def test_nothing_is_left_of_a_finished_transfer(journals, state, root, partial):
    """Neither the journal nor a temporary that nobody took up."""
    journal = journals.create(header(root))
    journal.partial(partial)
    journal.finish()
    journal.finish()
    assert os.listdir(state) == []
    assert os.listdir(root) == []


def test_what_was_placed_or_forgotten_is_not_removed(journals, root, partial):
    """Finishing touches temporaries that are still under way only."""
    for tell in (
        lambda journal: journal.settled([b"f"]),
        lambda journal: journal.forgotten([b"f"]),
    ):
        journal = journals.create(header(root))
        journal.partial(partial)
        tell(journal)
        journal.finish()
    assert os.listdir(root) == [os.fsdecode(TEMPORARY)]


def test_taking_over(journals, state, root, partial):
    """The new journal says what the old ones said, and is the only one."""
    for number in range(2):
        journal = journals.create(header(root, b"old"))
        journal.placed([Placed(b"a%d" % number, b"a", Identity(number, 3, 4))])
        journal.partial(partial)
        journal.close()
    journal = journals.create(header(root, b"new"), journals.find(code=b"old"))
    assert journal.placed_earlier(b"a0")[0].identity.inode == 0
    assert journal.placed_earlier(b"a1")[0].identity.inode == 1
    assert journal.take_partial(b"f") == partial
    assert journal.take_partial(b"f") is None
    journal.close()
    (view,) = journals.all()
    assert view.header.code == b"new"
    assert (view.placed, view.partials) == (2, (partial,))
    assert len(os.listdir(state)) == 1


def test_what_is_taken_over_is_bounded(journals, state, root, monkeypatch):
    """The newest ones, as far as there is room in memory; the others stay as they are."""
    for number in range(3):
        journal = journals.create(header(root, b"old"))
        journal.placed([Placed(b"a%d" % number, b"a", Identity(number, 3, 4))])
        journal.close()
        time.sleep(0.05)  # some ticks of the filesystem's clock, which orders them
    size = max(path.stat().st_size for path in state.iterdir())
    monkeypatch.setattr(journal_module, "_MOST_TAKEN", 2 * size)
    journal = journals.create(header(root, b"new"), journals.find(code=b"old"))
    assert [len(journal.placed_earlier(b"a%d" % number)) for number in range(3)] == [0, 1, 1]
    journal.close()
    (left,) = journals.find(code=b"old")
    assert left.placed == 1


def test_a_new_journal_knows_nothing_of_others(journals, root, partial):
    """What was not continued is nobody's: a stranger neither learns of it nor goes on with it."""
    old = journals.create(header(root))
    old.partial(partial)
    old.placed([Placed(b"a", b"a", Identity(2, 3, 4))])
    old.close()
    new = journals.create(header(root))
    assert new.take_partial(b"f") is None
    assert new.placed_earlier(b"a") == []
    new.finish()
    assert os.listdir(root) == [os.fsdecode(TEMPORARY)]
    assert len(journals.all()) == 1


def test_another_output_directory_is_not_taken_over(journals, root, tmp_path):
    """Its paths mean other files."""
    journal = journals.create(header(root))
    journal.placed([Placed(b"a", b"a", Identity(2, 3, 4))])
    journal.close()
    new = journals.create(header(tmp_path / "other"), journals.all())
    assert new.placed_earlier(b"a") == []
    new.close()
    assert len(journals.all()) == 2


def test_what_was_only_intended_is_removed(journals, root, partial):
    """A temporary that never came to hold much: gone when another run takes over."""
    journal = journals.create(header(root))
    journal.intend([(b"f", TEMPORARY), (b"g", b".g.p2pxfer-000000000000")])
    journal.close()
    new = journals.create(header(root), journals.all())
    assert os.listdir(root) == []
    assert new.take_partial(b"f") is None
    new.close()
    assert partial


@pytest.mark.usefixtures("few_handles")
def test_what_is_written_while_others_are_named_is_known(journals, root):
    """Killed between two batches of small files: the journal still tells of the second's."""
    journal = journals.create(header(root))
    with OutputTree(root) as tree:
        tree.record(journal)
        first, second = (
            [
                SmallFile(tree.admit(entry(b"%s%d" % (letter, n), b"x")), b"x", 0o644, 1)
                for n in range(5)
            ]
            for letter in (b"a", b"b")
        )
        batch = tree.sync_small(tree.write_small(first))
        under_way = tree.sync_small(tree.write_small(second), [batch])
        assert tree.name_small(batch) == [None] * 5
        (view,) = journals.all()
        there = {name for name in os.listdir(os.fsencode(root)) if b".p2pxfer-" in name}
        assert len(there) == 5
        assert {partial.temporary for partial in view.partials} >= there
        assert len(view.leftovers()) == 5
        assert tree.name_small(under_way) == [None] * 5
    (view,) = journals.all()
    assert view.leftovers() == []
    journal.close()


OTHER_PROCESS = """
import sys
from p2pxfer.files.journal import Journals
from tests.files.resuming import header
journals = Journals(sys.argv[1])
journal = journals.create(header(sys.argv[2]), journals.all())
print(bool(journal.placed_earlier(b"a")), flush=True)
sys.stdin.read()
"""


def test_a_journal_in_use_is_left_alone(journals, state, root, partial):
    """By another process: not taken over, not removed, nor its temporaries; kill -9 frees it."""
    command = [sys.executable, "-c", OTHER_PROCESS, str(state), str(root)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "False\n"
        (view,) = journals.all()
        assert view.live
        with (state / view.name).open("ab") as file:
            file.write(placed_records([Placed(b"a", b"a", Identity(2, 3, 4))]))
        mine = journals.create(header(root), [view])
        assert mine.placed_earlier(b"a") == []
        mine.finish()
        assert journals.remove(view) == []
        aged(state, 20)
        assert journals.expire(time.time()) == []
        assert [v.name for v in journals.all()] == [view.name]
    finally:
        other.kill()
        other.communicate()
    (view,) = journals.all()
    assert not view.live
    mine = journals.create(header(root), [view])
    assert mine.placed_earlier(b"a")
    mine.finish()
    assert partial.temporary == TEMPORARY


def test_two_at_once(journals, state, root):
    """Each in a file of its own, however their records fall together."""
    one, two = journals.create(header(root, b"1")), journals.create(header(root, b"2"))
    for number in range(200):
        for journal in (one, two):
            journal.placed([Placed(b"%d" % number, b"a", Identity(number, 3, 4))])
    one.close()
    two.close()
    assert [view.placed for view in journals.all()] == [200, 200]
    assert len(os.listdir(state)) == 2


def test_expiry(journals, state, root, partial):
    """After two weeks journals go, with their temporaries; before that they stay."""
    journal = journals.create(header(root))
    journal.partial(partial)
    journal.close()
    aged(state, 13)
    assert journals.expire(time.time()) == []
    aged(state, 15)
    (removed,) = journals.expire(time.time())
    assert removed.path == os.path.join(os.fsencode(root), TEMPORARY)
    assert os.listdir(root) == []
    assert os.listdir(state) == []
    assert EXPIRY == 14 * 86400


def test_a_disk_that_is_not_mounted(journals, state, root, partial, tmp_path):
    """Its journal outlives the transfer, and two weeks, until the disk is there; but not a year."""
    journal = journals.create(header(root))
    journal.partial(partial)
    root.rename(tmp_path / "away")
    journal.finish()
    (view,) = journals.all()
    assert view.away
    assert journals.remove(view) == []
    aged(state, 15)
    assert journals.expire(time.time()) == []
    assert len(journals.all()) == 1
    (tmp_path / "away").rename(root)
    assert not view.away
    assert len(journals.expire(time.time())) == 1
    assert os.listdir(root) + os.listdir(state) == []
    for days in (0, 200):
        journal = journals.create(header(tmp_path / "gone"))
        journal.partial(partial)
        journal.close()
        aged(state, days)
        if days:
            journals.expire(time.time())
        else:
            journals.remove(journals.all()[0], away=True)
        assert os.listdir(state) == []


def test_other_versions_and_rubbish_are_kept_until_they_expire(journals, state, root):
    """They are not understood, so nothing is done with what they may tell of."""
    journals.create(header(root)).close()
    (path,) = state.iterdir()
    data = bytearray(path.read_bytes())
    data[13] = 99
    for name, content in [("v99", bytes(data)), ("rubbish", b"x" * 5000), ("empty", b"")]:
        other = state / f"{name}.journal"
        other.touch(mode=0o600)
        other.write_bytes(content)
    assert [view.name for view in journals.all()] == [path.name]
    assert len(os.listdir(state)) == 4
    aged(state, 15)
    journals.expire(time.time())
    assert os.listdir(state) == []


def test_a_symlink_for_a_journal(journals, state, root, tmp_path, partial):
    """It is not followed: not read, not taken over, and its target outlives its expiry."""
    journal = journals.create(header(root))
    journal.partial(partial)
    journal.close()
    (path,) = state.iterdir()
    path.rename(tmp_path / "theirs")
    path.symlink_to(tmp_path / "theirs")
    assert journals.all() == []
    journals.expire(time.time() + 20 * 86400)
    assert (tmp_path / "theirs").exists()
    assert os.listdir(root) == [os.fsdecode(TEMPORARY)]


def test_a_journal_that_can_not_be_written(journals, root, monkeypatch, tmp_path):
    """The transfer goes on without; the old ones stay."""
    journal = journals.create(header(root))
    journal.placed([Placed(b"a", b"a", Identity(2, 3, 4))])
    journal.close()

    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr(journal_module, "write_stream", full)
    new = journals.create(header(root), journals.all())
    assert new.lost
    new.placed([Placed(b"b", b"b", Identity(2, 3, 4))])
    assert new.placed_earlier(b"a")
    new.close()
    assert [view.placed for view in journals.all()] == [1]
    (tmp_path / "file").touch()
    with pytest.raises(LocalFileError):
        Journals(tmp_path / "file" / "transfers").create(header(root))


def test_a_journal_does_not_grow_without_end(journals, root, monkeypatch):
    """Past what is read again nothing is recorded."""
    monkeypatch.setattr(journal_module, "MAX_FILE", journal_module._LONGEST_HEADER + 1000)
    journal = journals.create(header(root))
    for number in range(100):
        journal.placed([Placed(b"%d" % number, b"a", Identity(2, 3, 4))])
    assert journal.lost
    journal.close()
    (view,) = journals.all()
    assert 5 < view.placed < 30


def test_20_000_placed_files_cost_little(journals, root):
    """Recorded in batches, read, and taken over: well under 30 us of processor time a file."""
    journal = journals.create(header(root))
    batches = [
        [
            Placed(b"photos/2024/%d/IMG_%d.jpg" % (first, n), b"IMG_%d.jpg" % n, Identity(n, 5, 6))
            for n in range(first, first + 500)
        ]
        for first in range(0, 20_000, 500)
    ]
    began = time.process_time()
    for batch in batches:
        journal.intend([(placed.path, TEMPORARY) for placed in batch])
        journal.placed(batch)
        journal.settled([placed.path for placed in batch])
    journal.close()
    (view,) = journals.all()
    assert (view.placed, view.partials) == (20_000, ())
    again = journals.create(header(root), [view])
    assert again.placed_earlier(b"photos/2024/500/IMG_777.jpg")[0].identity.inode == 777
    assert time.process_time() - began < 20_000 * 30e-6 * 10  # also on a slow machine
    again.close()


def test_secrets_stay_out_of_sight(journals, root):
    """Not in what a view shows of itself."""
    journals.create(msgspec.structs.replace(header(root), secret=b"hidden" + bytes(26))).close()
    assert "hidden" not in repr(journals.all())
