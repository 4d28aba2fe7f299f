"""One side's count of a circuit: what it may send, and what it has to say that it took.

Without I/O. The rendezvous may be hostile: what it says is held to what can be true, so that it
makes this side keep no more than one window. Sizes are in bytes, with `FRAME_OVERHEAD` for a frame.
"""

from __future__ import annotations

from p2pxfer.errors import RendezvousMisbehaved
from p2pxfer.rendezvous.messages import CIRCUIT_WINDOW, FRAME_OVERHEAD, Took


class Flow:
    """Counts for both directions.

    Attributes:
        outstanding: what was sent and is not known to have been taken.
    """

    def __init__(self) -> None:
        self.outstanding = 0
        self._held = 0  # came, and is not taken
        self._untold = 0  # is taken, and the rendezvous not told

    def may_send(self, frame: bytes) -> bool:
        """Whether ``frame`` fits into the window."""
        return self.outstanding + len(frame) + FRAME_OVERHEAD <= CIRCUIT_WINDOW

    def sent(self, frame: bytes) -> None:
        """``frame`` is on its way; ask `may_send` before."""
        self.outstanding += len(frame) + FRAME_OVERHEAD

    def credited(self, size: int) -> None:
        """The other side is said to have taken so much.

        Raises:
            RendezvousMisbehaved: that is more than it was sent.
        """
        if size > self.outstanding:
            raise RendezvousMisbehaved("the rendezvous says that more was taken than was sent")
        self.outstanding -= size

    def received(self, frame: bytes) -> None:
        """A frame of the other side has come.

        Raises:
            RendezvousMisbehaved: it does not fit into the window.
        """
        self._held += len(frame) + FRAME_OVERHEAD
        if self._held + self._untold > CIRCUIT_WINDOW:
            raise RendezvousMisbehaved("the rendezvous sends more than its window allows")

    def took(self, size: int) -> None:
        """So much of what came need not be kept any more."""
        self._held -= size
        self._untold += size

    def to_tell(self) -> Took | None:
        """What to tell the rendezvous now."""
        if not self._untold:
            return None
        size, self._untold = self._untold, 0
        return Took(size)
