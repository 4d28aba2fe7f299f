"""Which entries are left out: patterns as git reads them (gitignore(5)). No disk.

One pattern is turned into a regular expression by `pathspec`. Which pattern decides is done here,
folder by folder on the way down, as git does: the last one that matches the entry itself wins, a
deeper ``.gitignore`` before a higher one, and what is below a folder left out is never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

_ANYTHING = b"."  # how pathspec writes ``*`` and its like
_NO_SLASH = b"[^/]"
# An escaped character, or a whole set of characters, in a regular expression.
_SETS = re.compile(rb"(\\.)|(\[\^?\]?(?:\\.|[^\]\\])*\])", re.DOTALL)
# A star and what must follow it, up to the next star of the same name.
_STARS = re.compile(
    rb"\[\^/\]\*"
    rb"((?:\\.|\[\^/\](?!\*)|\(\?!/\)\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\\[\](){}.*+?|^$/])*)"
    rb"(?=\[\^/\]\*)",
    re.DOTALL,
)

MAX_IGNORE_FILE = 1024 * 1024  # bytes read of a .gitignore


class BadPattern(ValueError):
    """A pattern that git would not understand either; ``str()`` is the pattern's text."""


class _Pattern(Struct, frozen=True):
    matches: re.Pattern[bytes] | None  # None: everything
    excludes: bool
    folders_only: bool


class Patterns:
    """An ordered list of patterns, all relative to one folder.

    Args:
        lines: one pattern each, without line ends; blank lines and ``#`` lines count for nothing.
        lenient: leave out what is no pattern, as git does, instead of raising.

    Raises:
        BadPattern: unless ``lenient``.
    """

    __slots__ = ("_patterns",)

    def __init__(self, lines: Iterable[bytes], *, lenient: bool = False) -> None:
        patterns = []
        for line in lines:
            try:
                pattern = _compile(line)
            except ValueError as error:  # re.error and pathspec's own are
                if not lenient:
                    raise BadPattern(line.decode("utf-8", "surrogateescape")) from error
                continue
            if pattern is not None:
                patterns.append(pattern)
        self._patterns = tuple(reversed(patterns))

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def excludes(self, path: bytes, *, folder: bool) -> bool | None:
        """Whether the entry at ``path`` is left out (True), kept (False), or not mentioned."""
        for pattern in self._patterns:
            if pattern.folders_only and not folder:
                continue
            if pattern.matches is None or pattern.matches.fullmatch(path):
                return pattern.excludes
        return None


class Scope(Struct, frozen=True):
    """Patterns and where they hold.

    Attributes:
        patterns: them.
        above: path from the folder they are relative to down to the argument, with a ``/`` at its
            end, or empty.
        below: bytes to cut from a path that is relative to the argument, to make it relative to
            the folder they are in.
    """

    patterns: Patterns
    above: bytes = b""
    below: int = 0


def excluded(scopes: Sequence[Scope], path: bytes, *, folder: bool) -> bool:
    """Whether the entry at ``path``, relative to its argument, is left out.

    The last scope that mentions it decides.
    """
    for scope in reversed(scopes):
        verdict = scope.patterns.excludes(scope.above + path[scope.below :], folder=folder)
        if verdict is not None:
            return verdict
    return False


def split_lines(content: bytes) -> list[bytes]:
    """The lines of an ignore file, without a byte order mark and carriage returns at their ends."""
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [line.removesuffix(b"\r") for line in lines]


def _compile(line: bytes) -> _Pattern | None:
    from pathspec.patterns.gitignore.spec import (  # noqa: PLC0415  # 35 ms that few need
        GitIgnoreSpecPattern,
    )

    body = _without_trailing_spaces(line)
    if body.startswith(b"#"):
        return None
    excludes = not body.startswith(b"!")
    body = body.removeprefix(b"!") if not excludes else body
    folders_only = body.endswith(b"/")
    body = body.removesuffix(b"/")
    if not body:
        return None
    if body.endswith(b"/**"):
        body += b"/*"  # what is inside, at any depth, but not the folder itself
    if body.startswith((b"!", b"#")):
        body = b"\\" + body
    regex, _ = GitIgnoreSpecPattern.pattern_to_regex(_spaces_as_sets(body))
    if regex is None:
        return None
    if regex == _ANYTHING:
        return _Pattern(None, excludes, folders_only)
    # No set holds a slash, not even ``[!a]`` (wildmatch with WM_PATHNAME, as git calls it).
    regex = _SETS.sub(_without_slash, regex)
    # Before another star the first place that fits is as good as any: else a few stars in a
    # stranger's .gitignore could keep this process busy for ever.
    regex = _STARS.sub(rb"(?>[^/]*?\1)", regex)
    return _Pattern(re.compile(regex, re.DOTALL), excludes, folders_only)


def _without_slash(found: re.Match[bytes]) -> bytes:
    one_of = found[2]
    return found[0] if one_of in (None, _NO_SLASH) else b"(?!/)" + one_of


def _without_trailing_spaces(line: bytes) -> bytes:
    kept = line.rstrip(b" ")
    return kept + b" " if _escapes_next(kept) and kept != line else kept


def _spaces_as_sets(body: bytes) -> bytes:
    """``body`` with the spaces at its end, which all count by now, safe from being dropped."""
    kept = body.rstrip(b" ")
    spaces = len(body) - len(kept)
    if spaces and _escapes_next(kept):
        kept = kept[:-1]
    return kept + b"[ ]" * spaces


def _escapes_next(text: bytes) -> bool:
    return (len(text) - len(text.rstrip(b"\\"))) % 2 == 1
