"""What takes trees: limits, space, batches, and files that fail while others go on."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import threading
import tracemalloc

import pytest

from p2pxfer.errors import IntegrityError, NoSpace
from p2pxfer.files import folders, syncing
from p2pxfer.files.admission import ExistingPolicy
from p2pxfer.files.hashing import FileRoot, block_digest, zero_digest
from p2pxfer.files.journal import Journal, Journals
from p2pxfer.files.records import Identity
from p2pxfer.files.writer import OutputTree
from p2pxfer.manifest import MIN_BLOCK, Entry, Failure, block_size
from p2pxfer.session.sinks import Arrived, ArrivedWhole, Deed, Ended, EndedWell
from p2pxfer.session.small_files import SMALL_BYTES
from p2pxfer.session.tree_sink import TreeSink
from p2pxfer.transfer.actions import BeginFile, EndFile, MakeEntry, TakeFile, WriteBlock
from tests.files.resuming import header
from tests.session.ends import MTIME, file, file_root, folder, link


@pytest.fixture
def sink_of(tmp_path):
    """Makes sinks below ``out``; all are closed with the test."""
    made = []

    def make(*, existing=ExistingPolicy.FAIL, **options) -> TreeSink:
        made.append(
            TreeSink(OutputTree(tmp_path / "out", existing=existing), tmp_path / "out", **options)
        )
        return made[-1]

    yield make
    for sink in made:
        sink.close(keep=False)


@pytest.fixture
def batch():
    """How many small files share a sync: few, as few handles are to be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (496, hard))
    yield 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def deeds(number: int, entry: Entry, data: bytes) -> list[Deed]:
    """All of a file."""
    done: list[Deed] = [BeginFile(number, entry, len(data), entry.mode, entry.mtime_ns)]
    step = block_size(len(data))
    for index, at in enumerate(range(0, len(data), step)):
        part = data[at : at + step]
        wanted = WriteBlock(number, index, at, len(part), block_digest(part), zero=False)
        done.append(Arrived(wanted, [part]))
    return [*done, EndFile(number, len(data), file_root(data), None)]


def endings(results) -> dict[int, Failure | None]:
    well = {n: None for each in results if isinstance(each, EndedWell) for n in each.numbers}
    return well | {each.number: each.failure for each in results if isinstance(each, Ended)}


def test_small_files_wait_for_one_another_unless_nothing_else_comes(batch, sink_of, tmp_path):
    """A batch is written when it is full, and named after others, or when the line is quiet."""
    sink = sink_of()
    entries = [file(b"%04d" % number, 4) for number in range(4 * batch + 10)]
    assert not sink.admit(0, entries)
    done = [deeds(number, entry, b"data") for number, entry in enumerate(entries)]
    for some in (done[:1], done[1:batch]):
        assert endings(sink.apply([deed for each in some for deed in each], idle=False)) == {}
    assert sink.waits()
    rest = [deed for each in done[batch:] for deed in each]
    named = endings(sink.apply(rest, idle=False))
    assert set(named) >= set(range(2 * batch))
    assert sink.waits()
    named |= endings(sink.apply([], idle=True))
    assert named == dict.fromkeys(range(len(entries)))
    assert not sink.waits()
    assert len(os.listdir(tmp_path / "out")) == len(entries)


def test_an_error_of_the_disk_concerns_what_was_written_by_then(
    batch, sink_of, tmp_path, monkeypatch
):
    """Whatever is synced when it is told, and what was being written then; nothing of it stays."""
    written, failing = threading.Event(), iter([True, False, False])

    def sync(_fd: int) -> bool:
        written.wait(10)
        if next(failing):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return True

    monkeypatch.setattr(folders, "syncs_whole", lambda _: True)
    monkeypatch.setattr(syncing, "sync_filesystem", sync)
    sink, entries = sink_of(), [file(b"%04d" % number, 4) for number in range(batch + 10)]
    sink.admit(0, entries)
    done = [deeds(number, entry, b"data") for number, entry in enumerate(entries)]
    sink.apply([deed for each in done[:-1] for deed in each], idle=False)
    written.set()
    told: dict[int, Failure | None] = {}
    while not told:
        told |= endings(sink.apply([], idle=False))
    told |= endings(sink.apply(done[-1], idle=True))
    assert told == dict.fromkeys(range(len(entries)), Failure.WRITE_FAILED)
    assert os.listdir(tmp_path / "out") == []


