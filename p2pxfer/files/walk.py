"""A tree on this disk, turned into a stream of entries: lazily, depth first, in the order of names.

A folder comes before what is in it, and all of that before the next entry. What can't be sent is
reported and the walk goes on. In memory are the names of the folders on the way down; `next` costs
a stat, and in a new folder the listing of its names. Contents are not read here.

An argument that is a symlink is followed, since it was named; symlinks below it are kept, followed
or skipped, as `WalkOptions` says.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from p2pxfer.errors import LocalFileError, UsageError
from p2pxfer.files.failures import reading
from p2pxfer.files.handles import Folder, FolderHandles
from p2pxfer.files.ignore import (
    MAX_IGNORE_FILE,
    BadPattern,
    Patterns,
    Scope,
    excluded,
    split_lines,
)
from p2pxfer.files.paths import MAX_DEPTH
from p2pxfer.manifest import MAX_PATH, Entry, EntryKind, carried

Named = str | bytes | os.PathLike[str]
Symlinks = Literal["keep", "follow", "skip"]

ROOT_NAME = b"root"  # what ``send /`` is called on the other side
_READ_FILE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_FILE = EntryKind.FILE
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class WalkOptions(Struct, frozen=True):
    """What of the tree is sent.

    Attributes:
        symlinks: ``keep`` them as symlinks, ``follow`` them, or ``skip`` and report them.
        exclude: patterns in the syntax of gitignore(5), relative to each argument's folder; they
            also apply to the arguments' own names. The last one that matches decides.
        exclude_from: files with such patterns, one a line; they come before ``exclude``.
        gitignore: leave out what git would: by each ``.gitignore`` on the way, by those above an
            argument up to its repository's root, and by ``.git/info/exclude``; and ``.git``
            itself. A file that git tracks although a pattern matches it is left out too.
            ``exclude`` decides first.
    """

    symlinks: Symlinks = "keep"
    exclude: Sequence[str] = ()
    exclude_from: Sequence[Named] = ()
    gitignore: bool = False


class Found(Struct, frozen=True):
    """One entry to send; ``source`` is where it is, absolute, for `SourceTree.open`."""

    entry: Entry
    source: bytes


class Skipped(Struct, frozen=True):
    """Something that is not sent; ``path`` as an entry's would be, ``reason`` for people."""

    path: bytes
    reason: str


class _Argument(Struct, frozen=True):
    name: bytes
    source: bytes
    found: os.stat_result


class _Level(Struct):
    """A folder on the way down: the names still to come, last first, and what holds in it."""

    folder: Folder
    inner: bytes  # path from the argument's folder, with a "/" at its end, or empty
    names: list[bytes]
    scopes: list[Scope]
    identity: tuple[int, int]


def walk(paths: Sequence[Named], options: WalkOptions | None = None) -> Iterator[Found | Skipped]:
    """Walk ``paths``. The arguments themselves are checked at once, the rest while iterating.

    Each becomes one top-level entry, called like the path's last component; ``.``, ``..`` and
    the like by the name of the folder that they lead to, ``/`` by `ROOT_NAME`.

    Raises:
        UsageError: two arguments of one name, a name that is no path, a bad pattern.
        LocalFileError: an argument or a file of patterns is missing or forbidden.
    """
    options = options or WalkOptions()
    arguments = _arguments(paths)
    command_line = _command_line(options)
    return _walk(arguments, options, command_line)


def _walk(
    arguments: list[_Argument], options: WalkOptions, command_line: list[Scope]
) -> Iterator[Found | Skipped]:
    for argument in arguments:
        folder = stat.S_ISDIR(argument.found.st_mode)
        if excluded(command_line, argument.name, folder=folder):
            continue
        if folder:
            yield from _Walk(argument, options, command_line).run()
        else:
            yield Found(_file(argument.name, argument.found), argument.source)


