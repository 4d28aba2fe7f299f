"""What is shown on a terminal can't act on it, and stands for one text only."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.files.escaping import escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"plain name.txt", "plain name.txt"),
        ("Zoë 北京 😀".encode(), "Zoë 北京 😀"),
        (b"a\x1b[2Jb", "a\\x1b[2Jb"),
        (b"line\nfeed\ttab", "line\\x0afeed\\x09tab"),
        (b"\x7f", "\\x7f"),
        ("\u0085\u009b31m", "\\u0085\\u009b31m"),
        ("gpj\u202eexe", "gpj\\u202eexe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\u2028", "\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        (b"caf\xe9", "caf\\xe9"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        ("\ud800", "\\ud800"),
        (b"back\\slash", "back\\\\slash"),
        (b"", ""),
    ],
)
def test_each_kind_of_character(text, shown):
    """One case for each kind of text that is, or is not, shown as it is."""
    assert escaped(text) == shown


@given(st.binary(max_size=60))
def test_nothing_unprintable_is_left(name):
    """Whatever the bytes, only printable characters come out."""
    shown = escaped(name)
    assert shown.isprintable()
    assert not any(unicodedata.category(character)[0] == "C" for character in shown)


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_two_names_never_look_the_same(one, other):
    """Different bytes give different text."""
    assert (escaped(one) == escaped(other)) == (one == other)
