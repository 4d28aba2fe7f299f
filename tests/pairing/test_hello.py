"""Hellos: what parses encodes back to the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.pairing.handshake import MAX_MAIL
from p2pxfer.pairing.hello import NONCE_SIZE, Hello, decode, encode
from p2pxfer.pairing.role import Role

capability = st.from_regex(r"[a-z0-9][a-z0-9.\-]{0,31}", fullmatch=True)
hello = st.builds(
    Hello,
    st.integers(1, 255),
    st.frozensets(capability, max_size=16),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64),
)
nonce = st.binary(min_size=NONCE_SIZE, max_size=NONCE_SIZE)


@given(hello, st.sampled_from(Role), nonce)
def test_a_hello_survives_its_bytes(said: Hello, role: Role, fresh: bytes):
    """And fits one piece of mail, with a kind before it."""
    data = encode(said, role, fresh)
    assert decode(data) == (said, role)
    assert len(data) < MAX_MAIL


@given(
    st.binary(max_size=200)
    | st.tuples(hello, nonce, st.binary(max_size=3)).map(
        lambda made: encode(made[0], Role.B, made[1]) + made[2]
    )
)
def test_bytes_are_a_hello_or_misbehaviour(data: bytes):
    """Nothing else is raised, and what parses has no second form."""
    try:
        said, role = decode(data)
    except PeerMisbehaved:
        return
    again = encode(said, role, data[2 : 2 + NONCE_SIZE])
    assert data == again if said.version == 1 else data.startswith(again)


@given(hello, nonce, st.data())
def test_a_cut_hello_is_misbehaviour(said: Hello, fresh: bytes, data: st.DataObject):
    """Wherever it was cut."""
    whole = encode(said, Role.A, fresh)
    with pytest.raises(PeerMisbehaved):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 0}, {"version": 256}, {"agent": "x" * 65}, {"agent": "é"}, {"agent": "\x1b[2J"},
        {"capabilities": frozenset({"Verify"})}, {"capabilities": frozenset({""})},
        {"capabilities": frozenset(map(str, range(17)))}, {"capabilities": frozenset({"a" * 33})},
    ],
)  # fmt: skip
def test_a_hello_that_the_peer_would_refuse_is_never_made(fields: dict[str, object]):
    """The mistake shows where it was made."""
    with pytest.raises(ValueError, match=r"version|agent|capabilit"):
        Hello(**fields)
