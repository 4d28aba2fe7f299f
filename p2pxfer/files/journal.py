"""What an unfinished receiving transfer would need to go on after this process: one file each.

A journal is a hint. Nothing in it is believed without a look at the disk, and a transfer does not
fail because its journal can't be written. It also holds the session's secret, so it is private.
Records are appended before what they tell of is done, so that no moment to be killed at leaves
anything on the disk that no journal knows; see ``records.py`` for what they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice

from msgspec import Struct

from p2pxfer.discreet import Discreet
from p2pxfer.files.framing import encoded
from p2pxfer.files.leftovers import Leftover, is_away, leftovers, remove_leftovers
from p2pxfer.files.partial import write_stream
from p2pxfer.files.records import (
    Contents,
    Header,
    Kind,
    Partial,
    Placed,
    forgotten_records,
    header_of,
    loaded,
    partial_record,
    placed_records,
)
from p2pxfer.files.state import MAX_FILE, StateFolder, is_held, lock, read_whole

EXPIRY = 14 * 24 * 3600.0  # seconds after its last record
AWAY = 182 * 24 * 3600.0  # the same, while the folder that it tells of is not there

_MOST_TAKEN = MAX_FILE  # bytes of earlier journals that one takes over from
_MERGED = 1024  # records of earlier journals written at once
_LONGEST_HEADER = 256 * 1024  # bytes; enough to tell whose a journal is


class JournalView(Discreet, Struct, frozen=True):
    """A journal as it was read.

    Attributes:
        name: its file's.
        header: which transfer it is.
        modified: when something was last recorded, in seconds since the epoch.
        live: a running process writes it: leave it alone.
        partials: temporaries that may be there.
        placed: how many files, symlinks and directories it has put in place.
        over: its sender has the receipt, and waits for nobody.
    """

    hidden = ("partials",)

    name: str
    header: Header
    modified: float
    live: bool
    partials: tuple[Partial, ...]
    placed: int
    over: bool

    @property
    def away(self) -> bool:
        """Whether it tells of temporaries that can't be looked at: their folder is not there."""
        return bool(self.partials) and is_away(self.header.output)

    def leftovers(self) -> list[Leftover]:
        """The temporaries that are there now."""
        return leftovers(self.header.output, self.partials)