def test_a_few_small_files_are_synced_before_they_have_their_names(sink_of, tmp_path, monkeypatch):
    """Each by itself; an error of the disk leaves no name."""
    named: list[list[str]] = []

    def sync(_fd: int) -> None:
        named.append(os.listdir(tmp_path / "out"))
        if len(named) > 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", sync)
    sink, entries = sink_of(), [file(name, 4) for name in (b"1", b"2", b"3")]
    sink.admit(0, entries)
    done = [deeds(number, entry, b"data") for number, entry in enumerate(entries)]
    told = endings(sink.apply([deed for each in done[:2] for deed in each], idle=True))
    assert (named, told) == ([[], []], {0: None, 1: None})
    told = endings(sink.apply(done[2], idle=True))
    assert told == {2: Failure.WRITE_FAILED}
    assert sorted(os.listdir(tmp_path / "out")) == ["1", "2"]


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_synced_when_the_end_comes_gets_its_name_or_goes(batch, sink_of, tmp_path, keep):
    """What is whole may have its name by then. Nothing else stays, whatever the end."""
    sink = sink_of()
    entries = [file(b"%04d" % number, 4) for number in range(batch)]
    sink.admit(0, entries)
    for number, entry in enumerate(entries):  # the last may find the sync of all done already
        told = endings(sink.apply(deeds(number, entry, b"data"), idle=False))
        assert number == batch - 1 or told == {}
    sink.close(keep=keep)
    there = os.listdir(tmp_path / "out")
    assert set(there) <= {os.fsdecode(entry.path) for entry in entries}
    assert all((tmp_path / "out" / name).read_bytes() == b"data" for name in there)
    assert len(there) == len(entries) or not keep


@pytest.mark.parametrize("size", [100, 3 * MIN_BLOCK])
def test_a_file_over_the_limit_fails_alone_and_once(sink_of, tmp_path, size):
    """What comes of it after that is passed over, and the next one fits again."""
    sink = sink_of(max_size=50)
    entries = [file(b"a", 1), file(b"b", 40)]
    sink.admit(0, entries)
    results = sink.apply([*deeds(0, entries[0], bytes(size)[:-1] + b"x")], idle=True)
    assert endings(results) == {0: Failure.TOO_LARGE}
    assert endings(sink.apply(deeds(1, entries[1], b"y" * 40), idle=True)) == {1: None}
    assert os.listdir(tmp_path / "out") == ["b"]


def test_what_is_listed_over_the_limit_is_not_admitted(sink_of):
    """In the order of the list; a later one may still fit."""
    sink = sink_of(max_size=50)
    refused = sink.admit(0, [file(b"a", 40), file(b"b", 40), file(b"c", 10)])
    assert [(number, failure) for number, failure, _ in refused] == [(1, Failure.TOO_LARGE)]


def test_pages_that_no_disk_holds_end_it(sink_of):
    """Each page is added to what is still to come."""
    sink = sink_of()
    sink.admit(0, [file(b"a", 1)])
    with pytest.raises(NoSpace):
        sink.admit(1, [file(b"b", 2**62)])


