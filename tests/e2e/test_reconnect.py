"""Connections that break in the middle: one run, no new code, the right bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Command
from tests.e2e.hosts import Host, network

SIZE = 64 * 1024 * 1024
PART = SIZE // 8  # bytes after which something breaks
CUT = 20.0  # seconds
PORT = "8765"


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Callable[..., list[Host]]]:
    """Makes a network of some hosts, see `network`."""
    with network(tmp_path) as make:
        yield make


def serve(host: Host, *others: Host) -> Command:
    """Run a rendezvous there that the others know."""
    server = host.run("serve", "--host", host.address, "--port", PORT)
    server.error_line(b"-r http")
    for other in others:
        other.env["P2PXFER_RENDEZVOUS"] = f"http://{host.address}:{PORT}"
    return server


def grow(host: Host) -> bytes:
    """Give the host a file that takes a while."""
    host.slow()
    host.file.write_bytes(content := os.urandom(SIZE))
    return content


def a_part(command: Command) -> None:
    """Wait until so much is done."""
    command.event("progress", lambda event: event["bytes"] >= PART)


def in_one_run(sender: Command, receiver: Command) -> None:
    """Both ended well, having found each other again under one code, and sent nothing twice."""
    assert (sender.end(), receiver.end()) == (0, 0), sender.out + receiver.out
    assert len(sender.events("code")) == 1
    for side in (sender, receiver):
        assert "peer" in [event["what"] for event in side.events("reconnecting")]
        assert side.events("done")[0]["moved"] == SIZE


def test_a_cable_that_is_out_for_twenty_seconds(lan):
    """A file and a stream go on from where they were, though all was lost that was on the way."""
    server, here, there = lan(3)
    serve(server, here, there)
    content = grow(here)
    sender = here.send(here.file)
    receiver = there.receive(sender.event("code")["code"], "-o", there.there)
    with here.file.open("rb") as stdin:
        streamer = here.send("-", "--name", "stream", stdin=stdin)
    taker = there.receive(streamer.event("code")["code"], "-o", there.there)
    a_part(receiver)
    a_part(taker)
    there.plug(in_=False)
    time.sleep(CUT)
    there.plug(in_=True)
    in_one_run(sender, receiver)
    in_one_run(streamer, taker)
    assert there.received(here.file.name) == content
    assert there.received("stream") == content
    assert len(list(there.there.iterdir())) == 2


def test_a_rendezvous_that_comes_back_empty(lan):
    """It dies with all that it knew, and the cable is out: the two meet again all the same."""
    server, here, there = lan(3)
    rendezvous = serve(server, here, there)
    content = grow(here)
    sender = here.send(here.file)
    receiver = there.receive(sender.event("code")["code"], "-o", there.there)
    a_part(receiver)
    rendezvous.kill()
    there.plug(in_=False)
    sender.event("reconnecting", lambda event: event["what"] == "peer")
    receiver.event("reconnecting", lambda event: event["what"] == "peer")
    there.plug(in_=True)
    serve(server)
    in_one_run(sender, receiver)
    assert there.received(here.file.name) == content


def test_a_receiver_that_is_killed_on_a_lan(lan):
    """The same command finds the sender's own rendezvous again, which has not moved."""
    here, there = lan(2)
    content = grow(here)
    sender = here.send(here.file)
    code = sender.event("code")["code"]
    receiver = there.receive(code, "-o", there.there)
    a_part(receiver)
    receiver.kill()
    receiver = there.receive(code, "-o", there.there)
    assert (sender.end(), receiver.end()) == (0, 0), sender.out + receiver.out
    assert sender.events("restarted")
    assert sender.events("done")[0]["moved"] <= SIZE * 1.05
    assert there.received(here.file.name) == content
    assert os.listdir(there.there) == [here.file.name]


def test_giving_up(machine):
    """Nobody comes back within --give-up-after: exit 4, and what has arrived is kept."""
    data = machine.path / "data"
    data.write_bytes(os.urandom(SIZE))
    sender = machine.send(data, "--limit", "16M")  # slow enough to be interrupted
    code = sender.event("code")["code"]
    receiver = machine.receive(code, "-o", "there", "--give-up-after", "1s")
    a_part(receiver)
    sender.kill()
    assert receiver.end() == 4
    (error,) = receiver.events("error")
    assert error["retryable"] is True
    assert "1 s" in error["message"]
    had = receiver.events("progress")[-1]["moved"]
    sender, receiver = machine.transfer([data], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0), receiver.out
    assert had + sender.events("done")[0]["moved"] <= SIZE * 1.05
    assert (machine.there / "data").read_bytes() == data.read_bytes()
