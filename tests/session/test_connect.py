"""From a code to an open channel over a real rendezvous and real WebRTC on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from p2pxfer.errors import (
    CodeExpired,
    InvalidCode,
    LocalFileError,
    PairingError,
    PartlyDone,
    PeerGone,
    PeerMisbehaved,
    RendezvousBusy,
    RendezvousUnreachable,
    RoomRefused,
    VerificationRefused,
    VersionRefused,
    WrongCode,
)
from p2pxfer.pairing.code import generate_chosen, parse
from p2pxfer.pairing.handshake import Handshake
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import Role, SessionKeys
from p2pxfer.progress import Advanced, CodeBurnt, CodeReady, Connected, Note
from p2pxfer.rendezvous.client import RendezvousClient
from p2pxfer.rendezvous.messages import Reason
from p2pxfer.rendezvous.server import app
from p2pxfer.rendezvous.server.connection import Desk
from p2pxfer.rendezvous.server.rooms import Refused
from p2pxfer.session import connect
from p2pxfer.session import receive as receiving_room
from p2pxfer.session.connect import Connector
from p2pxfer.session.detour import DIRECT
from p2pxfer.session.network import Network, Sending
from p2pxfer.session.pair import Pairing
from p2pxfer.session.receive import receive
from p2pxfer.session.rendezvous import Rendezvous
from p2pxfer.session.send import send
from p2pxfer.session.summary import Summary
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.frames import encode
from tests.session.conftest import Answers, Events, eventually
from tests.session.ends import HELLO, OFFER, MemoryChannel, MemoryLink, file, manifest

PATIENCE = 120.0


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    """A rendezvous of this test's own, and how to get there."""
    server = await app.start("127.0.0.1", 0)
    yield Network(rendezvous=f"http://127.0.0.1:{server.port}", timeout=60.0)
    await server.close()


@pytest.fixture
def source(tmp_path):
    """A file to send."""
    path = tmp_path / "source"
    path.write_bytes(os.urandom(100_000))
    return path


class Sender:
    """A `send` under way."""

    def __init__(self, network: Network, source, **options) -> None:
        self.events = Events()
        self.task = asyncio.create_task(
            send([source], network=network, progress=self.events, **options)
        )

    async def code(self, number: int = 0) -> str:
        """The code that it shows."""
        await eventually(
            lambda: self.task.done() or len(self.events.all(CodeReady)) > number, PATIENCE
        )
        return self.events.all(CodeReady)[number].code


async def ends(*tasks: asyncio.Task) -> list[object]:
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*tasks, return_exceptions=True)


def receiving(code: str, network: Network, out, **options) -> asyncio.Task:
    return asyncio.create_task(
        receive(code, network=network, output=out, **{"interaction": Answers(), **options})
    )


async def test_a_drawn_code_brings_two_sides_together(network, source, tmp_path):
    """Typed in another case, with other separators and words cut short."""
    out = tmp_path / "code"
    sender = Sender(network, source, code_out=out)
    code = await sender.code()
    assert out.read_text() == f"{code}\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    number, *words = code.split("-")
    typed = " ".join([number, *(word[:4].upper() for word in words)])
    found = await ends(sender.task, receiving(typed, network, tmp_path / "copy"))
    assert [type(end) for end in found] == [Summary, Summary]
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    (connected,) = sender.events.all(Connected)
    assert connected.path == "direct"


@pytest.mark.parametrize("first", ["sender", "receiver"])
async def test_a_code_of_their_own_brings_two_sides_together(network, source, tmp_path, first):
    """Whoever comes first, without a nameplate."""
    code = generate_chosen()
    if first == "receiver":
        receiver = receiving(code, network, tmp_path / "copy")
        await asyncio.sleep(0.3)
    sender = Sender(network, source, code=code)
    if first == "sender":
        await asyncio.sleep(0.3)
        receiver = receiving(code, network, tmp_path / "copy")
    assert [type(end) for end in await ends(sender.task, receiver)] == [Summary, Summary]
    assert not sender.events.all(CodeReady)


