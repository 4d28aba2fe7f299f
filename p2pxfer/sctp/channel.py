"""One data channel as `datachannel` keeps it: how it was opened, and how far it is closed."""

from __future__ import annotations


class Channel:
    """One channel.

    Attributes:
        ordered: as it was opened.
        theirs: the far end opened it.
        accepted: the far end is known to have it, so that order may be given up (RFC 8832
            section 6).
        closing: no message is sent or told any more.
        outgoing, incoming: which of the two streams still have to be reset.
        overhead: bytes of the establishment protocol that are queued.
        queued: bytes of the user's that are queued.
    """

    __slots__ = (
        "accepted",
        "closing",
        "incoming",
        "ordered",
        "outgoing",
        "overhead",
        "queued",
        "theirs",
    )

    def __init__(self, *, ordered: bool, theirs: bool, accepted: bool) -> None:
        self.ordered = ordered
        self.theirs = theirs
        self.accepted = accepted
        self.closing = False
        self.outgoing = self.incoming = True
        self.overhead = self.queued = 0
