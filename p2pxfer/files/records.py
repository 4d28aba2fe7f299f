"""What a journal says: which transfer it is of, what was under way, what was put in place.

Pure; no disk. Records are framed in ``framing.py``; integers are big-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from p2pxfer.discreet import Discreet
from p2pxfer.files.framing import MAX_BODY, decoded, encoded, encoded_all
from p2pxfer.files.naming import is_component, is_temporary
from p2pxfer.manifest import Entry

VERSION = 2
MAX_HELD = 2_000_000  # paths that one journal tells of
MAX_LABEL = 1024  # bytes
SECRET_SIZE = 32
RESUME_ID_SIZE = 16

_HEADER = struct.Struct(">B16s32sq")
_LENGTH = struct.Struct(">I")
_TRACE = struct.Struct(">QqqI")
_U64 = 0xFFFF_FFFF_FFFF_FFFF
_LEAST_I64, _MOST_I64 = -(2**63), 2**63 - 1


class Kind(IntEnum):
    """What a record tells."""

    HEADER = 1
    PARTIAL = 2
    PLACED = 3
    FORGOTTEN = 4  # its temporary was removed, and did not get its name; body: the path
    SETTLED = 5  # temporaries that were placed have their names, those only intended not; no body
    OVER = 6  # the sender has the receipt, and waits for nobody; no body


_PLACED = int(Kind.PLACED)  # there may be very many of them


class Identity(NamedTuple):
    """Which file it is, and that nobody has written to it since. ``mtime_ns`` as the disk has it.

    An inode number alone would not do: a filesystem gives it to the next file soon. The number of
    the device is no part of it: a disk has another one when it is plugged in again, and after a
    reboot. Where files are numbered anew at each mount (FAT), only size and mtime stay.
    """

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        """Of what stat has found."""
        mtime_ns = found.st_mtime_ns
        if not _LEAST_I64 <= mtime_ns <= _MOST_I64:
            mtime_ns = _LEAST_I64 if mtime_ns < 0 else _MOST_I64
        return cls(found.st_ino & _U64, found.st_size, mtime_ns)


class Partial(NamedTuple):
    """A temporary under way.

    Attributes:
        path: its entry's, below the output directory.
        temporary: its name, in the folder where the entry goes.
        inode: as it was made; 0 when it was about to be. What knows it again is its name, which
            nobody else draws.
        size, mtime_ns: its entry's.
    """

    path: bytes
    temporary: bytes
    inode: int = 0
    size: int = 0
    mtime_ns: int = 0

    @classmethod
    def of(cls, entry: Entry, temporary: bytes, found: os.stat_result) -> Partial:
        """Of a temporary that stat has found."""
        identity = Identity.of(found)
        size, mtime_ns = entry.size, min(max(entry.mtime_ns, _LEAST_I64), _MOST_I64)
        return cls(entry.path, temporary, identity.inode, size, mtime_ns)


class Placed(NamedTuple):
    """What this transfer has given a name: a file or symlink, or a directory that it made.

    The inode of a directory that was about to be made is 0.
    """

    path: bytes
    name: bytes
    identity: Identity


class Header(Discreet, Struct, frozen=True, kw_only=True):
    """Which transfer it is.

    Attributes:
        resume_id: 16 bytes that name the transfer to whoever knows its secret.
        secret: the session's, 32 bytes.
        code: a digest that an old code is looked up by; at most 64 bytes.
        rendezvous: the URL where the two sides met.
        output: the directory that it is received into, absolute.
        label: what was offered, for people; a peer's bytes, of which 1,024 are kept.
        created: seconds since the epoch.
    """

    hidden = ("secret", "code")

    resume_id: bytes
    secret: bytes
    code: bytes
    rendezvous: str
    output: bytes
    label: bytes
    created: int

    def encoded(self) -> bytes:
        """The header's record.

        Raises:
            ValueError: a field has a wrong length.
        """
        if len(self.resume_id) != RESUME_ID_SIZE or len(self.secret) != SECRET_SIZE:
            raise ValueError("a resume id has 16 bytes and a secret 32")
        body = _HEADER.pack(VERSION, self.resume_id, self.secret, self.created)
        label = self.label[:MAX_LABEL]
        for text in (self.code, self.rendezvous.encode(), self.output, label):
            body += _LENGTH.pack(len(text)) + text
        if len(body) > MAX_BODY:
            raise ValueError("a header that no journal takes")
        return encoded(Kind.HEADER, body)

    @classmethod
    def decoded(cls, body: bytes) -> Header | None:
        """What a header's body says; None of another version, or one that makes no sense."""
        try:
            version, resume_id, secret, created = _HEADER.unpack_from(body)
            if version != VERSION:
                return None
            texts = []
            at = _HEADER.size
            for _ in range(4):  # code, rendezvous, output, label
                (length,) = _LENGTH.unpack_from(body, at)
                at += _LENGTH.size
                texts.append(body[at : at + length])
                at += length
            code, rendezvous, output, label = texts
            url = rendezvous.decode()
        except (struct.error, UnicodeDecodeError):
            return None
        if at != len(body) or not os.path.isabs(output):
            return None
        return cls(
            resume_id=resume_id, secret=secret, code=code, rendezvous=url, output=output,
            label=label, created=created,
        )  # fmt: skip


