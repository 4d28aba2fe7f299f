"""Dialogue: what sender and receiver share: greeting, keeping alive, giving up, the order of deeds.

Each machine brings a table of which message may come in which phase, and who handles it; any other
is the peer's misbehaviour. No files, no payload, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, ClassVar, Final, Generic, TypeVar

from p2pxfer.errors import (
    IntegrityError,
    PeerFailed,
    PeerGone,
    PeerMisbehaved,
    StreamLost,
    TransferError,
)
from p2pxfer.progress import Resumed, Stalled
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.actions import Common, Lost, Send, SendBlock
from p2pxfer.transfer.liveness import Liveness, Pulse

Act = TypeVar("Act")


class Phase(IntEnum):
    """Where a transfer is; each machine passes through them in this order."""

    GREETING = 0
    GREETED = 1  # a receiver without an offer
    OFFERED = 2
    MOVING = 3
    CLOSING = 4  # roots are compared
    OVER = 5


Handler = Callable[[Any, Any], None]
Rules = Mapping[type, tuple[tuple[Phase, ...], Handler]]

ANY: Final = (Phase.GREETING, Phase.GREETED, Phase.OFFERED, Phase.MOVING, Phase.CLOSING)
ABORTS: Final[Mapping[m.AbortCode, tuple[type[TransferError], str]]] = {
    m.AbortCode.INTERRUPTED: (PeerGone, "the other side was interrupted"),
    m.AbortCode.MISBEHAVED: (PeerMisbehaved, "the other side does not understand this one"),
    m.AbortCode.INTEGRITY: (IntegrityError, "the other side got bytes that are not those sent"),
    m.AbortCode.LOCAL_FILES: (PeerFailed, "the other side could not go on with its files"),
    m.AbortCode.UNEXPECTED: (PeerFailed, "the other side failed"),
    m.AbortCode.STREAM_LOST: (StreamLost, "it is a stream, which the sender can't read twice"),
}
_ALIVE: Final = (m.Ping, m.Pong)  # neither is progress
_PULSES: Final = (Stalled, Resumed, Lost)  # nor are these


class Dialogue(Generic[Act]):
    """Half of a machine; `Sender` and `Receiver` are the other halves.

    Attributes:
        phase: where the transfer is.
        capabilities: bits that both sides have, once greeted.
        liveness: tell it ``moved(now)`` when the channel took bytes; read ``rtt`` and ``pulse``.
        doing: what the session is at when the machine can't know (a prompt, a full channel).
    """

    rules: ClassVar[Rules]  # `common` and the machine's own

    def __init__(self, now: float) -> None:
        self.phase = Phase.GREETING
        self.capabilities = 0
        self.liveness = Liveness(now)
        self.doing: m.Activity | None = None
        self._now = now
        self._echo: int | None = None
        self._size_moved = 0
        self._queue: deque[Act | Common] = deque()
        self._queue.append(Send(m.Hello(m.OLDEST_VERSION, m.VERSION, m.CAPABILITIES)))

    @property
    def activity(self) -> m.Activity:
        """What this side is at."""
        return self._activity() if self.doing is None else self.doing

    def receive(self, message: m.Message, now: float) -> None:
        """Take one message of the other side; after the end they are passed over.

        Raises:
            PeerMisbehaved: it may not come now, or says what can't be.
            IntegrityError: the two sides' views of the transfer differ.
            Declined: the receiver said no.
            PeerGone: the other side gave up.
        """
        phase = self.phase
        if phase is Phase.OVER:
            return
        kind = type(message)
        rule = self.rules.get(kind)
        if rule is None or phase not in rule[0]:
            raise PeerMisbehaved(f"the other side sent {kind.__name__} while {phase.name.lower()}")
        self._now = now
        self.liveness.heard(now)
        if kind not in _ALIVE:
            self.liveness.moved(now)
        rule[1](self, message)
        if self.liveness.pulse is not Pulse.WELL:
            self.handle_timer(now)

    def next_action(self, now: float) -> Act | Common | None:
        """What to do next, in order; None: wait for a message, an answer or the deadline."""
        action = self._take() or self._next_sign(now)
        if action is None:
            return None
        if isinstance(action, Send):
            self.liveness.sent(now)
            if type(action.message) not in _ALIVE:
                self.liveness.moved(now)
        elif not isinstance(action, _PULSES):
            self.liveness.moved(now)
            if isinstance(action, SendBlock):
                self.liveness.sent(now)
        return action

    def _next_sign(self, now: float) -> Send | None:
        """The sign of life that is due."""
        if self._echo is not None:
            pong, self._echo = m.Pong(self._echo), None
            return Send(pong)
        if self.phase is not Phase.OVER and self.liveness.ping_due(now):
            return Send(m.Ping(self.liveness.ping_time(now), self.activity, self._size_moved))
        return None

    def deadline(self) -> float | None:
        """When `handle_timer` is due; None: never again."""
        return None if self.phase is Phase.OVER else self.liveness.deadline(watched=self._watched())

    def handle_timer(self, now: float) -> None:
        """The deadline passed (earlier is harmless): what follows comes from `next_action`."""
        if self.phase is Phase.OVER:
            return
        event = self.liveness.handle_timer(now, own=self.activity, watched=self._watched())
        if event is not None:
            self._queue.append(event)

    def reconnected(self, now: float) -> None:
        """A new channel carries the dialogue on: silence counts from now, and none was Lost."""
        self._queue = deque(action for action in self._queue if not isinstance(action, Lost))
        if self.liveness.pulse is not Pulse.WELL:
            self._queue.append(Resumed())
        self.liveness = Liveness(now)

    def abort(self, code: m.AbortCode, text: str) -> None:
        """End here: all that follows is one `Send` that tells the other side."""
        if self.phase is not Phase.OVER:
            self.phase = Phase.OVER
            self._queue.clear()
            self._echo = None
            self._queue.append(Send(m.Abort(code, text)))

    def _watched(self) -> bool:
        """Whether the transfer should be moving: nobody is asked anything here."""
        waiting = self.phase is Phase.GREETING or self.phase is Phase.OFFERED
        return not waiting and self.activity is not m.Activity.PROMPTING

    def _take(self) -> Act | Common | None:
        """The next action but for pongs."""
        raise NotImplementedError

    def _activity(self) -> m.Activity:
        """What this side is at, as far as the machine knows."""
        raise NotImplementedError

    def _greeted(self) -> None:
        """The other side's hello fits."""
        raise NotImplementedError

    def _on_hello(self, hello: m.Hello) -> None:
        if not hello.newest >= m.OLDEST_VERSION or not hello.oldest <= m.VERSION:
            raise PeerMisbehaved(
                f"the other side speaks versions {hello.oldest} to {hello.newest} of the transfer"
                f" protocol, this one {m.OLDEST_VERSION} to {m.VERSION}"
            )
        self.capabilities = m.CAPABILITIES & hello.capabilities
        self._greeted()

    def _on_abort(self, abort: m.Abort) -> None:
        self.phase = Phase.OVER
        self._queue.clear()
        error, text = ABORTS[abort.code]
        raise error(f"{text}: {abort.text}" if abort.text else text)

    def _on_ping(self, ping: m.Ping) -> None:
        self._echo = ping.time
        self.liveness.pinged(ping.activity, ping.size, self._now)

    def _on_pong(self, pong: m.Pong) -> None:
        self.liveness.ponged(pong.time, self._now)

    common: ClassVar[Rules] = {
        m.Hello: ((Phase.GREETING,), _on_hello),
        m.Abort: (ANY, _on_abort),
        m.Ping: (ANY, _on_ping),
        m.Pong: (ANY, _on_pong),
    }
