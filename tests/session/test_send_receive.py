"""The library's two calls against each other: what arrives, what is told, what an end leaves."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import mmap
import os
import threading
import time
from types import SimpleNamespace

import pytest

from p2pxfer.errors import (
    Declined,
    IntegrityError,
    LocalFileError,
    NoSpace,
    PartlyDone,
    PeerFailed,
    PeerGone,
    UsageError,
)
from p2pxfer.files import hashing
from p2pxfer.files.partial import PartialFile
from p2pxfer.files.reader import SourceFile
from p2pxfer.files.space import Space
from p2pxfer.files.walk import walk
from p2pxfer.files.writer import OutputTree
from p2pxfer.manifest import LAST_DATE, MIN_BLOCK
from p2pxfer.peer.channel import HIGH_WATER
from p2pxfer.progress import (
    Advanced,
    EntryFailed,
    FilesFinished,
    FileStarted,
    Finished,
    Offered,
    TextReceived,
)
from p2pxfer.session.exchange import OUTGOING_LIMIT
from p2pxfer.session.feed import AHEAD, FileFeed, Job
from p2pxfer.session.placement import Placement
from p2pxfer.session.receive import receive
from p2pxfer.session.receiving import ReceiveSide
from p2pxfer.session.send import send
from p2pxfer.session.sending import READ_AHEAD_FILES, SendSide
from p2pxfer.session.summary import Summary
from p2pxfer.session.tree_sink import TreeSink
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.continuity import KEEP
from p2pxfer.transfer.credit import BYTE_WINDOW
from tests.session.conftest import NOWHERE, Answers, eventually
from tests.session.ends import HELLO, MTIME, OFFER, ending, file, manifest, whole

MIB = 1 << 20


class Source:
    """A stream of ``size`` bytes; counts what was read of it, and can stop half-way."""

    def __init__(self, size: int, *, stop_at: int | None = None) -> None:
        self.read_so_far = 0
        self._size = size
        self._stop_at = stop_at
        self._block = os.urandom(MIB)

    async def read(self, size: int) -> bytes:
        if self._stop_at is not None and self.read_so_far >= self._stop_at:
            await asyncio.Event().wait()
        part = self._block[: min(size, self._size - self.read_so_far)]
        self.read_so_far += len(part)
        return part


class Slow(io.BytesIO):
    """Takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.asked = threading.Event()

    def write(self, data) -> int:
        self.asked.set()
        self.let.wait(600)
        return super().write(data)


@pytest.fixture
def tree(tmp_path):
    """A folder with something of everything."""
    top = tmp_path / "tree"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "empty folder").mkdir()
    (top / "empty").write_bytes(b"")
    (top / "small").write_bytes(b"small")
    (top / "deep" / "er" / "large").write_bytes(os.urandom(3 * MIB + 17))
    (top / "deep" / "zeros").write_bytes(bytes(2 * MIB))
    (top / "link").symlink_to("deep/er")
    name = os.fsdecode(b"odd \xff\n\x1b name")
    (top / name).write_bytes(b"odd")
    (top / "small").chmod(0o751)
    for path in sorted(top.rglob("*"), reverse=True):
        os.utime(path, ns=(MTIME, MTIME), follow_symlinks=False)
    (top / "deep").chmod(0o750)
    return top


def listing(top) -> dict:
    """Everything below ``top``: kind, mode, mtime, content."""
    found = {}
    for path in top.rglob("*"):
        at = path.lstat()
        content = (
            os.readlink(path)
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else None
        )
        mode = None if path.is_symlink() else at.st_mode
        found[str(path.relative_to(top))] = (mode, at.st_mtime_ns, content)
    return found


def finished_files(events) -> list:
    """Those that were told of, in order."""
    return [file for event in events.all(FilesFinished) for file in event.files]


