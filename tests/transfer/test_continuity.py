"""Continuity: whatever breaks and however often, each message arrives once, in order."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pxfer.errors import PeerMisbehaved
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.continuity import KEEP, OVERHEAD, TELL_EVERY, Continuity, PeerRestarted
from p2pxfer.transfer.frames import LINK_TYPES, decode, encode

FRESH = encode(m.Attach(0, fresh=True))


def attach(received: int) -> bytes:
    return encode(m.Attach(received, fresh=False))


def had(count: int) -> bytes:
    return encode(m.Received(count))


def message(number: int) -> bytes:
    """A message of the dialogue that can be told from any other."""
    return encode(m.Pong(number))


APART = 1_000_000


class End:
    """One side: a continuity, the channel it is on, and what the dialogue above has seen.

    Each of its dialogues numbers its messages from elsewhere, so that none can stray into another.
    """

    def __init__(self, dialogue: int) -> None:
        self.channel = -1
        self.restarts = 0
        self.begin(dialogue, Continuity())

    def begin(self, dialogue: int, continuity: Continuity) -> None:
        self.dialogue = dialogue
        self.continuity = continuity
        self.sent = 0
        self.got: list[int] = []
        self.ready: deque[bytes] = deque()  # for the channel, ahead of anything new

    def take(self, raw: bytes) -> None:
        """What a session does with a message; a restart of the other side begins a new dialogue."""
        try:
            again = self.continuity.receive(raw)
        except PeerRestarted:
            self.restarts += 1
            self.begin(self.dialogue + APART, Continuity.begun())
            self.ready.append(self.continuity.attach())
            return
        if again is None:
            (pong,) = decode(raw)
            self.got.append(pong.time)
        else:
            self.ready.extend(again)


class Wires:
    """Two ends over channels that break: each direction by itself, noticed at any time, or never.

    A channel is a number and two queues. What an end sends goes to the channel it is on; what has
    not arrived when its direction is cut, or when either end has moved on, is lost.
    """

    def __init__(self) -> None:
        self.ends = (End(0), End(0))
        self.queues: dict[tuple[int, int], deque[bytes]] = {}  # by channel and receiving end
        self.cut: set[tuple[int, int]] = set()
        self.move(0)
        self.move(1)

    def move(self, side: int) -> None:
        """This end takes a new channel: the one that the other has already, or the next."""
        end = self.ends[side]
        end.channel = max(end.channel + 1, self.ends[1 - side].channel)
        end.ready.clear()
        end.ready.append(end.continuity.attach())
        self.pour(side)

    def pour(self, side: int) -> None:
        end = self.ends[side]
        if (end.channel, 1 - side) not in self.cut:
            self.queues.setdefault((end.channel, 1 - side), deque()).extend(end.ready)
        end.ready.clear()

    def say(self, side: int) -> None:
        """One more message of the dialogue, as far as it may go out."""
        end = self.ends[side]
        if end.continuity.attached and end.continuity.may_send():
            raw = message(end.dialogue + end.sent)
            end.sent += 1
            end.continuity.sent(raw)
            end.ready.append(raw)
            self.pour(side)

    def tell(self, side: int) -> None:
        end = self.ends[side]
        sign = end.continuity.to_tell(idle=True)
        if sign is not None:
            end.ready.append(sign)
            self.pour(side)

    def deliver(self, side: int) -> bool:
        """One message arrives at this end; whether there was one."""
        end = self.ends[side]
        queue = self.queues.get((end.channel, side))
        if not queue:
            return False
        end.take(queue.popleft())
        self.pour(side)
        return True

    def break_off(self, side: int) -> None:
        """What is under way to this end is lost, and what follows on this channel."""
        key = (self.ends[side].channel, side)
        self.cut.add(key)
        self.queues.pop(key, None)

    def restart(self, side: int) -> None:
        """This end's process is killed and started again, on a channel of its own."""
        end = self.ends[side]
        end.begin(end.dialogue + APART, Continuity())
        self.move(side)

    def mend(self) -> None:
        """Both ends meet on a new channel that does not break."""
        last = max(end.channel for end in self.ends)
        self.ends[0].channel = self.ends[1].channel = last
        self.move(0)
        self.move(1)
        self.quiesce()

    def quiesce(self) -> None:
        while self.deliver(0) or self.deliver(1):
            pass


