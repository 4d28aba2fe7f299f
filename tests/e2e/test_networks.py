"""Between networks of all kinds: the path that should be found is, and a folder arrives.

How long that takes is for ``scripts/networks``, which tries all of them.
"""

from __future__ import annotations

import pytest

from tests import namespaces
from tests.e2e.networks import CASES, Case, carry_out


@pytest.mark.parametrize("case", [c for c in CASES if c.often], ids=lambda case: case.name)
def test_a_folder_crosses(tmp_path, case: Case):
    """Directly wherever that is possible, else through a relay; right in either case."""
    namespaces.require()
    assert carry_out(case, tmp_path).wrong == []
