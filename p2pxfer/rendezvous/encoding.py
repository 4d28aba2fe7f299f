"""Messages of the rendezvous protocol as bytes, and back.

One binary WebSocket message holds one message: a type byte, fixed fields in network order, and in
those with a body a body that takes the rest. What comes is checked field by field; what leaves,
too. No state, no network. ``docs/rendezvous-protocol.md`` has the same tables.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from msgspec import Struct

from p2pxfer.rendezvous.messages import (
    CIRCUIT_WINDOW,
    MAX_BODY,
    MAX_FRAME,
    MAX_LIFETIME,
    MAX_NAMEPLATE,
    MAX_NUMBER,
    NAME_SIZE,
    TOKEN_SIZE,
    VERSION,
    Acknowledge,
    Allocate,
    Burn,
    ClientMessage,
    Close,
    Connect,
    Connected,
    Credit,
    Crowded,
    Ended,
    Forward,
    Frame,
    Join,
    Mail,
    Open,
    Reason,
    Send,
    ServerMessage,
    Taken,
    Took,
    Welcome,
)

_WITH_BODY: Final = (Send, Mail, Forward, Frame)
_MessageT = TypeVar("_MessageT", bound=ClientMessage | ServerMessage)


class MalformedMessage(ValueError):
    """The bytes are no message of this protocol."""


class UnsupportedVersion(MalformedMessage):
    """A first message of a protocol version that is not spoken here."""


class _Layout(Struct, frozen=True):
    fixed: struct.Struct
    names: tuple[str, ...]
    body: bool = False


_LAYOUTS: Final[dict[type[object], _Layout]] = {
    Allocate: _Layout(struct.Struct(">B16sI"), ("version", "token", "lifetime")),
    Join: _Layout(struct.Struct(">B16s?I"), ("version", "token", "resume", "nameplate")),
    Open: _Layout(struct.Struct(">B16s?32sI"), ("version", "token", "resume", "name", "lifetime")),
    Send: _Layout(struct.Struct(">I"), ("number",), body=True),
    Acknowledge: _Layout(struct.Struct(">I"), ("through",)),
    Burn: _Layout(struct.Struct(">"), ()),
    Close: _Layout(struct.Struct(">"), ()),
    Connect: _Layout(struct.Struct(">B32s"), ("version", "name")),
    Forward: _Layout(struct.Struct(">"), (), body=True),
    Took: _Layout(struct.Struct(">I"), ("size",)),
    Welcome: _Layout(struct.Struct(">III"), ("nameplate", "expires", "stored")),
    Mail: _Layout(struct.Struct(">I"), ("number",), body=True),
    Taken: _Layout(struct.Struct(">I"), ("through",)),
    Crowded: _Layout(struct.Struct(">I"), ("count",)),
    Ended: _Layout(struct.Struct(">BI"), ("reason", "seconds")),
    Connected: _Layout(struct.Struct(">"), ()),
    Frame: _Layout(struct.Struct(">"), (), body=True),
    Credit: _Layout(struct.Struct(">I"), ("size",)),
}
_FROM_CLIENT: Final[dict[int, type[ClientMessage]]] = {
    kind.TYPE: kind
    for kind in (Allocate, Join, Open, Send, Acknowledge, Burn, Close, Connect, Forward, Took)
}
_FROM_SERVER: Final[dict[int, type[ServerMessage]]] = {
    kind.TYPE: kind for kind in (Welcome, Mail, Taken, Crowded, Ended, Connected, Frame, Credit)
}
_FIRST: Final = (Allocate.TYPE, Join.TYPE, Open.TYPE, Connect.TYPE)
# Each field's smallest and largest value; a field that is not named here may have any.
_RANGES: Final[dict[str, tuple[int, int]]] = {
    "version": (VERSION, VERSION),
    "nameplate": (0, MAX_NAMEPLATE),
    "lifetime": (0, MAX_LIFETIME),
    "number": (1, MAX_NUMBER),
    "through": (0, MAX_NUMBER),
    "stored": (0, MAX_NUMBER),
    "size": (1, CIRCUIT_WINDOW),
}


def encode(message: ClientMessage | ServerMessage) -> bytes:
    """The bytes of ``message``.

    Raises:
        ValueError: a field is out of its range; nothing that `decode_client` or
            `decode_server` would refuse is ever made.
    """
    layout = _LAYOUTS[type(message)]
    values = [getattr(message, name) for name in layout.names]
    _check(message)
    head = bytes((message.TYPE,)) + layout.fixed.pack(*values)
    return head + message.body if isinstance(message, _WITH_BODY) else head


def decode_client(data: bytes) -> ClientMessage:
    """The message that a client sent as ``data``.

    Raises:
        UnsupportedVersion: a first message of another version.
        MalformedMessage: anything else that is no message of a client.
    """
    if len(data) > 1 and data[0] in _FIRST and data[1] != VERSION:
        raise UnsupportedVersion(f"version {data[1]} is not spoken here")
    return _decode(data, _FROM_CLIENT)


def decode_server(data: bytes) -> ServerMessage:
    """The message that a rendezvous sent as ``data``.

    Raises:
        MalformedMessage: it is no message of a rendezvous.
    """
    return _decode(data, _FROM_SERVER)


def _decode(data: bytes, kinds: Mapping[int, type[_MessageT]]) -> _MessageT:
    kind = kinds.get(data[0]) if data else None
    if kind is None:
        raise MalformedMessage("unknown type of message" if data else "empty message")
    layout = _LAYOUTS[kind]
    end = 1 + layout.fixed.size
    if len(data) < end or (len(data) > end and not layout.body):
        raise MalformedMessage(f"{len(data)} bytes are no {kind.__name__}")
    fields: dict[str, Any] = dict(zip(layout.names, layout.fixed.unpack(data[1:end]), strict=True))
    if "resume" in fields and data[1 + 1 + TOKEN_SIZE] > 1:
        raise MalformedMessage("a flag is 0 or 1")
    if "reason" in fields:
        fields["reason"] = _reason(fields["reason"])
    if layout.body:
        fields["body"] = data[end:]
    message = kind(**fields)
    _check(message)
    return message


def _reason(value: int) -> Reason:
    try:
        return Reason(value)
    except ValueError:
        raise MalformedMessage(f"unknown reason {value}") from None


def _check(message: ClientMessage | ServerMessage) -> None:
    for name in _LAYOUTS[type(message)].names:
        value = getattr(message, name)
        low, high = _RANGES.get(name, (0, 0xFFFFFFFF))
        if isinstance(value, int) and not low <= value <= high:
            raise MalformedMessage(f"{name} is out of range: {value}")
    match message:
        case Join(nameplate=0):
            raise MalformedMessage("a nameplate starts at 1")
        case Allocate(token=token) | Join(token=token) | Open(token=token):
            if len(token) != TOKEN_SIZE:
                raise MalformedMessage("a token has another length")
            if isinstance(message, Open) and len(message.name) != NAME_SIZE:
                raise MalformedMessage("a room's name has another length")
        case Connect(name=named) if len(named) != NAME_SIZE:
            raise MalformedMessage("a circuit's name has another length")
        case Send(body=body) | Mail(body=body):
            if not 1 <= len(body) <= MAX_BODY:
                raise MalformedMessage(f"a body of {len(body)} bytes")
        case Forward(body=body) | Frame(body=body):
            if not 1 <= len(body) <= MAX_FRAME:
                raise MalformedMessage(f"a body of {len(body)} bytes")
        case _:
            pass
