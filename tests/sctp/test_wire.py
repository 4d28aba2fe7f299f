"""The beginning of packets against the general encoder, and cookies against forgery."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from p2pxfer.sctp.chunks import Heartbeat, write_chunk
from p2pxfer.sctp.cookies import Cookie, unseal
from p2pxfer.sctp.packets import checksum_valid, encode
from p2pxfer.sctp.wire import Wire

COOKIE = Cookie(12.5, 1, 2, 3, 4, 5, 6, 7, 3)


@given(st.binary(max_size=100), st.integers(1, 0xFFFFFFFF), st.booleans())
def test_packets_are_those_of_the_encoder(info, tag, zero):
    """With and without a checksum."""
    chunk = Heartbeat(info)
    made = Wire(5000, 5001, tag, zero=zero).wrap(write_chunk(chunk))
    assert made == encode(tag, [chunk], source=5000, destination=5001, zero_checksum=zero)


@given(st.binary(min_size=4, max_size=100), st.integers(0, 7))
def test_one_wrong_bit_is_seen(info, bit):
    """Wherever it is behind the ports and the tag."""
    wire = Wire(5000, 5000, 9)
    packet = bytearray(wire.wrap(write_chunk(Heartbeat(info))))
    assert wire.valid(bytes(packet), int.from_bytes(packet[8:12], "big"))
    packet[8 + len(info)] ^= 1 << bit
    assert not wire.valid(bytes(packet), int.from_bytes(packet[8:12], "big"))
    assert not checksum_valid(bytes(packet))


def test_a_cookie_comes_back_as_it_was():
    """By whoever sealed it."""
    assert unseal(COOKIE.seal(b"secret"), b"secret") == COOKIE


@pytest.mark.parametrize("change", ["secret", "bit", "short", "long", "empty"])
def test_another_cookie_is_none(change):
    """Made by another end, changed, or of another length."""
    sealed = bytearray(COOKIE.seal(b"secret" if change != "secret" else b"another"))
    if change == "bit":
        sealed[9] ^= 1
    data = {"short": sealed[:-1], "long": sealed + b"x", "empty": b""}.get(change, sealed)
    assert unseal(bytes(data), b"secret") is None


def test_cookies_differ_by_what_they_hold():
    """No part of one is left unsealed."""
    assert COOKIE.seal(b"s")[-16:] != replace(COOKIE, peer_tag=9).seal(b"s")[-16:]
