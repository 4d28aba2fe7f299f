"""A receiver that paired honestly and then attacks the machine that sends, one attack a test.

Whatever it says, `send` never claims success without a receipt that is right, sends nothing that
was not accepted, keeps its memory bounded, and ends soon with an error of the right class.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from p2pxfer.errors import (
    Declined,
    IntegrityError,
    PartlyDone,
    PeerFailed,
    PeerGone,
    PeerMisbehaved,
)
from p2pxfer.manifest import MIN_BLOCK, Failure
from p2pxfer.peer.channel import HIGH_WATER
from p2pxfer.progress import EntryFailed, Finished, Resumed, Stalled
from p2pxfer.session.exchange import OUTGOING_LIMIT
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.continuity import KEEP
from p2pxfer.transfer.credit import MAX_BYTE_WINDOW
from p2pxfer.transfer.frames import encode
from p2pxfer.transfer.receipt import signed
from tests.session.conftest import Attack
from tests.session.ends import BIG, HELLO, PATIENCE, receipt

DATA = os.urandom(5000)


@pytest.fixture
def one(tmp_path):
    """A small file to send."""
    path = tmp_path / "one"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def large(tmp_path):
    """A file of more than all windows and buffers together."""
    path = tmp_path / "large"
    block = os.urandom(1 << 20)
    with path.open("wb") as out:
        for _ in range(48):
            out.write(block)
    return path


async def offered(attack: Attack) -> m.Offer:
    """Greet, and hear the whole offer."""
    await attack.peer.say(HELLO)
    offer = await attack.peer.hear(m.Offer)
    await attack.peer.hear(m.ManifestEnd)
    assert isinstance(offer, m.Offer)
    return offer


async def wanted(attack: Attack, *, through: int = 1, credit: int = BIG >> 4) -> m.Offer:
    """Accept all of it."""
    offer = await offered(attack)
    await attack.peer.say(m.Accept(), m.Want(through), m.Credit(credit, 0))
    return offer


async def ended(attack: Attack, entries: int = 1) -> m.TransferEnd:
    """Settle everything, and hear the end."""
    await attack.peer.hear(m.FileEnd)
    await attack.peer.say(m.Credit(BIG >> 4, entries))
    end = await attack.peer.hear(m.TransferEnd)
    assert isinstance(end, m.TransferEnd)
    return end


def claims_nothing(attack: Attack) -> None:
    assert not attack.events.all(Finished)


async def test_an_honest_one_is_served(as_receiver, one):
    """The script itself is sound: with the right receipt, the sender is done."""
    attack = as_receiver(one)
    offer = await wanted(attack)
    end = await ended(attack)
    await attack.peer.say(receipt(attack.peer.receipt_key, offer, end))
    await attack.peer.hear(m.Bye)
    summary = await attack.result()
    assert (summary.files, summary.size) == (1, len(DATA))


# Receipts


@pytest.mark.parametrize(
    "change",
    [
        {"root": bytes(32)},
        {"entries": 2},
        {"size": 1},
        {"failed": 1},
        {"failures_digest": bytes(32)},
        {"transfer_id": b"another transfer"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_it_signs_a_receipt_for_something_else(as_receiver, one, change):
    """Every field is compared, although the MAC is right."""
    attack = as_receiver(one)
    offer = await wanted(attack)
    end = await ended(attack)
    await attack.peer.say(receipt(attack.peer.receipt_key, offer, end, **change))
    await attack.ends(IntegrityError, "receipt")
    claims_nothing(attack)


async def test_it_forges_the_receipts_mac(as_receiver, one):
    """What is said of the transfer is right, but not signed under the shared key."""
    attack = as_receiver(one)
    offer = await wanted(attack)
    end = await ended(attack)
    await attack.peer.say(receipt(bytes(32), offer, end))
    await attack.ends(IntegrityError, "receipt")
    claims_nothing(attack)
    assert (await attack.peer.hear(m.Abort)).code is m.AbortCode.INTEGRITY


async def test_it_gives_the_receipt_early(as_receiver, one):
    """A receipt before the end is for something that nobody could know yet."""
    attack = as_receiver(one)
    offer = await wanted(attack)
    end = m.TransferEnd(bytes(32), 1, len(DATA), 0)
    await attack.peer.say(receipt(attack.peer.receipt_key, offer, end))
    await attack.ends(PeerMisbehaved)
    claims_nothing(attack)


async def test_it_gives_the_receipt_of_an_earlier_transfer(as_receiver, one):
    """A receipt is bound to one transfer by its id."""
    first = as_receiver(one)
    offer = await wanted(first)
    end = await ended(first)
    old = receipt(first.peer.receipt_key, offer, end)
    await first.peer.say(old)
    await first.result()
    second = as_receiver(one)
    await wanted(second)
    await ended(second)
    await second.peer.say(signed(second.peer.receipt_key, old))
    await second.ends(IntegrityError)
    claims_nothing(second)


async def test_it_wants_nothing_and_claims_success(as_receiver, one):
    """Skipping all is its right; to call that a success is not."""
    attack = as_receiver(one)
    offer = await offered(attack)
    skip = m.Skip(0, 1, Failure.EXISTS)
    await attack.peer.say(m.Accept(), m.Want(1, (skip,)), m.Credit(BIG >> 4, 1))
    end = await attack.peer.hear(m.TransferEnd)
    claim = m.TransferEnd(end.root, 1, len(DATA), 0)
    await attack.peer.say(receipt(attack.peer.receipt_key, offer, claim))
    await attack.ends(IntegrityError)
    claims_nothing(attack)


async def test_it_settles_a_file_that_it_failed_and_claims_success(as_receiver, one):
    """The failure stands."""
    attack = as_receiver(one)
    offer = await wanted(attack)
    await attack.peer.say(m.Failed(0, Failure.WRITE_FAILED))
    end = await ended(attack)
    assert end.failed == 1
    claim = m.TransferEnd(end.root, 1, len(DATA), 0)
    await attack.peer.say(receipt(attack.peer.receipt_key, offer, claim))
    await attack.ends(IntegrityError)


async def test_it_skips_in_the_senders_name(as_receiver, one):
    """It may not say that the sender could not read a file."""
    attack = as_receiver(one)
    await offered(attack)
    await attack.peer.say(m.Accept(), m.Want(1, (m.Skip(0, 1, Failure.VANISHED),)))
    await attack.ends(PeerMisbehaved)


async def test_it_fails_a_file_and_the_sender_tells_it(as_receiver, one):
    """The sender's side says why nothing arrived, in its own words."""
    attack = as_receiver(one)
    await offered(attack)
    await attack.peer.say(
        m.Accept(), m.Want(1, (m.Skip(0, 1, Failure.NO_SPACE),)), m.Credit(BIG >> 4, 1)
    )
    await attack.peer.hear(m.TransferEnd)
    (told,) = attack.events.all(EntryFailed)
    assert told.reason == "no space left on the receiving side"
    attack.peer.channel.close()
    await attack.ends(PeerGone)


