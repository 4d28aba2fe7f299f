"""Networks that change under a transfer: it goes on over another path, or says that it can't."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import namespaces
from tests.e2e.hosts import Host
from tests.e2e.internet import STUN, UDP_BLOCKED, Internet, Router

SIZE = 24_000_000  # bytes of the file
PART = 4_000_000  # that cross between two changes
SPEED = "2M"  # bytes a second, so that it lasts longer than the changes


@pytest.fixture
def internet(tmp_path: Path) -> Iterator[Internet]:
    """With STUN and TURN."""
    namespaces.require()
    internet = Internet(tmp_path)
    try:
        internet.turn()
        yield internet
    finally:
        internet.close()


def readdress(host: Host, router: Router) -> None:
    """Give it another address."""
    host.place.ip("addr flush dev eth0", f"addr add {router.lan}.77/24 dev eth0")
    host.place.ip(f"route add default via {router.lan}.1")


def test_a_path_that_changes_thrice(internet):
    """NAT that translates anew, another address, another network: one run, nothing twice.

    ICE itself may follow a NAT; a host that moves is met again in the room of paired sides.
    """
    internet.serve()
    here, there = internet.router(), internet.router()
    elsewhere = internet.router()
    alice, bob = internet.host(here, "alice"), internet.host(there, "bob")
    alice.file.write_bytes(content := os.urandom(SIZE))
    sender = alice.send(alice.file, "--limit", SPEED)
    receiver = bob.receive(sender.event("code")["code"], "-o", bob.there)

    def rebind() -> None:
        there.translate("symmetric")
        there.forget()

    def move() -> None:
        bob.plug(in_=False)
        address, gateway = f"{elsewhere.lan}.77/24", f"{elsewhere.lan}.1"
        elsewhere.plug(bob.place, "eth1", f"addr add {address} dev eth1")
        bob.place.ip(f"route add default via {gateway}")

    for number, change in enumerate((rebind, lambda: readdress(bob, there), move), 1):
        least = number * PART
        receiver.event("progress", lambda event, least=least: event["bytes"] >= least)
        change()
    assert (sender.end(), receiver.end()) == (0, 0), sender.out + receiver.out
    assert len(sender.events("code")) == 1
    for side in (sender, receiver):
        assert len(side.events("stalled")) >= 2
        assert [event["what"] for event in side.events("reconnecting")].count("peer") >= 2
        assert len(side.events("connected")) >= 3
        assert side.events("done")[0]["moved"] == SIZE
    assert bob.received(alice.file.name) == content


@pytest.mark.parametrize("relay", ["turn", "rendezvous"])
def test_a_direct_path_that_appears_later(internet, relay):
    """UDP passes only once the transfer is under way: it goes over to that, and nothing breaks."""
    if relay == "turn":
        internet.serve()
    else:
        internet.serve("--relay-bytes=1G", f"--stun-url=stun:{STUN}", servers=False)
    here, there = internet.router("cone", UDP_BLOCKED), internet.router("cone", UDP_BLOCKED)
    alice, bob = internet.host(here, "alice"), internet.host(there, "bob")
    alice.file.write_bytes(content := os.urandom(3 * PART))
    sender = alice.send(alice.file, "--limit", SPEED)
    receiver = bob.receive(sender.event("code")["code"], "-o", bob.there)
    receiver.event("progress", lambda event: event["bytes"] >= PART)
    for router in (here, there):
        router.translate("cone")
    assert (sender.end(), receiver.end()) == (0, 0), sender.out + receiver.out
    for side in (sender, receiver):
        told = side.events("connected")
        assert [(event["path"], event["via"]) for event in told] == [
            ("relay", relay),
            ("direct", None),
        ]
        assert not side.events("stalled") + side.events("reconnecting")
        assert side.events("done")[0]["moved"] == len(content)
    assert bob.received(alice.file.name) == content


def test_a_path_that_breaks_when_the_rendezvous_is_gone(internet):
    """Both say that they give up, and that it can be gone on with; then it is."""
    rendezvous = internet.serve()
    here, there = internet.router(), internet.router()
    alice, bob = internet.host(here, "alice"), internet.host(there, "bob")
    alice.file.write_bytes(content := os.urandom(SIZE))
    words = [alice.file, "--give-up-after", "5s"]
    sender = alice.send(*words, "--limit", SPEED)
    code = sender.event("code")["code"]
    receiver = bob.receive(code, "-o", bob.there, "--give-up-after", "5s")
    receiver.event("progress", lambda event: event["bytes"] >= PART)
    rendezvous.kill()
    readdress(bob, there)
    assert (sender.end(), receiver.end()) == (4, 4), sender.out + receiver.out
    for side in (sender, receiver):
        (error,) = side.events("error")
        assert error["retryable"] is True
    had = receiver.events("progress")[-1]["moved"]
    internet.serve()
    sender = alice.send(*words)
    receiver = bob.receive(sender.event("code")["code"], "-o", bob.there)
    assert (sender.end(), receiver.end()) == (0, 0), sender.out + receiver.out
    assert had + sender.events("done")[0]["moved"] <= SIZE * 1.05
    assert bob.received(alice.file.name) == content
