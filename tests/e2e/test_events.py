"""What programs read: the lines of --json, and the silence of --quiet."""

from __future__ import annotations

import re
from datetime import datetime

FIELDS = {  # of each event, beside ``event`` and ``time``; a reader skips any further ones
    "code": {"code": str, "url": str},
    "waiting": {},
    "connected": {"path": str, "local": str, "remote": str, "rtt_ms": float, "took_ms": dict},
    "offer": {"entries": int, "bytes": int},
    "file": {"path": str, "bytes": int, "digest": str},
    "progress": {"bytes": int, "moved": int, "total": int, "rate": int},
    "done": {"bytes": int, "moved": int, "files": int, "seconds": float, "root": str},
}
PARTS = {"rendezvous", "pake", "gathering", "signals", "checks", "dtls", "sctp"}
ENDPOINT = re.compile(r"(127\.0\.0\.1|\[::1\]):\d+")


def test_the_events_of_a_transfer(machine, rendezvous):
    """Both sides tell the same story, one object a line, with the fields that scripts rely on."""
    (machine.path / "tree").mkdir()
    (machine.path / "tree/a").write_bytes(b"a" * 300_000)
    (machine.path / "tree/b").write_bytes(b"")
    sender, receiver = machine.transfer(["tree"], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0)
    for side in (sender, receiver):
        names = [event["event"] for event in side.events()]
        told = set(FIELDS) if side is sender else set(FIELDS) - {"code", "waiting"}
        assert told <= set(names)
        assert names[-1] == "done" or set(names[names.index("done") + 1 :]) == {"note"}
        for event in side.events():
            moment = datetime.fromisoformat(event["time"])
            assert moment.utcoffset().total_seconds() == 0
            for field, kind in FIELDS.get(event["event"], {}).items():
                assert isinstance(event[field], kind), event
        (connected,) = side.events("connected")
        assert connected["path"] == "direct"
        assert ENDPOINT.fullmatch(connected["local"])
        assert ENDPOINT.fullmatch(connected["remote"])
        assert connected["took_ms"].keys() == PARTS
        assert all(took > 0 for took in connected["took_ms"].values()), connected
        assert side.events("offer")[-1].items() >= {"entries": 3, "bytes": 300_000}.items()
        assert [(e["path"], e["bytes"]) for e in side.events("file")] == [
            ("tree/a", 300_000),
            ("tree/b", 0),
        ]
        assert side.events("progress")[-1]["bytes"] == 300_000
        assert side.events("done")[0].items() >= {"bytes": 300_000, "files": 2}.items()
        assert side.err == ""
    for field in ("digest", "root"):
        name = "file" if field == "digest" else "done"
        values = [[event[field] for event in side.events(name)] for side in (sender, receiver)]
        assert values[0] == values[1]
        assert all(re.fullmatch("[0-9a-f]{64}", value) for value in values[0])
    (code,) = sender.events("code")
    assert re.fullmatch(r"\d+-[a-z]+-[a-z]+", code["code"])
    assert code["url"] == f"{rendezvous}/#{code['code']}"
    assert "peer" in [event["on"] for event in sender.events("waiting")]


def test_the_error_event(machine):
    """An error is told with its exit code, name, message, hint, and whether to try again."""
    sender = machine.send("missing")
    assert sender.end() == 8
    (event,) = sender.events()
    assert event.items() >= {
        "event": "error", "code": 8, "name": "LocalFileError", "retryable": False
    }.items()  # fmt: skip
    assert isinstance(event["message"], str)
    assert isinstance(event["hint"], str)


def test_quiet(machine):
    """--quiet says nothing but the code, and nothing at all when a file takes that."""
    (machine.path / "file").write_text("x")
    sender = machine.run("send", "--quiet", "file")
    code = sender.error_line(b"-").decode().strip()
    receiver = machine.run("receive", "-q", "-y", "-o", "there", env={"P2PXFER_CODE": code})
    assert (sender.end(), receiver.end()) == (0, 0)
    assert (sender.out, sender.err) == (b"", f"{code}\n")
    assert (receiver.out, receiver.err) == (b"", "")


def test_lines_without_a_terminal(machine):
    """Without a terminal people read plain lines on standard error: no escapes, no bars."""
    (machine.path / "file").write_bytes(b"x" * 100_000)
    sender = machine.run("send", "--code-out", "code", "file")
    code = sender.error_line(b"give it this code").decode().split()[-1]
    assert (machine.path / "code").read_text() == f"{code}\n"
    assert (machine.path / "code").stat().st_mode & 0o777 == 0o600
    receiver = machine.run("receive", "-y", "-o", "there", code)
    assert (sender.end(), receiver.end()) == (0, 0)
    for side, verb in ((sender, "Sent"), (receiver, "Received")):
        assert side.out == b""
        assert "\x1b" not in side.err
        assert "\r" not in side.err
        assert f"{verb} 1 file, 100 kB" in side.err
    assert "Waiting for the other side to accept" not in receiver.err


def test_a_hostile_name_on_a_terminal(machine):
    """A name that would rewrite the receiver's screen is shown with its escapes written out."""
    (machine.path / "evil\x1b[2Jname").write_text("x")
    sender = machine.send("evil\x1b[2Jname")
    receiver = machine.run(
        "receive", "-y", "-o", "there", env={"P2PXFER_CODE": sender.event("code")["code"]}
    )
    assert (sender.end(), receiver.end()) == (0, 0)
    assert "\x1b" not in receiver.err
    assert r"evil\x1b[2Jname" in receiver.err
