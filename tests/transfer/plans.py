"""What a bounced transfer is made of: entries, their content, and what goes wrong."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from p2pxfer.manifest import Entry, EntryKind, Failure, TransferKind, block_size
from p2pxfer.transfer import actions as a
from p2pxfer.transfer import messages as m

KEY = bytes(range(32))
OFFER = m.Offer(b"i" * 16, TransferKind.FILES, b"label")
MTIME = 1_700_000_000_123_456_789


def file(name: bytes, size: int) -> Entry:
    return Entry(EntryKind.FILE, name, size, 0o644, MTIME)


def folder(name: bytes) -> Entry:
    return Entry(EntryKind.DIRECTORY, name, 0, 0o755, MTIME)


def link(name: bytes, target: bytes = b"t") -> Entry:
    return Entry(EntryKind.SYMLINK, name, 0, 0o777, MTIME, target)


STREAM = block_size(-1) * 2 + 5


def content(zero: bool, length: int) -> bytes:
    return bytes(length) if zero else b"x" * length


def content_digest(payload: bytes | memoryview) -> bytes:
    return hashlib.sha256(payload).digest()


class Root:
    """Stands for the transfer root: a digest over what was settled, in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.outcomes: list[tuple[int, Failure | None]] = []
        self.keep = True

    def take(self, settled: a.Settled) -> None:
        for outcome in settled.outcomes:
            if self.keep:
                self.outcomes.append((outcome.number, outcome.failure))
            told = (outcome.number, outcome.entry, outcome.failure, outcome.size, outcome.root)
            self._hash.update(repr(told).encode())

    def digest(self) -> bytes:
        return self._hash.digest()


@dataclass
class Plan:
    """What goes wrong, by entry number; an absent number goes right."""

    entries: list[Entry]
    skip: dict[int, Failure] = field(default_factory=dict)
    unopened: dict[int, Failure] = field(default_factory=dict)
    torn: dict[int, Failure] = field(default_factory=dict)  # fails at the sender, mid-way
    refused: dict[int, Failure] = field(default_factory=dict)  # fails at the receiver, mid-way
    uncommitted: dict[int, Failure] = field(default_factory=dict)
    zeros: frozenset[int] = frozenset()  # files that are holes from end to end
    held: dict[int, dict[int, bool]] = field(default_factory=dict)  # blocks; False for a stale one
    opened: dict[int, int] = field(default_factory=dict)  # size, where another than was listed
    proofs: tuple[tuple[bytes, bytes], ...] = ()
    decline: bool = False
    page: int = 3  # entries that a walk finds at once
