"""The words of a camera session: each comes back as it was, and nothing else is understood."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.media.messages import (
    MAX_SIZE,
    MAX_TEXT,
    Ended,
    Failed,
    Here,
    Showing,
    Watch,
    decode,
    encode,
)

texts = st.text(st.characters(codec="utf-8"), max_size=MAX_TEXT)
messages = (
    st.builds(Watch, st.booleans())
    | st.builds(Showing, texts, st.booleans())
    | st.builds(Failed, texts)
    | st.sampled_from([Ended(), Here()])
)


@given(messages)
def test_what_is_said_is_understood(message):
    """And fits."""
    assert len(encode(message)) <= MAX_SIZE
    assert decode(encode(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    """Nothing but `PeerMisbehaved` ever comes out."""
    with contextlib.suppress(PeerMisbehaved):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"v":2,"kind":"here"}',
        b'{"v":1,"kind":"watch","audio":1}',
        b'{"v":1,"kind":"showing","source":"' + b"x" * (MAX_TEXT + 1) + b'","audio":true}',
        b'{"v":1,"kind":"here","x":"' + b"x" * MAX_SIZE + b'"}',
        b"[" * 3000,
    ],
)
def test_what_nobody_says_is_refused(data):
    """Other versions, shapes, depths and sizes."""
    with pytest.raises(PeerMisbehaved):
        decode(data)
