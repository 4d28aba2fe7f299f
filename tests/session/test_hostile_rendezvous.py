"""A rendezvous that attacks two real sessions which meet through it, one attack a test.

Both ends are the real `send` and `receive`. Whatever it does, neither side gives or takes a byte of
content through anybody but the other, both end soon with the right error, nothing is written, and
the words of the code are in no error and in nothing that the rendezvous saw.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2pxfer.errors import (
    CodeExpired,
    ConnectionFailed,
    PairingError,
    PeerGone,
    PeerMisbehaved,
    RendezvousMisbehaved,
    RendezvousUnreachable,
    TransferError,
    WrongCode,
)
from p2pxfer.pairing import hello as hellos
from p2pxfer.pairing.handshake import Handshake
from p2pxfer.pairing.hello import Hello
from p2pxfer.pairing.keys import Role
from p2pxfer.progress import CodeBurnt, CodeReady, Connected, Finished, Note
from p2pxfer.rendezvous import room as rendezvous_room
from p2pxfer.rendezvous.client import RendezvousClient
from p2pxfer.rendezvous.messages import Crowded, Ended, Mail, Reason, Welcome
from p2pxfer.session import connect, link, pair
from p2pxfer.session.connect import Connector
from p2pxfer.session.network import Network
from p2pxfer.session.receive import receive
from p2pxfer.session.send import send
from tests.session.conftest import Answers, Events, eventually
from tests.session.ends import paired
from tests.session.middle import OTHER, RECEIVER, SENDER, Middle, doing

CONTENT = os.urandom(300_000)
SECRET_NAME = "a-name-that-nobody-else-may-know"
HANDSHAKE_MAIL = {SENDER: 3, RECEIVER: 2}  # pieces before the sealed ones
PATIENCE = 120.0


class Meeting:
    """Two sessions that meet through one rendezvous."""

    def __init__(self, middle: Middle, folder: Path) -> None:
        self.middle = middle
        self.out = folder / "out"
        self.source = folder / SECRET_NAME
        self.source.write_bytes(CONTENT)
        self.sent, self.received = Events(), Events()
        self.answers = Answers()
        self.codes: asyncio.Queue[str] = asyncio.Queue()
        self.network = Network(rendezvous=middle.url, timeout=3.0)
        self.sender: asyncio.Task | None = None
        self.receiver: asyncio.Task | None = None

    async def start(self, **options) -> str:
        """Start the sender; gives the code that it shows."""
        self.sender = asyncio.create_task(
            send(
                [self.source],
                network=self.network,
                progress=self.sent,
                interaction=self.answers,
                **options,
            )
        )
        return await self.next_code(0)

    async def next_code(self, number: int) -> str:
        assert self.sender is not None
        sender, sent = self.sender, self.sent
        await eventually(lambda: sender.done() or len(sent.all(CodeReady)) > number)
        if len(found := sent.all(CodeReady)) <= number:
            await sender
        return found[number].code

    def join(self, code: str, **options) -> None:
        self.receiver = asyncio.create_task(
            receive(
                code,
                network=self.network,
                output=self.out,
                progress=self.received,
                interaction=self.answers,
                **options,
            )
        )

    async def errors(self) -> tuple[TransferError | None, TransferError | None]:
        """What both ended with; a None is a success."""
        tasks = [task for task in (self.sender, self.receiver) if task is not None]
        async with asyncio.timeout(PATIENCE):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        found: list[TransferError | None] = []
        words = [event.code.split("-", 1)[1] for event in self.sent.all(CodeReady)]
        for result in results:
            if not isinstance(result, BaseException):
                found.append(None)
                continue
            assert isinstance(result, TransferError), repr(result)
            told = f"{result.message} {result.hint} {result!r}"
            assert not any(code in told for code in words)
            found.append(result)
        return found[0], found[-1]

    def keeps_quiet(self) -> None:
        """The rendezvous saw nothing but what it must."""
        words = {word for e in self.sent.all(CodeReady) for word in e.code.split("-")[1:]}
        everything = b"\n".join(body for _, body in self.middle.seen)
        for secret in (*words, SECRET_NAME, "candidate", "fingerprint", "ice-ufrag"):
            assert secret.encode() not in everything
        assert CONTENT[:32] not in everything

    def nothing_happened(self) -> None:
        assert not self.out.exists()
        assert not self.sent.all(Finished)
        assert not self.received.all(Finished)
        self.keeps_quiet()


@pytest.fixture
def hasty(monkeypatch) -> None:
    """Patience for a handshake, and for mail that fails, shortened."""
    monkeypatch.setattr(pair, "HANDSHAKE_TIMEOUT", 0.5)
    monkeypatch.setattr(connect, "HANDSHAKE_TIMEOUT", 0.5)
    monkeypatch.setattr(link, "MAIL_GRACE", 0.3)
    monkeypatch.setattr(rendezvous_room, "_LAST_WORD", 0.3)


pytestmark = pytest.mark.usefixtures("hasty")


async def meet(middle: Middle, folder: Path) -> tuple[TransferError | None, TransferError | None]:
    """Send and receive through ``middle``; nothing may come of it."""
    async with middle:
        meeting = Meeting(middle, folder)
        meeting.join(await meeting.start(wait=1.0))
        found = await meeting.errors()
        meeting.nothing_happened()
    return found


async def test_a_faithful_one_is_enough(tmp_path):
    """The script itself is sound: without an attack the file arrives, and it learns nothing."""
    async with Middle() as middle:
        meeting = Meeting(middle, tmp_path)
        meeting.out.mkdir()
        meeting.join(await meeting.start())
        assert await meeting.errors() == (None, None)
        assert (meeting.out / SECRET_NAME).read_bytes() == CONTENT
        assert meeting.received.all(Connected)
        meeting.keeps_quiet()


# Sealed mail: descriptions, fingerprints, candidates


def sealed(middle: Middle, side: str) -> int:
    """Which piece of sealed mail of ``side`` came last, from 1; 0 or less: the handshake's."""
    return len(middle.mail[side]) - HANDSHAKE_MAIL[side]


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :]


