"""How far a transfer is, from its events."""

from __future__ import annotations

import pytest

from p2pxfer.cli.tally import Tally
from p2pxfer.progress import (
    Advanced,
    EntryFailed,
    FilesFinished,
    FileStarted,
    FinishedFile,
    Offered,
    Restarted,
    Resumed,
    Stalled,
)


def steady(seconds: float, rate: int, total: int | None = 1000, *, complete: bool = True) -> Tally:
    """A transfer that went on for ``seconds`` at ``rate``, told ten times a second."""
    tally = Tally()
    tally.take(Offered(3, total, complete), 0)
    tally.take(FileStarted(b"a", None), 0)
    for tick in range(1, round(seconds * 10) + 1):
        tally.take(Advanced(rate // 10), tick / 10)
        tally.sample(tick / 10)
    return tally


def test_share_rate_and_time_left():
    """At a steady rate they are what one would compute by hand."""
    tally = steady(4, 100)
    assert tally.fraction == pytest.approx(0.4)
    assert tally.rate == pytest.approx(100, rel=0.05)
    assert tally.left == pytest.approx(6, rel=0.05)


def test_at_the_first_look_nobody_can_say_how_fast_it_is():
    """No rate is another thing than a rate of nothing."""
    tally = steady(0.1, 100)
    assert tally.rate is None
    assert tally.left is None
    tally.sample(1)
    assert tally.rate == 0


def test_the_rate_forgets_what_is_long_ago():
    """A fast start does not make a slow end look fast."""
    tally = steady(5, 10_000)
    for tick in range(60):
        tally.take(Advanced(1), 5 + tick / 10)
        tally.sample(5 + tick / 10)
    assert tally.rate == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize(("total", "complete"), [(None, True), (1000, False)])
def test_nobody_can_say_what_is_left_of_an_unknown_whole(total, complete):
    """A stream, or a tree that is still being walked."""
    tally = steady(1, 100, total, complete=complete)
    assert tally.fraction is None
    assert tally.left is None
    assert not tally.finishing


def test_what_travelled_is_counted_over_all_beginnings():
    """What was spared does not count; what a receiver that was started again is sent, does."""
    tally = steady(1, 100)
    tally.take(Restarted(), 2)
    tally.take(Advanced(100, 90), 3)
    assert (tally.done, tally.moved) == (100, 110)


def test_more_than_was_offered_is_not_more_than_all():
    """A file that grew does not make 104 %."""
    assert steady(20, 100).fraction == 1.0


def test_an_empty_transfer_is_whole():
    """Only folders and empty files: nothing is left, nothing divides by zero."""
    tally = Tally()
    tally.take(Offered(2, 0, complete=True), 0)
    tally.take(FileStarted(b"empty", 0), 0)
    assert tally.fraction == 1.0
    assert tally.finishing


def test_files_that_end_and_files_that_fail_are_counted_apart():
    """The file that crosses is known only while it does."""
    tally = Tally()
    tally.take(FileStarted(b"a", 5), 0)
    tally.take(Advanced(5), 0)
    assert (tally.path, tally.path_done) == (b"a", 5)
    tally.take(FilesFinished([FinishedFile(b"a", 5, bytes(32))]), 0)
    assert tally.path is None
    tally.take(FileStarted(b"b", 5), 0)
    tally.take(EntryFailed(b"b", "changed"), 0)
    assert (tally.files, tally.failed, tally.path) == (1, 1, None)


def test_silence_is_counted_from_when_it_began():
    """Reported at 3 seconds, it is 5 two seconds later, and over when bytes move."""
    tally = Tally()
    tally.take(Stalled(3.0, "disk"), 10.0)
    assert tally.stalled_for(12.0) == pytest.approx(5.0)
    tally.take(Resumed(), 13.0)
    assert tally.stalled_for(13.0) is None
