"""Both machines against each other: every order of events ends, and ends the same on both sides."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pxfer.errors import Declined
from p2pxfer.manifest import (
    Entry,
    Failure,
    TransferKind,
)
from p2pxfer.transfer import actions as a
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.credit import BYTE_WINDOW, ENTRY_WINDOW, entry_weight
from p2pxfer.transfer.receiver import Receiver
from p2pxfer.transfer.sender import Sender
from tests.transfer.bounce import Bounce, check_end, drain
from tests.transfer.plans import KEY, MTIME, OFFER, Plan, file, folder, link

SENDERS = st.sampled_from([Failure.CHANGED, Failure.VANISHED, Failure.UNREADABLE])
RECEIVERS = st.sampled_from([failure for failure in Failure if failure >= Failure.UNSAFE_NAME])
SIZES = st.sampled_from([0, 1, 5_000, 262_144, 262_145, 700_000])


@st.composite
def plans(draw) -> Plan:
    count = draw(st.integers(0, 12))
    make = st.one_of(
        st.just(folder), st.just(link), SIZES.map(lambda size: lambda n: file(n, size))
    )
    entries = [draw(make)(b"%d" % number) for number in range(count)]
    numbers = st.integers(0, 11)

    def some(failures):
        return draw(st.dictionaries(numbers, failures, max_size=4))

    return Plan(
        entries,
        skip=some(RECEIVERS),
        unopened=some(SENDERS),
        torn=some(SENDERS),
        refused=some(RECEIVERS),
        uncommitted=some(RECEIVERS),
        zeros=draw(st.frozensets(numbers, max_size=3)),
        held=some(st.dictionaries(st.integers(0, 3), st.booleans(), min_size=1)),
        opened={n: size for n, size in some(SIZES).items() if n < count and entries[n].size > 0},
        proofs=((b"i" * 16, b"m" * 32),) * draw(st.integers(0, 2)),
        page=draw(st.integers(1, 5)),
    )


@given(plans(), st.integers())
@settings(max_examples=300, deadline=None)
def test_any_order_of_events_ends_with_one_view(plan, seed):
    """Walks, reads, writes and messages in any order, with failures on either side.

    The receiver holds some blocks already, right ones and stale ones, and some files have another
    size when they are opened.
    """
    chance = random.Random(seed)
    bounce = Bounce(plan)
    bounce.run(chance.randrange)
    receipt = check_end(bounce)
    assert bounce.receiving.proven == ([a.Proven(plan.proofs)] if plan.proofs else [])
    failed = dict(bounce.sending.root.outcomes)
    assert receipt.failed == sum(failure is not None for failure in failed.values())
    for number, failure in failed.items():
        known = [
            book.get(number)
            for book in (plan.skip, plan.unopened, plan.torn, plan.refused, plan.uncommitted)
        ]
        assert failure in (None, *known)
        if number in plan.skip:
            assert failure is plan.skip[number]


def test_an_empty_transfer_ends_too():
    """Nothing was found, or everything was excluded."""
    bounce = Bounce(Plan([]))
    bounce.run()
    assert check_end(bounce).entries == 0
    assert bounce.receiving.totals == a.Totals(0, 0, complete=True, skipped=2)


def test_a_stream_of_unknown_size_arrives():
    """Its blocks are 1 MiB, the last one shorter, and its size is known at the end."""
    bounce = Bounce(Plan([file(b"stdin", -1)]), m.Offer(b"i" * 16, TransferKind.STREAM, b""))
    bounce.run()
    assert check_end(bounce).size == 2 * 1024 * 1024 + 5
    assert bounce.sending.sent_blocks == 3
    assert bounce.receiving.totals.size is None


def test_a_text_arrives():
    """A text is one file whose size is known."""
    bounce = Bounce(Plan([file(b"text", 11)]), m.Offer(b"i" * 16, TransferKind.TEXT, b""))
    bounce.run()
    assert check_end(bounce).size == 11


def test_holes_cost_neither_payload_nor_much_credit():
    """A sparse file of 4 GiB crosses on headers, without waiting for the disk."""
    bounce = Bounce(Plan([]))
    sender = bounce.sending.machine
    drain(sender)
    for message in (m.Hello(1, 1, 0), m.Accept()):
        sender.receive(message, 0.0)
    sender.add_entries([file(b"sparse", 4 << 30)])
    drain(sender)
    sender.receive(m.Want(1), 0.0)
    sender.receive(m.Credit(BYTE_WINDOW, 0), 0.0)
    drain(sender)
    sender.file_opened(0, 4 << 30, 0o644, MTIME)
    blocks = 0
    while (action := sender.next_action(0.0)) is not None:
        if isinstance(action, a.SendBlock):
            sender.block_sent(0, action.length, zero=True)
            blocks += 1
        last = action
    assert blocks == (4 << 30) // (2 << 20)
    assert last == a.CloseFile(0)


def test_a_slow_disk_holds_the_sender_at_its_credit():
    """With no write finished, what crosses is exactly the byte window; then it goes on."""
    bounce = Bounce(Plan([file(b"big", 40 << 20)]))
    bounce.run()
    check_end(bounce)
    bounce = Bounce(Plan([file(b"big", 40 << 20)]))
    bounce.disk = False  # not even the answer is given
    bounce.run()
    bounce.receiving.work(-1)
    bounce.run()
    assert bounce.receiving.most_in_hand == BYTE_WINDOW
    assert bounce.sending.machine.sent == BYTE_WINDOW
    bounce.disk = True
    bounce.run()
    check_end(bounce)


def test_a_refused_file_stops_early_and_its_credit_comes_back():
    """The receiver fails the first of two large files; the second crosses whole."""
    plan = Plan([file(b"a", 64 << 20), file(b"b", 40 << 20)], refused={0: Failure.NO_SPACE})
    bounce = Bounce(plan)
    bounce.run()
    receipt = check_end(bounce)
    assert (receipt.failed, receipt.size) == (1, 40 << 20)
    assert bounce.sending.machine.sent <= (40 << 20) + BYTE_WINDOW


def test_a_decline_reaches_the_sender():
    """The reason is told, and both are over."""
    bounce = Bounce(Plan([file(b"a", 1)], decline=True))
    with pytest.raises(Declined, match="no room"):
        bounce.run()
    assert bounce.sending.machine.deadline() is None
    assert bounce.receiving.machine.next_action(0.0) is None


def test_listing_goes_on_before_the_answer_up_to_the_window():
    """While a human thinks, the sender walks and lists, but no further than the entry window."""
    entries = [folder(b"%d" % number + b"x" * 300) for number in range(20_000)]
    bounce = Bounce(Plan(entries, page=512))
    bounce.disk = False
    bounce.run()
    weight = entry_weight(entries[0])
    assert weight == 2
    assert bounce.receiving.totals.entries == ENTRY_WINDOW // weight
    assert not bounce.receiving.totals.complete


class Most(Mapping[int, Failure]):
    """Skips all but every thousandth entry."""

    def __getitem__(self, number: int) -> Failure:
        return Failure.EXISTS

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and number % 1000 != 0

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 0


def held(thing: object, seen: set[int]) -> int:
    """Items in all containers that a machine reaches through its own objects."""
    if id(thing) in seen or isinstance(thing, type | int | str | bytes | tuple):
        return 0
    seen.add(id(thing))
    if isinstance(thing, dict | list | set | deque):
        return len(thing)
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    inner = [*vars(thing).values()] if hasattr(thing, "__dict__") else []
    inner += [getattr(thing, name) for name in slots if hasattr(thing, name)]
    if type(thing).__module__.startswith("p2pxfer.transfer"):
        return sum(held(part, seen) for part in inner)
    return 0


class Million:
    """Both machines with sessions that do the least: messages are handed over as they are."""

    def __init__(self) -> None:
        self.sender, self.receiver = Sender(OFFER, KEY, 0.0), Receiver(KEY, 0.0)
        self.left = 1_000_000
        self.listed = 0
        self.receipts: list[m.Receipt] = []

    def send(self, action: object) -> None:
        sender = self.sender
        match action:
            case a.Send(message):
                self.receiver.receive(message, 0.0)
            case a.Walk(room):
                count = min(room, self.left)
                self.left -= count
                sender.add_entries([NAME] * count) if count else sender.end_manifest(0)
            case a.OpenFile(number):
                sender.file_opened(number, 0, 0o644, MTIME)
            case a.CloseFile(number):
                sender.file_closed(number, None, KEY)
            case a.NeedRoot():
                sender.transfer_root(KEY)
            case a.Done(receipt):
                self.receipts.append(receipt)

    def take(self, action: object) -> None:
        receiver = self.receiver
        match action:
            case a.Send(message):
                self.sender.receive(message, 0.0)
            case a.AskAccept():
                receiver.accept()
            case a.NewEntries(first, entries):
                self.listed = first + len(entries)
            case a.EndFile(number):
                receiver.entry_done(number)
            case a.NeedRoot():
                receiver.transfer_root(KEY)
            case a.Done(receipt):
                self.receipts.append(receipt)

    def turn(self) -> int:
        """One turn each; returns how much both hold in the middle of it."""
        while (action := self.sender.next_action(0.0)) is not None:
            self.send(action)
        while (action := self.receiver.next_action(0.0)) is not None:
            self.take(action)
        most = max(held(self.sender, set()), held(self.receiver, set()))
        if self.listed:
            self.receiver.decide(self.listed, Most())
            self.listed = 0
        return most


NAME = file(b"name", 7)


@pytest.fixture
def _untraced() -> Iterator[None]:
    """Without the coverage tracer, which would triple the time of a loop that is run elsewhere."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.mark.usefixtures("_untraced")
