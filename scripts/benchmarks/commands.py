"""Whole commands, as people type them: p2pxfer and its peers, from Enter to the end of both.

Each class starts what its tool needs (a rendezvous, a mailbox, an sshd) on the receiving host, and
moves one file or folder per `transfer`, disk to disk.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from benchmarks.lab import Lab
from benchmarks.measure import Run, wait
from benchmarks.peers import HOME

P2PXFER = (str(Path(sys.executable).with_name("p2pxfer")),)
TICK = 0.1  # seconds between two looks at what has arrived


class Tool(Protocol):
    """One way to move files."""

    name: str

    def transfer(self, source: Path, target: Path, limit: float = 600.0) -> Run:
        """Move ``source`` into the folder ``target``; after ``limit`` seconds it is ended."""

    def close(self) -> None:
        """End its servers."""


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())


def listening(host_inside: tuple[str, ...], address: str, port: int) -> None:
    """Wait until something accepts connections there."""
    probe = f"import socket; socket.create_connection(({address!r}, {port})).close()"
    for _ in range(200):
        if not subprocess.run(
            [*host_inside, sys.executable, "-c", probe], check=False, stderr=subprocess.DEVNULL
        ).returncode:
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens at {address}:{port}")


def carry_out(
    start: Callable[[], list[subprocess.Popen]],
    source: Path,
    limit: float,
    watch: Callable[[subprocess.Popen], Iterator[tuple[float, int]]],
) -> Run:
    """Run commands to their end, the receiving one last, and follow what arrives.

    What others have left to be written is written before: whoever syncs would wait for it.
    """
    os.sync()
    began = time.monotonic()
    ends = start()
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        for end in ends:
            end.kill()

    timer = threading.Timer(limit, kill)
    timer.start()
    arrivals: list[tuple[float, int]] = []
    follower = threading.Thread(target=lambda: arrivals.extend(watch(ends[-1])))
    follower.start()
    try:
        usages = [wait(end, fine=lambda code: code == 0 or killed.is_set()) for end in ends]
    finally:
        timer.cancel()
        for end in ends:
            if end.returncode is None:
                end.kill()
                end.wait()
    seconds = time.monotonic() - began
    follower.join()
    size = arrivals[-1][1] if killed.is_set() and arrivals else size_of(source)
    return Run(size, seconds, usages, arrivals)


def unwatched(_: subprocess.Popen) -> Iterator[tuple[float, int]]:
    """Leave the processors to the tool."""
    return iter(())


def growing(target: Path) -> Callable[[subprocess.Popen], Iterator[tuple[float, int]]]:
    """Follow how the receiving folder grows, as long as the receiver runs."""

    def watch(receiver: subprocess.Popen) -> Iterator[tuple[float, int]]:
        while receiver.returncode is None:
            done = size_of(target)
            if done:
                yield time.monotonic(), done
            time.sleep(TICK)

    return watch


class P2pxfer:
    """This project's commands, as people use them; as quiet as the others.

    Both start at once. The receiver asks for the code, and it is typed as the sender shows it.
    """

    name = "p2pxfer"

    def __init__(self, lab: Lab, work: Path, *options: str, follow: bool = False) -> None:
        self._lab = lab
        self._options = options
        self._told = "--json" if follow else "-q"
        self.env = {**os.environ, "HOME": str(work / "p2pxfer-home")}
        host = lab.receiver
        words = [*P2PXFER, "serve", "--host", host.address, "--port", 8765]
        self._server = host.popen(words, env=self.env, stderr=subprocess.DEVNULL)
        listening(host.inside, host.address, 8765)
        self.env["P2PXFER_RENDEZVOUS"] = f"http://{host.address}:8765"

    def transfer(self, source: Path, target: Path, limit: float = 600.0) -> Run:
        """Move it; what has arrived is what the receiver says in its events, if it is followed."""
        target.mkdir(exist_ok=True)

        def start() -> list[subprocess.Popen]:
            terminal, inside = os.openpty()
            receiver = self._lab.receiver.popen(
                [*P2PXFER, "receive", "-y", self._told, "-o", target],
                env=self.env, stdin=inside, stdout=subprocess.PIPE, stderr=inside, text=True,
            )  # fmt: skip
            os.close(inside)
            sender = self._lab.sender.popen(
                [*P2PXFER, "send", "-q", *self._options, source],
                env=self.env, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            threading.Thread(target=_type_code, args=(sender, terminal), daemon=True).start()
            threading.Thread(target=_show_error, args=(terminal,), daemon=True).start()
            return [sender, receiver]

        def watch(receiver: subprocess.Popen) -> Iterator[tuple[float, int]]:
            for line in receiver.stdout:
                event = json.loads(line)
                if event["event"] == "connected":
                    yield time.monotonic(), 0
                elif event["event"] == "progress":
                    yield time.monotonic(), event["bytes"]

        return carry_out(start, source, limit, watch)

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()


def _type_code(sender: subprocess.Popen, terminal: int) -> None:
    """Type the code that the sender shows at the receiver's terminal; pass on what else it says."""
    os.write(terminal, sender.stderr.readline().strip().encode() + b"\r")
    for line in sender.stderr:
        print(line, end="", file=sys.stderr)