@pytest.mark.parametrize("side", [SENDER, RECEIVER])
async def test_it_swaps_fingerprints(tmp_path, side):
    """A bit of the sealed description, wherever it may be: it is not opened, nobody connects."""

    async def swap(middle, by, body):
        at = len(body) // 2
        changed = by == side and sealed(middle, by) == 1
        await middle.deliver(OTHER[by], flipped(body, at) if changed else body)

    errors = await meet(doing(swap), tmp_path)
    hit = errors[side == SENDER]
    assert type(hit) is RendezvousMisbehaved
    assert type(errors[side == RECEIVER]) in (PeerGone, ConnectionFailed, RendezvousMisbehaved)


async def test_it_replaces_the_description_with_its_own(tmp_path):
    """A description that nobody sealed is no description."""
    own = json.dumps({"v": 1, "kind": "description", "type": "offer", "sdp": "v=0\r\n"}).encode()

    async def replace(middle, by, body):
        await middle.deliver(OTHER[by], own if sealed(middle, by) >= 1 else body)

    errors = await meet(doing(replace), tmp_path)
    assert RendezvousMisbehaved in map(type, errors)


async def test_it_injects_candidates(tmp_path):
    """An address of its own, between two sealed ones."""
    own = b'{"v":1,"kind":"candidate","candidate":"candidate:1 1 udp 1 127.0.0.1 9 typ host"}'

    async def inject(middle, by, body):
        if sealed(middle, by) == 1:
            await middle.deliver(OTHER[by], own)
        await middle.deliver(OTHER[by], body)

    assert RendezvousMisbehaved in map(type, await meet(doing(inject), tmp_path))


