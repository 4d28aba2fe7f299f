"""Tally: how far a transfer is, from its events. No terminal, no clock of its own.

Every output mode asks the same tally, so that bars, lines and NDJSON agree.
"""

from __future__ import annotations

from collections import deque

from p2pxfer.progress import (
    Advanced,
    Connected,
    EntryFailed,
    Event,
    FilesFinished,
    FileStarted,
    Offered,
    Restarted,
    Resumed,
    Stalled,
)

RATE_WINDOW = 5.0  # seconds that a rate looks back: long enough to be calm, short enough to be true
SAMPLE_EVERY = 0.2  # seconds


class Tally:
    """Counts of one transfer.

    Attributes:
        done: content bytes so far.
        moved: content bytes that travelled, over all that was begun again.
        total: content bytes of the whole, as far as known; None for a stream.
        complete: whether ``total`` is final.
        entries: files, folders and symlinks offered so far.
        files: files that have crossed.
        failed: entries that did not.
        path: the file that is crossing, raw; None between files.
        path_size: its bytes; None for a stream.
        path_done: how many of them are done.
        stalled: the silence that was last reported; None while bytes move.
        connected: whether the two sides have met.
        started: whether content has begun to cross.
    """

    def __init__(self) -> None:
        self.done = 0
        self.moved = 0
        self.total: int | None = 0
        self.complete = False
        self.entries = 0
        self.files = 0
        self.failed = 0
        self.path: bytes | None = None
        self.path_size: int | None = None
        self.path_done = 0
        self.stalled: Stalled | None = None
        self.stalled_at = 0.0
        self.connected = False
        self.started = False
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, event: Event, now: float) -> None:
        """Count one event at ``now`` seconds."""
        match event:
            case FilesFinished(files):
                self.files += len(files)
                self.path = None
            case Connected():
                self.connected = True
            case Advanced(size, saved):
                self.done += size
                self.moved += size - saved
                self.path_done += size
                self.started = True
            case FileStarted(path, size):
                self.path, self.path_size, self.path_done = path, size, 0
                self.started = True
            case EntryFailed(path):
                self.failed += 1
                if path == self.path:
                    self.path = None
            case Offered(entries, size, complete):
                self.entries, self.total, self.complete = entries, size, complete
            case Stalled():
                self.stalled = event
                self.stalled_at = now
            case Resumed():
                self.stalled = None
            case Restarted():
                self.done = self.path_done = self.files = 0
                self.path = None
                self._samples.clear()

    def sample(self, now: float) -> None:
        """Remember how far it is at ``now`` seconds; `rate` looks at these."""
        if not self.started or (self._samples and now - self._samples[-1][0] < SAMPLE_EVERY):
            return
        self._samples.append((now, self.done))
        while now - self._samples[0][0] > RATE_WINDOW:
            self._samples.popleft()

    @property
    def rate(self) -> float | None:
        """Bytes a second over the last few seconds; None while there is too little to tell by."""
        if not self._samples:
            return None
        (first, done_first), (last, done_last) = self._samples[0], self._samples[-1]
        return (done_last - done_first) / (last - first) if last > first else None

    @property
    def fraction(self) -> float | None:
        """Done of the whole, 0 to 1; None while the whole is unknown."""
        if self.total is None or not self.complete:
            return None
        return min(1.0, self.done / self.total) if self.total else 1.0

    @property
    def left(self) -> float | None:
        """Seconds left at the present rate; None when nobody can say."""
        if self.total is None or not self.complete or not (rate := self.rate):
            return None
        return max(0, self.total - self.done) / rate

    @property
    def finishing(self) -> bool:
        """Whether all content has crossed, and only its confirmation is awaited."""
        return self.complete and self.started and self.total is not None and self.done >= self.total

    def stalled_for(self, now: float) -> float | None:
        """Seconds of the present silence; None while bytes move."""
        return None if self.stalled is None else self.stalled.seconds + now - self.stalled_at
