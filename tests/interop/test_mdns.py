"""A browser that hides its addresses behind names, which multicast DNS resolves (RFC 8828)."""

from __future__ import annotations

import os

import pytest

from tests.e2e.hosts import network
from tests.interop.harness import carry, join, running

# Only what this side has asked for comes in: without the name's address there is no way.
CLOSED = """
table inet closed {
    chain in {
        type filter hook input priority filter
        udp dport 5353 accept
        meta l4proto udp ct state new drop
    }
}
"""


@pytest.mark.parametrize("offering", [True, False], ids=["we-offer", "they-offer"])
async def test_a_name_in_place_of_an_address_is_found(tmp_path, offering):
    """Chromium on another host, as it comes; no address of its own crosses the wire."""
    with network(tmp_path) as make:
        hosts = make(2)
        for host in hosts:  # Chromium uses the address it would go there from
            host.place.ip("route add default dev eth0")
        hosts[0].place.nft(CLOSED)
        words = [host.place.inside for host in hosts]
        environment = {**os.environ, "HIDE_ADDRESSES": "1"}
        async with running("p2pxfer", "chromium", environment=environment, hosts=words) as (
            ours,
            theirs,
        ):
            await join(*((ours, theirs) if offering else (theirs, ours)))
            told = str(theirs.signals)
            assert ".local" in told
            assert hosts[1].address not in told
            await carry(ours, theirs, count=16, size=65_536)
            await carry(theirs, ours, count=16, size=65_536)
