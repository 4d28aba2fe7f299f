"""Media beside the data channel: what a connection sends, and what it takes.

Tracks to be sent are given as aiortc's; received ones are handed out as frames. All share the one
transport of the data channel (BUNDLE, RFC 8843). They are agreed on in the first offer and answer,
and again in each further offer of the far end; this one never makes another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer.reception import ReceivedTrack
from p2pxfer.peer.sdp import Description
from p2pxfer.peer.sections import Direction
from p2pxfer.tracks import Kind

VideoCodec = Literal["VP8", "H264"]
MAX_EVER = 32  # sections that one connection ever has, rejected ones counted
MAX_SOURCES = 256  # that the far end ever tells of; an honest one takes two for each section
NOWHERE = -1  # where no section stands


class Tracks:
    """The media of one connection.

    Args:
        sends: tracks to send, of either kind.
        receives: kinds to take where the far end sends them; nothing else is taken.
        codec: the preferred one for video, of an offerer.

    """

    def __init__(
        self,
        sends: Sequence[MediaStreamTrack] = (),
        receives: Sequence[Kind] = (),
        codec: VideoCodec = "VP8",
    ) -> None:
        self._received: list[ReceivedTrack] = []
        self._sends = tuple(sends)
        self._receives = frozenset(receives)
        self._codec = codec
        self._sending: dict[MediaStreamTrack, RTCRtpTransceiver] = {}
        self._sources: set[int] = set()
        if self._sends:
            from p2pxfer.peer import encoders  # noqa: PLC0415  # PyAV, which files need not

            encoders.improve()

    @property
    def received(self) -> list[ReceivedTrack]:
        """Those that the far end sends now, in its order; once the connection is open."""
        return [track for track in self._received if track.active and not track.ended]

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

    async def answer(self, peer: RTCPeerConnection, offer: Description) -> None:
        """Settle what the answer says to an offer that ``peer`` has taken, the first or another."""
        sections = {section.mid: section for section in offer.media}
        for transceiver in peer.getTransceivers():
            section = sections.get(transceiver.mid or "")
            if section is None or section.rejected:
                await self._end(transceiver)
                continue
            own = self._sent_in(transceiver)
            if own is None and section.takes:
                own = self._next_unsent(section.kind)
                if own is not None:
                    transceiver.sender.replaceTrack(own)
                    self._sending[own] = transceiver
            transceiver.direction = _direction(
                sends=own is not None, receives=section.kind in self._receives
            )

    def forget(self, peer: RTCPeerConnection, offer: Description) -> None:
        """Make room in ``peer`` for an offer that uses rejected sections again.

        Raises:
            PeerMisbehaved: it has done so too often, or under a name that was used before.
        """
        transceivers = peer.getTransceivers()
        if len(transceivers) > MAX_EVER:
            raise PeerMisbehaved("it begins new tracks without end")
        sections = {section.mid: section for section in offer.media}
        for transceiver in transceivers:
            section = sections.get(transceiver.mid or "")
            if section is None:
                transceiver._set_mline_index(NOWHERE)
            elif transceiver.stopped and not section.rejected:
                raise PeerMisbehaved("an offer that takes up a rejected section")

    def route(self, remote: Description) -> None:
        """Tell received tracks from one another by what ``remote`` says of each.

        aiortc goes by the source of what is sent first, once; not by that of what repeats it, nor
        by one that is told later. Where several tracks are encoded alike, it then drops packets.

        Raises:
            PeerMisbehaved: it has told of too many, each of which is remembered.
        """
        sections = {section.mid: section for section in remote.media}
        self._sources.update(*(section.ssrcs for section in remote.media))
        if len(self._sources) > MAX_SOURCES:
            raise PeerMisbehaved("it takes new sources for its tracks without end")
        for track in self._received:
            section = sections.get(track.mid)
            track.active = section is not None and section.sends
            if section is not None and not section.rejected:
                track.take_sources(section.ssrcs)

    async def close(self) -> None:
        """Take nothing more."""
        received, self._received = self._received, []
        await asyncio.gather(*(track.close() for track in received))

    async def _end(self, transceiver: RTCRtpTransceiver) -> None:
        """A section is rejected: nothing crosses in it any more; its track may go elsewhere."""
        if transceiver.stopped:
            return
        own = self._sent_in(transceiver)
        if own is not None:
            del self._sending[own]
        transceiver.sender.replaceTrack(None)  # whoever stops it would stop that, too
        transceiver.direction = "inactive"
        await transceiver.stop()

    def _sent_in(self, transceiver: RTCRtpTransceiver) -> MediaStreamTrack | None:
        return next((own for own, place in self._sending.items() if place is transceiver), None)

    def _next_unsent(self, kind: Kind) -> MediaStreamTrack | None:
        unsent = (own for own in self._sends if own not in self._sending)
        return next((own for own in unsent if own.kind == kind), None)

    def _taking(self, peer: RTCPeerConnection) -> Callable[[MediaStreamTrack], None]:
        def take(track: MediaStreamTrack) -> None:
            for transceiver in peer.getTransceivers():
                receiver = transceiver.receiver
                if receiver.track is track and track.kind in self._receives:
                    self._received.append(ReceivedTrack(receiver, track, transceiver.mid or ""))

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
