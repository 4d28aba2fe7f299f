"""Two hosts on an emulated link, with a rendezvous and a TURN server at the far one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.commands import listening
from benchmarks.lab import Lab, link

from soaking.commands import COMMAND
from soaking.plan import Plan

PORT, TURN_PORT = 8765, 3478
USER, PASSWORD = "soak", "0123456789"  # of a server that lives for a minute
ROOM = 24 * 1024 * 1024  # bytes that a small disk has beside what it is to hold


class Place:
    """Where a transfer runs.

    Attributes:
        near: the sender's host.
        far: the receiver's, and the servers'.
        there: what is received goes in there.
    """

    def __init__(self, lab: Lab, work: Path, plan: Plan) -> None:
        self.near, self.far = lab.sender, lab.receiver
        self.work = work
        self.there = work / "there"
        self.plan = plan
        self._lab = lab
        self._servers: dict[str, subprocess.Popen] = {}
        self._later: list[threading.Timer] = []
        self.start("rendezvous")
        if plan.relayed:
            self.start("turn")

    @property
    def rendezvous(self) -> str:
        """Its URL."""
        return f"http://{self.far.address}:{PORT}"

    def start(self, name: str) -> None:
        """Start ``rendezvous`` or ``turn``, at the address that it always has."""
        command = self._rendezvous() if name == "rendezvous" else self._turn()
        with (self.work / f"{name}.log").open("ab") as log:
            self._servers[name] = self.far.popen(
                command, env={**os.environ, "HOME": str(self.work)},
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        listening(self.far.inside, self.far.address, PORT if name == "rendezvous" else TURN_PORT)

    def kill(self, name: str) -> None:
        """End one of them with all that it knows."""
        server = self._servers.pop(name, None)
        if server is not None:
            server.kill()
            server.wait()

    def cut(self, *, out: bool) -> None:
        """Let the link lose everything, or carry it again."""
        self._lab.cut(out=out)

    def fill(self) -> None:
        """Leave no byte on the receiver's disk."""
        with contextlib.suppress(OSError), (self.there / "ballast").open("wb", 0) as ballast:
            while True:
                ballast.write(bytes(1024 * 1024))

    def empty(self) -> None:
        """Undo `fill`."""
        (self.there / "ballast").unlink(missing_ok=True)

    def later(self, seconds: float, what: object, *arguments: object) -> None:
        """Have something done in a while, and at the end at the latest."""
        timer = threading.Timer(seconds, what, arguments)
        self._later.append(timer)
        timer.start()

    def mend(self) -> None:
        """Nothing is broken any more."""
        for timer in self._later:
            timer.cancel()
            timer.join()
        self._later.clear()
        self._lab.cut(out=False)
        self.empty()
        for name in ("rendezvous", *(["turn"] if self.plan.relayed else [])):
            if name not in self._servers:
                self.start(name)

    def close(self) -> None:
        for timer in self._later:
            timer.cancel()
            timer.join()
        for name in list(self._servers):
            self.kill(name)

    def _rendezvous(self) -> list[object]:
        return [*COMMAND, "serve", "--host", self.far.address, "--port", PORT]

    def _turn(self) -> list[object]:
        return [
            "turnserver", "-n", "--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout",
            "--fingerprint", "--realm", "soak.test", "--lt-cred-mech",
            "--user", f"{USER}:{PASSWORD}", "--userdb", self.work / "turn.db",
            "--pidfile", self.work / "turn.pid", "-L", self.far.address, "-p", TURN_PORT,
            "--min-port", 50000, "--max-port", 50999,
        ]  # fmt: skip


@contextlib.contextmanager
def made(plan: Plan, work: Path, size: int) -> Iterator[Place]:
    """Hosts, a link, and servers, for one transfer of so many bytes."""
    there = work / "there"
    there.mkdir()
    mounted = plan.small_disk
    if mounted:
        options = f"size={size * 2 + ROOM}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "p2pxfer-soak", there], check=True)
    try:
        with link(**plan.link) as lab:
            place = Place(lab, work, plan)
            try:
                yield place
            finally:
                place.close()
    finally:
        if mounted:
            _unmount(there)


def _unmount(folder: Path) -> None:
    for _ in range(50):
        if subprocess.run(["umount", folder], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", folder], check=True)
