"""What an association has once both ends have agreed: two halves, probes of the path, resets.

Only made here; association.py says when each of them has its turn.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Final

from msgspec import Struct

from p2pxfer.sctp.config import Config
from p2pxfer.sctp.congestion.controller import Controller
from p2pxfer.sctp.events import Capability, Event
from p2pxfer.sctp.handshake import Peer
from p2pxfer.sctp.inbound import EVERY, TOGETHER, Inbound
from p2pxfer.sctp.mtu import PathMtu
from p2pxfer.sctp.outbound import Outbound
from p2pxfer.sctp.probing import Probing
from p2pxfer.sctp.reconfig import Reconfiguration
from p2pxfer.sctp.sending import Sending
from p2pxfer.sctp.streams import Numbering
from p2pxfer.sctp.wire import Wire

OWN_ACK_DELAY: Final = 0.025  # seconds that this project's receivers may wait with a SACK
PEER_ACK_DELAY: Final = 0.2  # what others may wait (RFC 9260 section 6.2)


class Halves(Struct, frozen=True):
    """The parts.

    Attributes:
        inbound: the peer's DATA.
        sending: this end's.
        probing: of the packet size.
        reconfiguration: stream resets, None unless the peer has them, too.
    """

    inbound: Inbound
    sending: Sending
    probing: Probing
    reconfiguration: Reconfiguration | None


def establish(
    config: Config,
    peer: Peer,
    *,
    tsn: int,
    wire: Wire,
    outbound: Outbound,
    controller: Controller,
    mtu: PathMtu,
    events: deque[Event],
    rng: random.Random,
    now: float,
) -> Halves:
    """Make them, as what was agreed wants them.

    Args:
        config: what this end is like.
        peer: what the handshake found out.
        tsn: the first that this end sends.
        wire: packets to the peer.
        outbound: the queues, which may hold something already.
        controller: how much may be in flight.
        mtu: the path's packet size.
        events: where all of them tell what happened.
        rng: draws what probes bear.
        now: seconds.
    """
    inbound = Inbound(
        peer.tsn,
        config.receive_window,
        config.max_message,
        peer.inbound_streams,
        events,
        every=TOGETHER if config.own_peer else EVERY,
    )
    sending = Sending(
        tsn=tsn,
        rwnd=peer.rwnd,
        wire=wire,
        outbound=outbound,
        controller=controller,
        mtu=mtu,
        ack_delay=OWN_ACK_DELAY if config.own_peer else PEER_ACK_DELAY,
        events=events,
        now=now,
    )
    if outbound.pending:
        sending.queued()
    pads = Capability.NO_PADDING not in peer.capabilities
    probing = Probing(mtu, sending.rtt, wire, rng, pads=pads)
    reconfiguration = None
    if peer.capabilities & Capability.RECONFIGURATION:
        reconfiguration = Reconfiguration(
            Numbering(outbound, sending.board, inbound, events),
            request=tsn,
            expected=peer.tsn,
            inbound=peer.inbound_streams,
        )
    return Halves(inbound, sending, probing, reconfiguration)