class _Walk:
    """The walk of one argument that is a folder."""

    def __init__(
        self, argument: _Argument, options: WalkOptions, command_line: list[Scope]
    ) -> None:
        self.argument = argument
        self.options = options
        self.command_line = command_line
        self.handles: FolderHandles
        self.follow = options.symlinks == "follow"
        self.selects = options.gitignore or bool(command_line)
        self.prefix = os.path.join(argument.source, b"")
        self.levels: list[_Level] = []

    def run(self) -> Iterator[Found | Skipped]:
        """All of it."""
        name, found = self.argument.name, self.argument.found
        yield Found(_entry(EntryKind.DIRECTORY, name, found), self.argument.source)
        root = Folder(None, b"")
        try:
            self.handles = FolderHandles(self.argument.source, root, follow=self.follow)
        except OSError as error:
            yield Skipped(name, reading(error).message)
            return
        try:
            yield from self._descend(root, found)
        finally:
            self.handles.close()

    def _descend(self, root: Folder, found: os.stat_result) -> Iterator[Found | Skipped]:
        scopes = []
        if self.options.gitignore:
            scopes = _scopes_above(self.argument.source)
        skipped = self._enter(root, b"", found, scopes)
        if skipped is not None:
            yield skipped
        while self.levels:
            level = self.levels[-1]
            if level.names:
                yield from self._visit(level, level.names.pop())
            else:
                self.handles.forget(level.folder)
                self.levels.pop()

    def _visit(self, level: _Level, name: bytes) -> Iterable[Found | Skipped]:
        inner = level.inner + name
        path = self.argument.name + b"/" + inner
        try:
            at_path, at = self.handles.locate(level.folder, name)
            found = os.stat(at_path, dir_fd=at, follow_symlinks=self.follow)
        except OSError as error:
            return (Skipped(path, self._why_not(level, name, error)),)
        folder = stat.S_ISDIR(found.st_mode)
        if self.selects and self._is_excluded(level, inner, name, folder=folder):
            return ()
        if len(path) > MAX_PATH or len(self.levels) >= MAX_DEPTH:
            return (Skipped(path, "its path is too long"),)
        if stat.S_ISREG(found.st_mode):  # most are; they are spared a generator of their own
            return (Found(_file(path, found), self.prefix + inner),)
        return self._visit_other(level, name, inner, path, found)

    def _visit_other(
        self, level: _Level, name: bytes, inner: bytes, path: bytes, found: os.stat_result
    ) -> Iterator[Found | Skipped]:
        """What is no file."""
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFLNK:
            yield self._symlink(level, name, inner, path, found)
        elif kind != stat.S_IFDIR:
            yield Skipped(path, f"{_KINDS.get(kind, 'a special file')} can't be sent")
        elif any(above.identity == (found.st_dev, found.st_ino) for above in self.levels):
            yield Skipped(path, "a symlink that leads back to a folder above it")
        else:
            yield Found(_entry(EntryKind.DIRECTORY, path, found), self.prefix + inner)
            below = Folder(level.folder, name)
            skipped = self._enter(below, inner + b"/", found, level.scopes)
            if skipped is not None:
                yield skipped

    def _enter(
        self, folder: Folder, inner: bytes, found: os.stat_result, scopes: list[Scope]
    ) -> Skipped | None:
        try:
            path, at = self.handles.locate(folder)
            names = [os.fsencode(name) for name in os.listdir(path if at is None else at)]
        except OSError as error:
            reason = f"what is in the folder is not sent: {reading(error).message}"
            return Skipped((self.argument.name + b"/" + inner).rstrip(b"/"), reason)
        names.sort(reverse=True)
        if self.options.gitignore and b".gitignore" in names:
            scopes = scopes + self._scope_here(folder, len(inner))
        identity = (found.st_dev, found.st_ino)
        self.levels.append(_Level(folder, inner, names, scopes, identity))
        return None

    def _scope_here(self, folder: Folder, below: int) -> list[Scope]:
        path, at = self.handles.locate(folder, b".gitignore")
        return _scope_of(path, at, below=below)

    def _is_excluded(self, level: _Level, inner: bytes, name: bytes, *, folder: bool) -> bool:
        if self.options.gitignore and name == b".git":
            return True
        for scope in self.command_line:
            verdict = scope.patterns.excludes(inner, folder=folder)
            if verdict is not None:
                return verdict
        return bool(level.scopes) and excluded(level.scopes, inner, folder=folder)

    def _symlink(
        self, level: _Level, name: bytes, inner: bytes, path: bytes, found: os.stat_result
    ) -> Found | Skipped:
        if self.options.symlinks == "skip":
            return Skipped(path, "a symlink")
        at_path, at = self.handles.locate(level.folder, name)
        try:
            target = os.readlink(at_path, dir_fd=at)
        except OSError as error:
            return Skipped(path, reading(error).message)
        return Found(_entry(EntryKind.SYMLINK, path, found, target), self.prefix + inner)

    def _why_not(self, level: _Level, name: bytes, error: OSError) -> str:
        if self.follow:
            try:
                at_path, at = self.handles.locate(level.folder, name)
                if stat.S_ISLNK(os.stat(at_path, dir_fd=at, follow_symlinks=False).st_mode):
                    return "a symlink that leads nowhere"
            except OSError:
                pass
        return reading(error).message


