"""What the two sides of a transfer say to each other: frozen values, and the limits on them.

No bytes, no state: `frames` turns these into bytes, `sender` and `receiver` say which may come
when. Numbers of entries count from 0 in the order of the pages; lengths and sizes are in bytes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

from p2pxfer.manifest import DIGEST_SIZE, Entry, Failure, TransferKind

VERSION = 1
OLDEST_VERSION = 1
RESUME = 1  # capability: `Proof`, `Have` and kept blocks
WHOLE = 2  # capability: `WholeFiles`
CAPABILITIES = RESUME | WHOLE  # a bit that the other side does not know is ignored

HEADER_SIZE = 4  # bytes before the body of a frame
MAX_MESSAGE = 256 * 1024  # bytes in one message of the channel, whatever was negotiated
MIN_MESSAGE = 64 * 1024  # a channel must carry this much: RFC 8841, section 6.1, rounds it so
MIN_PIECE = 4_096  # of payload in one Data, but for the last of its block
MAX_WHOLE = 60 * 1024  # bytes of a file in `WholeFiles`: one fits any channel
MAX_TARGET = 4_096  # PATH_MAX of Linux; no other system has longer symlinks
MAX_LABEL = 1_024
MAX_TEXT = 512
MAX_SKIPS = 1_024  # ranges in one Want
MAX_PROOFS = 64  # in one Proof
MAX_DIGESTS = 2_047  # in one Have, so that it fits any channel
MAX_NUMBER = 2**32 - 1  # of an entry or block
ID_SIZE = 16
MAC_SIZE = 32
FIRST_RECEIVER_FAILURE = Failure.UNSAFE_NAME  # below, a failure is the sender's
NO_DIGEST = bytes(DIGEST_SIZE)  # stands where a failure leaves no digest


class Activity(IntEnum):
    """What a side is at, so that the other can say why nothing moves."""

    IDLE = 0  # waiting for the other side
    WALKING = 1
    READING = 2
    SENDING = 3  # the channel has no room
    PROMPTING = 4
    DECIDING = 5  # checking names and existing files
    WRITING = 6


class AbortCode(IntEnum):
    """Why a side ends the transfer early."""

    INTERRUPTED = 1
    MISBEHAVED = 2  # the side that gets this broke the protocol
    INTEGRITY = 3
    LOCAL_FILES = 4
    UNEXPECTED = 5
    STREAM_LOST = 6  # the side that gets this was started again, and a stream can't be


class Hello(Struct, frozen=True):
    """First from each side: the versions it speaks, and what it can do besides."""

    oldest: int
    newest: int
    capabilities: int


class Offer(Struct, frozen=True):
    """S->R: a transfer begins. The label is for people: a name, or empty."""

    transfer_id: bytes
    kind: TransferKind
    label: bytes


class Proof(Struct, frozen=True):
    """S->R, directly after the offer: pairs of 16 and 32 bytes, the id of a transfer and a MAC.

    That S was in those transfers; what the MAC covers is not known here.
    """

    proofs: tuple[tuple[bytes, bytes], ...]


class Page(Struct, frozen=True):
    """S->R: entries ``first``, ``first + 1``, … of the manifest, at least one."""

    first: int
    entries: tuple[Entry, ...]


class ManifestEnd(Struct, frozen=True):
    """S->R: the tree is walked. ``size`` sums what is known; ``skipped`` was never listed."""

    entries: int
    size: int
    skipped: int


class Accept(Struct, frozen=True):
    """R->S: a human or a policy said yes."""


class Decline(Struct, frozen=True):
    """R->S: no; the reason is for people."""

    reason: str


class Have(Struct, frozen=True):
    """R->S: digests of the blocks ``first``, ``first + 1``, … of a file that R holds already."""

    number: int
    first: int
    digests: tuple[bytes, ...]


class Skip(Struct, frozen=True):
    """``count`` entries from ``first`` on that the receiver does not want, and why."""

    first: int
    count: int
    failure: Failure


class Want(Struct, frozen=True):
    """R->S: every entry below ``through`` is decided; those in ``skips`` are not wanted."""

    through: int
    skips: tuple[Skip, ...] = ()


class Credit(NamedTuple):
    """R->S: cumulative. ``size``: bytes of credit given; every entry below ``settled`` is done."""

    size: int
    settled: int


class FileBegin(NamedTuple):
    """S->R: content of a file follows; values as found when it was opened. -1: a stream."""

    number: int
    size: int
    mode: int
    mtime_ns: int


class Block(NamedTuple):
    """S->R: the next block; its bytes follow as `Data` unless it is all zeros, or R holds it."""

    number: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    length: int
    digest: bytes
    zero: bool = False
    kept: bool = False

    @property
    def payload(self) -> int:
        """Bytes of `Data` that follow."""
        return 0 if self.zero or self.kept else self.length


class Data(NamedTuple):
    """S->R: more bytes of the current block; a slice of the message it came in."""

    payload: bytes | memoryview


class FileEnd(NamedTuple):
    """S->R: once for every wanted file, begun or not. ``size`` and root are of what was sent."""

    number: int
    failure: Failure | None
    size: int
    root: bytes


# Of `WholeFiles`: number, size in bytes, mode, mtime in ns, root; plain, since there are many.
WholeFile = tuple[int, int, int, int, bytes]


class WholeFiles(NamedTuple):
    """S->R: small files, each with all of it, in place of `FileBegin` to `FileEnd` of each.

    ``payload`` is the content of one after another, perhaps a slice of the message it came in.
    """

    files: tuple[WholeFile, ...]
    payload: bytes | memoryview


class Failed(NamedTuple):
    """R->S: a wanted entry did not make it to the disk."""

    number: int
    failure: Failure


class TransferEnd(Struct, frozen=True):
    """S->R: all is settled; the sender's view of it."""

    root: bytes
    entries: int
    size: int
    failed: int


class Receipt(Struct, frozen=True):
    """R->S: the receiver's view, under a MAC; only now may the sender say done."""

    transfer_id: bytes
    root: bytes
    entries: int
    size: int
    failed: int
    failures_digest: bytes
    mac: bytes


class Bye(Struct, frozen=True):
    """S->R: the receipt is right; the channel may close."""


class Abort(Struct, frozen=True):
    """Either way: no more will come; the text is for people."""

    code: AbortCode
    text: str


class Ping(Struct, frozen=True):
    """Either way: I am here, and at this.

    ``time`` is the pinging side's own, in microseconds; ``size`` counts the content bytes that it
    has sent or received, so that the other side can tell a slow network from a dead one.
    """

    time: int
    activity: Activity
    size: int


class Pong(Struct, frozen=True):
    """Either way: a ping's time, returned."""

    time: int


class Attach(Struct, frozen=True):
    """Either way, alone in the first message of each channel: where a side stands.

    ``received`` counts the messages of the other side that it has had, over all channels; ``fresh``
    says that no message can have passed either way: it has never heard where the other stands.
    """

    received: int
    fresh: bool


class Received(Struct, frozen=True):
    """Either way, alone in a message: ``count`` messages have been had, over all channels."""

    count: int


OfContent = FileBegin | Block | Data | FileEnd | WholeFiles
OfSender = Offer | Proof | Page | ManifestEnd | OfContent | TransferEnd
OfReceiver = Accept | Decline | Have | Want | Credit | Failed | Receipt
OfBoth = Hello | Bye | Abort | Ping | Pong | Attach | Received
Message = OfSender | OfReceiver | OfBoth
