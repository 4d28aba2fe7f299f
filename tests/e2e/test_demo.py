"""The demonstration that the README promises."""

from __future__ import annotations

import sys


def test_the_demonstration(machine, pytestconfig):
    """scripts/demo moves its folder, verifies it and prints the speed, with loopback alone."""
    command = machine.run(program=[sys.executable, pytestconfig.rootpath / "scripts/demo.py"])
    assert command.end() == 0, command.err
    assert "\nVerified: " in command.err
    assert " MB/s" in command.err
