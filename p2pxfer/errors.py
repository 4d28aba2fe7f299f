"""The one tree of errors: what happened, in whose hands the mend is, what to type next.

    TransferError                        1  unexpected        (ours)
    ├── UsageError                       2  usage             (user)
    │   └── InvalidCode                  2
    ├── PairingError                     3  wrong code        (user)
    │   ├── WrongCode                    3
    │   └── VerificationRefused          3
    ├── PeerGone                         4  retryable         (peer)
    │   ├── CodeExpired                  4
    │   ├── PeerVanished                 4
    │   ├── PeerFailed                   4  no try will do before it is mended there
    │   └── StreamLost                   4
    ├── ConnectionFailed                 5  retryable         (network)
    ├── RendezvousError                  6  retryable         (rendezvous)
    │   ├── RendezvousUnreachable        6
    │   ├── RelaySpent               6  it carries no more for now
    │   ├── RoomRefused                  6  unknown nameplate, expired, lost, over a limit
    │   │   ├── RendezvousBusy           6  another try may do
    │   │   ├── VersionRefused           6  no try will
    │   │   ├── RoomGone                 6  nor will one here
    │   │   ├── RoomFull                 6
    │   │   └── RoomBurnt                6
    │   └── RendezvousMisbehaved         6
    ├── IntegrityError                   7                    (peer)
    │   └── PeerMisbehaved               7  broke the protocol
    ├── LocalFileError                   8                    (user)
    │   ├── NoSpace                      8
    │   ├── DeviceMissing                8
    │   ├── DeviceBusy                   8
    │   ├── DeviceForbidden              8
    │   └── UnsafeName                   8  a name that must not reach the disk
    ├── PartlyDone                       9                    (user)
    ├── Declined                        10                    (peer)
    └── Interrupted                    130                    (user)

The exit code sits on the class, so that a script may rely on it. This module knows nothing of
terminals, sockets or files. Messages may quote a peer's text: whoever shows one escapes it.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import ClassVar


class Fault(Enum):
    """In whose hands the mend is."""

    OURS = "p2pxfer"
    USER = "you"
    PEER = "the other side"
    NETWORK = "the network"
    RENDEZVOUS = "the rendezvous"


class ExitCode(IntEnum):
    """What the process returns; the README and ``--help`` list the same numbers."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    WRONG_CODE = 3
    PEER_GONE = 4
    NO_CONNECTION = 5
    RENDEZVOUS = 6
    INTEGRITY = 7
    LOCAL_FILES = 8
    PARTLY_DONE = 9
    DECLINED = 10
    INTERRUPTED = 130


class TransferError(Exception):
    """Root of the tree. ``message`` says what happened, ``hint`` what to type or do next."""

    exit_code: ClassVar[ExitCode] = ExitCode.UNEXPECTED
    fault: ClassVar[Fault] = Fault.OURS
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = "please report this, with the output of --verbose"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint

    @property
    def name(self) -> str:
        """The class's name, as the ``error`` event of ``--json`` carries it."""
        return type(self).__name__


class UsageError(TransferError):
    """The command or call does not make sense as given."""

    exit_code = ExitCode.USAGE
    fault = Fault.USER
    default_hint = "see p2pxfer --help"


class InvalidCode(UsageError):
    """A code that can't be one: no nameplate, unknown word, too little entropy."""

    default_hint = "a code looks like 7-orbit-lamp: a number and words, as the sender sees it"


class PairingError(TransferError):
    """The two sides did not come to share a key."""

    exit_code = ExitCode.WRONG_CODE
    fault = Fault.USER
    default_hint = "ask the sender for a new code and type it again"


class WrongCode(PairingError):
    """Key confirmation failed: the words differ, or somebody in the middle guessed."""


class VerificationRefused(PairingError):
    """A human said that the words shown on the two sides differ."""

    default_hint = "somebody may sit in between: try again over another network or rendezvous"


class PeerGone(TransferError):
    """The peer never came or went away."""

    exit_code = ExitCode.PEER_GONE
    fault = Fault.PEER
    retryable = True
    default_hint = "run the same command again on both sides"


class CodeExpired(PeerGone):
    """Nobody used the code while it lived."""

    default_hint = "run the same command again; --wait makes a code live longer"


class PeerVanished(PeerGone):
    """The peer proved that it knows the code, and was never heard again."""


class PeerFailed(PeerGone):
    """The peer ended it for a reason of its own, such as a full disk, which it has been told."""

    retryable = False
    default_hint = "see what is said there, and mend it; then run the same command on both sides"


