"""Names that the target filesystem holds as one, on a stand-in that folds case and normal forms."""

from __future__ import annotations

import os
import unicodedata

import pytest

from p2pxfer.files import folders
from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.files.handles import FolderHandles
from p2pxfer.files.writer import OutputTree, SmallFile
from p2pxfer.manifest import Entry, EntryKind, Failure
from tests.files.trees import folder_entry, put


def fold(name):
    """The spelling in which a name reaches the disk."""
    return os.fsencode(unicodedata.normalize("NFC", os.fsdecode(name)).casefold())


class FoldingHandles(FolderHandles):
    """Every name reaches the disk in one spelling, as on a filesystem that folds."""

    def locate(self, folder, name=b"."):
        above = folder
        while above is not None:
            above.name = fold(above.name)
            above = above.parent
        return super().locate(folder, fold(name))


@pytest.fixture
def folding(monkeypatch):
    """Trees made from here on are on such a filesystem."""
    monkeypatch.setattr(folders, "FolderHandles", FoldingHandles)


SPELLINGS = [(b"README", b"readme"), ("é".encode(), "e\u0301".encode()), (b"Dir", b"dIR")]


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_nothing_is_refused_where_names_do_not_fold(root, one, other):
    """On this machine's own filesystem both arrive, in an old folder as in a new one."""
    (root / "old").mkdir(parents=True)
    with OutputTree(root) as tree:
        for folder in (b"new/", b"old/"):
            tree.admit(folder_entry(folder[:-1]))
            assert put(tree, folder + one)[0] is None
            assert put(tree, folder + other)[0] is None


@pytest.mark.parametrize("policy", [ExistingPolicy.FAIL, ExistingPolicy.OVERWRITE])
@pytest.mark.parametrize(("one", "other"), SPELLINGS)
@pytest.mark.parametrize("folder", [b"new", b"old"])
@pytest.mark.usefixtures("folding")
def test_the_second_spelling_is_refused(root, policy, one, other, folder):
    """Written one after the other: the first stays, under any policy."""
    (root / "old").mkdir(parents=True)
    with OutputTree(root, existing=policy) as tree:
        tree.admit(folder_entry(folder))
        assert put(tree, folder + b"/" + one, b"1")[0] is None
        assert put(tree, folder + b"/" + other, b"2")[0] is Failure.COLLISION
    (name,) = os.listdir(root / os.fsdecode(folder))
    assert (root / os.fsdecode(folder) / name).read_bytes() == b"1"


@pytest.mark.usefixtures("folding")
def test_two_spellings_admitted_before_either_is_written(root):
    """Found when the second is to be named."""
    with OutputTree(root, existing=ExistingPolicy.OVERWRITE) as tree:
        both = [tree.admit(Entry(EntryKind.FILE, n, 1, 0o644, 1)) for n in (b"A", b"a")]
        outcomes = tree.name_small(
            tree.sync_small(tree.write_small([SmallFile(a, b"x", 0o644, 1) for a in both]))
        )
        assert [error and error.failure for error in outcomes] == [None, Failure.COLLISION]


@pytest.mark.usefixtures("folding")
def test_a_second_spelling_admitted_while_the_first_is_synced(root):
    """It replaces nothing, although files may be replaced: the first is no older one."""
    with OutputTree(root, existing=ExistingPolicy.OVERWRITE) as tree:

        def small(name, data):
            admission = tree.admit(Entry(EntryKind.FILE, name, 1, 0o644, 1))
            return SmallFile(admission, data, 0o644, 1)

        first = tree.sync_small(
            tree.write_small([small(name, b"1") for name in (b"A", b"b", b"c", b"d")])
        )
        assert first.own is None  # it is on the disk
        second = tree.sync_small(tree.write_small([small(b"a", b"2")]), [first])
        assert tree.name_small(first) == [None] * 4
        (error,) = tree.name_small(second)
        assert error.failure is Failure.COLLISION
    assert (root / "a").read_bytes() == b"1"


@pytest.mark.usefixtures("folding")
def test_two_spellings_of_a_folder(root):
    """The second folder and all in it stay away, in an old folder as in a new one."""
    root.mkdir()
    with OutputTree(root) as tree:
        for inside in (b"", b"A/"):
            assert tree.admit(folder_entry(inside + b"A")).failure is None
            assert put(tree, inside + b"A/x")[0] is None
        assert tree.admit(folder_entry(b"A/a")).failure is Failure.COLLISION
        assert put(tree, b"A/a/y")[0] is Failure.PARENT_FAILED
        assert tree.admit(folder_entry(b"a")).failure is Failure.COLLISION


@pytest.mark.usefixtures("folding")
def test_an_existing_file_is_no_collision_but_meets_the_first_name(root):
    """One name finds what was there; a second spelling of it collides."""
    root.mkdir()
    (root / "f").write_bytes(b"old")
    with OutputTree(root, existing=ExistingPolicy.OVERWRITE) as tree:
        first = tree.admit(Entry(EntryKind.FILE, b"F", 1, 0o644, 1))
        assert first.exists
        assert tree.admit(Entry(EntryKind.FILE, b"f", 1, 0o644, 1)).failure is Failure.COLLISION
        assert tree.name_small(
            tree.sync_small(tree.write_small([SmallFile(first, b"x", 0o644, 1)]))
        ) == [None]
        assert put(tree, b"f", b"y")[0] is Failure.COLLISION
    assert (root / "f").read_bytes() == b"x"


@pytest.mark.usefixtures("folding")
def test_hard_links_are_no_collision(root):
    """Two names that are one inode by the user's doing are two names."""
    root.mkdir()
    (root / "one").write_bytes(b"old")
    os.link(root / "one", root / "two")
    with OutputTree(root, existing=ExistingPolicy.OVERWRITE) as tree:
        both = [tree.admit(Entry(EntryKind.FILE, n, 1, 0o644, 1)) for n in (b"one", b"two")]
        assert [a.failure for a in both] == [None, None]


def test_asking_the_filesystem_leaves_no_trace(root):
    """No probe file stays, and the folder's mtime is as before."""
    root.mkdir()
    (root / "f").touch()
    os.utime(root, ns=(5, 5))
    with OutputTree(root) as tree:
        assert put(tree, b"f")[0] is Failure.EXISTS
    assert os.listdir(root) == ["f"]
    assert root.stat().st_mtime_ns == 5
