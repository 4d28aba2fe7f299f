"""A check that was lost is made again as soon as the other side checks, and not after a while."""

from __future__ import annotations

import aioice.stun
import pytest
from aioice.ice import StunProtocol

from p2pxfer.errors import ConnectionFailed
from p2pxfer.peer import gathering, triggered


@pytest.mark.parametrize("attached", [True, False])
async def test_the_first_check_is_lost(joined, monkeypatch, attached):
    """As behind a NAT. Nothing repeats it by itself here; without this module nothing does."""
    monkeypatch.setattr(aioice.stun, "RETRY_RTO", 3600.0)
    monkeypatch.setattr(gathering, "LOOPBACK", ("127.0.0.1",))  # one pair
    if not attached:
        monkeypatch.setattr(triggered, "_NAMES", ("no_such_name",))
    lost: list[aioice.stun.Message] = []
    early: list[tuple] = []
    send = StunProtocol.send_stun

    def lose_the_first(self, message, address) -> None:
        if lost:
            send(self, message, address)
        elif "ICE-CONTROLLED" in message.attributes:
            lost.append(message)
            for held in early:
                send(*held)
        else:  # the other side's come afterwards
            early.append((self, message, address))

    monkeypatch.setattr(StunProtocol, "send_stun", lose_the_first)
    async with joined() as pair:
        if attached:
            await pair.open()
        else:
            with pytest.raises(ConnectionFailed):
                await pair.b.open(0.5)
        assert lost