async def test_a_tree_arrives_as_it_was(transfer, tree):
    """Content, modes, mtimes, links, empty folders, names; both sides tell the same."""
    both = transfer(tree)
    sent, received = await both.ends()
    assert isinstance(sent, Summary)
    assert isinstance(received, Summary)
    assert (sent.root, sent.size, sent.files) == (received.root, received.size, received.files)
    assert listing(both.out / "tree") == listing(tree)
    for events in (both.sent, both.received):
        total = sum(event.size for event in events.all(Advanced))
        assert total == sent.size
        assert sum(event.saved for event in events.all(Advanced)) == 2 * MIB  # the zeros
        assert events.all(Offered)[-1].complete
        assert len(events.all(Finished)) == 1
        finished = {(path, digest) for path, _, digest in finished_files(events)}
        assert len(finished) == sent.files == 5
    assert [path for path, *_ in finished_files(both.sent)] == [
        path for path, *_ in finished_files(both.received)
    ]


async def test_dates_that_no_entry_carries(transfer, tree):
    """A file, a folder and a symlink of the year 2300 arrive whole, dated as late as can be."""
    far = 10_413_792_000
    for name in ("small", "deep/er/large", "link", "empty folder"):
        os.utime(tree / name, (far, far), follow_symlinks=False)
    listed = {
        name: (mode, min(mtime_ns, LAST_DATE), content)
        for name, (mode, mtime_ns, content) in listing(tree).items()
    }
    both = transfer(tree)
    assert [type(end) for end in await both.ends()] == [Summary, Summary]
    assert listing(both.out / "tree") == listed


async def test_a_progress_that_raises_ends_it(transfer, tmp_path, monkeypatch):
    """Also where nothing but the listing of what is sent hears of it."""

    def emit(event) -> None:
        if isinstance(event, Offered):
            raise ValueError("no room on the screen")

    (tmp_path / "file").write_text("x")
    both = transfer(tmp_path / "file")
    monkeypatch.setattr(both.sent, "emit", emit)
    sent, received = await both.ends()
    assert "no room on the screen" in str(sent)
    assert isinstance(received, PeerGone)


async def test_several_arguments(transfer, tmp_path):
    """Each has its own name at the top."""
    paths = []
    for name in ("one", "two"):
        path = tmp_path / name
        path.write_text(name)
        paths.append(path)
    both = transfer(*paths)
    await both.ends()
    assert {path.name: path.read_text() for path in both.out.iterdir()} == {
        "one": "one",
        "two": "two",
    }
    assert set(both.answers.offers[0].names) == {b"one", b"two"}


async def test_thousands_of_small_files(transfer, tmp_path):
    """Windows of entries and batches of files never wait for one another."""
    top = tmp_path / "many"
    top.mkdir()
    for number in range(4000):
        (top / f"{number}").write_bytes(b"%d" % number)
    both = transfer(top)
    sent, received = await both.ends()
    assert isinstance(sent, Summary)
    assert isinstance(received, Summary)
    assert sent.files == received.files == 4000
    assert (both.out / "many" / "3999").read_bytes() == b"3999"


async def test_a_sparse_file_arrives_sparse(transfer, tmp_path):
    """A hole takes neither time nor disk."""
    path = tmp_path / "sparse"
    with path.open("wb") as out:
        out.write(b"begin")
        out.truncate(2 << 30)
        out.seek((2 << 30) - 3)
        out.write(b"end")
    both = transfer(path, to={"output": tmp_path / "copy"})
    sent, _ = await both.ends()
    assert isinstance(sent, Summary)
    found = (tmp_path / "copy").stat()
    assert found.st_size == 2 << 30
    assert found.st_blocks * 512 < 64 * MIB


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB])
async def test_a_stream_of_any_length(transfer, tmp_path, size):
    """Its end is found where it is, on a block's edge as well."""
    source = Source(size)
    both = transfer(stream=source, stream_name=b"s", to={"output": tmp_path})
    sent, received = await both.ends()
    assert isinstance(sent, Summary)
    assert isinstance(received, Summary)
    assert sent.size == size
    data = (tmp_path / "s").read_bytes()
    assert data == (source._block * 6)[:size]


