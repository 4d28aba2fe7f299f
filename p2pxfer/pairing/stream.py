"""A stream of messages in sealed frames, for a carrier that is not trusted.

A message is cut into frames of bounded size, each sealed with the next number of its direction.
Whatever the carrier does, what comes out is a beginning of what went in, or an error. That it is
all of it, only what the messages say can show. No sockets; ``docs/pairing-protocol.md`` has the
bytes.
"""

from __future__ import annotations

from typing import Final

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.pairing.keys import TAG_SIZE, Opener, Sealer

MAX_FRAME: Final = 64 * 1024  # bytes, sealed
MAX_PART: Final = MAX_FRAME - TAG_SIZE - 1  # bytes of a message in one frame
MORE: Final = b"\0"  # another frame of this message follows
LAST: Final = b"\1"  # none does


class FrameSealer:
    """Cuts and seals what this side sends.

    Args:
        sealer: of a key that serves this stream alone.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def greeting(self) -> bytes:
        """The first frame, which holds nothing: who opens it knows who sealed it."""
        return self._sealer.seal(LAST)

    def seal(self, message: bytes) -> list[bytes]:
        """The frames of ``message``, which is not empty.

        Raises:
            RuntimeError: the key is used up.
        """
        if len(message) <= MAX_PART:
            return [self._sealer.seal(LAST + message)]
        parts = [message[at : at + MAX_PART] for at in range(0, len(message), MAX_PART)]
        kinds = [MORE] * (len(parts) - 1) + [LAST]
        return [self._sealer.seal(k + part) for k, part in zip(kinds, parts, strict=True)]


class FrameOpener:
    """Opens and joins what the other side sends.

    Args:
        opener: of the far sealer's key.
        max_message: bytes of a message, joined.

    Attributes:
        greeted: the other side's greeting was opened.
    """

    def __init__(self, opener: Opener, max_message: int) -> None:
        self.greeted = False
        self._opener = opener
        self._max_message = max_message
        self._begun = bytearray()  # of a message whose end has not come

    def open(self, frame: bytes) -> bytes | None:
        """Take the next frame; the message that it completes, or None.

        Nothing can be opened after an error.

        Raises:
            IntegrityError: it was changed, cut, repeated, reflected, put out of order or taken
                from another stream.
            PeerMisbehaved: the other side sealed what is no frame, or a message too long.
        """
        plain = self._opener.open(frame)
        kind, part = plain[:1], plain[1:]
        if not self.greeted:
            if plain != LAST:
                raise self._broken("a stream that does not begin with a greeting")
            self.greeted = True
            return None
        if kind not in (MORE, LAST) or not part:
            raise self._broken("a frame of an unknown kind, or with nothing in it")
        if len(self._begun) + len(part) > self._max_message:
            raise self._broken("a message longer than any that is spoken")
        if kind == LAST and not self._begun:
            return part
        self._begun += part
        if kind == MORE:
            return None
        message = bytes(self._begun)
        self._begun.clear()
        return message

    def _broken(self, what: str) -> PeerMisbehaved:
        self._begun.clear()
        self._opener.give_up()
        return PeerMisbehaved(what)
