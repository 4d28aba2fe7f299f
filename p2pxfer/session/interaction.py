"""What only a human, or a policy that stands in for one, can answer.

Sessions ask through `Interaction` and never see a terminal. Names in an `OfferView` are the peer's
bytes, raw: whoever shows one escapes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from msgspec import Struct

from p2pxfer.manifest import TransferKind
from p2pxfer.transfer.actions import NewEntries, Totals
from p2pxfer.transfer.messages import Offer

Existing = Literal["overwrite", "rename", "skip"]
NAMES_SHOWN = 10


class OfferView(Struct, frozen=True):
    """What is known of an offer when the receiver is asked.

    Attributes:
        kind: files, a stream, or text.
        names: the first top-level names, raw bytes, at most `NAMES_SHOWN`.
        more_names: whether there are further top-level names, known or still to come.
        entries: files, directories and symlinks known so far.
        size: content bytes known so far; None for a stream.
        complete: whether the sender has walked everything.
    """

    kind: TransferKind
    names: tuple[bytes, ...]
    more_names: bool
    entries: int
    size: int | None
    complete: bool


def view(offer: Offer, totals: Totals, pages: Iterable[NewEntries]) -> OfferView:
    """What is known of ``offer`` once ``pages`` of it have come."""
    names: list[bytes] = []
    more = not totals.complete
    for page in pages:
        for entry in page.entries:
            if b"/" in entry.path:
                continue
            if len(names) == NAMES_SHOWN:
                more = True
                break
            names.append(entry.path)
    return OfferView(offer.kind, tuple(names), more, totals.entries, totals.size, totals.complete)


class Interaction(Protocol):
    """Answers questions while a session goes on.

    Attributes:
        asks: somebody has to think about an offer, and should be shown all of it, if it can be.
    """

    @property
    def asks(self) -> bool: ...  # noqa: D102  # see above

    async def verify(self, words: tuple[str, ...]) -> bool:
        """Whether the other side shows the same words."""

    async def accept(self, offer: OfferView) -> bool:
        """Whether to take what is offered."""

    async def existing(self, path: bytes) -> Existing:
        """What to do about ``path``, which is already there."""


class Unattended:
    """Nobody is there: takes offers if told to, keeps existing files, can't compare words."""

    asks = False

    def __init__(self, *, accept: bool = False) -> None:
        self._accept = accept

    async def verify(self, words: tuple[str, ...]) -> bool:  # noqa: ARG002  # the protocol's shape
        """No: nobody can look at the other side's words."""
        return False

    async def accept(self, offer: OfferView) -> bool:  # noqa: ARG002  # the protocol's shape
        """What the program that embeds this decided beforehand."""
        return self._accept

    async def existing(self, path: bytes) -> Existing:  # noqa: ARG002  # the protocol's shape
        """Never replace anything unasked."""
        return "skip"
