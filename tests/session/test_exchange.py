"""A transfer over channels that break: it goes on where it was, or ends with the right error."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from p2pxfer.errors import IntegrityError, PeerGone, PeerMisbehaved, RendezvousMisbehaved
from p2pxfer.files.hashing import TransferRoot
from p2pxfer.manifest import TransferKind
from p2pxfer.pairing.keys import Role, SessionKeys
from p2pxfer.peer.channel import HIGH_WATER
from p2pxfer.progress import Connected, Finished, Reconnecting, Stalled, Waiting
from p2pxfer.session import receive as receiving_room
from p2pxfer.session import send as sending_room
from p2pxfer.session.summary import Summary
from p2pxfer.transfer import messages as m
from tests.session.conftest import eventually
from tests.session.ends import BIG, HELLO, MemoryLink, Peer, channels, receipt

MIB = 1 << 20
EMPTY = TransferRoot().digest()
GIVE_UP = 60.0


class Meadow:
    """Where both sides meet again; ``closed`` sends everybody away."""

    def __init__(self) -> None:
        self.closed = False
        self.relayed = False
        self.met = 0
        self._waiting: dict[Role, tuple[SessionKeys, asyncio.Future[MemoryLink]]] = {}

    async def rejoin(self, keys: SessionKeys, seconds: float) -> MemoryLink:
        if self.closed:
            raise PeerGone("nobody came back")
        role = keys.role
        own: asyncio.Future[MemoryLink] = asyncio.get_running_loop().create_future()
        self._waiting[role] = keys, own
        their, other = self._waiting.get(role.other, (keys, None))
        if other is not None and not other.done():
            one, two = channels()
            self.met += 1
            self._waiting = {}
            other.set_result(MemoryLink(two, their, relayed=self.relayed))
            return MemoryLink(one, keys, relayed=self.relayed)
        try:
            return await asyncio.wait_for(own, seconds)
        except TimeoutError:
            raise PeerGone("nobody came back") from None


@pytest.fixture
def meadow(monkeypatch) -> Meadow:
    """Both sides come back here when their channel breaks."""
    meadow = Meadow()

    async def rejoin(_self, keys, seconds, *_: object) -> MemoryLink:
        return await meadow.rejoin(keys, seconds)

    for room in (receiving_room, sending_room):
        monkeypatch.setattr(room.Connector, "rejoin", rejoin)
    return meadow


@pytest.mark.parametrize("seed", range(4))
async def test_it_goes_on_over_one_channel_after_another(
    transfer, meadow, tmp_path, seed, monkeypatch
):
    """Wherever they break, in either direction, what arrives is whole, once."""
    chance = random.Random(seed)
    top = tmp_path / "top"
    top.mkdir()
    for number in range(60):
        (top / f"{number:02}").write_bytes(os.urandom(chance.choice([0, 10, 3000, 400_000])))
    both = transfer(top, give_up_after=GIVE_UP, to={"give_up_after": GIVE_UP})
    broken = 0
    current = list(both.links)
    rejoined = Meadow.rejoin

    async def remembered(self, keys, seconds):
        link = await rejoined(self, keys, seconds)
        current[0 if keys.role is Role.A else 1] = link
        return link

    monkeypatch.setattr(Meadow, "rejoin", remembered)
    while broken < 4 and not both.receiver.done():
        await asyncio.sleep(chance.uniform(0.0, 0.03))
        if meadow.met == broken:
            chance.choice(current).channel.close()
            broken += 1
            await eventually(lambda: meadow.met == broken or both.receiver.done())  # noqa: B023  # awaited at once
    sent, received = await both.ends()
    assert isinstance(sent, Summary)
    assert isinstance(received, Summary)
    assert sent.root == received.root
    for path in top.iterdir():
        assert (both.out / "top" / path.name).read_bytes() == path.read_bytes()
    assert len(both.sent.all(Finished)) == len(both.received.all(Finished)) == 1
    assert broken


class Clearing:
    """Where both sides find a direct path, a moment after they took a relay."""

    def __init__(self) -> None:
        self.empty = False
        self.broken = False
        self.links: list[MemoryLink] = []
        self._waiting: dict[Role, tuple[SessionKeys, asyncio.Future[MemoryLink]]] = {}

    async def directly(self, keys: SessionKeys) -> MemoryLink:
        if self.empty:
            raise PeerGone("the other side did not come")
        found: asyncio.Future[MemoryLink] = asyncio.get_running_loop().create_future()
        self._waiting[keys.role] = keys, found
        if len(self._waiting) == 2:
            both, self._waiting = self._waiting, {}
            for role, channel in zip((Role.B, Role.A), channels(), strict=True):
                self.links.append(MemoryLink(channel, both[role][0]))
                both[role][1].set_result(self.links[-1])
            if self.broken:
                self.links[-1].channel.reading = self.links[-2].channel.reading = False
        return await found


@pytest.fixture
def clearing(monkeypatch) -> Clearing:
    """Where a direct path is to be found."""
    clearing = Clearing()
    for room in (receiving_room, sending_room):
        monkeypatch.setattr(room.Connector, "_directly", clearing.directly)
    monkeypatch.setattr("p2pxfer.session.detour.FIRST", 0.02)
    monkeypatch.setattr("p2pxfer.session.detour.STEADY", 0.0)
    return clearing


def relayed(transfer, path):
    """Both ends of a transfer of ``path`` that goes through a relay, and on when that breaks."""
    both = transfer(path, give_up_after=GIVE_UP, to={"give_up_after": GIVE_UP})
    for link in both.links:
        link.relayed = True
    return both


@pytest.mark.parametrize("seed", range(4))
async def test_it_goes_over_to_a_direct_path(transfer, meadow, clearing, tmp_path, seed):
    """As often as a relay was taken; nothing is said to have broken, and the relay is let go of."""
    chance = random.Random(seed)
    meadow.relayed = True
    path = tmp_path / "file"
    path.write_bytes(os.urandom(96 * MIB))
    both = relayed(transfer, path)
    former = [*both.links]
    for times in range(1, 4):
        await eventually(
            lambda: min(map(len, (both.sent.all(Connected), both.received.all(Connected)))) == times  # noqa: B023  # awaited at once
        )
        await eventually(lambda: all(link.is_closed for link in former))  # noqa: B023  # awaited at once
        await asyncio.sleep(chance.uniform(0.0, 0.02))
        former = clearing.links[-2:]
        if times < 3:
            chance.choice(former).channel.close()
    sent, received = await both.ends()
    assert isinstance(sent, Summary)
    assert isinstance(received, Summary)
    assert sent.root == received.root
    assert (both.out).read_bytes() == path.read_bytes()
    for events in (both.sent, both.received):
        assert len(events.all(Reconnecting)) == 2
        assert {event.path for event in events.all(Connected)} == {"direct"}


@pytest.mark.usefixtures("clearing")
async def test_it_is_interrupted_just_as_it_goes_over(transfer, meadow, tmp_path):
    """The other side is told all the same, and does not wait for anybody to come back."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(96 * MIB))
    both = relayed(transfer, path)
    note = both.sent.emit

    def emit(event):
        note(event)
        if isinstance(event, Connected):
            both.sender.cancel()

    both.sent.emit = emit
    with pytest.raises(asyncio.CancelledError):
        await both.sender
    with pytest.raises(PeerGone, match="interrupted"):
        await both.receiver
    assert not both.received.all(Reconnecting)
    assert meadow.met == 0


