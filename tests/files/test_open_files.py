"""Going on where an earlier run was cut: at any moment, with any damage, only as far as is safe."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sys
import threading

import pytest

from p2pxfer.files import native, unnamed
from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.files.failures import EntryError
from p2pxfer.files.hashing import block_digest, file_root
from p2pxfer.files.journal import Journals
from p2pxfer.files.space import Space
from p2pxfer.files.writer import OutputTree, SmallFile
from p2pxfer.manifest import MIN_BLOCK, UNKNOWN_SIZE, Failure
from tests.files.resuming import MTIME, arrived, attributes, blocks, deliver, entry, header
from tests.files.trees import without_privilege

LARGE = random.Random(1).randbytes(5 * MIN_BLOCK + 1234)
FILES = {
    b"d": None,
    b"d/a": b"a" * 100,
    b"d/big": LARGE,
    b"d/e": None,
    b"d/e/z": b"z",
    b"d/l": "e/z",
    b"d/m": b"m" * 50,
    b"s": b"s" * 70,
}
SIZE = sum(len(content) for content in FILES.values() if isinstance(content, bytes))


@pytest.fixture
def journals(tmp_path):
    """No journal yet."""
    return Journals(tmp_path / "state" / "transfers")


def again(journals, root, files=FILES, policy=ExistingPolicy.FAIL):
    """The same command once more; returns what `deliver` does."""
    journal = journals.create(header(root), journals.all())
    with OutputTree(root, existing=policy) as tree:
        tree.record(journal)
        outcome = deliver(tree, files)
    journal.finish()
    assert journals.all() == []
    return outcome


def interrupted(journals, root, written=LARGE, path=b"big", size=None):
    """A run that was cut while a large file was under way; returns the temporary's path."""
    journal = journals.create(header(root))
    tree = OutputTree(root)
    tree.record(journal)
    partial = tree.open_file(tree.admit(entry(path, LARGE)), size or len(LARGE))
    for offset, data, _ in blocks(written):
        partial.write_at(offset, [data])
    tree.close(keep=True)
    journal.close()
    (name,) = os.listdir(root)
    return root / name


def test_a_run_that_is_not_cut(journals, root):
    """Nothing is left but what was sent, with its attributes."""
    assert again(journals, root) == (SIZE, {})
    assert arrived(root) == FILES
    assert attributes(root, b"d/e") == (0o555, MTIME)


class Killed(BaseException):
    """What stands in for kill -9: nothing handles it."""


def run_until(step, journals, root, policy):
    """Run, and be killed at one line of this room; returns how many lines there were."""
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if f"{os.sep}p2pxfer{os.sep}files{os.sep}" not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines += 1
            if lines == step:
                sys.settrace(None)
                raise Killed
        return trace

    before = sys.gettrace()
    open_before = handles()
    journal = journals.create(header(root), journals.all())
    tree = OutputTree(root, existing=policy)
    tree.record(journal)
    try:
        sys.settrace(trace)
        deliver(tree, FILES)
    except Killed:
        pass
    finally:
        sys.settrace(before)
        unnamed._Process.lock = threading.Lock()  # nor does a killed process hold one
        tree._placing.close()  # a thread can't be killed: it comes to the end of what it is at
        for fd in handles() - open_before:  # a killed process tidies nothing up,
            with contextlib.suppress(OSError):
                os.close(fd)  # but the system closes what it had open
    return lines


def handles():
    """All that are open, but for the one that looks."""
    listed = os.listdir("/proc/self/fd")
    return {int(fd) for fd in listed if os.path.exists(f"/proc/self/fd/{fd}")}


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("policy", [ExistingPolicy.FAIL, ExistingPolicy.OVERWRITE])
def test_killed_at_any_line(journals, tmp_path, policy, part):
    """Twice, then the same command: everything right, no temporary, nothing refused."""
    total = run_until(0, journals, tmp_path / "whole", policy)
    journals.remove(journals.all()[0])
    dice = random.Random(f"{policy} {part}")
    for number in range(12):
        root = tmp_path / str(number)
        steps = [dice.randrange(1, total), dice.randrange(1, total)]
        with without_privilege():
            for step in steps:
                run_until(step, journals, root, policy)
            _, failed = again(journals, root, policy=policy)
        assert (failed, arrived(root)) == ({}, FILES), steps
        assert attributes(root, b"d") == (0o555, MTIME), steps
        assert attributes(root, b"d/big") == (0o444, MTIME), steps
        os.chmod(root / "d", 0o755)  # so that pytest can remove it
        os.chmod(root / "d" / "e", 0o755)


