"""A far end that lies: packets with the right tag and checksum that say something else.

Wraps a link; what it makes is well formed on the outside, as only the peer itself could send it.
"""

from __future__ import annotations

import random
from collections import deque

import google_crc32c

from tests.sctp.link import Link

HEADER = 12
TYPES = (*range(15), 0x80, 0x81, 0x82, 0x84, 0xC0, 0xC1, 0x3F, 0x7F, 0xBF, 0xFF)
NUMBERS = (0, 1, 2, 3, 4, 0x7FFF, 0x8000, 0xFFFF)


def sealed(packet: bytes) -> bytes:
    """The same packet with the checksum that fits it."""
    blank = packet[:8] + bytes(4) + packet[HEADER:]
    return packet[:8] + google_crc32c.value(blank).to_bytes(4, "little") + packet[HEADER:]


class Tampering:
    """A link whose packets are changed by whoever knows the tag.

    Args:
        link: what carries them.
        rng: draws what is changed.
        share: of the packets that are.
    """

    def __init__(self, link: Link, rng: random.Random, share: float):
        self._link, self._rng, self._share = link, rng, share
        self._recent: deque[bytes] = deque(maxlen=32)
        self.counts = link.counts

    def send(self, packet, deliver, *, whole=True):
        """Take a packet; others may go with it or instead of it."""
        rng = self._rng
        self._recent.append(packet)
        if rng.random() >= self._share:
            self._link.send(packet, deliver, whole=whole)
            return
        ways = (self._bits, self._number, self._cut, self._forged, self._bundle, self._old)
        for _ in range(rng.choice((1, 1, 1, 2, 20))):
            self._link.send(sealed(rng.choice(ways)(packet)), deliver, whole=False)
        if rng.random() < 0.5:
            self._link.send(packet, deliver, whole=whole)

    def _bits(self, packet: bytes) -> bytes:
        changed = bytearray(packet)
        for _ in range(self._rng.randint(1, 4)):
            changed[self._rng.randrange(HEADER, min(len(packet), 60))] ^= 1 << self._rng.randrange(
                8
            )
        return bytes(changed)

    def _number(self, packet: bytes) -> bytes:
        """Some 16 or 32 bits of the first chunk are small, large or next to what they were."""
        rng = self._rng
        size = rng.choice((2, 4))
        at = rng.randrange(HEADER, min(len(packet), 48) - size + 1, 2)
        old = int.from_bytes(packet[at : at + size], "big")
        near = old + rng.choice((-1, 1, 2, 100, 70_000, 1 << 31))
        new = rng.choice((rng.choice(NUMBERS), near)) % (1 << 8 * size)
        return packet[:at] + new.to_bytes(size, "big") + packet[at + size :]

    def _cut(self, packet: bytes) -> bytes:
        return packet[: self._rng.randrange(HEADER, len(packet))]

    def _chunk(self) -> bytes:
        rng = self._rng
        body = rng.randbytes(rng.choice((0, 1, 4, 8, 12, 12, 13, 16, 20, 60)))
        length = rng.choice((len(body) + 4, len(body) + 4, len(body) + 4, rng.randrange(1 << 16)))
        head = bytes((rng.choice(TYPES), rng.choice((0, 0, 3, 7, 15, 255))))
        chunk = head + length.to_bytes(2, "big") + body
        return chunk + bytes(-len(chunk) % 4)

    def _forged(self, packet: bytes) -> bytes:
        """Chunks of any kind, some of them near what is expected."""
        chunks = b"".join(self._chunk() for _ in range(self._rng.choice((1, 1, 2, 5))))
        return packet[:HEADER] + chunks

    def _bundle(self, packet: bytes) -> bytes:
        other = self._rng.choice(self._recent)
        return packet + other[HEADER:] if self._rng.random() < 0.5 else packet + self._chunk()

    def _old(self, packet: bytes) -> bytes:
        return packet[:8] + bytes(4) + self._rng.choice(self._recent)[HEADER:]
