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
    MAX_TRACKS,
    Answer,
    Ended,
    Failed,
    Here,
    Offer,
    Showing,
    Shown,
    Watch,
    decode,
    encode,
)

TRACK = b'{"mid":"1","kind":"video","name":"x","muted":false}'
texts = st.text(st.characters(codec="utf-8"), max_size=MAX_TEXT)
tracks = st.lists(
    st.builds(
        Shown,
        st.text("abcXYZ019._-", min_size=1, max_size=32),
        st.sampled_from(["audio", "video"]),
        texts,
        st.booleans(),
    ),
    max_size=MAX_TRACKS,
    unique_by=lambda track: track.mid,
).map(tuple)
messages = (
    st.builds(Watch, st.booleans(), st.none() | texts)
    | st.builds(Showing, tracks)
    | st.builds(Offer, texts)
    | st.builds(Answer, texts)
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
        b'{"v":1,"kind":"watch","audio":true,"camera":1}',
        b'{"v":1,"kind":"showing","tracks":[' + TRACK + b"," + TRACK + b"]}",
        b'{"v":1,"kind":"showing","tracks":[' + TRACK.replace(b"video", b"data") + b"]}",
        b'{"v":1,"kind":"showing","tracks":[' + TRACK.replace(b"mid", b"aid") + b"]}",
        b'{"v":1,"kind":"showing","tracks":[' + TRACK.replace(b"false", b"0") + b"]}",
        b'{"v":1,"kind":"showing","tracks":[' + TRACK.replace(b"x", b"x" * 201) + b"]}",
        b'{"v":1,"kind":"showing","tracks":['
        + b",".join(TRACK.replace(b"1", b"1%d" % n) for n in range(MAX_TRACKS + 1))
        + b"]}",
        b'{"v":1,"kind":"here","x":"' + b"x" * MAX_SIZE + b'"}',
        b"[" * 3000,
    ],
)
def test_what_nobody_says_is_refused(data):
    """Other versions, shapes, depths and sizes."""
    with pytest.raises(PeerMisbehaved):
        decode(data)
