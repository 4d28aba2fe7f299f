"""Receiver against a hostile sender, attack by attack, and against mistakes of its own session."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from p2pxfer.errors import IntegrityError, PeerGone, PeerMisbehaved
from p2pxfer.manifest import Entry, Failure, TransferKind
from p2pxfer.transfer import actions as a
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.credit import BYTE_WINDOW, ENTRY_WINDOW, MIN_COST
from p2pxfer.transfer.receiver import Receiver
from tests.transfer.bounce import drain, feed
from tests.transfer.plans import KEY, MTIME, OFFER, file, folder, link

DIGEST = b"d" * 32
BLOCK = 262_144
HELLO = m.Hello(1, 1, m.CAPABILITIES)
TREE = (folder(b"d"), file(b"d/a", 10), file(b"d/b", BLOCK + 5), file(b"d/c", 0))


def offered(offer: m.Offer = OFFER) -> Receiver:
    receiver = Receiver(KEY, 0.0)
    drain(receiver)
    feed(receiver, HELLO, offer)
    return receiver


def moving(entries: Sequence[Entry] = TREE, skip: dict[int, Failure] | None = None) -> Receiver:
    """Accepted, all decided, nothing sent yet; entry 2 is skipped unless told otherwise."""
    receiver = offered()
    feed(receiver, m.Page(0, tuple(entries)))
    receiver.accept()
    receiver.decide(len(entries), {2: Failure.EXISTS} if skip is None else skip)
    drain(receiver)
    return receiver


def begin(number: int, size: int) -> m.FileBegin:
    return m.FileBegin(number, size, 0o644, MTIME)


def block(number: int, index: int, length: int) -> m.Block:
    return m.Block(number, index, length, DIGEST)


def whole(*files: tuple[int, int]) -> m.WholeFiles:
    """Files of these numbers and sizes in one frame."""
    payload = bytes(sum(size for _, size in files))
    return m.WholeFiles(tuple((n, size, 0o644, MTIME, DIGEST) for n, size in files), payload)


def unable() -> Receiver:
    """Waits for entry 0, and did not say that it takes whole files."""
    receiver = Receiver(KEY, 0.0)
    feed(receiver, m.Hello(1, 1, m.RESUME), OFFER, m.Page(0, (file(b"a", 1),)))
    receiver.accept()
    receiver.decide(1, {})
    drain(receiver)
    return receiver


def end(number: int, size: int, failure: Failure | None = None) -> m.FileEnd:
    return m.FileEnd(number, failure, size, DIGEST)


def done() -> Receiver:
    """Everything is settled and listed; TransferEnd may come."""
    receiver = moving((folder(b"d"),), {})
    receiver.entry_done(0)
    feed(receiver, m.ManifestEnd(1, 0, 0))
    return receiver


def stream() -> Receiver:
    receiver = offered(m.Offer(b"i" * 16, TransferKind.STREAM, b""))
    feed(receiver, m.Page(0, (file(b"in", -1),)))
    receiver.accept()
    receiver.decide(1, {})
    return receiver


A = (begin(1, 10), block(1, 0, 10))
BIG = (file(b"big", 40 << 20),)
ATTACKS = {
    "speaks before its hello": (lambda: Receiver(KEY, 0.0), [OFFER]),
    "speaks only a later version": (lambda: Receiver(KEY, 0.0), [m.Hello(2, 9, 0)]),
    "greets twice": (offered, [HELLO]),
    "offers twice": (offered, [OFFER]),
    "lists before it offers": (
        lambda: Receiver(KEY, 0.0),
        [HELLO, m.Page(0, (file(b"a", 1),))],
    ),
    "lists with a gap": (offered, [m.Page(1, (file(b"a", 1),))]),
    "lists the same numbers again": (moving, [m.Page(0, (file(b"a", 1),))]),
    "lists more than the window": (offered, [m.Page(0, (file(b"a", 1),) * (ENTRY_WINDOW + 1))]),
    "fills memory with long names": (
        offered,
        [m.Page(n, (file(b"a" * 50_000, 1),)) for n in range(ENTRY_WINDOW // 196 + 1)],
    ),
    "lists after the end": (done, [m.Page(1, (file(b"a", 1),))]),
    "ends its list twice": (done, [m.ManifestEnd(1, 0, 0)]),
    "lies about the number listed": (moving, [m.ManifestEnd(5, BLOCK + 15, 0)]),
    "lies about the size listed": (moving, [m.ManifestEnd(4, 5, 0)]),
    "hides a stream among files": (offered, [m.Page(0, (file(b"a", -1),))]),
    "sends content before it is accepted": (offered, [m.Page(0, TREE), begin(1, 10)]),
    "sends a file that was skipped": (moving, [begin(2, BLOCK + 5)]),
    "sends a directory's content": (moving, [begin(0, 0)]),
    "sends a file that was never listed": (moving, [begin(99, 1)]),
    "sends files out of order": (moving, [begin(3, 0)]),
    "begins a file twice": (moving, [begin(1, 10), begin(1, 10)]),
    "begins a file as a stream": (moving, [begin(1, -1)]),
    "sends a block before its file": (moving, [block(1, 0, 10)]),
    "sends a block of another file": (moving, [begin(1, 10), block(3, 0, 10)]),
    "skips a block": (moving, [begin(1, 10), block(1, 1, 10)]),
    "sends a block longer than its file": (moving, [begin(1, 10), block(1, 0, 11)]),
    "sends a block shorter than its file": (moving, [begin(1, 10), block(1, 0, 9)]),
    "sends a block past the end": (moving, [*A, m.Data(bytes(10)), block(1, 1, 1)]),
    "sends a block inside a block": (moving, [*A, block(1, 1, 10)]),
    "sends bytes of no file": (moving, [m.Data(b"x")]),
    "sends bytes of no block": (moving, [begin(1, 10), m.Data(b"x")]),
    "sends bytes beyond a block": (moving, [*A, m.Data(bytes(11))]),
    "sends crumbs": (
        lambda: moving(BIG, {}),
        [begin(0, 40 << 20), block(0, 0, BLOCK), m.Data(b"x")],
    ),
    "sends beyond its credit": (
        lambda: moving(BIG, {}),
        [
            begin(0, 40 << 20),
            *(
                message
                for index in range(BYTE_WINDOW // BLOCK + 1)
                for message in (block(0, index, BLOCK), m.Data(bytes(BLOCK)))
            ),
        ][:-1],
    ),
    "sends holes beyond its credit": (
        lambda: moving((file(b"hole", 1 << 50),), {}),
        [
            begin(0, 1 << 50),
            *(
                m.Block(0, n, 4 << 20, DIGEST, zero=True)
                for n in range(BYTE_WINDOW // MIN_COST + 1)
            ),
        ],
    ),
    "ends a file in the middle of a block": (moving, [*A, end(1, 10)]),
    "ends a file short of its size": (moving, [begin(1, 10), end(1, 0)]),
    "ends a file with another size": (moving, [*A, m.Data(bytes(10)), end(1, 9)]),
    "ends a file that it never began": (moving, [end(1, 0)]),
    "ends a file that is not wanted": (moving, [end(2, 0, Failure.CHANGED)]),
    "fails a file in the receiver's name": (moving, [end(1, 0, Failure.NO_SPACE)]),
    "sends whole files that were not agreed on": (unable, [whole((0, 1))]),
    "sends a whole file that was skipped": (moving, [whole((1, 10), (2, 5))]),
    "sends whole files out of order": (moving, [whole((3, 0), (1, 10))]),
    "sends a whole file twice": (moving, [whole((1, 10)), whole((1, 10))]),
    "sends a whole file that was never listed": (moving, [whole((99, 1))]),
    "sends a whole directory": (moving, [whole((0, 0))]),
    "sends a whole file inside another": (moving, [begin(1, 10), whole((3, 0))]),
    "sends whole files beyond its credit": (
        lambda: moving([file(b"%d" % n, 1) for n in range(BYTE_WINDOW // MIN_COST + 1)], {}),
        [
            whole(*((n, 1) for n in range(BYTE_WINDOW // MIN_COST))),
            whole((BYTE_WINDOW // MIN_COST, 1)),
        ],
    ),
    "ends before its entries": (moving, [m.TransferEnd(DIGEST, 4, 0, 1)]),
    "ends before its list": (
        lambda: moving((folder(b"d"),), {0: Failure.EXISTS}),
        [m.TransferEnd(DIGEST, 1, 0, 1)],
    ),
    "ends with other sums": (done, [m.TransferEnd(DIGEST, 1, 7, 0)]),
    "hides a failure in its sums": (done, [m.TransferEnd(DIGEST, 1, 0, 1)]),
    "ends twice": (done, [m.TransferEnd(DIGEST, 1, 0, 0), m.TransferEnd(DIGEST, 1, 0, 0)]),
    "leaves before the receipt": (done, [m.TransferEnd(DIGEST, 1, 0, 0), m.Bye()]),
    "lists after it ended": (
        done,
        [m.TransferEnd(DIGEST, 1, 0, 0), m.Page(1, (file(b"a", 1),))],
    ),
    "accepts for the receiver": (offered, [m.Accept()]),
    "gives credit to the receiver": (moving, [m.Credit(1, 0)]),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_sender(name):
    """The last message of each attack is refused; those before it are fine."""
    start, messages = ATTACKS[name]
    receiver = start()
    drain(receiver)
    for message in messages[:-1]:
        receiver.receive(message, 0.0)
    with pytest.raises(PeerMisbehaved):
        receiver.receive(messages[-1], 0.0)


@pytest.mark.parametrize(
    "entries",
    [
        (file(b"a", 1), file(b"b", 1)),
        (folder(b"a"),),
        (link(b"a"),),
        (file(b"a", -1),),
    ],
)
def test_a_text_that_is_more_than_a_text_is_refused(entries):
    """One file of known size, nothing else."""
    with pytest.raises(PeerMisbehaved, match="TEXT"):
        feed(offered(m.Offer(b"i" * 16, TransferKind.TEXT, b"")), m.Page(0, entries))


def test_a_stream_ends_with_its_first_short_block():
    """What follows a short block is refused."""
    receiver = stream()
    drain(receiver)
    feed(receiver, begin(0, -1), block(0, 0, 5), m.Data(b"12345"))
    with pytest.raises(PeerMisbehaved, match="length"):
        receiver.receive(block(0, 1, 5), 0.0)


def test_a_wrong_root_is_an_integrity_error():
    """Both sides counted the same, but not over the same content."""
    receiver = done()
    assert feed(receiver, m.TransferEnd(DIGEST, 1, 0, 0)) == [a.NeedRoot()]
    with pytest.raises(IntegrityError, match="not what"):
        receiver.transfer_root(bytes(32))
    assert not receiver.receipt


def test_nothing_is_taken_after_giving_up():
    """An aborting side tells why, and passes over whatever still comes."""
    receiver = moving()
    receiver.abort(m.AbortCode.INTERRUPTED, "Ctrl-C")
    assert drain(receiver) == [a.Send(m.Abort(m.AbortCode.INTERRUPTED, "Ctrl-C"))]
    receiver.handle_timer(99.0)
    receiver.abort(m.AbortCode.UNEXPECTED, "again")
    assert feed(receiver, begin(77, 1)) == []
    assert receiver.deadline() is None


def test_an_aborting_sender_is_gone():
    """Its reason reaches the user."""
    with pytest.raises(PeerGone, match=r"interrupted: Ctrl-C"):
        moving().receive(m.Abort(m.AbortCode.INTERRUPTED, "Ctrl-C"), 0.0)


def test_after_a_failure_payload_is_dropped_in_order():
    """A file that failed here leaves the payload queue by DropData, and settles at its end."""
    receiver = moving(skip={})
    feed(receiver, begin(1, 10))
    receiver.receive(block(1, 0, 10), 0.0)
    receiver.entry_failed(1, Failure.WRITE_FAILED)
    taken = feed(receiver, m.Data(bytes(10)))
    assert taken[0] == a.Send(m.Failed(1, Failure.WRITE_FAILED))
    assert a.DropData(10) in taken
    receiver.entry_done(0)
    taken = feed(receiver, end(1, 10))
    outcomes = [o for action in taken if isinstance(action, a.Settled) for o in action.outcomes]
    assert [(o.number, o.failure) for o in outcomes] == [(0, None), (1, Failure.WRITE_FAILED)]


def test_whole_files_are_taken_together_but_for_those_that_failed():
    """Where each begins in their payload is told, and the payload of what failed goes as well."""
    receiver = moving([file(b"%d" % n, 9) for n in range(4)], {})
    receiver.entry_failed(1, Failure.NO_SPACE)
    drain(receiver)
    receiver.receive(whole((0, 3), (1, 4), (2, 0), (3, 2)), 0.0)
    receiver.entry_failed(2, Failure.WRITE_FAILED)
    (taken,) = (action for action in drain(receiver) if isinstance(action, a.TakeFiles))
    assert taken.payload == 9
    assert [(f.number, f.offset, f.size) for f in taken.files] == [(0, 0, 3), (3, 7, 2)]
    receiver.entries_done([0, 3])
    (settled,) = (action for action in drain(receiver) if isinstance(action, a.Settled))
    assert [outcome.failure for outcome in settled.outcomes] == [
        None, Failure.NO_SPACE, Failure.WRITE_FAILED, None,
    ]  # fmt: skip


def test_the_senders_failure_stands():
    """A file that ended as changed is no failure of this side's, whatever the disk says."""
    receiver = moving(skip={})
    taken = feed(receiver, end(1, 0, Failure.CHANGED))
    assert taken == [a.EndFile(1, 0, DIGEST, Failure.CHANGED)]
    receiver.entry_failed(1, Failure.WRITE_FAILED)
    assert not [action for action in drain(receiver) if action == a.Send(m.Failed(1, 37))]


