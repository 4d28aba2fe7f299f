"""Codes as people type them."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.errors import InvalidCode
from p2pxfer.pairing import code as codes
from p2pxfer.pairing.code import ChosenCode, Code
from p2pxfer.pairing.wordlist import words

SIX = "orbit-lamp-zoo-abandon-crisp-gravity"
word = st.sampled_from(words())
nameplate = st.integers(1, codes.MAX_NAMEPLATE)
drawn = st.builds(Code, nameplate, st.lists(word, min_size=2, max_size=codes.MAX_WORDS).map(tuple))
separator = st.text(" -_.,\t\u2013\u2014\u2011\u00a0", min_size=1, max_size=3)


@st.composite
def typed(draw: st.DrawFn, code: Code) -> str:
    """One of the ways in which a person may type ``code``."""
    text = draw(st.sampled_from(["", " ", "\t"])) + str(code.nameplate)
    for each in code.words:
        cut = each[: draw(st.integers(4, max(4, len(each))))]
        shouted = draw(st.lists(st.booleans(), min_size=len(cut), max_size=len(cut)))
        cased = (c.upper() if up else c for c, up in zip(cut, shouted, strict=True))
        text += draw(separator) + "".join(cased)
    return text + draw(st.sampled_from(["", " ", "\n", "-"]))


@given(st.data(), drawn)
def test_all_ways_to_type_a_code_are_the_same_code(data: st.DataObject, code: Code):
    """Case, separators and cut words do not matter, and the canonical form reads as itself."""
    assert codes.parse(data.draw(typed(code))) == code
    assert codes.parse(str(code)) == code
    assert codes.read(str(code)) == code


@given(st.text(max_size=60))
def test_any_text_is_a_code_or_an_invalid_one(text: str):
    """Whatever is typed or in a file, there is no other error, and no other reading."""
    for reader in (codes.parse, codes.chosen, codes.read):
        try:
            code = reader(text)
        except InvalidCode:
            continue
        again = str(code) if isinstance(code, Code) else code.canonical
        assert reader(again) == code


def test_drawn_words_differ_and_cover_the_list():
    """A code is drawn afresh each time."""
    seen = Counter(each for _ in range(3000) for each in codes.draw(7).words)
    assert len(seen) > 1500
    assert max(seen.values()) < 30


@pytest.mark.parametrize("count", [2, 4, 16])
def test_as_many_words_are_drawn_as_asked_for(count: int):
    """And the code names the room it was drawn for."""
    code = codes.draw(412, count)
    assert len(code.words) == count
    assert str(code).startswith("412-")
    assert code.password() == str(code).encode()


@pytest.mark.parametrize("count", [0, 1, 17, -2])
def test_too_few_or_too_many_words_are_refused(count: int):
    """One word would be guessed in 2,048 tries."""
    with pytest.raises(InvalidCode, match=str(count)):
        codes.draw(7, count)


def test_a_code_in_a_log_hides_its_words():
    """``repr`` is what ends in tracebacks."""
    assert repr(codes.parse("7-orbit-lamp")) == "Code(7-…)"
    assert "orbit" not in repr(codes.chosen(SIX))
    assert "orbit" not in str(codes.chosen(SIX))


@pytest.mark.parametrize(
    "text",
    [
        "7-orbit-lxmp",
        "orbxt-lamp",
        "7-orbit",
        "99999999999-orbit-lamp",
        "hunter2horse",
        SIX[:-1] + "x",
    ],
)
def test_an_invalid_code_is_never_quoted(text: str):
    """What was mistyped is nearly the secret."""
    with pytest.raises(InvalidCode) as caught:
        codes.read(text)
    told = caught.value.message + caught.value.hint.replace("7-orbit-lamp", "")
    for part in re.split("[-]", text):
        assert len(part) < 4 or part not in told


def test_the_misspelt_word_is_counted_out():
    """The user learns which word to look at."""
    with pytest.raises(InvalidCode, match="word 2"):
        codes.parse("7-orbit-lxmp")
    with pytest.raises(InvalidCode, match="word 3"):
        codes.chosen("orbit-lamp-zzo-abandon-crisp-gravity")


def test_completion_continues_what_was_typed():
    """At the prompt and in the shell."""
    assert codes.complete("7-or") == ["7-" + each for each in words() if each.startswith("or")]
    assert "7-orbit" in codes.complete("7 OR")
    assert codes.complete("7-orbit-lamp") == ["7-orbit-lamp"]
    assert codes.complete("7") == ["7-"]
    assert len(codes.complete("7-orbit-")) == len(words())
    assert codes.complete("orbit la")[:2] == ["orbit-lab", "orbit-label"]


@pytest.mark.parametrize("prefix", ["", " ", "7-xyz", "7-xyz-or", "7-orbit-7", "x-7"])
def test_nothing_completes_what_can_be_no_code(prefix: str):
    """And an empty line is not answered with the whole list."""
    assert codes.complete(prefix) == []


@given(drawn, st.data())
def test_what_completes_a_code_cut_anywhere_holds_the_code(code: Code, data: st.DataObject):
    """Completion never leads away from the code that is being typed."""
    text = str(code)
    cut = text[: data.draw(st.integers(1, len(text)))]
    last = text.find("-", len(cut))
    wanted = text if last == -1 else text[:last]
    if cut.isdigit():
        assert codes.complete(cut) == [cut + "-"]
    elif cut.endswith("-"):
        assert any(text == each or text.startswith(each + "-") for each in codes.complete(cut))
    else:
        assert wanted in codes.complete(cut)


def test_a_generated_code_is_one_that_may_be_chosen():
    """Two machines that keep a code have somewhere to get one, and it is always good."""
    texts = {codes.generate_chosen() for _ in range(1000)}
    assert len(texts) == 1000
    for text in texts:
        code = codes.read(text + "\n")
        assert isinstance(code, ChosenCode)
        assert code.canonical == text


def test_a_chosen_code_of_words_is_read_forgivingly():
    """Six words may be said aloud, too."""
    assert codes.chosen("ORBI lamp.zoo_aban, crisp  Grav").canonical == SIX


def test_a_chosen_text_counts_as_it_is_typed():
    """Random characters are not folded: their case carries bits."""
    text = "Kq7!vR2xW9$mT4@zL6&nB3^pJ8*dH5"
    assert codes.chosen(f"  {text}\n").canonical == text
    assert codes.chosen(text.lower()).canonical != text


def test_room_and_password_come_from_all_of_the_code_but_not_from_each_other():
    """The rendezvous sees the room's name, and must not learn the password with it."""
    one, other = codes.chosen(SIX), codes.chosen(SIX.replace("lamp", "zebra"))
    values = {one.room_name(), one.password(), other.room_name(), other.password()}
    assert len(values) == 4
    assert {len(each) for each in values} == {32}
    assert codes.chosen(SIX.upper()).room_name() == one.room_name()


