"""Codes: what two people tell each other so that their machines can meet.

Drawn codes, ``7-orbit-lamp``, and codes that a user chooses; drawing, reading and completing them.
What the machines do with a code is not known here, and neither is any network.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Struct

from p2pxfer.discreet import Discreet
from p2pxfer.errors import InvalidCode
from p2pxfer.pairing import strength, wordlist
from p2pxfer.pairing.derivation import derive

MIN_WORDS: Final = 2
MAX_WORDS: Final = 16
MAX_NAMEPLATE: Final = 999_999_999
MIN_BITS: Final = 64  # of a chosen code: its room's name can be guessed at offline
CHOSEN_WORDS: Final = 6  # random words that carry them, at 11 bits each
MAX_CHOSEN: Final = 1024  # characters
SCRYPT_COST: Final = 2**15  # N; with r = 8 it takes 32 MiB and some 80 ms (RFC 7914, section 2)
SCRYPT_BLOCK: Final = 8  # r
SCRYPT_SALT: Final = b"p2pxfer/1 chosen code"

_OWN_HINT: Final = f"take {CHOSEN_WORDS} random words of the BIP39 list, or 40 random characters"


class Code(Discreet, Struct, frozen=True):
    """A drawn code. ``str`` gives its canonical form; ``repr`` hides the words.

    Attributes:
        nameplate: names the room, and is all of the code that leaves the machine.
        words: of the BIP39 English list, in lower case and in full.
    """

    hidden = ("words",)

    nameplate: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return "-".join((str(self.nameplate), *self.words))

    def __repr__(self) -> str:
        return f"Code({self.nameplate}-…)"

    def password(self) -> bytes:
        """What goes into the PAKE."""
        return str(self).encode("ascii")


class ChosenCode(Discreet, Struct, frozen=True):
    """A code that a user chose, of at least `MIN_BITS` bits. ``repr`` hides all of it.

    Attributes:
        canonical: the one form of all the ways to type it.
        bits: the estimate that let it pass.
    """

    hidden = ("canonical",)

    canonical: str
    bits: float

    @property
    def _stretched(self) -> bytes:
        return _stretch(self.canonical)

    def room_name(self) -> bytes:
        """The 32 bytes that name the room where both sides meet, without a nameplate.

        Whoever sees the name can test guesses at the code, at the price of one scrypt each: that
        is what `MIN_BITS` stands against. The first call of this or of `password` is slow on
        purpose, some 80 ms and 32 MiB.
        """
        return derive(self._stretched, b"", "room")

    def password(self) -> bytes:
        """What goes into the PAKE: 32 bytes, which the room's name does not give away."""
        return derive(self._stretched, b"", "password")


@lru_cache(maxsize=1)  # what a command asks for is asked for in two places, of two objects
def _stretch(canonical: str) -> bytes:
    stretch = Scrypt(salt=SCRYPT_SALT, length=32, n=SCRYPT_COST, r=SCRYPT_BLOCK, p=1)
    return stretch.derive(canonical.encode())


def draw(nameplate: int, words: int = MIN_WORDS) -> Code:
    """A fresh code for the room ``nameplate``, its words drawn at random.

    Raises:
        InvalidCode: ``words`` is out of range.
    """
    if not MIN_WORDS <= words <= MAX_WORDS:
        raise InvalidCode(
            f"a code can't have {words} words", f"give {MIN_WORDS} to {MAX_WORDS} words"
        )
    return Code(nameplate, _random_words(words))


def generate_chosen() -> str:
    """A code that two machines can keep: six random words, 66 bits.

    Drawn again in the one case of a hundred that `chosen` would not let pass: a word twice, or two
    neighbours of the list in a row.
    """
    while True:
        words = _random_words(CHOSEN_WORDS)
        if _bits_of_words(words) >= MIN_BITS:
            return "-".join(words)


def read(text: str) -> Code | ChosenCode:
    """The code that ``text`` is: a drawn one if it is a number with words, else a chosen one.

    Raises:
        InvalidCode: it is neither.
    """
    return parse(text) if _is_drawn(_tokens(text)) else chosen(text)


def split(text: str) -> tuple[str, str | None]:
    """The code in ``text``, and the place to meet at that comes with it, if one does.

    ``412-orbit-lamp@192.168.1.5:8765`` and ``http://192.168.1.5:8765/#412-orbit-lamp`` have both.
    Only a drawn code has a place: one of the user's own may hold any character. Whether the place
    is one is not looked at.
    """
    text = text.strip()
    code, at, place = text.partition("@")
    if at and _is_drawn(_tokens(code)):
        return code.rstrip(), place.lstrip()
    place, mark, code = text.partition("#")
    if mark and "://" in place and _is_drawn(_tokens(code)):
        return code, place
    return text, None


