"""The wire: every byte where the specification has it, and nothing else is taken."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.rendezvous import encoding
from p2pxfer.rendezvous import messages as wire

TOKEN = bytes(range(16))
NAME = bytes(range(32, 64))

VECTORS = [
    (wire.Allocate(TOKEN, 3600), f"01 01 {TOKEN.hex()} 00000e10"),
    (wire.Join(TOKEN, 7), f"02 01 {TOKEN.hex()} 00 00000007"),
    (wire.Join(TOKEN, 4321, resume=True), f"02 01 {TOKEN.hex()} 01 000010e1"),
    (wire.Open(TOKEN, NAME), f"03 01 {TOKEN.hex()} 00 {NAME.hex()} 00000000"),
    (wire.Send(1, b"hi"), "04 00000001 6869"),
    (wire.Acknowledge(3), "05 00000003"),
    (wire.Burn(), "06"),
    (wire.Close(), "07"),
    (wire.Welcome(7, 3600, 0), "81 00000007 00000e10 00000000"),
    (wire.Mail(1, b"hi"), "82 00000001 6869"),
    (wire.Taken(3), "83 00000003"),
    (wire.Crowded(1), "84 00000001"),
    (wire.Ended(wire.Reason.LIMITED, 30), "85 09 0000001e"),
    (wire.Connect(NAME), f"08 01 {NAME.hex()}"),
    (wire.Forward(b"hi"), "09 6869"),
    (wire.Took(1000), "0a 000003e8"),
    (wire.Connected(), "86"),
    (wire.Frame(b"hi"), "87 6869"),
    (wire.Credit(1000), "88 000003e8"),
]


def decode(data: bytes) -> wire.ClientMessage | wire.ServerMessage:
    return encoding.decode_server(data) if data[0] & 0x80 else encoding.decode_client(data)


@pytest.mark.parametrize(("message", "written"), VECTORS, ids=lambda value: type(value).__name__)
def test_every_message_has_these_bytes(message, written):
    """Another implementation may be written against these."""
    assert encoding.encode(message) == bytes.fromhex(written)
    assert decode(bytes.fromhex(written)) == message


@given(st.binary(max_size=80))
def test_what_parses_re_encodes_identically(data):
    """Garbage is refused by one exception, whoever it is said to come from."""
    for read in (encoding.decode_client, encoding.decode_server):
        try:
            message = read(data)
        except encoding.MalformedMessage:
            continue
        assert encoding.encode(message) == data


@given(st.sampled_from([bytes.fromhex(written) for _, written in VECTORS]), st.data())
def test_a_changed_byte_or_length_is_refused_or_another_message(data, draw):
    """Near misses of real messages, which random bytes seldom are."""
    at = draw.draw(st.integers(0, len(data) - 1))
    changed = bytearray(data)
    changed[at] ^= draw.draw(st.integers(1, 255))
    for near in (bytes(changed), data[:at], data + b"\0"):
        try:
            message = decode(near) if near else encoding.decode_client(near)
        except encoding.MalformedMessage:
            continue
        assert encoding.encode(message) == near


@pytest.mark.parametrize(
    "message",
    [
        wire.Allocate(b"short"),
        wire.Allocate(TOKEN, wire.MAX_LIFETIME + 1),
        wire.Join(TOKEN, 0),
        wire.Join(TOKEN, wire.MAX_NAMEPLATE + 1),
        wire.Join(TOKEN, 7, version=2),
        wire.Open(TOKEN, NAME[1:]),
        wire.Send(0, b"x"),
        wire.Send(wire.MAX_NUMBER + 1, b"x"),
        wire.Send(1, b""),
        wire.Mail(1, bytes(wire.MAX_BODY + 1)),
        wire.Acknowledge(-1),
        wire.Connect(NAME[1:]),
        wire.Connect(NAME, version=2),
        wire.Forward(b""),
        wire.Frame(bytes(wire.MAX_FRAME + 1)),
        wire.Took(0),
        wire.Credit(wire.CIRCUIT_WINDOW + 1),
    ],
    ids=repr,
)
def test_what_the_other_end_would_refuse_is_never_written(message):
    """A limit broken here is a fault here."""
    with pytest.raises(ValueError, match=r"."):
        encoding.encode(message)


def test_the_longest_body_fits():
    """The limit on a WebSocket message is the one on a body, plus the head."""
    data = encoding.encode(wire.Send(1, bytes(wire.MAX_BODY)))
    assert len(data) == wire.MAX_MESSAGE
    with pytest.raises(encoding.MalformedMessage):
        encoding.decode_client(data + b"\0")


@pytest.mark.parametrize("length", [2, 22, 300])
def test_another_version_is_told_apart_from_garbage(length):
    """A client of the future hears that it is too new, whatever its first message looks like."""
    with pytest.raises(encoding.UnsupportedVersion):
        encoding.decode_client(b"\x01\x02" + bytes(length - 2))


def test_secrets_stay_out_of_reprs():
    """A token or a body in a traceback would be one in a log."""
    for message, _ in VECTORS:
        assert repr(TOKEN)[2:-1] not in repr(message)
        assert "hi" not in repr(message)


def test_messages_do_not_import_what_speaks_http():
    """Commands that never connect stay fast."""
    names = (
        "messages, mailbox, flow, address, config, refusals, server.rooms, server.limits, "
        "server.circuits"
    )
    script = "import sys\n" + "".join(
        f"import p2pxfer.rendezvous.{name}\n" for name in names.split(", ")
    )
    script += "sys.exit(not {'aiohttp', 'h11'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