def test_what_was_skipped_needs_no_space(sink_of, tmp_path):
    """An answer gives it back."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_bytes(b"old")
    sink = sink_of(existing=ExistingPolicy.ASK, max_size=50)
    sink.admit(0, [file(b"a", 40)])
    ((number, entry),) = sink.questions()
    assert entry.path == b"a"
    assert sink.answer(number, ExistingPolicy.SKIP) is not None
    assert not sink.questions()
    assert not sink.admit(1, [file(b"b", 40)])


def test_what_fails_at_the_sender_needs_no_space(sink_of):
    """Nor does it count for the limit."""
    sink = sink_of(max_size=50)
    sink.admit(0, [file(b"a", 40)])
    sink.apply([away(0)], idle=True)
    assert not sink.admit(1, [file(b"b", 40)])


def test_one_that_fails_here_and_the_next_at_the_sender(sink_of):
    """Of the end of the first nobody tells; the second is settled all the same."""
    sink = sink_of(max_size=50)
    entry = file(b"grows", 10)
    sink.admit(0, [entry, file(b"goes", 10)])
    grown = BeginFile(0, entry, 60, entry.mode, entry.mtime_ns)
    assert endings(sink.apply([grown], idle=True)) == {0: Failure.TOO_LARGE}
    assert endings(sink.apply([away(1)], idle=True)) == {1: None}


def away(number: int) -> EndFile:
    """The sender could not begin it."""
    return EndFile(number, 0, bytes(32), Failure.VANISHED)


def test_a_hole_takes_no_blocks(sink_of, tmp_path):
    """And is checked all the same."""
    sink, size = sink_of(), 64 << 20
    entry = file(b"hole", size)
    sink.admit(0, [entry])
    step, root_of = block_size(size), bytes(size)
    zeros = [
        Arrived(WriteBlock(0, at // step, at, step, zero_digest(step), zero=True), [])
        for at in range(0, size, step)
    ]
    root = EndFile(0, size, _root_of_zeros(size), None)
    results = sink.apply([BeginFile(0, entry, size, 0o644, MTIME), *zeros, root], idle=True)
    assert endings(results) == {0: None}
    found = (tmp_path / "out" / "hole").stat()
    assert (found.st_size, found.st_blocks) == (len(root_of), 0)


def _root_of_zeros(size: int) -> bytes:
    root, step = FileRoot(), block_size(size)
    for _ in range(0, size, step):
        root.update(zero_digest(step))
    return root.digest(size)


def test_a_wrong_root_leaves_nothing(sink_of, tmp_path):
    """However much of the file was right."""
    sink = sink_of()
    entry = file(b"a", 3 * MIN_BLOCK)
    sink.admit(0, [entry])
    *work, ended = deeds(0, entry, os.urandom(3 * MIN_BLOCK))
    sink.apply(work, idle=True)
    with pytest.raises(IntegrityError):
        sink.apply([EndFile(0, 3 * MIN_BLOCK, bytes(32), None)], idle=True)
    assert ended
    sink.close(keep=False)
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("begun", [False, True])
def test_a_file_that_fails_at_the_sender_leaves_nothing(sink_of, tmp_path, begun):
    """Begun or not."""
    sink = sink_of()
    entry = file(b"a", 3 * MIN_BLOCK)
    sink.admit(0, [entry])
    work = deeds(0, entry, os.urandom(3 * MIN_BLOCK))[:2] if begun else []
    results = sink.apply([*work, EndFile(0, 0, b"", Failure.CHANGED)], idle=True)
    assert endings(results) == {0: None}
    assert os.listdir(tmp_path / "out") == []


def test_folders_and_links_are_made(sink_of, tmp_path):
    """And told as done."""
    sink = sink_of()
    entries = [folder(b"d"), link(b"d/l", b"x")]
    assert not sink.admit(0, entries)
    results = sink.apply([MakeEntry(0, entries[0]), MakeEntry(1, entries[1])], idle=True)
    assert endings(results) == {0: None, 1: None}
    assert os.readlink(tmp_path / "out" / "d" / "l") == "x"


def test_what_is_there_already_stays_as_it_is(sink_of, tmp_path):
    """A file, one of zeros, an empty one and a link, all just as they come: nothing is written."""
    contents = {b"a": os.urandom(MIN_BLOCK + 9), b"z": bytes(MIN_BLOCK), b"e": b"", b"s": b"small"}
    out = tmp_path / "out"
    entries = [file(name, len(data)) for name, data in contents.items()]
    work: list[Deed] = [MakeEntry(4, link(b"l", b"x"))]
    for number, (entry, data) in enumerate(zip(entries, contents.values(), strict=True)):
        some = deeds(number, entry, data)
        if entry.path == b"z":
            some[1] = Arrived(WriteBlock(1, 0, 0, MIN_BLOCK, zero_digest(MIN_BLOCK), zero=True), [])
        elif entry.path == b"s":
            some = [whole((number, entry, data))]
        work += some

    def found() -> dict[str, Identity]:
        return {name: Identity.of((out / name).lstat()) for name in os.listdir(out)}

    first = sink_of()
    first.admit(0, [*entries, link(b"l", b"x")])
    first.apply(work, idle=True)
    before = found()
    assert len(before) == 5
    sink = sink_of()
    assert not sink.admit(0, [*entries, link(b"l", b"x")])
    assert sink.likely() == []  # of no block of them is told
    assert endings(sink.apply(work, idle=True)) == dict.fromkeys(range(5))
    assert found() == before


@pytest.mark.parametrize("change", ["content", "attributes", "meanwhile", "gone"])
def test_what_only_looked_the_same_is_kept(sink_of, tmp_path, change):
    """Other bytes, a sender's file that is another by now, or one that somebody touched here."""
    data, entry = os.urandom(2 * MIN_BLOCK), file(b"a", 2 * MIN_BLOCK)
    sink, path = sink_of(), tmp_path / "out" / "a"
    path.write_bytes(data[:-1] + b"?" if change == "content" else data)
    path.chmod(0o644)
    os.utime(path, ns=(MTIME, MTIME))
    assert not sink.admit(0, [entry])
    begin, *work = deeds(0, entry, data)
    assert isinstance(begin, BeginFile)
    if change == "attributes":
        begin = begin._replace(mtime_ns=MTIME + 1)
    sink.apply([begin], idle=True)
    if change == "meanwhile":
        path.write_bytes(b"mine")
    elif change == "gone":
        path.unlink()
    kept = path.read_bytes() if path.exists() else None
    assert endings(sink.apply(work, idle=True)) == {0: Failure.EXISTS}
    assert (path.read_bytes() if path.exists() else None) == kept
    assert len(os.listdir(tmp_path / "out")) == (kept is not None)


