"""Who counts as one, and how often one may ask."""

from __future__ import annotations

import pytest

from p2pxfer.rendezvous.server.limits import Budget, Limits, Rate, Tally, network


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("local", "local"),
        ("x" * 5000, "x" * 64),
    ],
)
def test_addresses_of_one_customer_count_as_one(address, counted):
    """Nobody escapes a limit by walking through a /64, or by writing IPv4 as IPv6."""
    assert network(address) == counted


def test_connections_keep_within_the_descriptors_that_there_are():
    """With enough all are allowed; else some of each kind are, and the rest is spared."""
    asked = Limits()
    assert asked.within(asked.descriptors) == asked.within(10**9) == asked
    for few in (1024, 256):
        got = asked.within(few)
        assert 0 < got.idle < got.total_connections
        assert got.descriptors == few
    assert asked.within(3).idle == 1


def test_a_budget_allows_a_burst_and_then_a_steady_rate():
    """The wait that is told is the wait that helps."""
    budget = Budget(Rate(3, 10))
    for _ in range(3):
        assert budget.wait("a", 0) == 0
        budget.spend("a", 0)
    assert budget.wait("a", 0) == 10
    assert budget.wait("b", 0) == 0
    assert budget.wait("a", 9.5) == 1
    assert budget.wait("a", 10) == 0
    budget.spend("a", 10)
    assert budget.wait("a", 10) == 10
    assert budget.wait("a", 1000) == 0


def test_debt_is_bounded():
    """However often somebody fails, the wait ends within two bursts."""
    budget = Budget(Rate(3, 10))
    for _ in range(1000):
        budget.spend("a", 0)
    assert budget.wait("a", 0) == 40


def test_a_budget_forgets_the_longest_unseen_first():
    """A flood of addresses takes bounded memory."""
    budget = Budget(Rate(1, 1e9))
    for number in range(65_537):
        budget.spend(str(number), 0)
    assert budget.wait("0", 0) == 0
    assert budget.wait("1", 0) > 0


def test_a_tally_counts_by_address_and_in_all():
    """What comes goes again without a trace."""
    tally = Tally()
    tally.add("a")
    tally.add("a")
    tally.add("b")
    assert (tally.of("a"), tally.of("b"), tally.total) == (2, 1, 3)
    for address in ("a", "a", "b"):
        tally.remove(address)
    assert tally == Tally()