class Contents:
    """What the records of one journal come to.

    Attributes:
        header: the first that this version understands, or None.
        partials: temporaries that may be there, by path.
        over: the session has ended, whatever is missing; only another can go on with it.
    """

    def __init__(self) -> None:
        self.header: Header | None = None
        self.over = False
        self.partials: dict[bytes, Partial] = {}
        self._placed: dict[bytes, bytes] = {}  # bodies: a third of what the values would take
        self._coming: dict[bytes, bytes] = {}  # the same, not settled
        self._named: set[bytes] = set()  # of `partials`, those placed since they were intended

    def __len__(self) -> int:
        """How many paths were placed."""
        return len(self._placed.keys() | self._coming.keys())

    def placed(self, path: bytes) -> list[Placed]:
        """What was placed for the entry ``path``: of two, the second was to replace the first."""
        bodies = (self._placed.get(path), self._coming.get(path))
        found = (_placed(body) for body in bodies if body is not None)
        return [placed for placed in found if placed is not None]

    def take(self, kind: int, body: bytes) -> None:
        """Add one record; what it makes no sense of is passed over."""
        if kind == Kind.HEADER:
            self.header = self.header or Header.decoded(body)
        elif kind == Kind.PARTIAL:
            partial = _partial(body)
            if partial is not None and len(self.partials) < MAX_HELD:
                self.partials[partial.path] = partial
                self._named.discard(partial.path)
        elif kind == Kind.PLACED:
            placed = _placed(body)
            if placed is not None and len(self._placed) + len(self._coming) < MAX_HELD:
                self._coming[placed.path] = body
                if placed.path in self.partials:
                    self._named.add(placed.path)
        elif kind == Kind.FORGOTTEN:
            self.partials.pop(body, None)
            self._coming.pop(body, None)
            self._named.discard(body)
        elif kind == Kind.SETTLED:
            self._settle()
        elif kind == Kind.OVER:
            self.over = True

    def merge(self, other: Contents) -> list[Partial]:
        """Add what a journal that came later says; the header stays, and whether it is over.

        Returns:
            The temporaries that others of the same entries replace.
        """
        replaced = [
            partial
            for path, partial in self.partials.items()
            if other.partials.get(path, partial).temporary != partial.temporary
        ]
        self.partials.update(other.partials)
        self._placed.update(self._coming)
        self._placed.update(other._placed)
        self._coming = dict(other._coming)
        return replaced

    def encoded(self) -> Iterator[bytes]:
        """The records that say all this, without the header's."""
        for body in self._placed.values():
            yield encoded(Kind.PLACED, body)
        yield encoded(Kind.SETTLED)
        for body in self._coming.values():
            yield encoded(Kind.PLACED, body)
        for partial in self.partials.values():
            yield partial_record(partial)

    def _settle(self) -> None:
        for path, partial in list(self.partials.items()):
            named = any(placed.identity.inode == partial.inode for placed in self.placed(path))
            if named or (not partial.inode and path in self._named):
                del self.partials[path]
        self._placed.update(self._coming)
        self._coming.clear()
        self._named.clear()


def loaded(data: bytes) -> Contents:
    """What a journal's bytes come to, however damaged they are."""
    contents = Contents()
    for kind, body in decoded(data):
        contents.take(kind, body)
    return contents


def header_of(data: bytes) -> Header | None:
    """The header among the first bytes of a journal."""
    headers = (Header.decoded(body) for kind, body in decoded(data) if kind == Kind.HEADER)
    return next((header for header in headers if header is not None), None)


def partial_record(partial: Partial) -> bytes:
    """The record of a temporary."""
    path, temporary, *numbers = partial
    return encoded(Kind.PARTIAL, _TRACE.pack(*numbers, len(path)) + path + temporary)


def placed_records(batch: Iterable[Placed]) -> bytes:
    """The records of what has got a name."""
    pack = _TRACE.pack
    return encoded_all(
        _PLACED, [pack(*identity, len(path)) + path + name for path, name, identity in batch]
    )


def forgotten_records(paths: Iterable[bytes]) -> bytes:
    """The records that take back what was said of ``paths``."""
    return encoded_all(Kind.FORGOTTEN, paths)


def _trace(body: bytes) -> tuple[bytes, bytes, tuple[int, int, int]] | None:
    """Path, name and numbers of a partial's or placed one's body; None if it makes no sense."""
    try:
        inode, size, mtime_ns, length = _TRACE.unpack_from(body)
    except struct.error:
        return None
    path, name = body[_TRACE.size : _TRACE.size + length], body[_TRACE.size + length :]
    if not is_component(name):
        return None
    return path, name, (inode, size, mtime_ns)


def _partial(body: bytes) -> Partial | None:
    found = _trace(body)
    if found is None or not is_temporary(found[1]):
        return None
    path, temporary, numbers = found
    return Partial(path, temporary, *numbers)


def _placed(body: bytes) -> Placed | None:
    found = _trace(body)
    return None if found is None else Placed(found[0], found[1], Identity(*found[2]))
