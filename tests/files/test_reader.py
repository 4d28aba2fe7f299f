"""Reading files that change, vanish, have holes, or are not what they were."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from pathlib import Path

import pytest

from p2pxfer.files import reader
from p2pxfer.files.failures import EntryError
from p2pxfer.files.reader import SourceTree
from p2pxfer.files.walk import Found, walk
from p2pxfer.manifest import LAST_DATE, EntryKind, Failure
from tests.files.trees import without_privilege


@pytest.fixture
def top(tmp_path):
    """A folder with a file in a folder."""
    (tmp_path / "top" / "in").mkdir(parents=True)
    (tmp_path / "top" / "in" / "file").write_bytes(b"0123456789" * 100)
    return tmp_path / "top"


@pytest.fixture
def sources():
    """What opens files."""
    with SourceTree() as tree:
        yield tree


def file_of(top):
    """The one file as the walk finds it: where, and what."""
    files = [f for f in walk([top]) if isinstance(f, Found) and f.entry.kind is EntryKind.FILE]
    return files[0].source, files[0].entry


def failure_of(sources, top_file):
    """Why it can't be opened; both ways of reading agree."""
    with pytest.raises(EntryError) as caught:
        sources.open(*top_file)
    (content,) = sources.read_small([top_file])
    assert content.failure == caught.value.failure
    return caught.value.failure


def test_a_file_is_read_anywhere(top, sources):
    """Size, mode and mtime as they are, and any range of bytes."""
    file = sources.open(*file_of(top))
    found = (top / "in" / "file").stat()
    assert (file.size, file.mode, file.mtime_ns) == (
        1000,
        found.st_mode & 0o7777,
        found.st_mtime_ns,
    )
    assert file.read_at(15, 10) == b"5678901234"
    assert file.read_at(1000, 0) == b""
    assert file.changed() is None
    file.close()
    file.close()


def test_a_file_that_grows_is_noticed(top, sources):
    """More at its end means that what was sent is no state it ever had."""
    file = sources.open(*file_of(top))
    with (top / "in" / "file").open("ab") as growing:
        growing.write(b"more")
    assert file.changed() is Failure.CHANGED
    file.close()


def test_a_truncated_file_is_noticed(top, sources):
    """Bytes that are gone are an error at once, not zeros."""
    file = sources.open(*file_of(top))
    os.truncate(top / "in" / "file", 10)
    with pytest.raises(EntryError) as caught:
        file.read_at(0, 1000)
    assert caught.value.failure is Failure.CHANGED
    assert file.changed() is Failure.CHANGED
    file.close()


def test_a_file_changed_in_place_is_noticed(top, sources):
    """The same size, but written to."""
    path = top / "in" / "file"
    file = sources.open(*file_of(top))
    path.write_bytes(b"x" * 1000)
    os.utime(path, ns=(1, 1))
    assert file.changed() is Failure.CHANGED
    file.close()


@pytest.mark.parametrize("listed", [True, False], ids=["before it was listed", "after"])
def test_a_date_that_no_entry_carries(top, sources, listed):
    """It is told as the nearest that one does, in all ways of reading; a later one is a change."""
    path, far = top / "in" / "file", 10_413_792_000  # the year 2300
    os.utime(path, (far, far) if listed else None)
    found = file_of(top)
    os.utime(path, (far, far))
    with contextlib.closing(sources.open(*found)) as file:
        assert file.mtime_ns == LAST_DATE == (found[1].mtime_ns if listed else LAST_DATE)
        assert file.changed() is None
        for _ in range(2):  # as it is, and once nothing about it has changed of late as listed
            (content,) = sources.read_small([found])
            assert (content.mtime_ns, content.data) == (LAST_DATE, b"0123456789" * 100)
            time.sleep(0.05)
        os.utime(path, (far + 1, far + 1))
        assert file.changed() is Failure.CHANGED


def test_a_deleted_file_is_noticed(top, sources):
    """While it is read, or before."""
    found = file_of(top)
    file = sources.open(*found)
    (top / "in" / "file").unlink()
    assert file.read_at(0, 1000) == b"0123456789" * 100
    assert file.changed() is Failure.VANISHED
    file.close()
    assert failure_of(sources, found) is Failure.VANISHED


def test_an_unreadable_file_is_told_from_a_missing_one(top, sources):
    """Permission is the reason, and the other files go on."""
    (top / "in" / "file").chmod(0)
    found = file_of(top)
    with without_privilege():
        assert failure_of(sources, found) is Failure.UNREADABLE


def test_a_pipe_in_a_files_place_does_not_block(top, sources):
    """Swapped after the walk: refused at once."""
    found = file_of(top)
    (top / "in" / "file").unlink()
    os.mkfifo(top / "in" / "file")
    assert failure_of(sources, found) is Failure.CHANGED


def test_a_symlink_in_a_files_place_leads_nowhere(top, sources, tmp_path):
    """Somebody who may write to the tree can't make root send /etc/shadow."""
    found = file_of(top)
    (tmp_path / "secret").write_text("secret")
    (top / "in" / "file").unlink()
    (top / "in" / "file").symlink_to(tmp_path / "secret")
    assert failure_of(sources, found) is Failure.CHANGED


def test_a_symlink_in_a_folders_place_leads_nowhere(top, sources, tmp_path):
    """Nor by swapping a folder above it."""
    found = file_of(top)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("secret")
    (top / "in").rename(tmp_path / "away")
    (top / "in").symlink_to(tmp_path / "elsewhere")
    assert failure_of(sources, found) is Failure.CHANGED


