"""What the soak sends: drawn content, and how it is compared with what arrived."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = ".p2pxfer-"  # in the names of what is unfinished
NAMES = ("a", "letter.txt", "ü", "with space", "-dash", "日本", "CON", "x" * 200, ".hidden", "%41")
Version = tuple[object, ...]


class Cargo:
    """What is sent in one transfer, and all that it ever was.

    Args:
        kind: one of `plan.CARGOES`.
        folder: where to make it.
        size: content bytes, about.
        dice: decides what is in it.
    """

    def __init__(self, kind: str, folder: Path, size: int, dice: random.Random) -> None:
        self.kind = kind
        self._dice = dice
        self.source = folder / "cargo"
        folder.mkdir()
        if kind == "folder" or (kind == "update" and dice.random() < 0.5):
            self._make_tree(size)
        else:
            _fill(self.source, size, dice)
        self._versions: dict[str, set[Version]] = {}
        self.size = 0
        self.remember()

    def remember(self) -> None:
        """What it is now is one of the things that may arrive."""
        present = facts(self.source)
        self.size = sum(fact[2] for fact in present.values() if fact[0] == "file")
        for name, fact in present.items():
            self._versions.setdefault(name, set()).add(what(fact))

    def make_older(self, there: Path) -> None:
        """Put an older copy there, which differs here and there."""
        if self.source.is_dir():
            shutil.copytree(self.source, there / self.source.name, symlinks=True)
        else:
            shutil.copy2(self.source, there / self.source.name)
        older = there / self.source.name
        paths = [path for path in ([older] if older.is_file() else _files(older)) if path.is_file()]
        for path in paths:
            if self._dice.random() < 0.6:
                self._differ(path)
        for name, fact in facts(older).items():
            self._versions.setdefault(name, set()).add(what(fact))

    def change(self, dice: random.Random) -> None:
        """One of the files becomes another, while it may be read."""
        paths = [self.source] if self.source.is_file() else list(_files(self.source))
        path = dice.choice(paths)
        before = path.stat()
        if dice.random() < 0.5:  # a file of that name, as editors save it
            beside = self.source.with_name("beside")
            shutil.copy2(path, beside)
            _scribble(beside, dice)
            beside.replace(path)
        else:
            _scribble(path, dice)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
        self.remember()

    def wrong(self, there: Path) -> list[str]:
        """What is there under a final name, and was never sent."""
        found = facts(there)
        return [
            name
            for name, fact in found.items()
            if TEMPORARY not in name
            and fact[0] != "directory"
            and what(fact) not in self._versions.get(name, set())
        ]

    def missing(self, there: Path) -> list[str]:
        """What is not there as it is here now, modes and times included."""
        here, found = facts(self.source), facts(there)
        return [name for name in here if here[name] != found.get(name)]

    def _make_tree(self, size: int) -> None:
        dice, left = self._dice, size
        folders = [self.source]
        self.source.mkdir()
        for number in range(dice.randint(1, 120)):
            folder = dice.choice(folders)
            path = folder / f"{dice.choice(NAMES)}{number}"
            kind = dice.random()
            if kind < 0.15 and len(folder.parts) < len(self.source.parts) + 5:
                path.mkdir()
                folders.append(path)
            elif kind < 0.2:
                path.symlink_to(dice.choice(NAMES))
            else:
                part = min(left, int(10 ** dice.uniform(0, 6.5)) - 1)
                _fill(path, part, dice)
                path.chmod(dice.choice((0o644, 0o600, 0o755, 0o444)))
                left -= part
        _fill(self.source / "the rest", left, dice)

    def _differ(self, path: Path) -> None:
        path.chmod(0o600)
        if self._dice.random() < 0.2:
            os.truncate(path, self._dice.randint(0, path.stat().st_size))
        else:
            _scribble(path, self._dice)


def what(fact: Version) -> Version:
    """The part of `facts` that must never be wrong: modes and times come last, and may lag."""
    return fact[0], fact[2], fact[3]


def facts(top: Path) -> dict[str, Version]:
    """Kind, mode, size, digest or target, and time, by path."""
    found: dict[str, Version] = {}
    for path in [top, *(_all(top) if top.is_dir() and not top.is_symlink() else ())]:
        try:
            status = path.lstat()
            name = str(path.relative_to(top))
            if stat.S_ISLNK(status.st_mode):
                found[name] = ("symlink", 0, 0, os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                found[name] = ("directory", stat.S_IMODE(status.st_mode), 0, "")
            else:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "blake2b").hexdigest()
                mode = stat.S_IMODE(status.st_mode)
                found[name] = ("file", mode, status.st_size, digest, status.st_mtime_ns)
        except FileNotFoundError:  # a temporary that has got its name meanwhile
            continue
    return found


def _all(top: Path) -> Iterator[Path]:
    return iter(sorted(top.rglob("*")))


def _files(top: Path) -> Iterator[Path]:
    return (path for path in _all(top) if path.is_file() and not path.is_symlink())


def _fill(path: Path, size: int, dice: random.Random) -> None:
    """Random bytes, with a hole or zeros in some."""
    with path.open("wb") as file:
        left = max(size, 0)
        while left > 0:
            part = min(left, dice.choice((300_000, 1_000_000, 3_000_000)))
            kind = dice.random()
            if kind < 0.1:
                file.seek(part, os.SEEK_CUR)
            elif kind < 0.15:
                file.write(bytes(part))
            else:
                file.write(dice.randbytes(part))
            left -= part
        file.truncate(max(size, 0))


def _scribble(path: Path, dice: random.Random) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        for _ in range(dice.randint(1, 5)):
            file.seek(dice.randint(0, size))
            file.write(dice.randbytes(dice.randint(1, 5000)))
