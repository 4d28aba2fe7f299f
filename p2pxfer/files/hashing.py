"""Digests of blocks, files and transfers. Bytes in, 32 bytes out; no files, no frames.

All are BLAKE3 (the BLAKE3 paper, section 2), told apart by its key derivation mode: with ``KDF(c)``
the hash in that mode under context string ``c``, ``u8`` to ``u64`` big-endian unsigned integers,
``i64`` a big-endian two's complement one, and ``||`` concatenation:

    block digest  = KDF("p2pxfer 2026 block v1")(content of the block)
    file root     = KDF("p2pxfer 2026 file root v1")(
                        block digest 0 || … || block digest n-1 || u64 size in bytes)
    transfer root = KDF("p2pxfer 2026 transfer root v1")(
                        record of entry 0 || … || record of entry n-1 || u64 n)
    record        = u8 kind || u8 failure, 0 for none || u16 mode || i64 mtime in ns
                        || u32 length of path || path || u32 length of target || target
                        || file root, 32 bytes, of a file that did not fail; nothing otherwise

Every field has a fixed width or its length before it, and each total ends in its count, so no two
different inputs give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct

from blake3 import blake3

from p2pxfer.manifest import DIGEST_SIZE, MAX_BLOCK, Entry, EntryKind, Failure

BLOCK_CONTEXT = "p2pxfer 2026 block v1"
FILE_CONTEXT = "p2pxfer 2026 file root v1"
TRANSFER_CONTEXT = "p2pxfer 2026 transfer root v1"

_ZEROS = bytes(MAX_BLOCK)
_RECORD = Struct(">BBHqI")
_LENGTH = Struct(">I")
_COUNT = Struct(">Q")
_FILE = EntryKind.FILE

# Setting up a context costs as much as hashing 1 KiB; a copy of a fresh hasher costs little.
_block = blake3(derive_key_context=BLOCK_CONTEXT)
_file = blake3(derive_key_context=FILE_CONTEXT)


def block_digest(*parts: bytes | bytearray | memoryview) -> bytes:
    """The digest of one block, 32 bytes, given whole or in parts; its formula is in the head."""
    hasher = _block.copy()
    for part in parts:
        hasher.update(part)
    digest: bytes = hasher.digest()
    return digest


@lru_cache(maxsize=64)
def zero_digest(length: int) -> bytes:
    """The digest of a block of ``length`` zeros, at most `MAX_BLOCK`; remembered by length.

    Raises:
        ValueError: longer than a block can be.
    """
    if not 0 <= length <= MAX_BLOCK:
        raise ValueError(f"no block has {length} bytes")
    return block_digest(memoryview(_ZEROS)[:length])


def is_zero(data: bytes | bytearray | memoryview) -> bool:
    """Whether a block of at most `MAX_BLOCK` bytes is all zeros: one memcmp, early out."""
    return _ZEROS.startswith(data)


class FileRoot:
    """Takes a file's block digests in order and ends in its root."""

    __slots__ = ("_hasher",)

    def __init__(self) -> None:
        self._hasher = _file.copy()

    def update(self, digest: bytes) -> None:
        """Add the next block's digest."""
        self._hasher.update(digest)

    def digest(self, size: int) -> bytes:
        """The root of a file of ``size`` bytes whose blocks were all added."""
        hasher = self._hasher.copy()
        hasher.update(_COUNT.pack(size))
        root: bytes = hasher.digest()
        return root


def file_root(digests: Iterable[bytes], size: int) -> bytes:
    """The root of a file of ``size`` bytes with these blocks."""
    hasher = _file.copy()
    hasher.update(b"".join((*digests, _COUNT.pack(size))))
    root: bytes = hasher.digest()
    return root


class WholeRoots:
    """Roots of many small files, each of one block at most. For one thread at a time.

    Hashers that begin anew stand for copies, of which each takes as long as 2 KiB of content.
    """

    __slots__ = ("_block", "_file")

    def __init__(self) -> None:
        self._block = _block.copy()
        self._file = _file.copy()

    def of(self, data: bytes | bytearray | memoryview) -> bytes:
        """The root of a file that is all of ``data``."""
        size = len(data)
        digest = b""
        if size:
            block = self._block
            block.update(data)
            digest = block.digest()
            block.reset()
        file = self._file
        file.update(digest + _COUNT.pack(size))
        root: bytes = file.digest()
        file.reset()
        return root


class TransferRoot:
    """Takes every entry of a transfer in order, with its outcome, and ends in one root."""

    __slots__ = ("_count", "_hasher")

    def __init__(self) -> None:
        self._hasher = blake3(derive_key_context=TRANSFER_CONTEXT)
        self._count = 0

    def add(self, ended: Iterable[tuple[Entry, Failure | None, bytes]]) -> None:
        """Add the next entries.

        Args:
            ended: each as the manifest carries it; why the sender could not send it whole, or None;
                a file's `FileRoot`, 32 bytes, empty for other kinds and failed files.

        Raises:
            ValueError: a root where none belongs, or none where one does.
        """
        parts: list[bytes] = []
        for (kind, path, _, mode, mtime_ns, target), failure, file_root in ended:
            wanted = DIGEST_SIZE if kind is _FILE and failure is None else 0
            if len(file_root) != wanted:
                raise ValueError(f"a file root of {len(file_root)} bytes where {wanted} belong")
            head = _RECORD.pack(kind, failure or 0, mode, mtime_ns, len(path))
            parts += (head, path, _LENGTH.pack(len(target)), target, file_root)
            self._count += 1
        self._hasher.update(b"".join(parts))

    def digest(self) -> bytes:
        """The root over all that was added so far."""
        hasher = self._hasher.copy()
        hasher.update(_COUNT.pack(self._count))
        root: bytes = hasher.digest()
        return root
