"""The word list keeps what codes promise of it."""

from __future__ import annotations

from p2pxfer.pairing.wordlist import UNIQUE, WORD_BITS, find, starting_with, words


def test_the_list_is_large_sorted_and_unique_in_four_letters():
    """Each word is 11 bits, and four letters are enough to type one."""
    every = words()
    assert len(every) == 2**WORD_BITS
    assert list(every) == sorted(every)
    assert len({word[:UNIQUE] for word in every}) == len(every)


def test_every_word_is_found_by_itself_and_by_each_cut():
    """Nobody must type past the fourth letter, and nobody is misread for typing on."""
    for word in words():
        assert find(word) == word
        assert {find(word[:end]) for end in range(UNIQUE, len(word))} <= {word}


def test_a_short_cut_or_a_wrong_ending_is_not_guessed_at():
    """Three letters may mean several words, and a wrong letter means none."""
    assert find("orb") is None
    assert find("orbitt") is None
    assert find("") is None


def test_completions_are_the_words_with_that_beginning():
    """Also at both ends of the list, and for none."""
    assert starting_with("zo") == ["zone", "zoo"]
    assert starting_with("aban") == ["abandon"]
    assert starting_with("zz") == []
    assert starting_with("") == list(words())
