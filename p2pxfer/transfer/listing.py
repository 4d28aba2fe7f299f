"""Listing: the manifest as it arrives, checked against what was offered.

Fills a `Ledger`; knows nothing of decisions or content.
"""

from __future__ import annotations

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.manifest import UNKNOWN_SIZE, Entry, EntryKind, TransferKind
from p2pxfer.transfer.actions import Totals
from p2pxfer.transfer.ledger import Ledger
from p2pxfer.transfer.messages import ManifestEnd, Page


class Listing:
    """Pages and the end of them.

    Attributes:
        kind: of the transfer, from its offer.
        complete: nothing more will be listed.
        changed: `totals` would say something new.
    """

    __slots__ = ("_ledger", "_skipped", "_streaming", "changed", "complete", "kind")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._skipped = 0
        self._streaming = False
        self.kind = TransferKind.FILES
        self.complete = False
        self.changed = False

    def add_page(self, page: Page) -> None:
        """Take more entries.

        Raises:
            PeerMisbehaved: out of order, over the window, or not of this kind of transfer.
        """
        ledger = self._ledger
        if self.complete or page.first != ledger.listed:
            raise PeerMisbehaved("the other side listed entries out of order")
        add, files = ledger.add, self.kind is TransferKind.FILES
        for entry in page.entries:
            if not files or entry.size == UNKNOWN_SIZE:
                self._check_kind(entry)
            if not add(entry):
                raise PeerMisbehaved("the other side listed more entries than it may")
        self.changed = True

    def end(self, end: ManifestEnd) -> None:
        """Take the end.

        Raises:
            PeerMisbehaved: a second one, or other sums than were listed.
        """
        sums = (self._ledger.listed, self._ledger.size)
        if self.complete or (end.entries, end.size) != sums:
            raise PeerMisbehaved("the other side ended its list with other sums")
        self._skipped = end.skipped
        self.complete = self.changed = True

    def totals(self) -> Totals:
        """What is listed so far."""
        self.changed = False
        size = None if self._streaming else self._ledger.size
        return Totals(self._ledger.listed, size, self.complete, self._skipped)

    def _check_kind(self, entry: Entry) -> None:
        """A stream or text is one file, and only a stream may lack its size."""
        streaming = entry.size == UNKNOWN_SIZE
        alone = self._ledger.listed == 0 and entry.kind is EntryKind.FILE
        if not (
            (self.kind is TransferKind.FILES or alone)
            and (self.kind is TransferKind.STREAM or not streaming)
        ):
            raise PeerMisbehaved(f"the other side listed what no offer of {self.kind.name} has")
        self._streaming = streaming