async def test_it_replays_sealed_mail(tmp_path):
    """The same piece twice, under another number of the room."""

    async def replay(middle, by, body):
        if by == RECEIVER and sealed(middle, by) >= 1:
            return  # no answer, so that nobody is connected before the copy comes
        await middle.deliver(OTHER[by], body)
        if sealed(middle, by) == 1:
            await middle.deliver(OTHER[by], body)

    errors = await meet(doing(replay), tmp_path)
    assert type(errors[1]) is RendezvousMisbehaved
    assert type(errors[0]) in (PeerGone, ConnectionFailed)


async def test_it_reorders_sealed_mail(tmp_path):
    """The second piece first."""
    held: dict[str, bytes] = {}

    async def reorder(middle, by, body):
        if sealed(middle, by) == 1:
            held[by] = body
            return
        await middle.deliver(OTHER[by], body)
        if sealed(middle, by) == 2:
            await middle.deliver(OTHER[by], held.pop(by))

    assert RendezvousMisbehaved in map(type, await meet(doing(reorder), tmp_path))


async def test_it_drops_one_piece_of_sealed_mail(tmp_path):
    """What follows does not open."""

    async def drop(middle, by, body):
        if sealed(middle, by) != 1:
            await middle.deliver(OTHER[by], body)

    assert RendezvousMisbehaved in map(type, await meet(doing(drop), tmp_path))


async def test_it_reflects_sealed_mail(tmp_path):
    """A side's own mail does not open as the other's."""

    async def reflect(middle, by, body):
        await middle.deliver(by if sealed(middle, by) >= 1 else OTHER[by], body)

    assert RendezvousMisbehaved in map(type, await meet(doing(reflect), tmp_path))


@pytest.mark.parametrize("keep", [1, 15, 16, 100])
async def test_it_truncates_sealed_mail(tmp_path, keep):
    """Less than a tag, exactly a tag, and more."""

    async def cut(middle, by, body):
        await middle.deliver(OTHER[by], body[:keep] if sealed(middle, by) >= 1 else body)

    assert RendezvousMisbehaved in map(type, await meet(doing(cut), tmp_path))


async def test_it_mixes_the_mail_of_two_directions_and_labels(tmp_path):
    """Handshake mail as sealed mail."""

    async def mix(middle, by, body):
        old = middle.mail[by][0]
        await middle.deliver(OTHER[by], old if sealed(middle, by) >= 1 else body)

    assert RendezvousMisbehaved in map(type, await meet(doing(mix), tmp_path))


async def test_it_drops_everything_after_pairing(tmp_path):
    """No path can be found without mail: both say so when their time is over."""

    async def drop(middle, by, body):
        if sealed(middle, by) <= 0:
            await middle.deliver(OTHER[by], body)

    assert [type(error) for error in await meet(doing(drop), tmp_path)] == [ConnectionFailed] * 2


async def test_it_closes_the_room_after_pairing(tmp_path):
    """The other side is said to have left."""

    async def close(middle, by, body):
        if sealed(middle, by) <= 0:
            await middle.deliver(OTHER[by], body)
            return
        for side in (SENDER, RECEIVER):
            await middle.say(side, Ended(Reason.CLOSED))

    assert [type(error) for error in await meet(doing(close), tmp_path)] == [PeerGone] * 2


async def test_it_says_after_pairing_that_the_room_was_burnt(tmp_path):
    """Too late to be about a wrong code: an error all the same, and no crash."""

    async def burn(middle, by, body):
        if sealed(middle, by) <= 0:
            await middle.deliver(OTHER[by], body)
            return
        for side in (SENDER, RECEIVER):
            await middle.say(side, Ended(Reason.BURNT))

    for error in await meet(doing(burn), tmp_path):
        assert isinstance(error, TransferError)


# The handshake


async def handshake_fails(
    middle: Middle, folder: Path, *, rooms: int = 4
) -> tuple[TransferError | None, TransferError | None]:
    """Send through a middle that spoils every handshake; the receiver tries the first code only."""
    found = await meet(middle, folder)
    assert middle.rooms <= rooms
    return found


