"""Packets on their way in: who may say what, and a fast path for single DATA and SACK chunks.

Most packets bear one DATA chunk that comes next in its sequence, or one SACK without gaps: both
are read with one `unpack_from` and cost no call. Everything else goes chunk by chunk. Here are
checksums, tags and structure (RFC 9260 sections 6.8, 8.4, 8.5), and which DATA is answered when.
What DATA and SACK do is for inbound.py and sending.py; all other chunks are dispatch.py's.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from p2pxfer.sctp import causes
from p2pxfer.sctp.chunks import Abort, ChunkType, Error, Init, ShutdownComplete, read_chunk
from p2pxfer.sctp.config import State
from p2pxfer.sctp.dispatch import Dispatch
from p2pxfer.sctp.inbound import EVERY
from p2pxfer.sctp.packets import checksum_valid, parse
from p2pxfer.sctp.parameters import Malformed
from p2pxfer.sctp.reassembly import MANY, Violation
from p2pxfer.sctp.wire import CHUNK, DATA_HEADER, FIELDS, HEADER, OVERHEAD, Wire

if TYPE_CHECKING:
    from p2pxfer.sctp.association import Association
    from p2pxfer.sctp.config import Config
    from p2pxfer.sctp.inbound import Inbound

LONG: Final = 4096  # bytes from which a view costs less than a copy
MASK: Final = 0xFFFFFFFF
HALF: Final = 0x80000000
CHUNK_HEADER: Final = 4
SACK_ALONE: Final = ChunkType.SACK << 24 | DATA_HEADER  # type, flags and length without any gap
IMMEDIATE: Final = 8 << 16
ANY_DATA: Final = 0xF_FFFF  # type 0, whatever flags and length
PADDED: Final = 3  # most bytes of padding
ALONE: Final = frozenset({ChunkType.INIT, ChunkType.INIT_ACK, ChunkType.SHUTDOWN_COMPLETE})
_tail = struct.Struct(">HIIHH")  # a SACK's length and on to the number of duplicates
_unpack = FIELDS.unpack_from


class Receiving:
    """Reads what comes for one association."""

    __slots__ = ("_association", "_config", "_dispatch", "_own", "_wire")

    def __init__(self, association: Association, config: Config, tag: int) -> None:
        self._association = association
        self._config = config
        self._own = config.own_peer
        self._wire = Wire(config.remote_port, config.port, tag)
        self._dispatch = Dispatch(association, tag)

    def take(self, packets: Sequence[bytes], now: float) -> None:
        """Read a batch."""
        try:
            at = 0
            while at < len(packets):
                at = self._ahead(packets, self._fast(packets, at))
                if at < len(packets):
                    self._packet(packets[at], now)
                    at += 1
        except Violation as violation:
            self._association.violated(str(violation))

    def _fast(self, packets: Sequence[bytes], start: int) -> int:  # noqa: C901, PLR0912, PLR0915  # calls cost more than all else
        """Take DATA in sequence and plain SACKs; returns where something else begins."""
        inbound, sending = self._association.inbound, self._association.sending
        if inbound is None or sending is None or not self._association.receives:
            return start
        reassembly = inbound.reassembly
        parts = reassembly.parts
        append = parts.append
        number, zero, valid = self._wire.number, self._config.zero_checksum, self._wire.valid
        expected = (inbound.cumulative + 1) & MASK if inbound.whole and inbound.open else -1
        where = reassembly.where if parts else -1
        count = size = 0
        sack = -1
        rwnd = 0
        at = start
        try:
            for packet in packets[start:] if start else packets:
                room = len(packet) - HEADER
                if room < DATA_HEADER:
                    break
                head, check, kind, tsn, place = _unpack(packet)
                if head != number or not ((zero and not check) or valid(packet, check)):
                    break
                if tsn == expected and place == where and DATA_HEADER < kind == room:
                    append(packet[OVERHEAD:] if kind < LONG else memoryview(packet)[OVERHEAD:])
                    size += kind
                elif kind == SACK_ALONE and not place & MASK and room == DATA_HEADER:
                    if sack < 0 or (tsn - sack) & MASK < HALF:
                        sack = tsn
                        rwnd = place >> 32
                    at += 1
                    continue
                elif tsn == expected and kind <= ANY_DATA:
                    length = kind & 0xFFFF
                    if length <= DATA_HEADER or (length + PADDED) & ~PADDED != room:
                        break
                    if kind & IMMEDIATE:
                        inbound.hurry = True
                    reassembly.size += size
                    size = 0
                    # counted first: if it raises, the association is over
                    reassembly.take(kind >> 16 & 7, place, packet[OVERHEAD : HEADER + length])
                    where = reassembly.where if parts else -1
                    if not parts and not inbound.open:
                        count += 1
                        at += 1
                        break
                else:
                    break
                expected = (expected + 1) & MASK
                count += 1
                at += 1
        finally:
            reassembly.size += size
            if count:
                self._advance(count)
        if reassembly.size > self._config.max_message + (len(parts) + 1) * DATA_HEADER:
            raise Violation("a message is longer than was announced")
        if len(parts) >= MANY:
            reassembly.gather()
        if sack >= 0 and not sending.report(sack, rwnd):
            raise Violation("a SACK acknowledges what was never sent")
        return at

    def _ahead(self, packets: Sequence[bytes], start: int) -> int:
        """Take single DATA chunks while something before them is missing; returns where that ends.

        After a loss that is a round trip's worth of packets.
        """
        inbound = self._association.inbound
        if start == len(packets) or inbound is None or inbound.whole:
            return start
        number, zero, valid = self._wire.number, self._config.zero_checksum, self._wire.valid
        at = start
        for packet in packets[start:] if start else packets:
            if inbound.whole or not self._association.receives or len(packet) < OVERHEAD:
                break
            head, check, kind, tsn, place = _unpack(packet)
            alone = DATA_HEADER < kind & 0xFFFF == len(packet) - HEADER and not len(packet) & PADDED
            if head != number or kind > ANY_DATA or not alone:
                break
            if not ((zero and not check) or valid(packet, check)):
                break
            inbound.data(kind >> 16, tsn, place, packet[OVERHEAD:])
            self._counted()
            at += 1
        return at

    def _advance(self, count: int) -> None:
        """So many packets with one chunk each came in sequence: SACK as the peer needs it."""
        inbound = self._association.inbound
        assert inbound is not None
        if self._own:
            inbound.cumulative += count
            inbound.unreported += count
        else:
            # one for two packets, as the rates of other stacks depend on it
            self._association.control.report(inbound.advance(count))
        self._refuse(inbound)

    def _refuse(self, inbound: Inbound) -> None:
        """Say that a stream was used that does not exist (RFC 9260 section 6.5)."""
        if inbound.refused is not None:
            self._association.control.chunk(Error((causes.invalid_stream(inbound.refused),)))
            inbound.refused = None

    # packet by packet

    def _packet(self, packet: bytes, now: float) -> None:
        """Take any packet."""
        if len(packet) < HEADER + CHUNK_HEADER or len(packet) & 3:
            return
        begin = int.from_bytes(packet[:8], "big")
        check = int.from_bytes(packet[8:HEADER], "big")
        kind = packet[HEADER]
        if begin != self._wire.number:
            self._stranger(packet, now)
            return
        if kind == ChunkType.INIT:
            return  # with a tag other than zero (RFC 9260 section 8.5.1)
        if not (check == 0 and self._config.zero_checksum) and not self._wire.valid(packet, check):
            return
        try:
            self._chunks(packet, now)
        except Malformed:
            return

    def _chunks(self, packet: bytes, now: float) -> None:
        end = len(packet)
        at = HEADER
        data = False
        while at < end:
            kind, flags = packet[at], packet[at + 1]
            length = packet[at + 2] << 8 | packet[at + 3]
            if length < CHUNK_HEADER or at + length > end:
                raise Malformed("the length of a chunk is wrong")
            if kind == ChunkType.DATA:
                data = self._data(packet, at, flags, length) or data
            elif kind == ChunkType.SACK:
                self._sack(packet, at, length)
            elif kind in ALONE and (at > HEADER or at + length + PADDED < end):
                raise Malformed("a chunk that must travel alone")
            else:
                chunk = read_chunk(kind, flags, packet[at + CHUNK_HEADER : at + length])
                if not self._dispatch.take(chunk, now):
                    break
            at += (length + PADDED) & ~PADDED
        if data:
            self._counted()

    def _counted(self) -> None:
        """A packet with DATA was read."""
        inbound = self._association.inbound
        if inbound is None:
            return
        inbound.unreported += 1
        self._refuse(inbound)
        if self._own or self._association.state is State.SHUTDOWN_SENT:  # closing.py answers
            return
        if inbound.hurry or inbound.unreported >= EVERY:
            self._association.control.sack(inbound)

    def _data(self, packet: bytes, at: int, flags: int, length: int) -> bool:
        association = self._association
        inbound = association.inbound
        if length < DATA_HEADER:
            raise Malformed("DATA is too short")
        if inbound is None or not association.receives:
            return False
        _, tsn, place = CHUNK.unpack_from(packet, at)
        if length == DATA_HEADER:  # RFC 9260 section 6.2
            association.control.chunk(Abort((causes.no_user_data(tsn),)))
            association.close("the other side sent DATA without data", clean=False)
            raise Malformed("DATA without data")
        inbound.data(flags, tsn, place, packet[at + DATA_HEADER : at + length])
        return True

    def _sack(self, packet: bytes, at: int, length: int) -> None:
        if length < DATA_HEADER:
            raise Malformed("SACK is too short")
        _, cumulative, rwnd, gaps, duplicates = _tail.unpack_from(packet, at + 2)
        if length != DATA_HEADER + 4 * (gaps + duplicates):
            raise Malformed("SACK has the wrong length")
        sending = self._association.sending
        if sending is None:
            return
        ends = struct.unpack_from(f">{2 * gaps}H", packet, at + DATA_HEADER)
        blocks = list(zip(ends[::2], ends[1::2], strict=True))
        if not sending.report(cumulative, rwnd, blocks, duplicates):
            raise Violation("a SACK acknowledges what was never sent")

    def _stranger(self, packet: bytes, now: float) -> None:
        """A packet whose ports or tag are not what DATA bears (RFC 9260 section 8.5.1)."""
        config = self._config
        try:
            read = parse(packet)
        except Malformed:
            return
        if (read.source, read.destination) != (config.remote_port, config.port):
            return
        chunk = read.chunks[0]
        zero = read.checksum == 0 and config.zero_checksum and not isinstance(chunk, Init)
        if not zero and not checksum_valid(packet):
            return
        if isinstance(chunk, Init):
            if read.tag == 0:
                self._dispatch.init(chunk, now)
        elif (
            read.tag == self._association.peer_tag
            and isinstance(chunk, Abort | ShutdownComplete)
            and chunk.reflected_tag
        ):
            self._dispatch.end(chunk)