def _show_error(terminal: int) -> None:
    """Take what the receiver writes at its terminal, and pass on what went wrong."""
    said = b""
    with contextlib.suppress(OSError):  # nobody has it open any more
        while part := os.read(terminal, 65536):
            said += part
    os.close(terminal)
    if b"error:" in said:
        print(said.decode(errors="replace"), file=sys.stderr)


class MagicWormhole:
    """The Python one, with a mailbox of its own; the two connect directly."""

    name = "magic-wormhole"

    def __init__(self, lab: Lab, work: Path, *, follow: bool = False) -> None:
        self._lab = lab
        self._follow = follow
        host = lab.receiver
        self._url = f"ws://{host.address}:4000/v1"
        words = [
            HOME / "bin/twist",
            "wormhole-mailbox",
            f"--port=tcp:4000:interface={host.address}",
        ]
        self._server = host.popen(
            words, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        listening(host.inside, host.address, 4000)
        self._number = 100

    def commands(self, source: Path) -> tuple[list[object], list[object]]:
        """What sender and receiver type."""
        self._number += 1
        code = f"{self._number}-orbit-lamp"
        base = [HOME / "bin/wormhole", "--relay-url", self._url, "--transit-helper", ""]
        return (
            [*base, "send", "--hide-progress", "--no-qr", "--code", code, source],
            [*base, "receive", "--hide-progress", "--accept-file", code],
        )

    def transfer(self, source: Path, target: Path, limit: float = 600.0) -> Run:
        """Move it."""
        send, receive = self.commands(source)
        quiet = {"stdout": subprocess.DEVNULL}
        target.mkdir(exist_ok=True)

        def start() -> list[subprocess.Popen]:
            receiver = self._lab.receiver.popen(
                receive, cwd=target, env=self.env(), stdin=subprocess.PIPE, **quiet
            )
            receiver.stdin.write(b"y\n")  # one of them asks whatever its options
            receiver.stdin.close()
            return [self._lab.sender.popen(send, env=self.env(), **quiet), receiver]

        return carry_out(start, source, limit, growing(target) if self._follow else unwatched)

    def env(self) -> dict[str, str]:
        """Of both sides."""
        return dict(os.environ)

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()


class WormholeWilliam(MagicWormhole):
    """The Go one, over the same mailbox."""

    name = "wormhole-william"

    def __init__(self, lab: Lab, work: Path) -> None:
        super().__init__(lab, work)
        hosts = work / "hosts"  # the name of its relay is fixed, and it insists on one
        address = lab.receiver.address
        hosts.write_text(f"127.0.0.1 localhost\n{address} transit.magic-wormhole.io\n")
        self._relay = lab.receiver.popen(
            [HOME / "bin/twist", "transitrelay", f"--port=tcp:4001:interface={address}"],
            cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        listening(lab.receiver.inside, address, 4001)
        self._hosts = f'mount --bind {hosts} /etc/hosts; exec "$@"'

    def commands(self, source: Path) -> tuple[list[object], list[object]]:
        """What sender and receiver type."""
        self._number += 1
        code = f"{self._number}-orbit-lamp"
        base = ["unshare", "-m", "sh", "-c", self._hosts, "sh", "wormhole-william"]
        return (
            [*base, "send", "--hide-progress", "--code", code, source],
            [*base, "receive", "--hide-progress", code],
        )

    def close(self) -> None:
        self._relay.terminate()
        self._relay.wait()
        super().close()

    def env(self) -> dict[str, str]:
        """Of both sides."""
        return {**os.environ, "WORMHOLE_RELAY_URL": self._url}


class Rsync:
    """rsync over ssh, with a daemon and keys of its own."""

    name = "rsync over ssh"
    port = 2222
    options: tuple[str, ...] = ()

    def __init__(self, lab: Lab, work: Path) -> None:
        self._lab = lab
        keys = work / "ssh"
        keys.mkdir()
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name], check=True
            )
        (keys / "authorized").write_text((keys / "user.pub").read_text())
        (keys / "config").write_text(
            f"HostKey {keys}/host\nAuthorizedKeysFile {keys}/authorized\nStrictModes no\n"
            f"PidFile none\nListenAddress {lab.receiver.address}\nPort {self.port}\nUsePAM no\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        self._server = lab.receiver.popen(
            [shutil.which("sshd", path="/usr/sbin:/usr/bin"), "-D", "-f", keys / "config"],
            stderr=subprocess.DEVNULL,
        )
        listening(lab.receiver.inside, lab.receiver.address, self.port)
        self._shell = (
            f"ssh -p {self.port} -i {keys}/user -o StrictHostKeyChecking=no"
            " -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        )

    def transfer(self, source: Path, target: Path, limit: float = 600.0) -> Run:
        """Move it; the far side is a child of sshd, whose processor time is not counted."""
        target.mkdir(exist_ok=True)
        place = f"{getpass.getuser()}@{self._lab.receiver.address}:{target}/"

        def start() -> list[subprocess.Popen]:
            return [
                self._lab.sender.popen(
                    ["rsync", "-a", *self.options, "-e", self._shell, source, place]
                )
            ]

        return carry_out(start, source, limit, unwatched)

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()


class SyncingRsync(Rsync):
    """The same, which says that it is done once all is on the disk, as p2pxfer does."""

    name = "rsync --fsync over ssh"
    port = 2223
    options = ("--fsync",)