async def test_wrong_words_burn_the_code_and_a_fresh_one_works(network, source, tmp_path):
    """One guess a code."""
    sender = Sender(network, source)
    first = await sender.code()
    number = first.split("-")[0]
    wrong = f"{number}-abandon-abandon"
    (error,) = await ends(receiving(wrong, network, tmp_path / "copy"))
    assert type(error) is WrongCode
    second = await sender.code(1)
    assert second.split("-")[1:] != first.split("-")[1:]
    assert [burnt.wrong for burnt in sender.events.all(CodeBurnt)] == [True]
    (error,) = await ends(receiving(first, network, tmp_path / "copy"))
    assert isinstance(error, WrongCode | RoomRefused)
    found = await ends(sender.task, receiving(second, network, tmp_path / "copy"))
    assert [type(end) for end in found] == [Summary, Summary]


@pytest.mark.parametrize(("one", "two"), [(True, True), (False, True), (True, False)])
async def test_words_are_compared_before_anything_is_offered(network, source, tmp_path, one, two):
    """Both see the same four; a no on either side ends both."""
    here, there = Answers(verify=one), Answers(verify=two)
    sender = Sender(network, source, verify=True, interaction=here)
    code = await sender.code()
    receiver = receiving(code, network, tmp_path / "copy", interaction=there)
    found = await ends(sender.task, receiver)
    assert here.words == there.words
    assert len(here.words[0]) == 4
    wanted = Summary if one and two else VerificationRefused
    assert [type(end) for end in found] == [wanted, wanted]
    assert bool(there.offers) == (one and two)


async def test_a_third_side_is_refused_and_told(network, source, tmp_path):
    """The two that were first go on."""
    asked = asyncio.Event()
    go_on = asyncio.Event()

    class Slow(Answers):
        async def verify(self, words) -> bool:
            asked.set()
            await go_on.wait()
            return await super().verify(words)

    sender = Sender(network, source, verify=True, interaction=Answers())
    code = await sender.code()
    receiver = receiving(code, network, tmp_path / "copy", interaction=Slow())
    await asyncio.wait_for(asked.wait(), PATIENCE)
    (error,) = await ends(receiving(code, network, tmp_path / "other"))
    assert isinstance(error, RoomRefused)
    await eventually(lambda: any("somebody else" in note.text for note in sender.events.all(Note)))
    go_on.set()
    assert [type(end) for end in await ends(sender.task, receiver)] == [Summary, Summary]
    assert any("somebody else" in note.text for note in sender.events.all(Note))


async def test_what_begins_when_somebody_comes_does_not_begin_when_they_come_back(network):
    """The walk of what is sent would begin anew in the middle of a transfer."""
    begun, events = [], Events()

    async def begin() -> None:
        begun.append(True)

    here = Connector(network, verify=False, progress=events, interaction=Answers(), meanwhile=begin)
    offered = asyncio.create_task(here.offer(Sending()))
    await eventually(lambda: events.all(CodeReady))
    there = connector(network)
    joined = asyncio.create_task(there.join(events.all(CodeReady)[0].code, PATIENCE))
    ours, theirs = await asyncio.gather(offered, joined)
    await asyncio.gather(ours.close(), theirs.close())
    again = await asyncio.gather(here.rejoin(ours.keys, 30), there.rejoin(theirs.keys, 30))
    await asyncio.gather(*[link.close() for link in again])
    assert begun == [True]


