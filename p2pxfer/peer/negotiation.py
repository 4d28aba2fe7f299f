"""What the two ends of a connection tell each other: a description each, and addresses as found.

Here it is known whose turn it is, and what has been said so far. Bodies go out through a callback;
what is done about a description is not known here. Of what a further one may change, see
`renegotiation`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer import renegotiation
from p2pxfer.peer.candidates import Candidate
from p2pxfer.peer.sdp import Description
from p2pxfer.peer.signals import EndOfCandidates, Signal, decode, encode
from p2pxfer.peer.trickle import RemoteCandidates

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

    from p2pxfer.peer.ice import Agent


class Negotiation:
    """One connection's offer and answer, with the candidates of both ends.

    Args:
        offerer: whether this end makes the offer.
        signal: called with each body for the peer, in order; it must not raise.
        spawn: runs a coroutine beside the rest; whoever owns it cancels it in the end.

    Attributes:
        local: what this end has told, None before that.
        remote: what the far end has told last, None before it is in place.
        candidates: those of the far end.
    """

    def __init__(
        self,
        *,
        offerer: bool,
        signal: Callable[[bytes], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self.local: Description | None = None
        self.remote: Description | None = None
        self.candidates = RemoteCandidates(spawn)
        self._offerer = offerer
        self._signal = signal
        self._unsaid: list[Candidate] = []  # found before the description went out
        self._over = False

    def found(self, candidate: Candidate) -> None:
        """This end has one more address: told now, or once its description was."""
        if self.local is None:
            self._unsaid.append(candidate)
        elif candidate not in self.local.candidates:
            self._send(candidate)

    def tell(self, own: Description) -> None:
        """Tell this end's description, and what was found since it was made."""
        self.local = own
        self._send(own)
        for candidate in self._unsaid:
            if candidate not in own.candidates:
                self._send(candidate)

    def tell_end(self) -> None:
        """Tell that this end has found all its addresses."""
        self._send(EndOfCandidates())

    def read(self, body: bytes) -> Description | None:
        """Take a body of the far end.

        Returns:
            The description, if it is one: put it in place, then call `settle`.

        Raises:
            PeerMisbehaved: it is malformed, out of turn, or one of far too many.
        """
        signal = decode(body)
        if self._over:
            return None
        if isinstance(signal, Description):
            self._check_turn(signal)
            self.candidates.count(len(signal.candidates))
            return renegotiation.filled(signal, self.local)
        self.candidates.count()
        if isinstance(signal, EndOfCandidates):
            self.candidates.end()
        elif isinstance(signal, Candidate):
            self.candidates.add(signal)
        return None

    def settle(self, remote: Description, peer: RTCPeerConnection, agent: Agent | None) -> None:
        """The far end's description is in place with ``peer``: so are its candidates from now."""
        self.remote = remote
        for candidate in remote.candidates:
            self.candidates.add(candidate)
        if remote.complete:
            self.candidates.end()
        self.candidates.ready(peer, agent)

    def stop(self) -> None:
        """Tell nothing more, and take nothing."""
        self._over = True

    def _check_turn(self, remote: Description) -> None:
        expected = "answer" if self._offerer else "offer"
        early = self._offerer and self.local is None
        if self.remote is not None or remote.type != expected or early:
            message = f"an {remote.type} out of turn"
            raise PeerMisbehaved(message)

    def _send(self, signal: Signal) -> None:
        if not self._over:
            self._signal(encode(signal))
