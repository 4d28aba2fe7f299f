"""What takes content that is no tree: every byte once, each block checked before it goes on."""

from __future__ import annotations

import io

import pytest

from p2pxfer.errors import IntegrityError, LocalFileError
from p2pxfer.files.hashing import block_digest, zero_digest
from p2pxfer.manifest import EntryKind, Failure
from p2pxfer.session.sinks import Arrived, Ended, StreamSink, TextSink, Written, checked
from p2pxfer.transfer.actions import BeginFile, EndFile, WriteBlock
from tests.session.ends import MTIME, file, file_root, folder


def begin(size: int) -> BeginFile:
    return BeginFile(0, file(b"f", size), size, 0o644, MTIME)


def block(data: bytes, offset: int = 0, digest: bytes | None = None) -> Arrived:
    found = digest or block_digest(data)
    return Arrived(WriteBlock(0, 0, offset, len(data), found, zero=False), [data])


def end(data: bytes, root: bytes | None = None) -> EndFile:
    return EndFile(0, len(data), root or file_root(data), None)


class Dribble(io.RawIOBase):
    """Takes seven bytes at a time, as a pipe may."""

    def __init__(self) -> None:
        super().__init__()
        self.got = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        part = bytes(data[:7])
        self.got += part
        return len(part)


def test_a_stream_takes_each_block_once_whatever_the_writer_takes_at_a_time():
    """Short writes go on where they stopped."""
    out, data = Dribble(), b"0123456789" * 100
    sink = StreamSink(out)
    results = sink.apply([begin(1000), block(data), end(data)], idle=True)
    sink.finish()
    assert out.got == data
    assert [type(result) for result in results] == [Written, Ended]


def test_zeros_are_written_out():
    """A stream has no holes."""
    out = io.BytesIO()
    sink = StreamSink(out)
    zeros = WriteBlock(0, 0, 0, 5000, zero_digest(5000), zero=True)
    sink.apply([begin(5000), Arrived(zeros, [])], idle=True)
    assert out.getvalue() == bytes(5000)


def test_a_damaged_block_never_reaches_the_writer():
    """Not a byte of it."""
    out = io.BytesIO()
    with pytest.raises(IntegrityError):
        StreamSink(out).apply([begin(4), block(b"data", digest=bytes(32))], idle=True)
    assert out.getvalue() == b""


def test_a_wrong_root_is_noticed():
    """Although each block was right."""
    with pytest.raises(IntegrityError):
        StreamSink(io.BytesIO()).apply(
            [begin(4), block(b"data"), end(b"data", bytes(32))], idle=True
        )


def test_a_block_in_pieces_is_joined():
    """As it comes from several messages."""
    arrived = Arrived(WriteBlock(0, 0, 0, 4, block_digest(b"data"), zero=False), [b"da", b"ta"])
    assert b"".join(checked(arrived)) == b"data"


def test_only_the_first_file_goes_into_a_stream():
    """Folders and further files have no place."""
    sink = StreamSink(io.BytesIO())
    refused = sink.admit(0, [file(b"a", 1), file(b"b", 1)])
    assert [(number, failure) for number, failure, _ in refused] == [(1, Failure.EXISTS)]
    assert sink.admit(0, [folder(b"d")])
    assert folder(b"d").kind is EntryKind.DIRECTORY
    assert not sink.questions()


def test_a_stream_is_bounded():
    """By what was asked for, zeros included."""
    zeros = WriteBlock(0, 0, 0, 5000, zero_digest(5000), zero=True)
    with pytest.raises(LocalFileError, match="max-size"):
        StreamSink(io.BytesIO(), max_size=4999).apply([begin(5000), Arrived(zeros, [])], idle=True)


def test_a_closed_pipe_is_a_local_error():
    """Whoever read it has gone."""

    class Closed(io.BytesIO):
        def write(self, _data) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(LocalFileError, match="Broken pipe"):
        StreamSink(Closed()).apply([begin(4), block(b"data")], idle=True)


def test_a_text_is_kept_and_what_is_no_text_replaced():
    """Until all of it is there."""
    data = b"text \xff"
    sink = TextSink()
    sink.apply([begin(len(data)), block(data), end(data)], idle=True)
    sink.finish()
    assert sink.text == "text \ufffd"