# Order


GARBAGE = m.Receipt(bytes(16), bytes(32), 0, 0, 0, bytes(32), bytes(32))


@pytest.mark.parametrize(
    "frames",
    [
        [m.Accept()],
        [m.Want(1)],
        [m.Credit(5000, 0), m.Credit(1, 0)],
        [m.Failed(1, Failure.WRITE_FAILED)],
        [GARBAGE],
        [HELLO],
        [m.Decline("late")],
        [m.Offer(bytes(16), 1, b"")],
        [m.Page(0, ())],
        [m.Data(b"x")],
        [m.Bye()],
    ],
    ids=lambda frames: type(frames[0]).__name__,
)
async def test_it_says_a_thing_twice_or_out_of_turn(as_receiver, one, frames):
    """After it has wanted everything, none of these may come (again)."""
    attack = as_receiver(one)
    await wanted(attack, credit=0)
    await attack.peer.say(*frames)
    await attack.ends(PeerMisbehaved)
    claims_nothing(attack)


@pytest.mark.parametrize(
    "frames",
    [[m.Accept()], [m.Want(1)], [m.Credit(1000, 0)], [m.Decline("no")], [m.Ping(1, 0, 0), m.Bye()]],
    ids=["accept", "want", "credit", "decline", "bye"],
)
async def test_it_speaks_before_it_says_hello(as_receiver, one, frames):
    """Nothing before the versions."""
    attack = as_receiver(one)
    await attack.peer.say(*frames)
    await attack.ends(PeerMisbehaved)


