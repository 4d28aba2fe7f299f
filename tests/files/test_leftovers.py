"""Temporaries of earlier runs: those recorded are found and removed, and nothing else ever."""

from __future__ import annotations

import os
import stat

import pytest

from p2pxfer.files.leftovers import is_away, leftovers, remove_leftovers
from p2pxfer.files.records import Partial
from tests.files.trees import without_privilege

NAME = b".f.p2pxfer-0123456789ab"


@pytest.fixture
def temporary(root):
    """One in a folder, 10,000 bytes."""
    (root / "d" / "e").mkdir(parents=True)
    path = root / "d" / "e" / os.fsdecode(NAME)
    path.write_bytes(b"x" * 10_000)
    return path


def recorded(temporary):
    """What a journal says of it."""
    found = temporary.stat()
    return Partial(b"d/e/f", NAME, found.st_ino, 20_000, 5)


def test_found_and_removed(root, temporary):
    """With the room it takes; others are passed over."""
    partials = [
        recorded(temporary),
        Partial(b"d/gone", NAME, 2),
        Partial(b"no/such/folder/f", NAME, 2),
        Partial(b"d/e/f/is/no/folder", NAME),
    ]
    (found,) = leftovers(os.fsencode(root), partials)
    assert found.path == os.fsencode(temporary)
    assert 10_000 <= found.size <= 20_000
    assert remove_leftovers(os.fsencode(root), partials) == [found]
    assert leftovers(os.fsencode(root), partials) == []
    assert remove_leftovers(os.fsencode(root / "no"), partials) == []


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o555])
def test_in_folders_that_are_closed_to_their_owner(root, temporary, mode):
    """It is found and removed, and the folders are as closed as they were."""
    folders = [temporary.parent, temporary.parent.parent]
    partial = recorded(temporary)
    for folder in folders:
        folder.chmod(mode)
    with without_privilege():
        assert len(leftovers(os.fsencode(root), [partial])) == 1
        assert len(remove_leftovers(os.fsencode(root), [partial])) == 1
        assert leftovers(os.fsencode(root), [partial]) == []
    for folder in reversed(folders):
        assert stat.S_IMODE(folder.stat().st_mode) == mode
        folder.chmod(0o700)
    assert not temporary.exists()


@pytest.mark.parametrize("mode", [0o000, 0o300])
def test_an_output_directory_that_is_closed_is_away(root, mode):
    """What is in it can't be looked at, so a journal that tells of it stays."""
    root.mkdir()
    assert not is_away(os.fsencode(root))
    root.chmod(mode)
    with without_privilege():
        assert is_away(os.fsencode(root))
    root.chmod(0o700)
    root.rmdir()
    assert is_away(os.fsencode(root))


def test_one_that_was_only_intended(root, temporary):
    """Its name alone tells, as nobody else draws it."""
    assert len(remove_leftovers(os.fsencode(root), [Partial(b"d/e/f", NAME)])) == 1
    assert not temporary.exists()


def test_one_that_is_numbered_anew(root, temporary):
    """As it may be when its disk is mounted again: its name alone tells."""
    assert len(remove_leftovers(os.fsencode(root), [recorded(temporary)._replace(inode=1)])) == 1
    assert not temporary.exists()


@pytest.mark.parametrize("spoil", ["symlink", "hard link", "folder", "pipe"])
@pytest.mark.parametrize("inode_known", [True, False])
def test_what_took_its_place_is_left_alone(root, temporary, tmp_path, spoil, inode_known):
    """What is no file of its own, a folder, a pipe; of a symlink at most the link goes."""
    partial = recorded(temporary) if inode_known else Partial(b"d/e/f", NAME)
    keep = tmp_path / "keep"
    if spoil == "symlink":
        temporary.rename(keep)
        temporary.symlink_to(keep)
    elif spoil == "hard link":
        os.link(temporary, keep)
    else:
        temporary.unlink()
        if spoil == "folder":
            temporary.mkdir()
        else:
            os.mkfifo(temporary)
    ours = spoil == "symlink" and not inode_known  # it may have been going to be a symlink
    assert len(remove_leftovers(os.fsencode(root), [partial])) == ours
    assert os.path.lexists(temporary) != ours
    if keep.exists():
        assert keep.stat().st_size == 10_000


def test_a_folder_replaced_by_a_symlink(root, temporary, tmp_path):
    """It leads to the very file, and yet is not followed."""
    partial = recorded(temporary)
    (root / "d" / "e").rename(tmp_path / "outside")
    (root / "d" / "e").symlink_to(tmp_path / "outside")
    assert remove_leftovers(os.fsencode(root), [partial]) == []
    assert (tmp_path / "outside" / os.fsdecode(NAME)).exists()


@pytest.mark.parametrize("path", [b"../d/e/f", b"/d/e/f", b"d/../d/e/f", b"", b"d//e/f", b"d/e/\0"])
def test_a_hostile_journal(root, temporary, path):
    """No path leads out of the output directory, and no other name is touched."""
    partial = recorded(temporary)._replace(path=path)
    assert remove_leftovers(os.fsencode(root / "d"), [partial]) == []
    assert remove_leftovers(os.fsencode(root), [partial]) == []
    (root / "d" / "e" / "precious").write_bytes(b"x")
    assert remove_leftovers(os.fsencode(root), [Partial(b"d/e/f", b"precious")]) == []
    assert temporary.exists()
