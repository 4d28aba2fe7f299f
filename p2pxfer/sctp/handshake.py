"""Four packets that begin an association, also when both ends send the first.

RFC 9260 section 5, with the extensions of events.Capability. Both ends of WebRTC send INIT, so
they collide: section 5.2.1, and of 5.2.4 the actions B and D. A peer that restarted (action A) is
refused, since under DTLS it would be another association. No packets here, only chunks; what
happens after belongs to association.py.
"""

from __future__ import annotations

import random
from enum import Enum
from typing import Final

from msgspec import Struct

from p2pxfer.sctp import parameters
from p2pxfer.sctp.causes import (
    CauseCode,
    missing_parameters,
    protocol_violation,
    stale_cookie,
    unrecognized_parameters,
)
from p2pxfer.sctp.chunks import (
    Abort,
    Chunk,
    ChunkType,
    CookieAck,
    CookieEcho,
    Error,
    Init,
    InitAck,
)
from p2pxfer.sctp.cookies import LIFETIME, Cookie, unseal
from p2pxfer.sctp.events import Capability
from p2pxfer.sctp.parameters import ParameterType, Tlvs

ATTEMPTS: Final = 16  # RFC 9260 section 16 has 8 (Max.Init.Retransmits), at longer intervals
FIRST_WAIT: Final = 0.5  # seconds until INIT or COOKIE ECHO is sent again, doubled each time
LONGEST_WAIT: Final = 3.0
LEAST_RWND: Final = 1500  # RFC 9260 section 5.1
TAKES_OFFENCE: Final = b"\xc0\x82"  # as werift lists extensions, which ends its process over PAD


class State(Enum):
    """How far the handshake is (RFC 9260 section 4)."""

    IDLE = 0
    COOKIE_WAIT = 1
    COOKIE_ECHOED = 2
    DONE = 3


class Peer(Struct, frozen=True):
    """What the other end said of itself.

    Attributes:
        tag: goes into each packet to it.
        tsn: the first that it uses.
        rwnd: bytes that it can buffer.
        outbound_streams: how many streams this end may use.
        inbound_streams: how many the peer may.
        capabilities: what both ends have.
    """

    tag: int
    tsn: int
    rwnd: int
    outbound_streams: int
    inbound_streams: int
    capabilities: Capability


class Reply(Struct, frozen=True):
    """A chunk to send, and the tag of its packet."""

    tag: int
    chunk: Chunk


