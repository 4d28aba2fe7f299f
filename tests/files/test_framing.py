"""Records with checksums: what is whole is read, whatever is around it."""

from __future__ import annotations

import time
import zlib

from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.files.framing import MAX_BODY, decoded, encoded


def test_the_format_is_as_documented():
    """Mark, length, CRC-32 that starts from the kind, kind, body."""
    body = b"some/path"
    checksum = zlib.crc32(body, 4)
    expected = (
        b"\xf1p2x" + len(body).to_bytes(4, "big") + checksum.to_bytes(4, "big") + b"\4" + body
    )
    assert encoded(4, body) == expected


def test_marks_everywhere_end_soon():
    """A file in which every record claims to be long is not checked over and over."""
    one = b"\xf1p2x" + (MAX_BODY).to_bytes(4, "big")
    began = time.process_time()
    assert list(decoded(one * (32 * 1024 * 1024 // len(one)))) == []
    assert time.process_time() - began < 4  # a hundred times what it takes


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=100)), max_size=8), st.data())
def test_what_is_whole_comes_back(records, data):
    """Also after a cut in the middle of the next, and with a record lost on the way."""
    encodings = [encoded(kind, body) for kind, body in records]
    assert list(decoded(b"".join(encodings))) == records
    if records:
        lost = data.draw(st.integers(0, len(records) - 1))
        cut = data.draw(st.integers(0, len(encodings[lost]) - 1))
        encodings[lost] = encodings[lost][:cut]
        assert list(decoded(b"".join(encodings))) == records[:lost] + records[lost + 1 :]


def test_a_record_that_is_too_long_is_none():
    """Nobody writes one; the next is found."""
    assert list(decoded(encoded(1, bytes(MAX_BODY + 1)) + encoded(2, b"x"))) == [(2, b"x")]
