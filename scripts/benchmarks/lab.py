"""Networks to measure on: a loopback of its own, or two hosts joined by an emulated link."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
NEAR, FAR = "10.99.0.1", "10.99.0.2"
TCP = "cubic"  # what rivals ride on nearly everywhere, whatever this system's own default is


@dataclass(frozen=True)
class Host:
    """Where commands run, and how the other side reaches it."""

    inside: tuple[str, ...]
    address: str

    def popen(self, words: list[object], **options: object) -> subprocess.Popen:
        """Start a command there."""
        return subprocess.Popen([*self.inside, *map(str, words)], **options)


@dataclass(frozen=True)
class Lab:
    """Two hosts, which may be one, and what emulates the link between them."""

    sender: Host
    receiver: Host
    emulator: subprocess.Popen | None = None

    def cut(self, *, out: bool) -> None:
        """Let every packet be lost, or carry them again."""
        self.emulator.send_signal(signal.SIGUSR1 if out else signal.SIGUSR2)


def need_root() -> None:
    """Namespaces are made with the means of root."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise SystemExit("this needs Linux, root and network namespaces")


@contextmanager
def _namespace(setup: str) -> Iterator[tuple[str, ...]]:
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", f"{setup}; echo up; exec cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        if holder.stdout.readline() != b"up\n":
            raise SystemExit("network namespaces are not allowed here")
        yield ("nsenter", f"--net=/proc/{holder.pid}/ns/net")
    finally:
        holder.kill()
        holder.wait()


# Some stacks skip loopback when they look for their own addresses; packets to it stay on lo anyway.
LOOPBACK = (
    "ip link set lo up mtu {mtu} && ip link add own0 type veth peer name own1"
    " && ip link set own1 up && ip addr add 10.98.0.1/24 dev own0 && ip link set own0 up"
)


@contextmanager
def loopback(mtu: int = 65536) -> Iterator[Lab]:
    """One host whose loopback takes packets of so many bytes."""
    need_root()
    with _namespace(LOOPBACK.format(mtu=mtu)) as inside:
        host = Host(inside, "10.98.0.1")
        yield Lab(host, host)


@contextmanager
def cable() -> Iterator[Lab]:
    """Two hosts and nothing between them: what one finds of the other, it finds by multicast."""
    need_root()
    alone = "ip link set lo up"
    with _namespace(alone) as near, _namespace(alone) as far:
        process = far[1].split("/")[2]
        pair = f"ip link add eth0 type veth peer name eth0 netns {process}"
        subprocess.run([*near, *pair.split()], check=True)
        hosts = [Host(near, NEAR), Host(far, FAR)]
        for host in hosts:
            for words in (f"addr add {host.address}/24 dev eth0", "link set eth0 up"):
                subprocess.run([*host.inside, "ip", *words.split()], check=True)
        yield Lab(*hosts)


@contextmanager
def link(**options: float) -> Iterator[Lab]:
    """Two hosts and what ``linkemu.c`` can do between them: delay, loss, rate, queue and so on."""
    need_root()
    emulator = Path(tempfile.gettempdir()) / f"p2pxfer-linkemu-{os.getuid()}"
    source = HERE / "linkemu.c"
    if not emulator.exists() or emulator.stat().st_mtime < source.stat().st_mtime:
        if shutil.which("cc") is None:
            raise SystemExit("the emulated link needs a C compiler: apt install gcc libc6-dev")
        fresh = emulator.with_name(f"{emulator.name}-{os.getpid()}")
        subprocess.run(["cc", "-O2", "-pthread", "-o", fresh, source], check=True)
        fresh.replace(emulator)  # another run may be using the old one
    names = [f"{side}{os.getpid()}" for side in ("near", "far")]
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
    words = [f"{name}={value:g}" for name, value in options.items()]
    process = subprocess.Popen(
        [emulator, names[0], f"{NEAR}/24", names[1], f"{FAR}/24", *words], stdout=subprocess.PIPE
    )
    try:
        if not process.stdout.readline().startswith(b"up"):
            raise SystemExit("the emulated link does not start")
        if os.sched_getscheduler(0) == os.SCHED_RR:  # a link waits for no computer
            first = os.sched_param(os.sched_getparam(0).sched_priority + 1)
            for thread in os.listdir(f"/proc/{process.pid}/task"):
                os.sched_setscheduler(int(thread), os.SCHED_RR, first)
        for name in names:
            ip = ["ip", "-n", name]
            subprocess.run([*ip, "addr", "add", "127.0.0.2/32", "dev", "lo"], check=True)
            shown = subprocess.run([*ip, "route"], check=True, capture_output=True, text=True)
            for route in shown.stdout.splitlines():
                subprocess.run(
                    [*ip, "route", "replace", *route.split(), "congctl", TCP], check=True
                )
        near, far = (
            Host(("ip", "netns", "exec", name), address)
            for name, address in zip(names, (NEAR, FAR), strict=True)
        )
        yield Lab(near, far, process)
    finally:
        process.terminate()
        process.wait()
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)
