"""The estimate errs on the low side, and lets random text pass."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.pairing.strength import estimate

ENOUGH = 64


@pytest.mark.parametrize(
    "text",
    [
        "password", "correct horse battery staple", "CorrectHorseBatteryStaple!2024",
        "the quick brown fox jumps over the lazy dog", "thequickbrownfoxjumpsoverthelazydog",
        "To be or not to be that is the question", "qwertyuiopasdfghjklzxcvbnm",
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "abcdefghijklmnopqrstuvwxyz0123456789",
        "a b c d e f g h i j k l m n o p q r s", "aAbBcCdDeEfFgGhHiIjJkKlLmMnN",
        "31415926535897932384", "2024-01-31 1999-12-31 2001-09-11", "x" * 200, "Xk9#" * 50,
        "hunter2!hunter2!hunter2!hunter2!", "!" * 40, "acegikmoqsuwy" * 3,
        "P4ssw0rd!P4ssw0rd!P4ssw0rd!", "alfa bravo charlie delta echo",
    ],
)  # fmt: skip
def test_what_people_make_up_does_not_pass(text: str):
    """Words, sentences, walks along the keyboard, dates and repeats are what guessers try."""
    assert estimate(text) < ENOUGH


@pytest.mark.parametrize(
    ("alphabet", "length"),
    [
        ("0123456789abcdef", 40),
        ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 40),
    ],
)
def test_forty_random_characters_pass(alphabet: str, length: int):
    """The hint says so, hence it must hold."""
    source = random.Random(7)
    texts = ("".join(source.choices(alphabet, k=length)) for _ in range(500))
    assert min(map(estimate, texts)) >= ENOUGH


def test_random_text_is_never_overestimated():
    """The bits that random bytes have, written in base64, are an upper bound."""
    source = random.Random(7)
    for size in range(4, 40, 3):
        for _ in range(50):
            text = base64.b64encode(source.randbytes(size)).decode()
            assert estimate(text) <= 8 * size


@pytest.mark.parametrize(
    ("run", "mixed"),
    [
        ("13579", "13857"),
        ("11111", "17153"),
        ("34567", "36479"),
        ("97531", "93571"),
        ("#%')+", "#+%)'"),
    ],
)
def test_steps_of_one_width_are_one_guess(run: str, mixed: str):
    """Counting by twos, up or down, is no secret, and neither is counting by none."""
    assert estimate(run) < estimate(mixed) / 2


@given(st.text(max_size=40))
def test_saying_it_twice_adds_little(text: str):
    """A guesser tries repeats first."""
    assert estimate(text + text) <= estimate(text) + 25


@given(st.text(max_size=60))
def test_the_estimate_is_bounded_for_any_text(text: str):
    """No character of any script counts more than four bits."""
    assert 0 <= estimate(text) <= 4 * len(text)