class StreamLost(PeerGone):
    """A stream's receiver was started again, and what it had can't be read a second time."""

    default_hint = "run both commands again"


class ConnectionFailed(TransferError):
    """Both sides are there, but no path between them was found."""

    exit_code = ExitCode.NO_CONNECTION
    fault = Fault.NETWORK
    retryable = True
    default_hint = (
        "a firewall may block UDP: give a TURN server with --ice-server turn:…\n"
        "or meet at a rendezvous that carries the bytes itself: serve --relay-bytes"
    )


class RendezvousError(TransferError):
    """The rendezvous could not do its part."""

    exit_code = ExitCode.RENDEZVOUS
    fault = Fault.RENDEZVOUS
    retryable = True
    default_hint = "check the address given with --rendezvous or P2PXFER_RENDEZVOUS"


class RendezvousUnreachable(RendezvousError):
    """No answer from the rendezvous."""

    default_hint = (
        "check the address given with --rendezvous or P2PXFER_RENDEZVOUS\n"
        "on one network none is needed: type --lan instead; p2pxfer serve runs one"
    )


class RelaySpent(RendezvousError):
    """The rendezvous has carried as much of a stream as it may; what has arrived is kept."""

    default_hint = "run the same command again on both sides later: it goes on from there"


class RoomRefused(RendezvousError):
    """The rendezvous refused the room: unknown, full, burnt, expired, or over a limit."""

    default_hint = "ask the sender for a new code"


class RendezvousBusy(RoomRefused):
    """The rendezvous takes nothing more now, or not from this address.

    Attributes:
        seconds: until it may again; 0 where it does not say.
    """

    seconds: int = 0


class VersionRefused(RoomRefused):
    """The rendezvous speaks another version of its protocol."""

    retryable = False


class RoomGone(RoomRefused):
    """The room was never there, or is over: its code will not work any more."""

    retryable = False


class RoomFull(RoomRefused):
    """Two sides are in the room already; they have been told that a third came."""


class RoomBurnt(RoomRefused):
    """A wrong guess was made in the room, and nobody can use it again."""


class RendezvousMisbehaved(RendezvousError):
    """The rendezvous broke its protocol, or changed what passed through it."""

    retryable = False
    default_hint = "do not use this rendezvous; another is given with --rendezvous"


class IntegrityError(TransferError):
    """Bytes arrived that are not the bytes that were sent."""

    exit_code = ExitCode.INTEGRITY
    fault = Fault.PEER
    default_hint = "nothing wrong was kept; run the same command again on both sides"


class PeerMisbehaved(IntegrityError):
    """The peer broke the transfer protocol; nothing more is taken from it."""

    default_hint = "both sides should run the same version: see p2pxfer --version"


class LocalFileError(TransferError):
    """A file on this machine is missing, forbidden, in the way, or can't be written."""

    exit_code = ExitCode.LOCAL_FILES
    fault = Fault.USER
    default_hint = "check the path and its permissions"


class NoSpace(LocalFileError):
    """The disk lacks bytes or inodes."""

    default_hint = "make room, or choose another place with --output"


class UnsafeName(LocalFileError):
    """A name that must not reach this disk."""

    default_hint = "rename it on the sending side"


class DeviceMissing(LocalFileError):
    """No such camera or microphone, or it was taken away."""

    default_hint = "to see what is there, type: p2pxfer camera list"


class DeviceBusy(LocalFileError):
    """Another program has the camera or microphone."""

    default_hint = "close the other program, or choose another device with --device"


class DeviceForbidden(LocalFileError):
    """This user, or this program, may not use the camera or microphone."""

    default_hint = (
        "on Linux, type: sudo usermod -aG video,audio $USER, and log in again\n"
        "on macOS and Windows, allow it for the terminal in the privacy settings"
    )


class PartlyDone(TransferError):
    """The transfer ended, but some entries were skipped or failed; each was reported."""

    exit_code = ExitCode.PARTLY_DONE
    fault = Fault.USER
    default_hint = "the lines above name what is missing, and why"


class Declined(TransferError):
    """The receiver said no."""

    exit_code = ExitCode.DECLINED
    fault = Fault.PEER
    default_hint = "nothing was written on the other side"


class Interrupted(TransferError):
    """Ctrl-C, or a request to end."""

    exit_code = ExitCode.INTERRUPTED
    fault = Fault.USER
    retryable = True
    default_hint = "run the same command again to go on"
