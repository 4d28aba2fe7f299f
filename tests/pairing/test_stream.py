"""A stream of sealed frames under every handling that a carrier is capable of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.errors import IntegrityError, PeerMisbehaved
from p2pxfer.pairing import stream
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import ATTEMPT_NONCE, SessionKeys
from p2pxfer.pairing.role import Role
from p2pxfer.pairing.stream import LAST, MAX_FRAME, MAX_PART, MORE, FrameOpener, FrameSealer

LABEL = "relay"
NONCES = [bytes([n]) * ATTEMPT_NONCE for n in range(3)]
LONGEST = 256 * 1024


def both(one: bytes = NONCES[0], two: bytes = NONCES[1]) -> tuple[SessionKeys, SessionKeys]:
    a, b = (SessionKeys(bytes(32), role, bytes(32), Hello(), 1) for role in Role)
    return a.relayed(one, two), b.relayed(one, two)


def opened(frames: list[bytes], opener: FrameOpener) -> list[bytes]:
    """The messages that come out, up to the first error."""
    found = []
    for frame in frames:
        try:
            message = opener.open(frame)
        except IntegrityError:
            break
        if message is not None:
            found.append(message)
    return found


@given(st.lists(st.integers(1, 3 * MAX_PART), max_size=5))
def test_messages_of_any_length_come_out_as_they_went_in(sizes: list[int]):
    """Each in as many frames as it needs, none longer than a carrier takes."""
    a, b = both()
    sealer, opener = FrameSealer(a.sealer(LABEL)), FrameOpener(b.opener(LABEL), LONGEST)
    messages = [bytes([n]) * size for n, size in enumerate(sizes)]
    frames = [sealer.greeting()]
    for message in messages:
        own = sealer.seal(message)
        assert len(own) == -(-len(message) // MAX_PART)
        frames += own
    assert max(map(len, frames)) <= MAX_FRAME
    assert opened(frames, opener) == messages
    assert opener.greeted


@given(st.data(), st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=5))
def test_no_handling_of_frames_goes_unseen(data: st.DataObject, messages: list[bytes]):
    """Dropped, repeated, reordered, reflected, changed, cut, spliced: a beginning comes out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "MAX_PART", 4)  # so that a few bytes take several frames
        a, b = both()
        sealers = [
            FrameSealer(each.sealer(LABEL)) for each in (a, b, both(NONCES[0], NONCES[2])[0])
        ]
        ways = []
        for sealer in sealers:
            frames = [sealer.greeting()]
            for message in messages:
                frames += sealer.seal(message)
            ways.append(frames)
    true = ways[0]
    others = [*ways[1], *ways[2], *(each[:-1] for each in true), *(each + b"\0" for each in true)]
    others += [bytes((each[0] ^ 1,)) + each[1:] for each in true]
    begun = true[: data.draw(st.integers(0, len(true)))]
    handled = begun + data.draw(st.lists(st.sampled_from(true + others), max_size=6))
    found = opened(handled, FrameOpener(b.opener(LABEL), LONGEST))
    assert found == messages[: len(found)]


def test_a_stream_is_of_one_connection_and_one_direction():
    """Fresh nonces, and keys that are neither an attempt's nor the session's own."""
    session = SessionKeys(bytes(32), Role.A, bytes(32), Hello(), 1)
    streams = [session.relayed(x, y) for x in NONCES for y in NONCES if x != y]
    others = [session, session.attempt(*NONCES[:2])]
    keys = {each.key(LABEL, role) for each in streams + others for role in Role}
    assert len(keys) == 2 * (6 + 2)
    with pytest.raises(ValueError, match="nonce"):
        session.relayed(NONCES[0], b"")


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [LAST + b"no greeting"],
        [MORE],
        [LAST, LAST],
        [LAST, MORE],
        [LAST, b""],
        [LAST, b"\2x"],
        [LAST, MORE + b"x" * 60, MORE + b"x" * 60],
    ],
    ids=repr,
)
def test_a_peer_that_seals_nonsense_is_told_from_a_carrier(frames: list[bytes]):
    """The last of each is refused, and nothing is opened after it."""
    a, b = both()
    sealer, opener = a.sealer(LABEL), FrameOpener(b.opener(LABEL), 100)
    *before, last = [sealer.seal(each) for each in frames]
    for each in before:
        assert opener.open(each) is None
    with pytest.raises(PeerMisbehaved):
        opener.open(last)
    with pytest.raises(IntegrityError):
        opener.open(sealer.seal(LAST + b"x"))
