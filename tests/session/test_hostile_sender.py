"""A sender that paired honestly and then attacks the machine that receives, one attack a test.

Whatever it says, nothing appears outside the output folder, nothing wrong gets a name, no temporary
stays, and `receive` ends soon with an error of the right class.
"""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from p2pxfer.errors import (
    IntegrityError,
    LocalFileError,
    NoSpace,
    PartlyDone,
    PeerFailed,
    PeerGone,
    PeerMisbehaved,
)
from p2pxfer.files.hashing import WholeRoots, block_digest, zero_digest
from p2pxfer.manifest import MIN_BLOCK, UNKNOWN_SIZE, Entry, EntryKind, Failure, TransferKind
from p2pxfer.peer.channel import HIGH_WATER
from p2pxfer.progress import EntryFailed, FileStarted, Resumed, Stalled
from p2pxfer.session import exchange
from p2pxfer.session.summary import Summary
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.credit import BYTE_WINDOW
from p2pxfer.transfer.frames import encode
from tests.session.conftest import Answers, Attack, eventually
from tests.session.ends import (
    HELLO,
    MTIME,
    OFFER,
    Outcome,
    blocks,
    ending,
    file,
    folder,
    link,
    manifest,
    whole,
)

DATA = b"content" * 1000


def much(size: int) -> bytes:
    return (DATA * (size // len(DATA) + 1))[:size]


async def offer(
    attack: Attack,
    *entries: Entry,
    kind: TransferKind = TransferKind.FILES,
    hello: m.Hello = HELLO,
) -> m.Want:
    """Offer honestly, up to the receiver's decision on all of it."""
    await attack.peer.say(hello, m.Offer(OFFER.transfer_id, kind, b"x"), *manifest(*entries))
    await attack.peer.hear(m.Accept)
    want = await attack.peer.hear(m.Want)
    assert isinstance(want, m.Want)
    await attack.peer.hear(m.Credit)
    return want


def skipped(want: m.Want) -> dict[int, Failure]:
    return {
        number: skip.failure
        for skip in want.skips
        for number in range(skip.first, skip.first + skip.count)
    }


class Undecided(Answers):
    """Looks at the offer, and never answers."""

    async def accept(self, offer):
        await super().accept(offer)
        await asyncio.Event().wait()
        return True


async def asked(attack: Attack) -> None:
    """Wait until the question is on the screen."""
    await eventually(lambda: attack.answers.offers)


async def settle(attack: Attack, count: int) -> None:
    """Wait until the receiver has settled so many entries."""
    while True:
        credit = await attack.peer.hear(m.Credit)
        assert isinstance(credit, m.Credit)
        if credit.settled == count:
            return


async def conclude(attack: Attack, *outcomes: Outcome) -> None:
    """End honestly."""
    await settle(attack, len(outcomes))
    await attack.peer.say(ending(outcomes))
    await attack.peer.hear(m.Receipt)
    await attack.peer.say(m.Bye())


async def test_an_honest_one_is_served(as_sender):
    """The script itself is sound: without an attack, the file arrives."""
    attack = as_sender()
    await offer(attack, file(b"a", len(DATA)))
    await attack.peer.say(*whole(0, DATA))
    await conclude(attack, (file(b"a", len(DATA)), DATA, None))
    assert isinstance(await attack.result(), Summary)
    assert attack.files() == {"a": DATA}


# Names


@pytest.mark.parametrize(
    "name",
    [
        b"../evil",
        b"a/../../evil",
        b"..",
        b".",
        b"/etc/evil",
        b"//evil",
        b"a//b",
        b"./evil",
        b"evil/",
        b"ev\0il",
        b"/",
    ],
)
async def test_it_names_a_file_outside_the_folder(as_sender, tmp_path, name):
    """Such a name is refused as unsafe before any byte of it is asked for."""
    attack = as_sender()
    entry = file(name, 4)
    assert skipped(await offer(attack, entry)) == {0: Failure.UNSAFE_NAME}
    await conclude(attack, (entry, None, Failure.UNSAFE_NAME))
    await attack.ends(PartlyDone)
    assert attack.files() == {}
    assert not list(tmp_path.rglob("*evil*"))


async def test_it_sends_content_for_a_name_that_was_refused(as_sender):
    """Nothing but what was asked for is taken."""
    attack = as_sender()
    await offer(attack, file(b"../evil", len(DATA)))
    await attack.peer.say(*whole(0, DATA))
    await attack.ends(PeerMisbehaved)
    assert attack.files() == {}


async def test_it_sends_a_symlink_and_then_a_file_through_it(as_sender, tmp_path):
    """A harmless link followed by a file below it: the file has no folder to go to."""
    (tmp_path / "out" / "real").mkdir(parents=True)
    attack = as_sender()
    entries = link(b"way", b"real"), file(b"way/evil", 4)
    assert skipped(await offer(attack, *entries)) == {1: Failure.PARENT_FAILED}
    await conclude(attack, (entries[0], None, None), (entries[1], None, Failure.PARENT_FAILED))
    await attack.ends(PartlyDone)
    assert attack.files() == {"way": b""}


async def test_it_makes_a_folder_and_then_a_symlink_of_the_same_name(as_sender, tmp_path):
    """The folder stays a folder, and what is sent into it lands in it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    attack = as_sender(unsafe_symlinks=True)
    entries = (
        folder(b"d"),
        file(b"d/f", len(DATA)),
        link(b"d", bytes(outside)),
        file(b"d/g", len(DATA)),
    )
    failures = {2: Failure.EXISTS, 3: Failure.PARENT_FAILED}
    assert skipped(await offer(attack, *entries)) == failures
    await attack.peer.say(*whole(1, DATA))
    await conclude(
        attack,
        (entries[0], None, None),
        (entries[1], DATA, None),
        *((entries[number], None, failure) for number, failure in failures.items()),
    )
    await attack.ends(PartlyDone)
    assert attack.files() == {"d/f": DATA}
    assert not list(outside.iterdir())


@pytest.mark.parametrize("target", [b"/etc/passwd", b"../secret", b"a/../../secret", b"..", b"/"])
async def test_it_sends_a_symlink_that_leads_out(as_sender, target):
    """Skipped and told."""
    attack = as_sender()
    entry = link(b"l", target)
    assert skipped(await offer(attack, entry)) == {0: Failure.UNSAFE_TARGET}
    await conclude(attack, (entry, None, Failure.UNSAFE_TARGET))
    await attack.ends(PartlyDone)
    assert attack.files() == {}
    assert attack.events.all(EntryFailed)[0].path == b"l"


async def test_it_lists_one_file_twice(as_sender):
    """The first one stays; the second is told to be in the way."""
    attack = as_sender()
    entry = file(b"a", len(DATA))
    other = DATA[::-1]
    await offer(attack, entry, entry)
    await attack.peer.say(*whole(0, DATA), *whole(1, other))
    failed = await attack.peer.hear(m.Failed)
    assert failed == m.Failed(1, Failure.EXISTS)
    await conclude(attack, (entry, DATA, None), (entry, None, Failure.EXISTS))
    await attack.ends(PartlyDone)
    assert attack.files() == {"a": DATA}


async def test_it_puts_escape_sequences_into_names(as_sender):
    """Events carry the raw bytes, for whoever shows them to escape; the name is a name."""
    name = b"\x1b]0;owned\x07\x1b[2J\xff"
    attack = as_sender()
    entry = file(name, len(DATA))
    await offer(attack, entry)
    await attack.peer.say(*whole(0, DATA))
    await conclude(attack, (entry, DATA, None))
    await attack.result()
    assert attack.answers.offers[0].names == (name,)
    assert attack.events.all(FileStarted)[0].path == name


async def test_it_asks_for_setuid(as_sender):
    """No mode that a peer sends makes a file run as somebody else."""
    attack = as_sender()
    entry = file(b"a", len(DATA), mode=0o7777)
    await offer(attack, entry)
    begin = m.FileBegin(0, len(DATA), 0o7777, MTIME)
    await attack.peer.say(begin, *whole(0, DATA)[1:])
    await conclude(attack, (entry, DATA, None))
    await attack.result()
    assert (attack.out / "a").stat().st_mode & 0o7000 == 0


# Content


@pytest.mark.parametrize("size", [len(DATA), 3 * MIN_BLOCK], ids=["small", "large"])
async def test_it_sends_a_block_with_a_wrong_digest(as_sender, size):
    """Nothing of the block is written, and the file goes."""
    attack = as_sender()
    data = much(size)
    await offer(attack, file(b"a", size))
    frames = whole(0, data)
    await attack.peer.say(
        *(m.Data(b"!" * len(f.payload)) if isinstance(f, m.Data) else f for f in frames)
    )
    await attack.ends(IntegrityError, "damaged")
    assert attack.files() == {}
    assert (await attack.peer.hear(m.Abort)).code is m.AbortCode.INTEGRITY


async def test_it_sends_a_block_of_zeros_with_a_wrong_digest(as_sender):
    """A header without bytes is checked as well."""
    attack = as_sender()
    await offer(attack, file(b"a", MIN_BLOCK))
    await attack.peer.say(
        m.FileBegin(0, MIN_BLOCK, 0o644, MTIME), m.Block(0, 0, MIN_BLOCK, bytes(32), zero=True)
    )
    await attack.ends(IntegrityError)
    assert attack.files() == {}


@pytest.mark.parametrize("size", [len(DATA), 3 * MIN_BLOCK], ids=["small", "large"])
async def test_it_sends_a_wrong_file_root(as_sender, size):
    """Every block is right, their sum is not: the file never gets its name."""
    attack = as_sender()
    data = much(size)
    await offer(attack, file(b"a", size))
    await attack.peer.say(*whole(0, data)[:-1], m.FileEnd(0, None, size, bytes(32)))
    await attack.ends(IntegrityError, "damaged")
    assert attack.files() == {}


async def test_it_sends_many_files_in_one_frame_and_one_of_them_is_another(as_sender):
    """Neither it nor what came with it gets a name."""
    attack = as_sender()
    size = len(DATA)
    entries = [file(name, size) for name in (b"a", b"b", b"c")]
    await offer(attack, *entries, hello=replace(HELLO, capabilities=m.WHOLE))
    roots = [WholeRoots().of(data) for data in (DATA, DATA[::-1], DATA)]
    files = tuple((number, size, 0o644, MTIME, root) for number, root in enumerate(roots))
    await attack.peer.say(m.WholeFiles(files, DATA * 3))
    await attack.ends(IntegrityError, "damaged")
    assert attack.files() == {}
    assert (await attack.peer.hear(m.Abort)).code is m.AbortCode.INTEGRITY


async def test_it_sends_a_wrong_transfer_root(as_sender):
    """No receipt is signed for it."""
    attack = as_sender()
    entry = file(b"a", len(DATA))
    await offer(attack, entry)
    await attack.peer.say(*whole(0, DATA))
    await settle(attack, 1)
    await attack.peer.say(m.TransferEnd(bytes(32), 1, len(DATA), 0))
    await attack.ends(IntegrityError)
    assert not attack.peer.all(m.Receipt)


@pytest.mark.parametrize(
    "end",
    [
        m.TransferEnd(bytes(32), 2, len(DATA), 0),
        m.TransferEnd(bytes(32), 1, len(DATA) + 1, 0),
        m.TransferEnd(bytes(32), 1, len(DATA), 1),
    ],
    ids=["entries", "size", "failed"],
)
async def test_it_lies_about_the_sums(as_sender, end):
    """Both sides count; a difference ends it."""
    attack = as_sender()
    await offer(attack, file(b"a", len(DATA)))
    await attack.peer.say(*whole(0, DATA))
    await settle(attack, 1)
    await attack.peer.say(end)
    await attack.ends(PeerMisbehaved)


BEGIN = m.FileBegin(0, 3 * MIN_BLOCK, 0o644, MTIME)
THREE = blocks(0, bytes(range(256)) * (3 * MIN_BLOCK // 256))
FIRST = THREE[: len(THREE) // 3]
SECOND = THREE[len(THREE) // 3 : 2 * len(THREE) // 3]


@pytest.mark.parametrize(
    "frames",
    [
        [BEGIN, *SECOND],
        [BEGIN, *FIRST, *FIRST],
        [BEGIN, *FIRST, *THREE[2 * len(FIRST) :]],
        [BEGIN, FIRST[0], FIRST[0]],
        [BEGIN, *FIRST, m.Data(b"more" * 2000)],
        [BEGIN, m.Block(0, 0, MIN_BLOCK + 1, bytes(32))],
        [BEGIN, m.Block(0, 0, 2**32 - 1, bytes(32))],
        [BEGIN, m.Block(0, 2**32 - 1, MIN_BLOCK, bytes(32))],
        [BEGIN, m.Block(1, 0, MIN_BLOCK, bytes(32))],
        [BEGIN, BEGIN],
        [BEGIN, *FIRST, m.FileEnd(0, None, MIN_BLOCK, bytes(32))],
        [BEGIN, FIRST[0], FIRST[1], m.FileEnd(0, None, 60_000, bytes(32))],
        [m.FileEnd(0, None, 0, bytes(32))],
        [m.FileEnd(0, Failure.EXISTS, 0, bytes(32))],
        [m.Data(b"x" * 5000)],
        [m.FileBegin(1, 1, 0o644, MTIME)],
        [m.FileBegin(0, UNKNOWN_SIZE, 0o644, MTIME)],
        [BEGIN, FIRST[0], m.Data(b"x")],
        [BEGIN, m.Block(0, 0, MIN_BLOCK, FIRST[0].digest, kept=True)],
        [m.Proof(((b"i" * 16, bytes(32)),))],
        [m.TransferEnd(bytes(32), 1, 0, 0)],
        [m.Bye()],
        [HELLO],
        [OFFER],
        [m.Accept()],
        [m.Want(1)],
        [m.Credit(1, 1)],
        [m.Receipt(OFFER.transfer_id, bytes(32), 1, 0, 0, bytes(32), bytes(32))],
        [m.Page(1, (file(b"late", 1),))],
        [m.ManifestEnd(1, 3 * MIN_BLOCK, 0)],
    ],
    ids=[
        "second block first",
        "block twice",
        "block left out",
        "block over an unfinished one",
        "bytes beyond a block",
        "block beyond its size",
        "block of 4 GiB",
        "last index first",
        "block of another file",
        "file begun twice",
        "end of half a file",
        "end within a block",
        "end without begin",
        "failure in the receiver's name",
        "bytes before a file",
        "file that is not listed",
        "stream where a size was listed",
        "crumbs",
        "block that the receiver never held",
        "proof after the offer was taken",
        "end of the transfer before its files",
        "bye before the receipt",
        "hello twice",
        "offer twice",
        "accept its own offer",
        "want of its own",
        "credit of its own",
        "receipt of its own",
        "page after the end",
        "end of the list twice",
    ],
)
async def test_it_breaks_the_order(as_sender, frames):
    """Each is misbehaviour; the sender is told, and nothing stays."""
    attack = as_sender()
    await offer(attack, file(b"a", 3 * MIN_BLOCK))
    await attack.peer.say(*frames)
    await attack.ends(PeerMisbehaved)
    assert attack.files() == {}
    assert (await attack.peer.hear(m.Abort)).code is m.AbortCode.MISBEHAVED


async def test_it_sends_data_before_it_was_accepted(as_sender):
    """While the question is on the screen, no content is taken."""
    attack = as_sender(interaction=Undecided())
    await attack.peer.say(HELLO, OFFER, *manifest(file(b"a", len(DATA))))
    await asked(attack)
    await attack.peer.say(*whole(0, DATA))
    await attack.ends(PeerMisbehaved)
    assert attack.files() == {}


async def test_it_sends_more_than_it_has_credit_for(as_sender):
    """The memory of a receiver whose disk is slow stays bounded."""
    attack = as_sender()
    size = 2 * BYTE_WINDOW
    await offer(attack, file(b"a", UNKNOWN_SIZE), kind=TransferKind.STREAM)
    part = bytes(range(256)) * 4096
    block = blocks(0, part)[0]
    digest = block.digest
    # All at once, so that nothing is written, and no credit given back, in between.
    attack.peer.blurt(m.FileBegin(0, UNKNOWN_SIZE, 0o644, MTIME))
    for index in range(size // len(part)):
        attack.peer.blurt(m.Block(0, index, len(part), digest))
        for at in range(0, len(part), 60_000):
            attack.peer.blurt(m.Data(part[at : at + 60_000]))
    await attack.ends(PeerMisbehaved, "credit")
    assert attack.files() == {}


# Size and time


@pytest.mark.parametrize("size", [2**62, 2**63 - 1])
async def test_it_lists_more_than_the_disk_holds(as_sender, size):
    """Refused before anybody is asked, and without a byte of it."""
    attack = as_sender()
    await attack.peer.say(HELLO, OFFER, *manifest(file(b"a", size)))
    await attack.ends(NoSpace)
    assert attack.files() == {}
    assert not attack.answers.offers
    assert (await attack.peer.hear(m.Abort)).code is m.AbortCode.LOCAL_FILES


async def test_it_lists_more_than_the_disk_holds_after_it_was_accepted(as_sender):
    """Free space is looked at again with every page."""
    attack = as_sender()
    await attack.peer.say(HELLO, OFFER, m.Page(0, (file(b"a", 1), file(b"b", 1))))
    await attack.peer.hear(m.Accept)
    await attack.peer.say(m.Page(2, (file(b"c", 2**62),)))
    await attack.ends(NoSpace)
    assert attack.files() == {}


async def test_it_lists_a_byte_and_begins_a_file_of_exabytes(as_sender):
    """A file that grew beyond the disk fails; the rest goes on."""
    attack = as_sender()
    entries = file(b"a", 1), file(b"b", len(DATA))
    await offer(attack, *entries)
    await attack.peer.say(m.FileBegin(0, 2**62, 0o644, MTIME))
    assert await attack.peer.hear(m.Failed) == m.Failed(0, Failure.NO_SPACE)
    await attack.peer.say(m.FileEnd(0, Failure.NO_SPACE, 0, m.NO_DIGEST), *whole(1, DATA))
    await conclude(attack, (entries[0], None, Failure.NO_SPACE), (entries[1], DATA, None))
    await attack.ends(PartlyDone)
    assert attack.files() == {"b": DATA}


@pytest.mark.parametrize("size", [1000, 3 * MIN_BLOCK], ids=["small", "large"])
async def test_it_lists_a_byte_and_sends_more_than_the_limit(as_sender, size):
    """``--max-size`` holds for what is sent, not for what was listed; the rest goes on."""
    attack = as_sender(max_size=500)
    entries = file(b"a", 1), file(b"b", 4)
    data = much(size)
    await offer(attack, *entries)
    # All at once, so that the file is over before its failure is known.
    attack.peer.blurt(*whole(0, data))
    assert await attack.peer.hear(m.Failed) == m.Failed(0, Failure.TOO_LARGE)
    await attack.peer.say(*whole(1, b"tiny"))
    await conclude(attack, (entries[0], None, Failure.TOO_LARGE), (entries[1], b"tiny", None))
    await attack.ends(PartlyDone)
    assert attack.files() == {"b": b"tiny"}


async def test_it_sends_an_endless_stream_of_zeros(as_sender):
    """Zeros cost the sender nothing; ``--max-size`` counts them all the same."""
    attack = as_sender(max_size=10 * 1024 * 1024)
    entry = file(b"a", UNKNOWN_SIZE)
    await offer(attack, entry, kind=TransferKind.STREAM)
    length = 1024 * 1024
    await attack.peer.say(m.FileBegin(0, UNKNOWN_SIZE, 0o644, MTIME))
    for index in range(20):
        await attack.peer.say(m.Block(0, index, length, zero_digest(length), zero=True))
    assert await attack.peer.hear(m.Failed) == m.Failed(0, Failure.TOO_LARGE)
    await attack.peer.say(m.FileEnd(0, Failure.TOO_LARGE, 20 * length, m.NO_DIGEST))
    await conclude(attack, (entry, None, Failure.TOO_LARGE))
    await attack.ends(PartlyDone)
    assert attack.files() == {}


async def test_it_sends_a_file_of_zeros_that_no_disk_holds(as_sender):
    """A hole is charged like content: 2^62 bytes that take a few headers are refused."""
    attack = as_sender()
    entry = file(b"a", 1)
    await offer(attack, entry)
    await attack.peer.say(
        m.FileBegin(0, 2**62, 0o644, MTIME),
        m.Block(0, 0, 4 * 1024 * 1024, zero_digest(4 * 1024 * 1024), zero=True),
    )
    assert await attack.peer.hear(m.Failed) == m.Failed(0, Failure.NO_SPACE)
    await attack.peer.say(m.Bye())
    await attack.ends(PeerMisbehaved)
    assert attack.files() == {}


async def test_it_floods_with_pages(as_sender):
    """Entries that nobody has decided on are bounded: a million of them never fit."""
    attack = as_sender(interaction=Undecided())
    await attack.peer.say(HELLO, OFFER)
    await attack.peer.hear(m.Hello)  # from now on somebody takes what comes
    page = 1000
    for first in range(0, 1_000_000, page):
        if attack.task.done():
            break
        attack.peer.blurt(m.Page(first, tuple(file(b"%d" % (first + at), 0) for at in range(page))))
        await asyncio.sleep(0)
    await attack.ends(PeerMisbehaved, "more entries")
    assert attack.files() == {}


async def test_it_lists_names_of_monstrous_length(as_sender):
    """Long paths weigh more, so that they are bounded in bytes as well."""
    attack = as_sender(interaction=Undecided())
    await attack.peer.say(HELLO, OFFER)
    long = b"/".join([b"n" * 255] * 200)
    for first in range(100_000):
        if attack.task.done():
            break
        attack.peer.blurt(m.Page(first, (file(long, 0),)))
        await asyncio.sleep(0)
        assert first < 10_000
    await attack.ends(PeerMisbehaved, "more entries")


async def test_it_floods_with_pings(as_sender):
    """Pongs are not piled up: the receiver answers what it can and lives on."""
    attack = as_sender()
    entry = file(b"a", len(DATA))
    await offer(attack, entry)
    for at in range(20_000):
        attack.peer.blurt(m.Ping(at, m.Activity.IDLE, 0))
        if at % 1000 == 0:
            await asyncio.sleep(0)
    await attack.peer.say(*whole(0, DATA))
    await conclude(attack, (entry, DATA, None))
    await attack.result()
    assert len(attack.peer.all(m.Pong)) < 1000


# Leaving early


async def test_it_skips_the_receipt(as_sender):
    """A goodbye before the receipt is no goodbye."""
    attack = as_sender()
    await offer(attack, file(b"a", len(DATA)))
    await attack.peer.say(*whole(0, DATA))
    await settle(attack, 1)
    await attack.peer.say(m.Bye())
    await attack.ends(PeerMisbehaved)


async def test_it_leaves_once_it_has_the_receipt(as_sender):
    """All is in place and said so: a missing goodbye takes nothing from it."""
    attack = as_sender()
    entry = file(b"a", len(DATA))
    await offer(attack, entry)
    await attack.peer.say(*whole(0, DATA))
    await settle(attack, 1)
    await attack.peer.say(ending([(entry, DATA, None)]))
    await attack.peer.hear(m.Receipt)
    attack.peer.channel.close()
    summary = await attack.result()
    assert summary.files == 1
    assert attack.files() == {"a": DATA}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (m.AbortCode.INTERRUPTED, PeerGone),
        (m.AbortCode.MISBEHAVED, PeerMisbehaved),
        (m.AbortCode.INTEGRITY, IntegrityError),
        (m.AbortCode.LOCAL_FILES, PeerFailed),
        (m.AbortCode.UNEXPECTED, PeerFailed),
    ],
)
async def test_it_aborts_in_the_middle_of_a_file(as_sender, code, error):
    """The temporary goes, and the error says in whose hands it was."""
    attack = as_sender()
    await offer(attack, file(b"a", 3 * MIN_BLOCK))
    await attack.peer.say(BEGIN, *FIRST)
    await attack.peer.hear(m.Credit)
    assert list(attack.out.iterdir())
    await attack.peer.say(m.Abort(code, "\x1b[31mred"))
    await attack.ends(error)
    assert list(attack.out.iterdir()) == []


async def test_it_vanishes_in_the_middle_of_a_file(as_sender):
    """A closed channel: no temporary stays."""
    attack = as_sender()
    await offer(attack, file(b"a", 3 * MIN_BLOCK))
    await attack.peer.say(BEGIN, *FIRST)
    await attack.peer.hear(m.Credit)
    attack.peer.channel.close()
    await attack.ends(PeerGone)
    assert list(attack.out.iterdir()) == []


@pytest.mark.usefixtures("hasty")
async def test_it_offers_and_then_sends_nothing_but_pings(as_sender):
    """Alive, but nothing moves: after three seconds the stall is told, with its cause."""
    attack = as_sender()
    await offer(attack, file(b"a", 3 * MIN_BLOCK))
    more = 10
    for at in range(2000):
        await attack.peer.say(m.Ping(at, m.Activity.READING, 0))
        await asyncio.sleep(0.05)
        more -= bool(attack.events.all(Stalled))
        if not more:
            break
    stalled, *again = attack.events.all(Stalled)
    assert len(again) == len(attack.events.all(Resumed))  # none, unless this process was late
    assert stalled.cause == "the other side is reading from its disk"
    attack.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attack.task
    assert (await attack.peer.hear(m.Abort)).code is m.AbortCode.INTERRUPTED


async def test_it_lists_one_file_and_never_the_end_of_the_list(as_sender):
    """A list that never ends does not keep the question from being asked."""
    attack = as_sender()
    await attack.peer.say(HELLO, OFFER, m.Page(0, (file(b"a", 4),)))
    for at in range(80):
        await attack.peer.say(m.Ping(at, m.Activity.WALKING, 0))
        await asyncio.sleep(0.1)
        if attack.answers.offers:
            break
    assert attack.answers.offers[0].names == (b"a",)
    attack.peer.channel.close()
    await attack.ends(PeerGone)


# Bytes that are no frames


@pytest.mark.parametrize(
    "raw",
    [
        b"\0",
        b"garbage!" * 100,
        encode(HELLO)[:-1],
        encode(HELLO) + b"\x02",
        b"\x03\xff\xff\xff" + bytes(100),
        b"\x14\0\0\0",
        b"\x7f\0\0\0",
        b"\x02\0\0\x11" + bytes(16) + b"\x09",
    ],
    ids=["nul", "garbage", "cut", "half a header", "long frame", "type 20", "type 127", "kind 9"],
)
async def test_it_sends_what_is_no_frame(as_sender, raw):
    """Misbehaviour, before anything was asked or made."""
    attack = as_sender()
    await attack.peer.channel.send(raw)
    await attack.ends(PeerMisbehaved)
    assert not attack.answers.offers
    assert attack.files() == {}


async def test_it_sends_a_message_of_a_megabyte(as_sender):
    """More than any message may have."""
    attack = as_sender()
    await attack.peer.channel.send(encode(HELLO) + b"\x80\x0f\xff\xff" + bytes(0xFFFFF))
    await attack.ends(PeerMisbehaved)


async def test_it_takes_no_messages_of_a_useful_size(as_sender):
    """A channel that carries a few bytes a message is refused, not crashed on."""
    attack = as_sender(max_message=1000)
    await attack.ends(PeerMisbehaved)


async def test_it_speaks_a_future_version_only(as_sender):
    """The error names both ranges."""
    attack = as_sender()
    await attack.peer.say(m.Hello(7, 9, 0))
    await attack.ends(PeerMisbehaved, "7 to 9")


async def test_it_sends_a_text_full_of_control_characters(as_sender):
    """A text is handed on raw, once, and never reaches the disk."""
    attack = as_sender()
    text = b"\x1b[2J\xff\xfe owned"
    entry = file(b"text", len(text))
    await offer(attack, entry, kind=TransferKind.TEXT)
    await attack.peer.say(*whole(0, text))
    await conclude(attack, (entry, text, None))
    await attack.result()
    assert attack.files() == {}


async def test_it_sends_a_text_of_gigabytes(as_sender):
    """A text is held in memory, so it is bounded from its listing on."""
    attack = as_sender()
    await attack.peer.say(
        HELLO,
        m.Offer(OFFER.transfer_id, TransferKind.TEXT, b""),
        *manifest(file(b"text", 2**40)),
    )
    await attack.peer.hear(m.Want)
    await attack.peer.say(m.FileBegin(0, 2**40, 0o600, MTIME))
    length = 4 * 1024 * 1024
    await attack.peer.say(m.Block(0, 0, length, zero_digest(length), zero=True))
    await attack.ends(LocalFileError, "max-size")


async def test_it_offers_a_directory_as_a_stream(as_sender):
    """A stream is one file."""
    attack = as_sender()
    await attack.peer.say(
        HELLO,
        m.Offer(OFFER.transfer_id, TransferKind.STREAM, b""),
        m.Page(0, (Entry(EntryKind.DIRECTORY, b"d", 0, 0o755, MTIME),)),
    )
    await attack.ends(PeerMisbehaved)


async def test_it_lists_one_file_under_every_size_to_read_the_older_copy(as_sender, tmp_path):
    """A digest of each prefix would give the content away, a byte at a time."""
    secret = b"correct horse battery staple"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "key").write_bytes(secret)
    attack = as_sender(existing="update")
    hello = m.Hello(m.OLDEST_VERSION, m.VERSION, m.RESUME)
    guesses = [file(b"key", size) for size in range(1, 2 * len(secret))]
    await attack.peer.say(hello, OFFER, *manifest(*guesses))
    await attack.peer.hear(m.Want)
    while attack.peer.all(m.Want)[-1].through < len(guesses):
        await attack.peer.hear(m.Want)
    told = [(have.number + 1, have.digests) for have in attack.peer.all(m.Have)]
    assert told == [(len(secret), (block_digest(secret),))]  # `update` tells that much
    attack.peer.channel.close()
    await attack.ends(PeerGone)


async def test_it_asks_for_signs_of_life_and_takes_none(as_sender, monkeypatch):
    """What it is owed waits in memory, and there is an end to that."""
    monkeypatch.setattr(exchange, "MOST_WAITING", 100_000)
    attack = as_sender()
    attack.peer.alive = attack.peer.acknowledges = False
    await offer(attack, file(b"a", 4))
    attack.peer.channel.reading = False
    attack.link.channel._size += 2 * HIGH_WATER  # as if all on the way there were full
    for time in range(5000):
        if attack.task.done():
            break
        attack.peer.blurt(m.Ping(time, m.Activity.IDLE, 0))
        await asyncio.sleep(0)
    await attack.ends(PeerMisbehaved, "does not take the answers")
