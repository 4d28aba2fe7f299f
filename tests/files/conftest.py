"""A tree to write into."""

from __future__ import annotations

import pytest

from p2pxfer.files.writer import OutputTree


@pytest.fixture
def root(tmp_path):
    """The output directory, which does not exist yet."""
    return tmp_path / "out"


@pytest.fixture
def out(root):
    """A tree that writes into `root` and keeps what is there."""
    with OutputTree(root) as tree:
        yield tree
