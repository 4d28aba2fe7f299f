"""What every test has: a home of its own, so that none leaves traces in the user's."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path_factory):
    """An empty home; state and configuration go below it."""
    place = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(place))
    for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    return place
