"""DTLS application data in batches, through the handles that pyOpenSSL keeps.

Its public calls cost twice what OpenSSL does. A whole flight is encrypted and comes out of one
buffer, end to end, as a batch of datagrams wants it. Handshakes, alerts and the end stay aiortc's:
only records of type 23 come here, and only under DTLS 1.2, whose records tell their type.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL

from p2pxfer.peer import sockets

APPLICATION_DATA = b"\x17"  # RFC 6347 section 4.1, RFC 5246 section 6.2.1
HEADER = 13  # bytes before a record's fragment: RFC 6347 section 4.1
LONGEST_PLAIN = 16_384  # bytes of one record: RFC 5246 section 6.2.1
OVERHEAD = {"GCM": 37, "CHACHA20": 29}  # bytes around a packet: RFC 5288 section 3, RFC 7905
MOST_OVERHEAD = 13 + 16 + 16 + 20  # header, IV, padding and SHA-1 of the CBC suites
_VERSION = b"\xfe\xfd"  # DTLS 1.2

_NAMES = ("SSL_write", "SSL_read", "BIO_write", "BIO_read", "SSL_get_error", "ERR_clear_error")
_HANDLES = ("_ssl", "_into_ssl", "_from_ssl")
_OVER = (1, 6)  # SSL_ERROR_SSL, SSL_ERROR_ZERO_RETURN: openssl/ssl.h

_LENGTH = struct.Struct(">H")


def usable(connection: SSL.Connection) -> bool:
    """Whether the handles are where they are expected, and the version is the one known here."""
    return _reachable(connection) and connection.get_protocol_version_name() == "DTLSv1.2"


def available() -> bool:
    """Whether connections that are made here can be `usable`."""
    return _reachable(SSL.Connection(SSL.Context(SSL.DTLS_METHOD)))


def _reachable(connection: SSL.Connection) -> bool:
    library = getattr(SSL, "_lib", None)
    return (
        hasattr(SSL, "_ffi")
        and all(hasattr(library, name) for name in _NAMES)
        and all(getattr(connection, name, None) is not None for name in _HANDLES)
    )


class Records:
    """Encrypts and decrypts for one connection whose handshake is done.

    Args:
        connection: `usable`.

    Attributes:
        overhead: bytes that a record is longer than what is in it, at most.
        ended: whether nothing more will come: the far end, or OpenSSL, has said so.
    """

    def __init__(self, connection: Any) -> None:
        self._library: Any = SSL._lib  # type: ignore[attr-defined]  # checked in `usable`
        foreign: Any = SSL._ffi  # type: ignore[attr-defined]  # as above
        self._connection = connection  # keeps the handles alive
        self._ssl = connection._ssl
        self._into = connection._into_ssl
        self._from = connection._from_ssl
        self._size = sockets.LONGEST + HEADER + LONGEST_PLAIN
        self._plain = foreign.new("char[]", self._size)
        self._plain_view = foreign.buffer(self._plain)
        self._sealed = foreign.new("char[]", self._size)
        self._sealed_view = memoryview(foreign.buffer(self._sealed))
        cipher = connection.get_cipher_name() or ""
        self.overhead = next((n for name, n in OVERHEAD.items() if name in cipher), MOST_OVERHEAD)
        self.ended = False

    def decrypt(self, records: Sequence[bytes]) -> list[bytes]:
        """What is in datagrams of application data; forged, repeated and mangled ones are left out.

        One at a time: OpenSSL loses records whose ends its buffer cuts off.
        """
        write, read = self._library.BIO_write, self._library.SSL_read
        ssl, into, buffer, view, size = (
            self._ssl,
            self._into,
            self._plain,
            self._plain_view,
            self._size,
        )
        plain: list[bytes] = []
        append = plain.append
        self._library.ERR_clear_error()  # what others left there is not said of this connection
        for record in records:
            write(into, record, len(record))
            length = read(ssl, buffer, size)
            if length > 0:
                append(view[:length])
            else:
                self._refused(length)
        # Some may have waited for the handshake's end, or stood together in one datagram.
        while (length := read(ssl, buffer, size)) > 0:
            append(view[:length])
        self._refused(length)
        return plain

    def encrypt(self, packets: Sequence[bytes]) -> memoryview:
        """The records of ``packets``, end to end; to be used before the next call."""
        write, ssl = self._library.SSL_write, self._ssl
        for packet in packets:
            if write(ssl, packet, len(packet)) <= 0:
                self._library.ERR_clear_error()
                break  # closed meanwhile
        return self.pending()

    def pending(self) -> memoryview:
        """All that OpenSSL has to say, an alert for instance; to be used before the next call.

        A rest would stand before what is said next, and be cut from that at wrong places.
        """
        read = self._library.BIO_read
        length = read(self._from, self._sealed, self._size)
        if length < self._size:
            return self._sealed_view[: max(length, 0)]
        parts = [bytes(self._sealed_view)]
        while (length := read(self._from, self._sealed, self._size)) > 0:
            parts.append(bytes(self._sealed_view[:length]))
        return memoryview(b"".join(parts))

    def _refused(self, length: int) -> None:
        if self._library.SSL_get_error(self._ssl, length) in _OVER:
            self.ended = True
            self._library.ERR_clear_error()


def segment_size(records: memoryview, count: int) -> int:
    """The size of each of ``count`` records but the last; 0 if they are not of one size."""
    segment = HEADER + _LENGTH.unpack_from(records, 11)[0]
    last = (count - 1) * segment
    rest = len(records) - last
    if (
        HEADER < rest <= segment
        and records[last : last + 3] == APPLICATION_DATA + _VERSION
        and HEADER + _LENGTH.unpack_from(records, last + 11)[0] == rest
    ):
        return int(segment)
    return 0


def split(records: memoryview) -> list[memoryview]:
    """Each record by itself, whatever its size and kind."""
    found, at = [], 0
    while at + HEADER <= len(records):
        end = at + HEADER + _LENGTH.unpack_from(records, at + 11)[0]
        found.append(records[at:end])
        at = end
    return found
