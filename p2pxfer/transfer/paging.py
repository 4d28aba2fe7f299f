"""Paging: the manifest as it goes out, cut into pages as far as the entry window has room.

Fills a `Ledger` with what was listed; knows nothing of decisions or content.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from p2pxfer.manifest import Entry
from p2pxfer.transfer.actions import Send, Walk
from p2pxfer.transfer.entries import MAX_ENTRIES_BYTES, encoded_size
from p2pxfer.transfer.ledger import Ledger
from p2pxfer.transfer.messages import ManifestEnd, Page

WALK_ROOM: Final = 512
PAGE_BYTES: Final = 8 * 1024  # a page is cut here: one is read in less than a millisecond


class Paging:
    """Entries found and not listed, and the end of them.

    Attributes:
        walking: the session was asked for more entries and has not answered.
        complete: all is listed, and the end was told.
    """

    __slots__ = ("_ledger", "_skipped", "_unpaged", "complete", "walking")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._unpaged: deque[tuple[Entry, int]] = deque()  # with the bytes that each takes
        self._skipped: int | None = None  # set by `end`
        self.walking = self.complete = False

    @property
    def idle(self) -> bool:
        """Whether `next_action` has nothing for now, or for good."""
        return self.complete or (self.walking and not self._unpaged)

    def add(self, entries: Sequence[Entry]) -> None:
        """Entries found.

        Raises:
            ValueError: one that the protocol can't carry, or after the end.
        """
        if self._skipped is not None:
            raise ValueError("the manifest has ended")
        self._unpaged.extend([(entry, encoded_size(entry)) for entry in entries])
        self.walking = False

    def end(self, skipped: int) -> None:
        """Nothing more will be found; ``skipped`` were found and never listed."""
        self._skipped = skipped
        self.walking = False

    def next_action(self) -> Send | Walk | None:
        """The next page, the end, or a walk for more; None for now, or for good."""
        if self._unpaged:
            page = self._cut()
            return Send(page) if page.entries else None
        if self._skipped is None:
            if self.walking:
                return None
            self.walking = True
            return Walk(WALK_ROOM)
        if self.complete:
            return None
        self.complete = True
        return Send(ManifestEnd(self._ledger.listed, self._ledger.size, self._skipped))

    def _cut(self) -> Page:
        ledger, unpaged = self._ledger, self._unpaged
        first, taken, size = ledger.listed, [], 0
        while unpaged and size < PAGE_BYTES:
            entry, length = unpaged[0]
            size += length
            if size > MAX_ENTRIES_BYTES or not ledger.add(entry):
                break
            unpaged.popleft()
            taken.append(entry)
        return Page(first, tuple(taken))
