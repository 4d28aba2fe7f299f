"""The output modes without a terminal: plain lines, quiet, NDJSON, through real pipes."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from p2pxfer.cli.ndjson import Ndjson
from p2pxfer.cli.outlet import Outlet
from p2pxfer.cli.render import Lines, Quiet
from p2pxfer.cli.run import interrupted, run
from p2pxfer.cli.scene import Scene
from p2pxfer.cli.screen import Screen
from p2pxfer.errors import Fault, Interrupted, RoomRefused, TransferError
from p2pxfer.progress import (
    Advanced,
    CodeBurnt,
    CodeReady,
    Connected,
    ConnectTimes,
    EntryFailed,
    FilesFinished,
    FileStarted,
    Finished,
    FinishedFile,
    Note,
    Offered,
    Reconnecting,
    Resumed,
    Stalled,
    TextReceived,
    Waiting,
)

AGAIN = "ask the sender to send it again, and receive with the new code"
MET = Connected("direct", "192.0.2.1:1", "192.0.2.2:2", 0.5)
STAND_IN = Path(__file__).parent / "stand_in.py"


def played(mode: str, side: str, what: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A scene with standard input, output and error all away from any terminal."""
    return subprocess.run(
        [sys.executable, STAND_IN, mode, side, what],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", **env},
    )


class Written:
    """A renderer that writes into a file which can be read back."""

    def __init__(self, kind: type, path: Path, **scene: object) -> None:
        self.path = path
        self._stream = path.open("w", encoding="utf-8")
        screen = Screen(self._stream, {})
        described = Scene(**{"sending": True, **scene})
        outlet = (Outlet(self._stream),) if kind is Ndjson else ()
        self.renderer = kind(screen, described, *outlet)

    def text(self) -> str:
        """All of it."""
        self.renderer.close()
        self._stream.close()
        return self.path.read_text(encoding="utf-8")


@pytest.fixture
def written(tmp_path):
    """Makes such renderers."""
    return lambda kind, **scene: Written(kind, tmp_path / "written", **scene)


def test_without_a_terminal_there_are_plain_lines():
    """No sequences, nothing on standard output, one line for each thing that happens."""
    done = played("human", "send", "none")
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "",
        "  On the other machine, type    p2pxfer receive -r https://meet.example.org",
        "  and give it this code         7-orbit-lamp",
        "",
        "  It works once, within 1 hour.",
        "",
        "Waiting for the other side",
        "Connected directly  192.0.2.5:51820 ↔ 192.0.2.9:40022, 0.62 ms",
        "Waiting for the other side to accept",
        "skipped: photos/pipe\\x07: a FIFO is not sent",
        "✓ Sent 9 files, 500 MB  0:04, 128 MB/s, verified by the other side",
    ]


def test_progress_is_a_line_every_few_seconds(written):
    """Share, bytes, rate, time left, files; nothing in between."""
    shown = written(Lines)
    renderer = shown.renderer
    renderer.emit(Offered(3, 100_000_000, complete=True))
    renderer.emit(FileStarted(b"a", 100_000_000))
    began = time.monotonic()
    for tick in range(81):
        renderer.emit(Advanced(1_000_000))
        renderer.tick(began + tick / 10)
    lines = shown.text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("51 %  51.0 MB of 100 MB  10.0 MB/s  0:05 left")


def test_an_unfinished_count_and_a_stream_have_no_share(written):
    """What is known is said, and no more."""
    shown = written(Lines)
    renderer = shown.renderer
    began = time.monotonic()
    for event in (Offered(3, 9_000_000, complete=False), Offered(1, None, complete=True)):
        renderer.emit(event)
        for _ in range(60):
            renderer.emit(Advanced(10_000))
            began += 0.1
            renderer.tick(began)
    first, second = shown.text().splitlines()
    assert re.match(r"5\d0 kB of 9\.00 MB so far  \d+ kB/s$", first)
    assert re.match(r"1\.0\d MB  \d+ kB/s$", second)