async def test_it_swaps_the_versions_in_the_hellos(tmp_path):
    """A downgrade shows as a failed confirmation on the side that confirms last."""

    async def older(middle, by, body):
        first = len(middle.mail[by]) == 1
        await middle.deliver(OTHER[by], body[:1] + b"\x02" + body[2:] if first else body)

    async with doing(older) as middle:
        meeting = Meeting(middle, tmp_path)
        meeting.join(await meeting.start(wait=1.0))
        sender, receiver = await meeting.errors()
        meeting.nothing_happened()
        assert len(meeting.sent.all(CodeBurnt)) == 1
    assert type(receiver) is WrongCode
    assert type(sender) is CodeExpired
    assert middle.burnt >= 1


async def test_it_removes_the_wish_to_compare_words(tmp_path):
    """Capabilities are confirmed like all of a hello."""
    plain = Hello(agent="p2pxfer/0")

    async def strip(middle, by, body):
        if by == RECEIVER and len(middle.mail[by]) == 1:
            body = body[:1] + hellos.encode(plain, Role.B, bytes(hellos.NONCE_SIZE))
        await middle.deliver(OTHER[by], body)

    async with doing(strip) as middle:
        meeting = Meeting(middle, tmp_path)
        meeting.join(await meeting.start(wait=1.0), verify=True)
        sender, receiver = await meeting.errors()
        meeting.nothing_happened()
        assert not meeting.answers.words
    assert type(receiver) is WrongCode
    assert type(sender) is CodeExpired


async def test_it_replays_the_hello(tmp_path):
    """A hello in the place of a share."""

    async def replay(middle, by, _body):
        await middle.deliver(OTHER[by], middle.mail[by][0])

    sender, receiver = await handshake_fails(doing(replay), tmp_path)
    assert type(sender) in (PeerMisbehaved, WrongCode, CodeExpired)
    assert type(receiver) in (PeerMisbehaved, WrongCode)


async def test_it_reflects_the_handshake(tmp_path):
    """Each side meets itself."""

    async def reflect(middle, by, body):
        await middle.deliver(by, body)

    sender, receiver = await handshake_fails(doing(reflect), tmp_path)
    assert type(sender) is RendezvousMisbehaved
    assert type(receiver) in (RendezvousMisbehaved, WrongCode, PeerGone)


@pytest.mark.parametrize("keep", [1, 20, 33, 40])
async def test_it_truncates_the_handshake(tmp_path, keep):
    """Half a share is none."""

    async def cut(middle, by, body):
        await middle.deliver(OTHER[by], body[:keep] if len(middle.mail[by]) == 2 else body)

    sender, receiver = await handshake_fails(doing(cut), tmp_path)
    for error in (sender, receiver):
        assert type(error) in (PeerMisbehaved, WrongCode, CodeExpired, PeerGone)


async def test_it_replaces_the_share_with_a_weak_point(tmp_path):
    """The identity, under which any password gives the same key."""
    weak = bytes((1,)) + bytes(31)

    async def weaken(middle, by, body):
        if len(middle.mail[by]) == 2:
            body = body[:2] + weak + body[34:]
        await middle.deliver(OTHER[by], body)

    sender, receiver = await handshake_fails(doing(weaken), tmp_path)
    for error in (sender, receiver):
        assert isinstance(error, TransferError)
        assert error.exit_code in (3, 4, 7)


