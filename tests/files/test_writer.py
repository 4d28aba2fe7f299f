"""What a received tree looks like on the disk, and what happens to what is already there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import stat
import threading
from pathlib import Path

import pytest

from p2pxfer.errors import LocalFileError, NoSpace
from p2pxfer.files import folders, native, syncing
from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.files.failures import EntryError
from p2pxfer.files.handles import MANY, Folder, more_handles
from p2pxfer.files.opening import Opened
from p2pxfer.files.paths import NameRules
from p2pxfer.files.space import Space, free_space
from p2pxfer.files.writer import Batch, OutputTree, SmallFile
from p2pxfer.manifest import UNKNOWN_SIZE, Entry, EntryKind, Failure
from tests.files.trees import folder_entry, link_entry, put, without_privilege

MTIME = 1_234_567_890_123_456_789


def admit_file(tree, path, size=10):
    """An admitted file."""
    admission = tree.admit(Entry(EntryKind.FILE, path, size, 0o644, MTIME))
    assert admission.failure is None, admission.reason
    return admission


def open_below(root) -> set[str]:
    """What this process has open below ``root``, relative to it."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            path = Path(os.readlink(f"/proc/self/fd/{fd}"))
            found |= {str(path.relative_to(root))} if root in path.parents else set()
    return found


def test_a_file_is_nobodys_and_nameless_until_it_is_whole(out, root):
    """Until the commit there is a 0600 temporary beside the target; then just the target."""
    partial = out.open_file(admit_file(out, b"f"), 10)
    partial.write_at(5, [b"56", b"789"])
    partial.write_at(0, [b"01234"])
    (temporary,) = root.iterdir()
    assert temporary.name.startswith(".f.p2pxfer-")
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    assert partial.commit(0o640, MTIME) == b"f"
    (file,) = root.iterdir()
    found = file.stat()
    assert file.read_bytes() == b"0123456789"
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o640, MTIME)


def test_nothing_is_left_of_what_is_discarded(out, root):
    """Neither by discard, which may come twice, nor by the end of the tree."""
    one = out.open_file(admit_file(out, b"one"), 10)
    out.open_file(admit_file(out, b"two"), 10).write_at(0, [b"x"])
    one.discard()
    one.discard()
    out.close()
    assert list(root.iterdir()) == []


def test_setuid_setgid_and_sticky_do_not_arrive(out, root):
    """Permissions do."""
    put(out, b"f", mode=0o7755)
    partial = out.open_file(admit_file(out, b"g", 0), 0)
    partial.commit(0o7711, MTIME)
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "g").stat().st_mode) == 0o711