async def test_a_stream_into_a_writer(transfer):
    """As the command does with its standard output."""
    out = io.BytesIO()
    both = transfer(stream=Source(3 * MIB), to={"output": out})
    await both.ends()
    assert len(out.getvalue()) == 3 * MIB
    assert not both.out.exists()


async def test_a_folder_into_a_writer_is_refused(transfer, tree):
    """Nobody is asked; the sender hears that the receiver could not go on."""
    both = transfer(tree, to={"output": io.BytesIO()})
    sent, received = await both.ends()
    assert type(received) is UsageError
    assert type(sent) is PeerFailed
    assert not both.answers.offers


@pytest.mark.parametrize("text", ["", "hello", "smile \U0001f600\n\x1b[31m", "x" * MIB])
async def test_a_text(transfer, text):
    """Shown, never written; an empty one too."""
    both = transfer(text=text)
    sent, received = await both.ends()
    assert isinstance(sent, Summary)
    assert isinstance(received, Summary)
    assert [event.text for event in both.received.all(TextReceived)] == [text]
    assert not both.out.exists()


async def test_a_place_that_no_system_has(transfer, tree, tmp_path):
    """It matters to files, is told like any other, and not to a text."""
    nowhere = tmp_path / ("x" * 300)
    _, received = await transfer(text="hello", to={"output": nowhere}).ends()
    assert isinstance(received, Summary)
    _, received = await transfer(tree, to={"output": nowhere}).ends()
    assert type(received) is LocalFileError


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["a"], {"text": "b"}),
        ([], {"text": "x" * (MIB + 1)}),
        ([], {"text": "\udcff"}),
    ],
    ids=["nothing", "two kinds", "long text", "no text"],
)
async def test_what_makes_no_sense_is_refused_before_anybody_is_asked(arguments, options):
    """A usage error, without a network."""
    with pytest.raises(UsageError):
        await send(arguments, network=NOWHERE, **options)


async def test_a_missing_argument_is_told_before_a_code_is_shown(tmp_path):
    """A local error, without a network."""
    with pytest.raises(LocalFileError):
        await send([tmp_path / "nothing"], network=NOWHERE)


async def test_declined(transfer, tree):
    """Both sides say so, and nothing was written, not even a folder."""
    both = transfer(tree, to={"interaction": Answers(accept=False)})
    sent, received = await both.ends()
    assert type(sent) is Declined
    assert type(received) is Declined
    assert not both.out.exists()
    assert not both.sent.all(FileStarted)


async def test_the_time_that_somebody_takes_to_say_yes_does_not_count(transfer, tree):
    """Both sides count from then on; or a rate would say how fast somebody reads."""

    class Hesitant(Answers):
        async def accept(self, offer):
            accepted = await super().accept(offer)
            self.said_at = time.monotonic()
            return accepted

    answers = Hesitant()
    sent, received = await transfer(tree, to={"interaction": answers}).ends()
    since = time.monotonic() - answers.said_at
    assert 0 < sent.seconds < since
    assert 0 < received.seconds < since


def remembered(home) -> list[str]:
    """The kinds of files that a later run would go on with."""
    return sorted(path.suffix for path in home.rglob("*.*") if path.is_file())


async def test_unattended_receivers_decline(transfer, tree):
    """A program that gives no answers takes nothing unless it says so."""
    both = transfer(tree, to={"interaction": None})
    sent, received = await both.ends()
    assert type(sent) is type(received) is Declined