def test_a_journal_cut_anywhere(journals, root, tmp_path):
    """Whatever is left of it, the bytes end right or the file is refused: never wrong."""
    interrupted(journals, root, LARGE[: 3 * MIN_BLOCK])
    (path,) = (tmp_path / "state" / "transfers").iterdir()
    data = path.read_bytes()
    for cut in range(0, len(data), 7):
        path = tmp_path / "state" / "transfers" / "cut.journal"
        path.touch(mode=0o600)
        path.write_bytes(data[:cut])
        journal = journals.create(header(root), journals.all())
        with OutputTree(root, existing=ExistingPolicy.OVERWRITE) as tree:
            tree.record(journal)
            assert deliver(tree, {b"big": LARGE})[1] == {}
        journal.close()
        assert (root / "big").read_bytes() == LARGE


def test_only_what_is_missing_travels(journals, root):
    """Blocks that are there stay, whole files, too."""
    temporary = interrupted(journals, root, LARGE[: 3 * MIN_BLOCK])
    assert again(journals, root, {b"big": LARGE}) == (len(LARGE) - 3 * MIN_BLOCK, {})
    assert (root / "big").read_bytes() == LARGE
    assert not temporary.exists()


def test_a_source_that_changed(journals, root):
    """Only the blocks that differ travel, and the result is the new file."""
    interrupted(journals, root)
    new = bytearray(LARGE)
    new[MIN_BLOCK + 5] ^= 1
    assert again(journals, root, {b"big": bytes(new)}) == (MIN_BLOCK, {})
    assert (root / "big").read_bytes() == new


def test_a_source_that_became_shorter(journals, root):
    """What is stale beyond its end is cut off."""
    interrupted(journals, root)
    new = LARGE[: 2 * MIN_BLOCK + 99]
    assert again(journals, root, {b"big": new}) == (99, {})
    assert (root / "big").read_bytes() == new


@pytest.mark.parametrize("punches", [True, False])
def test_zeros_over_stale_bytes(journals, root, monkeypatch, punches):
    """A block of zeros is one, whether the filesystem can punch holes or not."""
    if not punches:
        monkeypatch.setattr(native, "_fallocate", lambda: None)
    interrupted(journals, root)
    new = LARGE[:MIN_BLOCK] + bytes(4 * MIN_BLOCK) + LARGE[5 * MIN_BLOCK :]
    assert again(journals, root, {b"big": new}) == (0, {})
    assert (root / "big").read_bytes() == new


def test_damage_on_the_disk_is_found(journals, root):
    """The journal says nothing of content: what was written is hashed again."""
    temporary = interrupted(journals, root)
    with temporary.open("r+b") as file:
        file.seek(2 * MIN_BLOCK + 7)
        file.write(b"damage")
    assert again(journals, root, {b"big": LARGE}) == (MIN_BLOCK, {})
    assert (root / "big").read_bytes() == LARGE


def test_stale_bytes_never_pass_for_the_senders(journals, root):
    """A caller that says nothing of a block can't commit."""
    interrupted(journals, root)
    journal = journals.create(header(root), journals.all())
    with OutputTree(root) as tree:
        tree.record(journal)
        partial = tree.adopt(tree.admit(entry(b"big", LARGE)), len(LARGE))
        assert partial.stale == len(LARGE)
        partial.write_at(0, [LARGE[:MIN_BLOCK]])
        partial.keep(2 * MIN_BLOCK, len(LARGE) - 2 * MIN_BLOCK)
        with pytest.raises(ValueError, match="earlier run"):
            partial.commit(0o644, MTIME)
        partial.hole(MIN_BLOCK, MIN_BLOCK)
        partial.commit(0o644, MTIME)
    journal.finish()
    assert (root / "big").read_bytes()[MIN_BLOCK : 2 * MIN_BLOCK] == bytes(MIN_BLOCK)


def test_a_disk_that_numbers_its_files_anew(journals, root, tmp_path):
    """Twice mounted anew: what is there is hashed and gone on with, and nothing stays behind."""
    temporary = interrupted(journals, root, LARGE[: 2 * MIN_BLOCK])
    for mounted in range(2):
        temporary.rename(tmp_path / f"old{mounted}")  # so that its inode is not given away
        shutil.copy2(tmp_path / f"old{mounted}", temporary)
        if mounted == 0:
            journal = journals.create(header(root), journals.all())
            tree = OutputTree(root)
            tree.record(journal)
            partial = tree.adopt(tree.admit(entry(b"big", LARGE)), len(LARGE))
            partial.write_at(2 * MIN_BLOCK, [LARGE[2 * MIN_BLOCK : 3 * MIN_BLOCK]])
            tree.close(keep=True)
            journal.close()
    with temporary.open("r+b") as file:
        file.write(b"damage")
    assert again(journals, root, {b"big": LARGE}) == (len(LARGE) - 2 * MIN_BLOCK, {})
    assert arrived(root) == {b"big": LARGE}


