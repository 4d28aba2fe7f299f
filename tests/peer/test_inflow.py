"""A paired peer that would fill the memory below the channel."""

from __future__ import annotations

import asyncio

import pytest
from aiortc.rtcsctptransport import (
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    DataChunk,
)

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer import inflow, seam

WHOLE = SCTP_DATA_FIRST_FRAG | SCTP_DATA_LAST_FRAG


def endless(at: int) -> dict:
    """A message that never ends."""
    return {"flags": SCTP_DATA_FIRST_FRAG if at == 0 else 0}


def unbegun(_: int) -> dict:
    """Fragments of a message that never began."""
    return {"flags": 0}


def waiting(at: int) -> dict:
    """Whole messages behind one that never comes, and every fragment is there."""
    return {"flags": WHOLE, "stream_seq": 1000 + at}


def gapped(at: int) -> dict:
    """Fragments behind one that is missing."""
    return {"flags": 0, "skipped": at + 1}


def scattered(at: int) -> dict:
    """A stream for each."""
    return {"flags": SCTP_DATA_FIRST_FRAG, "stream_id": 2 * at}


@pytest.fixture(autouse=True)
def stock(monkeypatch) -> None:
    """It guards aiortc's own association; ours has bounds of its own."""
    monkeypatch.setenv(seam.VARIABLE, "stock")


@pytest.mark.parametrize("attack", [endless, unbegun, waiting, gapped, scattered])
@pytest.mark.parametrize("offerer", [True, False])
async def test_pieces_without_end_end_the_channel(joined, monkeypatch, attack, offerer):
    """Nothing of them is kept, and both ends learn it."""
    monkeypatch.setattr(inflow, "MAX_GAPPED", 100)
    async with joined() as pair:
        near, far = await pair.open()
        victim = far if offerer else near
        sctp = (pair.b if offerer else pair.a)._peer.sctp
        await asyncio.gather(near.drain(), far.drain())
        tsn, closed = sctp._last_received_tsn + 1, asyncio.Event()
        victim.on_closed(closed.set)
        for at in range(2 * inflow.MAX_FRAGMENTS):
            fields = {"stream_id": 0, "stream_seq": 1, "skipped": 0, **attack(at)}
            chunk = DataChunk(fields["flags"])
            chunk.tsn = (tsn + at + fields["skipped"]) % 2**32
            chunk.stream_id, chunk.stream_seq = fields["stream_id"], fields["stream_seq"]
            chunk.user_data = bytes(1000)
            await sctp._receive_chunk(chunk)  # as if it came off the wire: DTLS is right
        async with asyncio.timeout(60):
            await closed.wait()
        assert isinstance(victim.error, PeerMisbehaved)
        assert not sctp._inbound_streams


async def test_a_transport_with_other_names_is_left_alone(joined, monkeypatch):
    """A later aiortc still connects."""
    monkeypatch.setattr(inflow, "_NAMES", ("_not_there",))
    async with joined() as pair:
        near, far = await pair.open()
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        far.on_message(arrived.put_nowait)
        await near.send(b"x")
        assert await arrived.get() == b"x"
