"""A tree to write into."""

from __future__ import annotations

import resource

import pytest

from p2pxfer.files import folders
from p2pxfer.files.writer import OutputTree


@pytest.fixture
def root(tmp_path):
    """The output directory, which does not exist yet."""
    return tmp_path / "out"


@pytest.fixture
def few_handles():
    """A low limit, as some systems have: too few for files without a name."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def synced_whole(monkeypatch):
    """Files are synced with their filesystem, of whatever kind that is here."""
    monkeypatch.setattr(folders, "syncs_whole", lambda _: True)


@pytest.fixture
def out(root):
    """A tree that writes into `root` and keeps what is there."""
    with OutputTree(root) as tree:
        yield tree
