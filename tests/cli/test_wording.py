"""Numbers and names as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pxfer.cli import wording
from p2pxfer.progress import ConnectTimes


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9994, "9.99 kB"),
        (9995, "10.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (4_200_000_000, "4.20 GB"),
        (10**15, "1.00 PB"),
        (10**18, "1 EB"),
    ],
)
def test_a_size_has_three_digits(count, shown):
    """Rounded first, so that no 1000 kB is ever shown."""
    assert wording.size(count) == shown


@given(st.integers(0, 10**17))
def test_a_size_never_outgrows_its_column(count):
    """Seven columns at most, so that bars don't jump."""
    assert len(wording.size(count)) <= 7


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0:00"),
        (-1, "0:00"),
        (59.6, "1:00"),
        (103, "1:43"),
        (7387, "2:03:07"),
        (3600 * 76, "3 d 4 h"),
    ],
)
def test_a_clock_counts_minutes_hours_days(seconds, shown):
    """Seconds always have two digits, and nothing is negative."""
    assert wording.clock(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.5, "0.5 seconds"),
        (1, "1 second"),
        (45, "45 seconds"),
        (600, "10 minutes"),
        (3599.8, "1 hour"),
        (9000, "2.5 hours"),
        (86400, "1 day"),
    ],
)
def test_a_duration_is_said_in_words(seconds, shown):
    """The largest unit that fits, singular where it is one."""
    assert wording.duration(seconds) == shown


def test_things_are_counted():
    """Thousands are set apart; one is singular."""
    assert wording.count(1, "file") == "1 file"
    assert wording.count(20_000, "file") == "20,000 files"
    assert wording.count(2, "entry", "entries") == "2 entries"


@given(st.text(st.characters(categories=["L", "M", "N", "S"])), st.integers(0, 40))
def test_a_shortened_name_fits(text, width):
    """Wide and combining characters counted as terminals draw them."""
    assert wording.columns(wording.shortened(text, width)) <= width


def test_what_is_shortened_keeps_its_end():
    """The ending tells what a file is."""
    assert wording.shortened("photos/holiday.mov", 12) == "…holiday.mov"
    assert wording.shortened("界界界.mov", 8) == "…界.mov"
    assert wording.columns("e\u0301") == 1


def test_a_name_from_a_peer_is_escaped():
    """It can't act on the terminal, and bytes that are no text are seen."""
    assert wording.name(b"a\x1b[31m\xff") == "a\\x1b[31m\\xff"


def test_what_connecting_took():
    """Each part has its name, and they add up."""
    took = ConnectTimes(rendezvous=0.012, pake=0.048, gathering=0.003, signals=0.08, checks=0.12)
    assert wording.connect_times(took) == (
        "Connected in 0.26 s: rendezvous 12 ms, PAKE 48 ms, gathering 3 ms, signals 80 ms, "
        "checks 120 ms, DTLS 0 ms, SCTP 0 ms"
    )