@pytest.mark.parametrize(
    ("existing", "kept", "renamed"),
    [
        ("fail", True, False),
        ("skip", True, False),
        ("rename", True, True),
        ("overwrite", False, False),
    ],
)
async def test_a_file_that_is_there(transfer, tmp_path, existing, kept, renamed):
    """What becomes of it, and what is told."""
    path = tmp_path / "file"
    path.write_bytes(b"new")
    out = tmp_path / "out"
    out.mkdir()
    (out / "file").write_bytes(b"old")
    both = transfer(path, to={"existing": existing})
    sent, received = await both.ends()
    assert (out / "file").read_bytes() == (b"old" if kept else b"new")
    assert (out / "file (1)").exists() == renamed
    lost = kept and not renamed
    assert type(sent) is type(received) is (PartlyDone if lost else Summary)
    assert len(both.sent.all(EntryFailed)) == len(both.received.all(EntryFailed)) == lost


async def test_what_is_not_wanted_is_not_remembered(transfer, tmp_path, home):
    """To send it again would change nothing."""
    path = tmp_path / "file"
    path.write_bytes(b"new")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_bytes(b"old")
    both = transfer(path, to={"resume": "auto"})
    sent, received = await both.ends()
    assert type(sent) is type(received) is PartlyDone
    assert remembered(home) == []


async def test_somebody_is_asked_about_each_file_that_is_there(transfer, tmp_path):
    """And what they say is done."""
    top = tmp_path / "top"
    top.mkdir()
    (tmp_path / "out" / "top").mkdir(parents=True)
    for name in ("a", "b"):
        (top / name).write_bytes(b"new")
        (tmp_path / "out" / "top" / name).write_bytes(b"old")
    answers = Answers(existing="overwrite")
    both = transfer(top, to={"existing": "ask", "interaction": answers})
    await both.ends()
    assert answers.asked == [b"top/a", b"top/b"]
    assert (both.out / "top" / "a").read_bytes() == b"new"


async def test_a_file_that_vanishes_is_told_and_the_rest_goes_on(transfer, tmp_path, home):
    """Both sides name it, and remember enough to send it alone once it is there again."""
    top = tmp_path / "top"
    top.mkdir()
    (top / "goes").write_bytes(os.urandom(MIB))
    (top / "stays").write_bytes(b"stays")

    class Remover(Answers):
        async def accept(self, offer):
            (top / "goes").unlink()
            return await super().accept(offer)

    both = transfer(top, to={"interaction": Remover(), "resume": "auto"})
    sent, received = await both.ends()
    assert type(sent) is type(received) is PartlyDone
    assert remembered(home) == [".journal", ".sending"]
    for events in (both.sent, both.received):
        (failed,) = events.all(EntryFailed)
        assert failed.path == b"top/goes"
    assert (both.out / "top" / "stays").read_bytes() == b"stays"
    assert not (both.out / "top" / "goes").exists()


async def test_what_the_sender_cannot_read_is_named_by_it(transfer, tmp_path):
    """The receiver, which never heard of it, says so."""
    top = tmp_path / "top"
    top.mkdir()
    os.mkfifo(top / "pipe")
    both = transfer(top)
    sent, received = await both.ends()
    assert [event.path for event in both.sent.all(EntryFailed)] == [b"top/pipe"]
    assert "lines above" in sent.hint
    assert not both.received.all(EntryFailed)
    assert "the sender names" in received.hint


async def test_a_folder_for_a_place_that_is_a_file(transfer, tree, tmp_path):
    """It is said so, and the file stays."""
    there = tmp_path / "there"
    there.write_bytes(b"mine")
    _, received = await transfer(tree, to={"output": there}).ends()
    assert type(received) is LocalFileError
    assert "is no folder" in received.message
    assert there.read_bytes() == b"mine"


