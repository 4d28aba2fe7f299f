"""Real sessions against a scripted far end, and proof that nothing is left behind.

Every test here also shows that no task, thread, open file or temporary outlives the session, and
that no task ended with an error that nobody saw.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from p2pxfer.errors import PeerGone, TransferError
from p2pxfer.progress import Event
from p2pxfer.session import receive as receiving_room
from p2pxfer.session import send as sending_room
from p2pxfer.session.interaction import OfferView
from p2pxfer.session.network import Network
from p2pxfer.transfer import liveness
from tests.session.ends import PATIENCE, MemoryLink, Peer, channels, paired

NOWHERE = Network(rendezvous="127.0.0.1:1")
SETTLING = 30.0  # seconds that threads and sockets may take to end


class Events:
    """Takes progress and keeps it."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    def emit(self, event: Event) -> None:
        self.seen.append(event)

    def all(self, kind: type) -> list:
        return [event for event in self.seen if isinstance(event, kind)]


class Answers:
    """Somebody who says yes, after a look at the offer."""

    asks = True

    def __init__(self, *, accept: bool = True, existing: str = "skip", verify: bool = True) -> None:
        self.offers: list[OfferView] = []
        self.asked: list[bytes] = []
        self.words: list[tuple[str, ...]] = []
        self._accept, self._existing, self._verify = accept, existing, verify

    async def verify(self, words: tuple[str, ...]) -> bool:
        self.words.append(words)
        return self._verify

    async def accept(self, offer: OfferView) -> bool:
        self.offers.append(offer)
        return self._accept

    async def existing(self, path: bytes) -> str:
        self.asked.append(path)
        return self._existing


class Attack:
    """A session under way against a scripted far end."""

    def __init__(self, peer: Peer, link: MemoryLink, out: Path) -> None:
        self.peer = peer
        self.link = link
        self.out = out
        self.events = Events()
        self.answers = Answers()
        self.task: asyncio.Task

    async def ends(self, kind: type[TransferError], match: str | None = None) -> TransferError:
        """The session ends with exactly this error, soon, and hangs up."""
        with pytest.raises(kind, match=match) as caught:
            await asyncio.wait_for(self.task, PATIENCE)
        assert type(caught.value) is kind
        assert self.link.is_closed
        return caught.value

    async def result(self):
        return await asyncio.wait_for(self.task, PATIENCE)

    def files(self) -> dict[str, bytes]:
        """What was written, temporaries and all."""
        return {
            str(path.relative_to(self.out)): b"" if path.is_symlink() else path.read_bytes()
            for path in sorted(self.out.rglob("*"))
            if path.is_symlink() or path.is_file()
        }


