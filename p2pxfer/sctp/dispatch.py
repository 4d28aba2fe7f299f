"""What chunks beside DATA and SACK ask for: each is handed to the part that knows what it means.

The packet around them is read, and found to be this association's, by receiving.py. Here is who
answers: handshake.py, closing.py, probing.py, reconfig.py; and what is done about errors, aborts
and types that nobody knows (RFC 9260 sections 3.2, 8.5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from p2pxfer.sctp import causes
from p2pxfer.sctp.chunks import (
    Abort,
    Chunk,
    CookieAck,
    CookieEcho,
    Error,
    ForwardTsn,
    Heartbeat,
    HeartbeatAck,
    Init,
    InitAck,
    Reconfig,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
    Unknown,
    write_chunk,
)
from p2pxfer.sctp.handshake import Reply

if TYPE_CHECKING:
    from p2pxfer.sctp.association import Association


class Dispatch:
    """Does what single chunks ask of one association.

    Args:
        association: whose chunks they are.
        tag: that packets to this end bear.
    """

    __slots__ = ("_association", "_handlers", "_tag")

    def __init__(self, association: Association, tag: int) -> None:
        self._association = association
        self._tag = tag
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            CookieAck: self._cookie_ack,
            CookieEcho: self._cookie_echo,
            Error: self._error,
            ForwardTsn: self._forward,
            Heartbeat: self._heartbeat,
            HeartbeatAck: self._heartbeat_ack,
            InitAck: self._init_ack,
            Reconfig: self._reconfig,
            Shutdown: self._shutdown,
            ShutdownAck: self._shutdown_ack,
        }

    def take(self, chunk: Chunk, now: float) -> bool:
        """Do what ``chunk`` asks for; whether the chunks behind it are to be read, too."""
        if isinstance(chunk, Abort | ShutdownComplete):
            if chunk.reflected_tag:
                return True
            self.end(chunk)
            return False
        if self._association.over and not isinstance(chunk, ShutdownAck):
            return True
        if isinstance(chunk, Unknown):
            self._unknown(chunk)
            return not chunk.stops
        handler = self._handlers.get(type(chunk))
        if handler is not None:
            handler(chunk, now)
        return True

    def end(self, chunk: Abort | ShutdownComplete) -> None:
        """The peer says that it is over; its tag was looked at."""
        if isinstance(chunk, Abort):
            reason = causes.describe(chunk.causes)
            text = "the other side aborted" + (f": {reason}" if reason else "")
            self._association.close(text, clean=False)
        else:
            self._association.closing.peer_is_done()

    def init(self, chunk: Init, now: float) -> None:
        """The peer begins, in a packet without a tag."""
        if self._association.over:
            return
        reply = self._association.handshake.init(chunk, now)
        if reply is not None:
            self._association.control.reply(reply)

    def _init_ack(self, chunk: InitAck, now: float) -> None:
        for reply in self._association.handshake.init_ack(chunk, now):
            self._association.control.reply(reply)
        self._association.agreed(now)

    def _cookie_echo(self, chunk: CookieEcho, now: float) -> None:
        association = self._association
        replies = association.handshake.cookie_echo(
            chunk.cookie, self._tag, now, used=association.used
        )
        association.agreed(now)
        for reply in replies:
            association.control.reply(reply)

    def _cookie_ack(self, _chunk: CookieAck, now: float) -> None:
        self._association.handshake.cookie_ack()
        self._association.agreed(now)

    def _error(self, chunk: Error, now: float) -> None:
        if any(code == causes.CauseCode.STALE_COOKIE for code, _ in chunk.causes):
            reply = self._association.handshake.stale(now)
            if reply is not None:
                self._association.control.reply(reply)
            self._association.agreed(now)

    def _heartbeat(self, chunk: Heartbeat, _now: float) -> None:
        if self._association.peer_tag is not None:
            self._association.control.chunk(HeartbeatAck(chunk.info))

    def _heartbeat_ack(self, chunk: HeartbeatAck, now: float) -> None:
        if self._association.probing is not None:
            self._association.probing.acknowledged(chunk.info, now)
            self._association.sized()

    def _forward(self, chunk: ForwardTsn, _now: float) -> None:
        inbound = self._association.inbound
        if inbound is not None and self._association.receives:
            inbound.forward(chunk.cumulative_tsn, chunk.streams)

    def _reconfig(self, chunk: Reconfig, _now: float) -> None:
        if self._association.reconfiguration is not None:
            self._association.reconfiguration.receive(chunk.parameters)

    def _shutdown(self, chunk: Shutdown, now: float) -> None:
        self._association.closing.peer_shuts_down(chunk.cumulative_tsn, now)

    def _shutdown_ack(self, _chunk: ShutdownAck, _now: float) -> None:
        association = self._association
        if association.over or association.peer_tag is None:
            # this end is through, or never was (RFC 9260 section 8.5.1 E)
            association.control.reply(Reply(self._tag, ShutdownComplete(reflected_tag=True)))
        else:
            association.closing.peer_acknowledges()

    def _unknown(self, chunk: Unknown) -> None:
        """RFC 9260 section 3.2: one of the two upper bits of a type asks for a report."""
        if chunk.reports and self._association.peer_tag is not None:
            cause = causes.unrecognized_chunk(write_chunk(chunk)[:64])
            self._association.control.chunk(Error((cause,)))
