"""Digests and roots, against the formulas written out by hand."""

from __future__ import annotations

from struct import pack

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.files.hashing import FileRoot, TransferRoot, block_digest, is_zero, zero_digest
from p2pxfer.manifest import MAX_BLOCK, Entry, EntryKind, Failure


def kdf(context, data):
    return blake3(data, derive_key_context=context).digest()


def test_a_block_digest_is_the_formula():
    """Any buffer type gives the digest of its bytes."""
    expected = kdf("p2pxfer 2026 block v1", b"abc")
    assert block_digest(b"abc") == expected
    assert block_digest(bytearray(b"abc")) == block_digest(memoryview(b"abc")) == expected


@pytest.mark.parametrize("length", [0, 1, 4096, MAX_BLOCK])
def test_zeros_have_their_digest_without_being_there(length):
    """The remembered digest is that of so many zeros."""
    assert zero_digest(length) == block_digest(bytes(length))


@pytest.mark.parametrize("length", [-1, MAX_BLOCK + 1])
def test_no_block_is_that_long(length):
    """Nothing is taken for an impossible length."""
    with pytest.raises(ValueError, match="no block"):
        zero_digest(length)


@given(st.integers(1, 3000), st.integers(0, 3000), st.integers(0, 255))
def test_zeros_are_told_from_anything_else(length, at, value):
    """One byte anywhere counts."""
    data = bytearray(length)
    data[at % length] = value
    assert is_zero(data) == is_zero(bytes(data)) == is_zero(memoryview(data)) == (value == 0)


def test_a_file_root_is_the_formula():
    """Digests in order, then the size; asking does not end it."""
    root = FileRoot()
    root.update(b"a" * 32)
    early = root.digest(5)
    root.update(b"b" * 32)
    assert early == kdf("p2pxfer 2026 file root v1", b"a" * 32 + pack(">Q", 5))
    assert root.digest(9) == kdf("p2pxfer 2026 file root v1", b"a" * 32 + b"b" * 32 + pack(">Q", 9))


def test_a_transfer_root_is_the_formula():
    """Each entry's record, then their count."""
    root = TransferRoot()
    root.add([(Entry(EntryKind.DIRECTORY, b"d", 0, 0o755, -5), None, b"")])
    root.add(
        [
            (Entry(EntryKind.FILE, b"d/f", 3, 0o644, 7), None, b"r" * 32),
            (Entry(EntryKind.SYMLINK, b"d/l", 0, 0o777, 8, b"f"), None, b""),
            (Entry(EntryKind.FILE, b"d/x", 3, 0o600, 9), Failure.VANISHED, b""),
        ]
    )
    records = [
        pack(">BBHqI", 2, 0, 0o755, -5, 1) + b"d" + pack(">I", 0),
        pack(">BBHqI", 1, 0, 0o644, 7, 3) + b"d/f" + pack(">I", 0) + b"r" * 32,
        pack(">BBHqI", 3, 0, 0o777, 8, 3) + b"d/l" + pack(">I", 1) + b"f",
        pack(">BBHqI", 1, 2, 0o600, 9, 3) + b"d/x" + pack(">I", 0),
    ]
    expected = kdf("p2pxfer 2026 transfer root v1", b"".join(records) + pack(">Q", 4))
    assert root.digest() == expected


def test_a_root_is_there_just_where_it_belongs():
    """A whole file has one; a failed file or another kind has none."""
    root = TransferRoot()
    file = Entry(EntryKind.FILE, b"f", 0, 0, 0)
    for entry, failure, given_root in [
        (file, None, b""),
        (file, Failure.CHANGED, b"r" * 32),
        (Entry(EntryKind.DIRECTORY, b"d", 0, 0, 0), None, b"r" * 32),
    ]:
        with pytest.raises(ValueError, match="file root"):
            root.add([(entry, failure, given_root)])
