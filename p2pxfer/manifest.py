"""What a transfer is made of: entries, block sizes, outcomes. Pure values, no disk, no wire.

Names are bytes, as POSIX has them; whether one may reach a disk is decided in ``files/paths.py``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

DIGEST_SIZE = 32  # bytes of a BLAKE3 digest (BLAKE3 specification, section 2.3)
MIN_BLOCK = 256 * 1024
MAX_BLOCK = 4 * 1024 * 1024
BLOCKS_WANTED = 2048  # below 2,000-odd blocks a file the block list stays small (rsync, syncthing)
UNKNOWN_SIZE = -1  # of a stream, until its end
MAX_PATH = 57_344  # bytes; 200 components of 255 fit, where PATH_MAX binds one call, not a tree
LAST_DATE = 2**63 - 1  # in ns: of the year 2262; the first one is as far before 1970


class TransferKind(IntEnum):
    """What the sender offers."""

    FILES = 1
    STREAM = 2
    TEXT = 3


class EntryKind(IntEnum):
    """What an entry becomes on the receiver's disk."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3


class Failure(IntEnum):
    """Why an entry did not arrive. Below 32 the sender says so, from 32 on the receiver."""

    CHANGED = 1  # changed while it was being read
    VANISHED = 2
    UNREADABLE = 3
    UNSAFE_NAME = 32
    EXISTS = 33  # and the receiver keeps what it has
    COLLISION = 34  # two names that the target filesystem holds as one
    UNSAFE_TARGET = 35  # a symlink that is absolute or leaves the tree
    NO_SPACE = 36
    WRITE_FAILED = 37
    TOO_LARGE = 38  # over --max-size
    PARENT_FAILED = 39


class Entry(NamedTuple):
    """One file, directory or symlink of the tree that is sent.

    Attributes:
        kind: what it is.
        path: relative, components joined by ``/``, bytes as the sender's filesystem has them.
        size: bytes of a file's content when it was walked, `UNKNOWN_SIZE` for a stream, else 0.
        mode: permission bits, 0 to 0o7777.
        mtime_ns: modification time, nanoseconds since the epoch; may be negative. See `carried`.
        target: a symlink's target, else empty.
    """

    kind: EntryKind
    path: bytes
    size: int
    mode: int
    mtime_ns: int
    target: bytes = b""


def carried(mtime_ns: int) -> int:
    """The nearest date that an entry carries; filesystems hold some before 1677 or after 2262."""
    if -LAST_DATE <= mtime_ns <= LAST_DATE:
        return mtime_ns
    return LAST_DATE if mtime_ns > 0 else -LAST_DATE


def block_size(size: int) -> int:
    """Bytes in a block of a file of ``size`` bytes: a power of two from 256 KiB to 4 MiB.

    A fixed function of the size, so that both sides of a resumed transfer cut alike. A stream
    (`UNKNOWN_SIZE`) is cut at 1 MiB.
    """
    if size == UNKNOWN_SIZE:
        return 1024 * 1024
    block = MIN_BLOCK
    while block < MAX_BLOCK and block * BLOCKS_WANTED < size:
        block *= 2
    return block


def block_count(size: int) -> int:
    """How many blocks a file of ``size`` bytes has; none when it is empty."""
    return -(-size // block_size(size))
