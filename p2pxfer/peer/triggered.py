"""Checks that answer checks at once (after RFC 8445 section 7.3.1.4), which aioice leaves out.

When two hosts behind NATs check each other, the first packet of one of them is lost: the other's
NAT does not know it yet. What then comes from there proves that the next one will get through.
aioice goes on waiting for half a second; here the same request is repeated at once. It is the same,
so that an answer which is on its way already counts; and it is repeated so a few times only, or two
sides could go on answering each other's checks with checks.

aioice also checks back wherever a check comes from, and keeps that. A peer can have its checks come
from any address: no new one is heeded once there are as many as it may tell of.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from aioice import ice

from p2pxfer.peer import strangers
from p2pxfer.peer.candidates import MAX_CANDIDATES

REPEATS = 3  # for one pair
_NAMES = ("_check_list", "_remote_candidates", "check_incoming")
_REQUEST, _ADDRESS = "_Transaction__request", "_Transaction__addr"


def attach(connection: Any) -> None:
    """Have aioice's ``connection`` do so, if it is as expected."""
    if not all(hasattr(connection, name) for name in _NAMES):
        return
    handle = connection.check_incoming
    in_progress = ice.CandidatePair.State.IN_PROGRESS
    repeated: Counter[tuple[int, tuple[str, int]]] = Counter()

    def check_incoming(message: Any, address: tuple[str, int], protocol: Any) -> None:
        heeded = (  # a new address is kept with its priority
            len(connection._remote_candidates) < MAX_CANDIDATES and "PRIORITY" in message.attributes
        )
        if not heeded and not strangers.is_candidate(connection, address):
            return
        waits = any(
            pair.state is in_progress and pair.protocol is protocol and pair.remote_addr == address
            for pair in connection._check_list
        )
        handle(message, address, protocol)
        key = (protocol.id, address)
        if waits and repeated[key] < REPEATS:
            repeated[key] += 1
            for transaction in list(protocol.transactions.values()):
                request = getattr(transaction, _REQUEST, None)
                if request is not None and getattr(transaction, _ADDRESS, None) == address:
                    protocol.send_stun(request, address)

    connection.check_incoming = check_incoming