@pytest.mark.parametrize("change", ["nothing", "content", "size"])
def test_a_disk_that_numbers_its_files_anew(tmp_path, change):
    """What an earlier run has placed is known by size and mtime: compared, and never replaced."""
    out, journals = tmp_path / "out", Journals(tmp_path / "state")
    data = os.urandom(MIN_BLOCK) + bytes(MIN_BLOCK) + os.urandom(9)
    entry, work = file(b"a", len(data)), deeds(0, file(b"a", len(data)), data)

    def begun() -> TreeSink:
        sink = TreeSink(OutputTree(out), out)
        sink.record(journals.create(header(out), journals.all()))
        return sink

    sink = begun()
    assert not sink.admit(0, [entry])
    assert endings(sink.apply(work, idle=True)) == {0: None}
    sink.close(keep=True)
    sink._journal.close()
    shutil.copy2(out / "a", tmp_path / "copy")
    if change == "content":
        with (tmp_path / "copy").open("r+b") as other:
            other.write(b"mine")
    os.utime(tmp_path / "copy", ns=(MTIME, MTIME + (change == "size")))
    (tmp_path / "copy").chmod(0o777)  # as FAT has it
    (tmp_path / "copy").replace(out / "a")
    kept = (out / "a").read_bytes()

    sink = begun()
    refused = sink.admit(0, [entry])
    assert [number for number, _, _ in refused] == [0] * (change == "size")
    if not refused:
        assert sink.likely() == [0]
        held = sink.held(0, 3)
        for place, deed in enumerate(work):
            if isinstance(deed, Arrived) and deed.block.digest in held:
                work[place] = Arrived(deed.block._replace(kept=True), [])
        wanted = Failure.EXISTS if change == "content" else None
        assert endings(sink.apply(work, idle=True)) == {0: wanted}
        assert sum(deed.block.kept for deed in work if isinstance(deed, Arrived)) == len(held) - (
            change == "content"
        )
    assert (out / "a").read_bytes() == kept
    sink.close(keep=False)
    sink._journal.close()


