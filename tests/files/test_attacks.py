"""A hostile sender and a hostile neighbour: nothing leaves the output directory."""

from __future__ import annotations

import os
import stat

import pytest

from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.files.failures import EntryError
from p2pxfer.files.naming import temporary
from p2pxfer.files.writer import OutputTree, SmallFile
from p2pxfer.manifest import Entry, EntryKind, Failure
from tests.files.trees import folder_entry, link_entry, put


@pytest.fixture
def outside(tmp_path):
    """A folder beside the output directory that must stay as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_bytes(b"precious")
    yield folder
    assert os.listdir(folder) == ["precious"]
    assert (folder / "precious").read_bytes() == b"precious"


@pytest.fixture(params=[ExistingPolicy.FAIL, ExistingPolicy.OVERWRITE, ExistingPolicy.RENAME])
def greedy(root, outside, request):  # noqa: ARG001  # it watches
    """A tree under every policy that writes, beside `outside`."""
    with OutputTree(root, existing=request.param, unsafe_symlinks=True) as tree:
        yield tree


@pytest.mark.parametrize(
    "path",
    [
        b"../outside/x",
        b"dir/../../outside/x",
        b"dir/../../x",
        b"..",
        b".",
        b"",
        b"/tmp/x",
        b"dir/./x",
        b"dir//x",
        b"x\0y",
        b"dir/..",
    ],
)
def test_dot_dot_tricks(greedy, root, path):
    """A name that leads out is refused, as a file, a folder or a symlink."""
    greedy.admit(folder_entry(b"dir"))
    assert put(greedy, path)[0] is Failure.UNSAFE_NAME
    assert greedy.admit(folder_entry(path)).failure is Failure.UNSAFE_NAME
    assert greedy.admit(link_entry(path, b"x")).failure is Failure.UNSAFE_NAME
    assert os.listdir(root) == ["dir"]
    assert os.listdir(root / "dir") == []


def test_a_symlinked_parent_just_sent(greedy, outside):
    """First a symlink, then a file through it; also with the link claimed to be a folder."""
    greedy.make_symlink(greedy.admit(link_entry(b"way", os.fsencode(outside))))
    assert put(greedy, b"way/x")[0] is Failure.PARENT_FAILED
    assert greedy.admit(folder_entry(b"way")).failure is Failure.EXISTS
    assert put(greedy, b"way/x")[0] is Failure.PARENT_FAILED


def test_a_symlink_sent_into_a_folder_just_sent(greedy, outside):
    """The folder's own name, sent again as a link."""
    greedy.admit(folder_entry(b"way"))
    link = greedy.admit(link_entry(b"way", os.fsencode(outside)))
    assert link.failure is Failure.EXISTS
    assert put(greedy, b"way/x")[0] in (None, Failure.PARENT_FAILED)


def test_a_symlink_that_was_there_before(greedy, root, outside):
    """The user's own link below the output directory is no way either."""
    (root / "mine").symlink_to(outside)
    assert greedy.admit(folder_entry(b"mine")).failure is Failure.EXISTS
    assert put(greedy, b"mine/x")[0] is Failure.PARENT_FAILED


def test_a_symlink_swapped_in_between_check_and_write(root, outside):
    """A folder becomes a link after it was admitted, while no handle on it is open."""
    with OutputTree(root, handles=2) as tree:
        tree.admit(folder_entry(b"a"))
        waiting = tree.admit(Entry(EntryKind.FILE, b"a/x", 1, 0o644, 1))
        link = tree.admit(link_entry(b"a/l", b"y"))
        for name in (b"b", b"b/c", b"b/c/d"):
            tree.admit(folder_entry(name))
            put(tree, name + b"/f")
        (root / "a").rename(root / "moved")
        (root / "a").symlink_to(outside)
        (error,) = tree.name_small(
            tree.sync_small(tree.write_small([SmallFile(waiting, b"x", 0o644, 1)]))
        )
        assert error is not None
        with pytest.raises(EntryError):
            tree.make_symlink(link)
        tree.finish()
    assert os.listdir(root / "moved") == []


def test_a_symlink_swapped_in_between_write_and_name(root, outside):
    """A folder becomes a link while a file in it is written: it is not named through the link."""
    with OutputTree(root, handles=2) as tree:
        tree.admit(folder_entry(b"a"))
        partial = tree.open_file(tree.admit(Entry(EntryKind.FILE, b"a/precious", 1, 0, 1)), 1)
        partial.write_at(0, [b"x"])
        for name in (b"b", b"b/c", b"b/c/d"):
            tree.admit(folder_entry(name))
            put(tree, name + b"/f")
        (root / "a").rename(root / "moved")
        (root / "a").symlink_to(outside)
        with pytest.raises(EntryError):
            partial.commit(0o644, 1)


