"""Frames: what is written reads back; anything else is the peer's fault, and nothing worse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.manifest import LAST_DATE, MAX_PATH, Entry, EntryKind, Failure, TransferKind
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.entries import MAX_ENTRIES_BYTES, encoded_size
from p2pxfer.transfer.frames import MAX_BODY, decode, encode, header

U16 = st.integers(0, 2**16 - 1)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63) + 1, 2**63 - 1)
SIZE = st.integers(-1, 2**63 - 1)
MODE = st.integers(0, 0o7777)
LENGTH = st.integers(1, 2**32 - 1)
DIGEST = st.binary(min_size=32, max_size=32)
ID = st.binary(min_size=16, max_size=16)
FAILURE = st.sampled_from(Failure)
NAME = st.binary(min_size=1, max_size=300)
TEXT = st.text(max_size=100)
NOTHING = st.just(b"")
ENTRY = st.one_of(
    st.builds(Entry, st.just(EntryKind.FILE), NAME, SIZE, MODE, I64, NOTHING),
    st.builds(Entry, st.just(EntryKind.DIRECTORY), NAME, st.just(0), MODE, I64, NOTHING),
    st.builds(Entry, st.just(EntryKind.SYMLINK), NAME, st.just(0), MODE, I64, NAME),
)
MESSAGE = st.one_of(
    st.builds(m.Hello, U16, U16, U64),
    st.builds(m.Offer, ID, st.sampled_from(TransferKind), st.binary(max_size=m.MAX_LABEL)),
    st.builds(m.Page, st.integers(0, 2**31), st.lists(ENTRY, min_size=1, max_size=8).map(tuple)),
    st.builds(m.ManifestEnd, U32, U64, U32),
    st.just(m.Accept()),
    st.builds(m.Decline, TEXT),
    st.builds(m.Want, U32, st.lists(st.builds(m.Skip, U32, U32, FAILURE), max_size=9).map(tuple)),
    st.builds(m.Credit, U64, U32),
    st.builds(m.FileBegin, U32, SIZE, MODE, I64),
    st.builds(m.Block, U32, U32, LENGTH, DIGEST, st.booleans(), st.just(False)),
    st.builds(m.Block, U32, U32, LENGTH, DIGEST, st.just(False), st.just(True)),
    st.builds(m.Data, st.binary(min_size=1, max_size=9_000)),
    st.builds(m.FileEnd, U32, st.none() | FAILURE, U64, DIGEST),
    st.builds(m.Failed, U32, FAILURE),
    st.builds(m.TransferEnd, DIGEST, U32, U64, U32),
    st.builds(m.Receipt, ID, DIGEST, U32, U64, U32, DIGEST, DIGEST),
    st.just(m.Bye()),
    st.builds(m.Abort, st.sampled_from(m.AbortCode), TEXT),
    st.builds(m.Ping, U64, st.sampled_from(m.Activity), U64),
    st.builds(m.Pong, U64),
    st.builds(m.Attach, U64, st.booleans()),
    st.builds(m.Received, U64),
    st.builds(m.Have, U32, U32, st.lists(DIGEST, min_size=1, max_size=40).map(tuple)),
    st.lists(st.tuples(U32, MODE, I64, DIGEST, st.binary(max_size=90)), min_size=1, max_size=9).map(
        lambda files: m.WholeFiles(
            tuple((n, len(data), mode, mtime, root) for n, mode, mtime, root, data in files),
            b"".join(data for *_, data in files),
        )
    ),
    st.builds(m.Proof, st.lists(st.tuples(ID, DIGEST), min_size=1, max_size=64).map(tuple)),
)


def read(message: bytes) -> list[m.Message] | None:
    """What `decode` gives; None for misbehaviour."""
    try:
        return list(decode(message))
    except PeerMisbehaved:
        return None


@given(st.lists(MESSAGE, min_size=1, max_size=6))
def test_what_is_written_reads_back_and_writes_the_same(messages):
    """Several frames of one channel message come back in order, equal, and encode identically."""
    raw = b"".join(map(encode, messages))
    back = list(decode(raw))
    assert back == messages
    assert b"".join(map(encode, back)) == raw


@given(st.binary(max_size=400))
def test_any_bytes_parse_or_are_refused(raw):
    """Noise never raises anything but the peer's misbehaviour."""
    read(raw)


