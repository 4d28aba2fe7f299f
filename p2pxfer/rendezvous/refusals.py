"""The rendezvous' last word on a conversation, as an error of this project's tree."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

from p2pxfer.errors import (
    CodeExpired,
    PeerGone,
    RelaySpent,
    RendezvousBusy,
    RendezvousMisbehaved,
    RendezvousUnreachable,
    RoomBurnt,
    RoomFull,
    RoomGone,
    RoomRefused,
    TransferError,
    VersionRefused,
)
from p2pxfer.rendezvous.messages import Ended, Reason

_Refusal = tuple[type[TransferError], str, str | None]  # what, said how, the hint if it is special

_AGAIN: Final = "run the same command again on both sides"
_LATER: Final = "try again later, or choose another rendezvous with --rendezvous"
_SPENT: Final = (
    "run the same commands again in about {hours} h: they go on from here\n"
    "a TURN server, given with --ice-server turn:…, would carry more at once"
)
_ANYWHERE: Final[Mapping[Reason, _Refusal]] = {
    Reason.VERSION: (
        VersionRefused,
        "the rendezvous speaks another version of its protocol",
        "update p2pxfer here, or on the server",
    ),
    Reason.MALFORMED: (
        RendezvousMisbehaved,
        "the rendezvous calls a proper message malformed",
        None,
    ),
    Reason.LIMITED: (
        RendezvousBusy,
        "too many tries from this address: the rendezvous allows another in {seconds} s",
        "wait {seconds} s, then try again",
    ),
    Reason.BUSY: (RendezvousBusy, "the rendezvous is busy and takes nothing more now", _LATER),
    Reason.OVERFLOW: (RoomRefused, "{room} has carried as much mail as a room may", _AGAIN),
}
_AT_THE_DOOR: Final[Mapping[Reason, _Refusal]] = {
    Reason.UNKNOWN: (
        RoomGone,
        "the rendezvous knows no {room}",
        "check the number at the start of the code, or ask the sender for a new one",
    ),
    Reason.FULL: (
        RoomFull,
        "two sides are in {room} already",
        "somebody else may have typed this code: ask the sender for a new one",
    ),
    Reason.BURNT: (RoomBurnt, "a wrong code was typed in {room}: nobody can use it again", None),
    Reason.EXPIRED: (RoomGone, "{room} has expired", None),
    Reason.CLOSED: (RoomGone, "the other side has left {room}", None),
    Reason.ABANDONED: (RoomGone, "the other side has left {room}", None),
    **_ANYWHERE,
}
_INSIDE: Final[Mapping[Reason, _Refusal]] = {
    Reason.UNKNOWN: (
        RoomRefused,
        "the rendezvous has lost {room}: it was restarted, or this side was away for too long",
        _AGAIN,
    ),
    Reason.BURNT: (
        RoomBurnt,
        "the other side says that a wrong code was typed in {room}",
        None,
    ),
    Reason.EXPIRED: (CodeExpired, "{room} has expired", None),
    Reason.CLOSED: (PeerGone, "the other side has left {room}", None),
    Reason.ABANDONED: (PeerGone, "a side was away from {room} for too long", None),
    Reason.SUPERSEDED: (
        RendezvousUnreachable,
        "another connection took the place of this one",
        None,
    ),
    **_ANYWHERE,
}
_ON_A_CIRCUIT: Final[Mapping[Reason, _Refusal]] = {
    Reason.SPENT: (
        RelaySpent,
        "the rendezvous has carried as much for one of the two sides as it does in a day",
        _SPENT,
    ),
    Reason.GONE: (PeerGone, "the other side has left the rendezvous' relay", None),
    Reason.BUSY: (RoomRefused, "the rendezvous' relay is busy", _LATER),
    **{reason: _ANYWHERE[reason] for reason in (Reason.VERSION, Reason.MALFORMED)},
    Reason.OVERFLOW: (
        RendezvousMisbehaved,
        "the rendezvous says that more was sent than its window allows",
        None,
    ),
}


def at_the_door(ended: Ended, room: str) -> TransferError:
    """Why a side was not let into ``room``, which is named as in "room 7"."""
    return _error(_AT_THE_DOOR, ended, room)


def inside(ended: Ended, room: str) -> TransferError:
    """Why a conversation in ``room`` ended; `RendezvousUnreachable` is worth a reconnection."""
    return _error(_INSIDE, ended, room)


def on_a_circuit(ended: Ended) -> TransferError:
    """Why there is no circuit, or why it ended."""
    return _error(_ON_A_CIRCUIT, ended, "")


def _error(refusals: Mapping[Reason, _Refusal], ended: Ended, room: str) -> TransferError:
    if ended.reason not in refusals:
        return RendezvousMisbehaved(
            f"the rendezvous said {ended.reason.name} where it makes no sense"
        )
    error, message, hint = refusals[ended.reason]
    if hint is not None:
        hint = hint.format(seconds=ended.seconds, hours=ceil(ended.seconds / 3600))
    refusal = error(message.format(room=room, seconds=ended.seconds), hint)
    if isinstance(refusal, RendezvousBusy):
        refusal.seconds = ended.seconds
    return refusal
