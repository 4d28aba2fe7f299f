"""What other WebRTC stacks sent, captured behind DTLS in tests/interop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pxfer.sctp import chunks as c
from p2pxfer.sctp.events import Capability
from p2pxfer.sctp.packets import checksum_valid, encode, parse
from tests.sctp.far_end import FarEnd

STACKS = json.loads((Path(__file__).parents[1] / "vectors" / "sctp-stacks.json").read_text())[
    "stacks"
]
PACKETS = [
    pytest.param(entry, id=f"{stack}: {' and '.join(entry['chunks'])}")
    for stack, entries in STACKS.items()
    for entry in entries
]
BASIC = Capability.RECONFIGURATION | Capability.FORWARD_TSN
OFFERS = {
    "aiortc": BASIC | Capability.NO_PADDING,
    "chromium": BASIC,
    "libdatachannel": BASIC | Capability.ZERO_CHECKSUM,
    "werift": BASIC | Capability.NO_PADDING,
}


@pytest.mark.parametrize("entry", PACKETS)
def test_what_other_stacks_send_is_read_and_written_the_same(entry):
    """Byte for byte, checksum and padding included."""
    data = bytes.fromhex(entry["packet"])
    packet = parse(data)
    assert [type(chunk).__name__ for chunk in packet.chunks] == entry["chunks"]
    again = encode(packet.tag, packet.chunks, zero_checksum=packet.checksum == 0)
    assert again == data
    assert checksum_valid(data) or packet.checksum == 0


@pytest.mark.parametrize("stack", STACKS)
def test_what_other_stacks_offer_is_understood(stack):
    """Their INIT is answered, and what it says makes the association."""
    init = next(
        parse(bytes.fromhex(entry["packet"])).chunks[0]
        for entry in STACKS[stack]
        if entry["chunks"] in (["Init"], ["InitAck"])
    )
    far = FarEnd(zero_checksum=True)
    cookie = far.cookie_for(c.Init(*(getattr(init, name) for name in c.Init.__struct_fields__)))
    assert far.give(c.CookieEcho(cookie))[0] == c.CookieAck()
    (established,) = far.events()
    assert established.capabilities == OFFERS[stack]
    assert established.peer_rwnd == init.rwnd
    assert established.outbound_streams == init.inbound_streams