async def test_servers_whose_credentials_may_be_over_are_asked_for_once_more(monkeypatch):
    """A code may wait for days, and a rendezvous gives credentials for one."""
    servers = [{"urls": ["turn:t.example:3478"], "username": n, "credential": "c"} for n in "12"]
    server = await app.start("127.0.0.1", 0, ice_servers=servers[:1])
    place = Rendezvous(f"http://127.0.0.1:{server.port}", (), Events())

    async def username() -> str | None:
        (offered,) = (await place.offered()).servers
        return offered.username

    async with contextlib.AsyncExitStack() as held:
        await place.enter(held)
        assert await username() == "1"
        told = replace(server._rendezvous._config, ice_servers=tuple(servers[1:]))
        monkeypatch.setattr(server._rendezvous, "_config", told)
        assert await username() == "1"
        monkeypatch.setattr("p2pxfer.session.rendezvous.FRESH", 0.0)
        assert await username() == "2"
        await server.close()
        assert await username() == "2", "which is better than none"


@pytest.mark.parametrize("noise", ["hello", "echo", "both", "leave", "silence"])
async def test_a_visitor_who_talks_nonsense_costs_a_code(
    network, source, tmp_path, noise, monkeypatch
):
    """Whoever can come to the rendezvous can come without the words: the send goes on."""
    monkeypatch.setattr("p2pxfer.session.link.FIRST_WORD", 0.5)
    lan = noise == "echo"  # else the rendezvous might have done that
    sender = Sender(Network(lan=True) if lan else network, source)
    code = await sender.code()
    url = sender.events.all(CodeReady)[0].url if lan else network.rendezvous
    number, *_ = code.split("-")
    async with RendezvousClient(url.partition("#")[0], direct=lan) as client:
        room = await client.join(int(number))
        if noise == "hello":
            await room.send(b"\1garbage")
        elif noise == "echo":
            await room.send(await room.receive())
        elif noise == "both":
            for mail in Handshake(Role.A, b"x", Hello()).start():
                await room.send(mail)
        elif noise == "leave":
            await room.close()
        else:
            pairing = Pairing(Hello(), sender.events, Answers())
            await pairing.pair(room, Role.B, parse(code).password(), PATIENCE)
        second = await sender.code(1)
    (burnt,) = sender.events.all(CodeBurnt)
    assert burnt.code == code
    assert not burnt.wrong or noise not in ("leave", "silence")
    if lan:
        second = sender.events.all(CodeReady)[1].url
    receiver = receiving(second, Network(lan=True) if lan else network, tmp_path / "copy")
    assert [type(end) for end in await ends(sender.task, receiver)] == [Summary, Summary]
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


async def test_a_code_that_nobody_uses_expires(network, source):
    """After ``wait`` seconds."""
    sender = Sender(network, source, wait=1.0)
    (error,) = await ends(sender.task)
    assert type(error) is CodeExpired


async def test_a_number_that_nobody_shows(network, tmp_path):
    """The rendezvous says so; nothing is made."""
    (error,) = await ends(receiving("99-orbit-lamp", network, tmp_path / "copy"))
    assert isinstance(error, RoomRefused)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("code", ["", "7", "7-orbit", "7-orbit-xyzzyx", "short"])
async def test_what_is_no_code_is_told_without_a_network(tmp_path, code):
    """Nothing is sent anywhere."""
    (error,) = await ends(receiving(code, Network(rendezvous="127.0.0.1:1"), tmp_path / "copy"))
    assert type(error) is InvalidCode


async def test_no_rendezvous(source, tmp_path):
    """Both sides say so at once."""
    nowhere = Network(rendezvous="http://127.0.0.1:1")
    found = await ends(
        Sender(nowhere, source).task, receiving("7-orbit-lamp", nowhere, tmp_path / "copy")
    )
    assert [type(end) for end in found] == [RendezvousUnreachable] * 2


async def test_two_senders_with_one_code_of_their_own(network, source):
    """A clear error."""
    code = generate_chosen()
    found = await ends(
        Sender(network, source, code=code, wait=6.0).task,
        Sender(network, source, code=code, wait=6.0).task,
    )
    assert any(type(end) is PairingError and "sending" in end.message for end in found)
    assert all(isinstance(end, PairingError | PeerGone | RoomRefused) for end in found)


