"""Renaming without replacing, with and without the system's help."""

from __future__ import annotations

import errno
import os

import pytest

from p2pxfer.files import native


def refuse(*_):
    """A filesystem that lacks the call."""
    raise OSError(errno.EINVAL, "not here")


@pytest.fixture(params=["the call", "a hard link", "looking first"])
def way(request, monkeypatch):
    """Each way that there is to do it."""
    if request.param != "the call":
        monkeypatch.setattr(native, "_rename_exclusive", lambda: refuse)
    if request.param == "looking first":

        def no_links(*_, **__):
            raise PermissionError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", no_links)


@pytest.fixture
def folder(tmp_path):
    """A folder with a file to rename, and a handle on it."""
    (tmp_path / "old").write_bytes(b"old")
    fd = os.open(tmp_path, os.O_RDONLY)
    yield tmp_path, fd
    os.close(fd)


@pytest.mark.usefixtures("way")
def test_a_free_name_is_taken(folder):
    """The file has its new name, and only that."""
    path, fd = folder
    native.rename_new(b"old", b"new", fd)
    assert os.listdir(path) == ["new"]


@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.usefixtures("way")
def test_a_taken_name_is_left_alone(folder, dangling):
    """Even if only a symlink that leads nowhere has it."""
    path, fd = folder
    if dangling:
        (path / "new").symlink_to("nowhere")
    else:
        (path / "new").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        native.rename_new(b"old", b"new", fd)
    assert (path / "old").read_bytes() == b"old"
    assert (path / "new").is_symlink() == dangling


@pytest.mark.usefixtures("way")
def test_a_missing_file_is_an_error(folder):
    """Other errors come through."""
    _, fd = folder
    with pytest.raises(FileNotFoundError):
        native.rename_new(b"missing", b"new", fd)


def test_syncing_a_bad_descriptor_is_told():
    """Where the call exists its errors count, and nobody takes its lack for success."""
    with pytest.raises(OSError, match=r"descriptor|implemented"):
        native.sync_filesystem(-1)
    assert native.filesystem_type(-1) is None


def test_punching_a_hole(tmp_path):
    """Zeros where it was, everything else as before; False if the system can't."""
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100_000)
    with path.open("r+b") as file:
        punched = native.punch_hole(file.fileno(), 10_001, 50_000)
    expected = b"x" * 10_001 + bytes(50_000) + b"x" * 39_999
    assert path.read_bytes() == (expected if punched else b"x" * 100_000)
    with path.open("rb") as file:  # opened for reading: the system refuses
        assert not native.punch_hole(file.fileno(), 0, 10)