async def test_it_stays_where_it_is_without_a_direct_path(transfer, clearing, tmp_path):
    """Nobody is told of what was tried."""
    clearing.empty = True
    path = tmp_path / "file"
    path.write_bytes(os.urandom(32 * MIB))
    both = relayed(transfer, path)
    sent, received = await both.ends()
    assert isinstance(sent, Summary)
    assert isinstance(received, Summary)
    for events in (both.sent, both.received):
        assert not events.all(Connected) + events.all(Reconnecting) + events.all(Stalled)


@pytest.mark.usefixtures("hasty")
async def test_a_direct_path_that_carries_nothing_after_all(transfer, meadow, clearing, tmp_path):
    """It is lost like any other, and the two meet again."""
    clearing.broken = True
    path = tmp_path / "file"
    path.write_bytes(os.urandom(96 * MIB))
    both = relayed(transfer, path)
    sent, received = await both.ends()
    assert isinstance(sent, Summary)
    assert isinstance(received, Summary)
    assert (both.out).read_bytes() == path.read_bytes()
    assert meadow.met == 1
    assert [event.path for event in both.sent.all(Connected)] == ["direct"]
    assert not both.received.all(Connected)


async def test_nobody_comes_back(transfer, meadow, tmp_path):
    """Both tell that they tried, then that the other is gone."""
    meadow.closed = True
    path = tmp_path / "file"
    path.write_bytes(os.urandom(64 * MIB))
    both = transfer(path, give_up_after=GIVE_UP, to={"give_up_after": GIVE_UP})
    await eventually(lambda: both.received.all(Finished) or both.received.seen)
    both.links[0].channel.close()
    sent, received = await both.ends()
    assert type(sent) is type(received) is PeerGone
    for events in (both.sent, both.received):
        assert events.all(Reconnecting)


