"""Messages to bytes and back: one encoder and one decoder a type, each length checked first.

A frame is a type (one byte), the length of its body (three bytes) and the body; integers are
big-endian. A channel message holds whole frames, one after another. What parses re-encodes to the
same bytes. Which frame may come when is not known here: see `sender` and `receiver`; the byte
tables are in docs/transfer-protocol.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.manifest import DIGEST_SIZE, UNKNOWN_SIZE, Failure, TransferKind
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.entries import MAX_MODE, read_page, write_page
from p2pxfer.transfer.messages import HEADER_SIZE

FIRST_IGNORABLE: Final = 0x80  # an unknown type from here on is passed over, below it is refused
MAX_BODY: Final = m.MAX_MESSAGE - HEADER_SIZE

_HEADER = struct.Struct(">I")
_HELLO = struct.Struct(">HHQ")
_OFFER = struct.Struct(f">{m.ID_SIZE}sB")
_MANIFEST_END = struct.Struct(">IQI")
_SKIP = struct.Struct(">IIB")
_CREDIT = struct.Struct(">QI")
_FILE_BEGIN = struct.Struct(">IqHq")
_BLOCK = struct.Struct(f">IIIB{DIGEST_SIZE}s")
_FILE_END = struct.Struct(f">IBQ{DIGEST_SIZE}s")
_FAILED = struct.Struct(">IB")
_TRANSFER_END = struct.Struct(f">{DIGEST_SIZE}sIQI")
_RECEIPT = struct.Struct(f">{m.ID_SIZE}s{DIGEST_SIZE}sIQI{DIGEST_SIZE}s{m.MAC_SIZE}s")
_PING = struct.Struct(">QBQ")
_PONG = struct.Struct(">Q")
_ATTACH = struct.Struct(">Q?")
_RECEIVED = struct.Struct(">Q")
_HAVE = struct.Struct(">II")
_DIGEST = struct.Struct(f"{DIGEST_SIZE}s")
_PROOF = struct.Struct(f"{m.ID_SIZE}s{m.MAC_SIZE}s")
_WHOLE_FILE = struct.Struct(f">IIHq{DIGEST_SIZE}s")
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")

_ZERO, _KEPT = 1, 2  # flags of a block, never both

WHOLE_SIZE: Final = _U16.size  # bytes of a `WholeFiles`' body, beside
WHOLE_FILE_SIZE: Final = _WHOLE_FILE.size  # these and the content of each file

_FAILURES = {int(failure): failure for failure in Failure}
_ENDINGS: dict[int, Failure | None] = {0: None, **_FAILURES}


def _refuse(what: str) -> PeerMisbehaved:
    return PeerMisbehaved(f"the other side sent a frame that makes no sense: {what}")


def _check(held: bool, what: str) -> None:
    if not held:
        raise _refuse(what)


# --- encoders: message -> body -------------------------------------------------------------------


def _want(want: m.Want) -> bytes:
    skips = (_SKIP.pack(skip.first, skip.count, skip.failure) for skip in want.skips)
    return b"".join((_U32.pack(want.through), *skips))


def _flags(block: m.Block) -> int:
    return block.zero | block.kept << 1


def _text(text: str) -> bytes:
    """UTF-8 of as much as the limit holds, cut between characters."""
    return text.encode("utf-8", "replace")[: m.MAX_TEXT].decode("utf-8", "ignore").encode()


_ENCODERS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    m.Hello: (1, lambda f: _HELLO.pack(f.oldest, f.newest, f.capabilities)),
    m.Offer: (2, lambda f: _OFFER.pack(f.transfer_id, f.kind) + f.label),
    m.Page: (3, write_page),
    m.ManifestEnd: (4, lambda f: _MANIFEST_END.pack(f.entries, f.size, f.skipped)),
    m.Accept: (5, lambda _: b""),
    m.Decline: (6, lambda f: _text(f.reason)),
    m.Want: (7, _want),
    m.Credit: (8, lambda f: _CREDIT.pack(f.size, f.settled)),
    m.FileBegin: (9, lambda f: _FILE_BEGIN.pack(f.number, f.size, f.mode, f.mtime_ns)),
    m.Block: (10, lambda f: _BLOCK.pack(f.number, f.index, f.length, _flags(f), f.digest)),
    m.Data: (11, lambda f: bytes(f.payload)),
    m.FileEnd: (12, lambda f: _FILE_END.pack(f.number, f.failure or 0, f.size, f.root)),
    m.Failed: (13, lambda f: _FAILED.pack(f.number, f.failure)),
    m.TransferEnd: (14, lambda f: _TRANSFER_END.pack(f.root, f.entries, f.size, f.failed)),
    m.Receipt: (
        15,
        lambda f: _RECEIPT.pack(
            f.transfer_id, f.root, f.entries, f.size, f.failed, f.failures_digest, f.mac
        ),
    ),
    m.Bye: (16, lambda _: b""),
    m.Abort: (17, lambda f: bytes((f.code,)) + _text(f.text)),
    m.Ping: (18, lambda f: _PING.pack(f.time, f.activity, f.size)),
    m.Pong: (19, lambda f: _PONG.pack(f.time)),
    m.Attach: (20, lambda f: _ATTACH.pack(f.received, f.fresh)),
    m.Received: (21, lambda f: _RECEIVED.pack(f.count)),
    m.Have: (22, lambda f: _HAVE.pack(f.number, f.first) + b"".join(f.digests)),
    m.Proof: (23, lambda f: b"".join(_PROOF.pack(*proof) for proof in f.proofs)),
    m.WholeFiles: (24, lambda f: whole_head(f.files) + bytes(f.payload)),
}
DATA_TYPE: Final = _ENCODERS[m.Data][0]
WHOLE_TYPE: Final = _ENCODERS[m.WholeFiles][0]
LINK_TYPES: Final = (_ENCODERS[m.Attach][0], _ENCODERS[m.Received][0])  # outside the dialogue


def header(kind: int, length: int) -> bytes:
    """The four bytes before a body of ``length`` bytes."""
    return _HEADER.pack(kind << 24 | length)


def encode(message: m.Message) -> bytes:
    """One whole frame.

    Raises:
        ValueError: the body is longer than any channel message may be.
        struct.error: a field is out of its range.
    """
    kind, encoder = _ENCODERS[type(message)]
    body = encoder(message)
    if len(body) > MAX_BODY:
        raise ValueError(f"a frame of {len(body)} bytes is over the limit")
    return _HEADER.pack(kind << 24 | len(body)) + body


def whole_head(files: Sequence[m.WholeFile]) -> bytes:
    """The body of a `WholeFiles` up to its payload."""
    return _U16.pack(len(files)) + b"".join([_WHOLE_FILE.pack(*file) for file in files])


# --- decoders: body -> message -------------------------------------------------------------------


def _read_offer(body: memoryview) -> m.Offer:
    label = bytes(body[_OFFER.size :])
    _check(len(label) <= m.MAX_LABEL, "a label too long")
    transfer_id, kind = _OFFER.unpack_from(body)
    return m.Offer(transfer_id, TransferKind(kind), label)


def _read_want(body: memoryview) -> m.Want:
    (through,) = _U32.unpack_from(body)
    skips = tuple(
        m.Skip(first, count, _FAILURES[failure])
        for first, count, failure in _SKIP.iter_unpack(body[_U32.size :])
    )
    _check(len(skips) <= m.MAX_SKIPS, "too many ranges")
    return m.Want(through, skips)


def _read_file_begin(body: memoryview) -> m.FileBegin:
    number, size, mode, mtime_ns = _FILE_BEGIN.unpack(body)
    _check(size >= UNKNOWN_SIZE and mode <= MAX_MODE, "a file out of range")
    return m.FileBegin(number, size, mode, mtime_ns)


def _read_block(body: memoryview) -> m.Block:
    number, index, length, flags, digest = _BLOCK.unpack(body)
    _check(flags <= _KEPT and length > 0, "a block out of range")
    return m.Block(number, index, length, digest, flags == _ZERO, flags == _KEPT)


def _slice(body: memoryview) -> bytes | memoryview:
    """The same bytes, as a copy if a slice would keep a much larger message alive."""
    return body if len(body) * 2 >= len(memoryview(body.obj)) else bytes(body)


def _read_data(body: memoryview) -> m.Data:
    _check(len(body) > 0, "data without bytes")
    return m.Data(_slice(body))


def _read_file_end(body: memoryview) -> m.FileEnd:
    number, failure, size, root = _FILE_END.unpack(body)
    return m.FileEnd(number, _ENDINGS[failure], size, root)


def _read_text(body: memoryview) -> str:
    _check(len(body) <= m.MAX_TEXT, "a text too long")
    return str(body, "utf-8")


def _read_accept(body: memoryview) -> m.Accept:
    _check(len(body) == 0, "bytes where none belong")
    return m.Accept()


def _read_bye(body: memoryview) -> m.Bye:
    _check(len(body) == 0, "bytes where none belong")
    return m.Bye()


def _read_failed(body: memoryview) -> m.Failed:
    number, failure = _FAILED.unpack(body)
    return m.Failed(number, _FAILURES[failure])


def _read_ping(body: memoryview) -> m.Ping:
    time, activity, size = _PING.unpack(body)
    return m.Ping(time, m.Activity(activity), size)


def _read_attach(body: memoryview) -> m.Attach:
    _check(body[-1] <= 1, "a flag that is neither 0 nor 1")
    return m.Attach(*_ATTACH.unpack(body))


def _read_have(body: memoryview) -> m.Have:
    number, first = _HAVE.unpack_from(body)
    digests = tuple(digest for (digest,) in _DIGEST.iter_unpack(body[_HAVE.size :]))
    _check(0 < len(digests) <= m.MAX_DIGESTS, "no or too many digests")
    return m.Have(number, first, digests)


def _read_proof(body: memoryview) -> m.Proof:
    proofs = tuple(_PROOF.iter_unpack(body))
    _check(0 < len(proofs) <= m.MAX_PROOFS, "no or too many proofs")
    return m.Proof(proofs)


def _read_whole_files(body: memoryview) -> m.WholeFiles:
    (count,) = _U16.unpack_from(body)
    start = WHOLE_SIZE + count * WHOLE_FILE_SIZE
    _check(count > 0 and start <= len(body), "no whole files, or half of one")
    files = tuple(_WHOLE_FILE.iter_unpack(body[WHOLE_SIZE:start]))
    total = 0
    for _, size, mode, _, _ in files:
        if size > m.MAX_WHOLE or mode > MAX_MODE:
            raise _refuse("a whole file out of range")
        total += size
    _check(start + total == len(body), "whole files of another size")
    return m.WholeFiles(files, _slice(body[start:]))


_DECODERS: tuple[Callable[[memoryview], m.Message] | None, ...] = (
    None,
    lambda body: m.Hello(*_HELLO.unpack(body)),
    _read_offer,
    read_page,
    lambda body: m.ManifestEnd(*_MANIFEST_END.unpack(body)),
    _read_accept,
    lambda body: m.Decline(_read_text(body)),
    _read_want,
    lambda body: m.Credit(*_CREDIT.unpack(body)),
    _read_file_begin,
    _read_block,
    _read_data,
    _read_file_end,
    _read_failed,
    lambda body: m.TransferEnd(*_TRANSFER_END.unpack(body)),
    lambda body: m.Receipt(*_RECEIPT.unpack(body)),
    _read_bye,
    lambda body: m.Abort(m.AbortCode(body[0]), _read_text(body[1:])),
    _read_ping,
    lambda body: m.Pong(*_PONG.unpack(body)),
    _read_attach,
    lambda body: m.Received(*_RECEIVED.unpack(body)),
    _read_have,
    _read_proof,
    _read_whole_files,
)


def decode(message: bytes) -> Iterator[m.Message]:
    """The messages in one channel message, in order, one at a time.

    Payload that makes up most of ``message`` is a slice of it, not a copy. Types that this
    version does not know are passed over if they are marked so.

    Raises:
        PeerMisbehaved: bytes that are no frame; the messages before them were given already.
    """
    view = memoryview(message)
    at, end = 0, len(view)
    _check(0 < end <= m.MAX_MESSAGE, "a message of no or too many bytes")
    while at < end:
        _check(end - at >= HEADER_SIZE, "half a header")
        (head,) = _HEADER.unpack_from(view, at)
        kind, start = head >> 24, at + HEADER_SIZE
        at = start + (head & 0xFFFFFF)
        _check(at <= end, "half a frame")
        if kind >= FIRST_IGNORABLE:
            continue
        decoder = _DECODERS[kind] if kind < len(_DECODERS) else None
        if decoder is None:
            raise _refuse(f"type {kind}")
        try:
            decoded = decoder(view[start:at])
        except (struct.error, ValueError, LookupError) as error:
            raise _refuse(f"type {kind} with a body out of range") from error
        yield decoded
