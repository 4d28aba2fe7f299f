"""Datagrams on their way into one socket: in batches where it takes them, kept where it is full.

Nothing is dropped in silence but what no route takes, and what comes when far too much is waiting.
STUN goes ahead of whatever waits: a check that is late ends a connection that works.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from p2pxfer.peer import sockets

LAST_STUN = 3  # the highest first byte of a STUN message: RFC 7983 section 7
MAX_WAITING = 8 << 20  # bytes kept when nobody heeds `blocked`
RETRY = 0.001  # seconds until a full interface, which is none of select's business, is tried again

Address = tuple[Any, ...]
Buffers = Sequence[bytes | memoryview]

_FULL = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR, errno.ENOBUFS)
_NO_BATCH = (errno.EIO, errno.EINVAL, errno.EMSGSIZE)  # the device or the route can't, or not now


class Outgoing:
    """The sending half of a transport.

    Args:
        loop: watches the socket while it is full.
        sock: connected if targets are None.
        segmentation: whether it takes batches.
        on_error: told what went wrong with a datagram that is lost.
        on_empty: called when what waited is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        *,
        segmentation: bool,
        on_error: Callable[[OSError], None],
        on_empty: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._segmentation = segmentation
        self._on_error = on_error
        self._on_empty = on_empty
        self._unsegmented: set[Address | None] = set()
        self._urgent: deque[tuple[bytes, Address | None]] = deque()
        self._queue: deque[tuple[bytes, int, Address | None]] = deque()
        self._watching = False
        self._retry: asyncio.TimerHandle | None = None
        self.waiting = 0

    def send(self, packet: bytes, target: Address | None) -> None:
        """Send one datagram, at once or when there is room."""
        if packet[0] <= LAST_STUN:
            if self._urgent or not self._transmit(packet, len(packet), target):
                self._urgent.append((packet, target))
                self._wait(len(packet))
        elif self.waiting or not self._transmit(packet, len(packet), target):
            self._keep(packet, len(packet), target)

    def send_batch(self, buffers: Buffers, segment: int, target: Address | None) -> None:
        """Send datagrams of ``segment`` bytes, the last maybe shorter, out of ``buffers``.

        At most `sockets.MAX_SEGMENTS` and `sockets.LONGEST` bytes. What has to wait is copied.
        """
        if self.waiting:
            self._keep(b"".join(buffers), segment, target)
            return
        if self._segmentation and target not in self._unsegmented:
            try:  # the option is given with a single datagram too, where it means nothing
                if target is None:
                    self._sock.sendmsg(buffers, sockets.segment_option(segment))
                else:
                    self._sock.sendmsg(buffers, sockets.segment_option(segment), 0, target)
            except OSError:  # tried again below, where every case is told apart
                pass
            else:
                return
        data = b"".join(buffers)
        done = self._transmit(data, segment, target)
        if done < len(data):
            self._keep(data[done:], segment, target)

    def send_cut(self, data: bytes, target: Address | None) -> None:
        """Send one datagram that this system and routers may cut up."""
        sockets.keep_whole(self._sock, whole=False)
        try:
            self.send(data, target)
        finally:
            sockets.keep_whole(self._sock, whole=True)

    def stop(self) -> None:
        """Forget what waits."""
        self._unwatch()
        self._urgent.clear()
        self._queue.clear()
        self.waiting = 0

    def _transmit(self, data: bytes, segment: int, target: Address | None) -> int:
        """Bytes that are sent, or lost for good; the rest has to wait."""
        size = len(data)
        batched = size > segment and self._segmentation and target not in self._unsegmented
        if batched:
            arguments = (0, target) if target is not None else ()
            try:
                self._sock.sendmsg([data], sockets.segment_option(segment), *arguments)
            except OSError as error:
                if error.errno in _FULL:
                    return 0
                if error.errno not in _NO_BATCH:
                    self._on_error(error)
                    return size
            else:
                return size
        lost = False
        for at in range(0, size, segment):
            packet = data[at : at + segment]
            try:
                if target is None:
                    self._sock.send(packet)
                else:
                    self._sock.sendto(packet, target)
            except OSError as error:
                if error.errno in _FULL:
                    return at
                lost = True  # too long for this route, or no route: as on any other link
                self._on_error(error)
        if batched and not lost:
            self._unsegmented.add(target)  # one by one it works: it was the batch
        return size

    def _keep(self, data: bytes, segment: int, target: Address | None) -> None:
        if self.waiting + len(data) <= MAX_WAITING:
            self._queue.append((data, segment, target))
            self._wait(len(data))

    def _wait(self, size: int) -> None:
        self.waiting += size
        if self._watching or self._retry is not None:
            return
        self._watching = True
        self._loop.add_writer(self._sock.fileno(), self._flush)

    def _flush(self) -> None:
        before = self.waiting
        self._unwatch()
        while self._urgent:
            packet, target = self._urgent[0]
            if not self._transmit(packet, len(packet), target):
                break
            self._urgent.popleft()
            self.waiting -= len(packet)
        while self._queue and not self._urgent:
            data, segment, target = self._queue.popleft()
            done = self._transmit(data, segment, target)
            self.waiting -= done
            if done < len(data):
                self._queue.appendleft((data[done:], segment, target))
                break
        if not self.waiting:
            self._on_empty()
        elif self.waiting < before:
            self._wait(0)
        else:  # writable, says the system, and takes nothing: its interface is full
            self._retry = self._loop.call_later(RETRY, self._flush)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_writer(self._sock.fileno())
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