def parse(text: str) -> Code:
    """The drawn code that a person typed as ``text``.

    Case does not matter; space, ``-``, ``_``, ``.``, ``,`` and typographic dashes all separate; a
    word may be cut after its fourth letter.

    Raises:
        InvalidCode: says what is missing or wrong, but never quotes the words.
    """
    tokens = _tokens(text)
    if not tokens or not _is_number(tokens[0]):
        raise InvalidCode("a code begins with a number")
    nameplate = int(tokens[0]) if len(tokens[0]) <= len(str(MAX_NAMEPLATE)) else 0
    if nameplate == 0:
        raise InvalidCode("the number in front of the code is out of range")
    words = []
    for place, token in enumerate(tokens[1:], start=1):
        word = wordlist.find(token)
        if word is None:
            raise InvalidCode(
                f"word {place} of the code is not in the word list", "check how it is spelt"
            )
        words.append(word)
    if not MIN_WORDS <= len(words) <= MAX_WORDS:
        raise InvalidCode(f"a code has {MIN_WORDS} words or more, this has {len(words)}")
    return Code(nameplate, tuple(words))


def complete(prefix: str) -> list[str]:
    """The ways to go on from ``prefix``, each a whole code so far: ``7-or`` gives ``7-orbit``, ….

    Completes the last word, or the next one after a separator. Empty if nothing fits.
    """
    tokens = _tokens(prefix)
    ends_open = not prefix or prefix[-1] in strength.SEPARATORS
    if tokens and not ends_open and _is_number(tokens[-1]):
        return [f"{tokens[0]}-"] if len(tokens) == 1 else []
    last = "" if ends_open or not tokens else tokens.pop()
    done = []
    for place, token in enumerate(tokens):
        word = token if place == 0 and _is_number(token) else wordlist.find(token)
        if word is None:
            return []
        done.append(word)
    return (
        ["-".join((*done, word)) for word in wordlist.starting_with(last)] if done or last else []
    )


def chosen(text: str) -> ChosenCode:
    """The code that a user chose as ``text``.

    Words of the BIP39 list alone are read as forgivingly as a drawn code's. Any other text counts
    as it is typed, case and all, but for space around it and for Unicode's ways to write the same
    characters (NFKC). The estimate is `MIN_BITS` or more: 11 for each word of the list that is not
    there twice or next to the one before it, and `strength.estimate` for other text.

    Raises:
        InvalidCode: too easily guessed, too long, more than one line, or easily mistaken for a
            drawn code. The text is never quoted.
    """
    if len(text) > MAX_CHOSEN:
        raise InvalidCode(f"a code has at most {MAX_CHOSEN} characters", _OWN_HINT)
    tokens = _tokens(text)
    if _is_drawn(tokens) or split(text)[1] is not None:
        raise InvalidCode(
            "a code of your own can't be a number and words: it looks like a drawn one", _OWN_HINT
        )
    words = [wordlist.find(token) for token in tokens]
    known = [word for word in words if word is not None]
    if len(known) == len(words):
        canonical, bits = "-".join(known), _bits_of_words(known)
    elif len(known) >= CHOSEN_WORDS - 1 and len(known) == len(words) - 1:
        raise InvalidCode(
            f"word {words.index(None) + 1} of the code is not in the word list",
            "check how it is spelt; all the others are",
        )
    else:
        canonical = unicodedata.normalize("NFKC", text).strip()
        if any(unicodedata.category(character).startswith("C") for character in canonical):
            raise InvalidCode("a code is one line, without control characters", _OWN_HINT)
        bits = strength.estimate(canonical)
    if bits < MIN_BITS:
        raise InvalidCode(
            "this is no number with words, and too easily guessed for a code of your own: "
            f"about {bits:.0f} bits of the {MIN_BITS} that it needs",
            f"a drawn code looks like 7-orbit-lamp; for one of your own, {_OWN_HINT}",
        )
    return ChosenCode(canonical, bits)


def _random_words(count: int) -> tuple[str, ...]:
    return tuple(secrets.choice(wordlist.words()) for _ in range(count))


def _tokens(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).lower()
    return [token for token in strength.tokens_of(plain) if token]


def _is_number(token: str) -> bool:
    return token.isascii() and token.isdigit()


def _is_drawn(tokens: list[str]) -> bool:
    """Whether this reads as a drawn code, be it finished, well spelt or not."""
    return (
        bool(tokens)
        and _is_number(tokens[0])
        and len(tokens[0]) <= len(str(MAX_NAMEPLATE))
        and all(token.isalpha() for token in tokens[1:])
    )


def _bits_of_words(known: Sequence[str]) -> float:
    counted = set[int]()
    before = None
    for word in known:
        index = wordlist.words().index(word)
        if before is None or abs(index - before) > 1:
            counted.add(index)
        before = index
    return float(len(counted) * wordlist.WORD_BITS)
