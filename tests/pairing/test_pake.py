"""SPAKE2: one key for one password, and no way in for malformed elements."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spake2.ed25519_basic import L, bytes_to_element

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.pairing.pake import MESSAGE_SIZE, Pake
from p2pxfer.pairing.role import Role

PASSWORD = b"7-orbit-lamp"


def test_one_password_gives_one_key():
    """And the messages are a side byte and an element."""
    a, b = Pake(Role.A, PASSWORD), Pake(Role.B, PASSWORD)
    assert (a.message[:1], b.message[:1]) == (b"A", b"B")
    assert len(a.message) == len(b.message) == MESSAGE_SIZE
    assert a.finish(b.message) == b.finish(a.message)


def test_two_passwords_give_two_keys_and_no_error():
    """Only confirmation tells that a guess was wrong."""
    a, b = Pake(Role.A, PASSWORD), Pake(Role.B, b"7-orbit-lamb")
    assert a.finish(b.message) != b.finish(a.message)


def test_each_run_is_fresh():
    """The same password gives other messages and another key each time."""
    runs = [(Pake(Role.A, PASSWORD), Pake(Role.B, PASSWORD)) for _ in range(3)]
    assert len({a.message for a, _ in runs} | {b.message[1:] for _, b in runs}) == 6
    assert len({a.finish(b.message) for a, b in runs}) == 3


def test_an_instance_takes_one_message():
    """A second one would be a second guess, also after a malformed first."""
    a, b = Pake(Role.A, PASSWORD), Pake(Role.B, PASSWORD)
    a.finish(b.message)
    with pytest.raises(RuntimeError):
        a.finish(b.message)
    other = Pake(Role.A, PASSWORD)
    with pytest.raises(PeerMisbehaved):
        other.finish(b"")
    with pytest.raises(RuntimeError):
        other.finish(b.message)


def test_its_own_element_under_the_other_side_is_refused():
    """A reflected element would cancel the password out."""
    a = Pake(Role.A, PASSWORD)
    with pytest.raises(PeerMisbehaved, match="ReflectionThwarted"):
        a.finish(b"B" + a.message[1:])


def test_nothing_secret_is_shown():
    """Neither by ``repr`` nor by an error."""
    a = Pake(Role.A, PASSWORD)
    assert repr(a) == "Pake(A)"
    with pytest.raises(PeerMisbehaved) as caught:
        a.finish(b"B" + bytes(32))
    assert caught.value.__cause__ is None
    assert "orbit" not in f"{caught.value} {caught.value.args}"


@given(st.binary(min_size=MESSAGE_SIZE - 1, max_size=MESSAGE_SIZE - 1))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_a_canonical_element_or_refused(element: bytes):
    """What is taken encodes back to itself and has the prime order."""
    try:
        key = Pake(Role.A, PASSWORD).finish(b"B" + element)
    except PeerMisbehaved:
        return
    point = bytes_to_element(element)
    assert point.to_bytes() == element
    assert point.scalarmult(L - 1).add(point).to_bytes() == b"\x01" + bytes(31)
    assert len(key) == 32


@given(st.integers(0, 18), st.booleans())
@settings(max_examples=38, deadline=None)
def test_no_element_has_a_second_encoding(above: int, sign: bool):
    """A y at or above the prime is refused, whatever it stands for."""
    y = 2**255 - 19 + above + (sign << 255)
    with pytest.raises(PeerMisbehaved):
        Pake(Role.B, PASSWORD).finish(b"A" + y.to_bytes(32, "little"))
