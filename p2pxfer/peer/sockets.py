"""UDP sockets as this system offers them: batches, sizes of buffers, packets never cut on the way.

What an operating system can do is tried on the socket itself, never guessed from its name. Nothing
here knows an event loop or what is in a datagram.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

from msgspec import Struct

BUFFER = 8 << 20  # bytes asked for, each way; the system grants less to most
LONGEST = 65_507  # bytes of UDP payload over IPv4, and of one batch
MAX_SEGMENTS = 64  # datagrams of one batch that every kernel with UDP_SEGMENT takes

_UDP_SEGMENT = 103  # linux/udp.h; Python 3.11 has no names for these
_UDP_GRO = 104
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h
_SO_RCVBUFFORCE = 33
_SO_RXQ_OVFL = 40
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER = 10, 23  # linux/in.h, linux/in6.h
_PMTUDISC_DONT, _PMTUDISC_PROBE = 0, 3
_IP_DONTFRAG, _IPV6_DONTFRAG = 28, 62  # netinet/in.h, netinet6/in6.h of macOS

_INT = struct.Struct("i")
_SEGMENT = struct.Struct("H")
ANCILLARY_SIZE = 2 * socket.CMSG_SPACE(_INT.size) if hasattr(socket, "CMSG_SPACE") else 0

_LINUX = sys.platform == "linux"


class Abilities(Struct, frozen=True):
    """What one socket can do.

    Attributes:
        segmentation: one call sends many datagrams (UDP_SEGMENT).
        coalescing: one call receives many (UDP_GRO).
        whole: datagrams are never cut on the way, so that a size that arrives is a size that fits.
        receive_buffer: bytes granted by the system.
        send_buffer: the same for sending.
    """

    segmentation: bool
    coalescing: bool
    whole: bool
    receive_buffer: int
    send_buffer: int


def prepare(sock: socket.socket) -> Abilities:
    """Make ``sock`` non-blocking, roomy and batched as far as it goes."""
    sock.setblocking(False)
    segmentation = coalescing = False
    if _LINUX and hasattr(sock, "recvmsg"):
        segmentation = _set(sock, socket.IPPROTO_UDP, _UDP_SEGMENT, 0)
        coalescing = _set(sock, socket.IPPROTO_UDP, _UDP_GRO, 1)
        _set(sock, socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
    receive = _enlarge(sock, socket.SO_RCVBUF, _SO_RCVBUFFORCE)
    send = _enlarge(sock, socket.SO_SNDBUF, _SO_SNDBUFFORCE)
    return Abilities(segmentation, coalescing, keep_whole(sock, whole=True), receive, send)


def keep_whole(sock: socket.socket, *, whole: bool) -> bool:
    """Have datagrams sent with or without leave to be cut on the way (RFC 8899 section 3).

    With PROBE the kernel neither cuts nor heeds what it was told of the path, which anybody could
    have told it. Returns whether the system has it so.
    """
    six = sock.family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    if _LINUX:
        option = _IPV6_MTU_DISCOVER if six else _IP_MTU_DISCOVER
        return _set(sock, level, option, _PMTUDISC_PROBE if whole else _PMTUDISC_DONT)
    if sys.platform == "darwin":
        return _set(sock, level, _IPV6_DONTFRAG if six else _IP_DONTFRAG, int(whole))
    return False


def segment_option(segment: int) -> list[tuple[int, int, bytes]]:
    """What goes with a batch of datagrams of ``segment`` bytes, the last maybe shorter."""
    return [(socket.IPPROTO_UDP, _UDP_SEGMENT, _SEGMENT.pack(segment))]


def read_ancillary(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int | None]:
    """What came with a batch: its segment's size, 0 for a single datagram, and the drop counter.

    The counter is of all datagrams that found the buffer full, None where nothing is told.
    """
    segment, dropped = 0, None
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_UDP and kind == _UDP_GRO:
            (segment,) = _INT.unpack_from(data)
        elif level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL:
            (dropped,) = struct.unpack_from("I", data)
    return segment, dropped


def abilities(family: socket.AddressFamily = socket.AF_INET) -> Abilities | None:
    """What sockets can do here; None where there is no such family."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            return prepare(sock)
    except OSError:
        return None


def _set(sock: socket.socket, level: int, option: int, value: int) -> bool:
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False
    return True


def _enlarge(sock: socket.socket, option: int, forced: int) -> int:
    """Ask for a large buffer; return what was granted, which Linux counts twice."""
    if not (_LINUX and _set(sock, socket.SOL_SOCKET, forced, BUFFER)):
        size = BUFFER
        while not _set(sock, socket.SOL_SOCKET, option, size) and size > LONGEST:
            size //= 2  # macOS refuses what is too much
    with contextlib.suppress(OSError):
        return sock.getsockopt(socket.SOL_SOCKET, option) // (2 if _LINUX else 1)
    return 0