def test_a_link_whose_place_was_taken_meanwhile_fails_alone(sink_of, tmp_path):
    """Nothing is replaced."""
    sink = sink_of()
    entry = link(b"l", b"x")
    sink.admit(0, [entry])
    (tmp_path / "out" / "l").write_bytes(b"mine")
    assert endings(sink.apply([MakeEntry(0, entry)], idle=True)) == {0: Failure.EXISTS}
    assert (tmp_path / "out" / "l").read_bytes() == b"mine"


def test_a_folder_swapped_for_a_symlink_leads_nowhere(sink_of, tmp_path):
    """Between its listing and its file."""
    outside = tmp_path / "outside"
    outside.mkdir()
    sink = sink_of()
    entries = [folder(b"d"), file(b"d/f", 4)]
    sink.admit(0, entries)
    (tmp_path / "out" / "d").rename(tmp_path / "moved")
    (tmp_path / "out" / "d").symlink_to(outside)
    sink.apply(deeds(1, entries[1], b"data"), idle=True)
    assert os.listdir(outside) == []


def test_an_unfinished_file_whose_source_is_away_for_one_run(tmp_path):
    """The run after that goes on with it."""
    out, journals = tmp_path / "out", Journals(tmp_path / "state")
    out.mkdir()
    first = b"n" * MIN_BLOCK

    def begun() -> tuple[TreeSink, Journal, Entry]:
        sink = TreeSink(OutputTree(out), out)
        journal = journals.create(header(out), journals.all())
        sink.record(journal)
        entry = file(b"f", 2 * MIN_BLOCK)
        assert not sink.admit(0, [entry])
        return sink, journal, entry

    for run in range(3):
        sink, journal, entry = begun()
        held = sink.held(0, 2)
        if run == 0:
            wanted = WriteBlock(0, 0, 0, MIN_BLOCK, block_digest(first), zero=False)
            begin = BeginFile(0, entry, 2 * MIN_BLOCK, 0o644, MTIME)
            sink.apply([begin, Arrived(wanted, [first])], idle=True)
        else:
            assert held[0] == block_digest(first)
            assert endings(sink.apply([away(0)], idle=True)) == {0: None}
        sink.close(keep=run < 2)
        journal.close()
        assert len(os.listdir(out)) == (run < 2)


def test_an_unfinished_file_of_another_size_is_not_mixed_with_the_older_copy(tmp_path):
    """The digests offered were the temporary's: what is kept comes from there, and nowhere else."""
    out, journals = tmp_path / "out", Journals(tmp_path / "state")
    out.mkdir()
    (out / "f").write_bytes(b"o" * 2 * MIN_BLOCK)
    new, rest = b"n" * MIN_BLOCK, b"r" * 10

    def begun(size: int, *, continuing=()) -> tuple[TreeSink, Entry]:
        sink = TreeSink(OutputTree(out, existing=ExistingPolicy.UPDATE), out)
        sink.record(journals.create(header(out), continuing))
        entry = file(b"f", size)
        assert not sink.admit(0, [entry])
        return sink, entry

    sink, entry = begun(2 * MIN_BLOCK)
    first = WriteBlock(0, 0, 0, MIN_BLOCK, block_digest(new), zero=False)
    begin = BeginFile(0, entry, 2 * MIN_BLOCK, 0o644, MTIME)
    sink.apply([begin, Arrived(first, [new])], idle=True)
    sink.close(keep=True)
    sink._journal.close()

    sink, entry = begun(2 * MIN_BLOCK, continuing=journals.all())
    assert sink.held(0, 2) == [block_digest(new)]
    size = MIN_BLOCK + len(rest)  # it became shorter since it was listed
    last = WriteBlock(0, 1, MIN_BLOCK, len(rest), block_digest(rest), zero=False)
    done = sink.apply(
        [
            BeginFile(0, entry, size, 0o644, MTIME),
            Arrived(first._replace(kept=True), []),
            Arrived(last, [rest]),
            EndFile(0, size, file_root(new + rest), None),
        ],
        idle=True,
    )
    assert endings(done) == {0: None}
    sink.close(keep=False)
    sink._journal.finish()
    assert (out / "f").read_bytes() == new + rest
    assert os.listdir(out) == ["f"]