def test_a_silence_is_told_when_it_begins_and_when_it_ends(written):
    """And no progress in between pretends otherwise."""
    shown = written(Lines)
    renderer = shown.renderer
    renderer.emit(Advanced(5))
    renderer.emit(Stalled(3.0, "the network\x1b[2J"))
    for second in range(20):
        renderer.tick(second)
    renderer.emit(Resumed())
    assert shown.text().splitlines() == [
        "stalled: nothing has moved for 3 s, the network\\x1b[2J",
        "moving again",
    ]


def test_a_burnt_code_and_a_lost_connection_are_told(written):
    """In words that say what happens next."""
    shown = written(Lines)
    shown.renderer.emit(CodeBurnt("7-orbit-lamp", 2, wrong=False))
    shown.renderer.emit(CodeBurnt("8-orbit-lamp", 0, wrong=True))
    shown.renderer.emit(Reconnecting("rendezvous", 2))
    assert shown.text().splitlines() == [
        "Somebody came for 7-orbit-lamp and did not stay: that code is void. Here is a fresh one:",
        "Somebody gave wrong words for 8-orbit-lamp: that code is void. No more are drawn.",
        "Connecting to the rendezvous again, attempt 2",
    ]


@pytest.mark.parametrize("kind", [Lines, Quiet, Ndjson])
def test_a_chosen_code_is_never_shown(written, kind):
    """It is a lasting secret, and logs are read by others."""
    shown = written(kind, code_known=True)
    shown.renderer.emit(CodeReady("correct horse battery staple", "https://x/#y", 60))
    assert "horse" not in shown.text()


def test_quiet_shows_the_code_and_what_went_wrong():
    """Without the code nobody could receive."""
    done = played("quiet", "send", "none")
    assert done.stderr == "7-orbit-lamp\nskipped: photos/pipe\\x07: a FIFO is not sent\n"
    failed = played("quiet", "send", "fail")
    assert failed.returncode == 5
    assert failed.stderr.startswith("7-orbit-lamp\nerror: no path between")


def test_verbose_shows_each_file_and_details(written):
    """Sizes stand in a column; a detail is left out otherwise."""
    for verbose in (True, False):
        shown = written(Lines, verbose=verbose)
        shown.renderer.emit(FilesFinished([FinishedFile(b"a\nb", 1234, bytes(32))]))
        shown.renderer.emit(Note("rendezvous: open", detail=True))
        shown.renderer.emit(Note("hello from the server"))
        expected = "  1.23 kB  a\\x0ab\nrendezvous: open\n" if verbose else ""
        assert shown.text() == expected + "hello from the server\n"


def test_verbose_shows_what_connecting_took(written):
    """Under the line that says which way the bytes take."""
    for verbose in (True, False):
        shown = written(Lines, verbose=verbose)
        shown.renderer.emit(MET)
        assert shown.text().startswith("Connected directly  ")
        assert ("\nConnected in 0.00 s: rendezvous 0 ms, PAKE 0 ms," in shown.text()) == verbose


def test_people_are_told_that_the_rendezvous_carries_the_bytes(written):
    """It is the last resort, and slow; and nobody need fear for what is sent."""
    shown = written(Lines)
    shown.renderer.emit(
        Connected("relay", "192.0.2.1:1", "192.0.2.9:443", 30.0, via="rendezvous"),
    )
    text = " ".join(shown.text().split())
    assert text.startswith("Connected through the rendezvous 192.0.2.1:1")
    assert "carries the bytes, which it can't read. This is the slow way." in text


@pytest.mark.parametrize("fault", list(Fault))
def test_every_error_says_in_whose_hands_it_is(written, fault):
    """What happened, whose hands, what to do."""
    error = type("Odd", (TransferError,), {"fault": fault})("it \x1b[1mbroke", "first\nsecond")
    shown = written(Lines)
    shown.renderer.fail(error)
    first, *hints = shown.text().splitlines()
    assert re.match(r"error: it \\x1b\[1mbroke \(in .+\)$", first)
    assert hints == ["hint: first", "hint: second"]


