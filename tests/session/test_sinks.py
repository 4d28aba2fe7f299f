"""What takes content that is no tree: every byte once, each block checked before it goes on."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from p2pxfer.errors import IntegrityError, LocalFileError
from p2pxfer.files.hashing import block_digest, zero_digest
from p2pxfer.manifest import EntryKind, Failure
from p2pxfer.session.placement import Acceptance, place
from p2pxfer.session.sinks import Arrived, Ended, StreamSink, TextSink, Written, checked
from p2pxfer.transfer.actions import BeginFile, EndFile, WriteBlock
from tests import namespaces
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


@pytest.fixture
def disk():
    """A block device, as ``-o /dev/sdb`` names one."""
    namespaces.require()
    with tempfile.NamedTemporaryFile() as image:
        image.truncate(1 << 20)
        words = ["losetup", "--find", "--show", image.name]
        device = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        yield Path(device)
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.parametrize("fails", [False, True])
def test_a_disk_has_a_stream_for_good_before_that_is_told(disk, monkeypatch, fails):
    """What it tells of only when it is synced is told; it is closed in any case."""
    synced, real = [], os.fsync

    def sync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", sync)
    handles = os.listdir("/proc/self/fd")
    sink = place(Acceptance(output=disk), single=True).open()
    sink.apply([begin(4), block(b"data"), end(b"data")], idle=True)
    if fails:
        with pytest.raises(LocalFileError, match="the output can't be written: Input/output error"):
            sink.finish()
    else:
        sink.finish()
    sink.close(keep=False)
    assert os.listdir("/proc/self/fd") == handles
    assert (synced, disk.read_bytes()[:4]) == ([str(disk)], b"data")


def test_what_a_stream_is_written_to_stays_open_and_is_synced_if_it_is_a_file(
    tmp_path, monkeypatch
):
    """Standard output is the caller's, and may lead to a file; a pipe or a device has no disk."""
    path, synced = tmp_path / "f", []

    def sync(fd: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{fd}"), path.read_bytes()))

    monkeypatch.setattr(os, "fsync", sync)
    reader, writer = os.pipe()
    with path.open("wb") as out, open(writer, "wb") as pipe, open(os.devnull, "wb") as null:
        for each in (out, pipe, null):
            sink = StreamSink(each)
            sink.apply([begin(4), block(b"data")], idle=True)
            sink.finish()
            sink.close(keep=False)
            assert not each.closed
    with open(reader, "rb") as rest:
        assert rest.read() == b"data"
    assert synced == [(str(path), b"data")]


def test_a_text_is_kept_and_what_is_no_text_replaced():
    """Until all of it is there."""
    data = b"text \xff"
    sink = TextSink()
    sink.apply([begin(len(data)), block(data), end(data)], idle=True)
    sink.finish()
    assert sink.text == "text \ufffd"