class Guesser(Middle):
    """Plays the receiver towards the sender with words of its own; ``times`` it does."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times
        self._hand: Handshake | None = None

    async def pass_on(self, side: str, body: bytes) -> None:
        if self.left == 0:
            await super().pass_on(side, body)
            return
        if len(self.mail[SENDER]) == 1:
            guess = f"{self.nameplate}-abandon-ability".encode()
            self._hand = Handshake(Role.B, guess, Hello(agent="guess"))
            for mail in self._hand.start():
                await self.deliver(SENDER, mail)
        assert self._hand is not None
        answers = self._hand.receive(body)
        if answers:
            self.left -= 1
        for mail in answers:
            await self.deliver(SENDER, mail)


async def test_it_guesses_the_code_once(tmp_path):
    """The code is burnt, a fresh one is shown, and with that the transfer goes through."""
    async with Guesser(1) as middle:
        meeting = Meeting(middle, tmp_path)
        meeting.out.mkdir()
        first = await meeting.start()
        second = await meeting.next_code(1)
        assert second != first
        assert [event.left for event in meeting.sent.all(CodeBurnt)] == [3]
        meeting.join(second)
        assert await meeting.errors() == (None, None)
        assert (meeting.out / SECRET_NAME).read_bytes() == CONTENT
        assert middle.burnt == 1


async def test_it_guesses_every_code(tmp_path, monkeypatch):
    """Three fresh codes, each drawn anew, then the sender gives up: four guesses, no more.

    Each is answered, so a busy machine may take its time over four handshakes.
    """
    monkeypatch.setattr(pair, "HANDSHAKE_TIMEOUT", PATIENCE)
    monkeypatch.setattr(connect, "HANDSHAKE_TIMEOUT", PATIENCE)
    async with Guesser(1000) as middle:
        meeting = Meeting(middle, tmp_path)
        await meeting.start()
        error, _ = await meeting.errors()
        assert type(error) is WrongCode
        shown = [event.code for event in meeting.sent.all(CodeReady)]
        assert len({code.split("-", 1)[1] for code in shown}) == 4
        assert [event.left for event in meeting.sent.all(CodeBurnt)] == [3, 2, 1, 0]
        assert middle.burnt == 4
        meeting.nothing_happened()


async def test_it_splits_the_room_with_guesses_on_both_sides(tmp_path):
    """In the middle with its own SPAKE2 towards either side: both find a wrong code."""

    class Splitter(Guesser):
        def __init__(self) -> None:
            super().__init__(1)
            self._far: Handshake | None = None

        async def pass_on(self, side: str, body: bytes) -> None:
            if side == SENDER and self.rooms == 1:
                await super().pass_on(side, body)
            elif side == RECEIVER:
                if self._far is None:
                    guess = f"{self.nameplate}-abandon-ability".encode()
                    self._far = Handshake(Role.A, guess, Hello(agent="guess"))
                    for mail in self._far.start():
                        await self.deliver(RECEIVER, mail)
                try:
                    answers = self._far.receive(body)
                except WrongCode:
                    await self.deliver(RECEIVER, b"\x04" + bytes(64))
                    return
                for mail in answers:
                    await self.deliver(RECEIVER, mail)

        async def end(self, _reason: Reason) -> None:
            pass  # either room seems to live on

    async with Splitter() as middle:
        meeting = Meeting(middle, tmp_path)
        meeting.join(await meeting.start(wait=1.0))
        sender, receiver = await meeting.errors()
        assert len(meeting.sent.all(CodeBurnt)) == 1
        meeting.nothing_happened()
    assert type(receiver) is WrongCode
    assert type(sender) is CodeExpired


async def test_it_claims_that_every_code_was_burnt(tmp_path):
    """It can make a sender draw codes, but not for ever."""

    async def burn(middle, _by, _body):
        await middle.end(Reason.BURNT)

    async with doing(burn) as middle:
        meeting = Meeting(middle, tmp_path)
        await meeting.start()
        error, _ = await meeting.errors()
        assert type(error) is WrongCode
        assert middle.rooms == 4
        meeting.nothing_happened()


async def test_it_brings_two_senders_together(tmp_path):
    """Both roles are in the hellos: that is told, costs a code each, and makes no key."""

    class Matchmaker(Middle):
        def seat(self, _first):
            return SENDER if SENDER not in self._sockets else RECEIVER

        async def welcome(self, side):
            await self.say(side, Welcome(7, 600, 0))

    async with Matchmaker() as middle:
        one, two = Meeting(middle, tmp_path), Meeting(middle, tmp_path)
        await one.start(wait=2.0)
        await two.start(wait=2.0)
        errors = [(await meeting.errors())[0] for meeting in (one, two)]
        notes = [note.text for meeting in (one, two) for note in meeting.sent.all(Note)]
    assert any("both sides are sending" in note for note in notes)
    assert all(type(error) in (PairingError, CodeExpired, WrongCode) for error in errors)


async def nothing(_middle, _by, _body):
    """Deliver no mail at all."""


# Time, floods, lies


async def test_it_never_answers(tmp_path, monkeypatch):
    """No code is shown; the rendezvous is unreachable."""
    monkeypatch.setitem(RendezvousClient.__init__.__kwdefaults__, "deadline", 0.5)

    class Silent(Middle):
        async def welcome(self, side):
            pass

    async with Silent() as middle:
        meeting = Meeting(middle, tmp_path)
        with pytest.raises(RendezvousUnreachable):
            await meeting.start()
        meeting.join("7-orbit-lamp")
        _, error = await meeting.errors()
        assert type(error) is RendezvousUnreachable


async def test_it_answers_half_of_the_handshake(tmp_path):
    """Welcome, hello, and then nothing: both give up."""

    async def half(middle, by, body):
        if len(middle.mail[by]) == 1:
            await middle.deliver(OTHER[by], body)

    sender, receiver = await handshake_fails(doing(half), tmp_path)
    assert type(sender) in (PeerGone, CodeExpired)
    assert type(receiver) is PeerGone


async def test_it_delivers_nothing(tmp_path):
    """The code expires; the receiver does not wait as long as it might live."""
    async with doing(nothing) as middle:
        meeting = Meeting(middle, tmp_path)
        meeting.join(await meeting.start(wait=1.0))
        sender, receiver = await meeting.errors()
        meeting.nothing_happened()
    assert type(sender) in (CodeExpired, PeerGone)  # whichever is sooner: its time, or their leave
    assert type(receiver) is CodeExpired


async def test_it_floods_with_mail(tmp_path):
    """More than may wait is misbehaviour."""

    async def flood(middle, _by, _body):
        for number in range(1, 400):
            await middle.say(SENDER, Mail(number, b"x" * 1000))

    async with doing(flood) as middle:
        meeting = Meeting(middle, tmp_path)
        await meeting.start()
        error, _ = await meeting.errors()
        assert type(error) in (RendezvousMisbehaved, PeerMisbehaved)
        meeting.nothing_happened()


async def test_it_sends_a_huge_message(tmp_path):
    """Refused before it is taken into memory."""

    async def swell(middle, by, _body):
        await middle.say(by, b"\x82" + bytes(10_000_000))

    async with doing(swell) as middle:
        meeting = Meeting(middle, tmp_path)
        await meeting.start()
        error, _ = await meeting.errors()
        assert type(error) is RendezvousMisbehaved
        meeting.nothing_happened()


async def test_it_lies_about_a_crowd(tmp_path):
    """Both are told once, and the transfer goes on."""

    class Crier(Middle):
        async def pass_on(self, side, body):
            for count in range(1, 50):
                await self.say(side, Crowded(count))
            await super().pass_on(side, body)

    async with Crier() as middle:
        meeting = Meeting(middle, tmp_path)
        meeting.out.mkdir()
        meeting.join(await meeting.start())
        assert await meeting.errors() == (None, None)
        told = [note.text for note in meeting.sent.all(Note) if not note.detail]
        assert sum("somebody else tried" in text for text in told) == 1


@pytest.mark.parametrize(
    "config",
    [
        "{}",
        "[" * 100_000,
        b"\xff\xfe",
        json.dumps({"version": 1, "ice_servers": [{"urls": "stun:evil\r\nHost: x"}]}),
        json.dumps({"version": 1, "ice_servers": [{"urls": ["turn:x"] * 9}]}),
        json.dumps({"version": 1, "ice_servers": [{"urls": "http://169.254.169.254/"}]}),
        json.dumps({"version": 1, "ice_servers": "all of them"}),
        json.dumps({"version": 1, "motd": "x" * 100_000}),
        json.dumps({"version": "1"}),
    ],
    ids=["empty", "deep", "no text", "header", "many", "no server", "text", "long", "version"],
)
async def test_its_configuration_is_hostile(tmp_path, config):
    """What is no configuration is passed over, and told only to who wants details."""
    middle = Middle()
    middle.config = config
    async with middle:
        meeting = Meeting(middle, tmp_path)
        meeting.out.mkdir()
        meeting.join(await meeting.start())
        assert await meeting.errors() == (None, None)
        (note,) = [n for n in meeting.sent.all(Note) if "ICE servers" in n.text]
        assert note.detail
        assert (meeting.out / SECRET_NAME).read_bytes() == CONTENT


async def test_it_offers_servers_that_lead_nowhere(tmp_path):
    """Servers that don't answer delay nobody who needs none; its words are handed on raw."""
    middle = Middle()
    middle.config = json.dumps(
        {
            "version": 1,
            "ice_servers": [
                {"urls": "stun:127.0.0.1:9"},
                {"urls": "stun:no-such-host.invalid:9"},
                {"urls": "turn:127.0.0.1:9", "username": "u", "credential": "secret-credential"},
            ],
            "motd": "\x1b]0;owned\x07 buy now",
        }
    )
    async with middle:
        meeting = Meeting(middle, tmp_path)
        meeting.out.mkdir()
        meeting.join(await meeting.start())
        assert await meeting.errors() == (None, None)
        told = [note.text for note in meeting.received.all(Note)]
        assert "the rendezvous says: \x1b]0;owned\x07 buy now" in told
        assert not any("secret-credential" in text for text in told)
        (connected,) = meeting.received.all(Connected)
        assert connected.path == "direct"


