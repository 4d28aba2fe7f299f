"""Answers of browsers about the names that they hide behind."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.peer.names import answers_alone

NAME = b"\x03abc\x05local\x00"
ADDRESS = struct.pack("!HHIH", 1, 0x8001, 120, 4) + bytes([192, 168, 77, 2])
NSEC = struct.pack("!HHIH", 47, 0x8001, 120, 5) + b"\xc0\x0c\x00\x01\x40"


def message(questions: int, answers: int, more: int, body: bytes) -> bytes:
    return struct.pack("!6H", 0, 0x8400, questions, answers, 0, more) + body


def test_what_chromium_answers_is_cut_to_the_address():
    """With the name written out, or pointed at."""
    for name in (NAME, b"\xc0\x0c"):
        whole = message(0, 1, 1, NAME + ADDRESS + name + NSEC)
        assert answers_alone(whole) == message(0, 1, 0, NAME + ADDRESS)
    question = NAME + struct.pack("!HH", 1, 1)
    whole = message(1, 1, 1, question + b"\xc0\x0c" + ADDRESS + NAME + NSEC)
    assert answers_alone(whole) == message(1, 1, 0, question + b"\xc0\x0c" + ADDRESS)


@given(st.binary(max_size=200))
def test_anything_else_harms_nobody(data):
    """Whoever is on this network may send it: it stays, or is a part of what it was."""
    found = answers_alone(data)
    assert found == data or found[12:] == data[12 : len(found)]


def test_an_answer_that_is_cut_stays_so():
    """The parser knows what to do with that."""
    whole = message(0, 1, 0, NAME + ADDRESS)
    for size in range(len(whole)):
        assert answers_alone(whole[:size]) == whole[:size]