async def test_where_the_working_directory_is_gone(tmp_path):
    """A path that does not depend on it is still sent from; else nobody is looked for."""
    gone = tmp_path / "gone"
    gone.mkdir()
    (tmp_path / "file").write_bytes(b"data")
    here = os.open(".", os.O_RDONLY)
    os.chdir(gone)
    gone.rmdir()
    try:
        with pytest.raises(LocalFileError, match="is gone"):
            await receive("7-orbit-lamp", network=NOWHERE)
        with pytest.raises(LocalFileError, match="is gone"):
            await send(["file"], network=NOWHERE)
        assert [found.entry.path for found in walk([tmp_path / "file"])] == [b"file"]
    finally:
        os.fchdir(here)
        os.close(here)


@pytest.mark.parametrize(("limit", "fits"), [(0, False), (4, False), (5, True)])
async def test_the_limit_on_size(transfer, tmp_path, limit, fits):
    """What is over it is left out and told; what fits arrives."""
    path = tmp_path / "five"
    path.write_bytes(b"fives")
    both = transfer(path, to={"max_size": limit, "output": tmp_path / "copy"})
    sent, received = await both.ends()
    assert type(sent) is type(received) is (Summary if fits else PartlyDone)
    assert (tmp_path / "copy").exists() == fits


async def test_only_what_differs_from_an_older_copy_crosses(transfer, tmp_path):
    """The rest is taken from what is there, and the copy is whole."""
    path, copy = tmp_path / "file", tmp_path / "copy"
    data = bytearray(os.urandom(8 * MIB))
    copy.write_bytes(data)
    data[5 * MIB] ^= 1
    path.write_bytes(data)
    both = transfer(path, to={"existing": "update", "output": copy})
    crossed, send = 0, both.links[0].channel.send

    async def count(message: bytes) -> None:
        nonlocal crossed
        crossed += len(message)
        await send(message)

    both.links[0].channel.send = count
    sent, received = await both.ends()
    assert isinstance(sent, Summary)
    assert isinstance(received, Summary)
    assert copy.read_bytes() == data
    assert crossed < MIB


@pytest.mark.parametrize("differs", [True, False])
async def test_a_program_writes_to_an_older_copy_through_a_mapping(
    transfer, tmp_path, monkeypatch, differs
):
    """After it was hashed, without a trace in its mtime: it does not pass for what was sent."""
    path, copy = tmp_path / "f", tmp_path / "copy"
    old = os.urandom(4 * MIN_BLOCK)
    path.write_bytes(old[:-9] + b"different" if differs else old)
    copy.write_bytes(old)
    written = []
    with copy.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:4] = old[:4]  # dirty from now on

        def older(self, admission):
            written.append(self)
            if len(written) == 2:  # the first is for the digests that are offered
                before = os.stat(copy)
                mapped[100:109] = b"a program"
                os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))  # most disks' is so
            return real(self, admission)

        real = OutputTree.older
        monkeypatch.setattr(OutputTree, "older", older)
        sent, received = await transfer(path, to={"existing": "update", "output": copy}).ends()
    assert isinstance(sent, PartlyDone)
    assert isinstance(received, PartlyDone)
    assert copy.read_bytes() == old[:100] + b"a program" + old[109:]


async def test_a_file_that_changes_on_its_way_to_an_older_copy(transfer, tmp_path):
    """The older copy stays as it was."""
    path, copy = tmp_path / "file", tmp_path / "copy"
    path.write_bytes(os.urandom(AHEAD + 8 * MIB))  # no end is read before the beginning is sent
    copy.write_bytes(old := path.read_bytes()[: 4 * MIB] + bytes(AHEAD + 4 * MIB))

    class Changer(Answers):
        async def accept(self, offer):
            os.truncate(path, AHEAD + 6 * MIB + 5)
            return await super().accept(offer)

    both = transfer(path, to={"existing": "update", "output": copy, "interaction": Changer()})
    began = both.links[0].channel.send

    async def change(message: bytes) -> None:
        if len(message) > 60_000:
            os.utime(path)
        await began(message)

    both.links[0].channel.send = change
    sent, received = await both.ends()
    assert type(sent) is type(received) is PartlyDone
    assert copy.read_bytes() == old