async def test_it_wants_before_it_accepts(as_receiver, one):
    """Content goes to nobody who has not said yes."""
    attack = as_receiver(one)
    await offered(attack)
    await attack.peer.say(m.Want(1), m.Credit(BIG >> 4, 0))
    await attack.ends(PeerMisbehaved)
    assert not attack.peer.all(m.Data)


@pytest.mark.parametrize(
    "frame",
    [
        m.Want(2),
        m.Want(2**32 - 1),
        m.Want(0),
        m.Want(1, (m.Skip(0, 2, Failure.EXISTS),)),
        m.Want(1, (m.Skip(1, 1, Failure.EXISTS),)),
        m.Want(1, (m.Skip(0, 2**32 - 1, Failure.EXISTS),)),
        m.Want(1, (m.Skip(0, 0, Failure.EXISTS),)),
        m.Want(1, (m.Skip(0, 1, Failure.EXISTS), m.Skip(0, 1, Failure.EXISTS))),
        m.Failed(0, Failure.WRITE_FAILED),
        m.Failed(7, Failure.WRITE_FAILED),
        m.Credit(0, 1),
        m.Credit(0, 2**32 - 1),
    ],
)
async def test_it_decides_on_what_was_not_listed(as_receiver, one, frame):
    """Numbers that nobody has, skips of nothing, failures of what was not wanted."""
    attack = as_receiver(one)
    await offered(attack)
    await attack.peer.say(m.Accept(), frame)
    await attack.ends(PeerMisbehaved)
    assert not attack.peer.all(m.Data)


async def test_it_settles_a_file_that_was_not_sent(as_receiver, large):
    """Done is what was sent, not what was wished for."""
    attack = as_receiver(large)
    await wanted(attack, credit=MIN_BLOCK)
    await attack.peer.hear(m.FileBegin)
    await attack.peer.say(m.Credit(MIN_BLOCK, 1))
    await attack.ends(PeerMisbehaved)


async def test_it_declines_after_it_accepted(as_receiver, one):
    """One answer."""
    attack = as_receiver(one)
    await offered(attack)
    await attack.peer.say(m.Accept(), m.Decline("changed my mind"))
    await attack.ends(PeerMisbehaved)


async def test_it_declines_with_escape_sequences(as_receiver, one):
    """The reason is handed on raw, for whoever shows it to escape; the class is right."""
    attack = as_receiver(one)
    await offered(attack)
    await attack.peer.say(m.Decline("\x1b[2J" * 100))
    error = await attack.ends(Declined)
    assert "\x1b[2J" in error.message
    assert not attack.peer.all(m.FileBegin)


# Credit and memory


@pytest.mark.parametrize(
    "size", [MAX_BYTE_WINDOW + 1, 2**63, 2**64 - 1], ids=["over", "2^63", "2^64-1"]
)
async def test_it_gives_credit_without_bound(as_receiver, one, size):
    """More than any window at once is refused, not believed."""
    attack = as_receiver(one)
    await offered(attack)
    await attack.peer.say(m.Accept(), m.Credit(size, 0))
    await attack.ends(PeerMisbehaved, "credit")


async def test_it_takes_credit_back(as_receiver, large):
    """Credit only grows."""
    attack = as_receiver(large)
    await wanted(attack, credit=4 * MIN_BLOCK)
    await attack.peer.say(m.Credit(MIN_BLOCK, 0))
    await attack.ends(PeerMisbehaved, "credit")


