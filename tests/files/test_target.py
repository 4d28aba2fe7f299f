"""``--output FILE``: a regular file, a device, a pipe, a symlink."""

from __future__ import annotations

import os
import threading

import pytest

from p2pxfer.errors import LocalFileError
from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.files.target import OutputFile
from p2pxfer.manifest import UNKNOWN_SIZE


def test_a_new_file(tmp_path):
    """There when it is whole, not before."""
    path = tmp_path / "new"
    with OutputFile(path) as target:
        assert not target.question
        writing = target.open(UNKNOWN_SIZE)
        writing.write_at(0, [b"content"])
        assert not path.exists()
        assert writing.commit(0o644, 5) == b"new"
        target.finish()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (b"content", 5)
    assert os.listdir(tmp_path) == ["new"]


def test_what_is_unfinished_goes(tmp_path):
    """An interruption leaves the folder as it was."""
    with OutputFile(tmp_path / "new") as target:
        target.open(10).write_at(0, [b"x"])
    assert os.listdir(tmp_path) == []


def test_an_existing_file_is_kept_or_replaced_as_told(tmp_path):
    """By policy, or by answer."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(LocalFileError, match="already there"):
        OutputFile(path)
    with OutputFile(path, existing=ExistingPolicy.ASK) as target:
        assert target.question
        with pytest.raises(LocalFileError):
            target.answer(ExistingPolicy.SKIP)
    with OutputFile(path, existing=ExistingPolicy.ASK) as target:
        target.answer(ExistingPolicy.RENAME)
        assert target.open(0).commit(0o644, 5) == b"file (1)"
    with OutputFile(path, existing=ExistingPolicy.OVERWRITE) as target:
        target.open(0).commit(0o644, 5)
    assert path.read_bytes() == b""


def test_the_users_own_symlink_is_followed(tmp_path):
    """The file it leads to is replaced; the link stays."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/file")
    with OutputFile(tmp_path / "link") as target:
        target.open(0).commit(0o644, 5)
    assert (tmp_path / "link").is_symlink()
    assert os.listdir(tmp_path / "real") == ["file"]


def test_a_pipe_is_written_through(tmp_path):
    """In order, holes as zeros; the pipe stays a pipe."""
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with OutputFile(tmp_path / "pipe") as target:
        writing = target.open(UNKNOWN_SIZE)
        writing.write_at(0, [b"ab", b"c"])
        writing.hole(3, 70_000)
        with pytest.raises(ValueError, match="after"):
            writing.write_at(5, [b"x"])
        writing.commit(0o644, 5)
        target.finish()
    reader.join()
    assert read == [b"abc" + bytes(70_000)]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("path", [".", "missing/file"])
def test_no_place_for_a_file(tmp_path, path):
    """A folder, or a file in a folder that is not there."""
    with pytest.raises(LocalFileError):
        OutputFile(tmp_path / path)
