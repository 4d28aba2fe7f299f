"""Stream resets: both ends of RFC 6525, a machine beside the association.

A stream of this end begins again only after everything on it has come: section 5.1.2 asks for no
more than TSNs, but what is asked earlier is answered "in progress", and older versions of Chromium
repeat that answer for ever. The far end's begin again only after every TSN it names has come
(section 5.2.2). One request is under way at a time; it is resent until it is answered, for a path
that is gone is found out elsewhere. WebRTC needs outgoing resets and no other kind (RFC 8831
section 6.7): the far end is denied the rest.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, Protocol

from msgspec import Struct

from p2pxfer.sctp.events import Event, ResetRefused, StreamsReset
from p2pxfer.sctp.parameters import Malformed, ParameterType, Tlv, Tlvs, stops
from p2pxfer.sctp.serial import TSN_MASK, newer

MAX_STREAMS: Final = 256
"""Streams of one request: half a packet of the smallest size."""

MAX_DEFERRED: Final = 8
"""Requests of the far end that may wait for TSNs at a time; an honest one has one."""

MAX_ANSWERS: Final = 16
"""Answers that wait to be sent; the oldest is dropped, since a request is resent."""

MAX_WAIT: Final = 8.0
"""Seconds between two sendings of a request, at most, however often it was doubled."""

_REPEATABLE: Final = 2  # a RE-CONFIG chunk bears two requests at most, section 3.1
_LOOKED_AT: Final = 64  # streams asked whether they are drained, a call

_OUTGOING = struct.Struct(">III")
_SEQUENCE = struct.Struct(">I")
_RESPONSE = struct.Struct(">II")
_RESPONSE_WITH_TSNS: Final = 16
_ADD: Final = 8


class Result(IntEnum):
    """What came of a request, RFC 6525 section 4.4."""

    NOTHING_TO_DO = 0
    PERFORMED = 1
    DENIED = 2
    WRONG_SSN = 3
    ALREADY_IN_PROGRESS = 4
    BAD_SEQUENCE_NUMBER = 5
    IN_PROGRESS = 6


class Streams(Protocol):
    """What the machine asks and tells the association; empty ids mean all streams."""

    def last_assigned(self) -> int:
        """The TSN handed out last, or the initial one less one."""

    def acknowledged(self) -> int:
        """The TSN up to which the far end has everything."""

    def cumulative(self) -> int:
        """The TSN up to which everything has come."""

    def drained(self, stream_id: int) -> bool:
        """Whether nothing waits on the stream without a TSN."""

    def hold(self, ids: Sequence[int]) -> None:
        """Give no TSN to what is sent on these from now on."""

    def release(self, ids: Sequence[int]) -> None:
        """Go on: the request was refused."""

    def reset_outgoing(self, ids: Sequence[int]) -> None:
        """Begin again with the first SSN, and go on."""

    def reset_incoming(self, ids: Sequence[int]) -> None:
        """Expect the first SSN next."""

    def tell(self, event: Event) -> None:
        """Pass this on to whoever runs the association."""


class _Asked(Struct):
    """A request of this end under way."""

    sequence: int
    ids: tuple[int, ...]
    parameter: Tlv
    due: float
    wait: float


class _Request(Struct, frozen=True):
    """A request of the far end; ``ids`` is None if it is of a kind that is denied."""

    sequence: int
    last_tsn: int
    ids: tuple[int, ...] | None


class _Response(Struct, frozen=True):
    sequence: int
    result: int


class Reconfiguration:
    """The resets of one association.

    Args:
        streams: the association.
        request: number of the first request of this end: its initial TSN (section 3.1).
        expected: number of the far end's first request: the far end's initial TSN.
        inbound: how many streams the far end may send on.
    """

    __slots__ = (
        "_answers",
        "_asked",
        "_deferred",
        "_ends",
        "_expected",
        "_inbound",
        "_results",
        "_sequence",
        "_streams",
        "_waiting",
        "_waiting_ids",
    )

    def __init__(
        self, streams: Streams, *, request: int, expected: int, inbound: int = 0x10000
    ) -> None:
        self._streams = streams
        self._sequence = request
        self._expected = expected
        self._inbound = inbound
        self._waiting: deque[int] = deque()
        self._waiting_ids: set[int] = set()
        self._ends: dict[int, int] = {}  # of drained streams: no TSN after this one is of them
        self._asked: _Asked | None = None
        self._deferred: deque[_Request] = deque()
        self._answers: dict[int, int] = {}
        self._results: dict[int, int] = {}

    def reset(self, ids: Sequence[int]) -> None:
        """Begin these streams again once all on them has come; asking twice changes nothing."""
        under_way = self._asked.ids if self._asked is not None else ()
        for stream_id in ids:
            if stream_id not in self._waiting_ids and stream_id not in under_way:
                self._waiting_ids.add(stream_id)
                self._waiting.append(stream_id)

    def receive(self, parameters: Tlvs) -> None:
        """Take the parameters of one RE-CONFIG chunk.

        Raises:
            Malformed: A parameter has the wrong length, or there are more than two.
        """
        for message in _read(parameters):
            if isinstance(message, _Response):
                self._answered(message)
            else:
                self._requested(message)

    def transmit(self, now: float, rto: float) -> Tlvs | None:
        """What one RE-CONFIG chunk that is due now bears; ask until there is none.

        Args:
            now: seconds.
            rto: the association's retransmission timeout, which is this one's too (section 5.1.1).
        """
        if self._deferred:
            self._perform_deferred()
        if self._answers:
            sequence = next(iter(self._answers))
            result = self._answers.pop(sequence)
            return ((ParameterType.RECONFIG_RESPONSE, _RESPONSE.pack(sequence, result)),)
        if self._asked is None and self._waiting:
            self._ask(now)
        asked = self._asked
        if asked is None or now < asked.due:
            return None
        asked.wait = rto if asked.wait == 0.0 else min(asked.wait * 2, MAX_WAIT)
        asked.due = now + asked.wait
        return (asked.parameter,)

    def deadline(self) -> float | None:
        """When a request is to be resent."""
        return self._asked.due if self._asked is not None else None

    # --- requests of this end ---

    def _ask(self, now: float) -> None:
        ids: list[int] = []
        acknowledged = self._streams.acknowledged()
        for _ in range(min(len(self._waiting), _LOOKED_AT)):
            stream_id = self._waiting.popleft()
            if stream_id not in self._ends and self._streams.drained(stream_id):
                self._streams.hold((stream_id,))
                self._ends[stream_id] = self._streams.last_assigned()
            end = self._ends.get(stream_id)
            if len(ids) < MAX_STREAMS and end is not None and not newer(end, acknowledged):
                self._waiting_ids.remove(stream_id)
                del self._ends[stream_id]
                ids.append(stream_id)
            else:
                self._waiting.append(stream_id)
        if not ids:
            return
        # not the last TSN of all (section 4.1): for those of other streams it would have to wait
        value = _OUTGOING.pack(
            self._sequence, (self._expected - 1) & TSN_MASK, acknowledged
        ) + b"".join(stream_id.to_bytes(2, "big") for stream_id in ids)
        parameter = (ParameterType.OUTGOING_RESET_REQUEST, value)
        self._asked = _Asked(self._sequence, tuple(ids), parameter, due=now, wait=0.0)
        self._sequence = (self._sequence + 1) & TSN_MASK

    def _answered(self, response: _Response) -> None:
        asked = self._asked
        if asked is None or response.sequence != asked.sequence:
            return  # of an earlier sending: it changes nothing
        if response.result == Result.IN_PROGRESS:
            asked.wait = 0.0  # the far end lives, and waits for TSNs: the timeout grows no more
            return
        self._asked = None
        if response.result in (Result.PERFORMED, Result.NOTHING_TO_DO):
            self._streams.reset_outgoing(asked.ids)
            self._streams.tell(StreamsReset(asked.ids, incoming=False))
            return
        self._streams.release(asked.ids)
        if response.result == Result.ALREADY_IN_PROGRESS:
            self.reset(asked.ids)
        else:
            self._streams.tell(ResetRefused(asked.ids))

    # --- requests of the far end ---

    def _requested(self, request: _Request) -> None:
        sequence = request.sequence
        if sequence == self._expected:
            self._expected = (sequence + 1) & TSN_MASK
            result = self._judge(request)
            self._results[sequence] = result
            while len(self._results) > _REPEATABLE + MAX_DEFERRED:
                del self._results[next(iter(self._results))]
        else:
            self._perform_deferred()
            result = self._results.get(sequence, Result.BAD_SEQUENCE_NUMBER)
        self._answer(sequence, result)

    def _judge(self, request: _Request) -> int:
        if request.ids is None:
            return Result.DENIED
        if any(stream_id >= self._inbound for stream_id in request.ids):
            return Result.WRONG_SSN
        if newer(request.last_tsn, self._streams.cumulative()):
            if len(self._deferred) >= MAX_DEFERRED:
                return Result.ALREADY_IN_PROGRESS
            self._deferred.append(request)
            return Result.IN_PROGRESS
        self._perform(request.ids)
        return Result.PERFORMED

    def _perform_deferred(self) -> None:
        """What had to wait for TSNs that have come; told without being asked again."""
        cumulative = self._streams.cumulative()
        while self._deferred and not newer(self._deferred[0].last_tsn, cumulative):
            request = self._deferred.popleft()
            assert request.ids is not None
            self._perform(request.ids)
            self._results[request.sequence] = Result.PERFORMED
            self._answer(request.sequence, Result.PERFORMED)

    def _perform(self, ids: tuple[int, ...]) -> None:
        self._streams.reset_incoming(ids)
        self._streams.tell(StreamsReset(ids, incoming=True))

    def _answer(self, sequence: int, result: int) -> None:
        self._answers.pop(sequence, None)
        self._answers[sequence] = result
        if len(self._answers) > MAX_ANSWERS:
            del self._answers[next(iter(self._answers))]


def _read(parameters: Tlvs) -> list[_Request | _Response]:
    """The parameters of a RE-CONFIG chunk up to one whose type ends the reading."""
    if not 0 < len(parameters) <= _REPEATABLE:
        raise Malformed("RE-CONFIG bears one parameter or two")
    messages: list[_Request | _Response] = []
    for kind, value in parameters:
        if kind == ParameterType.RECONFIG_RESPONSE:
            if len(value) not in (_RESPONSE.size, _RESPONSE_WITH_TSNS):
                raise Malformed("a re-configuration response has the wrong length")
            messages.append(_Response(*_RESPONSE.unpack_from(value)))
        elif kind == ParameterType.OUTGOING_RESET_REQUEST:
            messages.append(_read_outgoing(value))
        elif ParameterType.INCOMING_RESET_REQUEST <= kind <= ParameterType.ADD_INCOMING_REQUEST:
            messages.append(_Request(_read_denied(kind, value), 0, None))
        elif stops(kind):
            break
    return messages


def _read_outgoing(value: bytes) -> _Request:
    if len(value) < _OUTGOING.size or len(value) % 2:
        raise Malformed("an outgoing reset request has the wrong length")
    sequence, _response, last_tsn = _OUTGOING.unpack_from(value)
    ids = struct.unpack_from(f">{(len(value) - _OUTGOING.size) // 2}H", value, _OUTGOING.size)
    return _Request(sequence, last_tsn, tuple(dict.fromkeys(ids)))


def _read_denied(kind: int, value: bytes) -> int:
    """The number of a request of a kind that is denied."""
    if kind == ParameterType.INCOMING_RESET_REQUEST:
        fits = len(value) >= _SEQUENCE.size and len(value) % 2 == 0
    elif kind == ParameterType.TSN_RESET_REQUEST:
        fits = len(value) == _SEQUENCE.size
    else:
        fits = len(value) == _ADD
    if not fits:
        raise Malformed("a re-configuration request has the wrong length")
    sequence: int = _SEQUENCE.unpack_from(value)[0]
    return sequence
