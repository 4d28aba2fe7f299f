"""The real commands under way, and the events that they tell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

COMMAND = (sys.executable, "-m", "p2pxfer")
PATIENCE = 120.0  # seconds without a word from either side

Event = dict[str, Any]


class Run:
    """A command under way, and the events that it has told.

    Args:
        words: the command line.
        env: all of its environment.
        log: a file for what it says elsewhere.
        before: words that put it somewhere.
        stdin: what it reads.
        out: where its standard output goes; events then come from standard error.

    Attributes:
        heard: when the last event came.
        signalled: the last signal that it was sent.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: dict[str, str],
        log: Path,
        before: Sequence[str] = (),
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        out: IO[bytes] | None = None,
    ) -> None:
        self._log = log.open("ab")
        self.process = subprocess.Popen(
            [*before, *COMMAND, *words],
            env=env,
            stdin=stdin,
            stdout=out or subprocess.PIPE,
            stderr=subprocess.PIPE if out else self._log,
        )
        self.words = words
        self.events: list[Event] = []
        self.heard = time.monotonic()
        self.signalled = 0
        self._starved = (0.0, 0.0)  # at the last event
        self._told = self.process.stderr if out else self.process.stdout
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def told(self, name: str) -> list[Event]:
        """Its events of one name, so far."""
        return [event for event in list(self.events) if event["event"] == name]

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def silence(self) -> float:
        """Seconds since the last event, without those that it had no processor."""
        try:
            starved = int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0  # it has just ended
        if self.heard != self._starved[0]:
            self._starved = self.heard, starved
        return time.monotonic() - self.heard - (starved - self._starved[1])

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if not self.ended:
            self.signalled = number
            self.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, and read what it told until then."""
        self.send_signal(number)
        self.join()

    def join(self) -> None:
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self._log.close()

    def _read(self) -> None:
        assert self._told is not None
        for line in self._told:
            self.heard = time.monotonic()
            if line.startswith(b"{") and line.endswith(b"\n"):  # the last one may be cut
                self.events.append(json.loads(line))
            else:
                self._log.write(line)


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's own, with another home."""
    env = {**os.environ, "HOME": str(home), **more}
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        env.pop(name, None)
    return env
