"""Names of temporaries and of second copies."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.files.naming import TEMPORARY_MARK, numbered, temporary


@pytest.mark.parametrize(
    ("name", "copies"),
    [
        (b"photo.jpg", [b"photo (1).jpg", b"photo (2).jpg"]),
        (b"README", [b"README (1)", b"README (2)"]),
        (b".bashrc", [b".bashrc (1)", b".bashrc (2)"]),
        (b"a.tar.gz", [b"a.tar (1).gz", b"a.tar (2).gz"]),
    ],
)
def test_copies_keep_their_extension(name, copies):
    """The number comes before the extension, if there is one."""
    assert list(islice(numbered(name, 255), 2)) == copies


@given(st.binary(min_size=1, max_size=255).filter(lambda n: b"/" not in n and b"\0" not in n))
def test_made_up_names_fit(name):
    """However long the name, what is made of it fits, and no two copies share a name."""
    copies = list(islice(numbered(name, 255), 12))
    assert all(0 < len(copy) <= 255 for copy in copies)
    assert len(set(copies)) == 12
    made = temporary(name, 255)
    assert len(made) <= 255
    assert made.startswith(b".")
    assert TEMPORARY_MARK in made


def test_a_character_is_not_cut():
    """A shortened name is still UTF-8, which some filesystems insist on."""
    name = "é".encode() * 127 + b"x"
    for limit in range(200, 256):
        temporary(name, limit).decode()
        next(numbered(name, limit)).decode()


def test_temporaries_are_drawn_anew():
    """Nobody can tell the next one's name."""
    assert len({temporary(b"x", 255) for _ in range(100)}) == 100