def test_a_number_with_words_is_never_a_chosen_code():
    """Else sender and receiver would read it in two ways."""
    with pytest.raises(InvalidCode, match="drawn"):
        codes.chosen("7-" + SIX)
    assert isinstance(codes.read("7-" + SIX), Code)


@pytest.mark.parametrize(
    "text",
    [
        "K" * 1025,
        "Kq7!vR2xW9$mT4@z\x00L6&nB3^pJ8*dH5",
        "Kq7!vR2xW9$mT4@z\nL6&nB3^pJ8*dH5",
        "Kq7!vR2xW9$mT4@zL6\udc80&nB3^pJ8*dH5",
    ],
)
def test_a_chosen_code_is_one_line_of_text(text: str):
    """A file with more in it is most likely not the code file."""
    with pytest.raises(InvalidCode):
        codes.chosen(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zoo " * 30,
        "abandon ability able about above absent absorb",
        "orbit lamp zoo abandon crisp",
    ],
)
def test_few_or_predictable_words_do_not_pass(text: str):
    """Five words are 55 bits; a word said twice, or its neighbour, adds none."""
    with pytest.raises(InvalidCode, match="too easily guessed"):
        codes.chosen(text)


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("412-orbit-lamp", "412-orbit-lamp", None),
        ("412-orbit-lamp@192.168.1.5:8765", "412-orbit-lamp", "192.168.1.5:8765"),
        (" 412 orbit lamp @ [fe80::1%eth0] ", "412 orbit lamp", "[fe80::1%eth0]"),
        ("412-orbit-lamp@", "412-orbit-lamp", ""),
        ("http://192.168.1.5:8765/#412-orbit-lamp", "412-orbit-lamp", "http://192.168.1.5:8765/"),
        ("https://example.org/meet/#7-orbit-lamp", "7-orbit-lamp", "https://example.org/meet/"),
        ("Kq7!vR2xW9$mT4@zL6&nB3^pJ8*dH5", "Kq7!vR2xW9$mT4@zL6&nB3^pJ8*dH5", None),
        ("https://example.org/#Kq7!vR2xW9", "https://example.org/#Kq7!vR2xW9", None),
    ],
)
def test_a_drawn_code_may_say_where_to_meet(text: str, code: str, place: str | None):
    """Behind an @, or as the URL that the sender shows; a code of one's own holds anything."""
    assert codes.split(text) == (code, place)


@given(st.text(max_size=60))
def test_any_text_splits(text: str):
    """Into itself, or into what parses as a drawn code or is a misspelt one."""
    code, place = codes.split(text)
    assert place is not None or code == text.strip()


def test_a_chosen_code_can_not_look_like_one_that_says_where_to_meet():
    """The other side would take it for something else."""
    with pytest.raises(InvalidCode, match="looks like a drawn one"):
        codes.chosen("412@Kq7!vR2xW9$mT4@zL6&nB3^pJ8*dH5")
