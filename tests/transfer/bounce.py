"""Two machines bounced in memory: each side's session is played by steps that a chooser orders.

Content is made up: a file is its size and a salt; digests and roots are SHA-256 over what was
handed over, so that both sides' sums are the work of the machines alone.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

from p2pxfer.manifest import Entry, Failure, block_size
from p2pxfer.transfer import actions as a
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.credit import MAX_HELD
from p2pxfer.transfer.frames import decode
from p2pxfer.transfer.outbox import Outbox
from p2pxfer.transfer.receiver import Receiver
from p2pxfer.transfer.sender import Sender
from tests.transfer.plans import KEY, OFFER, STREAM, Plan, Root, content, content_digest


def drain(machine: Sender | Receiver) -> list[object]:
    """All that it asks for now."""
    taken = []
    while (action := machine.next_action(0.0)) is not None:
        taken.append(action)
    return taken


def feed(machine: Sender | Receiver, *messages: m.Message) -> list[object]:
    """All that it asks for after these messages."""
    for message in messages:
        machine.receive(message, 0.0)
    return drain(machine)


class SendingSide:
    """The session over a `Sender`: a queue of jobs that finish when the chooser says so."""

    def __init__(self, plan: Plan, offer: m.Offer = OFFER, max_message: int = 65_536) -> None:
        self.machine = Sender(offer, KEY, 0.0, proofs=plan.proofs)
        self.outbox = Outbox(max_message)
        self.plan = plan
        self.walker: Iterator[Entry] = iter(plan.entries)
        self.jobs: deque[Callable[[], None]] = deque()
        self.walks: deque[Callable[[], None]] = deque()
        self.root = Root()
        self.hashes: dict[int, hashlib._Hash] = {}
        self.closed: set[int] = set()
        self.done: m.Receipt | None = None
        self.messages: deque[bytes] = deque()
        self.left: dict[int, int] = {}
        self.sent_blocks = 0
        self.kept: set[tuple[int, int]] = set()

    def drain(self, now: float) -> None:
        while (action := self.machine.next_action(now)) is not None:
            self._take(action)
        self.messages += self.outbox.flush()

    def _take(self, action: object) -> None:
        match action:
            case a.Send(message):
                self.messages += self.outbox.add(message)
            case a.Walk(room):
                self.walks.append(lambda: self._walk(room))
            case a.OpenFile(number, entry):
                self.jobs.append(lambda: self._open(number, entry))
            case a.SendBlock():
                self.jobs.append(lambda: self._block(action))
            case a.CloseFile(number):
                self.jobs.append(lambda: self._close(number, None))
            case a.Settled():
                self.root.take(action)
            case a.NeedRoot():
                self.jobs.append(lambda: self.machine.transfer_root(self.root.digest()))
            case a.Done(receipt):
                self.done = receipt

    def _walk(self, room: int) -> None:
        found = list(islice(self.walker, min(room, self.plan.page)))
        if found:
            self.machine.add_entries(found)
        else:
            self.machine.end_manifest(2)

    def _open(self, number: int, entry: Entry) -> None:
        failure = self.plan.unopened.get(number)
        if failure is not None:
            self.closed.add(number)
            self.machine.file_closed(number, failure, m.NO_DIGEST)
            return
        size = self.plan.opened.get(number, entry.size)
        if number % 2 and 0 <= size <= m.MAX_WHOLE and self._whole(number, entry):
            return
        self.hashes[number] = hashlib.sha256()
        self.left[number] = STREAM if size < 0 else size
        self.machine.file_opened(number, size, entry.mode, entry.mtime_ns)

    def _whole(self, number: int, entry: Entry) -> bool:
        """Send small files in one go, as far as that may be done now."""
        files: list[m.WholeFile] = []
        contents: list[bytes] = []
        for next_, found in [(number, entry), *self.machine.upcoming(self.plan.page)]:
            size = self.plan.opened.get(next_, found.size)
            if next_ in self.plan.unopened or not 0 <= size <= m.MAX_WHOLE:
                break
            contents.append(content(next_ in self.plan.zeros, size))
            root = hashlib.sha256(content_digest(contents[-1]) if size else b"").digest()
            files.append((next_, size, found.mode, found.mtime_ns, root))
        del files[self.outbox.fits_whole([len(each) for each in contents]) :]
        sent = self.machine.files_sent(files)
        if not sent:
            return False
        del files[sent:], contents[sent:]
        self.closed.update(each for each, *_ in files)
        self.sent_blocks += sum(size > 0 for _, size, *_ in files)
        self.messages += self.outbox.add_whole(files, contents)
        return True

    def _block(self, action: a.SendBlock) -> None:
        number = action.number
        if number in self.closed:
            return
        failure = self.plan.torn.get(number)
        if failure is not None and action.index == 1:
            self._close(number, failure)
            return
        length = min(action.length, self.left[number])
        self.left[number] -= length
        last = self.left[number] == 0 and action.length != length
        zero = number in self.plan.zeros
        payload = content(zero, length)
        digest = content_digest(payload)
        kept = action.held == digest
        zero = zero and not kept
        if length:
            self.hashes[number].update(digest)
            self.sent_blocks += 1
            if kept:
                self.kept.add((number, action.index))
            block = m.Block(number, action.index, length, digest, zero, kept)
            self.messages += self.outbox.add_block(block, payload)
        self.machine.block_sent(number, length, zero=zero, kept=kept, last=last)

    def _close(self, number: int, failure: Failure | None) -> None:
        if number in self.closed:
            return
        self.closed.add(number)
        self.machine.file_closed(number, failure, self.hashes.pop(number).digest())
        del self.left[number]


class ReceivingSide:
    """The session over a `Receiver`."""

    def __init__(self, plan: Plan, max_message: int = 65_536) -> None:
        self.machine = Receiver(KEY, 0.0)
        self.outbox = Outbox(max_message)
        self.plan = plan
        self.jobs: dict[int, deque[Callable[[], None]]] = {}  # by entry: disks have no order
        self.deciding: deque[Callable[[], None]] = deque()
        self.payload: deque[memoryview | bytes] = deque()
        self.root = Root()
        self.hashes: dict[int, hashlib._Hash] = {}
        self.listed = 0
        self.accepted = False
        self.failed: set[int] = set()
        self.in_hand = 0  # payload bytes kept, which credit bounds
        self.most_in_hand = 0
        self.done: m.Receipt | None = None
        self.messages: deque[bytes] = deque()
        self.totals: a.Totals | None = None
        self.entries: list[Entry] = []
        self.offered = 0  # entries below are through with offers
        self.kept: set[tuple[int, int]] = set()
        self.proven: list[a.Proven] = []

    def feed(self, message: bytes, now: float) -> None:
        for frame in decode(message):
            if isinstance(frame, m.Data | m.WholeFiles) and frame.payload:
                self.payload.append(frame.payload)
                self.in_hand += len(frame.payload)
                self.most_in_hand = max(self.most_in_hand, self.in_hand)
            self.machine.receive(frame, now)

    def drain(self, now: float) -> None:
        while (action := self.machine.next_action(now)) is not None:
            self._take(action)
        self.messages += self.outbox.flush()

    def _take(self, action: object) -> None:
        match action:
            case a.Send(message):
                self.messages += self.outbox.add(message)
            case a.AskAccept():
                self._add(-1, self._answer)
            case a.NewEntries(first, entries):
                self.listed = first + len(entries)
                self.entries += entries if self.plan.held else ()
                self.deciding.append(self._offer)
                self.deciding.append(self._decide)
            case a.Proven():
                self.proven.append(action)
            case a.Totals():
                self.totals = action
            case a.Settled():
                self.root.take(action)
            case a.NeedRoot():
                self._add(-1, lambda: self.machine.transfer_root(self.root.digest()))
            case a.Done(receipt):
                self.done = receipt
            case _:
                self._take_entry(action)

    def _take_entry(self, action: object) -> None:
        match action:
            case a.MakeEntry(number):
                self._add(number, lambda: self._end(number))
            case a.BeginFile(number):
                assert number not in self.failed
                self.hashes[number] = hashlib.sha256()
            case a.WriteBlock():
                assert action.number not in self.failed
                parts = b"".join(self._pop(action.payload))
                self._add(action.number, lambda: self._write(action, parts))
            case a.TakeFiles(files, payload):
                self._take_files(files, b"".join(self._pop(payload)))
            case a.DropData(payload):
                self.in_hand -= sum(len(part) for part in self._pop(payload))
            case a.EndFile(number, _, root, failure):
                assert number not in self.failed
                self._add(number, lambda: self._end_file(number, root, failure))

    def _take_files(self, files: Iterable[a.TakeFile], payload: bytes) -> None:
        """The same as if each had come in parts; what has failed meanwhile is left out."""
        self.in_hand -= len(payload)
        for number, entry, offset, size, mode, mtime_ns, root in files:
            part = payload[offset : offset + size]
            self.in_hand += size
            self._take_entry(a.BeginFile(number, entry, size, mode, mtime_ns))
            block = a.WriteBlock(number, 0, 0, size, content_digest(part), zero=False)
            if size:
                self._add(number, partial(self._write, block, part))
            self._take_entry(a.EndFile(number, size, root, None))

    def _add(self, key: int, job: Callable[[], None]) -> None:
        self.jobs.setdefault(key, deque()).append(job)

    def work(self, key: int) -> None:
        jobs = self.jobs[key]
        job = jobs.popleft()
        if not jobs:
            del self.jobs[key]
        job()

    def _pop(self, length: int) -> Iterable[bytes | memoryview]:
        taken = []
        while length:
            part = self.payload.popleft()
            length -= len(part)
            taken.append(part)
        assert length == 0
        return taken

    def _answer(self) -> None:
        if self.plan.decline:
            self.machine.decline("no room")
        else:
            self.machine.accept()
            self.accepted = True

    def _offer(self) -> None:
        """Tell of the blocks that are held of what is listed, one call for each run of them."""
        if not self.accepted:
            self.deciding.append(self._offer)
            return
        while self.offered < len(self.entries):
            number, entry = self.offered, self.entries[self.offered]
            self.offered += 1
            held = self.plan.held.get(number)
            if held is None or entry.size <= 0 or number < self.machine._ledger.decided:
                continue
            block, runs = block_size(entry.size), []
            for index in sorted(held):
                length = min(block, entry.size - index * block)
                if length > 0:
                    right = content_digest(content(number in self.plan.zeros, length))
                    digest = right if held[index] else bytes(32)
                    if runs and runs[-1][0] + len(runs[-1][1]) == index and index % 2:
                        runs[-1][1].append(digest)
                    else:
                        runs.append((index, [digest]))
            for first, digests in runs:
                self.machine.offer_blocks(number, first, digests)

    def _decide(self) -> None:
        if not self.accepted:
            self.deciding.append(self._decide)
        elif self.machine._ledger.decided < self.listed:
            self.machine.decide(self.listed, self.plan.skip)

    def _write(self, action: a.WriteBlock, payload: bytes) -> None:
        self.in_hand -= len(payload)
        number = action.number
        if number in self.failed:
            return
        if action.kept:
            assert self.plan.held[number][action.index]
            assert not payload
            self.kept.add((number, action.index))
            payload = content(number in self.plan.zeros, action.length)
        data = bytes(action.length) if action.zero else payload
        assert content_digest(data) == action.digest
        self.hashes[number].update(action.digest)
        refusal = self.plan.refused.get(number)
        if refusal is not None:
            self.failed.add(number)
            self.machine.entry_failed(number, refusal)
        else:
            self.machine.written(action)

    def _end_file(self, number: int, root: bytes, failure: Failure | None) -> None:
        if number in self.failed:
            return
        if failure is None:
            assert self.hashes[number].digest() == root
        self._end(number)

    def _end(self, number: int) -> None:
        self.hashes.pop(number, None)
        failure = self.plan.uncommitted.get(number)
        if failure is None:
            self.machine.entry_done(number)
        else:
            self.machine.entry_failed(number, failure)


def do_first(jobs: deque[Callable[[], None]]) -> None:
    jobs.popleft()()


class Bounce:
    """Runs both sides; ``choose(n)`` picks which of n possible steps comes next."""

    def __init__(self, plan: Plan, offer: m.Offer = OFFER) -> None:
        self.sending = SendingSide(plan, offer)
        self.receiving = ReceivingSide(plan)
        self.now = 0.0
        self.steps = 0
        self.disk = True  # whether the receiving disk works

    def possible(self) -> list[Callable[[], None]]:
        s, r = self.sending, self.receiving
        steps: list[Callable[[], None]] = []
        steps += [partial(do_first, jobs) for jobs in (s.jobs, s.walks) if jobs]
        if self.disk:
            steps += [partial(r.work, key) for key in islice(r.jobs, 4)]
        if r.deciding and r.accepted:
            steps.append(partial(do_first, r.deciding))
        if s.messages:
            steps.append(lambda: r.feed(s.messages.popleft(), self.now))
        if r.messages:
            steps.append(self._deliver_back)
        return steps

    def _deliver_back(self) -> None:
        for frame in decode(self.receiving.messages.popleft()):
            self.sending.machine.receive(frame, self.now)

    def drain(self) -> None:
        self.sending.drain(self.now)
        self.receiving.drain(self.now)

    def run(self, choose: Callable[[int], int] = lambda _: 0, limit: int = 1_000_000) -> None:
        self.drain()
        while steps := self.possible():
            steps[choose(len(steps))]()
            self.drain()
            self.now += 0.0001
            self.steps += 1
            assert self.steps < limit, "the machines do not come to an end"


def check_end(bounce: Bounce) -> m.Receipt:
    """Both are done, agree, and hold nothing any more."""
    sending, receiving = bounce.sending, bounce.receiving
    assert sending.done is not None
    assert sending.done == receiving.done
    assert sending.root.outcomes == receiving.root.outcomes
    assert [number for number, _ in sending.root.outcomes] == list(range(len(sending.plan.entries)))
    assert receiving.in_hand == 0
    assert not receiving.payload
    assert receiving.kept <= sending.kept
    assert receiving.machine._holdings.room == sending.machine._holdings.room == MAX_HELD
    assert receiving.machine.receipt
    for machine in (sending.machine, receiving.machine):
        assert machine.next_action(bounce.now) is None
        assert machine.deadline() is None
    return sending.done
