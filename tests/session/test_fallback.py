"""Both sides agree to go through the rendezvous: who decides, what is said, what is obeyed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.errors import ConnectionFailed, PeerMisbehaved
from p2pxfer.pairing.keys import ATTEMPT_NONCE
from p2pxfer.peer import gathering, patience
from p2pxfer.peer.restraint import Limit, Restraint
from p2pxfer.progress import CodeReady, Connected
from p2pxfer.rendezvous.client import RendezvousClient
from p2pxfer.rendezvous.server import app
from p2pxfer.rendezvous.server.app import Running
from p2pxfer.rendezvous.server.limits import Carriage
from p2pxfer.session import link
from p2pxfer.session.fallback import INVITATION, Fallback, Invitation
from p2pxfer.session.network import Network
from p2pxfer.session.receive import receive
from p2pxfer.session.send import send
from tests.session.conftest import Answers, Events, eventually
from tests.session.ends import paired

PATIENCE = 120.0
NONCE = bytes(range(ATTEMPT_NONCE))


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    """A rendezvous that carries."""
    running = await app.start("127.0.0.1", 0, carriage=Carriage(each=10**10, total=10**10))
    yield running
    await running.close()


@pytest.mark.parametrize("limit", [Limit(), Limit.parse("2M"), Limit.parse("08:00-18:00=2M,*=off")])
def test_an_invitation_reads_as_it_was_written(limit):
    """Its limit, too."""
    written = Invitation(NONCE, limit).encode()
    assert written[:33] == INVITATION + NONCE
    assert Invitation.decode(written) == Invitation(NONCE, limit)


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=1100).map(lambda b: b"\1" + b)))
def test_a_malformed_invitation_is_refused(body):
    """Whatever it is: read, or the peer's misbehaviour."""
    try:
        invitation = Invitation.decode(body)
    except PeerMisbehaved:
        return
    assert Invitation.decode(invitation.encode()) == invitation