def test_attributes_are_not_set_through_a_swapped_in_symlink(root, outside):
    """Nor are a folder's mode and mtime."""
    before = outside.stat()
    with OutputTree(root, handles=2) as tree:
        tree.admit(folder_entry(b"a", 0o777, 111))
        (root / "a").rmdir()
        (root / "a").symlink_to(outside)
        tree.finish()
        assert tree.attributes_lost == 1
    assert (outside.stat().st_mode, outside.stat().st_mtime_ns) == (
        before.st_mode,
        before.st_mtime_ns,
    )


def test_a_file_swapped_for_a_symlink_before_it_is_replaced(root, outside):
    """The link is replaced; what it leads to is not written to."""
    root.mkdir()
    (root / "f").write_bytes(b"old")
    with OutputTree(root, existing=ExistingPolicy.OVERWRITE) as tree:
        admission = tree.admit(Entry(EntryKind.FILE, b"f", 1, 0o644, 1))
        (root / "f").unlink()
        (root / "f").symlink_to(outside / "precious")
        assert tree.name_small(
            tree.sync_small(tree.write_small([SmallFile(admission, b"x", 0o644, 1)]))
        ) == [None]
    assert (root / "f").read_bytes() == b"x"
    assert not (root / "f").is_symlink()


def test_a_hard_link_at_the_target(root, outside):
    """Replacing one name does not write through to the other."""
    root.mkdir()
    os.link(outside / "precious", root / "f")
    with OutputTree(root, existing=ExistingPolicy.OVERWRITE) as tree:
        assert put(tree, b"f", b"new", mode=0o777)[0] is None
    assert stat.S_IMODE((outside / "precious").stat().st_mode) != 0o777


def test_a_pipe_at_the_target_blocks_nobody(root):
    """Neither opened nor replaced."""
    root.mkdir()
    os.mkfifo(root / "f")
    with OutputTree(root, existing=ExistingPolicy.OVERWRITE) as tree:
        assert put(tree, b"f")[0] is Failure.EXISTS


def test_a_guessed_temporary_name(root, outside, monkeypatch):
    """A link laid where the temporary will be is not followed: another name is drawn."""
    root.mkdir()
    guessed = iter([b".f.p2pxfer-guess", b".f.p2pxfer-guess"])
    (root / ".f.p2pxfer-guess").symlink_to(outside / "precious")
    monkeypatch.setattr(
        "p2pxfer.files.placing.temporary",
        lambda name, limit: next(guessed, None) or temporary(name, limit),
    )
    with OutputTree(root) as tree:
        assert put(tree, b"f", b"new")[0] is None
    assert (root / "f").read_bytes() == b"new"


@pytest.mark.usefixtures("outside")
def test_links_that_only_together_lead_out(root):
    """``up -> ..`` is harmless, ``up/../../outside`` through it is not, whatever it looks like."""
    with OutputTree(root) as tree:
        tree.admit(folder_entry(b"d"))
        tree.admit(folder_entry(b"d/e"))
        tree.make_symlink(tree.admit(link_entry(b"d/e/up", b"..")))
        way_out = tree.admit(link_entry(b"d/e/x", b"up/../../outside/precious"))
        assert way_out.failure is Failure.UNSAFE_TARGET


@pytest.mark.parametrize("length", [256, 1000, 70_000])
def test_over_long_names(out, root, length):
    """Refused, not cut."""
    assert put(out, b"n" * length)[0] is Failure.UNSAFE_NAME
    assert put(out, b"n" * 255)[0] is None
    assert os.listdir(root) == ["n" * 255]


def test_entries_out_of_order(out, root):
    """A folder that was left, or never sent, takes nothing."""
    (root / "users").mkdir()
    out.admit(folder_entry(b"a"))
    out.admit(folder_entry(b"b"))
    assert put(out, b"a/x")[0] is Failure.PARENT_FAILED
    assert put(out, b"users/x")[0] is Failure.PARENT_FAILED
    assert os.listdir(root / "users") == []


def test_one_name_twice(out, root):
    """The second of two files, or folders, of one name does not replace the first."""
    out.admit(folder_entry(b"d"))
    twice = [out.admit(Entry(EntryKind.FILE, b"d/f", 1, 0o644, 1)) for _ in range(2)]
    outcomes = out.name_small(
        out.sync_small(
            out.write_small([SmallFile(a, b"%d" % n, 0o644, 1) for n, a in enumerate(twice)])
        )
    )
    assert [error and error.failure for error in outcomes] == [None, Failure.EXISTS]
    assert (root / "d" / "f").read_bytes() == b"0"
    out.admit(folder_entry(b"d/s"))
    assert out.admit(folder_entry(b"d/s")).failure is Failure.EXISTS


@pytest.mark.usefixtures("outside")
def test_the_output_directory_itself_may_be_a_symlink(tmp_path):
    """It is the user's own choice."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with OutputTree(tmp_path / "link") as tree:
        assert put(tree, b"f")[0] is None
        tree.admit(folder_entry(b"d"))
        assert put(tree, b"d/f")[0] is None
        tree.finish()
    assert sorted(os.listdir(tmp_path / "real")) == ["d", "f"]