async def test_a_damaged_block_on_its_way_to_an_older_copy(transfer, tmp_path):
    """The older copy stays as it was."""
    path, copy = tmp_path / "file", tmp_path / "copy"
    path.write_bytes(os.urandom(4 * MIB))
    copy.write_bytes(old := path.read_bytes()[: 2 * MIB] + bytes(2 * MIB))
    both = transfer(path, to={"existing": "update", "output": copy})
    send = both.links[0].channel.send

    async def damage(message: bytes) -> None:
        await send(message[:-1] + b"!" if len(message) > 60_000 else message)

    both.links[0].channel.send = damage
    sent, received = await both.ends()
    assert type(sent) is type(received) is IntegrityError
    assert copy.read_bytes() == old


async def test_without_a_place_for_state_it_works_all_the_same(transfer, tmp_path, monkeypatch):
    """Then nothing can be resumed, which is no reason not to send."""
    (tmp_path / "no folder").write_bytes(b"")
    monkeypatch.setenv("HOME", str(tmp_path / "no folder"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "no folder"))
    path = tmp_path / "file"
    path.write_bytes(b"data")
    both = transfer(path)
    both.out.mkdir()
    sent, received = await both.ends()
    assert isinstance(sent, Summary)
    assert isinstance(received, Summary)


async def test_the_output_can_be_a_name_for_a_single_file(transfer, tmp_path):
    """The sender's name counts for nothing then."""
    path = tmp_path / "theirs"
    path.write_bytes(b"data")
    both = transfer(path, to={"output": tmp_path / "mine"})
    await both.ends()
    assert (tmp_path / "mine").read_bytes() == b"data"


async def test_a_name_for_a_single_file_while_the_list_is_slow(as_sender, tmp_path, monkeypatch):
    """It is no folder only because the end of the list is late."""
    monkeypatch.setattr("p2pxfer.session.judging.ALONE", 0.05)
    data, target = b"content", tmp_path / "mine"
    attack = as_sender(output=target, interaction=None, accept=True)
    entry = file(b"theirs", len(data))
    page, end = manifest(entry)
    await attack.peer.say(HELLO, OFFER, page)
    await asyncio.sleep(0.3)
    await attack.peer.say(end)
    await attack.peer.hear(m.Want)
    await attack.peer.say(*whole(0, data))
    while (await attack.peer.hear(m.Credit)).settled != 1:
        pass
    await attack.peer.say(ending([(entry, data, None)]))
    await attack.peer.hear(m.Receipt)
    await attack.peer.say(m.Bye())
    assert isinstance(await attack.result(), Summary)
    assert target.read_bytes() == data


