"""What is told to be safely on the disk is there, whatever kind of filesystem that is."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pxfer.errors import LocalFileError
from p2pxfer.files.durable import syncs_whole
from p2pxfer.files.writer import OutputTree, SmallFile
from p2pxfer.manifest import Entry, EntryKind, Failure
from tests import namespaces
from tests.files.trees import folder_entry

SIZE, FILES = 20_000, 9
SERVER = str(Path(__file__).with_name("fuse.py"))


@pytest.fixture
def served(tmp_path):
    """A filesystem whose server is told what the kernel wants of it: where, and who serves it."""
    namespaces.require()
    words = ("unshare", "--mount", sys.executable, SERVER, str(tmp_path))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield Path(f"/proc/{process.pid}/root{tmp_path}"), process
        finally:
            process.kill()


def small_files(tree: OutputTree, folder: bytes, count: int = FILES) -> list[SmallFile]:
    entries = [
        Entry(EntryKind.FILE, folder + b"%d" % number, SIZE, 0o644, 1) for number in range(count)
    ]
    return [SmallFile(tree.admit(entry), b"x" * SIZE, 0o644, 1) for entry in entries]


def test_where_a_filesystem_can_not_be_synced_each_file_and_folder_is(served):
    """The server of a FUSE mount is never told of syncfs, which says that all went well."""
    place, process = served
    with OutputTree(place / "made" / "out") as tree:
        assert tree.admit(folder_entry(b"d")).failure is None
        for some in (small_files(tree, b"d/a"), small_files(tree, b"d/b", 2)):
            assert set(tree.name_small(tree.sync_small(tree.write_small(some)))) == {None}
        tree.finish()
    process.kill()
    told = [line.split() for line in process.stdout]
    named = [words for words in told if words[0] == "RENAME"]
    assert sorted(name for _, _, name, _ in named) == sorted(
        [*(f"a{number}" for number in range(FILES)), "b0", "b1"]
    )
    for words in named:
        assert words[3] == str(SIZE)
        assert ["FSYNC", words[1]] in told[: told.index(words)]
    assert ["FSYNCDIR", "/"] in told[: told.index(named[0])]  # which has "made"
    after = told[told.index(named[-1]) :]
    assert [words[1] for words in after if words[0] == "FSYNCDIR"] == ["d", "out"]


def test_a_file_that_can_not_be_synced_gets_no_name(served, monkeypatch):
    """And others of its batch do."""
    place, _ = served
    real, synced = os.fsync, []

    def sync(fd: int) -> None:
        synced.append(fd)
        if len(synced) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    with OutputTree(place) as tree:
        some = small_files(tree, b"")
        monkeypatch.setattr(os, "fsync", sync)
        outcomes = tree.name_small(tree.sync_small(tree.write_small(some)))
        monkeypatch.undo()
        tree.finish()
    failures = [error and error.failure for error in outcomes]
    assert failures == [None, Failure.WRITE_FAILED, *[None] * (FILES - 2)]
    assert not (place / "1").exists()


def test_a_folder_that_can_not_be_synced_costs_the_receipt(served, monkeypatch):
    """Names in it may be lost."""
    place, _ = served

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with OutputTree(place) as tree:
        tree.admit(folder_entry(b"d"))
        some = small_files(tree, b"d/")
        assert set(tree.name_small(tree.sync_small(tree.write_small(some)))) == {None}
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", fail)
            tree.admit(folder_entry(b"e"))  # d is done
        with pytest.raises(LocalFileError, match="the disk failed"):
            tree.finish()


def test_which_filesystems_are_synced_as_one(monkeypatch):
    """Those that are known to do it; on a Linux that tells of what it lost."""

    def whole(path: str) -> bool:
        fd = os.open(path, os.O_RDONLY)
        try:
            return syncs_whole(fd)
        finally:
            os.close(fd)

    assert whole("/dev/shm")  # tmpfs
    assert not whole("/proc")
    for release, tells in (("5.8.0-63-generic", True), ("5.4.0", False), ("4.18.0-553.el8", False)):
        system = os.uname_result(("Linux", "here", release, "#1", "x86_64"))
        monkeypatch.setattr(os, "uname", lambda system=system: system)
        assert whole("/dev/shm") == tells


@pytest.mark.parametrize("refused", [None, errno.ENOTSUP, errno.EIO])
def test_the_drive_writes_what_it_keeps_in_memory(tmp_path, monkeypatch, refused):
    """On macOS only F_FULLFSYNC has it do so; a filesystem that lacks it was synced anyway."""
    asked = []

    def control(_fd: int, command: int) -> int:
        asked.append(command)
        if refused is not None:
            raise OSError(refused, os.strerror(refused))
        return 0

    with OutputTree(tmp_path) as tree:
        monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
        monkeypatch.setattr(fcntl, "fcntl", control)
        if refused == errno.EIO:
            with pytest.raises(LocalFileError, match="the disk failed"):
                tree.finish()
        else:
            tree.finish()
    assert asked == [51]