async def eventually(holds: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until it holds, but no longer than that."""
    for _ in range(int(seconds / 0.02)):
        if holds():
            return
        await asyncio.sleep(0.02)


def open_files() -> set[str]:
    """Descriptors and what they are, but for this listing's own."""
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue
    return found


@pytest.fixture(autouse=True)
async def nothing_left(tmp_path) -> AsyncIterator[None]:
    """No task, thread, descriptor, temporary or unseen error outlives a test."""
    loop = asyncio.get_running_loop()
    complaints: list[str] = []
    loop.set_exception_handler(lambda _, context: complaints.append(repr(context)))
    tasks, files = asyncio.all_tasks(), open_files()
    yield

    def left() -> list[object]:
        return [
            *(asyncio.all_tasks() - tasks - {asyncio.current_task()}),
            *(t for t in threading.enumerate() if t.name.startswith("p2pxfer-disk")),
            *(open_files() - files),
        ]

    await eventually(lambda: not left(), SETTLING)
    assert not left()
    gc.collect()
    await asyncio.sleep(0)
    assert not complaints
    assert not list(tmp_path.rglob(".*p2pxfer-*"))


@pytest.fixture
async def as_sender(monkeypatch, tmp_path) -> AsyncIterator[Callable[..., Attack]]:
    """Starts a real `receive`; the test is the sender."""
    started: list[Attack] = []

    def start(*, attaches: bool = True, max_message: int = 64 * 1024, **options) -> Attack:
        ours, theirs = channels()
        ours.max_message = max_message
        a, b = paired()
        link = MemoryLink(ours, b)
        attack = Attack(Peer(theirs, a, attaches=attaches), link, tmp_path / "out")
        attack.answers = options.pop("interaction", attack.answers)

        attack.out.mkdir(exist_ok=True)

        async def join(*_: object) -> MemoryLink:
            return link

        monkeypatch.setattr(receiving_room.Connector, "join", join)
        monkeypatch.setattr(receiving_room.Connector, "rejoin", gone, raising=False)
        attack.task = asyncio.create_task(
            receiving_room.receive(
                "7-orbit-lamp",
                network=NOWHERE,
                progress=attack.events,
                interaction=attack.answers,
                **{"output": attack.out, "resume": "never", **options},
            )
        )
        started.append(attack)
        return attack

    yield start
    for attack in started:
        await finish(attack)


@pytest.fixture
async def as_receiver(monkeypatch, tmp_path) -> AsyncIterator[Callable[..., Attack]]:
    """Starts a real `send`; the test is the receiver."""
    started: list[Attack] = []

    def start(
        *paths: Path, attaches: bool = True, max_message: int = 64 * 1024, **options
    ) -> Attack:
        ours, theirs = channels()
        ours.max_message = max_message
        a, b = paired()
        link = MemoryLink(ours, a)
        attack = Attack(Peer(theirs, b, attaches=attaches), link, tmp_path / "out")

        async def offer(*_: object) -> MemoryLink:
            return link

        monkeypatch.setattr(sending_room.Connector, "offer", offer)
        monkeypatch.setattr(sending_room.Connector, "rejoin", gone, raising=False)
        attack.task = asyncio.create_task(
            sending_room.send(paths, network=NOWHERE, progress=attack.events, **options)
        )
        started.append(attack)
        return attack

    yield start
    for attack in started:
        await finish(attack)


class Both:
    """A real `send` and a real `receive`, joined by a channel in memory."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.sent, self.received = Events(), Events()
        self.answers = Answers()
        self.links: tuple[MemoryLink, MemoryLink]
        self.sender: asyncio.Task
        self.receiver: asyncio.Task

    async def ends(self) -> tuple[object, object]:
        """What both came to: a summary or an error each."""
        async with asyncio.timeout(PATIENCE):
            one, two = await asyncio.gather(self.sender, self.receiver, return_exceptions=True)
        return one, two


@pytest.fixture
async def transfer(monkeypatch, tmp_path) -> AsyncIterator[Callable[..., Both]]:
    """Starts both sides; ``to`` takes what only `receive` knows."""
    started: list[Both] = []

    def start(*paths: object, to: dict | None = None, **options) -> Both:
        both = Both(tmp_path / "out")
        ours, theirs = channels()
        a, b = paired()
        both.links = MemoryLink(ours, a), MemoryLink(theirs, b)

        async def offer(*_: object) -> MemoryLink:
            return both.links[0]

        async def join(*_: object) -> MemoryLink:
            return both.links[1]

        monkeypatch.setattr(sending_room.Connector, "offer", offer)
        monkeypatch.setattr(receiving_room.Connector, "join", join)
        both.sender = asyncio.create_task(
            sending_room.send(paths, network=NOWHERE, progress=both.sent, **options)
        )
        both.receiver = asyncio.create_task(
            receiving_room.receive(
                "7-orbit-lamp",
                network=NOWHERE,
                progress=both.received,
                **{"output": both.out, "interaction": both.answers, "resume": "never"} | (to or {}),
            )
        )
        started.append(both)
        return both

    yield start
    for both in started:
        for task in (both.sender, both.receiver):
            task.cancel()
        await asyncio.gather(both.sender, both.receiver, return_exceptions=True)


@pytest.fixture
def hasty(monkeypatch) -> None:
    """Patience with a silent peer, shortened tenfold."""
    for name in ("PING_AFTER", "STALLED_AFTER", "LOST_AFTER", "LATE"):
        monkeypatch.setattr(liveness, name, getattr(liveness, name) / 10)


async def gone(*_: object) -> MemoryLink:
    """Nobody comes back once the channel is gone."""
    raise PeerGone("the other side did not come back")


async def finish(attack: Attack) -> None:
    """End what a failed test left running."""
    attack.task.cancel()
    await asyncio.gather(attack.task, return_exceptions=True)