@pytest.mark.parametrize(
    ("answers", "error", "told"),
    [
        ([(Reason.VERSION, 0)], VersionRefused, []),
        ([(Reason.LIMITED, 1000)], RendezvousBusy, []),
        (
            [(Reason.FULL, 0), (Reason.BUSY, 0), (Reason.BUSY, 0), (Reason.VERSION, 0)],
            VersionRefused,
            ["two sides are in the room already", "the rendezvous is busy"],
        ),
        (
            [(Reason.BURNT, 0), (Reason.LIMITED, 1), (Reason.LIMITED, 1000)],
            RendezvousBusy,
            ["allows another in 1 s"],
        ),
    ],
    ids=["version", "limited for too long", "full and busy", "limited"],
)
async def test_a_rendezvous_that_refuses_a_code_of_their_own(
    network, monkeypatch, answers, error, told
):
    """What may pass is waited for, and told once; what will not ends it at once."""
    asked: list[float] = []

    async def admit(*_: object) -> None:
        asked.append(asyncio.get_running_loop().time())
        raise Refused(*answers[len(asked) - 1])

    monkeypatch.setattr(Desk, "admit", admit)
    monkeypatch.setattr(connect, "SEAT_RETRY", 0.05)
    way = connector(network)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(error):
            await way.offer(Sending(chosen=generate_chosen(), wait=600.0))
    assert len(asked) == len(answers)
    for (_, seconds), then, now in zip(answers[:-1], asked[:-1], asked[1:], strict=True):
        assert now - then >= seconds
    notes = [note.text for note in way._progress.all(Note) if not note.detail]
    assert len(notes) == len(told)
    for note, text in zip(notes, told, strict=True):
        assert text in note


async def test_after_a_partial_end_nobody_is_looked_for_and_the_rest_is_sent(
    network, source, tmp_path, monkeypatch
):
    """Both know how it ended: the same commands meet at once, and go on from what is there."""
    monkeypatch.setattr(receiving_room, "REJOIN_PATIENCE", 600.0)
    top, code = tmp_path / "top", generate_chosen()
    top.mkdir()
    source.rename(top / "whole")
    os.mkfifo(top / "other")
    ended, saved = [], []
    for _ in range(2):
        sender, events = Sender(network, top, code=code), Events()
        receiver = receiving(code, network, f"{tmp_path / 'out'}/", progress=events)
        ended += [type(end) for end in await ends(sender.task, receiver)]
        saved.append(sum(advanced.saved for advanced in events.all(Advanced)))
        (top / "other").unlink()
        (top / "other").write_bytes(b"a file by now")
    assert ended == [PartlyDone, PartlyDone, Summary, Summary]
    assert saved == [0, (top / "whole").stat().st_size]
    assert (tmp_path / "out" / "top" / "other").read_bytes() == b"a file by now"


async def test_who_finds_no_earlier_session_is_at_the_rendezvous_that_was_named(network):
    """Whether the earlier one is gone, or has nobody; also where none was named."""
    keys = SessionKeys(bytes(32), Role.B, bytes(16), Hello(), 1)
    for named in (network, Network(lan=True)):
        way = connector(named)
        before = way.rendezvous
        with pytest.raises(PeerGone):
            await way.rejoin_at("http://127.0.0.1:1", keys, 0.5)
        assert way.rendezvous == before
    way = connector(Network(rendezvous="http://127.0.0.1:1"))
    with pytest.raises(PeerGone):
        await way.rejoin_at(network.rendezvous, keys, 0.5)
    with pytest.raises(RendezvousUnreachable):
        await way.join("7-orbit-lamp", 1.0)


