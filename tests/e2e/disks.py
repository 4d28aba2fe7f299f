"""Disks that tests may fill, and calls that fail: what a user's machine has on a bad day."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.conftest import Machine

MEBIBYTE = 1024 * 1024
FAILING = str(Path(__file__).with_name("failing.py"))
MOUNT = 'mount -t tmpfs -o "$2" tmpfs "$1" && echo up && exec cat'


def failing(call: str, error: str, start: int = 0) -> tuple[str, ...]:
    """The words before a command whose calls fail: see ``failing.py``."""
    return (sys.executable, FAILING, call, error, str(start))


class Disk:
    """A disk of its own where a machine receives, for commands that run `inside`.

    Attributes:
        inside: the words before a command.
        there: the folder, as the test sees it.
    """

    def __init__(self, machine: Machine, process: subprocess.Popen[bytes]) -> None:
        mounts = f"--mount=/proc/{process.pid}/ns/mnt"
        enter = 'cd "$0" && exec "$@"'  # nsenter itself would leave it at the root
        self.inside = ("nsenter", mounts, "sh", "-c", enter, str(machine.path))
        self.there = Path(f"/proc/{process.pid}/root{machine.there}")
        self._mount = ("nsenter", mounts, "mount", "-o")
        self._place = str(machine.there)

    def fill(self, room: int = 0) -> None:
        """Leave so many bytes."""
        with contextlib.suppress(OSError), (self.there / "ballast").open("wb", 0) as ballast:
            while True:
                ballast.write(bytes(4096))
        size = (self.there / "ballast").stat().st_size
        with (self.there / "ballast").open("r+b") as ballast:
            ballast.truncate(size - room)

    def empty(self) -> None:
        """Make room again."""
        (self.there / "ballast").unlink()

    def remount(self, options: str) -> None:
        """Give it other options: ``ro``, a size."""
        subprocess.run([*self._mount, f"remount,{options}", self._place], check=True)


@contextmanager
def disk(machine: Machine, options: str) -> Iterator[Disk]:
    """A tmpfs with those options where the machine receives."""
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", MOUNT, "sh", str(machine.there), options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield Disk(machine, process)
        finally:
            process.kill()