async def test_it_hangs_up_again_and_again(tmp_path):
    """Each side comes back by itself; a room that is gone then is an error."""

    class Unsteady(Middle):
        async def pass_on(self, side, _body):
            await self.hang_up(side)

        async def welcome(self, side):
            if len(self.mail[side]) or self.rooms > 1:
                await self.say(side, Ended(Reason.UNKNOWN))
            else:
                await super().welcome(side)

    async with Unsteady() as middle:
        meeting = Meeting(middle, tmp_path)
        await meeting.start(wait=1.0)
        error, _ = await meeting.errors()
        assert isinstance(error, TransferError)
        assert error.exit_code == 6
        meeting.nothing_happened()


async def test_it_cannot_stop_a_sender_from_being_interrupted(tmp_path):
    """Ctrl-C while it stalls: gone at once, with nothing left."""
    async with doing(nothing) as middle:
        meeting = Meeting(middle, tmp_path)
        await meeting.start()
        assert meeting.sender is not None
        meeting.sender.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(meeting.sender, PATIENCE)
        meeting.nothing_happened()


async def test_it_calls_the_room_burnt_where_two_meet_again(monkeypatch):
    """There is no code that could be wrong any more: they try again."""
    keys, _ = paired()
    connector = Connector(
        Network(rendezvous="127.0.0.1:1"), verify=False, progress=Events(), interaction=Answers()
    )
    tried: list[object] = []

    class Client:
        async def open(self, *_):
            return None

    async def enter(_):
        return Client()

    async def renew(*_):
        return keys

    async def connect_again(*_):
        tried.append(keys)
        if len(tried) == 1:
            raise WrongCode("the other side found the code to be wrong")
        return SimpleNamespace(keys=None)

    monkeypatch.setattr(connector._rendezvous, "enter", enter)
    monkeypatch.setattr(connector, "_connect", connect_again)
    monkeypatch.setattr(connector._pairing, "renew", renew)
    link = await connector.rejoin(keys, 10)
    assert link.keys is keys
