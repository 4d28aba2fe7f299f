"""A file of this machine's own making is there whole, or not at all."""

from __future__ import annotations

import os

import pytest

from p2pxfer.errors import LocalFileError
from p2pxfer.files.new_file import NewFile


def test_it_has_its_name_once_it_is_whole(tmp_path):
    """Until then nobody can take it for done."""
    path = tmp_path / "still.jpg"
    new = NewFile(path, replace=False)
    new.file.write(b"picture")
    assert not path.exists()
    new.place()
    assert path.read_bytes() == b"picture"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_discarded_leaves_nothing(tmp_path):
    """Not even its temporary."""
    NewFile(tmp_path / "still.jpg", replace=False).discard()
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept_unless_it_may_be_replaced(tmp_path):
    """Also where it appeared meanwhile."""
    path = tmp_path / "still.jpg"
    new = NewFile(path, replace=False)
    path.write_bytes(b"other")
    with pytest.raises(LocalFileError):
        new.place()
    with pytest.raises(LocalFileError):
        NewFile(path, replace=False)
    assert path.read_bytes() == b"other"
    new = NewFile(path, replace=True)
    new.file.write(b"new")
    new.place()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_never_replaced(tmp_path):
    """And one that is missing is not made."""
    for place in (tmp_path, tmp_path / "no" / "still.jpg"):
        with pytest.raises(LocalFileError):
            NewFile(place, replace=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none")
def test_what_is_no_file_is_never_replaced(tmp_path):
    """A FIFO, or a device such as /dev/null."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(LocalFileError, match="no file"):
        NewFile(path, replace=True)
    assert path.is_fifo()


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/still.jpg"])
def test_a_name_that_is_too_long_is_refused_at_once(tmp_path, name):
    """And not once there is something to keep."""
    with pytest.raises(LocalFileError):
        NewFile(tmp_path / name, replace=False)
    assert list(tmp_path.iterdir()) == []
