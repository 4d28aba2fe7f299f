"""Sender against a hostile receiver, attack by attack, and against mistakes of its own session."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from p2pxfer.errors import IntegrityError, PeerGone, PeerMisbehaved, TransferError
from p2pxfer.manifest import MAX_PATH, Entry, EntryKind, Failure
from p2pxfer.transfer import actions as a
from p2pxfer.transfer import messages as m
from p2pxfer.transfer import receipt as r
from p2pxfer.transfer.credit import BYTE_WINDOW, MAX_BYTE_WINDOW, MAX_HELD, MIN_COST
from p2pxfer.transfer.sender import Sender
from tests.transfer.bounce import drain, feed
from tests.transfer.plans import KEY, MTIME, OFFER, file, folder

DIGEST = b"d" * 32
HELLO = m.Hello(1, 1, m.RESUME)
BLOCK = 262_144
TREE = (folder(b"d"), file(b"d/a", 10), file(b"d/b", 10), file(b"d/c", 10))


def new() -> Sender:
    sender = Sender(OFFER, KEY, 0.0)
    drain(sender)
    return sender


def listed(tree: tuple[Entry, ...] = TREE, hello: m.Hello = HELLO) -> Sender:
    """Greeted, the whole tree listed, no answer yet."""
    sender = new()
    feed(sender, hello)
    sender.add_entries(tree)
    sender.end_manifest(0)
    drain(sender)
    return sender


def moving() -> Sender:
    """Accepted; nothing decided."""
    sender = listed()
    feed(sender, m.Accept())
    return sender


def opening() -> Sender:
    """Entries 0 to 2 are decided, entry 1 is being opened."""
    sender = moving()
    taken = feed(sender, m.Want(3), m.Credit(BYTE_WINDOW, 0))
    assert taken == [a.OpenFile(1, TREE[1])]
    return sender


def closing() -> Sender:
    """All was skipped; the sender's end is out."""
    sender = moving()
    feed(sender, m.Want(4, (m.Skip(0, 4, Failure.EXISTS),)))
    assert drain_last(feed(sender, m.Credit(BYTE_WINDOW, 4))) == a.NeedRoot()
    sender.transfer_root(DIGEST)
    assert drain(sender) == [a.Send(m.TransferEnd(DIGEST, 4, 0, 4))]
    return sender


def have(number: int, first: int, count: int = 1) -> m.Have:
    return m.Have(number, first, (DIGEST,) * count)


def huge() -> Sender:
    """Two files that are long enough to offer as many blocks of as may be, and an empty one."""
    sender = listed((file(b"a", 1 << 41), file(b"b", 1 << 41), file(b"c", 0)))
    feed(sender, m.Accept())
    return sender


def accepted_without_resume() -> Sender:
    sender = listed(hello=m.Hello(1, 1, 0))
    feed(sender, m.Accept())
    return sender


def drain_last(taken: list[object]) -> object:
    return taken[-1]


def receipt() -> m.Receipt:
    failures = r.FailureList()
    for number in range(4):
        failures.add(number, Failure.EXISTS)
    return r.signed(KEY, r.unsigned(OFFER.transfer_id, DIGEST, 4, 0, failures))


def skip(first: int, count: int, failure: Failure = Failure.EXISTS) -> m.Skip:
    return m.Skip(first, count, failure)