def whole(*files: tuple[int, Entry, bytes]) -> ArrivedWhole:
    """All of some small files in one deed, after something that is nobody's any more."""
    payload, taken = b"lost", []
    for number, entry, data in files:
        at, size, root = len(payload), len(data), file_root(data)
        taken.append(TakeFile(number, entry, at, size, entry.mode, entry.mtime_ns, root))
        payload += data
    return ArrivedWhole(tuple(taken), payload)


@pytest.mark.parametrize("max_size", [None, 5])
def test_a_small_file_comes_in_one_piece(sink_of, tmp_path, max_size):
    """Like one in several, within the limits and without any."""
    sink = sink_of(max_size=max_size)
    entries = [file(b"a", 1), file(b"b", 4), file(b"c", 0)]
    sink.admit(0, entries)
    files = [(0, entries[0], b"x"), (1, entries[1], b"data!"), (2, entries[2], b"")]
    results = sink.apply([whole(*files)], idle=True)
    over = None if max_size is None else Failure.TOO_LARGE
    assert endings(results) == {0: None, 1: over, 2: None}
    assert (tmp_path / "out" / "a").read_bytes() == b"x"
    assert (tmp_path / "out" / "c").read_bytes() == b""
    assert (tmp_path / "out" / "b").exists() is (over is None)


@pytest.mark.parametrize("max_size", [None, 5])
def test_a_small_file_that_is_damaged_is_not_written(sink_of, tmp_path, max_size):
    """Its root is of its content."""
    sink = sink_of(max_size=max_size)
    entry = file(b"a", 4)
    sink.admit(0, [entry])
    good = whole((0, entry, b"data"))
    with pytest.raises(IntegrityError):
        sink.apply([good._replace(payload=good.payload[:-1] + b"x")], idle=True)
    sink.close(keep=False)
    assert os.listdir(tmp_path / "out") == []


def test_small_files_that_wait_keep_no_more_in_memory_than_they_may(sink_of):
    """Each is a part of a frame, and the rest of that may be of files that are refused."""
    sink = sink_of(max_size=500)
    entries = [file(b"%03d" % number, 1) for number in range(400)]
    sink.admit(0, entries)
    tracemalloc.start()
    try:
        for at in range(0, 400, 4):
            large = [(number, entries[number], bytes(60 * 1024)) for number in range(at, at + 3)]
            sink.apply([whole(*large, (at + 3, entries[at + 3], b"x"))], idle=False)
        assert sink.waits()
        assert tracemalloc.get_traced_memory()[0] < SMALL_BYTES + 1024 * 1024
    finally:
        tracemalloc.stop()


def test_what_came_whole_is_kept_when_the_transfer_breaks_off(sink_of, tmp_path):
    """Small files that waited for others get their names."""
    sink = sink_of()
    entry = file(b"a", 4)
    sink.admit(0, [entry])
    assert endings(sink.apply([whole((0, entry, b"data"))], idle=False)) == {}
    assert sink.waits()
    sink.close(keep=True)
    assert (tmp_path / "out" / "a").read_bytes() == b"data"
