"""Liveness: silence and standstill are told in time, with their likely cause."""

from __future__ import annotations

import pytest

from p2pxfer.progress import Resumed, Stalled
from p2pxfer.transfer import actions as a
from p2pxfer.transfer import messages as m
from p2pxfer.transfer.liveness import Liveness, Pulse
from p2pxfer.transfer.sender import Sender
from tests.transfer.plans import KEY, OFFER, file

IDLE = m.Activity.IDLE


def look(liveness: Liveness, now: float, own: m.Activity = IDLE, *, watched: bool = True):
    liveness.deadline(watched=watched)
    liveness._due = now
    return liveness.handle_timer(now, own=own, watched=watched)


def test_silence_is_a_stall_then_a_loss():
    """3 s without a frame, then 8 s; each is told once, and nothing is due after the loss."""
    liveness = Liveness(10.0)
    assert look(liveness, 12.9) is None
    stalled = look(liveness, 13.0)
    assert isinstance(stalled, Stalled)
    assert "nothing is heard" in stalled.cause
    assert look(liveness, 15.0) is None
    assert look(liveness, 18.0) == a.Lost(8.0)
    assert look(liveness, 19.0) is None
    assert liveness.deadline(watched=True) is None


def test_a_frame_ends_the_stall():
    """Something was heard and moved: it goes on."""
    liveness = Liveness(0.0)
    look(liveness, 3.0)
    liveness.heard(3.5)
    liveness.moved(3.5)
    assert look(liveness, 3.5) == Resumed()


@pytest.mark.parametrize(
    ("own", "theirs", "cause"),
    [
        (IDLE, m.Activity.WRITING, "the other side is writing to its disk"),
        (IDLE, m.Activity.PROMPTING, "the other side waits for an answer at its prompt"),
        (IDLE, m.Activity.READING, "the other side is reading from its disk"),
        (IDLE, IDLE, "the network is slow"),
        (m.Activity.READING, m.Activity.WRITING, "this side is reading from its disk"),
        (m.Activity.SENDING, IDLE, "the network takes no more at present"),
    ],
)
def test_alive_without_progress_says_why(own, theirs, cause):
    """Pings come, but nothing else: the one that is busy is named, this side first."""
    liveness = Liveness(0.0)
    for now in (1.0, 2.0, 3.0):
        liveness.heard(now)
        liveness.pinged(theirs, 0, now)
    assert look(liveness, 3.0, own) == Stalled(3.0, cause)
    assert liveness.pulse is Pulse.STILL


def test_bytes_counted_by_the_other_side_are_progress():
    """A slow network is no stall as long as the other side's count grows."""
    liveness = Liveness(0.0)
    for now in range(1, 20):
        liveness.heard(float(now))
        liveness.pinged(IDLE, now, float(now))
        assert look(liveness, float(now)) is None


def test_no_progress_is_expected_while_nobody_accepted():
    """An unwatched connection needs pings alone."""
    liveness = Liveness(0.0)
    for now in range(1, 20):
        liveness.heard(float(now))
        assert look(liveness, float(now), watched=False) is None


def test_a_machine_that_slept_does_not_blame_the_other_side():
    """The timer fired an hour late: silence counts from the waking, not from before the sleep."""
    liveness = Liveness(0.0)
    liveness.deadline(watched=True)
    assert liveness.handle_timer(3600.0, own=IDLE, watched=True) is None
    assert isinstance(look(liveness, 3603.0), Stalled)
    assert isinstance(look(liveness, 3608.0), a.Lost)


def test_a_pong_measures_the_round_trip():
    """Only the pong of the latest ping counts."""
    liveness = Liveness(0.0)
    time = liveness.ping_time(5.0)
    liveness.ponged(time + 1, 5.5)
    assert liveness.rtt is None
    liveness.ponged(time, 5.25)
    assert liveness.rtt == 0.25


def run_timers(sender: Sender, until: float) -> list[tuple[float, object]]:
    """Let only time pass; returns what the machine asked for, and when."""
    taken, now = [], 0.0
    for _ in range(1_000):
        due = sender.deadline()
        if due is None or due > until:
            return taken
        now = max(now, due)
        sender.handle_timer(now)
        while (action := sender.next_action(now)) is not None:
            taken.append((now, action))
    raise AssertionError("the timers do not rest")


def test_a_machine_pings_when_it_has_nothing_to_say():
    """One ping a second, a stall at 3 s, the loss at 8 s, then silence."""
    sender = Sender(OFFER, KEY, 0.0)
    assert sender.next_action(0.0) == a.Send(m.Hello(1, 1, m.CAPABILITIES))
    taken = run_timers(sender, 30.0)
    pings = [now for now, action in taken if isinstance(action, a.Send)]
    assert pings == [1, 2, 3, 4, 5, 6, 7]
    others = [(now, type(action)) for now, action in taken if not isinstance(action, a.Send)]
    assert others == [(3, Stalled), (8, a.Lost)]


def test_pings_tell_what_a_machine_is_at():
    """Walking until the walk is answered; the session's own word goes before."""
    sender = Sender(OFFER, KEY, 0.0)
    sender.receive(m.Hello(1, 1, 0), 0.0)
    while sender.next_action(0.0) is not None:
        pass
    assert sender.activity is m.Activity.WALKING
    sender.doing = m.Activity.PROMPTING
    assert sender.activity is m.Activity.PROMPTING
    sender.doing = None
    sender.add_entries([file(b"a", 1)])
    assert sender.activity is IDLE


def test_a_flood_of_pings_is_answered_once():
    """The latest is answered; nothing piles up."""
    sender = Sender(OFFER, KEY, 0.0)
    sender.next_action(0.0)
    for time in range(10_000):
        sender.receive(m.Ping(time, IDLE, 0), 0.0)
    assert sender.next_action(0.0) == a.Send(m.Pong(9_999))
    assert sender.next_action(0.0) is None


def test_a_stall_ends_as_soon_as_something_is_heard():
    """The machine does not wait for its timer to say so."""
    sender = Sender(OFFER, KEY, 0.0)
    sender.next_action(0.0)
    run_timers(sender, 3.0)
    assert sender.liveness.pulse is Pulse.SILENT
    sender.receive(m.Ping(1, IDLE, 0), 4.0)
    taken = [sender.next_action(4.0) for _ in range(3)]
    assert Resumed() in taken


def test_a_new_channel_ends_a_stall():
    """Silence counts from when the dialogue goes on; a loss that was not told yet is none."""
    sender = Sender(OFFER, KEY, 0.0)
    while sender.next_action(0.0):
        pass
    sender.reconnected(1.0)
    assert sender.next_action(1.0) is None
    sender.handle_timer(60.0)
    sender.reconnected(61.0)
    assert sender.next_action(61.0) == Resumed()
    assert sender.next_action(61.0) is None
    assert sender.deadline() == 62.0
