"""Whatever tree there is here is there as well, afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pxfer.files.writer import OutputTree
from tests.files.trees import carry, snapshot

names = st.binary(min_size=1, max_size=10).filter(
    lambda name: name not in (b".", b"..") and b"/" not in name and b"\0" not in name
)
modes = st.integers(0, 0o777)
times = st.integers(-(10**9), 4 * 10**9).map(lambda seconds: seconds * 10**9 + 123_456_789)
files = st.tuples(st.just("file"), st.binary(max_size=50), modes, times)
links = st.tuples(st.just("link"), names, st.none(), times)
trees = st.recursive(
    st.dictionaries(names, files | links, max_size=4),
    lambda inner: st.dictionaries(
        names, files | links | st.tuples(st.just("folder"), inner, modes, times), max_size=4
    ),
    max_leaves=20,
)


def make(folder, tree):
    """Lay `tree` out on the disk."""
    for name, (kind, content, mode, mtime_ns) in tree.items():
        path = os.path.join(folder, name)
        if kind == "file":
            Path(os.fsdecode(path)).write_bytes(content)
        elif kind == "link":
            os.symlink(content, path)
        else:
            os.mkdir(path)
            make(path, content)
        if mode is not None:
            os.chmod(path, mode | (0o700 if kind == "folder" else 0o400))
        os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)


@settings(max_examples=60, deadline=None)
@given(trees, st.integers(1, 10))
def test_any_tree_arrives_as_it_is(tree, batch):
    """Names, kinds, modes, mtimes, contents and targets, whatever the batches."""
    base = Path(tempfile.mkdtemp())
    try:
        (base / "top").mkdir()
        make(os.fsencode(base / "top"), tree)
        with OutputTree(base / "out") as out:
            assert carry(base / "top", out, batch=batch) == {}
        assert snapshot(base / "out" / "top") == snapshot(base / "top")
        assert (base / "out" / "top").stat().st_mtime_ns == (base / "top").stat().st_mtime_ns
    finally:
        shutil.rmtree(base)


def test_ten_thousand_files_in_one_folder(tmp_path):
    """Nothing is lost between batches."""
    (tmp_path / "top").mkdir()
    for number in range(10_000):
        (tmp_path / "top" / f"{number}").write_bytes(b"%d" % number)
    with OutputTree(tmp_path / "out") as out:
        assert carry(tmp_path / "top", out, batch=512) == {}
    assert snapshot(tmp_path / "out") | {} == {
        os.path.join(b"top", path): value for path, value in snapshot(tmp_path / "top").items()
    } | {b"top": snapshot(tmp_path / "out")[b"top"]}
