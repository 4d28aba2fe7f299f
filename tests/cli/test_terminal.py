"""What a person sees: the real rendering in a real pseudo-terminal, read back from its screen."""

from __future__ import annotations

import re
import signal
import termios
import time

import pytest

HEAVY = "━"


def test_the_sender_is_told_what_to_type_on_the_other_side(watch):
    """The code, and the command with its rendezvous, stand out; a clock says how long it lives."""
    seen = watch("human", "send", "wait")
    seen.until("Waiting for the other side…  59:5")
    assert seen.lines == [
        "",
        "  On the other machine, type    p2pxfer receive -r https://meet.example.org",
        "  and give it this code         7-orbit-lamp",
        "",
        "  It works once, within 1 hour.",
        "",
        seen.lines[6],
    ]
    row = next(n for n, line in enumerate(seen.screen.display) if "7-orbit-lamp" in line)
    cell = seen.screen.buffer[row][seen.screen.display[row].index("7-orbit")]
    assert (cell.fg, cell.bold) == ("cyan", True)


def test_the_code_stands_under_its_label_on_a_narrow_terminal(watch):
    """Nothing of the code or the command is broken over two lines at 50 columns."""
    seen = watch("human", "send", "wait", columns=50)
    seen.until("Waiting")
    assert "    p2pxfer receive -r https://meet.example.org" in seen.lines
    assert "    7-orbit-lamp" in seen.lines


def test_the_path_is_told_once_and_the_wait_for_acceptance_is_shown(watch):
    """Direct or relayed, both addresses, the round trip; what was awaited before is gone."""
    seen = watch("human", "send", "accept")
    seen.until("Waiting for the other side to accept…")
    assert "Connected directly  192.0.2.5:51820 ↔ 192.0.2.9:40022, 0.62 ms" in seen.lines
    assert seen.text.count("Waiting") == 1


def test_before_the_whole_is_known_there_is_no_percentage(watch):
    """A total that still grows is said to be so far, and no bar goes backwards."""
    seen = watch("human", "send", "counting")
    seen.until("so far")
    assert re.search(r"^32\.8 kB of 420 MB so far  .*8 files", seen.lines[-1])
    assert "%" not in seen.text


def test_two_bars_stand_one_under_the_other(watch):
    """The total: share, bytes, rate, time left, files; the large file: share, bytes, its name."""
    seen = watch("human", "send", "half", columns=80)
    seen.until("Überflug-final.mov")
    seen.until(lambda: "200 MB of 500 MB" in seen.text)
    total, large = seen.lines[-2:]
    assert re.search(
        rf"^{HEAVY}+╾?─+  40 %   200 MB of 500 MB   +[\d.]+ [kM]B/s  \d+:\d\d left\s+8 files$",
        total,
    )
    assert re.search(
        rf"^{HEAVY}+╾?─+  50 %   200 MB of 400 MB   …[\w /]*Überflug-final\.mov$", large
    )
    assert total.index("%") == large.index("%"), "the bars have one length"
    assert max(len(total), len(large)) <= 77


def test_lines_are_written_above_the_bars(watch):
    """A skipped entry stays on the screen, escaped, above the bars that go on moving."""
    seen = watch("human", "send", "half")
    seen.until("200 MB of 500 MB")
    skipped = seen.lines.index("skipped: photos/pipe\\x07: a FIFO is not sent")
    assert skipped == len(seen.lines) - 3


def test_a_stall_says_how_long_and_why(watch):
    """The cause is told once; the seconds count up in place of the time left."""
    seen = watch("human", "send", "stall")
    seen.until("stalled 5 s")
    assert "stalled: nothing has moved for 3 s, the other side's disk is busy" in seen.lines
    seen.go_on()
    assert seen.end() == 0
    assert "stalled 5 s" not in seen.text


def test_the_last_wait_is_called_finishing(watch):
    """With every byte across but no receipt yet, the bar does not look stuck at no time left."""
    seen = watch("human", "send", "finishing")
    seen.until("finishing")
    assert "100 %" in seen.lines[-1]
    assert "left" not in seen.lines[-1]


