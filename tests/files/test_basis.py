"""Older copies: read and hashed anew, copied block by block, never trusted."""

from __future__ import annotations

import errno
import os

import pytest

from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.files.basis import Basis
from p2pxfer.files.failures import EntryError
from p2pxfer.files.hashing import block_digest, file_root, zero_digest
from p2pxfer.files.writer import OutputTree
from p2pxfer.manifest import Entry, EntryKind, Failure
from tests.files.resuming import MTIME

BLOCK = 1000
OLD = bytes(range(256)) * 16  # 4,096 bytes
ROOT = file_root([block_digest(OLD)], len(OLD))


@pytest.fixture
def old(root):
    """A file that is there."""
    root.mkdir()
    path = root / "f"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def tree(root):
    """A tree that updates what is there."""
    with OutputTree(root, existing=ExistingPolicy.UPDATE) as tree:
        yield tree


def admit(tree, size=5000):
    """The new version, admitted."""
    admission = tree.admit(Entry(EntryKind.FILE, b"f", size, 0o644, MTIME))
    assert admission.failure is None
    return admission


@pytest.fixture(params=["by the system", "by hand"])
def copies(request, monkeypatch):
    """Whether the system copies ranges, or says that it can't."""

    def refuse(*_):
        raise OSError(errno.EXDEV, "")

    if request.param == "by hand":
        monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)


def test_digests_are_those_of_the_new_cut(old, tree):
    """Whole blocks only; a shorter last one where both files end; lazily."""
    with tree.older(admit(tree)) as basis:
        whole = [block_digest(OLD[at : at + BLOCK]) for at in range(0, 4000, BLOCK)]
        assert list(basis.digests(BLOCK, 5000)) == whole  # 96 bytes are no block of 1,000
        assert list(basis.digests(BLOCK, 4096)) == [*whole, block_digest(OLD[4000:])]
        assert list(basis.digests(BLOCK, 1500)) == [whole[0]]
        assert list(basis.digests(BLOCK, 1)) == []
        assert list(basis.digests(BLOCK, 0)) == []
        some = basis.digests(BLOCK, 5000)
        assert next(some) == whole[0]
        os.truncate(old, 1500)
        assert list(some) == []  # it became shorter: what is gone is not offered


def test_holes_cost_no_reading(root, tree):
    """A basis of a terabyte that stores nothing is hashed at once."""
    root.mkdir(exist_ok=True)
    with (root / "f").open("wb") as file:
        file.truncate(1 << 40)
    with tree.older(admit(tree, 1 << 40)) as basis:
        found = basis.digests(1 << 22, 1 << 40)
        assert [next(found) for _ in range(1000)] == [zero_digest(1 << 22)] * 1000


@pytest.mark.usefixtures("copies")
def test_blocks_are_copied(old, root, tree):
    """Into the same place; the old file is untouched until the new one takes its name."""
    os.link(old, root / "linked")
    admission = admit(tree)
    partial = tree.open_file(admission, 5000)
    with tree.older(admission) as basis:
        basis.copy_to(partial, 1000, 2000, block_digest(OLD[1000:3000]))
        basis.copy_to(partial, 4000, 96, block_digest(OLD[4000:]))
        with pytest.raises(ValueError, match="within"):
            basis.copy_to(partial, 4500, 1000, bytes(32))
    partial.write_at(0, [b"n" * 1000])
    partial.write_at(3000, [b"w" * 1000])
    partial.write_at(4096, [b"!" * 904])
    assert partial.read_at(900, 200) == b"n" * 100 + OLD[1000:1100]
    assert partial.read_at(4900, 200) == b"!" * 100
    assert old.read_bytes() == OLD
    partial.commit(0o600, MTIME)
    expected = b"n" * 1000 + OLD[1000:3000] + b"w" * 1000 + OLD[4000:] + b"!" * 904
    assert old.read_bytes() == expected
    assert (root / "linked").read_bytes() == OLD


