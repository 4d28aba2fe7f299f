"""What a walk finds, in which order, and what it reports instead of sending."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import socket
from pathlib import Path

import pytest

from p2pxfer.errors import LocalFileError, UsageError
from p2pxfer.files.walk import ROOT_NAME, Found, Skipped, WalkOptions, walk
from p2pxfer.manifest import MAX_PATH, EntryKind
from tests.files.trees import without_privilege


def paths(items):
    """The paths that are sent."""
    return [item.entry.path for item in items if isinstance(item, Found)]


def skipped(items):
    """What is reported: path -> reason."""
    return {item.path: item.reason for item in items if isinstance(item, Skipped)}


@pytest.fixture
def top(tmp_path):
    """An empty folder called ``top``."""
    folder = tmp_path / "top"
    folder.mkdir()
    return folder


def test_folders_first_subtrees_whole_names_in_order(top):
    """Depth first, sorted by bytes, a folder before what is in it."""
    for name in ("b/z", "b/a/x", "a.txt", "c", "B"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    items = list(walk([top]))
    assert paths(items) == [
        b"top", b"top/B", b"top/a.txt", b"top/b", b"top/b/a", b"top/b/a/x", b"top/b/z", b"top/c",
    ]  # fmt: skip
    entry = items[2].entry
    found = (top / "a.txt").stat()
    assert (entry.kind, entry.size, entry.mode) == (EntryKind.FILE, 5, found.st_mode & 0o7777)
    assert entry.mtime_ns == found.st_mtime_ns
    assert Path(os.fsdecode(items[2].source)) == top / "a.txt"


def test_every_byte_that_linux_allows(top):
    """Names are bytes, and come out as they are."""
    names = sorted(bytes([byte]) + b"x" for byte in range(1, 256) if byte != ord("/"))
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(top), name))).touch()
    assert paths(walk([top]))[1:] == [b"top/" + name for name in names]


def test_special_files_are_reported(top):
    """A pipe, a socket and a device are no content; the rest goes on."""
    os.mkfifo(top / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(top)
        listener.bind("socket")
    (top / "z").touch()
    items = list(walk([top]))
    assert paths(items) == [b"top", b"top/z"]
    assert "pipe" in skipped(items)[b"top/pipe"]
    assert "socket" in skipped(items)[b"top/socket"]


def test_an_unreadable_folder_is_reported_and_arrives_empty(top):
    """Its name and mode cross; that its content does not is said."""
    (top / "closed").mkdir(mode=0)
    (top / "open").touch()
    with without_privilege():
        items = list(walk([top]))
    assert paths(items) == [b"top", b"top/closed", b"top/open"]
    assert "permission denied" in skipped(items)[b"top/closed"]


def test_symlinks_are_kept_by_default(top):
    """Whatever they lead to, and even if that is nothing."""
    (top / "dangling").symlink_to("nowhere")
    (top / "folder").symlink_to(".")
    entries = [item.entry for item in walk([top])][1:]
    assert [(e.kind, e.target, e.size) for e in entries] == [
        (EntryKind.SYMLINK, b"nowhere", 0),
        (EntryKind.SYMLINK, b".", 0),
    ]


def test_symlinks_skipped_are_reported(top):
    """``skip`` sends none of them, and says so."""
    (top / "link").symlink_to("x")
    items = list(walk([top], WalkOptions(symlinks="skip")))
    assert paths(items) == [b"top"]
    assert skipped(items) == {b"top/link": "a symlink"}


def test_followed_symlinks_end_at_a_cycle(top):
    """``follow`` sends what they lead to; a loop and a dead end are reported."""
    (top / "real" / "deep").mkdir(parents=True)
    (top / "real" / "deep" / "file").write_text("x")
    (top / "real" / "deep" / "up").symlink_to("../..")
    (top / "other").symlink_to("real/deep")
    (top / "dead").symlink_to("nowhere")
    items = list(walk([top], WalkOptions(symlinks="follow")))
    assert b"top/other/file" in paths(items)
    assert b"top/real/deep/file" in paths(items)
    reasons = skipped(items)
    assert "leads nowhere" in reasons[b"top/dead"]
    assert "leads back" in reasons[b"top/real/deep/up"]


def test_an_argument_that_is_a_symlink_is_followed(top, tmp_path):
    """``send latest.iso`` means the image, not a link that leads nowhere elsewhere."""
    (top / "v1.iso").write_text("image")
    (tmp_path / "latest.iso").symlink_to("top/v1.iso")
    (tmp_path / "folder").symlink_to("top")
    items = list(walk([tmp_path / "latest.iso", tmp_path / "folder"]))
    assert [(i.entry.path, i.entry.kind) for i in items] == [
        (b"latest.iso", EntryKind.FILE),
        (b"folder", EntryKind.DIRECTORY),
        (b"folder/v1.iso", EntryKind.FILE),
    ]


def test_dots_and_slashes_have_sensible_names(top, monkeypatch):
    """``.``, ``..``, a trailing slash and the root are called by what they are."""
    (top / "in").mkdir()
    monkeypatch.chdir(top / "in")
    given = (".", "..", "../in/", "../../top/.", "../in/..")
    assert [next(walk([path])).entry.path for path in given] == [
        b"in", b"top", b"in", b"top", b"top",
    ]  # fmt: skip
    assert next(walk(["/"])).entry.path == ROOT_NAME


def test_a_folder_named_like_an_option(top, monkeypatch):
    """``-rf`` is a name like any other."""
    monkeypatch.chdir(top)
    Path("-rf").mkdir()
    Path("-rf/x").touch()
    assert paths(walk(["-rf"])) == [b"-rf", b"-rf/x"]


def test_arguments_are_checked_at_once(top, tmp_path):
    """What can't be sent is said before a code is drawn."""
    (tmp_path / "other" / "top").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="same name"):
        walk([top, tmp_path / "other" / "top"])
    with pytest.raises(UsageError, match="pipe"):
        walk([tmp_path / "pipe"])
    with pytest.raises(UsageError):
        walk([""])
    with pytest.raises(UsageError):
        walk(["a\0b"])
    with pytest.raises(LocalFileError, match="does not exist"):
        walk([tmp_path / "missing"])
    with pytest.raises(LocalFileError):
        walk([top], WalkOptions(exclude_from=[tmp_path / "missing"]))
    with pytest.raises(UsageError, match="pattern"):
        walk([top], WalkOptions(exclude=["\\"]))