def test_holes_take_no_room_and_the_size_is_right(out, root):
    """A file that ends in a hole has its full size, and stores its data only."""
    size = 64 * 1024 * 1024
    partial = out.open_file(admit_file(out, b"f", size), size)
    partial.hole(0, size // 2)
    partial.write_at(size // 2, [b"data"])
    partial.hole(size // 2 + 4, size // 2 - 4)
    partial.commit(0o644, MTIME)
    found = (root / "f").stat()
    assert found.st_size == size
    assert found.st_blocks * 512 < 1024 * 1024


def test_a_stream_ends_where_it_was_written_to(out, root):
    """Its size is known at its end only."""
    partial = out.open_file(admit_file(out, b"s"), UNKNOWN_SIZE)
    partial.write_at(0, [b"abc"])
    partial.hole(3, 5)
    partial.commit(0o644, MTIME)
    assert (root / "s").read_bytes() == b"abc" + bytes(5)


def test_nothing_is_written_past_the_end(out):
    """A mistake above this room can't fill the disk."""
    partial = out.open_file(admit_file(out, b"f"), 10)
    for offset, data in [(5, b"123456"), (-1, b"x"), (10, b"x")]:
        with pytest.raises(ValueError, match="not within"):
            partial.write_at(offset, [data])


def test_more_buffers_than_one_call_takes(out, root):
    """The limit of the system is not the caller's."""
    partial = out.open_file(admit_file(out, b"f", 3000), 3000)
    partial.write_at(0, [bytes([n % 256]) for n in range(3000)])
    partial.commit(0o644, MTIME)
    assert (root / "f").read_bytes() == bytes(n % 256 for n in range(3000))


def test_folders_get_their_mode_and_mtime_when_all_below_is_done(out, root):
    """Even one that forbids writing, and when its files come much later than its entry."""
    out.admit(folder_entry(b"d", 0o555, 111))
    out.admit(folder_entry(b"d/in", 0o500, 222))
    inner = admit_file(out, b"d/in/f")
    later = admit_file(out, b"d/z")
    out.admit(folder_entry(b"e", 0o750, 333))
    assert (root / "d").stat().st_mtime_ns != 111
    for admission in (later, inner):
        assert out.name_small(
            out.sync_small(out.write_small([SmallFile(admission, b"x", 0o644, 1)]))
        ) == [None]
    assert (root / "d").stat().st_mtime_ns == 111  # done before the end
    out.finish()
    modes = {name: (root / name).stat() for name in ("d", "d/in", "e")}
    assert {n: (stat.S_IMODE(f.st_mode), f.st_mtime_ns) for n, f in modes.items()} == {
        "d": (0o555, 111),
        "d/in": (0o500, 222),
        "e": (0o750, 333),
    }


def test_a_folder_waits_for_nothing_that_was_given_up(out, root):
    """Abandoned, failed and discarded files settle too."""
    out.admit(folder_entry(b"d", 0o700, 111))
    given_up = admit_file(out, b"d/a")
    discarded = out.open_file(admit_file(out, b"d/b"), 10)
    out.admit(folder_entry(b"e"))
    out.abandon(given_up)
    out.abandon(given_up)
    discarded.discard()
    assert (root / "d").stat().st_mtime_ns == 111


def test_what_is_done_is_let_go_of(out, root):
    """Once for each file, named or dropped: no folder waits for one, and none is kept open."""

    def written(*paths: bytes) -> Batch:
        small = [SmallFile(admit_file(out, path), b"x", 0o644, 1) for path in paths]
        return out.sync_small(out.write_small(small))

    assert out.name_small(written(b"0")) == [None]
    out.admit(folder_entry(b"a", 0o755, 111))
    named, dropped, last = written(b"a/1", b"a/2"), written(b"a/3", b"a/4"), written(b"a/5")
    out.admit(folder_entry(b"b"))
    assert out.name_small(named) == [None, None]
    out.drop_small(dropped)
    for nameless in named.files:
        out.abandon(nameless.admission)  # it is done, and nothing more
    assert (root / "a").stat().st_mtime_ns != 111
    assert "a" in open_below(root)
    assert out.name_small(last) == [None]
    assert (root / "a").stat().st_mtime_ns == 111
    assert "a" not in open_below(root)
    assert sorted(os.listdir(root / "a")) == ["1", "2", "5"]


def test_a_symlink_arrives_with_its_mtime(out, root):
    """And leads where it led."""
    out.make_symlink(out.admit(link_entry(b"l", b"x/y")))
    assert os.readlink(root / "l") == "x/y"
    assert os.lstat(root / "l").st_mtime_ns == 2_000_000_000


@pytest.mark.parametrize("mtime_ns", [-(2**63), 2**63 - 1])
def test_a_date_that_the_disk_may_not_hold(out, root, mtime_ns):
    """Whatever comes of it: a file large or small, a symlink and a folder arrive all the same."""
    out.admit(folder_entry(b"d", 0o750, mtime_ns))
    partial = out.open_file(admit_file(out, b"d/large"), 5)
    partial.write_at(0, [b"large"])
    assert partial.commit(0o640, mtime_ns) == b"large"
    small = [SmallFile(admit_file(out, b"d/small"), b"small", 0o640, mtime_ns)]
    assert out.name_small(out.sync_small(out.write_small(small))) == [None]
    link = Entry(EntryKind.SYMLINK, b"d/link", 0, 0o777, mtime_ns, b"small")
    out.make_symlink(out.admit(link))
    out.finish()
    assert {path.name: path.read_bytes() for path in (root / "d").iterdir()} == {
        "large": b"large", "small": b"small", "link": b"small",
    }  # fmt: skip


def test_unsafe_targets_only_when_asked_for(out, tmp_path):
    """Absolute and leaving targets are refused, unless the user takes them."""
    out.admit(folder_entry(b"d"))
    targets = [b"/etc/passwd", b"../../x", b"a/../../../x"]
    refused = [out.admit(link_entry(b"d/l%d" % n, t)) for n, t in enumerate(targets)]
    assert [a.failure for a in refused] == [Failure.UNSAFE_TARGET] * 3
    assert out.admit(link_entry(b"d/ok", b"../y")).failure is None
    with OutputTree(tmp_path / "other", unsafe_symlinks=True) as tree:
        tree.make_symlink(tree.admit(link_entry(b"l", b"/etc/passwd")))
    assert os.readlink(tmp_path / "other" / "l") == "/etc/passwd"


@pytest.mark.parametrize(
    ("policy", "failure", "kept", "copy"),
    [
        (ExistingPolicy.FAIL, Failure.EXISTS, b"old", None),
        (ExistingPolicy.SKIP, Failure.EXISTS, b"old", None),
        (ExistingPolicy.OVERWRITE, None, b"new", None),
        (ExistingPolicy.RENAME, None, b"old", b"new"),
    ],
)
def test_what_is_there_is_treated_as_told(root, policy, failure, kept, copy):
    """Kept, replaced, or joined by a numbered copy; a hard link to it never changes."""
    (root / "d").mkdir(parents=True)
    (root / "d" / "f.txt").write_bytes(b"old")
    os.link(root / "d" / "f.txt", root / "linked")
    with OutputTree(root, existing=policy) as tree:
        assert tree.admit(folder_entry(b"d")).failure is None
        assert put(tree, b"d/f.txt", b"new")[0] == failure
        tree.finish()
    assert (root / "d" / "f.txt").read_bytes() == kept
    assert (root / "linked").read_bytes() == b"old"
    assert ((root / "d" / "f (1).txt").exists()) == (copy is not None)
    assert not list((root / "d").glob(".*"))


@pytest.mark.parametrize("choice", [ExistingPolicy.OVERWRITE, ExistingPolicy.RENAME])
def test_a_question_is_answered_entry_by_entry(root, choice):
    """``ask`` leaves it to whoever asks the user; no answer fits where nothing was asked."""
    root.mkdir()
    (root / "f").write_bytes(b"old")
    (root / "g").write_bytes(b"old")
    with OutputTree(root, existing=ExistingPolicy.ASK) as tree:
        one, two, new = (
            tree.admit(Entry(EntryKind.FILE, name, 3, 0o644, MTIME)) for name in (b"f", b"g", b"n")
        )
        assert [a.question for a in (one, two, new)] == [True, True, False]
        tree.answer(one, choice)
        tree.answer(two, ExistingPolicy.SKIP)
        for admission, answer in [(new, choice), (one, choice), (two, ExistingPolicy.ASK)]:
            with pytest.raises(ValueError, match="answer"):
                tree.answer(admission, answer)
        assert two.failure is Failure.EXISTS
        assert tree.open_file(one, 3).commit(0o644, MTIME) == one.name
    assert one.name == (b"f" if choice is ExistingPolicy.OVERWRITE else b"f (1)")


def test_many_copies_each_get_a_number(root):
    """The first free one."""
    for _ in range(3):
        with OutputTree(root, existing=ExistingPolicy.RENAME) as tree:
            put(tree, b"f.txt")
            tree.make_symlink(tree.admit(link_entry(b"l", b"x")))
    assert sorted(os.listdir(root)) == ["f (1).txt", "f (2).txt", "f.txt", "l", "l (1)", "l (2)"]


def test_overwriting_a_symlink_replaces_the_link(root, tmp_path):
    """What it leads to stays as it was; by a file as by another symlink."""
    (tmp_path / "target").write_bytes(b"precious")
    root.mkdir()
    for name in ("f", "l"):
        (root / name).symlink_to(tmp_path / "target")
    with OutputTree(root, existing=ExistingPolicy.OVERWRITE) as tree:
        assert put(tree, b"f", b"new")[0] is None
        tree.make_symlink(tree.admit(link_entry(b"l", b"f")))
    assert not (root / "f").is_symlink()
    assert os.readlink(root / "l") == "f"
    assert (tmp_path / "target").read_bytes() == b"precious"


@pytest.mark.parametrize("policy", list(ExistingPolicy))
def test_another_kind_in_the_way_is_never_replaced(root, policy):
    """A file where a folder is to be, a folder or a pipe where a file is to be."""
    (root / "folder").mkdir(parents=True)
    (root / "file").write_bytes(b"old")
    os.mkfifo(root / "pipe")
    with OutputTree(root, existing=policy) as tree:
        assert put(tree, b"folder")[0] is Failure.EXISTS
        assert put(tree, b"pipe")[0] is Failure.EXISTS
        assert tree.admit(link_entry(b"folder", b"x")).failure is Failure.EXISTS
        assert tree.admit(folder_entry(b"file")).failure is Failure.EXISTS
        assert put(tree, b"file/x")[0] is Failure.PARENT_FAILED
    assert (root / "file").read_bytes() == b"old"
    assert stat.S_ISFIFO((root / "pipe").stat().st_mode)


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_existing_folder_is_merged_into(root, overwrite):
    """It keeps its own mode unless the user gave up what is there."""
    (root / "d").mkdir(parents=True)
    (root / "d").chmod(0o700)
    (root / "d" / "mine").write_bytes(b"mine")
    policy = ExistingPolicy.OVERWRITE if overwrite else ExistingPolicy.FAIL
    with OutputTree(root, existing=policy) as tree:
        assert tree.admit(folder_entry(b"d", 0o755, 111)).failure is None
        assert put(tree, b"d/new")[0] is None
        tree.finish()
    found = (root / "d").stat()
    assert sorted(os.listdir(root / "d")) == ["mine", "new"]
    assert stat.S_IMODE(found.st_mode) == (0o755 if overwrite else 0o700)
    assert (found.st_mtime_ns == 111) == overwrite


def test_a_file_that_appears_meanwhile_is_not_lost(out, root):
    """Between admission and naming somebody makes a file of that name: theirs stays."""
    admissions = [admit_file(out, name) for name in (b"f", b"g")]
    partial = out.open_file(admissions[1], 10)
    for name in ("f", "g"):
        (root / name).write_bytes(b"theirs")
    (error,) = out.name_small(
        out.sync_small(out.write_small([SmallFile(admissions[0], b"ours", 0o644, 1)]))
    )
    assert error.failure is Failure.EXISTS
    with pytest.raises(EntryError) as caught:
        partial.commit(0o644, 1)
    assert caught.value.failure is Failure.EXISTS
    assert [(root / n).read_bytes() for n in ("f", "g")] == [b"theirs"] * 2
    assert sorted(os.listdir(root)) == ["f", "g"]


@pytest.mark.parametrize("system", ["as it is", "few handles", "Linux before 6.10"])
def test_one_bad_file_does_not_spoil_a_batch(root, system, request, monkeypatch):
    """Of many committed together, each has its own outcome, however they get their names."""
    if system == "few handles":
        request.getfixturevalue("few_handles")
    elif system == "Linux before 6.10":
        monkeypatch.setattr(native, "_linkat", lambda: None)
    with OutputTree(root) as tree:
        small = [SmallFile(admit_file(tree, b"%d" % n), b"x", 0o644, 1) for n in range(10)]
        (root / "4").write_bytes(b"theirs")
        outcomes = tree.name_small(tree.sync_small(tree.write_small(small)))
        assert [error and error.failure for error in outcomes] == [None] * 4 + [Failure.EXISTS] + [
            None
        ] * 5
        partials = [tree.open_file(admit_file(tree, b"p%d" % n), 10) for n in range(8)]
        (root / "p3").write_bytes(b"theirs")
        outcomes = tree.commit([(partial, 0o644, 1) for partial in partials])
        assert [error and error.failure for error in outcomes] == [None] * 3 + [Failure.EXISTS] + [
            None
        ] * 4
    assert len(os.listdir(root)) == 18


def test_small_files_are_nobodys_until_they_are_whole(root):
    """Before they get their names nothing is in the folder, and nothing once they are dropped."""
    handles = len(os.listdir("/proc/self/fd"))
    with OutputTree(root, existing=ExistingPolicy.RENAME) as tree:
        (root / "a").write_bytes(b"theirs")
        small = [
            SmallFile(admit_file(tree, n), b"x" * 10, 0o666, MTIME) for n in (b"a", b"b", b"c")
        ]
        batch = tree.sync_small(tree.write_small(small))
        assert os.listdir(root) == ["a"]
        tree.drop_small(batch)
        assert os.listdir(root) == ["a"]
        small = [
            small._replace(admission=admit_file(tree, small.admission.name)) for small in small
        ]
        assert tree.name_small(tree.sync_small(tree.write_small(small))) == [None] * 3
    assert sorted(os.listdir(root)) == ["a", "a (1)", "b", "c"]
    assert (root / "a").read_bytes() == b"theirs"
    for name in ("a (1)", "b", "c"):
        found = (root / name).stat()
        assert (found.st_size, found.st_mtime_ns, found.st_nlink) == (10, MTIME, 1)
        assert stat.S_IMODE(found.st_mode) == 0o666  # whatever the umask is
    assert len(os.listdir("/proc/self/fd")) == handles


@pytest.mark.usefixtures("few_handles", "synced_whole")
def test_several_trees_share_the_handles_that_there_are(root, monkeypatch):
    """However much one of them holds open while the disk is slow, the others write as well."""
    synced = threading.Event()
    monkeypatch.setattr(syncing, "sync_filesystem", lambda _: synced.wait())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    with contextlib.ExitStack() as open_trees:
        trees = [open_trees.enter_context(OutputTree(root / str(n))) for n in range(4)]
        open_trees.callback(synced.set)
        batches = []
        for tree in trees:
            for letter in b"abc":
                admissions = [admit_file(tree, b"%c%d" % (letter, n)) for n in range(64)]
                small = [SmallFile(admission, b"x", 0o644, 1) for admission in admissions]
                batches.append((tree, tree.sync_small(tree.write_small(small))))
        synced.set()
        assert all(tree.name_small(batch) == [None] * 64 for tree, batch in batches)


@pytest.mark.usefixtures("synced_whole")
def test_an_error_of_the_disk_spares_nobody_whom_it_may_concern(root, monkeypatch):
    """Told once, while the next two are written: these may be lost, the one after them is not."""
    failing = iter([True, False, False, False])

    def sync(_fd: int) -> bool:
        if next(failing):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return True

    monkeypatch.setattr(syncing, "sync_filesystem", sync)
    with OutputTree(root) as tree:
        batches, outcomes = [], []
        for number in range(4):
            admissions = [admit_file(tree, b"%d%d" % (number, n)) for n in range(5)]
            small = [SmallFile(admission, b"x", 0o644, 1) for admission in admissions]
            batches.append(tree.sync_small(tree.write_small(small), batches))
            if number >= 2:
                outcomes.append(tree.name_small(batches.pop(0)))
        outcomes += [tree.name_small(batch) for batch in batches]
    told = [{error and error.failure for error in batch} for batch in outcomes]
    assert told == [{Failure.WRITE_FAILED}] * 3 + [{None}]
    assert sorted(os.listdir(root)) == [f"3{n}" for n in range(5)]


@pytest.mark.usefixtures("synced_whole")
def test_what_is_synced_was_open_before_anything_was_written(root, monkeypatch):
    """Else an error of the disk that another program hears of first would be told to nobody."""
    synced = []
    monkeypatch.setattr(
        syncing, "sync_filesystem", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}"))
    )
    with OutputTree(root, handles=1) as tree:
        for folder in (b"a", b"b", b"c"):
            tree.admit(folder_entry(folder))
            admissions = [admit_file(tree, folder + b"/%d" % n) for n in range(5)]
            small = [SmallFile(admission, b"x", 0o644, 1) for admission in admissions]
            assert tree.name_small(tree.sync_small(tree.write_small(small))) == [None] * 5
    assert synced == [str(root / "a")] * 3


def test_a_folder_that_forbids_writing_fails_its_files_only(root):
    """The reason is told, and the next file goes on."""
    (root / "closed").mkdir(parents=True)
    (root / "closed").chmod(0o500)
    with OutputTree(root) as tree, without_privilege():
        tree.admit(folder_entry(b"closed"))
        assert put(tree, b"closed/f")[0] is Failure.WRITE_FAILED
        assert tree.admit(folder_entry(b"closed/d")).failure is Failure.WRITE_FAILED
        assert put(tree, b"z")[0] is None
    (root / "closed").chmod(0o700)


@pytest.mark.parametrize("policy", [ExistingPolicy.FAIL, ExistingPolicy.UPDATE])
@pytest.mark.parametrize("mode", [0o000, 0o055, 0o500, 0o555])
def test_a_folder_that_is_closed_as_the_senders_is_takes_what_is_new(root, policy, mode):
    """Each run sets its mode at the end; the next one, without privileges, still gets in."""
    for number in (1, 2, 3):
        with without_privilege(), OutputTree(root, existing=policy) as tree:
            assert tree.admit(folder_entry(b"d", mode, 111)).failure is None
            assert tree.admit(folder_entry(b"d/e", mode, 111)).failure is None
            assert put(tree, b"d/e/%d" % number)[0] is None
            tree.finish()
            assert tree.attributes_lost == 0
        for folder in (root / "d", root / "d" / "e"):
            assert stat.S_IMODE(folder.stat().st_mode) == mode
            folder.chmod(0o700)
        assert os.path.exists(root / "d" / "e" / str(number))
        for folder in (root / "d" / "e", root / "d") if number < 3 else ():
            folder.chmod(mode)


@pytest.mark.parametrize("policy", [ExistingPolicy.FAIL, ExistingPolicy.UPDATE])
@pytest.mark.parametrize("mode", [0o000, 0o555])
def test_a_folder_that_was_opened_is_closed_again_if_the_transfer_ends_early(root, policy, mode):
    """With one handle at once, too: the way to the inner one leads through the outer one."""
    with without_privilege(), OutputTree(root, existing=policy) as tree:
        tree.admit(folder_entry(b"d", mode, 111))
        tree.admit(folder_entry(b"d/e", mode, 111))
        tree.finish()
    with without_privilege(), OutputTree(root, existing=policy, handles=1) as tree:
        tree.admit(folder_entry(b"d", mode, 222))
        tree.admit(folder_entry(b"d/e", mode, 222))
        assert put(tree, b"d/e/new")[0] is None
        assert tree.attributes_lost == 0
    for folder in (root / "d", root / "d" / "e"):
        assert stat.S_IMODE(folder.stat().st_mode) == mode


@pytest.mark.parametrize("ends", ["early", "well"])
def test_another_folder_in_the_place_of_one_that_was_opened_keeps_its_mode(root, ends):
    """Somebody swapped them meanwhile: what only its owner may read stays so."""
    with without_privilege():
        (root / "d").mkdir(parents=True)
        (root / "d").chmod(0o555)
        (root / "secret").mkdir(0o700)
        os.utime(root / "secret", ns=(333, 333))
        with OutputTree(root, handles=1) as tree:
            tree.admit(folder_entry(b"d", 0o555, 222))
            waited_for = admit_file(tree, b"d/f")
            tree.admit(folder_entry(b"e"))  # lets go of the handle on d
            assert put(tree, b"e/f")[0] is None
            (root / "d").rename(root / "away")
            (root / "secret").rename(root / "d")
            if ends == "well":
                tree.abandon(waited_for)
                tree.finish()
        found = (root / "d").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o700, 333)
        assert tree.attributes_lost > 0


def test_a_folder_that_was_opened_is_closed_again_whatever_else_goes_wrong(root, monkeypatch):
    """Letting go of the rest may fail: nothing stays open for that."""
    (root / "d").mkdir(parents=True)
    (root / "d").chmod(0o555)
    with without_privilege():
        tree = OutputTree(root)
        tree.admit(folder_entry(b"d", 0o555, 222))
        waited_for = admit_file(tree, b"d/f")
        assert stat.S_IMODE((root / "d").stat().st_mode) == 0o755
        with monkeypatch.context() as broken:
            broken.setattr(syncing.Syncing, "close", lambda _: os.close(-1))
            with pytest.raises(OSError, match="descriptor"):
                tree.close()
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o555
    assert waited_for.held


def test_a_folder_that_was_swapped_before_it_was_opened_stays_as_it_is(root, monkeypatch):
    """Nothing is done to one that nobody has looked at."""
    (root / "d").mkdir(parents=True)
    (root / "d").chmod(0o555)
    (root / "other").mkdir()
    (root / "other").chmod(0o500)
    with without_privilege(), OutputTree(root) as tree:
        opened = Opened.open

        def late(self: Opened, folder: Folder, found: os.stat_result) -> int | None:
            (root / "d").rename(root / "away")
            (root / "other").rename(root / "d")
            return opened(self, folder, found)

        monkeypatch.setattr(Opened, "open", late)
        tree.admit(folder_entry(b"d", 0o555, 222))
        assert put(tree, b"d/f")[0] is Failure.WRITE_FAILED
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o500
    assert stat.S_IMODE((root / "away").stat().st_mode) == 0o555


@pytest.mark.parametrize("whose", ["somebody else's", "of a group that is not ours"])
def test_what_could_not_be_closed_again_is_not_opened(root, monkeypatch, whose):
    """Nobody else may set a mode, and chmod(2) drops setgid where the group is not ours."""
    (root / "d").mkdir(parents=True)
    (root / "d").chmod(0o2500)
    opened, (uid, gid) = Opened.open, (12345, 12346)

    def seen(self: Opened, folder: Folder, found: os.stat_result) -> int | None:
        other = os.stat_result((*found[:4], uid, gid, *found[6:]))
        return opened(self, folder, other)

    monkeypatch.setattr(Opened, "open", seen)
    if whose == "of a group that is not ours":
        monkeypatch.setattr(os, "geteuid", lambda: uid)
    with OutputTree(root, existing=ExistingPolicy.UPDATE) as tree:
        assert tree.admit(folder_entry(b"d", 0o500, 222)).failure is None
        assert stat.S_IMODE((root / "d").stat().st_mode) == 0o2500


def test_a_folder_that_was_opened_keeps_the_mode_that_it_got_when_it_was_done(root):
    """Closing the tree gives its former one to nothing that is done."""
    with without_privilege():
        for mode in (0o555, 0o755):
            with OutputTree(root, existing=ExistingPolicy.UPDATE) as tree:
                tree.admit(folder_entry(b"d", mode, 111))
                assert put(tree, b"d/%o" % mode)[0] is None
                tree.finish()
            assert stat.S_IMODE((root / "d").stat().st_mode) == mode


def test_room_is_looked_at(out, root):
    """A file that can't fit is refused before its first byte, with nothing left behind."""
    size = out.space().size
    with pytest.raises(EntryError) as caught:
        out.open_file(admit_file(out, b"huge", size * 2), size * 2)
    assert caught.value.failure is Failure.NO_SPACE
    assert os.listdir(root) == []
    with pytest.raises(NoSpace, match="room"):
        free_space(root / "not" / "yet" / "there").require(size * 2)
    with pytest.raises(NoSpace, match="files and folders"):
        Space(100, 5).require(10, 6)
    Space(100, None).require(100, 10**9)


def test_the_place_is_made_or_its_lack_told(tmp_path):
    """A missing output directory is made; a file in its place is an error."""
    OutputTree(tmp_path / "a" / "b").close()
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(LocalFileError):
        OutputTree(tmp_path / "file")


def test_portable_names(root):
    """The portable rules refuse what Windows would, and only when asked for."""
    with OutputTree(root, rules=NameRules.PORTABLE) as tree:
        assert put(tree, b"nul.txt")[0] is Failure.UNSAFE_NAME
        assert put(tree, b"fine")[0] is None


@pytest.mark.usefixtures("few_handles")
def test_depth_300_with_few_descriptors(out, root):
    """Far past PATH_MAX, files at every level written after the last, 256 descriptors."""
    path = b"d" * 100
    leaves = []
    for _ in range(300):
        assert out.admit(folder_entry(path, 0o700, 111)).failure is None
        leaves.append(admit_file(out, path + b"/a"))
        path += b"/" + b"d" * 100
    small = [SmallFile(leaf, b"x", 0o644, 1) for leaf in leaves]
    assert out.name_small(out.sync_small(out.write_small(small))) == [None] * 300
    out.finish()
    depth = 0
    fd = os.open(root, os.O_RDONLY)
    while os.listdir(fd) != ["a"] and depth < 300:
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        depth += 1
        assert os.fstat(fd).st_mtime_ns == 111
        assert "a" in os.listdir(fd)
    os.close(fd)
    assert depth == 300


@pytest.mark.usefixtures("few_handles")
def test_a_low_limit_of_handles_is_raised_as_far_as_it_may_be():
    """Small files are open until they are synced, and many of them share a sync.

    Room for all is made at once: later each of several threads would wait for it.
    """
    told = more_handles()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert told == soft == min(hard, MANY)
    (room,) = re.findall(r"FDSize:\s+(\d+)", Path("/proc/self/status").read_text())
    assert int(room) >= soft


def test_without_a_thread_to_sync_in(root, monkeypatch):
    """It is done in this one: nothing is lost, and nothing stays behind."""

    class Exhausted:
        def __init__(self, *_):
            """As if the system had no thread left."""

        def submit(self, *_):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(syncing, "ThreadPoolExecutor", Exhausted)
    with OutputTree(root) as tree:
        files = [SmallFile(admit_file(tree, b"%d" % n), b"x" * 10, 0o644, MTIME) for n in range(9)]
        assert tree.name_small(tree.sync_small(tree.write_small(files))) == [None] * 9
        tree.finish()
    assert sorted(os.listdir(root)) == [str(n) for n in range(9)]


@pytest.mark.usefixtures("synced_whole")
def test_a_filesystem_below_that_fails_to_sync(root, monkeypatch):
    """What is mounted inside the target is brought to the disk, too, or there is no receipt."""

    def failing(at):
        if os.fstat(at).st_ino == (root / "d").stat().st_ino:
            raise OSError(errno.EIO, "Input/output error")
        return True

    monkeypatch.setattr(folders, "sync_filesystem", failing)
    with OutputTree(root) as tree:
        tree.admit(folder_entry(b"d"))
        admission = admit_file(tree, b"d/f")
        admission.folder.device += 1  # as if it were another one's
        assert tree.name_small(
            tree.sync_small(tree.write_small([SmallFile(admission, b"x", 0o644, MTIME)]))
        ) == [None]
        with pytest.raises(LocalFileError, match="the disk failed"):
            tree.finish()
