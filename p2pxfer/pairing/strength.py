"""How hard a text that a person made up is to guess, in bits: meant to err on the low side.

The text of a code of one's own, once it is known not to be words of the list. The estimate never
asks a dictionary. It takes every run of letters for a word, and gives nothing for what a guesser
gets for free: three characters or more that repeat, count up or down, walk along the keyboard, or
were there before. ``docs/pairing-protocol.md`` states the same rules. Two sides need not agree on
them: nothing but a refusal hangs on the estimate.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

LETTER_BITS: Final = 4.0  # of a letter that stands alone: a hexadecimal digit's, below log2(26)
WORD_BITS: Final = 2.0  # of a run of letters between separators, a word of a sentence, and
PART_BITS: Final = 4.0  # of one that has digits, symbols or capitals beside it, and
WORD_LETTER_BITS: Final = 1.25  # of each letter in either: 9.5 bits for a word of six
DIGIT_BITS: Final = 3.3  # log2(10), rounded down
DATE_DIGIT_BITS: Final = 2.0  # of a digit where the run may be a year, a date or a PIN
DATE_LENGTHS: Final = frozenset({4, 6, 8})
SYMBOL_BITS: Final = 3.0  # people choose few of them
REPEAT: Final = 3  # characters that were there before, together, count for nothing
SEPARATORS: Final = frozenset(" \t\r\n\f\v-_.,\u2010\u2011\u2012\u2013\u2014\u2015\u2212")

_KEYBOARD: Final = (
    "1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm",
    "1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "8ik", "9ol", "0p",
)  # fmt: skip  # rows, then columns
_NEIGHBOURS: Final = frozenset(
    pair for line in _KEYBOARD for way in (line, line[::-1]) for pair in pairwise(way)
)


def estimate(text: str) -> float:
    """Bits that ``text`` carries at the least, if whoever made it up was not careless.

    Costs time quadratic in the length of ``text``: bound it first.
    """
    tokens = [_runs(token) for token in tokens_of(text)]
    counted = iter(_counted("".join(run for runs in tokens for run in runs)))
    return sum(
        _run_bits(run, sum(next(counted) for _ in run), alone=len(runs) == 1)
        for runs in tokens
        for run in runs
    )


def tokens_of(text: str) -> list[str]:
    """What separators separate."""
    return "".join(" " if each in SEPARATORS else each for each in text).split(" ")


def _runs(token: str) -> list[str]:
    """Letters, digits and symbols apart; in CamelCase each word is a run."""
    runs: list[str] = []
    for character in token:
        if runs and _belongs(character, runs[-1]):
            runs[-1] += character
        else:
            runs.append(character)
    return runs


def _belongs(character: str, run: str) -> bool:
    if _kind(character) != _kind(run[-1]):
        return False
    if character.isupper():
        return not run[-1].islower()
    return not character.islower() or len(run) == 1 or not run[-1].isupper()


def _kind(character: str) -> str:
    if character.isalpha():
        return "letter"
    return "digit" if character.isdecimal() else "symbol"


def _counted(text: str) -> list[bool]:
    """For each character whether a guesser has to guess it."""
    folded = "".join(low if len(low := each.lower()) == 1 else each for each in text)
    counted = [True] * len(folded)
    follows = [False] + [
        abs(ord(b) - ord(a)) <= 1 or (a, b) in _NEIGHBOURS for a, b in pairwise(folded)
    ]
    steps = [ord(b) - ord(a) for a, b in pairwise(folded)]
    for at in range(2, len(folded)):
        if (follows[at - 1] and follows[at]) or steps[at - 2] == steps[at - 1]:
            counted[at - 1 : at + 1] = [False, False]
    for at in range(len(folded) - REPEAT + 1):
        if folded.find(folded[at : at + REPEAT], 0, at + REPEAT - 1) != -1:
            counted[at : at + REPEAT] = [False] * REPEAT
    return counted


def _run_bits(run: str, count: int, *, alone: bool) -> float:
    match _kind(run[0]):
        case "letter":
            word = (WORD_BITS if alone else PART_BITS) + WORD_LETTER_BITS * count
            return min(LETTER_BITS * count, word)
        case "digit":
            return count * (DATE_DIGIT_BITS if len(run) in DATE_LENGTHS else DIGIT_BITS)
        case _:
            return count * SYMBOL_BITS
