"""What every test has: a home of its own, so that none leaves traces in the user's.

No test asks how fast the machine is: hypothesis has no deadlines, and a wait that fails a test is
long enough for a machine with ten times the load. Speeds are for ``scripts/bench``.

What drives real programs over real sockets on a real clock can still meet a machine that stands
still for longer than a protocol allows. Such a test is tried a second time, and the summary names
it; two failures fail. Cores run in virtual time and get one try.
"""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

from tests import namespaces

settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any")


def pytest_configure():
    """Commands are to hear Ctrl-C, also where a shell has started the tests in the background."""
    for name in ("SIGINT", "SIGQUIT"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
            signal.signal(number, usual)


REAL = {"cli", "e2e", "interop", "peer", "rendezvous", "session"}  # real sockets and clocks


def pytest_collection_modifyitems(items):
    """A second try for what the load of the machine can fail."""
    for item in items:
        if REAL.intersection(item.path.relative_to(item.config.rootpath).parts):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path_factory):
    """An empty home; state and configuration go below it."""
    place = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(place))
    for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    return place


def pytest_terminal_summary(terminalreporter):
    """What was left out for want of namespaces is most of what is known about networks."""
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(namespaces.NONE in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.section("NETWORKS WERE NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(
            f"{count} tests did not run: {namespaces.NONE}. Nothing is known of routers, cut cables"
            " and the rest: run scripts/test as root.",
            red=True,
        )
