"""A large tree is walked while its files are sent: neither waits for the other, nor the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from p2pxfer.errors import LocalFileError, PartlyDone
from p2pxfer.files.walk import Found, Skipped, WalkOptions, walk
from p2pxfer.manifest import EntryKind, Failure, TransferKind
from p2pxfer.progress import Advanced, Event, Offered
from p2pxfer.session.sending import Cargo, transfer
from p2pxfer.session.walking import AHEAD, Walking
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.credit import BYTE_WINDOW, ENTRY_WINDOW
from p2pxfer.transfer.frames import LINK_TYPES, decode, encode
from tests.session.conftest import eventually
from tests.session.ends import HELLO, MemoryLink, Outcome, channels, paired, receipt

FOLDERS, FILES = 100, 1000  # a hundred thousand files in all
SIZE = 512 * 1024  # of the one in each folder that is wanted
A_TURN = 4 * 1024 * 1024  # bytes; content that may go out before other tasks get the loop
WHOLE = FOLDERS * (FILES + 1)


class Log:
    """What happened in which order: turns of the loop, entries found, content sent."""

    def __init__(self) -> None:
        self.listed = self.sent = 0
        self.most_listed = self.most_sent = 0  # in one turn
        self.shares: list[tuple[float, float]] = []  # of the walk and of the content, at each step
        self._turn = (0, 0)

    def emit(self, event: Event) -> None:
        if isinstance(event, Offered):
            self.listed = event.entries
        elif isinstance(event, Advanced):
            self.sent += event.size
        else:
            return
        self.shares.append((self.listed / WHOLE, self.sent / (FOLDERS * SIZE)))

    async def count_turns(self) -> None:
        while True:
            listed, sent = self._turn
            self.most_listed = max(self.most_listed, self.listed - listed)
            self.most_sent = max(self.most_sent, self.sent - sent)
            self._turn = (self.listed, self.sent)
            await asyncio.sleep(0)


class Taker:
    """A receiver that has every file but those with content, and takes these."""

    def __init__(self, link: MemoryLink, key: bytes) -> None:
        self._channel = link.channel
        self._key = key
        self._offer: m.Offer
        self._entries: list[Outcome] = []
        self._wanted: list[int] = []
        self._ended = self._size = self._had = 0
        self._channel.on_message(self._take)
        self._say(m.Attach(0, fresh=True), HELLO)

    def _say(self, *messages: m.Message) -> None:
        for message in messages:
            self._channel._sent.append(encode(message))
            self._channel._size += len(self._channel._sent[-1])
        self._channel._flush_soon()

    def _take(self, message: bytes) -> None:
        if message[0] not in LINK_TYPES:
            self._had += 1
            self._say(m.Received(self._had))
        for frame in decode(message):
            match frame:
                case m.Offer():
                    self._offer = frame
                case m.Page():
                    self._judge(frame)
                case m.Data(payload):
                    self._size += len(payload)
                case m.FileEnd(number, _, _, root):
                    self._entries[number] = (*self._entries[number][:1], root, None)
                    self._ended += 1
                    self._settle()
                case m.TransferEnd():
                    self._finish(frame)

    def _judge(self, page: m.Page) -> None:
        if page.first == 0:
            self._say(m.Accept())
        skips = []
        for number, entry in enumerate(page.entries, page.first):
            there = entry.kind is EntryKind.FILE and not entry.size
            self._entries.append((entry, None, Failure.EXISTS if there else None))
            if there:
                skips.append(m.Skip(number, 1, Failure.EXISTS))
            elif entry.kind is EntryKind.FILE:
                self._wanted.append(number)
        self._say(m.Want(page.first + len(page.entries), tuple(skips)))
        self._settle()

    def _settle(self) -> None:
        """Everything before the first file that is still to come is over."""
        pending = self._wanted[self._ended :]
        settled = pending[0] if pending else len(self._entries)
        self._say(m.Credit(self._size + BYTE_WINDOW, settled))

    def _finish(self, end: m.TransferEnd) -> None:
        failures = [
            (number, failure) for number, (_, _, failure) in enumerate(self._entries) if failure
        ]
        self._say(receipt(self._key, self._offer, end, failures))


def tree(tmp_path) -> Iterator[Found | Skipped]:
    """One real folder, walked again and again under other names."""
    for at in range(FOLDERS):
        for item in walk([tmp_path / "folder"], WalkOptions()):
            assert isinstance(item, Found)
            inner = item.entry.path.partition(b"/")[2]
            name = b"%03d" % at
            path = name + b"/" + inner if inner else name
            yield Found(item.entry._replace(path=path), item.source)


async def test_a_long_walk_and_the_content_go_on_side_by_side(tmp_path):
    """Content goes out long before all is found, and the search goes on meanwhile."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:04}").write_bytes(os.urandom(SIZE) if number == FILES // 2 else b"")
    ours, theirs = channels()
    a, b = paired()
    link, log = MemoryLink(ours, a), Log()
    Taker(MemoryLink(theirs, b), b.key("receipt", b.role))
    cargo = Cargo(TransferKind.FILES, b"many", lambda: tree(tmp_path))
    walking = Walking(cargo.entries)
    turns = asyncio.create_task(log.count_turns())
    try:
        with pytest.raises(PartlyDone):
            await transfer(link, cargo, walking, log, None)
    finally:
        await walking.close()
        turns.cancel()
        theirs.close()
    assert (log.listed, log.sent) == (WHOLE, FOLDERS * SIZE)
    assert log.most_listed <= ENTRY_WINDOW // 16
    assert log.most_sent <= A_TURN
    walked = next(walked for walked, sent in log.shares if sent > 0)
    assert walked < 0.1
    ahead = max(walked - sent for walked, sent in log.shares)
    assert ahead < ENTRY_WINDOW / WHOLE + 0.1


async def test_what_is_sent_is_walked_before_there_is_a_channel(tmp_path):
    """As far as memory allows, and for whoever comes next as it is then."""
    for number in range(AHEAD // 2):
        (tmp_path / f"{number:05}").touch()
    visits = []

    def entries() -> Iterator[Found | Skipped]:
        visits.append(0)
        for number in range(3):
            for item in walk([tmp_path]):
                visits[-1] += 1
                assert isinstance(item, Found)
                yield Found(item.entry._replace(path=b"%d" % number + item.entry.path), item.source)

    walking = Walking(entries)
    try:
        await walking.begin()
        await eventually(lambda: sum(visits) >= AHEAD)
        (tmp_path / "late").touch()
        await walking.begin()
        await eventually(lambda: sum(visits) >= 2 * AHEAD)
        assert visits == [AHEAD, AHEAD]
        found = [len(await walking.some(1000)) for _ in range(3 * (AHEAD // 2 + 2) // 1000 + 1)]
        assert set(found[:-1]) == {1000}
        assert sum(found) == visits[-1] == 3 * (AHEAD // 2 + 2)
        assert await walking.some(1000) == []
    finally:
        await walking.close()


async def test_what_went_away_before_anybody_came_is_told_when_it_is_to_be_sent(tmp_path):
    """The walk that was begun ahead fails by itself; whoever asks learns it."""
    walking = Walking(lambda: walk([tmp_path / "gone"]))
    try:
        await walking.begin()
        with pytest.raises(LocalFileError):
            await walking.some(1)
    finally:
        await walking.close()