class Handshake:
    """One end's part.

    Attributes:
        state: how far it is.
        tag: the tag that the peer's packets bear.
        tsn: the first that this end uses.
        peer: what is known of the peer, once INIT ACK or a cookie told it.
        failure: why there will be no association, if so.
    """

    __slots__ = (
        "_attempts",
        "_due",
        "_echo",
        "_restarts",
        "_rng",
        "_rwnd",
        "_secret",
        "_streams",
        "_zero",
        "failure",
        "peer",
        "state",
        "tag",
        "tsn",
    )

    def __init__(self, rng: random.Random, *, rwnd: int, streams: int, zero_checksum: bool) -> None:
        self._rng = rng
        self._rwnd = rwnd
        self._streams = streams
        self._zero = zero_checksum
        self._secret = rng.randbytes(32)
        self.tag = self._draw()
        self.tsn = rng.getrandbits(32)
        self.state = State.IDLE
        self.peer: Peer | None = None
        self.failure: str | None = None
        self._echo: CookieEcho | None = None
        self._attempts = self._restarts = 0
        self._due: float | None = None

    def _draw(self) -> int:
        return self._rng.randrange(1, 1 << 32)  # zero is no tag (RFC 9260 section 3.3.2)

    # this end begins

    def start(self, now: float) -> Reply:
        """Send INIT."""
        self.state = State.COOKIE_WAIT
        self._attempts = 0
        return self._attempt(now)

    def _attempt(self, now: float) -> Reply:
        self._due = now + min(FIRST_WAIT * (1 << self._attempts), LONGEST_WAIT)
        self._attempts += 1
        if self._echo is not None and self.peer is not None:
            return Reply(self.peer.tag, self._echo)
        return Reply(0, self._init(Init, self.tag, self.tsn, ()))

    def _init(self, kind: type[Init | InitAck], tag: int, tsn: int, more: Tlvs) -> Chunk:
        offered = [
            (ParameterType.FORWARD_TSN_SUPPORTED, b""),
            parameters.supported_extensions((ChunkType.RE_CONFIG, ChunkType.FORWARD_TSN)),
        ]
        if self._zero:
            offered.append(parameters.zero_checksum_acceptable())
        return kind(tag, self._rwnd, self._streams, self._streams, tsn, (*more, *offered))

    def deadline(self) -> float | None:
        """When `handle_timer` is due."""
        return self._due

    def handle_timer(self, now: float) -> Reply | None:
        """T1-init or T1-cookie ran out (RFC 9260 sections 5.1.6 and 4): send again or give up."""
        if self._due is None or now < self._due:
            return None
        if self._attempts >= ATTEMPTS:
            self._due = None
            self.failure = "the other side did not answer"
            return None
        return self._attempt(now)

    # what the peer says

    def _read(self, init: Init | InitAck) -> Peer | None:
        """What a peer's INIT or INIT ACK offers; None if the values are not allowed."""
        if not (init.tag and init.outbound_streams and init.inbound_streams):
            return None
        if init.rwnd < LEAST_RWND:
            return None
        told = parameters.understood(init.parameters)
        listed = parameters.extensions(told)
        capabilities = Capability.NONE
        if ChunkType.RE_CONFIG in listed:
            capabilities |= Capability.RECONFIGURATION
        if parameters.find(told, ParameterType.FORWARD_TSN_SUPPORTED) is not None:
            capabilities |= Capability.FORWARD_TSN
        if parameters.find(told, ParameterType.SUPPORTED_EXTENSIONS) == TAKES_OFFENCE:
            capabilities |= Capability.NO_PADDING
        if self._zero and parameters.accepts_zero_checksum(told):
            capabilities |= Capability.ZERO_CHECKSUM
        return Peer(
            init.tag,
            init.tsn,
            init.rwnd,
            min(self._streams, init.inbound_streams),
            min(self._streams, init.outbound_streams),
            capabilities,
        )

    def init(self, init: Init, now: float) -> Reply | None:
        """INIT came, in whatever state (RFC 9260 sections 5.1, 5.2.1 and 5.2.2)."""
        peer = self._read(init)
        if peer is None:
            if not init.tag:
                return None
            cause = protocol_violation("INIT with values that are not allowed")
            return Reply(init.tag, Abort((cause,)))
        if self.state is State.DONE:
            # the cookie's tag will not be ours, so that it restarts nothing
            tag, tsn = self._draw(), self._rng.getrandbits(32)
        else:
            tag, tsn = self.tag, self.tsn
        cookie = Cookie(
            now,
            tag,
            tsn,
            peer.tag,
            peer.tsn,
            peer.rwnd,
            peer.outbound_streams,
            peer.inbound_streams,
            int(peer.capabilities),
        )
        told: Tlvs = ((ParameterType.STATE_COOKIE, cookie.seal(self._secret)),)
        unknown = self._unknown(init.parameters)
        if unknown:
            told += tuple(
                (ParameterType.UNRECOGNIZED, parameters.write_tlvs((tlv,))) for tlv in unknown
            )
        return Reply(peer.tag, self._init(InitAck, tag, tsn, told))

    @staticmethod
    def _unknown(tlvs: Tlvs) -> Tlvs:
        """Parameters to report (RFC 9260 section 3.2.1)."""
        found: list[parameters.Tlv] = []
        for tlv in tlvs:
            if tlv[0] in parameters.KNOWN:
                continue
            if parameters.reports(tlv[0]):
                found.append(tlv)
            if parameters.stops(tlv[0]):
                break
        return tuple(found)

    def init_ack(self, ack: InitAck, now: float) -> list[Reply]:
        """INIT ACK came: answer with its cookie (RFC 9260 section 5.1 C)."""
        if self.state is not State.COOKIE_WAIT:
            return []  # RFC 9260 section 5.2.3
        cookie = parameters.find(parameters.understood(ack.parameters), ParameterType.STATE_COOKIE)
        peer = self._read(ack)
        if peer is None or cookie is None:
            self.failure = "the other side's INIT ACK is not complete"
            self._due = None
            cause = (
                missing_parameters((ParameterType.STATE_COOKIE,))
                if peer is not None
                else (CauseCode.INVALID_MANDATORY_PARAMETER, b"")
            )
            return [Reply(ack.tag, Abort((cause,)))] if ack.tag else []
        self.peer = peer
        self.state = State.COOKIE_ECHOED
        self._attempts = 0
        self._echo = CookieEcho(cookie)
        replies = [self._attempt(now)]
        unknown = self._unknown(ack.parameters)
        if unknown:
            replies.append(Reply(peer.tag, Error((unrecognized_parameters(unknown),))))
        return replies

    def cookie_echo(self, data: bytes, tag: int, now: float, *, used: bool) -> list[Reply]:
        """COOKIE ECHO came (RFC 9260 sections 5.1.5 and 5.2.4).

        Args:
            data: the cookie.
            tag: of the packet that brought it.
            now: the time.
            used: whether DATA was exchanged, so that the peer can't become another.
        """
        cookie = unseal(data, self._secret)
        if cookie is None or cookie.local_tag != tag:
            return []
        if cookie.local_tag != self.tag:
            return []  # action A, a restart, or C, a late cookie: neither is taken
        known = self.peer
        same = known is not None and known.tag == cookie.peer_tag
        if now - cookie.made > LIFETIME and not (same and self.state is State.DONE):
            staleness = int((now - cookie.made - LIFETIME) * 1e6)
            return [Reply(cookie.peer_tag, Error((stale_cookie(staleness),)))]
        if self.state is State.DONE and not same and used:
            return []
        if not (same and self.state is State.DONE):
            self.peer = Peer(
                cookie.peer_tag,
                cookie.peer_tsn,
                cookie.peer_rwnd,
                cookie.outbound_streams,
                cookie.inbound_streams,
                Capability(cookie.capabilities),
            )
            self._finish()
        return [Reply(cookie.peer_tag, CookieAck())]

    def cookie_ack(self) -> None:
        """COOKIE ACK came (RFC 9260 section 5.1 E)."""
        if self.state is State.COOKIE_ECHOED:
            self._finish()

    def stale(self, now: float) -> Reply | None:
        """The peer called the cookie stale: begin again (RFC 9260 section 5.2.6)."""
        if self.state is not State.COOKIE_ECHOED:
            return None
        self._echo = None
        self.peer = None
        self.state = State.COOKIE_WAIT
        self._restarts += 1
        if self._restarts >= ATTEMPTS:
            self.failure = "the other side takes no cookie"
            self._due = None
            return None
        self._attempts = 0
        return self._attempt(now)

    def stop(self) -> None:
        """Send nothing more."""
        self._due = None

    def _finish(self) -> None:
        self.state = State.DONE
        self._due = None
        self._echo = None