STEPS = ("say", "say", *["deliver"] * 8, "tell", "break_off", "move")


def play(wires: Wires, steps: tuple[str, ...], chance: random.Random, count: int) -> None:
    for _ in range(count):
        getattr(wires, chance.choice(steps))(chance.randrange(2))
        for end in wires.ends:
            assert end.continuity._kept_size <= (end.sent + 1) * (12 + OVERHEAD)


def check(wires: Wires) -> None:
    """All that was said has arrived, once and in order, and after a last word nothing is kept."""
    one, two = wires.ends
    for near, far in ((one, two), (two, one)):
        assert near.got == list(range(far.dialogue, far.dialogue + far.sent))
    for side in (0, 1):
        wires.tell(side)
    wires.quiesce()
    for end in wires.ends:
        assert not end.continuity._kept
        assert end.continuity._kept_size == 0


@given(st.integers(), st.integers(1, 120))
@settings(max_examples=400, deadline=None)
def test_every_message_arrives_once_in_order(seed, count):
    """Channels break at any point, in either direction, any number of times, seen or unseen."""
    wires = Wires()
    play(wires, STEPS, random.Random(seed), count)
    wires.mend()
    assert all(end.restarts == 0 for end in wires.ends)
    for side in (0, 1, 0):
        wires.say(side)
    wires.quiesce()
    check(wires)


@given(st.integers(), st.integers(1, 120))
@settings(max_examples=400, deadline=None)
def test_a_side_that_was_started_again_gets_a_dialogue_of_its_own(seed, count):
    """With one side killed at any point too, the last dialogue is whole, and no other leaks in."""
    wires, chance = Wires(), random.Random(seed)
    for _ in range(3):
        play(wires, STEPS, chance, count)
        wires.restart(1)
    play(wires, STEPS, chance, count)
    wires.mend()
    assert all(end.continuity.attached for end in wires.ends)
    assert wires.ends[1].restarts == 0
    for side in (0, 1, 0):
        wires.say(side)
    wires.quiesce()
    check(wires)


def met() -> tuple[Continuity, Continuity]:
    """Two sides that have just met."""
    one, two = Continuity(), Continuity()
    first, second = one.attach(), two.attach()
    assert one.receive(second) == two.receive(first) == []
    assert one.attached
    assert two.attached
    return one, two


def spoken(count: int = 3) -> Continuity:
    """A side that has sent ``count`` messages and received one."""
    one, _ = met()
    for number in range(count):
        one.sent(message(number))
    assert one.receive(message(0)) is None
    return one


def test_what_was_had_is_not_sent_again():
    """The other side's word on a new channel says where to go on."""
    one = spoken()
    greeting = one.attach()
    assert greeting == attach(1)
    assert not one.attached
    assert one.receive(attach(2)) == [message(2)]
    assert one.attached


