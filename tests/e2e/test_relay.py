"""Where no UDP passes and no TURN is offered: the rendezvous carries the stream, if it may."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Command
from tests.e2e.hosts import Host, network

SIZE = 8_000_000
PART = SIZE // 8  # bytes after which something happens
PORT = "8765"


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Callable[..., list[Host]]]:
    """Makes a network of some hosts, see `network`."""
    with network(tmp_path) as make:
        yield make


def serve(host: Host, *options: str) -> Command:
    server = host.run("serve", "--host", host.address, "--port", PORT, *options)
    server.error_line(b"-r http")
    return server


def cut_off(lan: Callable[..., list[Host]]) -> list[Host]:
    """A rendezvous, and two hosts that it alone can join: no UDP passes."""
    server, *hosts = lan(3)
    for host in hosts:
        host.block_udp()
        host.env["P2PXFER_RENDEZVOUS"] = f"http://{server.address}:{PORT}"
        host.file.write_bytes(os.urandom(SIZE))
    return [server, *hosts]


def test_a_volume_that_is_used_up_and_a_rendezvous_that_is_restarted(lan):
    """Both end with a clear word; with more volume, the same commands send only what is missing.

    The rendezvous then dies in the middle and comes back empty, and so does the receiver: each time
    the two meet again through it.
    """
    server, here, there = cut_off(lan)
    small = serve(server, "--relay-bytes", f"{SIZE // 2}")
    sender = here.send(here.file)
    receiver = there.receive(sender.event("code")["code"], "-o", there.there)
    assert (sender.end(), receiver.end()) == (6, 6), sender.out + receiver.out
    for side in (sender, receiver):
        (error,) = side.events("error")
        assert (error["name"], error["retryable"]) == ("RelaySpent", True)
        assert "again in about 3 h" in error["hint"]
        assert not side.events("reconnecting")
    had = receiver.events("progress")[-1]["moved"]
    assert SIZE // 4 < had < SIZE
    small.kill()

    ample = serve(server, "--relay-bytes", "1G", "--relay-rate", "1M")
    sender = here.send(here.file)
    code = sender.event("code")["code"]
    receiver = there.receive(code, "-o", there.there)
    receiver.event("progress", lambda event: event["moved"] >= PART)
    ample.kill()
    receiver.event("reconnecting", lambda event: event["what"] == "peer")
    serve(server, "--relay-bytes", "1G", "--relay-rate", "1M")
    receiver.event("progress", lambda event: event["moved"] >= 2 * PART)
    receiver.kill()
    again = there.receive(code, "-o", there.there)
    assert (sender.end(), again.end()) == (0, 0), sender.out + again.out
    assert there.received(here.file.name) == here.file.read_bytes()
    assert had + sender.events("done")[0]["moved"] <= SIZE * 1.5
    for side, connections in ((sender, 3), (again, 1)):
        connected = side.events("connected")
        assert len(connected) >= connections
        for event in connected:
            assert (event["path"], event["via"]) == ("relay", "rendezvous")
            assert event["remote"] == f"{server.address}:{PORT}"