@pytest.mark.usefixtures("copies")
@pytest.mark.parametrize("change", ["written to", "cut", "mapped"])
def test_a_basis_that_changes_is_no_basis(old, tree, change):
    """Its digests were of something else: the file fails instead of being wrong."""
    admission, found = admit(tree), old.stat()
    partial = tree.open_file(admission, 5000)
    with tree.older(admission) as basis:
        basis.copy_to(partial, 0, 1000, block_digest(OLD[:1000]))
        if change == "cut":
            os.truncate(old, 1500)
        elif change == "mapped":  # as a program does that has the page dirty: no mtime tells
            with old.open("r+b") as file:
                file.seek(1999)
                file.write(b"!")
            os.utime(old, ns=(found.st_atime_ns, found.st_mtime_ns))
            assert not basis.changed()
        else:
            old.write_bytes(b"x" * 4096)
            os.utime(old, ns=(1, 1))
        with pytest.raises(EntryError) as caught:
            basis.copy_to(partial, 1000, 1000, block_digest(OLD[1000:2000]))
    assert caught.value.failure is Failure.WRITE_FAILED
    assert (tree.older(admission) is None) == (change != "mapped")


@pytest.mark.parametrize("spoil", ["symlink", "folder", "pipe", "another file"])
def test_what_took_its_place_is_no_basis(old, root, tree, tmp_path, spoil):
    """Between admission and opening."""
    admission = admit(tree)
    old.rename(tmp_path / "kept")
    if spoil == "symlink":
        old.symlink_to(tmp_path / "kept")
    elif spoil == "folder":
        old.mkdir()
    elif spoil == "pipe":
        os.mkfifo(old)
    else:
        old.write_bytes(OLD)
    assert tree.older(admission) is None
    assert not tree.keep(admission, ROOT, 4096, 0o644, MTIME)
    assert root.exists()


def test_a_symlink_is_replaced_without_being_read(root, tree, tmp_path):
    """Update follows it no more than any policy does."""
    (tmp_path / "precious").write_bytes(OLD)
    (root / "f").symlink_to(tmp_path / "precious")
    admission = admit(tree, 3)
    assert tree.older(admission) is None
    partial = tree.open_file(admission, 3)
    partial.write_at(0, [b"new"])
    partial.commit(0o644, MTIME)
    assert (root / "f").read_bytes() == b"new"
    assert (tmp_path / "precious").read_bytes() == OLD


@pytest.mark.parametrize("policy", [p for p in ExistingPolicy if p is not ExistingPolicy.UPDATE])
def test_nothing_is_disclosed_under_any_other_policy(old, root, policy):
    """What is there is no basis unless the user says so."""
    with OutputTree(root, existing=policy) as tree:
        admission = tree.admit(Entry(EntryKind.FILE, b"f", 5000, 0o644, MTIME))
        if admission.question:
            tree.answer(admission, ExistingPolicy.OVERWRITE)
        assert tree.older(admission) is None
    assert old.read_bytes() == OLD


def test_what_is_right_already_stays(old, tree):
    """Same file, new attributes."""
    before = old.stat().st_ino
    admission = admit(tree, 4096)
    assert not tree.keep(admission, ROOT, 4097, 0o640, MTIME)
    assert not tree.keep(admission, file_root([bytes(32)], 4096), 4096, 0o640, MTIME)
    assert old.stat().st_mtime_ns != MTIME
    assert tree.keep(admission, ROOT, 4096, 0o640, MTIME)
    found = old.stat()
    assert (found.st_ino, found.st_mode & 0o777, found.st_mtime_ns) == (before, 0o640, MTIME)


def test_a_hard_link_does_not_change_with_it(old, root, tree):
    """Only a file of its own gets attributes in place."""
    os.link(old, root / "linked")
    admission = admit(tree, 4096)
    assert not tree.keep(admission, ROOT, 4096, 0o640, MTIME)
    os.utime(old, ns=(MTIME, MTIME))
    old.chmod(0o640)
    admission = admit(tree, 4096)
    assert tree.keep(admission, ROOT, 4096, 0o640, MTIME)


def test_an_unfinished_file_of_another_transfer_is_neither_read_nor_replaced(root):
    """A sender that has guessed its name gets nothing, whatever the policy."""
    root.mkdir()
    name = b".f.p2pxfer-0123456789ab"
    for policy in ExistingPolicy:
        with OutputTree(root, existing=policy) as tree:
            (root / os.fsdecode(name)).write_bytes(b"theirs")
            admission = tree.admit(Entry(EntryKind.FILE, name, 6, 0o644, MTIME))
            assert admission.failure is Failure.EXISTS
            assert tree.older(admission) is None
    assert (root / os.fsdecode(name)).read_bytes() == b"theirs"


def test_closing_twice(old, tree):
    """It closes its own descriptor only, and once."""
    admission = admit(tree)
    basis = tree.older(admission)
    basis.close()
    basis.close()
    partial = tree.open_file(admission, 10)
    Basis.of(partial).close()
    partial.write_at(0, [b"x"])
    assert old.read_bytes() == OLD
