"""Whether network namespaces can be made here: what most tests of networks live in."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest

NONE = "network namespaces need Linux and root"


@functools.cache
def allowed() -> bool:
    """Whether this process may make them; a container's root may not always."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return tried.returncode == 0


def require() -> None:
    """Skip the test where there are none."""
    if not allowed():
        pytest.skip(NONE)
