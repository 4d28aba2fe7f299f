"""Between networks of all kinds: the path that should be found is, and a folder arrives.

How long that takes is for ``scripts/networks``, which tries all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import namespaces
from tests.e2e.internet import Internet
from tests.e2e.networks import CASES, Case, carry_out

TUNNEL = Path(__file__).with_name("tunnel.py")


@pytest.mark.parametrize("case", [c for c in CASES if c.often], ids=lambda case: case.name)
def test_a_folder_crosses(tmp_path, case: Case):
    """Directly wherever that is possible, else through a relay; right in either case."""
    namespaces.require()
    assert carry_out(case, tmp_path).wrong == []


def test_a_vpn_is_a_direct_path(tmp_path):
    """Where both NATs are of the worst kind, the tunnel joins the two without a relay."""
    namespaces.require()
    internet = Internet(tmp_path)
    try:
        internet.turn()
        internet.serve()
        alice, bob = (
            internet.host(internet.router("symmetric"), name) for name in ("alice", "bob")
        )
        ends = [str(alice.place.pid), "10.8.0.1", str(bob.place.pid), "10.8.0.2"]
        vpn = internet.machine.run(*ends, program=(sys.executable, TUNNEL), read_output=False)
        assert vpn.process.stdout is not None
        assert vpn.process.stdout.readline() == b"up\n"
        sender = alice.send(alice.file)
        receiver = bob.receive(sender.event("code")["code"], "-o", bob.there)
        assert (sender.end(), receiver.end()) == (0, 0), sender.out + receiver.out
        (connected,) = receiver.events("connected")
        assert connected["path"] == "direct"
        assert connected["local"].startswith("10.8.0.2:")
        assert bob.received(alice.file.name) == alice.file.read_bytes()
        vpn.kill()
    finally:
        internet.close()