def test_the_end_is_one_line_and_the_bars_are_gone(watch):
    """What remains is how much, how long, how fast, and that it is verified."""
    seen = watch("human", "send", "none")
    assert seen.end() == 0
    assert seen.lines[-1] == "✓ Sent 9 files, 500 MB  0:04, 128 MB/s, verified by the other side"
    assert HEAVY not in seen.text
    assert "Waiting" not in seen.text


def test_a_failure_says_what_whose_and_what_to_do(watch):
    """Error and hint, broken between words, and the exit code of the class."""
    seen = watch("human", "send", "fail", columns=60)
    assert seen.end() == 5
    assert seen.lines[-6:] == [
        "error: no path between the two sides was found in 60 s (in",
        "       the network between you)",
        "hint: a firewall may block UDP: give a TURN server with",
        "      --ice-server turn:…",
        "hint: or meet at a rendezvous that carries the bytes",
        "      itself: serve --relay-bytes",
    ]


def test_an_unexpected_fault_is_one_line_without_values(watch):
    """Nothing that might be a secret is shown; where it happened is."""
    seen = watch("human", "send", "boom")
    assert seen.end() == 1
    assert re.search(
        r"^error: unexpected KeyError at stand_in\.py:\d+ \(in p2pxfer", seen.lines[-2]
    )
    assert "hunter2" not in seen.text
    assert "Traceback" not in seen.text


def test_verbose_shows_the_trace_of_an_unexpected_fault(watch):
    """Whoever asks for details gets them."""
    seen = watch("verbose", "send", "boom", rows=60)
    assert seen.end() == 1
    assert "Traceback" in seen.text


@pytest.mark.parametrize("columns", [28, 40, 52, 60, 80, 200])
def test_no_frame_is_wider_than_its_terminal(watch, columns):
    """At any width the bars take one line each, with room for the ^C that a terminal echoes."""
    seen = watch("human", "send", "half", columns=columns, rows=40)
    seen.until(lambda: "40 %" in seen.text)
    row = next(n for n, line in enumerate(seen.screen.display) if "40 %" in line)
    assert len(seen.screen.display[row].rstrip()) <= min(columns - 3, 96)
    assert not seen.screen.display[row + 2].strip()


def test_a_terminal_made_smaller_is_drawn_anew(watch):
    """After the size has settled there is one set of bars, of the new width."""
    seen = watch("human", "send", "half", columns=100, rows=20)
    seen.until("200 MB of 500 MB")
    seen.resize(60, 20)
    seen.until(lambda: "40 %" in seen.text and "200 MB of 500 MB" not in seen.text)
    seen.until(lambda: seen.lines[-1].endswith("Überflug-final.mov"))
    assert seen.text.count("40 %") == 1
    assert all(len(line) <= 57 for line in seen.lines[-2:])


def test_no_color_means_no_colours_at_all(watch):
    """NO_COLOR leaves only the sequences that place the text."""
    seen = watch("human", "send", "half", NO_COLOR="1")
    seen.until("200 MB of 500 MB")
    seen.go_on()
    assert seen.end() == 0
    assert not re.search(rb"\x1b\[[\d;]*m", seen.raw)
    assert re.search(rb"\x1b\[K", seen.raw)


def test_a_dumb_terminal_gets_plain_lines(watch):
    """No sequence at all reaches a terminal that can't move its cursor."""
    seen = watch("human", "send", "none", TERM="dumb")
    assert seen.end() == 0
    assert b"\x1b" not in seen.raw
    assert "Waiting for the other side" in seen.text