@pytest.mark.parametrize("spoil", ["symlink", "hard link", "pipe", "folder", "gone"])
def test_a_temporary_that_was_replaced_is_not_touched(journals, root, tmp_path, spoil):
    """Whoever put something there keeps it; the file is sent anew."""
    temporary = interrupted(journals, root)
    kept = tmp_path / "kept"
    temporary.rename(kept)
    if spoil == "symlink":
        temporary.symlink_to(kept)
    elif spoil == "hard link":
        os.link(kept, temporary)
    elif spoil == "pipe":
        os.mkfifo(temporary)
    elif spoil == "folder":
        temporary.mkdir()
    assert again(journals, root, {b"big": LARGE}) == (len(LARGE), {})
    assert (root / "big").read_bytes() == LARGE
    assert kept.read_bytes() == LARGE
    assert os.path.lexists(temporary) == (spoil != "gone")


def test_a_temporary_of_another_user(journals, root, monkeypatch):
    """It is not gone on with."""
    interrupted(journals, root)
    journal = journals.create(header(root), journals.all())
    me = os.geteuid()
    with OutputTree(root) as tree:
        tree.record(journal)
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
        assert tree.adopt(tree.admit(entry(b"big", LARGE)), len(LARGE)) is None
    journal.close()


def test_one_that_had_its_final_mode_already(journals, root):
    """Killed between the last byte and the name, of a file that forbids writing."""
    temporary = interrupted(journals, root)
    temporary.chmod(0o444)
    with without_privilege():
        assert again(journals, root, {b"big": LARGE}) == (0, {})
    assert attributes(root, b"big") == (0o444, MTIME)


def test_it_is_adopted_once(journals, root):
    """Two entries of one path do not write into one file."""
    interrupted(journals, root)
    journal = journals.create(header(root), journals.all())
    with OutputTree(root) as tree:
        tree.record(journal)
        one, two = (tree.admit(entry(b"big", LARGE)) for _ in range(2))
        assert tree.adopt(one, len(LARGE)) is not None
        assert tree.adopt(two, len(LARGE)) is None
    journal.close()


def test_a_transfer_that_was_not_proved_gets_nothing(journals, root):
    """Neither reads nor replaces nor removes what an earlier one has left or placed."""
    temporary = interrupted(journals, root)
    journal = journals.create(header(root))  # continues none
    with OutputTree(root) as tree:
        tree.record(journal)
        assert tree.adopt(tree.admit(entry(b"big", LARGE)), len(LARGE)) is None
    journal.finish()
    assert temporary.read_bytes() == LARGE
    assert len(journals.all()) == 1


def test_a_temporary_that_nobody_wants_goes(journals, root):
    """The file became small, or is no more: when the transfer is over its temporary is gone."""
    interrupted(journals, root)
    assert again(journals, root, {b"big": b"small"}) == (5, {})
    assert arrived(root) == {b"big": b"small"}
    (root / "big").unlink()
    interrupted(journals, root)
    assert again(journals, root, {b"other": b"x"}) == (1, {})
    assert arrived(root) == {b"other": b"x"}


def test_what_is_kept(journals, root):
    """Large files that have something in them; no stream, and nothing without a journal."""
    for journal, size, kept in [
        (journals.create(header(root)), UNKNOWN_SIZE, 0),
        (None, len(LARGE), 0),
        (journals.create(header(root)), len(LARGE), 1),
    ]:
        tree = OutputTree(root)
        if journal is not None:
            tree.record(journal)
        partial = tree.open_file(tree.admit(entry(b"big", LARGE)), size)
        tree.open_file(tree.admit(entry(b"empty", LARGE)), size)
        partial.write_at(0, [b"x"])
        tree.close(keep=True)
        assert len(os.listdir(root)) == kept
        if journal is not None:
            journal.close()


def test_room_for_the_rest(journals, root, monkeypatch):
    """What is there already needs no room; what is missing does."""
    interrupted(journals, root, LARGE[: 3 * MIN_BLOCK])
    left = Space(len(LARGE) - MIN_BLOCK, None)
    monkeypatch.setattr("p2pxfer.files.open_files.free_space", lambda _: left)
    journal = journals.create(header(root), journals.all())
    with OutputTree(root) as tree:
        tree.record(journal)
        admission = tree.admit(entry(b"big", LARGE))
        with pytest.raises(EntryError) as caught:
            tree.adopt(admission, len(LARGE) * 3)
        assert caught.value.failure is Failure.NO_SPACE
    journal.close()
    assert again(journals, root, {b"big": LARGE})[1] == {}