def test_many_scattered_skips_are_told_in_several_wants():
    """A Want has a bounded number of ranges."""
    entries = tuple(file(b"%d" % n, 1) for n in range(4_000))
    receiver = offered()
    feed(receiver, m.Page(0, entries))
    receiver.accept()
    receiver.decide(4_000, dict.fromkeys(range(0, 4_000, 2), Failure.EXISTS))
    taken = drain(receiver)
    wants = [x.message for x in taken if isinstance(x, a.Send) and isinstance(x.message, m.Want)]
    assert [len(want.skips) for want in wants] == [1_024, 976]
    assert [want.through for want in wants] == [2_047, 4_000]


def moving_on() -> Receiver:
    receiver = moving()
    feed(receiver, m.Page(4, (file(b"e", 1),)))
    return receiver


MISTAKES = {
    "answers before it is asked": (offered, lambda r: r.accept()),
    "answers twice": (moving, lambda r: r.decline("")),
    "decides before it accepts": (offered, lambda r: r.decide(1, {})),
    "decides twice": (moving, lambda r: r.decide(1, {})),
    "decides beyond what is listed": (moving, lambda r: r.decide(9, {})),
    "skips for the sender's reason": (
        moving_on,
        lambda r: r.decide(5, {4: Failure.CHANGED}),
    ),
    "fails for the sender's reason": (moving, lambda r: r.entry_failed(1, Failure.CHANGED)),
    "ends a file that still arrives": (moving, lambda r: r.entry_done(1)),
    "ends what it skipped": (moving, lambda r: r.entry_failed(2, Failure.NO_SPACE)),
    "ends what nobody knows": (moving, lambda r: r.entry_done(77)),
    "gives a root that nobody asked for": (moving, lambda r: r.transfer_root(DIGEST)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistaken_session_learns_it_at_once(name):
    """A wrong call is a ValueError where it is made."""
    start, call = MISTAKES[name]
    receiver = start()
    with pytest.raises(ValueError, match=r"."):
        call(receiver)


def test_a_block_written_twice_is_noticed():
    """Credit can't be given twice for one block."""
    receiver = moving()
    taken = feed(receiver, *A, m.Data(bytes(10)))
    (write,) = [action for action in taken if isinstance(action, a.WriteBlock)]
    assert write.payload == 10
    receiver.written(write)
    with pytest.raises(ValueError, match="twice"):
        receiver.written(write)


def test_activity_follows_the_work():
    """What pings will say: prompting, deciding, writing, idle."""
    receiver = offered()
    assert receiver.activity is m.Activity.IDLE
    feed(receiver, m.Page(0, TREE))
    assert receiver.activity is m.Activity.PROMPTING
    receiver.accept()
    assert receiver.activity is m.Activity.DECIDING
    receiver.decide(4, {})
    assert receiver.activity is m.Activity.WRITING
    receiver.entry_done(0)
    assert receiver.activity is m.Activity.IDLE
    drain(receiver)
    feed(receiver, *A, m.Data(bytes(10)))
    assert receiver.activity is m.Activity.WRITING
