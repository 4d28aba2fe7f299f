"""Programs for the tests; who may make network namespaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import namespaces

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Namespaces are made by root on Linux; ``scripts/test`` is that in one of its own."""
    if namespaces.allowed():
        return
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.skip(namespaces.NONE))
