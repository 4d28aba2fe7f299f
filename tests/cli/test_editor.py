"""The line editor: every key, any cut of a sequence, and codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.cli.editor import MAX_LENGTH, CodeEditor, Editor, Ending
from p2pxfer.pairing.code import complete

WORDS = ["orange", "orbit", "orchard"]


def completing(text: str) -> list[str]:
    """Completions of a small vocabulary."""
    return [word for word in WORDS if word.startswith(text)]


@pytest.mark.parametrize(
    ("keys", "text", "cursor"),
    [
        ("abc", "abc", 3),
        ("abc\x7f", "ab", 2),
        ("abc\x08\x08\x08\x08", "", 0),
        ("abc\x1b[D\x1b[Dx", "axbc", 2),
        ("abc\x1bOD\x1b[3~", "ab", 2),
        ("abc\x01x", "xabc", 1),
        ("abc\x1b[Hx\x1b[Fy", "xabcy", 5),
        ("abc\x1b[1~\x1b[C\x04", "ac", 1),
        ("abc\x02\x15", "c", 0),
        ("abc\x02\x02\x0b", "a", 1),
        ("one two\x17", "one ", 4),
        ("7-orbit-lamp\x17", "7-orbit-", 8),
        ("a\x1b[15;2~b", "ab", 2),
        ("a\x1bxb", "ab", 2),
        ("a\x00\x1f\x9bb", "ab", 2),
        ("ключ", "ключ", 4),
    ],
)
def test_keys_do_what_a_shells_prompt_does(keys, text, cursor):
    """Typing, erasing, moving; sequences it doesn't know do nothing."""
    editor = Editor()
    assert editor.feed(keys) is None
    assert (editor.text, editor.cursor) == (text, cursor)


@given(st.lists(st.sampled_from(["a", "-", "\x1b[D", "\x1b[C", "\x1bOH", "\x7f", "\x1b[3~", "é"])))
def test_a_sequence_may_arrive_in_pieces(keys):
    """Fed whole or character by character, the line is the same."""
    whole, pieces = Editor(), Editor()
    whole.feed("".join(keys))
    for character in "".join(keys):
        pieces.feed(character)
    assert (whole.text, whole.cursor) == (pieces.text, pieces.cursor)


@given(st.text())
def test_nothing_that_is_typed_breaks_it(typed):
    """The cursor stays within a line that holds printable text only."""
    editor = CodeEditor(complete)
    editor.feed(typed)
    assert 0 <= editor.cursor <= len(editor.text) <= MAX_LENGTH
    assert not editor.text or editor.text.isprintable()


@pytest.mark.parametrize("enter", ["\r", "\n"])
def test_enter_submits(enter):
    """What follows is dropped, so that it answers nothing else."""
    editor = Editor()
    assert editor.feed(f"yes{enter}more") is Ending.SUBMITTED
    assert editor.text == "yes"


def test_ctrl_d_ends_an_empty_line_only():
    """On a line with text it deletes, as shells do."""
    assert Editor().feed("\x04") is Ending.ENDED
    assert Editor().feed("a\x04") is None


def test_tab_completes_as_far_as_it_is_certain():
    """The common part is filled in and the candidates stand ready until the next key."""
    editor = Editor(completing)
    editor.feed("o\t")
    assert editor.text == "or"
    assert editor.candidates == tuple(WORDS)
    editor.feed("b")
    assert editor.candidates == ()
    editor.feed("\t")
    assert editor.text == "orbit"
    assert editor.candidates == ()


def test_tab_without_a_candidate_changes_nothing():
    """Not even the line."""
    editor = Editor(completing)
    editor.feed("x\t")
    assert (editor.text, editor.candidates) == ("x", ())


def test_the_rest_of_the_only_candidate_is_offered():
    """It is a ghost until Right or Tab takes it."""
    editor = Editor(completing)
    editor.feed("orb")
    assert editor.ghost == "it"
    editor.feed("\x1b[C")
    assert (editor.text, editor.ghost) == ("orbit", "")


def test_nothing_is_completed_in_the_middle_of_a_line():
    """The cursor must be at its end."""
    editor = Editor(completing)
    editor.feed("orb\x1b[D\t")
    assert (editor.text, editor.ghost) == ("orb", "")


def test_tab_goes_on_behind_the_first_word_of_a_code():
    """No code ends there; behind the second one it may."""
    editor = CodeEditor(complete)
    editor.feed("7-orb\t")
    assert editor.text == "7-orbit-"
    editor.feed("lam\t")
    assert (editor.text, editor.candidates) == ("7-orbit-lamp", ())


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("7 orbit lamp", "7-orbit-lamp"),
        ("7 orbi lamp", "7-orbit-lamp"),
        ("7-ORBI.LAMP", "7-orbit-lamp"),
        ("7--orbit", "7-orbit"),
        ("7 or lamp", "7-or-lamp"),
        ("correct horse Battery", "correct horse Battery"),
    ],
)
def test_a_code_is_typed_as_people_type(typed, text):
    """Separators become hyphens and finish a word; a code of one's own stays as it is typed."""
    editor = CodeEditor(complete)
    editor.feed(typed)
    assert editor.text == text


def test_a_line_has_an_end():
    """Whatever is pasted, it stays bounded."""
    editor = Editor()
    editor.feed("x" * (MAX_LENGTH + 10))
    assert len(editor.text) == MAX_LENGTH