@pytest.mark.parametrize(
    ("sending", "files", "kept"),
    [
        (True, 0, "nothing was changed on this side"),
        (True, 2, "2 files had crossed and stay on the other side"),
        (False, 0, "no file was complete yet"),
        (False, 1, "1 file had arrived whole and stays in downloads"),
    ],
)
def test_what_an_interruption_leaves_is_said(written, sending, files, kept):
    """Complete files stay; nothing else does."""
    shown = written(Lines, sending=sending, destination="downloads")
    shown.renderer.emit(FileStarted(b"x", 1))
    shown.renderer.emit(FilesFinished([FinishedFile(b"x", 1, bytes(32))] * files))
    assert interrupted(shown.renderer).message == f"interrupted; {kept}"
    shown.renderer.fail(Interrupted("interrupted"))
    assert "stopped: interrupted" in shown.text()


@pytest.mark.parametrize(
    ("sending", "events", "hint"),
    [
        (True, (), "run the same command again"),
        (True, (MET,), "run the same command again; the other side needs the new code"),
        (False, (MET,), AGAIN),
        (
            False,
            (MET, FileStarted(b"x", 1)),
            AGAIN + ": what has crossed is not sent twice",
        ),
    ],
)
def test_after_an_interruption_the_hint_says_what_to_type(written, sending, events, hint):
    """A code is used up once the two sides have met, and what has crossed is kept."""
    shown = written(Lines, sending=sending)
    for event in events:
        shown.renderer.emit(event)
    assert interrupted(shown.renderer).hint == hint


def test_standard_output_has_a_name(written):
    """A dash is for typing."""
    shown = written(Lines, sending=False, destination="-")
    shown.renderer.emit(FileStarted(b"x", 1))
    assert "standard output" in interrupted(shown.renderer).message
    shown.renderer.emit(Finished(1, 1, 0, 1.0, bytes(32)))
    assert "Received 1 file, 1 B to standard output" in shown.text()


def test_what_needed_not_travel_is_told_at_the_end(written):
    """So that a rate beyond the line's is understood."""
    shown = written(Lines)
    shown.renderer.emit(Advanced(10_000_000, saved=6_000_000))
    shown.renderer.emit(Finished(10_000_000, 1, 0, 1.0, bytes(32)))
    assert shown.text().splitlines()[1] == "  6.00 MB of it did not need to travel"


def test_a_few_zeros_are_not_worth_a_line(written):
    """They don't travel either, and nobody wonders at the rate for their sake."""
    shown = written(Lines)
    shown.renderer.emit(Advanced(10_000_000, saved=9))
    shown.renderer.emit(Finished(10_000_000, 1, 0, 1.0, bytes(32)))
    assert len(shown.text().splitlines()) == 1


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("kind", [Lines, Ndjson])
def test_details_are_told_on_request_and_never_after_the_end(written, kind, verbose):
    """What libraries log is such a detail; the last line says how it ended."""
    shown = written(kind, verbose=verbose)

    async def work() -> None:
        logging.getLogger("aiortc").warning("a \x1bmalformed packet")
        shown.renderer.emit(Note("connection: open", detail=True))
        shown.renderer.emit(Finished(1, 1, 0, 1.0, bytes(32)))
        shown.renderer.emit(Note("connection: closed", detail=True))

    assert run(shown.renderer, work) == 0
    text = shown.text()
    assert ("malformed packet" in text) == ("connection: open" in text) == verbose
    assert "closed" not in text
    assert "\x1b" not in text


