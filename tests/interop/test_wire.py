"""What p2pxfer's packets look like to other stacks, and theirs to us."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.interop.harness import carry, join, running

SILENT = "werift"  # the only one here that begins nothing when the other side may
UNCHECKED = "libdatachannel"  # the only one here that does without SCTP's checksum, too
BASE = 1200 - 28  # bytes of an SCTP packet before anything is known of the path
LARGEST = 1472 - 28  # the most that another stack is sent
ROUNDS = 20  # of traffic until a path is known, on a machine that stands still in between
BATCH = 32  # SACKs that one may stand for that tells of what came twice


@pytest.mark.parametrize("stack", ["aiortc", "chromium", "libdatachannel", "werift"])
async def test_the_wire(stack):
    """INIT from both ends; checksums as agreed; a SACK for two packets; packets as the path takes.

    Everyone but p2pxfer needs a SACK for every second packet (RFC 9260 section 6.2), and reads no
    packet beyond Ethernet's.
    """
    async with running("p2pxfer", stack) as (ours, theirs):
        await join(ours, theirs, tap=True)
        for _ in range(ROUNDS):
            await carry(ours, theirs, count=60, size=65_536)
            await carry(theirs, ours, count=60, size=65_536)
            ours.do("wire")
            wire = await ours.event("wire")
            if wire["longest"]["sent"] > BASE:
                break
    sent, taken = Counter(wire["sent"]), Counter(wire["taken"])
    assert sent["INIT"] >= 1
    assert (taken["INIT"] >= 1) == (stack != SILENT)
    for counts in (sent, taken):
        unchecked = counts["DATA"] if stack == UNCHECKED else 0
        assert counts["DATA with zero checksum"] == unchecked
        for begins in ("INIT", "COOKIE_ECHO"):  # checked in any case: RFC 9653 section 5.2
            assert counts[f"{begins} with zero checksum"] == 0
    assert sent["SACK"] >= taken["DATA"] // 2 - BATCH * taken["DATA again"]
    assert BASE < wire["longest"]["sent"] <= LARGEST
