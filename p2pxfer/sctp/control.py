"""What waits to leave beside DATA: answers, SACKs, and the time that a SACK may wait.

Bounded: what is one too many is dropped, and whoever needs it asks again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from p2pxfer.sctp.chunks import Chunk, Init, write_chunk
from p2pxfer.sctp.config import Config
from p2pxfer.sctp.handshake import Reply
from p2pxfer.sctp.inbound import EVERY, Inbound
from p2pxfer.sctp.mtu import PathMtu
from p2pxfer.sctp.packets import encode
from p2pxfer.sctp.transmit import Transmit
from p2pxfer.sctp.wire import HEADER, Wire

DELAY: Final = 0.02  # seconds that a SACK waits at most; RFC 9260 section 6.2 allows 0.2
APART: Final = 0.001  # seconds between two SACKs to an own peer that sends many packets
MOST: Final = 256  # packets


class Control:
    """The queue of one association.

    Attributes:
        sack_at: when a SACK that waits must leave; None if none waits.
        told_at: when one left that waited.
    """

    __slots__ = ("_config", "_mtu", "_packets", "_tag", "_wire", "sack_at", "told_at")

    def __init__(self, config: Config, mtu: PathMtu) -> None:
        self._config = config
        self._mtu = mtu
        self._packets: deque[bytes] = deque()
        self._tag: int | None = None
        self._wire = Wire(config.port, config.remote_port, 0)
        self.sack_at: float | None = None
        self.told_at = -math.inf

    @property
    def waiting(self) -> bool:
        """Whether something is to leave now."""
        return bool(self._packets)

    def agreed(self, tag: int, wire: Wire) -> None:
        """The association is established: chunks go to this peer from now on."""
        self._tag = tag
        self._wire = wire

    def _put(self, packet: bytes) -> None:
        if len(self._packets) < MOST:
            self._packets.append(packet)

    def reply(self, reply: Reply) -> None:
        """Let a chunk leave in a packet of its own.

        INIT and COOKIE ECHO always bear a checksum (RFC 9653 section 5.2), and so does what may
        meet an end that knows nothing yet.
        """
        if reply.tag != self._tag or isinstance(reply.chunk, Init):
            port, remote = self._config.port, self._config.remote_port
            self._put(encode(reply.tag, (reply.chunk,), source=port, destination=remote))
        else:
            self.chunk(reply.chunk)

    def chunk(self, chunk: Chunk) -> None:
        """Let a chunk leave to the peer; before the association is established there is none."""
        if self._tag is not None:
            self._put(self._wire.wrap(write_chunk(chunk)))

    def report(self, sacks: Sequence[bytes]) -> None:
        """Let SACKs leave, a packet each."""
        if sacks:
            self.sack_at = None
        for sack in sacks:
            self._put(self._wire.wrap(sack))

    def sack(self, inbound: Inbound) -> None:
        """Let a SACK leave that covers what came so far."""
        if len(self._packets) < MOST:
            self.report((inbound.sack(self._mtu.size - HEADER),))

    def delay(self, now: float, inbound: Inbound) -> None:
        """Something came that a SACK must cover before long.

        Each one to an own peer costs both ends as much as some packets do: without a reason to
        hurry they leave a millisecond apart. Another stack has had its own at every second packet.
        """
        if inbound.unreported < EVERY:
            at = now + DELAY
        elif now < self.told_at + APART:
            at = self.told_at + APART
        else:
            inbound.hurry = True
            return
        if self.sack_at is None or at < self.sack_at:
            self.sack_at = at

    def transmit(self) -> Transmit | None:
        """Everything that waits."""
        if not self._packets:
            return None
        packets = list(self._packets)
        self._packets.clear()
        # the answer to a long HEARTBEAT is as long, and its way back another one
        return Transmit(packets, fragmentable=max(map(len, packets)) > self._mtu.size)