def test_kept_bytes_are_bounded():
    """A side that is told nothing stops at `KEEP`, tiny messages included, until it is told."""
    for raw in (bytes(100_000), encode(m.Bye())):
        one, _ = met()
        count = 0
        while one.may_send():
            one.sent(raw)
            count += 1
        assert KEEP <= one._kept_size < KEEP + len(raw) + OVERHEAD
        one.receive(had(count // 2))
        assert one.may_send()
        assert one._kept_size <= KEEP // 2 + len(raw) + OVERHEAD


def test_little_is_told_of_what_was_had():
    """Each two megabytes, or when nothing else goes out; nothing twice, nothing when cut off."""
    one, _ = met()
    assert one.to_tell(idle=True) is None
    one.receive(message(0))
    assert one.to_tell(idle=False) is None
    assert one.to_tell(idle=True) == had(1)
    assert one.to_tell(idle=True) is None
    big = encode(m.Data(bytes(TELL_EVERY // 12)))
    for _ in range(11):
        one.receive(big)
        assert one.to_tell(idle=False) is None
    one.receive(big)
    assert one.to_tell(idle=False) == had(13)
    one.receive(big)
    one.attach()
    assert one.to_tell(idle=True) is None


def test_a_side_that_was_started_again_is_told_from_one_that_was_cut_off():
    """It knows of nothing although something has passed."""
    one = spoken()
    one.attach()
    with pytest.raises(PeerRestarted):
        one.receive(FRESH)


def test_what_was_acknowledged_betrays_a_new_start_too():
    """Nothing came from it, but it had something."""
    one, _ = met()
    one.sent(message(0))
    one.receive(had(1))
    one.attach()
    with pytest.raises(PeerRestarted):
        one.receive(FRESH)


def test_a_beginning_that_was_cut_off_is_no_new_start():
    """One side heard the other's first word, but not the other way round: both go on."""
    one, two = Continuity(), Continuity()
    one.attach()
    one.receive(two.attach())  # and nothing of this side's has arrived there
    one.sent(message(7))
    again, hello = one.attach(), two.attach()
    assert hello == FRESH
    assert two.receive(again) == []
    assert not two.attached
    answer = one.receive(hello)
    assert answer == [FRESH, message(7)]
    assert [two.receive(raw) for raw in answer] == [[], None]
    assert two.attached


def test_a_new_dialogue_goes_on_over_the_same_channel():
    """The side that goes on says twice where it stands; the new one waits for the second word."""
    one, two = spoken(), Continuity()
    assert two.receive(one.attach()) == []
    assert not two.attached
    with pytest.raises(PeerRestarted):
        one.receive(two.attach())
    one = Continuity.begun()
    assert not one.attached
    assert two.receive(one.attach()) == []
    assert one.attached
    assert two.attached
    one.sent(message(0))
    assert two.receive(message(0)) is None
    assert one.receive(had(1)) == []
    assert not one._kept


def waiting() -> Continuity:
    """Started again; the other side will begin anew."""
    two = Continuity()
    two.attach()
    two.receive(attach(5))
    return two


def reopened() -> Continuity:
    """On a second channel, after three messages out, two of them acknowledged, and one in."""
    one = spoken()
    one.receive(had(2))
    one.attach()
    return one


def once() -> Continuity:
    return met()[0]


ATTACKS = {
    "talks before it says where it stands": (reopened, [message(0)]),
    "tells of messages before it says where it stands": (reopened, [had(2)]),
    "has had more than was sent, on a new channel": (reopened, [attach(4)]),
    "has had less than it said before, on a new channel": (reopened, [attach(1)]),
    "has had an absurd number": (reopened, [attach(2**64 - 1)]),
    "has had more than was sent": (once, [had(1)]),
    "takes back what it has had": (spoken, [had(3), had(2)]),
    "begins a channel twice": (once, [FRESH]),
    "begins a channel twice as if it went on": (once, [attach(0)]),
    "begins with messages had": (Continuity, [encode(m.Attach(3, fresh=True))]),
    "begins anew with messages had": (waiting, [encode(m.Attach(5, fresh=True))]),
    "does not begin anew after all": (waiting, [attach(5)]),
    "talks before it began anew": (waiting, [message(0)]),
    "says where it stands in company": (Continuity, [FRESH + message(0)]),
    "tells of messages in company": (spoken, [had(1) + had(2)]),
    "says half where it stands": (Continuity, [FRESH[:-1]]),
    "says where it stands with a flag nobody knows": (Continuity, [FRESH[:-1] + b"\x02"]),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_counts(name):
    """The last message of each attack is refused; those before it are fine."""
    start, raws = ATTACKS[name]
    continuity = start()
    for raw in raws[:-1]:
        continuity.receive(raw)
    with pytest.raises(PeerMisbehaved):
        continuity.receive(raws[-1])


@given(st.lists(st.binary(max_size=40) | st.sampled_from([FRESH, attach(0), had(0), had(1)])))
def test_noise_is_refused_or_taken_for_the_dialogue(raws):
    """Nothing but misbehaviour and new starts is ever raised, and no count goes astray."""
    one, taken = spoken(), 1
    for raw in raws:
        try:
            if one.receive(raw) is None:
                taken += 1
                assert not raw or raw[0] not in LINK_TYPES
        except (PeerMisbehaved, PeerRestarted):
            pass
    assert one._received == taken
    assert one._acknowledged + len(one._kept) == 3
