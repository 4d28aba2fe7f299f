"""One connection: two ends that meet, ends that don't, and peers that mean harm."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import sys
from base64 import b64decode, b64encode

import pytest

from p2pxfer.errors import ConnectionFailed, PeerGone, PeerMisbehaved
from p2pxfer.peer import ice
from p2pxfer.peer.connection import PeerConnection
from p2pxfer.peer.signals import MAX_BODY
from tests.peer.conftest import PATIENCE

LAYERS = pytest.mark.usefixtures("layer")
ALONE = {"ice_servers": (), "relay_only": False, "loopback": True}

OTHER_END = """
import asyncio, base64, sys
from p2pxfer.peer.connection import PeerConnection

async def main():
    def say(body):
        sys.stdout.buffer.write(base64.b64encode(body) + b"\\n")
        sys.stdout.buffer.flush()
    end = PeerConnection(
        offerer=False, ice_servers=(), relay_only=False, signal=say, loopback=True)
    await end.start()
    loop = asyncio.get_running_loop()
    opening = asyncio.create_task(end.open(20))
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        await end.receive(base64.b64decode(line))

asyncio.run(main())
"""


@LAYERS
async def test_two_ends_meet(joined):
    """Both know the path, its kind and its round trip, and say what happened."""
    async with joined() as pair:
        await pair.open()
        here, there = pair.a.path(), pair.b.path()
        assert (here.kind, here.local, here.remote) == ("direct", there.remote, there.local)
        assert here.local.startswith(("127.0.0.1:", "[::1]:"))
        assert here.rtt_ms is not None
        assert 0 < here.rtt_ms < 500
    assert pair.states["a"] == pair.states["b"] == ["connecting", "connected", "closed"]


async def test_host_addresses_go_out_with_the_description(joined):
    """Without servers to ask, two bodies from each side are all."""
    async with joined() as pair:
        await pair.open()
        for end, kind in (("a", "offer"), ("b", "answer")):
            description, ended = pair.said(end)
            assert description["type"] == kind
            assert "typ host" in description["sdp"]
            assert ended["kind"] == "end"


@LAYERS
@pytest.mark.parametrize("offerer", [True, False])
async def test_plain_aiortc_is_a_peer(joined_to_stock, offerer):
    """Either side may be any WebRTC implementation; bytes cross both ways."""
    async with joined_to_stock(offerer=offerer) as (ours, stock):
        await (stock.answer() if offerer else stock.offer())
        channel = await ours.open(PATIENCE)
        theirs = await stock.opened
        back: asyncio.Queue[bytes] = asyncio.Queue()
        channel.on_message(back.put_nowait)
        await channel.send(b"x" * channel.max_message)
        assert await stock.messages.get() == b"x" * channel.max_message
        theirs.send(b"y")
        assert await back.get() == b"y"
        await ours.close()
        await stock.closed.wait()


@LAYERS
async def test_a_text_message_is_no_part_of_the_protocol(joined_to_stock):
    """The channel ends, and whoever uses it learns why."""
    async with joined_to_stock(offerer=True) as (ours, stock):
        await stock.answer()
        channel = await ours.open(PATIENCE)
        over = asyncio.Event()
        channel.on_closed(over.set)
        (await stock.opened).send("text")
        await over.wait()
        with pytest.raises(PeerMisbehaved):
            await channel.send(b"x")


@LAYERS
@pytest.mark.parametrize("options", [{"ordered": False}, {"maxRetransmits": 0}])
async def test_a_channel_that_may_lose_or_reorder_is_refused(joined_to_stock, options):
    """The transfer protocol relies on order; a peer that opens anything else is refused."""
    async with joined_to_stock(offerer=False) as (ours, stock):
        await stock.offer(**options)
        with pytest.raises(PeerMisbehaved):
            await ours.open(PATIENCE)


@LAYERS
async def test_a_second_channel_ends_the_first(joined_to_stock):
    """There is one channel; a peer that opens more wants something else."""
    async with joined_to_stock(offerer=False) as (ours, stock):
        await stock.offer()
        channel = await ours.open(PATIENCE)
        over = asyncio.Event()
        channel.on_closed(over.set)
        stock.rtc.remove_all_listeners()
        stock.rtc.createDataChannel("another")
        await over.wait()


@LAYERS
async def test_malformed_packets_from_a_peer_end_quietly(joined_to_stock):
    """An opening message that aiortc chokes on closes the channel, and no task's error is lost."""
    async with joined_to_stock(offerer=False) as (ours, stock):
        await stock.offer()
        channel = await ours.open(PATIENCE)
        over = asyncio.Event()
        channel.on_closed(over.set)
        theirs = await stock.opened
        await stock.rtc.sctp._send(theirs.id, 50, bytes([3]) + bytes(20))  # DCEP, a second time
        await over.wait()