@pytest.mark.usefixtures("meadow")
async def test_a_channel_that_was_broken_on_purpose_is_not_replaced(transfer, tmp_path):
    """Somebody changed what it carried: that is the end, and told as what it was."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(64 * MIB))
    both = transfer(path, give_up_after=GIVE_UP, to={"give_up_after": GIVE_UP})
    await eventually(lambda: both.received.seen)
    for link in both.links:
        link.channel.error = RendezvousMisbehaved("it changed what it carried")
    both.links[0].channel.close()
    sent, received = await both.ends()
    assert type(sent) is type(received) is RendezvousMisbehaved
    assert not both.sent.all(Reconnecting) + both.received.all(Reconnecting)


async def test_it_is_interrupted_while_nobody_comes_back(transfer, meadow, tmp_path):
    """At once, although it would wait much longer."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(32 * MIB))
    both = transfer(path, give_up_after=60.0, to={"give_up_after": 0.0})
    await eventually(lambda: both.received.seen)
    both.links[1].channel.close()
    await eventually(lambda: both.sent.all(Reconnecting))
    both.sender.cancel()
    sent, received = await both.ends()
    assert isinstance(sent, asyncio.CancelledError)
    assert type(received) is PeerGone
    assert not meadow.met


async def test_a_receiver_whose_receipt_was_heard_is_done(as_sender, home, monkeypatch):
    """It looks for the sender a while longer, and then it is content, but remembers it."""
    monkeypatch.setattr("p2pxfer.session.exchange.LINGER", 0.2)
    attack = as_sender(give_up_after=GIVE_UP, resume="auto")
    await attack.peer.say(
        HELLO, m.Offer(b"i" * 16, TransferKind.FILES, b""), m.ManifestEnd(0, 0, 0)
    )
    await attack.peer.hear(m.Accept)
    await attack.peer.say(m.TransferEnd(EMPTY, 0, 0, 0))
    await attack.peer.hear(m.Receipt)
    attack.peer.channel.close()
    assert isinstance(await attack.result(), Summary)
    assert len(list(home.rglob("*.journal"))) == 1


class Returning:
    """A scripted receiver that breaks the channel and comes back as it likes."""

    def __init__(self, monkeypatch) -> None:
        self.peers: list[Peer] = []
        self.links: list[MemoryLink] = []

        async def rejoin(_self, keys, _seconds, *_: object) -> MemoryLink:
            ours, theirs = channels()
            self.peers.append(Peer(theirs, keys, attaches=False))
            self.links.append(MemoryLink(ours, keys))
            return self.links[-1]

        monkeypatch.setattr(sending_room.Connector, "rejoin", rejoin)

    async def back(self) -> Peer:
        await eventually(lambda: self.peers)
        return self.peers[-1]


@pytest.fixture
def one(tmp_path):
    """A file to send."""
    path = tmp_path / "one"
    path.write_bytes(os.urandom(2 * MIB))
    return path


@pytest.mark.parametrize(
    "attach",
    [m.Attach(10_000, fresh=False), m.Attach(2**64 - 1, fresh=False), m.Attach(1, fresh=False)],
    ids=["too many", "2^64-1", "fewer than it had"],
)
async def test_a_peer_that_comes_back_and_lies_about_what_it_had(
    as_receiver, one, monkeypatch, attach
):
    """More than was sent, or less than it had said before, is misbehaviour."""
    attack = as_receiver(one, give_up_after=GIVE_UP)
    returning = Returning(monkeypatch)
    attack.peer.acknowledges = False
    await attack.peer.say(HELLO)
    await attack.peer.hear(m.ManifestEnd)
    await attack.peer.say(m.Received(2))
    await eventually(lambda: attack.peer.channel.buffered == 0)
    attack.peer.channel.close()
    peer = await returning.back()
    await peer.say(attach)
    attack.link = returning.links[-1]
    await attack.ends(PeerMisbehaved)


async def test_a_peer_that_comes_back_and_says_nothing(as_receiver, one, monkeypatch):
    """A new channel is lost like an old one."""
    for name in ("PING_AFTER", "STALLED_AFTER", "LOST_AFTER", "LATE"):
        monkeypatch.setattr(f"p2pxfer.transfer.liveness.{name}", 0.2)
    attack = as_receiver(one, give_up_after=GIVE_UP)
    returning = Returning(monkeypatch)
    await attack.peer.say(HELLO)
    await attack.peer.hear(m.ManifestEnd)
    attack.peer.channel.close()
    await eventually(lambda: len(returning.peers) >= 2)
    assert len(returning.peers) >= 2
    assert len(attack.events.all(Reconnecting)) >= 2
    attack.task.cancel()
    await asyncio.gather(attack.task, return_exceptions=True)


