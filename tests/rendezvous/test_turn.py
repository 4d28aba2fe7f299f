"""TURN credentials that expire; that coturn takes them is shown in tests/peer/test_ice.py."""

from __future__ import annotations

import time

import pytest

from p2pxfer.rendezvous.client import RendezvousClient
from p2pxfer.rendezvous.server import turn
from p2pxfer.rendezvous.server.turn import TurnSecret

SECRET = "0123456789abcdef"


def test_the_password_is_a_mac_over_the_name():
    """As ``openssl dgst -sha1 -hmac SECRET`` over ``2000000000:p2pxfer`` has it."""
    server = TurnSecret(("turn:t.example",), SECRET).ice_server(2e9 - turn.LIFETIME)
    assert server == {
        "urls": ["turn:t.example"],
        "username": "2000000000:p2pxfer",
        "credential": "Msrsfdl/a6QflX5c6X4kRw4tB8g=",
    }


def test_a_secret_that_can_be_guessed_is_refused():
    """Whoever guesses it relays at the operator's cost."""
    with pytest.raises(ValueError, match="at least 16"):
        TurnSecret(("turn:t.example",), SECRET[:-1])


def test_the_secret_is_in_no_repr():
    """Nor, so, in a log."""
    assert SECRET not in repr(TurnSecret(("turn:t.example",), SECRET))


async def test_clients_get_fresh_ones_beside_the_rest(serve):
    """Each answer is good from then on, and passes the client's own checks."""
    stun = {"urls": ["stun:s.example"]}
    server = await serve(ice_servers=[stun], turn=TurnSecret(("turn:t.example",), SECRET))
    async with RendezvousClient(f"http://127.0.0.1:{server.port}") as client:
        found = await client.config()
    assert found.ice_servers[0] == stun
    assert found.ice_servers[1]["urls"] == ["turn:t.example"]
    assert int(found.ice_servers[1]["username"].split(":")[0]) > time.time()
