"""One SCTP association: packets in, packets out, and what happened (RFC 9260 over DTLS, RFC 8261).

Whoever runs it passes what came to `receive`, drains `next_event`, sends what `transmit` gives
until it gives None, and calls `handle_timer` at `deadline`. One path, no restart; ICE's consent
ends an association whose peer is gone, not a count of repetitions. Here are the states and the
order of what leaves; receiving.py reads packets, sending.py makes those with DATA.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from p2pxfer.sctp.causes import protocol_violation, user_abort
from p2pxfer.sctp.chunks import Abort, Reconfig
from p2pxfer.sctp.closing import Closing
from p2pxfer.sctp.config import RECEIVES, SENDS, Config, State
from p2pxfer.sctp.congestion.controller import Controller
from p2pxfer.sctp.control import Control
from p2pxfer.sctp.events import Capability, Closed, Established, Event, StreamsReset
from p2pxfer.sctp.halves import establish
from p2pxfer.sctp.handshake import Handshake, Peer, Reply
from p2pxfer.sctp.handshake import State as HandshakeState
from p2pxfer.sctp.inbound import Inbound
from p2pxfer.sctp.mtu import PathMtu
from p2pxfer.sctp.outbound import Outbound
from p2pxfer.sctp.probing import Probing
from p2pxfer.sctp.receiving import Receiving
from p2pxfer.sctp.reconfig import Reconfiguration
from p2pxfer.sctp.sending import Sending
from p2pxfer.sctp.transmit import Statistics, Transmit
from p2pxfer.sctp.wire import Wire

__all__ = ["Association", "Config", "State", "Statistics", "Transmit"]


class Association:
    """One end.

    Args:
        config: what this end is like.
        controller: decides how much may be in flight, and how fast it leaves.
        rng: draws tags, TSNs and the cookie's key; `random.SystemRandom` outside of tests.
    """

    __slots__ = (
        "_closing",
        "_config",
        "_control",
        "_controller",
        "_events",
        "_handshake",
        "_inbound",
        "_mtu",
        "_now",
        "_outbound",
        "_over",
        "_peer",
        "_poked",
        "_probing",
        "_receiving",
        "_reconfiguration",
        "_resets",
        "_rng",
        "_sending",
        "_size",
        "_state",
    )

    def __init__(self, config: Config, controller: Controller, *, rng: random.Random) -> None:
        self._config = config
        self._controller = controller
        self._rng = rng
        self._events: deque[Event] = deque()
        self._handshake = Handshake(
            rng,
            rwnd=config.receive_window,
            streams=config.streams,
            zero_checksum=config.zero_checksum,
        )
        # packets are padded (RFC 9260 section 3.2): what is no multiple of four can't be filled
        self._mtu = PathMtu([size & ~3 for size in config.packet_sizes])
        self._size = 0
        self._now = 0.0
        self._poked = False  # there may be more to send than when `transmit` was asked last
        self._control = Control(config, self._mtu)
        self._outbound = Outbound(Wire(config.port, config.remote_port, 0), pads=config.own_peer)
        self._receiving = Receiving(self, config, self._handshake.tag)
        self._state = State.CLOSED
        self._over = False
        self._peer: Peer | None = None
        self._inbound: Inbound | None = None
        self._sending: Sending | None = None
        self._probing: Probing | None = None
        self._reconfiguration: Reconfiguration | None = None
        self._resets: list[int] = []
        self._closing = Closing(self)

    # what it is like

    @property
    def state(self) -> State:
        """How far it is."""
        return self._state

    @property
    def receives(self) -> bool:
        """Whether DATA is taken."""
        return self._state in RECEIVES

    @property
    def over(self) -> bool:
        """Whether it ended, or never will begin."""
        return self._over

    @property
    def used(self) -> bool:
        """Whether DATA was exchanged."""
        if self._sending is None or self._inbound is None or self._peer is None:
            return False
        return (
            self._sending.board.next != self._handshake.tsn
            or self._inbound.cumulative != self._peer.tsn - 1
        )

    @property
    def closing(self) -> Closing:
        """The orderly end."""
        return self._closing

    @property
    def control(self) -> Control:
        """What leaves beside DATA."""
        return self._control

    @property
    def handshake(self) -> Handshake:
        """The handshake, for who reads packets."""
        return self._handshake

    @property
    def inbound(self) -> Inbound | None:
        """The peer's DATA, None before the association is established."""
        return self._inbound

    @property
    def sending(self) -> Sending | None:
        """This end's DATA, None before the association is established."""
        return self._sending

    @property
    def probing(self) -> Probing | None:
        """Probes of the packet size, None before the association is established."""
        return self._probing

    @property
    def reconfiguration(self) -> Reconfiguration | None:
        """Stream resets, None unless both ends have them."""
        return self._reconfiguration

    @property
    def peer_tag(self) -> int | None:
        """The tag that packets to the peer bear."""
        peer = self._peer or self._handshake.peer
        return peer.tag if peer is not None else None

    @property
    def srtt(self) -> float | None:
        """Smoothed round-trip time in seconds."""
        return self._sending.rtt.smoothed if self._sending is not None else None

    @property
    def statistics(self) -> Statistics:
        """Counts, as of now."""
        return self._sending.statistics if self._sending is not None else Statistics()

    @property
    def packet_size(self) -> int:
        """Bytes of the packets that are sent now."""
        return self._mtu.size

    @property
    def pending(self) -> int:
        """Bytes of user data queued and not yet sent."""
        return self._outbound.pending

    def buffered(self, stream_id: int) -> int:
        """The same of one stream."""
        return self._outbound.buffered(stream_id)

    # what its owner wants

    def connect(self, now: float) -> None:
        """Begin; does nothing once begun."""
        self._now = now
        if self._state is State.CLOSED and not self._over:
            self._state = State.COOKIE_WAIT
            self._control.reply(self._handshake.start(now))

    def send(self, stream_id: int, ppid: int, data: bytes, *, unordered: bool = False) -> None:
        """Queue a message; before the association is established too.

        Raises:
            ValueError: there is no such stream, the message is empty, or nothing more is sent.
        """
        limit = self._peer.outbound_streams if self._peer is not None else self._config.streams
        if not 0 <= stream_id < limit:
            raise ValueError(f"no stream {stream_id}")
        if not data:
            raise ValueError("a message has at least one byte")
        if self._over or (self._peer is not None and self._state is not State.ESTABLISHED):
            raise ValueError("the association sends no more")
        self._outbound.push(stream_id, ppid, bytes(data), unordered=unordered)
        if self._sending is not None:
            self._sending.queued()

    def reset_streams(self, ids: Sequence[int]) -> None:
        """Begin streams again once what is queued on them was sent (RFC 6525)."""
        if self._peer is None:
            self._resets += ids
        elif self._reconfiguration is not None:
            self._reconfiguration.reset(ids)
            self._poked = True
        else:
            self._events.append(StreamsReset(tuple(ids), incoming=False))

    def shutdown(self, now: float) -> None:
        """End once everything queued has arrived (RFC 9260 section 9.2)."""
        if self._state is State.ESTABLISHED:
            self._state = State.SHUTDOWN_PENDING
            self._closing.advance(now)
        elif self._state in (State.COOKIE_WAIT, State.COOKIE_ECHOED):
            self.abort(now, "closed before it was established")

    def abort(self, now: float, reason: str) -> None:  # noqa: ARG002  # a seam
        """End at once (RFC 9260 section 9.1)."""
        if self._over:
            return
        tag = self.peer_tag
        if tag is not None:
            self._control.reply(Reply(tag, Abort((user_abort(reason),))))
        self.close(reason, clean=False)

    def path_changed(self, now: float) -> None:
        """Packets take another path now: measure anew."""
        if self._sending is not None and self._probing is not None:
            self._sending.path_changed(now)
            self._probing.path_changed(now)
            self.sized()

    def next_event(self) -> Event | None:
        """What happened, one thing at a time."""
        if not self._events:
            return None
        event = self._events.popleft()
        if self._inbound is not None:
            self._inbound.taken(event)
        return event

    # what comes

    def receive(self, packets: Sequence[bytes], now: float) -> None:
        """Take packets that were readable at ``now``; never raises."""
        self._now = now
        self._receiving.take(packets, now)
        if self._sending is not None:
            self._sending.settle(now)
        self._closing.advance(now)
        inbound = self._inbound
        if inbound is None:
            return
        self._closing.came(now)
        if inbound.unreported and self._state in RECEIVES:
            self._control.delay(now, inbound)

    def handle_timer(self, now: float) -> None:
        """See what is due; `transmit` after it."""
        self._now = now
        reply = self._handshake.handle_timer(now)
        if reply is not None:
            self._control.reply(reply)
        if self._handshake.failure is not None:
            self.close(self._handshake.failure, clean=False)
        sack_at = self._control.sack_at
        if sack_at is not None and now >= sack_at and self._inbound is not None:
            self._inbound.hurry = True
        if self._sending is not None and self._probing is not None and self._state in SENDS:
            self._sending.handle_timer(now)
            self._probing.handle_timer(now)
            self.sized()
        self._closing.handle_timer(now)

    def deadline(self) -> float | None:
        """When to call `handle_timer` and `transmit` again, in seconds; None: nothing waits."""
        if self._control.waiting or self._poked or self._reports:
            return self._now
        times = [self._handshake.deadline(), self._control.sack_at, *self._closing.deadlines()]
        if self._sending is not None and self._probing is not None and self._state in SENDS:
            times.append(self._sending.deadline())
            times.append(self._probing.deadline())
        if self._reconfiguration is not None:
            times.append(self._reconfiguration.deadline())
        due = min((at for at in times if at is not None), default=None)
        return None if due is None else max(due, self._now)

    # what leaves

    @property
    def _reports(self) -> bool:
        """Whether a SACK is due."""
        inbound = self._inbound
        return inbound is not None and (inbound.hurry or inbound.due) and self._state in RECEIVES

    def transmit(self, now: float) -> Transmit | None:
        """What leaves next; None if nothing does now."""
        self._now = now
        self._poked = False
        if self._reports and self._inbound is not None:
            self._control.sack(self._inbound)
            self._control.told_at = now
        if self._reconfiguration is not None and self._sending is not None:
            tlvs = self._reconfiguration.transmit(now, self._sending.rtt.timeout)
            while tlvs is not None:
                self._control.chunk(Reconfig(tlvs))
                tlvs = self._reconfiguration.transmit(now, self._sending.rtt.timeout)
        control = self._control.transmit()
        if control is not None:
            return control
        if self._sending is None or self._probing is None or self._state not in SENDS:
            return None
        probe = self._probing.transmit(now)
        if probe is not None:
            return Transmit([probe], probe=True)
        return self._sending.transmit(now)

    # what receiving.py and closing.py ask

    def agreed(self, now: float) -> None:
        """The handshake got on: see whether it is done."""
        handshake = self._handshake
        if handshake.failure is not None:
            self.close(handshake.failure, clean=False)
        elif handshake.state is HandshakeState.COOKIE_ECHOED:
            self._state = State.COOKIE_ECHOED
        elif handshake.state is HandshakeState.DONE and handshake.peer is not self._peer:
            assert handshake.peer is not None
            self._establish(handshake.peer, now)

    def _establish(self, peer: Peer, now: float) -> None:
        """Begin to carry messages (RFC 9260 section 5.1)."""
        config = self._config
        known = self._peer is not None
        self._peer = peer
        zero = bool(peer.capabilities & Capability.ZERO_CHECKSUM)
        wire = Wire(config.port, config.remote_port, peer.tag, zero=zero)
        self._control.agreed(peer.tag, wire)
        self._outbound.rewire(wire)
        halves = establish(
            config,
            peer,
            tsn=self._handshake.tsn,
            wire=wire,
            outbound=self._outbound,
            controller=self._controller,
            mtu=self._mtu,
            events=self._events,
            rng=self._rng,
            now=now,
        )
        self._inbound, self._sending = halves.inbound, halves.sending
        self._probing, self._reconfiguration = halves.probing, halves.reconfiguration
        self._size = 0
        self.sized()
        if known:
            return
        self._state = State.ESTABLISHED
        self._events.append(
            Established(peer.rwnd, peer.outbound_streams, peer.inbound_streams, peer.capabilities)
        )
        resets, self._resets = self._resets, []
        if resets:
            self.reset_streams(resets)

    def sized(self) -> None:
        """Packets may be of another size now."""
        if self._size != self._mtu.size:
            self._size = self._mtu.size
            self._controller.on_packet_size(self._size)

    def enter(self, state: State) -> None:
        """A shutdown got on."""
        self._state = state
        if state not in RECEIVES:
            self._control.sack_at = None  # no DATA is behind the peer's SHUTDOWN

    def violated(self, what: str) -> None:
        """The peer broke the protocol."""
        self._control.chunk(Abort((protocol_violation(what),)))
        self.close(f"the other side broke the protocol: {what}", clean=False)

    def close(self, reason: str, *, clean: bool) -> None:
        """It is over."""
        if self._over:
            return
        self._over = True
        self._state = State.CLOSED
        self._control.sack_at = None
        self._closing.stop()
        if self._sending is not None:
            self._sending.board.clear()
        self._sending = self._probing = self._inbound = self._reconfiguration = None
        self._handshake.stop()
        self._outbound.clear()
        self._events.append(Closed(reason, clean))
