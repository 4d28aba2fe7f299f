"""Small files on their way to the disk: many are synced together, and get their names after that.

Runs in a worker thread. They are written as they come; while some batches are synced, the next is
written. Whether a file is taken, and what of it is here already, is not known here.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from p2pxfer.files.writer import Batch, Nameless, OutputTree, SmallFile
from p2pxfer.session.sinks import Ended, EndedWell, Result

SYNCING: Final = 2  # batches that are on their way to the disk while the next is written
SMALL_BYTES: Final = 4 * 1024 * 1024  # of a batch; a kill costs what is in all three at worst
LEAST_TOGETHER: Final = 256  # files of a batch, towards the end: the last is waited for


class SmallFiles:
    """Those of one tree that have come, and do not have their names yet.

    Args:
        tree: takes them.
    """

    def __init__(self, tree: OutputTree) -> None:
        self._tree = tree
        self._together = tree.together
        self._numbers: list[int] = []  # of the present batch: of what was written, then of the rest
        self._to_write: list[SmallFile] = []
        self._written: list[Nameless] = []
        self._size = 0  # bytes of the present batch
        self._before: list[Batch] = []  # on their way to the disk when its first was written
        self._syncing: deque[tuple[list[int], Batch]] = deque()

    @property
    def waiting(self) -> bool:
        """Whether there are any."""
        return bool(self._numbers or self._syncing)

    def add(self, number: int, small: SmallFile, to_come: int, results: list[Result]) -> None:
        """One more of the present batch, which begins to be synced when it is large enough.

        Args:
            number: the entry's.
            small: all of the file; kept until the next `go_on` at most.
            to_come: entries that may follow it.
            results: get what became of others meanwhile.
        """
        self._numbers.append(number)
        self._to_write.append(small)
        self._size += len(small.data)
        enough = min(self._together, max(LEAST_TOGETHER, to_come))
        if len(self._numbers) >= enough or self._size >= SMALL_BYTES:
            self._sync(results)

    def go_on(self, results: list[Result], *, idle: bool) -> None:
        """Write what has come, and name what is on the disk; all of it, if nothing else comes."""
        self._write()
        if idle:
            self._sync(results)
        self._name(results, 0 if idle else SYNCING)

    def close(self, *, keep: bool) -> None:
        """Remove all of them, or with ``keep`` give them their names first."""
        if keep:
            self.go_on([], idle=True)
        for batch in (*(batch for _, batch in self._syncing), Batch(self._written, [])):
            self._tree.drop_small(batch)

    def _write(self) -> None:
        if self._to_write:
            if not self._written:
                self._before = [batch for _, batch in self._syncing]
            small, self._to_write = self._to_write, []
            self._written += self._tree.write_small(small)

    def _sync(self, results: list[Result]) -> None:
        """Begin to sync the present batch, then name those that were synced meanwhile."""
        self._write()
        if not self._written:
            return
        batch = self._tree.sync_small(self._written, self._before)
        self._syncing.append((self._numbers, batch))
        self._numbers, self._written, self._before, self._size = [], [], [], 0
        self._name(results, SYNCING)

    def _name(self, results: list[Result], left: int) -> None:
        """Name what is on the disk, and all but ``left`` batches in any case."""
        syncing = self._syncing
        while syncing and (len(syncing) > left or syncing[0][1].known()):
            numbers, batch = syncing.popleft()
            outcomes = self._tree.name_small(batch)
            if any(outcomes):
                both = list(zip(numbers, outcomes, strict=True))
                results += [Ended.of(number, error) for number, error in both if error is not None]
                numbers = [number for number, error in both if error is None]
            results.append(EndedWell(numbers))