def _file(path: bytes, found: os.stat_result) -> Entry:
    mode, mtime_ns = stat.S_IMODE(found.st_mode), carried(found.st_mtime_ns)
    return Entry(_FILE, path, found.st_size, mode, mtime_ns)


def _entry(kind: EntryKind, path: bytes, found: os.stat_result, target: bytes = b"") -> Entry:
    return Entry(kind, path, 0, stat.S_IMODE(found.st_mode), carried(found.st_mtime_ns), target)


def _here() -> bytes:
    try:
        return os.getcwdb()
    except OSError as error:
        raise LocalFileError("the folder you are in is gone", "go to one that is there") from error


def _arguments(paths: Sequence[Named]) -> list[_Argument]:
    arguments: dict[bytes, _Argument] = {}
    for named in paths:
        path = os.fsencode(named)
        shown = os.fsdecode(path)
        if not path or b"\0" in path:
            raise UsageError("an empty or impossible path was given")
        source = path if os.path.isabs(path) else os.path.join(_here(), path)
        name = os.path.basename(source.rstrip(b"/"))
        if name in (b"", b".", b".."):
            name = os.path.basename(os.path.realpath(source)) or ROOT_NAME
        try:
            found = os.stat(source)
        except FileNotFoundError as error:
            raise LocalFileError(f"{shown} does not exist", "check how it is spelt") from error
        except OSError as error:
            raise LocalFileError(f"{shown} can't be sent: {reading(error).message}") from error
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            kind = _KINDS.get(stat.S_IFMT(found.st_mode), "a special file")
            raise UsageError(
                f"{shown} is {kind}; only files and folders can be sent",
                "send what comes out of it through a pipe: p2pxfer send -",
            )
        if name in arguments:
            other = os.fsdecode(arguments[name].source)
            raise UsageError(
                f"{shown} and {other} would have the same name on the other side",
                "send the folder that holds both, or one after the other",
            )
        arguments[name] = _Argument(name, source, found)
    return list(arguments.values())


def _command_line(options: WalkOptions) -> list[Scope]:
    lines: list[bytes] = []
    for named in options.exclude_from:
        try:
            lines += split_lines(Path(os.fsdecode(named)).read_bytes())
        except OSError as error:
            raise LocalFileError(
                f"the patterns in {os.fsdecode(named)} can't be read: {error.strerror}"
            ) from error
    lines += [os.fsencode(pattern) for pattern in options.exclude]
    try:
        patterns = Patterns(lines)
    except BadPattern as error:
        raise UsageError(f"not a pattern: {error}") from error
    return [Scope(patterns)] if patterns else []


def _scopes_above(source: bytes) -> list[Scope]:
    """What holds in an argument because of the repository it lies in, if any."""
    real = os.path.realpath(source)
    repository = real
    while not os.path.lexists(os.path.join(repository, b".git")):
        if os.path.dirname(repository) == repository:
            return []
        repository = os.path.dirname(repository)
    inner = real[len(repository) :].strip(b"/")
    inner = inner + b"/" if inner else b""
    scopes = _scope_of(os.path.join(repository, b".git", b"info", b"exclude"), None, above=inner)
    folder = repository
    while inner:  # the argument's own .gitignore is read on the way down
        scopes += _scope_of(os.path.join(folder, b".gitignore"), None, above=inner)
        component, _, inner = inner.partition(b"/")
        folder = os.path.join(folder, component)
    return scopes


def _scope_of(path: bytes, at: int | None, *, above: bytes = b"", below: int = 0) -> list[Scope]:
    try:
        fd = os.open(path, _READ_FILE, dir_fd=at)
    except OSError:
        return []
    try:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        content = os.read(fd, MAX_IGNORE_FILE) if regular else b""
    finally:
        os.close(fd)
    patterns = Patterns(split_lines(content), lenient=True)
    return [Scope(patterns, above, below)] if patterns else []