async def test_interrupted_while_nobody_comes(network, source):
    """At once, with the room left behind."""
    sender = Sender(network, source)
    code = await sender.code()
    sender.task.cancel()
    (end,) = await ends(sender.task)
    assert isinstance(end, asyncio.CancelledError)
    (error,) = await ends(receiving(code, network, source.parent / "copy"))
    assert isinstance(error, RoomRefused | PeerGone)


async def test_a_file_for_the_code_that_can_t_be_written(network, source, tmp_path):
    """A local error, and the code is left in no other file."""
    (tmp_path / "taken").mkdir()
    (error,) = await ends(Sender(network, source, code_out=tmp_path / "taken").task)
    assert type(error) is LocalFileError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "taken"]


# A hostile peer over the real channel


def connector(network: Network) -> Connector:
    return Connector(network, verify=False, progress=Events(), interaction=Answers())


ATTACH = encode(m.Attach(0, fresh=True))


@pytest.mark.parametrize(
    "said",
    [[b"\0garbage"], [ATTACH, b"\0garbage"], [ATTACH, encode(HELLO), encode(m.Want(1))], ["text"]],
    ids=["noise at once", "noise", "out of turn", "text"],
)
async def test_a_hostile_receiver_over_the_real_channel(network, source, said):
    """The same error as in memory, and every socket is closed."""
    sender = Sender(network, source)
    hostile = await connector(network).join(await sender.code(), PATIENCE)
    try:
        for message in said:
            if isinstance(message, str):
                hostile.channel._rtc.send(message)
            else:
                await hostile.channel.send(message)
        (error,) = await ends(sender.task)
        assert isinstance(error, PeerMisbehaved | PeerGone)
        if said != ["text"]:
            assert type(error) is PeerMisbehaved
    finally:
        await hostile.close()


async def test_a_hostile_sender_over_the_real_channel(network, tmp_path):
    """A name that leads out, over real WebRTC."""
    way = connector(network)
    offering = asyncio.create_task(way.offer(Sending()))
    await eventually(lambda: way._progress.all(CodeReady))
    receiver = receiving(
        way._progress.all(CodeReady)[0].code, network, tmp_path / "out", existing="fail"
    )
    hostile = await asyncio.wait_for(offering, PATIENCE)
    heard: list[bytes] = []
    hostile.channel.on_message(heard.append)
    try:
        await hostile.channel.send(ATTACH)
        for message in (HELLO, OFFER, *manifest(file(b"../evil", 4), file(b"b", 4))):
            await hostile.channel.send(encode(message))
        await eventually(lambda: any(message[:1] == b"\x05" for message in heard))
        await hostile.channel.send(encode(m.FileBegin(0, 4, 0o644, 0)))
        (error,) = await ends(receiver)
        assert type(error) is PeerMisbehaved
    finally:
        await hostile.close()
        await way.close()
    assert not list(tmp_path.rglob("evil*"))


KNOWS = Hello(capabilities=frozenset({DIRECT}), agent="p2pxfer/0.1.0")


@pytest.mark.parametrize(
    ("relay_only", "peer", "looks"),
    [
        (False, KNOWS, True),
        (False, Hello(), True),
        (False, Hello(agent="p2pxfer/0.1.0"), False),
        (True, KNOWS, False),
        (True, Hello(), False),
    ],
    ids=["both", "of a side started again", "the other does not", "relay only", "relay only again"],
)
def test_who_looks_for_a_direct_path_past_a_relay(relay_only, peer, looks):
    """Whoever is to go through relays only tells its addresses to nobody, however it may end."""
    network = Network(rendezvous="http://rendezvous.invalid", relay_only=relay_only)
    connector = Connector(network, verify=False, progress=Events(), interaction=Answers())
    keys = SessionKeys(bytes(32), Role.A, bytes(32), peer, 1)
    link = MemoryLink(MemoryChannel(), keys, relayed=True)
    ways = connector.ways(link, 60.0)
    assert ways is not None
    assert (ways.direct is not None) == looks
    assert connector.ways(link, 0.0) is None
