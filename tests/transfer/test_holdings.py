"""Holdings: what the receiver has already does not travel, and nobody gains by lying about it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.manifest import BLOCKS_WANTED, MAX_BLOCK, MIN_BLOCK, Entry, Failure, TransferKind
from p2pxfer.transfer import actions as a
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.credit import BYTE_WINDOW, MAX_HELD, MIN_COST
from p2pxfer.transfer.frames import encode
from p2pxfer.transfer.receiver import Receiver
from p2pxfer.transfer.sender import Sender
from tests.transfer.bounce import Bounce, check_end, drain, feed
from tests.transfer.plans import KEY, MTIME, OFFER, Plan, file, folder, link

DIGEST, HELD = b"d" * 32, b"h" * 32
BLOCK = 262_144
HELLO = m.Hello(1, 1, m.RESUME)
PROOF = m.Proof(((b"i" * 16, b"m" * 32),))
TREE = (folder(b"d"), file(b"d/a", 10), file(b"d/b", BLOCK + 5), link(b"d/l"))


def test_what_is_held_does_not_travel():
    """Of a file that the receiver has but for one block, that block is all that crosses."""
    entry = file(b"a", 10 * MIN_BLOCK + 5)
    held = dict.fromkeys(range(11), True) | {4: False}
    bounce = Bounce(Plan([entry], held={0: held}))
    bounce.run()
    assert check_end(bounce).size == entry.size
    assert bounce.receiving.kept == {(0, index) for index in range(11) if index != 4}
    assert bounce.receiving.most_in_hand == MIN_BLOCK
    assert bounce.sending.machine.sent == MIN_BLOCK


def test_a_file_that_is_cut_otherwise_now_travels_whole():
    """It has grown since it was listed, so that its blocks are longer: no digest is comparable."""
    listed = BLOCKS_WANTED * MIN_BLOCK
    bounce = Bounce(Plan([file(b"a", listed)], held={0: {0: True}}, torn={0: Failure.CHANGED}))
    bounce.sending.plan.opened[0] = listed + 1
    bounce.run()
    assert check_end(bounce).failed == 1
    assert bounce.sending.sent_blocks == 1
    assert not bounce.sending.kept


def test_digests_of_many_blocks_are_told_in_several_frames():
    """Each fits the smallest channel, and all of them reach the sender before the Want."""
    entry, held = file(b"a", 1 << 32), [bytes(32)] * 2_048
    sender, receiver = accepted([entry])
    receiver.offer_blocks(0, 0, held)
    receiver.decide(1, {})
    sent = [action.message for action in drain(receiver) if isinstance(action, a.Send)]
    assert [type(message) for message in sent] == [m.Have, m.Have, m.Want]
    assert [len(message.digests) for message in sent[:2]] == [m.MAX_DIGESTS, 1]
    assert all(len(encode(message)) <= m.MIN_MESSAGE for message in sent)
    for message in sent:
        sender.receive(message, 0.0)
    assert drain(sender) == [a.OpenFile(0, entry)]
    sender.file_opened(0, entry.size, 0o644, MTIME)
    asked = [action for action in drain(sender) if isinstance(action, a.SendBlock)]
    assert {block.held for block in asked} == {bytes(32)}


def accepted(entries: list[Entry], *, capabilities: int = m.CAPABILITIES) -> tuple:
    """Both machines, with all listed and accepted on both sides."""
    sender, receiver = Sender(OFFER, KEY, 0.0), Receiver(KEY, 0.0)
    drain(sender)
    drain(receiver)
    for machine in (sender, receiver):
        machine.receive(m.Hello(1, 1, capabilities), 0.0)
    drain(sender)
    sender.add_entries(entries)
    receiver.receive(OFFER, 0.0)
    receiver.receive(m.Page(0, tuple(entries)), 0.0)
    drain(sender)
    drain(receiver)
    receiver.accept()
    for action in drain(receiver):
        sender.receive(action.message, 0.0)
    return sender, receiver


def test_the_digests_under_way_are_bounded():
    """The room is used up on both sides alike, and comes back when files end or are not wanted."""
    entries = [file(b"%d" % n, MAX_HELD * MAX_BLOCK // 2) for n in range(3)]
    sender, receiver = accepted(entries)
    half = [bytes(32)] * (MAX_HELD // 2)
    assert receiver.hold_room() == MAX_HELD
    receiver.offer_blocks(0, 0, half)
    receiver.offer_blocks(1, 0, half)
    assert receiver.hold_room() == 0
    with pytest.raises(ValueError, match="may be offered"):
        receiver.offer_blocks(2, 0, [bytes(32)])
    receiver.decide(2, {1: Failure.EXISTS})
    assert receiver.hold_room() == MAX_HELD // 2
    for action in drain(receiver):
        sender.receive(action.message, 0.0)
    drain(sender)
    assert sender._holdings.room == MAX_HELD // 2
    with pytest.raises(ValueError, match="with room for"):
        receiver.offer_blocks(2, 0, [*half, bytes(32)])
    sender.file_closed(0, Failure.VANISHED, b"")
    for action in drain(sender):
        receiver.receive(action.message, 0.0)
    assert receiver.hold_room() == sender._holdings.room == MAX_HELD


def test_nothing_is_held_against_a_side_that_can_not_resume():
    """No room, no proof: the frames are for those who know them."""
    _, receiver = accepted([file(b"a", 1)], capabilities=0)
    assert receiver.hold_room() == 0
    sender = Sender(OFFER, KEY, 0.0, proofs=[(b"i" * 16, b"m" * 32)])
    drain(sender)
    sender.receive(m.Hello(1, 1, 0), 0.0)
    assert drain(sender)[0] == a.Send(OFFER)
    assert not [x for x in drain(sender) if isinstance(x, a.Send)]


def offered(offer: m.Offer = OFFER) -> Receiver:
    receiver = Receiver(KEY, 0.0)
    feed(receiver, HELLO, offer)
    return receiver


def asked(entries: Sequence[Entry], offer: m.Offer = OFFER) -> Receiver:
    """Accepted, nothing decided."""
    receiver = offered(offer)
    feed(receiver, m.Page(0, tuple(entries)))
    receiver.accept()
    return receiver


def moving() -> Receiver:
    """All decided, nothing offered."""
    receiver = asked(TREE)
    receiver.decide(4, {})
    drain(receiver)
    return receiver


def stream() -> Receiver:
    receiver = asked((file(b"in", -1),), m.Offer(b"i" * 16, TransferKind.STREAM, b""))
    receiver.decide(1, {})
    return receiver


def greeted_without_resume() -> Receiver:
    receiver = Receiver(KEY, 0.0)
    feed(receiver, m.Hello(1, 1, 0))
    return receiver


def offer_first(entries: Sequence[Entry], count: int = 1) -> Receiver:
    """All decided; the first ``count`` blocks of entry 0 were offered."""
    receiver = asked(entries)
    receiver.offer_blocks(0, 0, [HELD] * count)
    receiver.decide(len(entries), {})
    drain(receiver)
    return receiver


def holding() -> Receiver:
    """Entry 1 is held whole, the second block of entry 2; entry 3 takes as many blocks as 2."""
    receiver = asked((*TREE[:3], file(b"d/c", BLOCK + 5)))
    receiver.offer_blocks(1, 0, [HELD])
    receiver.offer_blocks(2, 1, [HELD])
    receiver.decide(4, {})
    drain(receiver)
    return receiver


def kept(number: int, index: int, length: int, digest: bytes = HELD) -> m.Block:
    return m.Block(number, index, length, digest, kept=True)


def holding_second() -> Receiver:
    """At the second block of entry 2, which is held."""
    receiver = holding()
    receiver.entry_done(0)
    feed(receiver, end(1, 0, Failure.CHANGED), begin(2, BLOCK + 5))
    feed(receiver, block(2, 0, BLOCK), m.Data(bytes(BLOCK)))
    return receiver


def begin(number: int, size: int) -> m.FileBegin:
    return m.FileBegin(number, size, 0o644, MTIME)


def block(number: int, index: int, length: int) -> m.Block:
    return m.Block(number, index, length, DIGEST)


def end(number: int, size: int, failure: Failure | None = None) -> m.FileEnd:
    return m.FileEnd(number, failure, size, DIGEST)


A = (begin(1, 10), block(1, 0, 10))
ATTACKS = {
    "keeps a block of which nothing was offered": (moving, [begin(1, 10), kept(1, 0, 10)]),
    "keeps a block under another digest than was offered": (
        holding,
        [begin(1, 10), kept(1, 0, 10, DIGEST)],
    ),
    "keeps the block before the one that was offered": (
        holding,
        [end(1, 0, Failure.CHANGED), begin(2, BLOCK + 5), kept(2, 0, BLOCK)],
    ),
    "keeps a block that was offered of another file": (
        holding_second,
        [
            *(block(2, 1, 5), m.Data(bytes(5)), end(2, BLOCK + 5)),
            *(begin(3, BLOCK + 5), kept(3, 0, BLOCK)),
        ],
    ),
    "keeps a block after the last that was offered": (
        lambda: offer_first((file(b"a", 2 * BLOCK),)),
        [begin(0, 2 * BLOCK), kept(0, 0, BLOCK), kept(0, 1, BLOCK)],
    ),
    "stretches a block that it keeps": (holding, [begin(1, 11), kept(1, 0, 11)]),
    "shrinks a block that it keeps": (holding, [begin(1, 9), kept(1, 0, 9)]),
    "keeps a block of a file that is cut otherwise now": (
        lambda: offer_first((file(b"a", BLOCK),)),
        [begin(0, 1 << 40), kept(0, 0, 4 << 20)],
    ),
    "sends bytes of a block that it keeps": (
        holding,
        [begin(1, 10), kept(1, 0, 10), m.Data(bytes(10))],
    ),
    "keeps a block twice": (holding, [begin(1, 10), kept(1, 0, 10), kept(1, 0, 10)]),
    "keeps a block of a stream": (
        stream,
        [begin(0, -1), kept(0, 0, 1 << 20)],
    ),
    "keeps blocks beyond its credit": (
        lambda: offer_first((file(b"a", 1 << 45),), BYTE_WINDOW // MIN_COST + 1),
        [
            begin(0, 1 << 45),
            *(kept(0, index, 4 << 20) for index in range(BYTE_WINDOW // MIN_COST + 1)),
        ],
    ),
    "proves without having greeted so": (
        greeted_without_resume,
        [OFFER, PROOF],
    ),
    "proves before it offers": (lambda: Receiver(KEY, 0.0), [HELLO, PROOF]),
    "proves twice": (offered, [PROOF, PROOF]),
    "proves after it listed": (offered, [m.Page(0, TREE), PROOF]),
    "proves after it listed nothing": (offered, [m.ManifestEnd(0, 0, 0), PROOF]),
    "proves after it was accepted": (moving, [PROOF]),
    "offers blocks to the receiver": (moving, [m.Have(1, 0, (HELD,))]),
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


def test_a_block_that_is_held_needs_no_payload():
    """It is given to the session at once, marked, with the digest that was offered."""
    taken = feed(holding_second(), kept(2, 1, 5))
    (write,) = [action for action in taken if isinstance(action, a.WriteBlock)]
    assert write == a.WriteBlock(2, 1, BLOCK, 5, HELD, zero=False, kept=True)
    assert write.payload == 0


def test_what_was_offered_counts_until_the_file_ends():
    """A file that failed here is still checked to its end, and only then makes room."""
    receiver = holding()
    feed(receiver, begin(1, 10))
    receiver.entry_failed(1, Failure.WRITE_FAILED)
    assert not [x for x in feed(receiver, kept(1, 0, 10)) if isinstance(x, a.WriteBlock)]
    room = receiver.hold_room()
    feed(receiver, end(1, 10))
    assert receiver.hold_room() == room + 1


def test_a_block_that_was_offered_may_come_whole_or_as_zeros_all_the_same():
    """The sender is free not to look at what is held."""
    taken = feed(holding(), *A, m.Data(bytes(10)))
    (write,) = [action for action in taken if isinstance(action, a.WriteBlock)]
    assert (write.kept, write.payload) == (False, 10)
    taken = feed(holding(), begin(1, 10), m.Block(1, 0, 10, HELD, zero=True))
    (write,) = [action for action in taken if isinstance(action, a.WriteBlock)]
    assert (write.zero, write.kept) == (True, False)


def test_proofs_come_before_the_question():
    """Whoever is asked knows by then whether an earlier transfer is continued."""
    receiver = offered()
    assert feed(receiver, PROOF) == [a.Proven(PROOF.proofs)]
    assert [type(action) for action in feed(receiver, m.Page(0, TREE))] == [
        a.NewEntries,
        a.Totals,
        a.AskAccept,
    ]


def undecided() -> Receiver:
    """Accepted, nothing decided, two blocks of entry 2 offered."""
    receiver = asked((*TREE[:2], file(b"b", 9 * BLOCK), link(b"l")))
    receiver.offer_blocks(2, 2, [HELD] * 2)
    return receiver


MISTAKES = {
    "offers blocks before it accepts": (offered, lambda r: r.offer_blocks(1, 0, [HELD])),
    "offers blocks of what it decided": (moving, lambda r: r.offer_blocks(1, 0, [HELD])),
    "offers blocks of what is not listed": (undecided, lambda r: r.offer_blocks(9, 0, [HELD])),
    "offers blocks of a directory": (undecided, lambda r: r.offer_blocks(0, 0, [HELD])),
    "offers blocks of a symlink": (undecided, lambda r: r.offer_blocks(3, 0, [HELD])),
    "offers a block past the end": (undecided, lambda r: r.offer_blocks(1, 1, [HELD])),
    "offers a block again": (undecided, lambda r: r.offer_blocks(2, 3, [HELD])),
    "offers an earlier block": (undecided, lambda r: r.offer_blocks(2, 1, [HELD])),
    "offers no block": (undecided, lambda r: r.offer_blocks(2, 4, [])),
    "offers half a digest": (undecided, lambda r: r.offer_blocks(2, 4, [HELD[:16]])),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistaken_session_learns_it_at_once(name):
    """A wrong call is a ValueError where it is made."""
    start, call = MISTAKES[name]
    receiver = start()
    with pytest.raises(ValueError, match=r"."):
        call(receiver)
