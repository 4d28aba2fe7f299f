"""The 2,048 words of the BIP39 English list: looked up, drawn from, completed.

Any two of them differ within their first four letters (BIP39, "Wordlist"), so four letters name a
word. Knows nothing of codes. The list is read when it is first needed, not when this is imported.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from typing import Final

WORD_BITS: Final = 11  # of a word drawn at random: the list has 2**11
UNIQUE: Final = 4  # letters that tell any two words apart


@cache
def words() -> tuple[str, ...]:
    """The list, in its own order, which is alphabetical."""
    from mnemonic import Mnemonic  # noqa: PLC0415  # read only by commands that pair

    return tuple(Mnemonic("english").wordlist)


def starting_with(prefix: str) -> list[str]:
    """The words that begin with ``prefix``, which is in lower case."""
    every = words()
    found = []
    for word in every[bisect_left(every, prefix) :]:
        if not word.startswith(prefix):
            break
        found.append(word)
    return found


def find(token: str) -> str | None:
    """The word that ``token``, in lower case, names in full or by four letters or more of it."""
    candidates = starting_with(token)
    if token in candidates:
        return token
    return candidates[0] if len(token) >= UNIQUE and candidates else None
