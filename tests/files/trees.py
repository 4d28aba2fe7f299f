"""Trees on the disk, and what is needed to compare them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from pathlib import Path

from p2pxfer.files.reader import SourceTree
from p2pxfer.files.walk import Found, walk
from p2pxfer.files.writer import SmallFile
from p2pxfer.manifest import Entry, EntryKind


def snapshot(root):
    """Everything about a tree: path -> kind, mode, mtime in ns, content or target."""
    seen = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in folders + files:
            path = os.path.join(folder, name)
            found = os.lstat(path)
            content = None
            if stat.S_ISLNK(found.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(found.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            inner = os.path.relpath(path, os.fsencode(root))
            seen[inner] = (found.st_mode, found.st_mtime_ns, content)
    return seen


def carry(source, tree, options=None, batch=64):
    """Send `source` into `tree` as a session would, without anything in between."""
    failed = {}
    reader = SourceTree(follow=bool(options and options.symlinks == "follow"))
    waiting = []

    def flush():
        contents = reader.read_small([(found.source, found.entry) for found, _ in waiting])
        assert [c.failure for c in contents] == [None] * len(contents)
        small = [
            SmallFile(admission, content.data, content.mode, content.mtime_ns)
            for (_, admission), content in zip(waiting, contents, strict=True)
        ]
        for item, error in zip(
            small, tree.name_small(tree.sync_small(tree.write_small(small))), strict=True
        ):
            if error is not None:
                failed[item.admission.entry.path] = error.failure
        waiting.clear()

    for found in walk([source], options):
        if not isinstance(found, Found):
            continue
        admission = tree.admit(found.entry)
        if admission.failure is not None:
            failed[found.entry.path] = admission.failure
        elif found.entry.kind is EntryKind.SYMLINK:
            tree.make_symlink(admission)
        elif found.entry.kind is EntryKind.FILE:
            waiting.append((found, admission))
            if len(waiting) >= batch:
                flush()
    flush()
    tree.finish()
    reader.close()
    return failed


def put(tree, path, data=b"x", mode=0o644, mtime_ns=1_000_000_000):
    """Admit and write one file; returns (failure, name)."""
    admission = tree.admit(Entry(EntryKind.FILE, path, len(data), mode, mtime_ns))
    if admission.failure is not None:
        return admission.failure, admission.name
    (error,) = tree.name_small(
        tree.sync_small(tree.write_small([SmallFile(admission, data, mode, mtime_ns)]))
    )
    return error and error.failure, admission.name


def folder_entry(path, mode=0o755, mtime_ns=5_000_000_000):
    """A directory's entry."""
    return Entry(EntryKind.DIRECTORY, path, 0, mode, mtime_ns)


def link_entry(path, target):
    """A symlink's entry."""
    return Entry(EntryKind.SYMLINK, path, 0, 0o777, 2_000_000_000, target)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextlib.contextmanager
def without_privilege():
    """Root may read and write anything; for a while, this thread may not (capabilities(7))."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(0x20080522, 0), (_Sets * 2)()
    assert libc.capget(ctypes.byref(header), sets) == 0
    before = sets[0].effective
    sets[0].effective = before & ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        sets[0].effective = before
        assert libc.capset(ctypes.byref(header), sets) == 0