async def test_what_is_there_already_asks_for_no_room(transfer, tmp_path, monkeypatch):
    """But what is not, does, before anything is written."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(8 * MIB))
    await transfer(path).ends()
    for module in ("session.placement", "files.writer", "files.open_files"):
        monkeypatch.setattr(f"p2pxfer.{module}.free_space", lambda _: Space(4 * MIB, None))
    _, again = await transfer(path).ends()
    assert isinstance(again, Summary)
    elsewhere = tmp_path / "elsewhere"
    _, new = await transfer(path, to={"output": f"{elsewhere}/"}).ends()
    assert type(new) is NoSpace
    assert not elsewhere.exists()


async def test_the_receiver_is_cancelled_in_the_middle(transfer, tmp_path):
    """The sender hears of it at once; no thread, task, file or temporary stays."""
    both = transfer(stream=Source(64 * MIB, stop_at=8 * MIB), to={"output": tmp_path / "copy"})
    await eventually(lambda: both.received.all(Advanced))
    both.receiver.cancel()
    sent, received = await both.ends()
    assert isinstance(received, asyncio.CancelledError)
    assert type(sent) is PeerGone
    assert "interrupted" in sent.message
    assert not (tmp_path / "copy").exists()


async def test_the_sender_is_cancelled_in_the_middle(transfer, tmp_path):
    """The same the other way round."""
    both = transfer(stream=Source(64 * MIB, stop_at=8 * MIB), to={"output": tmp_path / "copy"})
    await eventually(lambda: both.received.all(Advanced))
    both.sender.cancel()
    sent, received = await both.ends()
    assert isinstance(sent, asyncio.CancelledError)
    assert type(received) is PeerGone
    assert "interrupted" in received.message
    assert not (tmp_path / "copy").exists()


async def test_each_file_is_read_once(transfer, tmp_path, monkeypatch):
    """However many there are beyond those that are read ahead."""
    top = tmp_path / "many"
    top.mkdir()
    for number in range(2 * READ_AHEAD_FILES):
        (top / f"{number}").write_bytes(b"small")
    told: list[int] = []
    add = FileFeed.add

    def adding(feed: FileFeed, jobs: list[Job]) -> None:
        told.extend(job.number for job in jobs)
        add(feed, jobs)

    monkeypatch.setattr(FileFeed, "add", adding)
    sent, _ = await transfer(top).ends()
    assert isinstance(sent, Summary)
    assert told == list(range(1, 2 * READ_AHEAD_FILES + 1))


async def test_both_are_cancelled_at_once_while_a_tree_crosses(transfer, tmp_path):
    """Wherever they are: walking, reading, writing."""
    top = tmp_path / "many"
    top.mkdir()
    for number in range(600):
        (top / f"{number}").write_bytes(os.urandom(3000))
    for delay in (0.0, 0.01, 0.03, 0.06, 0.1):
        both = transfer(top)
        await asyncio.sleep(delay)
        both.sender.cancel()
        both.receiver.cancel()
        await both.ends()


async def test_cancelled_while_it_ends_it_ends_all_the_same(transfer, tmp_path, monkeypatch):
    """What was open is closed; whoever cancelled is heard."""
    top = tmp_path / "many"
    top.mkdir()
    for number in range(600):
        (top / f"{number}").write_bytes(b"small")
    close = SendSide.close

    async def closing(side: SendSide) -> None:
        both.sender.cancel()
        await close(side)

    monkeypatch.setattr(SendSide, "close", closing)
    both = transfer(top)
    sent, _ = await both.ends()
    assert isinstance(sent, asyncio.CancelledError)
    assert not [handle for handle in handles() if handle.startswith(str(top))]


async def test_cancelled_while_the_place_is_opened(transfer, tree, monkeypatch):
    """It is closed, although nobody waits for it any more."""
    closes = threading.Event()
    open_, close, loop = Placement.open, ReceiveSide.close, asyncio.get_running_loop()

    def opening(place: Placement) -> object:
        loop.call_soon_threadsafe(both.receiver.cancel)
        closes.wait(60)
        time.sleep(0.05)
        return open_(place)

    async def closing(side: ReceiveSide, *, keep: bool) -> None:
        closes.set()
        await close(side, keep=keep)

    monkeypatch.setattr(Placement, "open", opening)
    monkeypatch.setattr(ReceiveSide, "close", closing)
    both = transfer(tree)
    _, received = await both.ends()
    assert isinstance(received, asyncio.CancelledError)
    await eventually(both.out.is_dir)
    assert not [handle for handle in handles() if handle.startswith(str(both.out))]


async def test_a_place_that_cannot_be_closed(transfer, tree, monkeypatch, home):
    """The next run finds the journal, which nobody holds any more."""
    close = TreeSink.close

    def closing(sink: TreeSink, *, keep: bool) -> None:
        close(sink, keep=keep)
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(TreeSink, "close", closing)
    _, received = await transfer(tree, to={"resume": "auto"}).ends()
    assert isinstance(received, OSError)
    assert ".journal" in remembered(home)
    assert not [handle for handle in handles() if handle.startswith(str(home))]


def handles() -> list[str]:
    """What this process has open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return found


