"""A further offer while a connection is in use: what it may change, and what it may not.

Its sections of media may change direction, be stopped, and grow in number; transport, keys and
data channel stay. Descriptions only: no library is known here.
"""

from __future__ import annotations

from msgspec.structs import replace

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.peer.sdp import Description


def filled(remote: Description, before: Description | None) -> Description:
    """``remote`` with codecs in its rejected sections, too: aiortc reads none without.

    Args:
        remote: of the far end.
        before: any description with the same sections.

    Raises:
        PeerMisbehaved: a section is rejected that never was another.
    """
    known = {section.mid: section.codecs for section in (before.media if before else ())}
    media = tuple(
        section if section.codecs else replace(section, codecs=known.get(section.mid, ()))
        for section in remote.media
    )
    if not all(section.codecs for section in media):
        raise PeerMisbehaved("a media section that was never of use")
    return replace(remote, media=media)


def check(before: Description, offer: Description) -> None:
    """Refuse an offer that does not go on where ``before``, the far end's last word, was.

    Raises:
        PeerMisbehaved: it would change more than sections of media.
    """
    transports = [
        (said.ufrag, said.password, said.fingerprints, said.mid, said.place, said.sctp_port)
        for said in (before, offer)
    ]
    if transports[0] != transports[1]:
        raise PeerMisbehaved("an offer that would begin the connection anew")
    if len(offer.media) < len(before.media):
        raise PeerMisbehaved("an offer that leaves sections out")
    for old, new in zip(before.media, offer.media, strict=False):
        same = (old.kind, old.mid) == (new.kind, new.mid)
        if not same and not old.rejected:  # RFC 8829 section 5.2.2: only those are used again
            raise PeerMisbehaved("an offer whose sections are others than before")
        if same and old.rejected and not new.rejected:
            raise PeerMisbehaved("an offer that takes up a rejected section")


def answered(own: Description, offer: Description) -> Description:
    """The answer as it is told: what the offer rejects is rejected, and addresses are known."""
    media = tuple(
        replace(section, rejected=True, direction="inactive") if said.rejected else section
        for section, said in zip(own.media, offer.media, strict=True)
    )
    return replace(own, media=media, candidates=(), complete=True)
