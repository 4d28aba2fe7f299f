"""Private files: nobody else's, through no symlink, one writer each."""

from __future__ import annotations

import os
import stat

import pytest

from p2pxfer.errors import LocalFileError
from p2pxfer.files.state import StateFolder, is_held, lock, read_whole, state_path
from tests.files.trees import without_privilege


@pytest.fixture
def directory(tmp_path):
    """Where the files go; it does not exist yet."""
    return tmp_path / "state" / "p2pxfer" / "kind"


@pytest.fixture
def folder(directory):
    """The files ending in .x there."""
    return StateFolder(directory, ".x")


@pytest.fixture
def file(folder):
    """The name of a file there that says hello."""
    name, fd = folder.create("start-")
    os.write(fd, b"hello")
    os.close(fd)
    return name


def read(folder, name):
    """What a file says, or None."""
    fd = folder.open(name)
    if fd is None:
        return None
    data = read_whole(fd)
    os.close(fd)
    return data


def test_directory_and_file_are_private(folder, directory, file):
    """0700 and 0600, also when the directory was more open."""
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / file).stat().st_mode) == 0o600
    assert file.startswith("start-")
    directory.chmod(0o777)
    assert folder.names() == [file]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert read(folder, file) == b"hello"


def test_nothing_is_made_by_looking(folder, directory):
    """A machine that never received has no directory."""
    assert folder.names() == []
    assert folder.open("a.x") is None
    assert folder.modified("a.x") is None
    folder.remove("a.x")
    assert not directory.exists()


def test_only_files_of_this_kind(folder, directory, file):
    """Others in the directory are not looked at."""
    (directory / "other.y").touch()
    assert folder.names() == [file]
    folder.remove(file)
    assert folder.names() == []
    assert (directory / "other.y").exists()


@pytest.mark.parametrize("spoil", ["symlink", "hard link", "open to others", "pipe", "folder"])
def test_what_is_not_private_is_absent(folder, directory, file, tmp_path, spoil):
    """It is not opened, whatever its content; removing it removes a name only."""
    path = directory / file
    elsewhere = tmp_path / "elsewhere"
    if spoil == "symlink":
        path.rename(elsewhere)
        path.symlink_to(elsewhere)
    elif spoil == "hard link":
        os.link(path, elsewhere)
    elif spoil == "open to others":
        path.chmod(0o640)
    elif spoil == "pipe":
        path.unlink()
        os.mkfifo(path, 0o600)
    else:
        path.unlink()
        path.mkdir()
    assert read(folder, file) is None
    folder.remove(file)
    if elsewhere.exists():
        assert elsewhere.read_bytes() == b"hello"


def test_the_directory_itself_is_no_symlink(folder, directory, tmp_path):
    """Neither read from nor written to through one; one above it is the user's own affair."""
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    directory.parent.mkdir(parents=True)
    directory.symlink_to(real)
    (real / "a.x").write_bytes(b"theirs")
    assert folder.names() == []
    assert folder.open("a.x") is None
    with pytest.raises(LocalFileError):
        folder.create()
    assert os.listdir(real) == ["a.x"]
    (tmp_path / "way").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    _, fd = StateFolder(tmp_path / "way" / "kind", ".x").create()
    os.close(fd)


def test_a_directory_of_somebody_else(folder, file, monkeypatch):
    """It is not used."""
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert folder.names() == []
    assert read(folder, file) is None
    with pytest.raises(LocalFileError, match="another user"):
        folder.create()


def test_where_nothing_can_be_made(tmp_path):
    """An error of the tree says so."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with without_privilege(), pytest.raises(LocalFileError, match="written"):
        StateFolder(closed / "a" / "b", ".x").create()


def test_one_writer_at_a_time(folder):
    """Held from its making until it is closed; looking holds nobody up."""
    name, writer = folder.create()
    other = folder.open(name)
    assert is_held(other)
    assert not lock(other)
    os.close(writer)
    looking = folder.open(name)
    assert not is_held(looking)
    os.close(looking)
    assert lock(other)
    os.close(other)


def test_a_file_that_was_removed_meanwhile_is_nobodys(folder, file):
    """Whoever waited for it does not go on in a file without a name."""
    fd = folder.open(file)
    folder.remove(file)
    assert not lock(fd)
    os.close(fd)


def test_reading_is_bounded(folder, file):
    """A file that somebody made huge costs no more than the limit."""
    fd = folder.open(file)
    os.ftruncate(fd, 1 << 40)
    assert read_whole(fd, 1000) == b"hello" + bytes(995)
    os.close(fd)


def test_the_place_is_the_systems(monkeypatch):
    """XDG's on Linux."""
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere/state")
    assert state_path("transfers").parts[-2:] == ("p2pxfer", "transfers")