def test_a_text_goes_to_standard_output_as_it_is():
    """Into a pipe not a byte is added or changed."""
    script = (
        "import sys; from p2pxfer.cli.render import Quiet; from p2pxfer.cli.scene import Scene;"
        "from p2pxfer.cli.screen import Screen; from p2pxfer.progress import TextReceived;"
        "r = Quiet(Screen(sys.stderr), Scene(sending=False));"
        "r.emit(TextReceived('C:\\\\temp \\x1b[31m Ü')); r.close()"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    assert out == "C:\\temp \x1b[31m Ü".encode()


def test_every_event_is_a_line_of_json(written):
    """The fields are those that the README documents."""
    shown = written(Ndjson)
    for event in (
        CodeReady("7-orbit-lamp", "https://x/#7-orbit-lamp", 60.0),
        Waiting("peer"),
        CodeBurnt("7-orbit-lamp", 2, wrong=True),
        Connected(
            "relay", "192.0.2.1:1", "[2001:db8::1]:2", None, ConnectTimes(pake=0.0123), "turn"
        ),
        Offered(3, 10, complete=True),
        FileStarted("ü".encode(), 10),
        FilesFinished(
            [
                FinishedFile("ü".encode(), 10, b"\x01" * 32),
                FinishedFile(b"a\xffb", 0, b"\x02" * 32),
            ]
        ),
        EntryFailed(b"pipe", "a FIFO"),
        Advanced(10, saved=4),
        Stalled(3.0, "disk"),
        Resumed(),
        Reconnecting("peer", 1),
        Note("hello"),
        TextReceived("two\nlines\x9b"),
        Finished(10, 1, 1, 0.5, b"\x03" * 32),
    ):
        shown.renderer.emit(event)
    shown.renderer.fail(RoomRefused("it is full"))
    text = shown.text()
    assert text.isascii()
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    parts = lines[3].pop("took_ms")
    assert parts.pop("pake") == 12.3
    assert parts == dict.fromkeys(
        ["rendezvous", "gathering", "signals", "checks", "dtls", "sctp"], 0.0
    )
    code, waiting, burnt, connected, offer, first, second, *rest = lines
    assert code == {
        "event": "code",
        "code": "7-orbit-lamp",
        "url": "https://x/#7-orbit-lamp",
        "lives": 60.0,
    }
    assert waiting == {"event": "waiting", "on": "peer"}
    assert burnt == {"event": "burnt", "code": "7-orbit-lamp", "left": 2, "wrong": True}
    assert connected == {
        "event": "connected",
        "path": "relay",
        "via": "turn",
        "local": "192.0.2.1:1",
        "remote": "[2001:db8::1]:2",
        "rtt_ms": None,
    }
    assert offer == {"event": "offer", "entries": 3, "bytes": 10, "complete": True}
    assert first == {"event": "file", "path": "ü", "bytes": 10, "digest": "01" * 32}
    assert second["path"] == "a\ufffdb"
    assert base64.b64decode(second["path_base64"]) == b"a\xffb"
    skipped, stalled, resumed, reconnecting, note, said, progress, done, error = rest
    assert skipped == {"event": "skipped", "path": "pipe", "reason": "a FIFO"}
    assert stalled == {"event": "stalled", "seconds": 3.0, "cause": "disk"}
    assert resumed == {"event": "resumed"}
    assert reconnecting == {"event": "reconnecting", "what": "peer", "attempt": 1}
    assert note == {"event": "note", "text": "hello"}
    assert said == {"event": "text", "text": "two\nlines\x9b"}
    assert progress == {"event": "progress", "bytes": 10, "moved": 6, "total": 10, "rate": 0}
    assert done == {
        "event": "done",
        "bytes": 10,
        "files": 1,
        "failed": 1,
        "seconds": 0.5,
        "root": "03" * 32,
        "moved": 6,
    }
    assert error == {
        "event": "error",
        "code": 6,
        "name": "RoomRefused",
        "message": "it is full",
        "hint": "ask the sender for a new code",
        "retryable": True,
        "fault": "rendezvous",
    }


def test_json_progress_comes_once_a_second_and_only_when_something_moved(written):
    """However often bytes are reported."""
    shown = written(Ndjson)
    for tick in range(50):
        if tick < 25:
            shown.renderer.emit(Advanced(100))
        shown.renderer.tick(100 + tick / 10)
    counts = [json.loads(line)["bytes"] for line in shown.text().splitlines()]
    assert counts == sorted(set(counts))
    assert 3 <= len(counts) <= 4


def test_a_reader_of_json_may_leave():
    """`… --json | head -1`: the work goes on, and nothing is complained of."""
    command = f"{sys.executable} {STAND_IN} json send none | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["event"] == "code"


def test_an_event_costs_microseconds(written):
    """Thousands a second must not be felt."""
    shown = written(Lines)
    event = Advanced(16_384)
    began = time.process_time()
    for _ in range(20_000):
        shown.renderer.emit(event)
    assert time.process_time() - began < 20_000 * 100e-6
    shown.text()