class Journals:
    """All journals of this user.

    Args:
        directory: where they are; `state.state_path("transfers")` by default of the callers.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._folder = StateFolder(directory, ".journal")

    def create(self, header: Header, continuing: Sequence[JournalView] = ()) -> Journal:
        """Begin a journal, which takes over from those it continues.

        What they tell is in the new one before they are removed. One that another process writes,
        that is gone, that belongs to another output directory, or for which there is no room beside
        those that came later (`_MOST_TAKEN`) is left out. Temporaries that never came to
        hold much, or that a later one of the same entry replaces, are removed.

        Raises:
            LocalFileError: it can't be made.
        """
        earlier = Contents()
        useless: list[Partial] = []
        opened: list[tuple[str, int]] = []
        taken: list[str] = []
        room = _MOST_TAKEN
        try:
            for view in sorted(continuing, key=lambda view: view.modified, reverse=True):
                fd = self._folder.open(view.name)
                if fd is not None:
                    opened.append((view.name, fd))
            fits = [(name, fd) for name, fd in opened if (room := room - os.fstat(fd).st_size) >= 0]
            for name, fd in reversed(fits):
                contents = loaded(read_whole(fd)) if lock(fd) else Contents()
                if contents.header is not None and contents.header.output == header.output:
                    useless += earlier.merge(contents)
                    taken.append(name)
            small = [partial for partial in earlier.partials.values() if not partial.inode]
            remove_leftovers(header.output, [*useless, *small])
            for partial in small:
                del earlier.partials[partial.path]
            name, fd = self._folder.create()
            journal = Journal(header, self._folder, name, fd, earlier)
            if not journal.lost:
                for old in taken:
                    self._folder.remove(old)
            return journal
        finally:
            for _, fd in opened:
                os.close(fd)

    def find(
        self,
        *,
        code: bytes | None = None,
        resume_ids: Collection[bytes] = (),
        output: bytes | None = None,
    ) -> list[JournalView]:
        """Journals that have this code's digest, one of these ids, or this output directory.

        Returns:
            Newest first; live ones, too.
        """
        return self._views(
            lambda header: (
                header.code == code or header.resume_id in resume_ids or header.output == output
            )
        )

    def all(self) -> list[JournalView]:
        """Every journal that this version understands, newest first."""
        return self._views(lambda _: True)

    def remove(self, view: JournalView, *, away: bool = False) -> list[Leftover]:
        """Remove a journal and the temporaries it tells of; nothing of one that is live.

        Args:
            view: the journal.
            away: remove it also if its temporaries can't be looked at, after which nothing tells
                of them any more: see `JournalView.away`.

        Returns:
            The temporaries that are gone now.
        """
        return self._remove(view.name, away=away)

    def expire(self, now: float) -> list[Leftover]:
        """Remove every journal to which nothing was added for 14 days, with its temporaries.

        One whose temporaries can't be looked at, as their disk may not be mounted, has half a year.

        Args:
            now: seconds since the epoch.
        """
        removed = []
        for name in self._folder.names():
            modified = self._folder.modified(name)
            if modified is not None and modified + EXPIRY < now:
                removed += self._remove(name, away=modified + AWAY < now)
        return removed

    def _remove(self, name: str, *, away: bool) -> list[Leftover]:
        fd = self._folder.open(name)
        if fd is None:  # not even a file of ours
            self._folder.remove(name)
            return []
        try:
            if not lock(fd):
                return []
            contents = loaded(read_whole(fd))
            removed = []
            if contents.header is not None:
                output, partials = contents.header.output, contents.partials.values()
                if partials and is_away(output) and not away:
                    return []
                removed = remove_leftovers(output, partials)
            self._folder.remove(name)
            return removed
        finally:
            os.close(fd)

    def _views(self, wanted: Callable[[Header], bool]) -> list[JournalView]:
        views = []
        for name in self._folder.names():
            fd = self._folder.open(name)
            if fd is None:
                continue
            try:
                header = header_of(read_whole(fd, _LONGEST_HEADER))
                if header is None or not wanted(header):
                    continue
                modified = os.fstat(fd).st_mtime
                contents = loaded(read_whole(fd))
                live = is_held(fd)
            finally:
                os.close(fd)
            partials = tuple(contents.partials.values())
            placed, over = len(contents), contents.over
            views.append(JournalView(name, header, modified, live, partials, placed, over))
        return sorted(views, key=lambda view: view.modified, reverse=True)


class Journal:
    """The journal of a running transfer; made by `Journals.create`. Locked until it is closed.

    Attributes:
        header: which transfer it is.
        lost: it could not be written, and nothing more is recorded.
    """

    def __init__(
        self, header: Header, folder: StateFolder, name: str, fd: int, earlier: Contents
    ) -> None:
        self.header = header
        self.lost = False
        self._folder = folder
        self._name = name
        self._fd = fd
        self._size = 0
        self._earlier = earlier
        self._under_way = dict(earlier.partials)
        self._append(header.encoded())
        records = earlier.encoded()
        while some := b"".join(islice(records, _MERGED)):
            self._append(some)

    @property
    def earlier_partials(self) -> Mapping[bytes, Partial]:
        """Temporaries of the journals it continues that were not taken, by path."""
        return self._earlier.partials

    def take_partial(self, path: bytes) -> Partial | None:
        """The earlier temporary of the entry ``path``, once."""
        return self._earlier.partials.pop(path, None)

    def placed_earlier(self, path: bytes) -> list[Placed]:
        """What the journals it continues have put in place for the entry ``path``, if anything."""
        return self._earlier.placed(path)

    def intend(self, temporaries: Iterable[tuple[bytes, bytes]]) -> None:
        """Temporaries are about to be made: each its entry's path and the name drawn for it."""
        self._append(b"".join(partial_record(Partial(*pair)) for pair in temporaries))

    def partial(self, partial: Partial) -> None:
        """A temporary was made that is worth to be kept."""
        self._under_way[partial.path] = partial
        self._append(partial_record(partial))

    def placed(self, batch: Iterable[Placed]) -> None:
        """These are whole, and about to get their names; or directories, made or about to be."""
        self._append(placed_records(batch))

    def settled(self, paths: Iterable[bytes]) -> None:
        """All that was placed has its name: these entries, of those that had a temporary kept."""
        if self._under_way:
            for path in paths:
                self._under_way.pop(path, None)
        self._append(encoded(Kind.SETTLED))

    def forgotten(self, paths: Iterable[bytes]) -> None:
        """The temporaries of these entries were removed."""
        paths = list(paths)
        for path in paths:
            self._under_way.pop(path, None)
        self._append(forgotten_records(paths))

    def over(self) -> None:
        """The sender has the receipt: of this session nobody waits for this side any more."""
        self._append(encoded(Kind.OVER))

    def finish(self) -> None:
        """The transfer is over: remove the journal, and temporaries that nobody took up.

        It stays while those can't be looked at, since nothing else tells of them.
        """
        if self._fd >= 0:
            if not (self._under_way and is_away(self.header.output)):
                remove_leftovers(self.header.output, self._under_way.values())
                self._folder.remove(self._name)
            self.close()

    def close(self) -> None:
        """Let go of it; it stays, for another run to continue. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, records: bytes) -> None:
        if self.lost or self._fd < 0 or not records:
            return
        try:
            write_stream(self._fd, [records])
        except OSError:
            self.lost = True
        self._size += len(records)
        self.lost |= self._size > MAX_FILE - _LONGEST_HEADER
