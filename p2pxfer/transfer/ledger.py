"""Ledger: the entries that are listed and not settled, and the sums over those that are.

Both machines keep one, and as both settle the same entries in the same order they end with the
same sums. Knows stages of an entry; no frames, no credit in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from p2pxfer.manifest import Entry, EntryKind, Failure
from p2pxfer.transfer.actions import Outcome
from p2pxfer.transfer.credit import ENTRY_WINDOW, entry_weight
from p2pxfer.transfer.receipt import FailureList


class Stage(IntEnum):
    """Where one entry is."""

    LISTED = 0
    AWAITED = 1  # a wanted file: its FileEnd is to come
    MAKING = 2  # a directory or symlink: the receiver makes it without further frames
    ENDED = 3  # a file whose FileEnd is out, or in
    DRAINING = 4  # failed at the receiver; its FileEnd is to come
    OVER = 5


class Step(IntEnum):
    """What moves an entry on."""

    SKIP = 0
    WANT = 1
    MAKE = 2
    END = 3
    DONE = 4
    FAIL = 5


MOVES: Final[Mapping[tuple[Stage, Step], Stage]] = {
    (Stage.LISTED, Step.SKIP): Stage.OVER,
    (Stage.LISTED, Step.WANT): Stage.AWAITED,
    (Stage.LISTED, Step.MAKE): Stage.MAKING,
    (Stage.MAKING, Step.DONE): Stage.OVER,
    (Stage.MAKING, Step.FAIL): Stage.OVER,
    (Stage.AWAITED, Step.END): Stage.ENDED,
    (Stage.AWAITED, Step.FAIL): Stage.DRAINING,
    (Stage.DRAINING, Step.END): Stage.OVER,
    (Stage.ENDED, Step.DONE): Stage.OVER,
    (Stage.ENDED, Step.FAIL): Stage.OVER,
}

# To look a member up in its class takes longer than what is done with it for each entry.
LISTED: Final = Stage.LISTED
OVER: Final = Stage.OVER
END: Final = Step.END
DONE: Final = Step.DONE
_WANT: Final = Step.WANT
_FILE: Final = EntryKind.FILE


class Slot:
    """An entry that is not settled.

    Attributes:
        failure: why it will not arrive, as far as known.
        refused: the failure is the receiver's; it overrides the sender's.
        owed: at the receiver, credit taken by its blocks that are not written.
        size: of its content, from its FileEnd; ``root`` likewise.
    """

    __slots__ = ("entry", "failure", "number", "owed", "refused", "root", "size", "stage", "weight")

    def __init__(self, number: int, entry: Entry, weight: int) -> None:
        self.number = number
        self.entry = entry
        self.weight = weight
        self.stage = LISTED
        self.failure: Failure | None = None
        self.refused = False
        self.owed = 0
        self.size = 0
        self.root = b""

    def move(self, step: Step) -> None:
        """Take a step.

        Raises:
            ValueError: not from this stage.
        """
        stage = MOVES.get((self.stage, step))
        if stage is None:
            raise ValueError(f"{step.name} of entry {self.number}, which is {self.stage.name}")
        self.stage = stage

    def refuse(self, failure: Failure) -> None:
        """The receiver failed it."""
        self.failure, self.refused = failure, True


class Ledger:
    """Entries by number, from the first that is not settled.

    Attributes:
        listed: how many there are, settled ones included.
        decided: the receiver decided on all below this number.
        settled: all below this number are over and forgotten.
        size: sum of the sizes listed, without those unknown.
        held: weight of what is listed and not released (see `release`).
        done_size: sum over the files that arrived.
        failures: the settled entries that did not.
    """

    __slots__ = (
        "_settled_weight",
        "_slots",
        "decided",
        "done_size",
        "failures",
        "held",
        "listed",
        "settled",
        "size",
    )

    def __init__(self) -> None:
        self._slots: dict[int, Slot] = {}
        self._settled_weight = 0
        self.listed = self.decided = self.settled = 0
        self.size = self.held = self.done_size = 0
        self.failures = FailureList()

    def add(self, entry: Entry) -> bool:
        """List one more; False if the entry window has no room for it."""
        number, weight, size = self.listed, entry_weight(entry), entry.size
        if self.held + weight > ENTRY_WINDOW:
            return False
        self._slots[number] = Slot(number, entry, weight)
        self.listed = number + 1
        self.held += weight
        if size > 0:
            self.size += size
        return True

    def get(self, number: int) -> Slot | None:
        """An entry that is listed and not settled."""
        return self._slots.get(number)

    def __getitem__(self, number: int) -> Slot:
        return self._slots[number]

    def want(self, slot: Slot) -> bool:
        """The receiver wants it; returns whether content is to come."""
        if slot.entry.kind is _FILE:
            slot.move(_WANT)
            return True
        slot.move(Step.MAKE)
        return False

    def settle_over(self) -> list[Outcome]:
        """Settle what is over, up to the first entry that is not."""
        slots, stop = self._slots, self.settled
        while (slot := slots.get(stop)) is not None and slot.stage is OVER:
            stop += 1
        return self.settle(stop)

    def settle(self, stop: int) -> list[Outcome]:
        """Forget all entries below ``stop``; their weight is held until `release`."""
        take, outcomes, weight, size = self._slots.pop, [], 0, 0
        for number in range(self.settled, stop):
            slot = take(number)
            weight += slot.weight
            failure = slot.failure
            if failure is None:
                size += slot.size
                outcomes.append(Outcome(number, slot.entry, None, slot.size, slot.root))
            else:
                self.failures.add(number, failure)
                outcomes.append(Outcome(number, slot.entry, failure, 0, b""))
        self.settled = stop
        self._settled_weight += weight
        self.done_size += size
        return outcomes

    def release(self) -> None:
        """Give the weight of what was settled back to the window: both sides know of it now."""
        self.held -= self._settled_weight
        self._settled_weight = 0