@given(MESSAGE, st.data())
def test_damaged_frames_parse_or_are_refused(message, data):
    """A flipped byte, a cut, a tail: what still parses re-encodes to the same bytes."""
    raw = bytearray(encode(message))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))] + data.draw(st.binary(max_size=5))
    back = read(bytes(raw))
    if back is not None and not any(kind >= 0x80 for kind in types_of(bytes(raw))):
        assert b"".join(map(encode, back)) == bytes(raw)


@given(st.lists(MESSAGE, min_size=1, max_size=4), st.data())
def test_frames_split_anywhere_parse_or_are_refused(messages, data):
    """Each piece of a message that was cut at random is judged by itself."""
    raw = b"".join(map(encode, messages))
    cut = data.draw(st.integers(0, len(raw)))
    for piece in (raw[:cut], raw[cut:]):
        read(piece)


def types_of(raw: bytes) -> list[int]:
    """Types of the frames of a message that parses."""
    types, at = [], 0
    while at < len(raw):
        types.append(raw[at])
        at += 4 + int.from_bytes(raw[at + 1 : at + 4], "big")
    return types


def entry(kind: int, size: int, mode: int, path: bytes, target: bytes, *, lie: int = 0):
    """A page with one entry, as bytes; ``lie`` is added to the path's length."""
    head = bytes((kind,)) + size.to_bytes(8, "big", signed=True) + mode.to_bytes(2, "big")
    lengths = (len(path) + lie).to_bytes(2, "big") + len(target).to_bytes(2, "big")
    return bytes(4) + head + bytes(8) + lengths + path + target


def whole_file(size: int, mode: int = 0) -> bytes:
    """What a frame of whole files says of one."""
    return bytes(4) + size.to_bytes(4, "big") + mode.to_bytes(2, "big") + bytes(8 + 32)