def test_a_million_entries_leave_nothing_behind():
    """Neither machine ever holds more than its window, however much was sent before."""
    run, most = Million(), 0
    while len(run.receipts) < 2:
        most = max(most, run.turn())
    assert run.receipts[0] == run.receipts[1]
    assert (run.receipts[0].entries, run.receipts[0].failed) == (1_000_000, 999_000)
    assert ENTRY_WINDOW // 2 < most < 2 * ENTRY_WINDOW


def test_files_ahead_are_told_for_reading_ahead():
    """What was refused in the meantime is left out, and what was told before if that is said."""
    sender = Sender(OFFER, KEY, 0.0)
    sender.add_entries([folder(b"d"), *(file(b"%d" % n, 1) for n in range(5))])
    drain(sender)
    sender.receive(m.Hello(1, 1, 0), 0.0)
    drain(sender)
    for message in (m.Accept(), m.Want(6), m.Failed(2, Failure.NO_SPACE)):
        sender.receive(message, 0.0)
    assert [number for number, _ in sender.upcoming(3)] == [1, 3, 4]
    assert [number for number, _ in sender.upcoming(3, after=1)] == [3, 4, 5]
    assert sender.upcoming(3, after=5) == []
    assert isinstance(sender.upcoming(1)[0][1], Entry)