def test_excludes(top, tmp_path):
    """Patterns are relative to the folder sent, prune it, and know the arguments' names."""
    for name in ("keep.txt", "a.o", "build/x", "src/build/y", "src/keep.o", "src/b.o"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    (tmp_path / "single.o").touch()
    patterns = tmp_path / "patterns"
    patterns.write_bytes(b"# objects\r\n*.o\r\n\n")
    options = WalkOptions(exclude=["/build/", "!keep.o"], exclude_from=[patterns])
    assert paths(walk([top, tmp_path / "single.o"], options)) == [
        b"top", b"top/keep.txt", b"top/src", b"top/src/build", b"top/src/build/y",
        b"top/src/keep.o",
    ]  # fmt: skip
    assert paths(walk([top], WalkOptions(exclude=["top"]))) == []


def test_excludes_overrule_gitignore(top):
    """What the command line keeps is kept."""
    (top / ".gitignore").write_text("*.log\n")
    (top / "a.log").touch()
    (top / "b.log").touch()
    options = WalkOptions(exclude=["!a.log", ".gitignore"], gitignore=True)
    assert paths(walk([top], options)) == [b"top", b"top/a.log"]


def test_a_file_that_vanishes_during_the_walk_is_reported(top):
    """The walk has listed it, and goes on without it."""
    for name in "abc":
        (top / name).touch()
    items = walk([top])
    first = list(itertools.islice(items, 2))
    (top / "b").unlink()
    rest = list(items)
    assert paths(first + rest) == [b"top", b"top/a", b"top/c"]
    assert skipped(rest) == {b"top/b": "it is gone"}


def test_a_folder_swapped_for_a_symlink_is_not_entered(top, tmp_path):
    """Between listing and entering, somebody replaces a folder by a link to /etc."""
    (top / "a").mkdir()
    (top / "a" / "inner").touch()
    (top / "b").touch()
    items = walk([top], WalkOptions())
    seen = [next(items)]
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "shadow").touch()
    stat_of = os.stat

    def swap(path, **options):
        found = stat_of(path, **options)
        if path == b"a":
            shutil.rmtree(top / "a")
            (top / "a").symlink_to(secret)
        return found

    os.stat = swap
    try:
        seen += list(items)
    finally:
        os.stat = stat_of
    assert paths(seen) == [b"top", b"top/a", b"top/b"]
    assert b"top/a" in skipped(seen)


def test_depth_300_with_few_descriptors(top):
    """A path much longer than PATH_MAX, with 256 descriptors to a process."""
    name = "d" * 100
    fd = os.open(top, os.O_RDONLY)
    for _ in range(300):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(os.open("z", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        fd = below
    os.close(fd)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        items = list(walk([top]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(items) == 1 + 2 * 300
    assert skipped(items) == {}


def test_a_path_longer_than_an_entry_carries(top):
    """It is reported by its name, and what is beside it is sent."""
    name, path = "d" * 255, b"top"
    fd = os.open(top, os.O_RDONLY)
    while len(path) + 256 <= MAX_PATH:
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd, path = below, path + b"/" + name.encode()
    most = MAX_PATH - len(path) - 1
    for length in (most, most + 1):
        os.close(os.open("f" * length, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    items = list(walk([top]))
    assert skipped(items) == {path + b"/" + b"f" * (most + 1): "its path is too long"}
    assert paths(items)[-1] == path + b"/" + b"f" * most


def test_the_walk_is_lazy(top):
    """The first entry costs nothing of what comes after it."""
    (top / "a").mkdir()
    items = walk([top])
    assert next(items).entry.path == b"top"
    (top / "later").touch()
    assert paths(items) == [b"top/a", b"top/later"]
    items.close()
