"""Outbox: frames share messages, keep their order, and none is over the limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.transfer import messages as m
from p2pxfer.transfer.frames import decode
from p2pxfer.transfer.outbox import Outbox

LIMIT = 65_536


def block(length: int, *, zero: bool = False) -> m.Block:
    return m.Block(0, 0, length, bytes(32), zero)


def test_nothing_of_a_view_is_kept():
    """A buffer may be filled with the next block before the message is full."""
    buffer, outbox = bytearray(b"x" * 100_000), Outbox(LIMIT)
    messages = outbox.add_block(block(len(buffer)), memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    messages += outbox.flush()
    frames = [frame for message in messages for frame in decode(message)]
    payload = b"".join(bytes(frame.payload) for frame in frames if isinstance(frame, m.Data))
    assert payload == b"x" * len(buffer)


@given(st.lists(st.integers(1, 200_000) | st.just(0), max_size=12))
def test_what_goes_in_comes_out_in_order(sizes):
    """Blocks and small frames come back whole whatever shares a message; 0 stands for a ping."""
    outbox, messages = Outbox(LIMIT), []
    for at, size in enumerate(sizes):
        ping = m.Ping(at, m.Activity.IDLE, 0)
        messages += outbox.add_block(block(size), bytes((at,)) * size) if size else outbox.add(ping)
    messages += outbox.flush()
    assert all(0 < len(message) <= LIMIT for message in messages)
    assert len(outbox) == 0
    frames = [frame for message in messages for frame in decode(message)]
    back = []
    for frame in frames:
        if isinstance(frame, m.Data):
            back[-1] = (back[-1][0], back[-1][1] + bytes(frame.payload))
            assert len(frame.payload) >= m.MIN_PIECE or len(back[-1][1]) == back[-1][0].length
        else:
            back.append((frame, b""))
    wanted = [
        (block(size), bytes((at,)) * size) if size else (m.Ping(at, m.Activity.IDLE, 0), b"")
        for at, size in enumerate(sizes)
    ]
    assert back == wanted


@given(st.lists(st.lists(st.integers(0, m.MAX_WHOLE), max_size=40), max_size=4))
def test_whole_files_come_back_as_they_were(runs):
    """As many to a frame as fit, in messages within the limit."""
    outbox, messages, wanted = Outbox(LIMIT), [], []
    for run in runs:
        sizes = run[: outbox.fits_whole(run)]
        assert sizes == run or sum(sizes) + 56 * (len(sizes) + 1) + run[len(sizes)] > LIMIT
        if sizes:
            files = tuple((n, size, 0o644, -n, bytes(32)) for n, size in enumerate(sizes))
            contents = [bytes((n,)) * size for n, size in enumerate(sizes)]
            wanted.append(m.WholeFiles(files, b"".join(contents)))
            messages += outbox.add_whole(files, contents)
    messages += outbox.flush()
    assert all(0 < len(message) <= LIMIT for message in messages)
    assert [frame for message in messages for frame in decode(message)] == wanted


def test_small_frames_share_a_message():
    """A hundred small files' frames are one message."""
    outbox = Outbox(LIMIT)
    assert not any(outbox.add_block(block(100), bytes(100)) for _ in range(100))
    assert len(outbox.flush()) == 1
    assert outbox.flush() == []


def test_a_large_block_fills_its_messages():
    """All but the last message are full to the byte."""
    outbox = Outbox(LIMIT)
    full = outbox.add_block(block(1_000_000), bytes(1_000_000))
    assert {len(message) for message in full} == {LIMIT}


def test_zeros_travel_as_a_header():
    """The payload of a block of zeros is left out."""
    outbox = Outbox(LIMIT)
    assert outbox.add_block(block(4_000_000, zero=True), bytes(4_000_000)) == []
    assert list(decode(outbox.flush()[0])) == [block(4_000_000, zero=True)]


def test_a_block_that_is_kept_travels_as_a_header():
    """Its payload is left out, although the session has it."""
    outbox, kept = Outbox(LIMIT), m.Block(0, 0, 4_000_000, bytes(32), kept=True)
    assert outbox.add_block(kept, bytes(4_000_000)) == []
    assert list(decode(outbox.flush()[0])) == [kept]


def test_a_channel_with_tiny_messages_is_refused():
    """Every page must fit."""
    with pytest.raises(ValueError, match="65536"):
        Outbox(1_000)


def test_a_frame_over_the_channels_limit_is_refused():
    """Only payload is cut; no other frame grows that long by itself."""
    with pytest.raises(ValueError, match="does not fit"):
        Outbox(LIMIT).add(m.Data(bytes(LIMIT)))
