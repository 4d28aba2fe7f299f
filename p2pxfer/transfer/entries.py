"""Entries to bytes and back, as a page carries them.

The table of bytes is in docs/transfer-protocol.md; `frames` has every other frame. Whether an entry
makes sense where it stands is not known here.
"""

from __future__ import annotations

import struct
from typing import Final

from p2pxfer.manifest import LAST_DATE, MAX_PATH, UNKNOWN_SIZE, Entry, EntryKind
from p2pxfer.transfer import messages as m

MAX_MODE: Final = 0o7777

_ENTRY = struct.Struct(">BqHqHH")  # kind, size, mode, mtime, lengths of path and target
_FIRST = struct.Struct(">I")
_KINDS = {int(kind): kind for kind in EntryKind}
_FILE, _SYMLINK = int(EntryKind.FILE), int(EntryKind.SYMLINK)

ENTRY_OVERHEAD: Final = _ENTRY.size
MAX_ENTRIES_BYTES: Final = m.MIN_MESSAGE - m.HEADER_SIZE - _FIRST.size  # of a page, on any channel


def encoded_size(entry: Entry) -> int:
    """Bytes that an entry takes in a page.

    Raises:
        ValueError: its path, target or time is more than the protocol carries.
    """
    path, target = len(entry.path), len(entry.target)
    if not 0 < path <= MAX_PATH or target > m.MAX_TARGET:
        raise ValueError("a path or target is empty or too long for the protocol")
    if not -LAST_DATE <= entry.mtime_ns <= LAST_DATE:
        raise ValueError("a time is too far away for the protocol")
    return ENTRY_OVERHEAD + path + target


def write_page(page: m.Page) -> bytes:
    """The body of a page."""
    parts = [_FIRST.pack(page.first)]
    for entry in page.entries:
        path, target = entry.path, entry.target
        head = (entry.kind, entry.size, entry.mode, entry.mtime_ns, len(path), len(target))
        parts.append(_ENTRY.pack(*head))
        parts.append(path)
        parts.append(target)
    return b"".join(parts)


def read_page(body: memoryview) -> m.Page:
    """The page in a body.

    Raises:
        ValueError: an entry is out of range, or there is none.
        struct.error: the body ends too early.
    """
    (first,) = _FIRST.unpack_from(body)
    at, end, entries = _FIRST.size, len(body), []
    while at < end:
        kind, size, mode, mtime_ns, path, target = _ENTRY.unpack_from(body, at)
        at += ENTRY_OVERHEAD
        stop = at + path + target
        if not (
            (size >= UNKNOWN_SIZE if kind == _FILE else size == 0)
            and (target > 0) == (kind == _SYMLINK)
            and kind in _KINDS
            and mode <= MAX_MODE
            and 0 < path <= MAX_PATH
            and target <= m.MAX_TARGET
            and stop <= end
        ):
            raise ValueError("an entry out of range")
        name = bytes(body[at : at + path])
        link = bytes(body[at + path : stop]) if target else b""
        entries.append(Entry(_KINDS[kind], name, size, mode, mtime_ns, link))
        at = stop
    if not entries or first + len(entries) > m.MAX_NUMBER:
        raise ValueError("an empty or endless page")
    return m.Page(first, tuple(entries))
