"""Names that this side makes up: temporaries beside a target, and numbered second copies. Pure."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

TEMPORARY_MARK = b".p2pxfer-"
_RANDOM_DIGITS = (
    12  # hexadecimal; creation is exclusive, so a guessed name only costs a second draw
)
_TEMPORARY = re.compile(rb"\..*\.p2pxfer-[0-9a-f]{%d}" % _RANDOM_DIGITS, re.DOTALL)
_MOST_COPIES = 10_000
_KIND_OF_BYTE = 0xC0  # RFC 3629, section 3: the bits that tell a continuation byte
_CONTINUATION = 0x80


def temporary(name: bytes, limit: int) -> bytes:
    """A fresh name like ``.NAME.p2pxfer-0123456789ab``, at most ``limit`` bytes long."""
    mark = TEMPORARY_MARK + secrets.token_hex(_RANDOM_DIGITS // 2).encode()
    return b"." + _shortened(name, limit - 1 - len(mark)) + mark


def is_temporary(name: bytes) -> bool:
    """Whether ``name`` is one that `temporary` could have made."""
    return _TEMPORARY.fullmatch(name) is not None


def is_component(name: bytes) -> bool:
    """Whether ``name`` is one component that stays in its folder."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name


def numbered(name: bytes, limit: int) -> Iterator[bytes]:
    """``name (1).ext``, ``name (2).ext`` and so on, each at most ``limit`` bytes; not endless."""
    stem, dot, extension = name.rpartition(b".")
    if not stem:  # no extension, or a name that only begins with a dot
        stem, extension = name, b""
    else:
        extension = dot + extension
    for number in range(1, _MOST_COPIES):
        end = b" (%d)" % number + extension
        if len(end) >= limit:  # an "extension" as long as a name
            stem, extension = name, b""
            end = b" (%d)" % number
        yield _shortened(stem, limit - len(end)) + end


def _shortened(name: bytes, limit: int) -> bytes:
    """At most ``limit`` bytes of ``name``, not cut inside a UTF-8 character."""
    if len(name) <= limit:
        return name
    end = max(limit, 0)
    while end > 0 and name[end] & _KIND_OF_BYTE == _CONTINUATION:
        end -= 1
    return name[: end or max(limit, 0)]