ATTACKS: dict[str, tuple[Callable[[], Sender], list[m.Message]]] = {
    "accepts before its hello": (new, [m.Accept()]),
    "speaks only a later version": (new, [m.Hello(2, 9, 0)]),
    "speaks only an earlier version": (new, [m.Hello(0, 0, 0)]),
    "accepts twice": (moving, [m.Accept()]),
    "declines after it accepted": (moving, [m.Decline("")]),
    "wants before it accepts": (listed, [m.Want(1)]),
    "wants more than is listed": (moving, [m.Want(5)]),
    "wants nothing": (moving, [m.Want(0)]),
    "decides again": (moving, [m.Want(2), m.Want(2)]),
    "skips what it decided": (moving, [m.Want(2), m.Want(3, (skip(1, 1),))]),
    "skips beyond what it decides": (moving, [m.Want(2, (skip(1, 2),))]),
    "skips endlessly": (moving, [m.Want(2, (skip(0, 2**32 - 1),))]),
    "skips nothing": (moving, [m.Want(2, (skip(1, 0),))]),
    "skips twice": (moving, [m.Want(3, (skip(0, 2), skip(1, 1)))]),
    "skips out of order": (moving, [m.Want(3, (skip(2, 1), skip(0, 1)))]),
    "skips in the sender's name": (moving, [m.Want(2, (skip(0, 1, Failure.CHANGED),))]),
    "fails what is not listed": (moving, [m.Failed(9, Failure.NO_SPACE)]),
    "fails what it has not decided": (opening, [m.Failed(3, Failure.NO_SPACE)]),
    "fails twice": (opening, [m.Failed(1, Failure.NO_SPACE), m.Failed(1, Failure.NO_SPACE)]),
    "fails what it skipped": (
        moving,
        [m.Want(1, (skip(0, 1),)), m.Failed(0, Failure.NO_SPACE)],
    ),
    "fails in the sender's name": (opening, [m.Failed(1, Failure.VANISHED)]),
    "takes credit back": (opening, [m.Credit(BYTE_WINDOW - 1, 0)]),
    "gives credit without bound": (opening, [m.Credit(MAX_BYTE_WINDOW + 1, 0)]),
    "settles what is not decided": (opening, [m.Credit(BYTE_WINDOW, 4)]),
    "settles a file that was not sent": (opening, [m.Credit(BYTE_WINDOW, 2)]),
    "unsettles": (opening, [m.Credit(BYTE_WINDOW, 1), m.Credit(BYTE_WINDOW, 0)]),
    "fails what is settled": (
        opening,
        [m.Credit(BYTE_WINDOW, 1), m.Failed(0, Failure.NO_SPACE)],
    ),
    "signs before the end": (opening, [receipt()]),
    "fails after the end": (closing, [m.Failed(1, Failure.NO_SPACE)]),
    "gives credit after the end": (closing, [m.Credit(BYTE_WINDOW, 4)]),
    "offers blocks before it accepts": (listed, [have(1, 0)]),
    "offers blocks without having greeted so": (accepted_without_resume, [have(1, 0)]),
    "offers blocks of a directory": (moving, [have(0, 0)]),
    "offers blocks of an empty file": (huge, [have(2, 0)]),
    "offers blocks of what is not listed": (moving, [have(9, 0)]),
    "offers blocks of what it decided": (moving, [m.Want(2), have(1, 0)]),
    "offers blocks of what it skipped": (moving, [m.Want(2, (skip(1, 1),)), have(1, 0)]),
    "offers blocks of what is settled": (
        opening,
        [m.Credit(BYTE_WINDOW, 1), have(0, 0)],
    ),
    "offers blocks past the end": (moving, [have(1, 1)]),
    "offers more blocks than a file has": (moving, [have(1, 0, 2)]),
    "offers blocks at the end of the world": (moving, [have(1, 2**32 - 1)]),
    "offers a block twice": (huge, [have(0, 0, 2), have(0, 1)]),
    "offers blocks backwards": (huge, [have(0, 5), have(0, 4)]),
    "offers more digests than may be under way": (
        huge,
        [*(have(n // 128 % 2, n % 128 * 2_000, 2_000) for n in range(131)), have(1, 6_000, 145)],
    ),
    "offers blocks after the end": (closing, [have(1, 0)]),
    "proves to the sender": (listed, [m.Proof(((b"i" * 16, b"m" * 32),))]),
    "offers to the sender": (listed, [OFFER]),
    "says bye to the sender": (closing, [m.Bye()]),
    "sends content to the sender": (opening, [m.Data(b"x")]),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_receiver(name):
    """The last message of each attack is refused; those before it are fine."""
    start, messages = ATTACKS[name]
    sender = start()
    for message in messages[:-1]:
        sender.receive(message, 0.0)
    with pytest.raises(PeerMisbehaved):
        sender.receive(messages[-1], 0.0)


FORGERIES = {
    "a forged MAC": replace(receipt(), mac=bytes(32)),
    "the receipt of another transfer": replace(receipt(), transfer_id=bytes(16)),
    "another root": replace(receipt(), root=bytes(32)),
    "fewer failures": replace(receipt(), failed=3),
    "other failures": replace(receipt(), failures_digest=bytes(32)),
    "a receipt under another key": r.signed(bytes(32), receipt()),
    "another root, signed": r.signed(KEY, replace(receipt(), root=bytes(32))),
    "more bytes, signed": r.signed(KEY, replace(receipt(), size=5)),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_hostile_receipt(name):
    """The sender says done only to what it knows itself, under the right key."""
    with pytest.raises(IntegrityError, match="receipt"):
        closing().receive(FORGERIES[name], 0.0)


def test_the_right_receipt_is_the_end():
    """Bye goes out, and the session has the receipt."""
    assert feed(closing(), receipt()) == [a.Send(m.Bye()), a.Done(receipt())]


@pytest.mark.parametrize("code", m.AbortCode)
def test_every_abort_becomes_an_error_of_the_tree(code):
    """And carries the other side's words."""
    with pytest.raises(TransferError, match="because"):
        opening().receive(m.Abort(code, "because"), 0.0)


def test_an_abort_without_words_is_told_too():
    """The code alone says enough."""
    with pytest.raises(PeerGone, match=r"interrupted$"):
        opening().receive(m.Abort(m.AbortCode.INTERRUPTED, ""), 0.0)


def test_a_refused_file_is_closed_early():
    """Failed comes while blocks are out: the session is asked to close, and the next file opens."""
    sender = opening()
    sender.file_opened(1, 10, 0o644, MTIME)
    assert drain(sender)[-1] == a.SendBlock(1, 0, 0, 10)
    assert feed(sender, m.Failed(1, Failure.NO_SPACE)) == [a.CloseFile(1)]
    sender.file_closed(1, None, DIGEST)
    taken = drain(sender)
    assert taken[0] == a.Send(m.FileEnd(1, Failure.NO_SPACE, 0, m.NO_DIGEST))
    assert taken[1] == a.OpenFile(2, TREE[2])
    assert sender._spent == 0


def test_a_file_refused_before_its_turn_is_never_opened():
    """Its end goes out alone."""
    sender = opening()
    feed(sender, m.Failed(2, Failure.NO_SPACE))
    sender.file_closed(1, Failure.VANISHED, b"")
    assert drain(sender) == [
        a.Send(m.FileEnd(1, Failure.VANISHED, 0, m.NO_DIGEST)),
        a.Send(m.FileEnd(2, Failure.NO_SPACE, 0, m.NO_DIGEST)),
    ]


def resumed(size: int = 10) -> Sender:
    """Entry 1 is open with ``size``; its only block was offered, as it is listed."""
    sender = moving()
    feed(sender, have(1, 0), m.Want(2), m.Credit(BYTE_WINDOW, 0))
    sender.file_opened(1, size, 0o644, MTIME)
    return sender


def test_what_the_receiver_holds_is_told_with_the_block():
    """If it is the same it takes the least credit, and counts for nothing that was sent."""
    sender = resumed()
    assert drain(sender)[-1] == a.SendBlock(1, 0, 0, 10, DIGEST)
    sender.block_sent(1, 10, kept=True)
    assert sender.sent == 0
    assert sender._spent == MIN_COST
    assert drain(sender) == [a.CloseFile(1)]
    sender.file_closed(1, None, DIGEST)
    assert drain(sender)[0] == a.Send(m.FileEnd(1, None, 10, DIGEST))


@pytest.mark.parametrize("size", [9, 11, BLOCK + 1, 1 << 40])
def test_what_the_receiver_holds_is_of_no_use_if_the_block_has_another_length_now(size):
    """The file was changed since it was listed."""
    blocks = [action for action in drain(resumed(size)) if isinstance(action, a.SendBlock)]
    assert blocks[0].held is None


def test_whole_files_go_as_far_as_they_may():
    """Those wanted next, while there is credit, but for one of which the receiver has something."""
    tree = tuple(file(b"%d" % n, 10) for n in range(6))
    sender = listed(tree, m.Hello(1, 1, m.CAPABILITIES))
    feed(sender, m.Accept(), m.Have(4, 0, (DIGEST,)), m.Want(6), m.Credit(3 * MIN_COST, 0))
    files = [(n, 10, 0o644, MTIME, DIGEST) for n in range(6)]
    with pytest.raises(ValueError, match="entry 1"):
        sender.files_sent(files[1:])
    assert sender.files_sent(files) == 3
    assert drain(sender) == [a.OpenFile(3, tree[3])]
    assert sender.files_sent(files[3:]) == 0
    feed(sender, m.Credit(MAX_BYTE_WINDOW, 3))
    assert sender.files_sent(files[3:]) == 1
    assert a.OpenFile(4, tree[4]) in drain(sender)
    assert sender.files_sent(files[4:]) is None
    assert sender.sent == 40


def test_whole_files_are_for_those_who_take_them():
    """Any other receiver gets begin, blocks and end."""
    assert opening().files_sent([(1, 10, 0o644, MTIME, DIGEST)]) is None


def test_room_for_digests_comes_back_when_a_file_is_over():
    """Sent, failed on either side before its turn, or skipped."""
    sender = moving()
    feed(sender, have(1, 0), have(2, 0), have(3, 0))
    assert sender._holdings.room == MAX_HELD - 3
    feed(sender, m.Want(4, (skip(3, 1),)), m.Failed(2, Failure.NO_SPACE))
    assert sender._holdings.room == MAX_HELD - 2
    sender.file_closed(1, Failure.VANISHED, b"")
    drain(sender)
    assert sender._holdings.room == MAX_HELD


def test_proofs_follow_the_offer():
    """Before any page, once the receiver has said that it can resume."""
    proofs = ((b"i" * 16, b"m" * 32), (b"j" * 16, b"n" * 32))
    sender = Sender(OFFER, KEY, 0.0, proofs=proofs)
    drain(sender)
    sender.add_entries(TREE)
    sent = [x.message for x in feed(sender, HELLO) if isinstance(x, a.Send)]
    assert sent[:2] == [OFFER, m.Proof(proofs)]
    assert isinstance(sent[2], m.Page)
    with pytest.raises(ValueError, match="65 proofs"):
        Sender(OFFER, KEY, 0.0, proofs=proofs[:1] * 65)


def test_blocks_wait_for_credit():
    """No block is asked for until the whole of it may be sent."""
    sender = moving()
    feed(sender, m.Want(2), m.Credit(4_095, 0))
    sender.file_opened(1, 10, 0o644, MTIME)
    assert [type(action) for action in drain(sender)] == [a.Send]
    assert feed(sender, m.Credit(MIN_COST, 0)) == [a.SendBlock(1, 0, 0, 10)]


def test_entries_too_long_for_a_page_are_told_to_the_session():
    """The walker has to report them instead."""
    with pytest.raises(ValueError, match="protocol"):
        new().add_entries([Entry(EntryKind.FILE, b"a" * 60_000, 0, 0, 0)])


def test_the_longest_entries_get_pages_of_their_own():
    """Two of them would not fit one message of every channel."""
    sender = new()
    feed(sender, HELLO)
    sender.add_entries([file(b"s", 1), *[file(b"a" * MAX_PATH, 1)] * 2])
    pages = [x.message for x in drain(sender) if isinstance(x, a.Send)]
    assert [len(page.entries) for page in pages] == [2, 1]


def at_held_block() -> Sender:
    sender = resumed()
    drain(sender)
    return sender


def at_block() -> Sender:
    sender = opening()
    sender.file_opened(1, 10, 0o644, MTIME)
    drain(sender)
    return sender


MISTAKES: dict[str, tuple[Callable[[], Sender], Callable[[Sender], None]]] = {
    "lists after the end": (listed, lambda s: s.add_entries(TREE)),
    "opens another file": (opening, lambda s: s.file_opened(2, 1, 0, 0)),
    "opens twice": (at_block, lambda s: s.file_opened(1, 10, 0, 0)),
    "sends another file's block": (at_block, lambda s: s.block_sent(2, 10)),
    "sends a block nobody asked for": (opening, lambda s: s.block_sent(1, 10)),
    "sends a short block": (at_block, lambda s: s.block_sent(1, 9, last=True)),
    "sends a long block": (at_block, lambda s: s.block_sent(1, 11)),
    "keeps a block that is not held": (at_block, lambda s: s.block_sent(1, 10, kept=True)),
    "keeps a block of zeros": (
        at_held_block,
        lambda s: s.block_sent(1, 10, zero=True, kept=True),
    ),
    "closes a file that is not whole": (at_block, lambda s: s.file_closed(1, None, DIGEST)),
    "closes a file that never opened": (opening, lambda s: s.file_closed(1, None, DIGEST)),
    "closes another file": (opening, lambda s: s.file_closed(2, Failure.CHANGED, DIGEST)),
    "gives a root nobody asked for": (opening, lambda s: s.transfer_root(DIGEST)),
    "gives a second root": (closing, lambda s: s.transfer_root(DIGEST)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistaken_session_learns_it_at_once(name):
    """A wrong call is a ValueError where it is made."""
    start, call = MISTAKES[name]
    with pytest.raises(ValueError, match=r"."):
        call(start())