@LAYERS
@pytest.mark.parametrize("end", ["a", "b"])
async def test_without_the_private_names_aiortc_gathers_itself(joined, monkeypatch, end):
    """One or the other end falls back; the connection is made all the same."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_families: ["127.0.0.1"])
    attach = ice.attach

    def attach_unless_chosen(peer, *arguments, **options):
        with monkeypatch.context() as patched:
            if (peer.signalingState == "stable") == (end == "a"):
                patched.setattr(ice, "_CONNECTION_NAMES", ("no_such_name",))
            return attach(peer, *arguments, **options)

    monkeypatch.setattr("p2pxfer.peer.connection.ice.attach", attach_unless_chosen)
    async with joined() as pair:
        near, far = await pair.open()
        arrived: list[bytes] = []
        far.on_message(arrived.append)
        await near.send(b"x" * 60_000)
        await near.drain()
        await far.send(b"y")
        await far.drain()
        fallen = pair.a if end == "a" else pair.b
        assert fallen._agent is None
        assert fallen.path().kind == "direct"


def swap_fingerprint(body: bytes) -> bytes:
    return re.sub(rb"(sha-\d+) [0-9A-F]{2}", rb"\1 00", body)


@pytest.mark.parametrize("victim", ["a", "b"])
async def test_another_certificate_is_not_accepted(joined, victim):
    """Whoever sits in between without the sealed fingerprint gets nowhere."""

    def tap(end: str, body: bytes) -> list[bytes]:
        return [body if end == victim else swap_fingerprint(body)]

    async with joined(tap=tap) as pair:
        opening = pair.a if victim == "a" else pair.b
        with pytest.raises(ConnectionFailed, match="certificate"):
            await opening.open(PATIENCE)
        assert pair.states[victim] == ["connecting", "failed"]


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body[1:],
        lambda body: body + b" " * MAX_BODY,
        lambda body: body.replace(b"webrtc-datachannel", b"5000"),
        lambda body: body.replace(b"m=application", b"m=video 9 RTP 0\\r\\nm=application"),
        lambda body: body.replace(b'"answer"', b'"offer"'),
        lambda body: body.replace(b"setup:active", b"setup:actpass"),
        lambda body: body.replace(b"a=mid:0", b"a=mid:9"),
    ],
)
async def test_a_hostile_answer_ends_at_once(joined, change):
    """It is refused where it is read, and `open` doesn't wait for its time to run out."""

    def tap(end: str, body: bytes) -> list[bytes]:
        return [change(body) if end == "b" and b'"sdp"' in body else body]

    async with joined(tap=tap) as pair:
        with pytest.raises(PeerMisbehaved):
            await pair.a.open(PATIENCE)
        assert pair.refusals


async def test_descriptions_out_of_turn_are_refused(joined):
    """An answer before the offer, an offer to the offerer, a second answer."""
    async with joined() as pair:
        await pair.open()
        offer, answer = pair.sent["a"][0], pair.sent["b"][0]
        for end, body in ((pair.a, offer), (pair.a, answer), (pair.b, offer), (pair.b, answer)):
            with pytest.raises(PeerMisbehaved):
                await end.receive(body)


async def test_a_flood_of_candidates_is_refused(joined):
    """So many addresses are an attack: nobody makes this end knock on thousands of doors."""
    numbers = itertools.count()

    def tap(end: str, body: bytes) -> list[bytes]:
        if end == "a":
            return [body]
        n = next(numbers)
        text = f"candidate:1 1 udp 1 192.0.2.{n % 250 + 1} {1000 + n} typ host"
        return [json.dumps({"v": 1, "kind": "candidate", "candidate": text}).encode()] * 200

    async with joined(tap=tap) as pair:
        with pytest.raises(PeerMisbehaved):
            await pair.a.open(PATIENCE)


async def test_names_and_dead_addresses_hold_nobody_up(joined):
    """A name that nobody knows and an address where nobody is cost no time."""
    name = "candidate:9 1 udp 2130706431 0a1b2c3d-0000-4000-8000-000000000000.local 9 typ host"
    dead = "candidate:8 1 udp 2130706431 127.0.0.9 9 typ host"

    def tap(_end: str, body: bytes) -> list[bytes]:
        if b'"sdp"' not in body:
            return [body]
        fields = json.loads(body)
        fields["sdp"] += f"a={name}\r\na={dead}\r\n"
        return [json.dumps(fields).encode()]

    async with joined(tap=tap) as pair:
        async with asyncio.timeout(5):
            await pair.open()


async def test_no_answer_says_what_was_tried(joined):
    """The error names this side's addresses and that nothing was heard."""

    def tap(_end: str, _body: bytes) -> list[bytes]:
        return []

    async with joined(tap=tap) as pair:
        with pytest.raises(ConnectionFailed, match="here local addresses; nothing heard"):
            await pair.a.open(0.05)


async def test_no_address_that_works_fails_before_the_time_is_up(joined):
    """Both sides have told all, nothing is left to try: waiting longer would be pointless."""

    def tap(_end: str, body: bytes) -> list[bytes]:
        return [re.sub(rb"a=candidate[^\\]*\\r\\n", b"", body)]

    async with joined(tap=tap) as pair:
        with pytest.raises(ConnectionFailed, match="there no address"):
            await pair.a.open(PATIENCE)


@LAYERS
async def test_closing_at_any_moment_leaves_nothing(joined):
    """Before the start of mail, in the middle of it, while DTLS shakes hands; and twice."""
    for turns in range(0, 60, 6):
        async with joined() as pair:
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.gather(pair.a.close(), pair.a.close())
            with pytest.raises(PeerGone):  # or it was open already, and is no longer
                await (await pair.a.open(PATIENCE)).send(b"x")


async def test_an_unstarted_connection_can_be_closed():
    """Whoever gives up early need not remember how far things went."""
    connection = PeerConnection(offerer=True, signal=[].append, **ALONE)
    await connection.close()


@LAYERS
async def test_a_killed_peer_does_not_hold_up_closing():
    """SIGKILL over there, close here: a second or two, whatever was still queued."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OTHER_END,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    stdin, stdout = child.stdin, child.stdout
    ours = PeerConnection(offerer=True, signal=lambda b: stdin.write(b64encode(b) + b"\n"), **ALONE)
    await ours.start()

    async def listen() -> None:
        while line := await stdout.readline():
            await ours.receive(b64decode(line))

    listening = asyncio.create_task(listen())
    channel = await ours.open(PATIENCE)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    for _ in range(8):
        await channel.send(bytes(65_536))
    async with asyncio.timeout(15):
        await ours.close()
    await listening