async def test_it_gives_no_credit_at_all(as_receiver, large):
    """Not a byte of content goes out without."""
    attack = as_receiver(large)
    await wanted(attack, credit=0)
    await attack.peer.hear(m.FileBegin)
    await asyncio.sleep(0.1)
    assert not attack.peer.all(m.Data)
    attack.peer.channel.close()
    await attack.ends(PeerGone)


async def test_it_gives_credit_and_never_reads(as_receiver, large):
    """What waits at the sender is bounded by its buffers, not by the file or the credit."""
    attack = as_receiver(large)
    await wanted(attack, credit=200 << 20)
    attack.peer.channel.reading = False
    side = attack.link.channel
    last = -1
    while side.buffered != last:
        last = side.buffered
        await asyncio.sleep(0.2)
    assert side.most_buffered <= HIGH_WATER + 64 * 1024
    attack.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(attack.task, PATIENCE)


async def test_it_reads_and_never_says_what_it_had(as_receiver, large):
    """What is kept for a connection that may break is bounded as well."""
    attack = as_receiver(large)
    attack.peer.acknowledges = False
    await wanted(attack, credit=200 << 20)
    last, had = -1, 0
    while had != last:
        await asyncio.sleep(0.3)
        last, had = had, sum(map(len, attack.peer.raw))
    assert had <= KEEP + OUTGOING_LIMIT
    attack.peer.channel.close()
    await attack.ends(PeerGone)


@pytest.mark.parametrize("count", [10_000, 2**63, 2**64 - 1])
async def test_it_says_that_it_had_what_was_never_sent(as_receiver, one, count):
    """Nobody forgets messages on such a word."""
    attack = as_receiver(one)
    await offered(attack)
    await attack.peer.say(m.Received(count))
    await attack.ends(PeerMisbehaved)


async def test_it_begins_the_channel_twice(as_receiver, one):
    """One word on where it stands, at the beginning."""
    attack = as_receiver(one)
    await offered(attack)
    await attack.peer.say(m.Attach(0, fresh=True))
    await attack.ends(PeerMisbehaved)


async def test_it_begins_the_channel_without_a_word(as_receiver, one):
    """The dialogue waits for that word."""
    attack = as_receiver(one, attaches=False)
    await attack.peer.say(HELLO)
    await attack.ends(PeerMisbehaved)


# Time


@pytest.mark.usefixtures("hasty")
async def test_it_accepts_and_falls_silent(as_receiver, large):
    """Told after three seconds as a stall, after eight as a lost connection."""
    attack = as_receiver(large)
    await wanted(attack, credit=0)
    attack.peer.alive = False
    began = asyncio.get_running_loop().time()
    await attack.ends(PeerGone, "nothing was heard")
    assert asyncio.get_running_loop().time() - began > 0.7
    assert attack.events.all(Stalled)


@pytest.mark.usefixtures("hasty")
async def test_it_says_nothing_at_all(as_receiver, one):
    """A channel on which nobody speaks is lost as soon."""
    attack = as_receiver(one, attaches=False)
    attack.peer.alive = attack.peer.acknowledges = False
    await attack.ends(PeerGone, "nothing was heard")


@pytest.mark.usefixtures("hasty")
async def test_it_accepts_and_sends_nothing_but_pings(as_receiver, large):
    """Alive, but without credit nothing moves: the stall is told once, with its cause."""
    attack = as_receiver(large)
    await wanted(attack, credit=0)
    more = 10
    for at in range(2000):
        await attack.peer.say(m.Ping(at, m.Activity.WRITING, 0))
        await asyncio.sleep(0.05)
        more -= bool(attack.events.all(Stalled))
        if not more:
            break
    stalled, *again = attack.events.all(Stalled)
    assert len(again) == len(attack.events.all(Resumed))  # none, unless this process was late
    assert stalled.cause == "the other side is writing to its disk"
    attack.peer.channel.close()
    await attack.ends(PeerGone)


# Bytes


async def test_it_reflects_what_it_gets(as_receiver, one):
    """The sender's own words are none that a receiver may say."""
    attack = as_receiver(one)
    await attack.peer.say(HELLO)
    await attack.peer.hear(m.Page)
    for raw in [raw for raw in attack.peer.raw if raw[0] < 20]:
        await attack.peer.channel.send(raw)
    await attack.ends(PeerMisbehaved)