async def test_a_stream_that_fails_to_be_read(transfer, tmp_path):
    """The reader's own error comes out, and the receiver keeps nothing."""

    class Broken(Source):
        async def read(self, size: int) -> bytes:
            if self.read_so_far >= 2 * MIB:
                raise OSError("the tape tore")
            return await super().read(size)

    both = transfer(stream=Broken(8 * MIB), to={"output": tmp_path / "copy"})
    sent, received = await both.ends()
    assert isinstance(sent, OSError)
    assert type(received) is PeerFailed
    assert "tape" not in received.message
    assert not (tmp_path / "copy").exists()


async def test_a_writer_that_fails(transfer):
    """A full disk behind a pipe is a local error here, and a peer that is gone there."""

    class Full(io.BytesIO):
        def write(self, _data) -> int:
            raise OSError(28, "No space left on device")

    both = transfer(stream=Source(8 * MIB), to={"output": Full()})
    sent, received = await both.ends()
    assert type(received) is LocalFileError
    assert type(sent) is PeerFailed


async def test_memory_stays_bounded_when_the_receiver_is_slow(transfer):
    """What was read and not yet written fits into the windows, whatever the stream's length."""
    source, out = Source(512 * MIB), Slow()
    both = transfer(stream=source, to={"output": out})
    last = -1
    for _ in range(100):
        await asyncio.sleep(0.1)
        if source.read_so_far == last and last:
            break
        last = source.read_so_far
    assert source.read_so_far <= AHEAD + BYTE_WINDOW + KEEP + OUTGOING_LIMIT + HIGH_WATER + 2 * MIB
    both.receiver.cancel()
    out.let.set()
    await both.ends()


async def test_whoever_should_read_has_stopped(transfer):
    """A full pipe keeps nobody from ending it."""
    out = Slow()
    both = transfer(stream=Source(8 * MIB), to={"output": out})
    await eventually(out.asked.is_set)
    both.receiver.cancel()
    sent, received = await both.ends()
    assert isinstance(received, asyncio.CancelledError)
    assert type(sent) is PeerGone
    assert not out.let.is_set()
    out.let.set()


async def test_the_loop_is_not_blocked(transfer, tmp_path, monkeypatch):
    """Reading, hashing and writing happen on other threads than its own."""
    threads: dict[str, set[str]] = {}

    def watched(what: str, function):
        def call(*arguments, **options):
            threads.setdefault(what, set()).add(threading.current_thread().name)
            return function(*arguments, **options)

        return call

    for kind, name in ((SourceFile, "read_into"), (PartialFile, "write_at"), (PartialFile, "seal")):
        monkeypatch.setattr(kind, name, watched(name, getattr(kind, name)))
    hasher = SimpleNamespace(copy=watched("hash", hashing._block.copy))
    monkeypatch.setattr(hashing, "_block", hasher)
    path = tmp_path / "large"
    path.write_bytes(os.urandom(16 * MIB))
    both = transfer(path, to={"output": tmp_path / "copy"})
    assert all(isinstance(end, Summary) for end in await both.ends())
    assert set(threads) == {"read_into", "hash", "write_at", "seal"}
    assert threading.current_thread().name not in set.union(*threads.values())


async def test_a_changed_byte_on_the_way_is_noticed(transfer, tmp_path):
    """Both end with an integrity error; nothing gets a name."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(2 * MIB))
    both = transfer(path, to={"output": tmp_path / "copy"})
    channel = both.links[0].channel
    send, hit = channel.send, 0

    async def change(message: bytes) -> None:
        nonlocal hit
        if len(message) > 60_000 and not hit:
            hit = 1
            message = message[:-1] + bytes((message[-1] ^ 1,))
        await send(message)

    channel.send = change
    sent, received = await both.ends()
    assert hit
    assert type(received) is IntegrityError
    assert type(sent) is IntegrityError
    assert not (tmp_path / "copy").exists()
