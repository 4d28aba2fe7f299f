"""Which end of a pairing a side is."""

from __future__ import annotations

from enum import Enum


class Role(Enum):
    """``A`` allocates the room and sends; ``B`` joins it and receives."""

    A = "A"
    B = "B"

    @property
    def other(self) -> Role:
        """The far end."""
        return Role.B if self is Role.A else Role.A

    @property
    def side(self) -> bytes:
        """The one byte that stands for the role in messages."""
        return self.value.encode("ascii")
