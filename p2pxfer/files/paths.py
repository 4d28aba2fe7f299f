"""The one door for names that come from a peer: `SafePath.parse`. Pure; no disk.

A name is bytes, components joined by ``/``. What passes stays below the directory it is put into,
whatever the bytes are; that no symlink leads out again is for those who open (``handles.py``).
`safe_target` judges symlink targets by the same rules. Nothing else makes a `SafePath`.
"""

from __future__ import annotations

import os
from enum import Enum

from p2pxfer.errors import UnsafeName
from p2pxfer.manifest import MAX_PATH

MAX_DEPTH = 2_048  # components
MAX_TARGET = 4_095  # bytes of a symlink's target: PATH_MAX without its NUL
WINDOWS_NAME = 255  # UTF-16 code units in a component (Naming Files, Paths, and Namespaces)

# Naming Files, Paths, and Namespaces (learn.microsoft.com): reserved characters and device names.
_WINDOWS_CHARACTERS = frozenset('<>:"\\|?*') | frozenset(map(chr, (*range(32), 127)))
_WINDOWS_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"]
    + [f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"]
)
_DOTS = frozenset((b"", b".", b".."))


class NameRules(Enum):
    """Which names may reach a disk."""

    POSIX = "posix"  # everything but empty, ``.``, ``..``, ``/`` and NUL
    PORTABLE = "portable"  # what Windows takes as well: UTF-8, no devices, no streams

    @classmethod
    def host(cls) -> NameRules:
        """The rules that this machine needs."""
        return cls.PORTABLE if os.name == "nt" else cls.POSIX


_PORTABLE = NameRules.PORTABLE  # a look into the enumeration for each name takes its time


class SafePath:
    """A relative path that stays below wherever it is joined to. Only `parse` makes one.

    Attributes:
        raw: the whole path, components joined by ``/``.
        parts: its components; at least one.
    """

    __slots__ = ("parts", "raw")

    raw: bytes
    parts: tuple[bytes, ...]

    def __init__(self) -> None:
        raise TypeError("SafePath.parse makes these")

    @classmethod
    def parse(cls, name: bytes, rules: NameRules) -> SafePath:
        """Let ``name`` pass, or not.

        Raises:
            UnsafeName: the message says which rule it breaks, without quoting the name.
        """
        if len(name) > MAX_PATH:
            raise UnsafeName(f"the path is longer than {MAX_PATH:,} bytes")
        parts = tuple(name.split(b"/"))
        if not _DOTS.isdisjoint(parts):
            raise UnsafeName(_what_is_wrong(parts))
        if b"\0" in name:
            raise UnsafeName("the name contains a NUL byte")
        if len(parts) > MAX_DEPTH:
            raise UnsafeName(f"the path is deeper than {MAX_DEPTH:,} folders")
        if rules is _PORTABLE:
            for part in parts:
                check_portable(part)
        path = object.__new__(cls)
        path.raw = name
        path.parts = parts
        return path

    @property
    def name(self) -> bytes:
        """The last component."""
        return self.parts[-1]

    @property
    def parent(self) -> bytes:
        """Everything before the last component; empty at the top."""
        return self.raw.rpartition(b"/")[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SafePath) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"SafePath({self.raw!r})"


def check_portable(part: bytes) -> None:
    """Refuse one component that Windows or a browser would refuse, alter, or read as a device.

    Raises:
        UnsafeName: not UTF-8, a reserved character, a control character, a trailing dot or space,
            a device name with or without an extension, or too long.
    """
    try:
        name = part.decode("utf-8")
    except UnicodeDecodeError:
        raise UnsafeName("the name is not UTF-8, which portable names are") from None
    if not _WINDOWS_CHARACTERS.isdisjoint(name):
        raise UnsafeName("the name has a character that Windows reserves, or a control character")
    if name[-1] in ". ":
        raise UnsafeName("the name ends in a dot or a space, which Windows drops")
    # Windows looks at what is before the first dot, and drops spaces from its end.
    if name.partition(".")[0].rstrip(" ").upper() in _WINDOWS_DEVICES:
        raise UnsafeName("the name is that of a device on Windows")
    if len(name.encode("utf-16-le")) // 2 > WINDOWS_NAME:
        raise UnsafeName("the name is too long for Windows")


def safe_target(target: bytes, depth: int, rules: NameRules) -> str | None:
    """What is wrong with a symlink's target, or None when it stays in the tree.

    ``..`` counts only before any name: ``a/..`` need not lead back where ``a`` itself is a
    symlink, which is how two harmless links make one that leaves.

    Args:
        target: as the link carries it.
        depth: how many folders of the tree are above the link; 0 at the top.
        rules: `NameRules.PORTABLE` also refuses what Windows would read otherwise.
    """
    if not target or b"\0" in target or len(target) > MAX_TARGET:
        return "the symlink's target is empty, too long, or contains a NUL byte"
    if target.startswith(b"/"):
        return "the symlink's target is absolute"
    named = False
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
            if named or depth < 0:
                return "the symlink's target leaves the tree"
        elif part not in (b"", b"."):
            named = True
            if rules is NameRules.PORTABLE:
                try:
                    check_portable(part)
                except UnsafeName:
                    return "the symlink's target is not a portable name"
    return None


def _what_is_wrong(parts: tuple[bytes, ...]) -> str:
    if parts == (b"",):
        return "the name is empty"
    if b".." in parts:
        return "the name contains .., which would lead out of the folder"
    if parts[0] == b"":
        return "the name is an absolute path"
    return "the name has an empty component or a lone dot"