def test_without_unicode_the_bars_are_ascii(watch):
    """A terminal of an old encoding gets nothing that it can't show."""
    seen = watch("human", "send", "half", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    seen.until("200 MB of 500 MB")
    assert re.search(r"^=+-+  40 %", seen.lines[-2])
    assert seen.raw.isascii()


def test_the_code_is_typed_with_completion(watch):
    """Tab shows the candidates, four letters and a space are a word, Enter takes it."""
    seen = watch("human", "receive", "x")
    seen.until("Code:")
    seen.type("7 or\t")
    seen.until("7-orange  7-orbit  7-orchard")
    assert seen.lines[0] == "Code: 7-or"
    seen.type("b")
    seen.until("Code: 7-orbit")
    assert "7-orange" not in seen.text
    ghost = seen.screen.buffer[0][len("Code: 7-orb")]
    assert ghost.data == "i"
    assert seen.screen.cursor.x == len("Code: 7-orb")
    seen.type(" LAMP\r")
    seen.until("the code is 7-orbit-lamp")
    assert seen.lines[0] == "Code: 7-orbit-lamp"


def test_a_word_that_no_code_has_is_refused_at_the_prompt(watch):
    """What is wrong is said under the line, which can be mended at once."""
    seen = watch("human", "receive", "x")
    seen.until("Code:")
    seen.type("7-orbit-lanp\r")
    seen.until("word 2 of the code is not in the word list")
    seen.type("\x17lamp\r")
    seen.until("the code is 7-orbit-lamp")
    assert "not in the word list" not in seen.text


def test_a_blank_code_is_asked_for_again(watch):
    """Nobody typed anything: nothing is said of what codes have to be."""
    seen = watch("human", "receive", "x")
    seen.until("Code:")
    seen.type("\r")
    seen.until("type the code that the other side shows")
    assert "guessed" not in seen.text
    seen.type("7-orbit-lamp\r")
    seen.until("the code is 7-orbit-lamp")


def test_the_offer_is_shown_escaped_and_grows_while_the_question_stands(watch):
    """Names can't act on the terminal; count and bytes are those known by now."""
    seen = watch("human", "receive", "x")
    seen.until("Code:")
    seen.type("7-orbit-lamp\r")
    seen.until(lambda: "1,304 entries" in seen.text and seen.lines[-1] == "  Receive? [y/N]")
    shown = seen.lines[seen.lines.index("  The other side offers these:") :]
    assert shown == [
        "  The other side offers these:",
        "",
        "    photos",
        "    evil\\x1b]0;pwned\\x07name",
        "    данные.txt",
        "    … and more",
        "",
        "  1,304 entries, 500 MB, into downloads",
        "  Receive? [y/N]",
    ]
    seen.type("y\r")
    assert seen.end() == 0
    assert "  Receive? [y/N] y" in seen.lines
    assert seen.lines[-1].startswith("✓ Received 9 files, 500 MB into downloads")


@pytest.mark.parametrize("keys", ["n\r", "\r", "\x04"], ids=["n", "Enter", "Ctrl-D"])
def test_no_is_the_answer_unless_somebody_says_yes(watch, keys):
    """Enter alone and the end of input decline; nothing is received."""
    seen = watch("human", "receive", "x")
    seen.until("Code:")
    seen.type("7-orbit-lamp\r")
    seen.until("Receive? [y/N]")
    seen.type(keys)
    assert seen.end() == 10


def test_what_was_typed_before_a_question_does_not_answer_it(watch):
    """Keys pressed before the offer was on the screen are forgotten."""
    seen = watch("human", "receive", "x")
    seen.until("Code:")
    seen.type("7-orbit-lamp\ry\r")
    seen.until("Receive? [y/N]")
    seen.until(lambda: "1,304 entries" in seen.text and seen.lines[-1] == "  Receive? [y/N]")


def test_one_capital_answers_for_all_existing_files(watch):
    """The first file is asked about, the second answered for the rest."""
    seen = watch("human", "receive", "exists")
    seen.until("photos/0.jpg is already there.")
    seen.type("x\r")
    seen.until("type o, r or s")
    seen.type("r\r")
    seen.until("photos/1.jpg is already there.")
    seen.type("O\r")
    assert seen.end() == 0
    assert "rename overwrite overwrite" in seen.lines
    assert "photos/2.jpg" not in seen.text


@pytest.mark.parametrize(("keys", "said"), [("y\r", "the same"), ("\r", "not the same")])
def test_the_words_are_compared_by_a_human(watch, keys, said):
    """Four words, and no without a clear yes."""
    seen = watch("human", "receive", "verify")
    seen.until("[y/N]")
    assert "    orbit   lamp   tiger   velvet" in seen.lines
    seen.type(keys)
    assert seen.end() == 0
    assert f"the words are {said}" in seen.lines


def test_a_wrong_answer_is_typed_anew_instead_of_mended(watch):
    """After what is neither yes nor no the line is empty, so that y is yes."""
    seen = watch("human", "receive", "verify")
    seen.until("[y/N]")
    seen.type("what\r")
    seen.until("type y or n")
    assert "what" not in seen.text
    seen.type("y\r")
    assert seen.end() == 0
    assert "the words are the same" in seen.lines


def test_until_the_other_side_is_found_something_says_so(watch):
    """A screen that shows nothing looks dead; the line is gone once something happens."""
    seen = watch("human", "receive", "finding")
    seen.until("Finding the other side…")
    seen.go_on()
    seen.until("Connected through a relay")
    assert "Finding" not in seen.text
    assert seen.end() == 0


def test_long_lines_break_between_words(watch):
    """On a narrow terminal neither addresses nor reasons are cut in the middle."""
    seen = watch("human", "send", "stall", columns=40)
    seen.until("busy")
    assert "  192.0.2.5:51820" in seen.lines
    assert "  ↔ 192.0.2.9:40022" in seen.lines
    assert "stalled: nothing has moved for 3 s, the" in seen.lines
    seen.go_on()
    assert seen.end() == 0


def test_a_received_text_can_not_act_on_the_terminal(watch):
    """Its lines and tabs are kept, a backslash too; everything else is shown escaped."""
    seen = watch("human", "receive", "text")
    seen.until("Show it?")
    seen.type("y\r")
    assert seen.end() == 0
    assert "C:\\temp one" in seen.text
    assert "  Show it? [y/N] y" in seen.lines
    assert "two \\x1b[31mred" in seen.lines


@pytest.mark.parametrize("scene", ["prompt", "bars"])
@pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_an_interruption_exits_130_and_leaves_the_terminal_sane(watch, scene, way):
    """Keys echo again, the bars are gone, and a sentence says what is kept."""
    seen = watch(*(("human", "receive", "x") if scene == "prompt" else ("human", "send", "half")))
    seen.until("Code:" if scene == "prompt" else "200 MB of 500 MB")
    before = termios.tcgetattr(seen.process.child_fd)
    if way == "Ctrl-C":
        seen.type("\x03")
    else:
        seen.process.kill(getattr(signal, way))
    seen.until("stopped: interrupted;")
    after = termios.tcgetattr(seen.process.child_fd)
    if scene == "prompt":
        assert not before[3] & termios.ECHO
    assert after[3] & termios.ECHO
    assert after[3] & termios.ICANON
    assert seen.end() == 130
    if scene == "prompt":
        assert "nothing had crossed yet" in seen.text
    else:
        assert "8 files had crossed and stay on the other side" in seen.text
        assert HEAVY not in seen.text


def test_a_prompt_survives_being_stopped_and_continued(watch):
    """After Ctrl-Z and fg the keys are read one by one again, and the line is redrawn."""
    seen = watch("human", "receive", "x")
    seen.until("Code:")
    seen.type("7-or")
    seen.until("Code: 7-or")
    calm = termios.tcgetattr(seen.process.child_fd)
    calm[3] |= termios.ECHO | termios.ICANON
    seen.process.kill(signal.SIGSTOP)
    termios.tcsetattr(seen.process.child_fd, termios.TCSANOW, calm)  # as shells do
    seen.process.kill(signal.SIGCONT)
    seen.until(lambda: not termios.tcgetattr(seen.process.child_fd)[3] & termios.ICANON)
    seen.type("b-lamp\r")
    seen.until("the code is 7-orbit-lamp")


def test_a_stopped_terminal_does_not_stop_the_transfer(watch):
    """With Ctrl-S nothing is drawn, but the work goes on and ends."""
    seen = watch("human", "send", "half")
    seen.until("200 MB of 500 MB")
    seen.type("\x13")
    began = time.monotonic()
    seen.go_on()
    while time.monotonic() - began < 1.0:
        seen.read()
    assert "Sent" not in seen.text
    seen.type("\x11")
    assert seen.end() == 0
    assert "Sent 9 files" in seen.lines[-1]


def test_a_qr_code_is_drawn_when_asked_for(watch):
    """Half blocks, under the code."""
    seen = watch("qr", "send", "wait", rows=40)
    seen.until("Waiting")
    assert sum(line.startswith("  █") and line.endswith("█") for line in seen.lines) == 13