def test_files_that_an_earlier_run_has_placed(journals, root):
    """They are a basis whatever the policy, unless the user has touched them since."""
    journal = journals.create(header(root))
    with OutputTree(root) as tree:
        tree.record(journal)
        deliver(tree, FILES)
    journal.close()
    (root / "d" / "m").chmod(0o644)
    (root / "d" / "m").write_bytes(b"mine")
    new = {**FILES, b"s": b"changed", b"d/l": "a"}
    assert again(journals, root, new) == (7, {b"d/m": Failure.EXISTS})
    assert arrived(root) == {**new, b"d/m": b"mine"}
    assert attributes(root, b"d") == (0o555, MTIME)


@pytest.mark.parametrize(
    ("policy", "kept"), [(ExistingPolicy.FAIL, True), (ExistingPolicy.OVERWRITE, False)]
)
def test_what_is_changed_here_while_a_newer_one_comes(journals, root, policy, kept):
    """An earlier run put it there, its owner writes to it meanwhile: the policy decides."""
    journal = journals.create(header(root))
    with OutputTree(root) as tree:
        tree.record(journal)
        assert deliver(tree, {b"s": b"first"}) == (5, {})
    journal.close()
    journal = journals.create(header(root), journals.all())
    with OutputTree(root, existing=policy) as tree:
        tree.record(journal)
        admission = tree.admit(entry(b"s", b"second"))
        assert admission.failure is None
        (root / "s").chmod(0o644)
        (root / "s").write_bytes(b"mine, all mine")
        batch = tree.sync_small(tree.write_small([SmallFile(admission, b"second", 0o644, 1)]))
        (error,) = tree.name_small(batch)
    assert (error.failure if error else None) == (Failure.EXISTS if kept else None)
    assert arrived(root) == {b"s": b"mine, all mine" if kept else b"second"}
    journal.finish()


def test_a_newer_mtime_of_the_same_content(journals, root):
    """Nothing travels; what was kept in place is still known to be ours."""
    for _ in range(2):
        journal = journals.create(header(root), journals.all())
        with OutputTree(root) as tree:
            tree.record(journal)
            admission = tree.admit(entry(b"s", b"x"))
            if tree.older(admission) is None:
                assert tree.name_small(
                    tree.sync_small(tree.write_small([SmallFile(admission, b"x", 0o600, 1)]))
                ) == [None]
            else:
                assert tree.keep(admission, file_root([block_digest(b"x")], 1), 1, 0o644, MTIME)
        journal.close()
    assert attributes(root, b"s") == (0o644, MTIME)
    assert again(journals, root, {b"s": b"y"}) == (1, {})


def test_a_file_with_the_same_inode_is_not_ours(journals, root):
    """Filesystems give an inode to the next file: a new one of the user's is kept."""
    journal = journals.create(header(root))
    with OutputTree(root) as tree:
        tree.record(journal)
        deliver(tree, {b"s": b"s" * 70})
    journal.close()
    for _ in range(20):
        (root / "s").unlink()
        (root / "s").write_bytes(b"u" * 70)
    assert again(journals, root, {b"s": b"s" * 70}) == (0, {b"s": Failure.EXISTS})
    assert (root / "s").read_bytes() == b"u" * 70


def test_renamed_copies_are_found_again(journals, root):
    """Under ``rename`` the second run goes on with ``s (1)`` instead of making ``s (2)``."""
    root.mkdir()
    (root / "s").write_bytes(b"mine")
    journal = journals.create(header(root))
    with OutputTree(root, existing=ExistingPolicy.RENAME) as tree:
        tree.record(journal)
        deliver(tree, {b"s": b"one", b"l": "s"})
    journal.close()
    new = {b"s": b"two", b"l": "s"}
    assert again(journals, root, new, ExistingPolicy.RENAME) == (3, {})
    assert arrived(root) == {b"s": b"mine", b"s (1)": b"two", b"l": "s"}


def test_update_sends_differences_only(journals, root):
    """The existing file is a basis; it is replaced in one step, and other links to it stay."""
    root.mkdir()
    (root / "big").write_bytes(LARGE)
    os.link(root / "big", root / "linked")
    new = LARGE[: 2 * MIN_BLOCK] + b"x" * MIN_BLOCK + LARGE[3 * MIN_BLOCK :] + b"more"
    travelled, failed = again(journals, root, {b"big": new}, ExistingPolicy.UPDATE)
    assert failed == {}
    assert travelled <= 2 * MIN_BLOCK  # the one that differs, and the last
    assert (root / "big").read_bytes() == new
    assert (root / "linked").read_bytes() == LARGE
