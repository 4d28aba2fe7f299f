"""What the receipt's MAC covers, and the digest of failures inside it.

HMAC-SHA-256 (RFC 2104) under a key of the receiver's direction that the session derives. No
frames and no state of a transfer here.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from msgspec.structs import replace

from p2pxfer.manifest import DIGEST_SIZE, Failure
from p2pxfer.transfer.messages import ID_SIZE, MAC_SIZE, Receipt

KEY_SIZE = 32
_LABEL = b"p2pxfer receipt 1\0"
_FAILURES_LABEL = b"p2pxfer failures 1\0"
_COVERED = struct.Struct(f">{ID_SIZE}s{DIGEST_SIZE}sIQI{DIGEST_SIZE}s")
_FAILURE = struct.Struct(">IB")
_NO_MAC = bytes(MAC_SIZE)


class FailureList:
    """Digest over every entry that failed, added in the order of their numbers."""

    __slots__ = ("_hash", "count")

    def __init__(self) -> None:
        self._hash = hashlib.sha256(_FAILURES_LABEL)
        self.count = 0

    def add(self, number: int, failure: Failure) -> None:
        """Add one failed entry."""
        self._hash.update(_FAILURE.pack(number, failure))
        self.count += 1

    def digest(self) -> bytes:
        """SHA-256 over the label, then number and failure of each entry; 32 bytes."""
        return self._hash.digest()


def unsigned(
    transfer_id: bytes, root: bytes, entries: int, size: int, failures: FailureList
) -> Receipt:
    """A side's own view of the transfer, without a MAC."""
    return Receipt(transfer_id, root, entries, size, failures.count, failures.digest(), _NO_MAC)


def _mac(key: bytes, receipt: Receipt) -> bytes:
    if len(key) != KEY_SIZE:
        raise ValueError(f"a receipt key has {KEY_SIZE} bytes")
    covered = _COVERED.pack(
        receipt.transfer_id,
        receipt.root,
        receipt.entries,
        receipt.size,
        receipt.failed,
        receipt.failures_digest,
    )
    return hmac.digest(key, _LABEL + covered, "sha256")


def signed(key: bytes, receipt: Receipt) -> Receipt:
    """The receipt with its MAC.

    Raises:
        ValueError: the key is not 32 bytes.
    """
    return replace(receipt, mac=_mac(key, receipt))


def is_genuine(key: bytes, own: Receipt, theirs: Receipt) -> bool:
    """Whether the other side's receipt says what this side knows, under the right key."""
    return (
        hmac.compare_digest(_mac(key, own), theirs.mac) and replace(own, mac=theirs.mac) == theirs
    )
