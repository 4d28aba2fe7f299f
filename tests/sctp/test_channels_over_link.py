"""Channels over two associations and a bad link: nothing lost, mixed up or left half closed."""

from __future__ import annotations

import random
from collections import defaultdict
from heapq import heappop, heappush

import pytest

from p2pxfer.sctp.datachannel import (
    ChannelAccepted,
    ChannelClosed,
    ChannelClosing,
    ChannelMessage,
    ChannelOpened,
)
from p2pxfer.sctp.events import Closed
from tests.sctp.hostile import end

SEEDS = 60
STEPS = 60  # things that the two applications do
PATIENCE = 120.0  # virtual seconds after the last of them


class Run:
    """One seeded run: two ends, a link each way, and what both applications saw."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        chance = self.chance
        self.ends = [end(at, own_peer=bool(seed & 1)) for at in (0, 1)]
        self.loss = chance.choice((0.0, 0.05, 0.25))
        self.twice = chance.choice((0.0, 0.1))
        self.delay = chance.choice((0.001, 0.02, 0.1))
        self.jitter = chance.choice((0.0, 1.0, 3.0))
        self.now = 1.0
        self.wire: list[tuple[float, int, int, bytes]] = []
        self.count = 0
        # by end: number -> label of the channel that has it, and of those that may be used
        self.names: tuple[dict[int, str], dict[int, str]] = ({}, {})
        self.here: tuple[dict[int, str], dict[int, str]] = ({}, {})
        self.sent = defaultdict(list)  # (label, from) -> messages
        self.got = defaultdict(list)
        self.closed = defaultdict(list)  # label -> which ends closed it
        self.told_closed = defaultdict(set)  # label -> which ends were told

    def play(self):
        starts = self.chance.choice(((0,), (1,), (0, 1)))
        for at in starts:
            self.ends[at][0].connect(self.now)
        for _ in range(STEPS):
            self.do()
            self.run(self.now + self.chance.choice((0.0, 0.005, 0.1, 1.0)))
        for at in (0, 1):
            for number in list(self.here[at]):
                self.close(at, number)
        self.run(self.now + PATIENCE)

    def do(self):
        chance = self.chance
        at = chance.randrange(2)
        mine = self.here[at]
        what = chance.random()
        if what < 0.25 or not mine:
            self.count += 1
            label = f"{at}-{self.count}"
            number = self.ends[at][1].open(label)
            mine[number] = self.names[at][number] = label
        elif what < 0.85:
            number = chance.choice(list(mine))
            for _ in range(chance.randrange(1, 6)):
                message = b"%d %d " % (at, self.count) + bytes(chance.choice((0, 30, 3000)))
                self.count += 1
                self.ends[at][1].send(number, message)
                self.sent[mine[number], at].append(message)
        else:
            self.close(at, chance.choice(list(mine)))

    def close(self, at, number):
        self.closed[self.here[at].pop(number)].append(at)
        self.ends[at][1].close(number)

    def run(self, until):
        for _ in range(20_000):
            for at in (0, 1):
                self.settle(at)
            times = [self.wire[0][0]] if self.wire else []
            times += [due for a, _ in self.ends if (due := a.deadline()) is not None]
            if not times or min(times) > until:
                self.now = until
                return
            self.now = max(self.now, min(times))
            for association, _ in self.ends:
                association.handle_timer(self.now)
            while self.wire and self.wire[0][0] <= self.now:
                _, _, at, packet = heappop(self.wire)
                self.ends[at][0].receive([packet], self.now)
        raise AssertionError("it never comes to rest")

    def settle(self, at):
        association, channels = self.ends[at]
        for _ in range(2):
            while (event := channels.next_event()) is not None:
                self.tell(at, event)
            while (transmit := association.transmit(self.now)) is not None:
                for packet in transmit.packets:
                    self.carry(1 - at, packet)

    def carry(self, to, packet):
        for _ in range(1 + (self.chance.random() < self.twice)):
            if self.chance.random() >= self.loss:
                arrival = self.now + self.delay * (1 + self.jitter * self.chance.random())
                heappush(self.wire, (arrival, self.chance.getrandbits(30), to, packet))

    def tell(self, at, event):
        assert not isinstance(event, Closed), event
        if isinstance(event, ChannelOpened):
            assert event.id not in self.names[at]
            self.names[at][event.id] = event.label
            self.here[at][event.id] = event.label
        elif isinstance(event, ChannelAccepted):
            assert event.id in self.names[at]
        elif isinstance(event, ChannelMessage):
            self.got[self.names[at][event.id], 1 - at].append(event.data)
        elif isinstance(event, ChannelClosing):
            del self.here[at][event.id]
        elif isinstance(event, ChannelClosed):
            label = self.names[at].pop(event.id)
            self.here[at].pop(event.id, None)
            assert at not in self.told_closed[label]
            self.told_closed[label].add(at)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_channels_deliver_in_order_and_close_on_both_ends(seed):
    """Each channel's messages come in order; all of them where only their sender closed it."""
    run = Run(seed)
    run.play()
    labels = {label for label, _ in run.sent} | set(run.closed)
    for label in labels:
        assert run.told_closed[label] == {0, 1}, label
        for at in (0, 1):
            sent, got = run.sent[label, at], run.got[label, at]
            assert got == sent[: len(got)], label
            if run.closed[label] == [at]:
                assert got == sent, label
    for association, channels in run.ends:
        assert channels._channels == {}
        assert association.pending == 0
