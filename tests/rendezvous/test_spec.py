"""The specification says what the code does: its tables and its diagram are compared with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from p2pxfer.rendezvous import client, config, encoding, room
from p2pxfer.rendezvous import lan as mdns
from p2pxfer.rendezvous import messages as wire
from p2pxfer.rendezvous.server import app, carrier, circuits, rooms
from p2pxfer.rendezvous.server.limits import Limits
from p2pxfer.rendezvous.server.rooms import ENDINGS, TRANSITIONS, Input, State
from p2pxfer.session import lan

SPECIFICATION = Path(__file__).parents[2] / "docs" / "rendezvous-protocol.md"
TOKEN, NAME = bytes(range(16)), bytes(range(32, 64))
EVERY_MESSAGE = [
    wire.Allocate(TOKEN, 3600),
    wire.Join(TOKEN, 7),
    wire.Join(TOKEN, 4321, resume=True),
    wire.Open(TOKEN, NAME),
    wire.Send(1, b"hi"),
    wire.Acknowledge(3),
    wire.Burn(),
    wire.Close(),
    wire.Welcome(7, 3600, 0),
    wire.Mail(1, b"hi"),
    wire.Taken(3),
    wire.Crowded(1),
    wire.Ended(wire.Reason.LIMITED, 30),
    wire.Connect(NAME),
    wire.Forward(b"hi"),
    wire.Took(1000),
    wire.Connected(),
    wire.Frame(b"hi"),
    wire.Credit(1000),
]


@pytest.fixture(scope="module")
def text() -> str:
    return SPECIFICATION.read_text()


def diagram() -> str:
    """The transition table as a Mermaid state diagram; inputs that change nothing are left out."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.WAITING.value}: allocate, or open"]
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, what), after in TRANSITIONS.items():
        if after is not state or what is Input.THIRD:
            arrows.setdefault((state, after), []).append(what.value)
    for (state, after), inputs in arrows.items():
        lines.append(f"    {state.value} --> {after.value}: {', '.join(inputs)}")
    lines += [f"    {state.value} --> [*]: forgotten" for state in ENDINGS]
    return "\n".join(lines)


def vectors() -> str:
    """Every message, its fields as in the code, and its bytes."""
    rows = []
    for message in EVERY_MESSAGE:
        name = type(message).__name__
        hidden = {"token", "name", "version"}
        fields = [field for field in message.__struct_fields__ if field not in hidden]
        said = ", ".join(f"{field} {shown(getattr(message, field))}" for field in fields)
        rows.append(f"| {name} {said}".rstrip() + f" | `{encoding.encode(message).hex()}` |")
    return "\n".join(rows)


def shown(value: object) -> str:
    if isinstance(value, bytes):
        return f'"{value.decode()}"'
    if isinstance(value, wire.Reason):
        return value.name
    return str(int(value))  # type: ignore[call-overload]  # numbers and flags are left


def test_the_diagram_is_that_of_the_transition_table(text):
    """Drawn from the code; paste what this says when it fails."""
    assert f"```mermaid\n{diagram()}\n```" in text


def test_every_message_stands_there_with_its_bytes(text):
    """All types, in the bytes that the code writes."""
    assert vectors() in text
    assert {type(message) for message in EVERY_MESSAGE} == {
        *wire.ClientMessage.__args__,
        *wire.ServerMessage.__args__,
    }


def test_the_tables_name_every_type_and_reason(text):
    """With its number."""
    types = dict(re.findall(r"^\| ([0-9a-f]{2}) \| ([A-Z][a-z]+) \|", text, re.MULTILINE))
    assert types == {f"{type(m).TYPE:02x}": type(m).__name__ for m in EVERY_MESSAGE}
    reasons = dict(re.findall(r"^\| ([0-9a-f]{2}) \| ([A-Z]+) \|", text, re.MULTILINE))
    assert reasons == {f"{reason:02x}": reason.name for reason in wire.Reason}


def test_the_numbers_are_those_of_the_code(text):
    """A limit is defined once, and written down as it is."""
    limits = Limits()
    for said in (
        f"for its second side, 0 to {wire.MAX_LIFETIME:,}",
        f"`nameplate`: 1 to {wire.MAX_NAMEPLATE:,}",
        f"`number`: 1 to {wire.MAX_NUMBER:,}",
        f"`body`: 1 to {wire.MAX_BODY:,} bytes",
        f"at most {wire.WINDOW_MESSAGES} pieces and {wire.WINDOW_BYTES:,} bytes",
        f"within\n   {limits.first_message} seconds",
        f"at most {config.MAX_MOTD} characters",
        f"at most {config.MAX_CONFIG // 1024} KiB",
        f"unless the client asks for another time | {app.DEFAULT_LIFETIME:,.0f} |",
        f"and at most, unless the operator says otherwise | {app.MAX_CODE_LIFETIME:,.0f} |",
        f"lives on for, at least | {rooms.PAIRED_LIFETIME:,.0f} |",
        f"the only side may be away for | {rooms.ABSENCE_WAITING:,.0f} |",
        f"one of two sides may be away for | {rooms.ABSENCE_PAIRED:,.0f} |",
        f"says how it ended for | {rooms.MEMORY:,.0f} |",
        f"the server pings each | {app.HEARTBEAT:,.0f} |",
        f"the client pings each | {client.HEARTBEAT:,.0f} |",
        f"gives up without a connection after | {room.PATIENCE:,.0f} |",
        f"| {limits.allocations.burst} at once, then one each {limits.allocations.seconds} s |",
        f"| {limits.failed_joins.burst} at once, then one each {limits.failed_joins.seconds} s |",
        f"connections of one address | {limits.connections:,} |",
        f"connections in all | {limits.total_connections:,} |",
        f"without a WebSocket | {limits.idle:,}, then the oldest",
        f"rooms in all | {limits.rooms:,} |",
        f"mail kept in all | {limits.stored // 2**20} MiB |",
        f"mail that one address sends in a day | {limits.mailed // 2**20} MiB |",
        f"messages over one connection | {limits.messages:,} |",
        f"ends of circuits of one address | {limits.ends} |",
        f"ends of circuits in all | {limits.total_ends} |",
        f"at most {wire.CIRCUIT_WINDOW:,} bytes of frames",
        f"its bytes and {wire.FRAME_OVERHEAD} more",
        f"waits {circuits.ALONE:g} seconds for the other",
        f"goes for {circuits.IDLE:g} seconds",
        f"within {carrier.STUCK:g} seconds",
    ):
        assert said in text


def test_what_a_local_rendezvous_is_limited_to(text):
    """The numbers of the page are the numbers of the code."""
    section = text.partition("## On a local network")[2]
    for said in (
        f"| connections of one address | {lan.CONNECTIONS_EACH} |",
        f"| connections in all | {lan.CONNECTIONS} |",
        f"without a WebSocket | {lan.CONNECTIONS}, then the oldest",
        f"| rooms in all | {lan.ROOMS} |",
        f"| mail kept in all | {lan.STORED // 2**20} MiB |",
        f"| mail that one address sends in a day | {lan.MAILED // 2**20} MiB |",
        f"first QM and {mdns.SECOND} s later QU, and waits at least {mdns.SETTLE} s",
        f"{lan.SEARCH:g} s if there are none",
        "in {}–{}".format(*wire.LAN_NAMEPLATES),
    ):
        assert said in section