def test_holes_are_found_without_reading(tmp_path, sources):
    """A 5 GB file with one block of data is nearly all hole."""
    path = tmp_path / "sparse"
    block = 4 * 1024 * 1024
    with path.open("wb") as sparse:
        sparse.truncate(1200 * block)
        sparse.seek(700 * block)
        sparse.write(b"data")
    source, entry = file_of(path)
    file = sources.open(source, entry)
    stored = [n for n in range(1200) if not file.is_hole(n * block, block)]
    assert stored == [700]
    assert file.read_at(700 * block, 4) == b"data"
    file.close()


def test_a_small_file_that_has_grown_is_left_to_be_opened(top, sources):
    """No failure, but no content either."""
    (content,) = sources.read_small([file_of(top)], limit=999)
    assert (content.data, content.failure, content.size) == (None, None, 1000)


def test_a_small_file_that_is_another_than_was_listed_is_read_as_it_is(top, sources):
    """It need not be what the walk found, as long as it does not change while it is read."""
    found, path = file_of(top), top / "in" / "file"
    for content in (b"x" * 1000, b"y" * 999):
        path.write_bytes(content)
        path.chmod(0o600)
        os.utime(path, ns=(1, 1))
        (read,) = sources.read_small([found])
        assert (read.data, read.mode, read.mtime_ns) == (content, 0o600, 1)


@pytest.mark.parametrize("way", ["", "dated back", "by a clock that is behind"])
def test_a_small_file_that_changes_while_it_is_read_fails(top, sources, monkeypatch, way):
    """Also one that stays as long and, as its owner can say, as old as it was."""
    found, path, pread, now = file_of(top), top / "in" / "file", reader.pread, time.time_ns
    time.sleep(2 * reader.TICK / 1e9)  # else it is looked at twice in any case
    if way.startswith("by"):
        monkeypatch.setattr(time, "time_ns", lambda: now() + 10**12)
    changes = iter(range(1 if way.startswith("dated") else 2))

    def changing(fd: int, length: int, offset: int) -> bytes:
        data = pread(fd, length, offset)
        if next(changes, None) is not None:
            path.write_bytes(os.urandom(len(data)))
            if way.startswith("dated"):
                os.utime(path, ns=(found[1].mtime_ns,) * 2)
        return data

    monkeypatch.setattr(reader, "pread", changing)
    (content,) = sources.read_small([found])
    if way.startswith("dated"):  # as it is the second time, which nobody interferes with
        assert content.data == path.read_bytes()
    else:
        assert (content.failure, content.data) == (Failure.CHANGED, None)


def test_many_folders_deep_and_wide_with_few_descriptors(tmp_path, sources):
    """Depth 300, wide folders, and two arguments, with 256 descriptors to a process."""
    fd = os.open(tmp_path, os.O_RDONLY)
    for depth in range(300):
        name = f"{depth:0100}" if depth else "deep"
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        leaf = os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
        os.write(leaf, b"%d" % depth)
        os.close(leaf)
    os.close(fd)
    for number in range(300):
        (tmp_path / "wide" / str(number)).mkdir(parents=True)
        (tmp_path / "wide" / str(number) / "leaf").write_bytes(b"w")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        found = [
            (item.source, item.entry)
            for item in walk([tmp_path / "deep", tmp_path / "wide"])
            if isinstance(item, Found) and item.entry.kind is EntryKind.FILE
        ]
        contents = sources.read_small(found)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    deep = {content.data for content in contents[:300]}
    assert deep == {b"%d" % depth for depth in range(300)}
    assert {content.data for content in contents[300:]} == {b"w"}
    assert len(contents) == 600


def test_small_files_with_hardly_a_descriptor_left(tmp_path, sources):
    """Those that fail are the ones that are gone or no files, whatever else was still open."""
    (tmp_path / "in").mkdir()
    for number in range(80):
        (tmp_path / "in" / f"{number:02}").write_bytes(b"%d" % number)
    found = [
        (item.source, item.entry)
        for item in walk([tmp_path / "in"])
        if isinstance(item, Found) and item.entry.kind is EntryKind.FILE
    ]
    for gone in ("20", "33", "34"):
        (tmp_path / "in" / gone).unlink()
    os.mkfifo(tmp_path / "in" / "33")
    before = set(os.listdir("/dev/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)  # below it, every number is taken
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 6, hard))
    try:
        contents = sources.read_small(found)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    sources.close()
    assert set(os.listdir("/dev/fd")) == before
    failed = {number: content.failure for number, content in enumerate(contents) if content.failure}
    assert failed == {20: Failure.VANISHED, 33: Failure.CHANGED, 34: Failure.VANISHED}
    read = {number for number, content in enumerate(contents) if content.data == b"%d" % number}
    assert read == set(range(80)) - failed.keys()


@pytest.mark.usefixtures("top")
def test_an_argument_may_be_a_symlink(sources, tmp_path):
    """It was named, so it is followed, and so is what is below it."""
    (tmp_path / "link").symlink_to("top/in/file")
    (tmp_path / "folder").symlink_to("top")
    for argument in ("link", "folder"):
        (content,) = sources.read_small([file_of(Path(tmp_path / argument))])
        assert content.data == b"0123456789" * 100