@pytest.mark.parametrize(
    "raw",
    [
        b"\0",
        os.urandom(1000).replace(b"\x14", b"\0"),
        encode(HELLO)[:-1],
        b"\x07\0\0\x04\0\0\0\1" + b"\x07",
        b"\x07\0\0\x05\0\0\0\1\0",
        b"\x0d\0\0\5\0\0\0\0\xff",
        b"\x80" + bytes(3) + b"\x01",
        b"\x14\0\0\x01\0",
        b"\x15\0\0\x01\0",
        b"\x14\0\0\x00",
    ],
    ids=[
        "nul",
        "noise",
        "cut",
        "half a header",
        "odd want",
        "failure 255",
        "after an unknown frame",
        "short attach",
        "short received",
        "empty attach",
    ],
)
async def test_it_sends_what_is_no_frame(as_receiver, one, raw):
    """Misbehaviour, whatever the noise."""
    attack = as_receiver(one)
    await attack.peer.channel.send(raw)
    await attack.ends(PeerMisbehaved)
    claims_nothing(attack)


async def test_it_sends_a_message_of_a_megabyte(as_receiver, one):
    """More than any message may have."""
    attack = as_receiver(one)
    await attack.peer.channel.send(b"\x80\x0f\xff\xfc" + bytes(0xFFFFC))
    await attack.ends(PeerMisbehaved)


async def test_it_floods_with_frames_of_unknown_types(as_receiver, one):
    """They are passed over, and cost nothing that grows."""
    attack = as_receiver(one)
    for _ in range(1000):
        await attack.peer.channel.send((b"\xff\0\0\x10" + bytes(16)) * 100)
    offer = await wanted(attack)
    end = await ended(attack)
    await attack.peer.say(receipt(attack.peer.receipt_key, offer, end))
    await attack.result()


async def test_it_leaves_in_the_middle(as_receiver, large):
    """A closed channel is a peer that is gone, and nothing stays open."""
    attack = as_receiver(large)
    await wanted(attack, credit=4 << 20)
    await attack.peer.hear(m.Block)
    attack.peer.channel.close()
    await attack.ends(PeerGone)
    claims_nothing(attack)


async def test_it_leaves_once_it_has_said_the_receipt(as_receiver, one):
    """The sender has what it needs, whether or not its goodbye arrives."""
    attack = as_receiver(one)
    offer = await wanted(attack)
    end = await ended(attack)
    attack.peer.blurt(receipt(attack.peer.receipt_key, offer, end))
    await asyncio.sleep(0)
    attack.peer.channel.close()
    summary = await attack.result()
    assert summary.files == 1


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
async def test_it_aborts(as_receiver, large, code, error):
    """The error says in whose hands it was."""
    attack = as_receiver(large)
    await wanted(attack, credit=4 << 20)
    await attack.peer.hear(m.Block)
    await attack.peer.say(m.Abort(code, "x" * 500))
    await attack.ends(error)


async def test_it_fails_every_file_of_many(as_receiver, tmp_path):
    """Each is told once, and the sender ends partly done."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(50):
        (tree / f"{number:02}").write_bytes(DATA)
    attack = as_receiver(tree)
    offer = await offered(attack)
    await attack.peer.say(m.Accept(), m.Want(51), m.Credit(BIG >> 4, 0))
    for number in range(1, 51):
        await attack.peer.say(m.Failed(number, Failure.WRITE_FAILED))
    for _ in range(50):
        await attack.peer.hear(m.FileEnd)
    await attack.peer.say(m.Credit(BIG >> 4, 51))
    end = await attack.peer.hear(m.TransferEnd)
    assert end.failed == 50
    assert len(attack.events.all(EntryFailed)) == 50
    failures = [(number, Failure.WRITE_FAILED) for number in range(1, 51)]
    await attack.peer.say(receipt(attack.peer.receipt_key, offer, end, failures))
    await attack.ends(PartlyDone)