@pytest.mark.parametrize(
    "body",
    [
        b"",
        INVITATION,
        b"{" + NONCE,
        INVITATION + NONCE[1:],
        INVITATION + NONCE + b"1k",
        INVITATION + NONCE + b"\xff",
        INVITATION + NONCE + b"2M," * 400,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_these_are_malformed(body):
    """Too short, too long, too slow, no text."""
    with pytest.raises(PeerMisbehaved):
        Invitation.decode(body)


async def test_one_side_decides_and_each_invites_once():
    """A hears nothing before it has invited; nobody hears twice, or its own words."""
    a, b = (Fallback(None, keys, None, offered=True) for keys in paired())  # type: ignore[arg-type]
    assert (a.decides, b.decides) == (True, False)
    said: list[bytes] = []
    with pytest.raises(PeerMisbehaved, match="turn"):
        a.hear(Invitation(NONCE, Limit()).encode())
    a.invite(said.append)
    with pytest.raises(PeerMisbehaved, match="own nonce"):
        a.hear(said[0])
    b.hear(said[0])
    await b.invited()
    with pytest.raises(PeerMisbehaved, match="turn"):
        b.hear(said[0])


@pytest.mark.parametrize("slow", ["sender", "receiver"])
async def test_the_limit_of_either_side_holds(server, slow):
    """Also that of the side which is only sent to."""
    rate, size = 400_000, 200_000
    limits = [Restraint(Limit.parse(str(rate))), None]
    async with RendezvousClient(f"127.0.0.1:{server.port}") as client:
        sides = [
            Fallback(client, keys, restraint, offered=True)
            for keys, restraint in zip(
                paired(), limits if slow == "sender" else reversed(limits), strict=True
            )
        ]
        a, b = sides
        a.invite(b.hear)
        b.invite(a.hear)
        here, there = await asyncio.gather(a.open(), b.open())
        there.on_message(lambda _: None)
        began = time.monotonic()
        for _ in range(4):
            await here.send(bytes(size // 4))
        await here.drain()
        assert time.monotonic() - began > size * 3 / 4 / rate  # the last leaves when it may
        await asyncio.gather(here.close(), there.close())


class Meeting:
    """Two real sessions that share a rendezvous."""

    def __init__(self, server: Running, folder, **options) -> None:
        url = f"http://127.0.0.1:{server.port}"
        self.here = Network(rendezvous=url, **options)
        self.there = Network(rendezvous=url)
        self.source, self.out = folder / "source", folder / "out"
        self.source.write_bytes(os.urandom(300_000))
        self.out.mkdir()
        self.sent, self.received = Events(), Events()

    async def ends(self) -> list[object]:
        """What both came to."""
        sender = asyncio.create_task(send([self.source], network=self.here, progress=self.sent))
        await eventually(lambda: sender.done() or self.sent.all(CodeReady))
        receiver = asyncio.create_task(
            receive(
                self.sent.all(CodeReady)[0].code,
                network=self.there,
                output=self.out,
                progress=self.received,
                interaction=Answers(),
            )
        )
        async with asyncio.timeout(PATIENCE):
            return await asyncio.gather(sender, receiver, return_exceptions=True)


@pytest.fixture
def nowhere(monkeypatch) -> None:
    """No address that ICE could use."""
    monkeypatch.setattr(gathering, "LOOPBACK", ())
    monkeypatch.setattr(gathering, "_link_local", list)
    monkeypatch.setattr(gathering.ice, "get_host_addresses", lambda **_: [])


@pytest.mark.usefixtures("nowhere")
async def test_a_transfer_between_sides_without_any_address(server, tmp_path):
    """There is nothing to wait for: it goes through the rendezvous at once."""
    meeting = Meeting(server, tmp_path)
    ends = await meeting.ends()
    assert not [end for end in ends if isinstance(end, BaseException)], ends
    assert (meeting.out / "source").read_bytes() == meeting.source.read_bytes()
    for events in (meeting.sent, meeting.received):
        (connected,) = events.all(Connected)
        assert (connected.path, connected.via) == ("relay", "rendezvous")


@pytest.mark.usefixtures("nowhere")
async def test_without_an_offer_there_is_no_path(tmp_path):
    """As it always was; neither side waits for what will not come."""
    running = await app.start("127.0.0.1", 0)
    try:
        began = time.monotonic()
        ends = await Meeting(running, tmp_path).ends()
        assert ConnectionFailed in map(type, ends), ends
        assert time.monotonic() - began < link.INVITED
    finally:
        await running.close()


@pytest.mark.usefixtures("nowhere")
async def test_relay_only_means_turn(server, tmp_path):
    """If one side says so, neither goes through the rendezvous."""
    meeting = Meeting(server, tmp_path, relay_only=True)
    ends = await meeting.ends()
    assert ConnectionFailed in map(type, ends), ends
    assert not meeting.sent.all(Connected) + meeting.received.all(Connected)


async def test_a_direct_path_is_taken_where_there_is_one(server, tmp_path, monkeypatch):
    """Even if all was told and tried long before it opened."""
    monkeypatch.setattr(patience, "CHECKS", 30.0)
    meeting = Meeting(server, tmp_path)
    ends = await meeting.ends()
    assert not [end for end in ends if isinstance(end, BaseException)], ends
    assert {event.via for event in meeting.sent.all(Connected)} == {None}


async def test_the_rendezvous_holds_the_answer_back(server, tmp_path, monkeypatch):
    """Then no path can be found in time: that is its way to carry the stream, and all it gets."""
    monkeypatch.setattr(patience, "MOST", 0.0)
    meeting = Meeting(server, tmp_path)
    ends = await meeting.ends()
    assert not [end for end in ends if isinstance(end, BaseException)], ends
    assert (meeting.out / "source").read_bytes() == meeting.source.read_bytes()
    assert {event.via for event in meeting.received.all(Connected)} == {"rendezvous"}
