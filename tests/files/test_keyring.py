"""What a sender remembers of sends that were not finished."""

from __future__ import annotations

import os
import time

import pytest

from p2pxfer.errors import LocalFileError
from p2pxfer.files.keyring import EXPIRY, MOST_SECRETS, Keyring, sources_digest
from tests.files.trees import without_privilege

NOW = time.time()
ONE, OTHER = b"1" * 32, b"2" * 32


def secret(number):
    """A session's secret."""
    return number.to_bytes(32, "big")


@pytest.fixture
def keyring(tmp_path):
    """An empty one."""
    return Keyring(tmp_path / "sending")


def test_secrets_come_back_by_what_was_sent(keyring):
    """Newest first, for these sources only."""
    keyring.remember(ONE, secret(1), NOW)
    keyring.remember(ONE, secret(2), NOW + 1)
    keyring.remember(OTHER, secret(3), NOW + 2)
    assert keyring.recall(ONE, NOW + 3) == [secret(2), secret(1)]
    keyring.forget(secret(2))
    assert keyring.recall(ONE, NOW + 3) == [secret(1)]
    assert len(keyring) == 2
    keyring.clear()
    assert keyring.recall(OTHER, NOW) == []


def test_they_expire(keyring, tmp_path):
    """After two weeks they are not recalled, and are removed as others are remembered."""
    keyring.remember(ONE, secret(1), NOW)
    (file,) = (tmp_path / "sending").iterdir()
    assert keyring.recall(ONE, NOW + EXPIRY - 1) == [secret(1)]
    assert keyring.recall(ONE, NOW + EXPIRY) == []
    os.utime(file, (NOW - EXPIRY - 60,) * 2)
    keyring.remember(ONE, secret(2), NOW)
    assert not file.exists()
    assert len(keyring) == 1


def test_they_are_few(keyring, tmp_path):
    """The oldest go."""
    for number in range(MOST_SECRETS + 10):
        before = set(os.listdir(tmp_path / "sending")) if number else set()
        keyring.remember(ONE, secret(number), NOW)
        for name in set(os.listdir(tmp_path / "sending")) - before:
            os.utime(tmp_path / "sending" / name, (NOW - 1000 + number,) * 2)
    found = keyring.recall(ONE, NOW)
    assert set(found) == {secret(number) for number in range(10, MOST_SECRETS + 10)}


def test_damage_costs_one_secret(keyring, tmp_path):
    """A cut, a flipped bit or another version is no secret, and no error."""
    for number in range(4):
        keyring.remember(ONE, secret(number), NOW + number)
    files = sorted((tmp_path / "sending").iterdir(), key=lambda path: path.read_bytes()[46:])
    for path, spoilt in zip(
        files,
        [b"", files[1].read_bytes()[:-1], files[2].read_bytes()[:-5] + b"12345"],
        strict=False,
    ):
        path.write_bytes(spoilt)
    assert len(keyring.recall(ONE, NOW + 5)) == 1


def test_what_was_sent_is_told_by_absolute_paths(tmp_path, monkeypatch):
    """However they are spelt and ordered; nothing runs together."""
    monkeypatch.chdir(tmp_path)
    assert sources_digest(["a", "b/"]) == sources_digest([tmp_path / "b", b"./x/../a"])
    assert sources_digest(["a", "b"]) != sources_digest(["a"])
    assert sources_digest(["a/b"]) != sources_digest(["a", "b"])
    assert len(sources_digest([b"\xff"])) == 32


def test_where_nothing_can_be_kept(tmp_path):
    """An error of the tree says so; wrong lengths are the caller's mistake."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with without_privilege(), pytest.raises(LocalFileError):
        Keyring(closed / "sending").remember(ONE, secret(1), NOW)
    with pytest.raises(ValueError, match="32"):
        Keyring(tmp_path / "sending").remember(ONE, b"short", NOW)