REFUSED = {
    "no frame at all": b"",
    "half a header": b"\x05\x00",
    "a frame longer than its message": b"\x05\x00\x00\x01",
    "type 0": header(0, 0),
    "an unknown type that must be understood": header(0x7F, 0),
    "an accept with a body": header(5, 1) + b"x",
    "a bye with a body": header(16, 1) + b"x",
    "data without bytes": header(11, 0),
    "a label too long": header(2, 17 + 1025) + bytes(16) + b"\x01" + bytes(1025),
    "an unknown kind of offer": header(2, 17) + bytes(16) + b"\x09",
    "a page without entries": header(3, 4) + bytes(4),
    "an unknown kind of entry": (b := entry(9, 0, 0, b"a", b"")) and header(3, len(b)) + b,
    "a directory with a size": (b := entry(2, 1, 0, b"a", b"")) and header(3, len(b)) + b,
    "a file with a target": (b := entry(1, 0, 0, b"a", b"t")) and header(3, len(b)) + b,
    "a symlink without a target": (b := entry(3, 0, 0, b"a", b"")) and header(3, len(b)) + b,
    "a mode with more bits": (b := entry(1, 0, 0o10000, b"a", b"")) and header(3, len(b)) + b,
    "an entry without a path": (b := entry(1, 0, 0, b"", b"")) and header(3, len(b)) + b,
    "a size below -1": (b := entry(1, -2, 0, b"a", b"")) and header(3, len(b)) + b,
    "a path longer than its page": (b := entry(1, 0, 0, b"a", b"", lie=9))
    and header(3, len(b)) + b,
    "a path over the limit": (b := entry(1, 0, 0, b"a" * 57_345, b"")) and header(3, len(b)) + b,
    "a target over the limit": (b := entry(3, 0, 0, b"a", b"t" * 4_097)) and header(3, len(b)) + b,
    "a reason over the limit": header(6, 513) + b"x" * 513,
    "a reason that is not UTF-8": header(6, 1) + b"\xff",
    "a skip that is cut": header(7, 8) + bytes(8),
    "a skip for no reason": header(7, 13) + bytes(13),
    "more skips than fit": header(7, 4 + 9 * 1025) + bytes(4) + (bytes(8) + b"\x20") * 1025,
    "a credit too short": header(8, 11) + bytes(11),
    "a block of nothing": header(10, 45) + bytes(45),
    "a block with an unknown flag": header(10, 45) + bytes(11) + b"\x01\x04" + bytes(32),
    "a block that is kept and zeros": header(10, 45) + bytes(11) + b"\x01\x03" + bytes(32),
    "digests of no block": header(22, 8) + bytes(8),
    "half a digest": header(22, 8 + 48) + bytes(56),
    "digests without their place": header(22, 7) + bytes(7),
    "more digests than fit": header(22, 8 + 32 * 2048) + bytes(8 + 32 * 2048),
    "no proof": header(23, 0),
    "half a proof": header(23, 16) + bytes(16),
    "more proofs than fit": header(23, 48 * 65) + bytes(48 * 65),
    "no whole file": header(24, 2) + bytes(2),
    "half a whole file": header(24, 2 + 49) + b"\x00\x01" + bytes(49),
    "a whole file without its content": header(24, 52) + b"\x00\x01" + whole_file(1),
    "more content than whole files": header(24, 53) + b"\x00\x01" + whole_file(0) + b"x",
    "a whole file with more bits": header(24, 52) + b"\x00\x01" + whole_file(0, 0o10000),
    "a whole file over the limit": header(24, 52 + 61_441)
    + b"\x00\x01"
    + whole_file(61_441)
    + bytes(61_441),
    "a flag of an attach that is neither": header(20, 9) + bytes(8) + b"\x02",
    "a file with size -2": header(9, 22) + bytes(4) + b"\xff" * 7 + b"\xfe" + bytes(10),
    "an unknown failure": header(13, 5) + bytes(4) + b"\x63",
    "an unknown activity": header(18, 17) + bytes(8) + b"\x63" + bytes(8),
    "an unknown abort": header(17, 1) + b"\x63",
    "an abort without a code": header(17, 0),
    "more than a message may hold": header(0x80, 300_000) + bytes(300_000),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    """Frames that make no sense are the peer's misbehaviour, each for its own reason."""
    with pytest.raises(PeerMisbehaved):
        list(decode(REFUSED[name]))


def test_an_unknown_type_marked_so_is_passed_over():
    """What a later version may add without asking does not disturb this one."""
    raw = encode(m.Accept()) + header(0x80, 3) + b"new" + encode(m.Bye())
    assert list(decode(raw)) == [m.Accept(), m.Bye()]


def test_as_much_as_may_be_in_one_frame_fits_any_channel():
    """Digests, proofs, a whole file: none needs a larger message than every channel carries."""
    have = m.Have(0, 0, (bytes(32),) * m.MAX_DIGESTS)
    proof = m.Proof(((bytes(16), bytes(32)),) * m.MAX_PROOFS)
    whole = m.WholeFiles(((0, m.MAX_WHOLE, 0, 0, bytes(32)),), bytes(m.MAX_WHOLE))
    for message in (have, proof, whole):
        raw = encode(message)
        assert len(raw) <= m.MIN_MESSAGE
        assert list(decode(raw)) == [message]


def test_payload_is_a_slice_of_a_message_that_it_fills():
    """No copy is made of a full message's payload."""
    raw = encode(m.Data(b"x" * 200_000))
    (data,) = decode(raw)
    assert isinstance(data.payload, memoryview)
    assert data.payload.obj is raw


def test_a_small_payload_does_not_keep_a_large_message():
    """A piece that is less than half of its message is copied out of it."""
    raw = encode(m.Data(b"x" * 5_000)) + header(0xFF, 200_000) + bytes(200_000)
    (data,) = decode(raw)
    assert isinstance(data.payload, bytes)


def test_a_long_reason_is_cut_between_characters():
    """A text over the limit still reaches the other side."""
    (decline,) = decode(encode(m.Decline("é" * 400)))
    assert decline == m.Decline("é" * 256)


def test_a_frame_over_the_limit_is_not_written():
    """The length has three bytes, and a channel's message has fewer still."""
    with pytest.raises(ValueError, match="over the limit"):
        encode(m.Data(bytes(MAX_BODY + 1)))


@pytest.mark.parametrize(
    "bad",
    [
        Entry(EntryKind.FILE, b"", 0, 0, 0),
        Entry(EntryKind.FILE, b"a" * (MAX_PATH + 1), 0, 0, 0),
        Entry(EntryKind.SYMLINK, b"a", 0, 0, 0, b"t" * (m.MAX_TARGET + 1)),
        Entry(EntryKind.FILE, b"a", 0, 0, LAST_DATE + 1),
    ],
)
def test_an_entry_that_no_page_holds_is_told_to_the_session(bad):
    """The walker learns it before a frame is made."""
    with pytest.raises(ValueError, match="protocol"):
        encoded_size(bad)


@given(ENTRY)
def test_the_size_of_an_entry_is_known_before_it_is_written(entry):
    """`encoded_size` is what a page grows by."""
    page = encode(m.Page(0, (entry,)))
    assert len(page) == 8 + encoded_size(entry) <= 8 + MAX_ENTRIES_BYTES
