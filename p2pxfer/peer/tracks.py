"""Media beside the data channel: what a connection sends, and what it takes.

Tracks to be sent are given as aiortc's; received ones are handed out as frames. All share the one
transport of the data channel (BUNDLE, RFC 8843), and all are agreed on in the first offer and
answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer import encoders
from p2pxfer.peer.reception import ReceivedTrack
from p2pxfer.peer.sections import Direction
from p2pxfer.peer.signals import Description
from p2pxfer.tracks import Kind

VideoCodec = Literal["VP8", "H264"]


class Tracks:
    """The media of one connection.

    Args:
        sends: tracks to send, of either kind.
        receives: kinds to take where the far end sends them; nothing else is taken.
        codec: the preferred one for video, of an offerer.

    Attributes:
        received: those of the far end, in its order, once the connection is open.
    """

    def __init__(
        self,
        sends: Sequence[MediaStreamTrack] = (),
        receives: Sequence[Kind] = (),
        codec: VideoCodec = "VP8",
    ) -> None:
        self.received: list[ReceivedTrack] = []
        self._sends = tuple(sends)
        self._receives = frozenset(receives)
        self._codec = codec
        self._sending: dict[MediaStreamTrack, RTCRtpTransceiver] = {}
        if self._sends:
            encoders.improve()

    def mid(self, track: MediaStreamTrack) -> str | None:
        """The section that ``track`` is sent in; None where the far end has none for it."""
        transceiver = self._sending.get(track)
        return transceiver.mid if transceiver is not None else None

    def attach(self, peer: RTCPeerConnection, *, offering: bool) -> None:
        """Take what comes, and put what goes into the offer, before the data channel is in it."""
        peer.on("track", self._taking(peer))
        if not offering:
            return
        unsaid = set(self._receives)
        for track in self._sends:
            both = track.kind in unsaid
            unsaid.discard("video" if track.kind == "video" else "audio")
            transceiver = peer.addTransceiver(track, "sendrecv" if both else "sendonly")
            self._sending[track] = transceiver
            self._prefer(transceiver)
        for kind in sorted(unsaid):
            self._prefer(peer.addTransceiver(kind, "recvonly"))

    def check(self, remote: Description) -> None:
        """Refuse what doesn't go together with these.

        Raises:
            PeerMisbehaved: the far end offers media where only data are expected, or none where
                some are.
        """
        if remote.type == "answer":
            return
        if remote.media and not (self._sends or self._receives):
            raise PeerMisbehaved(
                "the other side offers pictures or sound, not files",
                "to see them, type: p2pxfer camera snap, or p2pxfer camera record",
            )
        if not remote.media and (self._sends or self._receives):
            raise PeerMisbehaved(
                "the other side offers files, not pictures or sound",
                "to take them, type: p2pxfer receive",
            )

    def answer(self, peer: RTCPeerConnection) -> None:
        """Settle what the answer says to an offer that ``peer`` has taken."""
        sends = list(self._sends)
        for transceiver in peer.getTransceivers():
            kind: Kind = "video" if transceiver.kind == "video" else "audio"
            own = next((track for track in sends if track.kind == kind), None)
            if own is not None:
                sends.remove(own)
                transceiver.sender.replaceTrack(own)
                self._sending[own] = transceiver
            transceiver.direction = _direction(
                sends=own is not None, receives=kind in self._receives
            )

    def route(self, remote: Description) -> None:
        """Tell received tracks from one another by the sources that ``remote`` names.

        aiortc does so with what is sent first, and not with what repeats it; where several tracks
        are encoded alike, it then drops that.
        """
        sections = {section.mid: section for section in remote.media}
        for track in self.received:
            if track.mid in sections:
                track.take_sources(sections[track.mid].ssrcs)

    async def close(self) -> None:
        """Take nothing more."""
        received, self.received = self.received, []
        await asyncio.gather(*(track.close() for track in received))

    def _taking(self, peer: RTCPeerConnection) -> Callable[[MediaStreamTrack], None]:
        def take(track: MediaStreamTrack) -> None:
            for transceiver in peer.getTransceivers():
                receiver = transceiver.receiver
                if receiver.track is track and track.kind in self._receives:
                    self.received.append(ReceivedTrack(receiver, track, transceiver.mid or ""))

        return take

    def _prefer(self, transceiver: RTCRtpTransceiver) -> None:
        if transceiver.kind != "video":
            return
        codecs = RTCRtpSender.getCapabilities("video").codecs
        last: Any = f"video/{'H264' if self._codec == 'VP8' else 'VP8'}"
        transceiver.setCodecPreferences(sorted(codecs, key=lambda codec: codec.mimeType == last))


def _direction(*, sends: bool, receives: bool) -> Direction:
    if sends:
        return "sendrecv" if receives else "sendonly"
    return "recvonly" if receives else "inactive"