async def test_a_message_that_takes_longer_than_silence_may(as_sender, monkeypatch):
    """While more of it comes, on a slow line, the other side is there; then it is lost."""
    monkeypatch.setattr("p2pxfer.transfer.liveness.PING_AFTER", 0.05)
    monkeypatch.setattr("p2pxfer.transfer.liveness.STALLED_AFTER", 0.5)
    monkeypatch.setattr("p2pxfer.transfer.liveness.LOST_AFTER", 1.0)
    attack = as_sender()
    attack.peer.alive = attack.peer.acknowledges = False
    await attack.peer.say(HELLO)
    for number in range(50):
        attack.link.channel.arriving = 1200 * number
        await asyncio.sleep(0.05)
    assert not attack.task.done()
    assert not attack.events.all(Stalled)
    await attack.ends(PeerGone)


async def test_a_channel_breaks_while_it_carries_what_the_last_one_lost(
    as_receiver, one, monkeypatch
):
    """The next one carries all of it, in order, and once."""
    attack = as_receiver(one, give_up_after=GIVE_UP)
    returning = Returning(monkeypatch)
    peer, attack.peer.acknowledges = attack.peer, False
    await peer.say(HELLO)
    await peer.hear(m.ManifestEnd)
    await peer.say(m.Accept(), m.Want(1), m.Credit(BIG >> 4, 0))
    await peer.hear(m.FileEnd)
    said = peer.dialogue()
    peer.channel.close()
    peer = await returning.back()
    peer.channel.reading = False
    await peer.say(m.Attach(0, fresh=False))
    await eventually(lambda: peer.channel.other.buffered > HIGH_WATER)
    peer.channel.close()
    await eventually(lambda: len(returning.peers) == 2)
    peer = await returning.back()
    await peer.say(m.Attach(0, fresh=False))
    await peer.hear(m.FileEnd)
    assert peer.dialogue()[: len(said)] == said
    attack.task.cancel()
    await asyncio.gather(attack.task, return_exceptions=True)


async def test_a_receiver_that_was_started_again_is_offered_all_of_it_again(
    as_receiver, one, monkeypatch
):
    """And the receipt has to be for the second offer."""
    attack = as_receiver(one, give_up_after=GIVE_UP)
    returning = Returning(monkeypatch)
    await attack.peer.say(HELLO)
    first = await attack.peer.hear(m.Offer)
    attack.peer.channel.close()
    peer = await returning.back()
    await peer.say(m.Attach(0, fresh=True), HELLO)
    second = await peer.hear(m.Offer)
    assert first.transfer_id != second.transfer_id
    await peer.hear(m.ManifestEnd)
    await peer.say(m.Accept(), m.Want(1), m.Credit(BIG >> 4, 0))
    await peer.hear(m.FileEnd)
    await peer.say(m.Credit(BIG >> 4, 1))
    end = await peer.hear(m.TransferEnd)
    await peer.say(receipt(peer.receipt_key, first, end))
    attack.link = returning.links[-1]
    await attack.ends(IntegrityError)
    assert not attack.events.all(Stalled)


async def test_what_is_awaited_at_the_end_is_said(as_receiver, one, monkeypatch):
    """Once, when all is sent and the other side takes its time; not before, and not at once."""
    monkeypatch.setattr("p2pxfer.session.sending.UNSAID", 0.2)
    attack = as_receiver(one)
    peer, awaited = attack.peer, Waiting("receipt")
    await peer.say(HELLO)
    offer = await peer.hear(m.Offer)
    await peer.hear(m.ManifestEnd)
    await peer.say(m.Accept(), m.Want(1), m.Credit(MIB, 0))
    await asyncio.sleep(0.4)
    await peer.say(m.Credit(BIG >> 4, 0))
    await peer.hear(m.FileEnd)
    assert awaited not in attack.events.seen
    await eventually(lambda: awaited in attack.events.seen)
    await peer.say(m.Credit(BIG >> 4, 1))
    end = await peer.hear(m.TransferEnd)
    await peer.say(receipt(peer.receipt_key, offer, end))
    assert isinstance(await attack.result(), Summary)
    assert attack.events.seen.count(awaited) == 1
