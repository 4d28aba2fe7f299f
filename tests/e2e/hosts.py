"""Hosts with a network of their own: namespaces on a bridge, multicast and all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import namespaces
from tests.e2e.conftest import Machine, Pipe

# A fresh IPv6 address is tried for a second before it is used (RFC 4862), just as long as a relay
# waits for direct paths; people's machines have had theirs for long.
UP = """
for which in all default; do echo 0 > /proc/sys/net/ipv6/conf/$which/accept_dad; done
ip link set lo up && echo up && exec cat
"""
IMPOSTOR = Path(__file__).with_name("impostor.py")
CONTENT = os.urandom(300_000)


class Place:
    """A network of its own, held open by a process that does nothing."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", UP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"up\n"
        self.pid = self._process.pid
        self.inside = ("nsenter", f"--net=/proc/{self.pid}/ns/net")

    def ip(self, *commands: str) -> None:
        """Run ``ip`` in there."""
        batch = "\n".join(commands).encode()
        subprocess.run([*self.inside, "ip", "-batch", "-"], input=batch, check=True)

    def nft(self, command: str) -> None:
        """Run ``nft`` in there."""
        subprocess.run([*self.inside, "nft", command], check=True)

    def slow(self) -> None:
        """Let out no more than a slow network takes."""
        shaped = "tc qdisc add dev eth0 root tbf rate 60mbit burst 64kb latency 50ms"
        subprocess.run([*self.inside, *shaped.split()], check=True)

    def close(self) -> None:
        """Let it go."""
        with self._process as process:
            process.kill()


class Host(Machine):
    """A machine on the network, with a file to send in ``file``.

    Attributes:
        address: how the others reach it.
        place: its network.
    """

    def __init__(self, path: Path, place: Place, address: str) -> None:
        path.mkdir()
        super().__init__(path, place.inside)
        self.address = address
        self.file = path / f"{path.name}.bin"
        self.file.write_bytes(CONTENT + path.name.encode())
        self.place = place

    def plug(self, *, in_: bool) -> None:
        """Plug the cable out, or in again."""
        self.place.ip(f"link set eth0 {'up' if in_ else 'down'}")

    def slow(self) -> None:
        """Let what it sends take a while."""
        self.place.slow()

    def deafen(self) -> None:
        """Let no multicast DNS in or out, as guest networks do."""
        self.place.nft("add table inet deaf")
        for hook in ("input", "output"):
            self.place.nft(f"add chain inet deaf {hook} {{ type filter hook {hook} priority 0; }}")
            self.place.nft(f"add rule inet deaf {hook} udp dport 5353 drop")

    def block_udp(self) -> None:
        """Let no UDP in or out, as strict firewalls do."""
        self.place.nft("add table inet strict")
        for hook in ("input", "output"):
            chain = f"strict {hook}"
            self.place.nft(f"add chain inet {chain} {{ type filter hook {hook} priority 0; }}")
            self.place.nft(f"add rule inet {chain} meta l4proto udp drop")

    def received(self, name: str) -> bytes:
        """What arrived as ``name``."""
        return (self.there / name).read_bytes()

    def impersonate(self, number: str) -> Pipe:
        """Offer ``number`` from here, with other words. Returns what the impostor says."""
        impostor = self.run(str(number), program=(sys.executable, IMPOSTOR), read_output=False)
        assert impostor.process.stdout is not None
        said = Pipe(impostor.process.stdout)
        said.line(lambda line: line == b"offers\n")
        return said


@contextmanager
def network(tmp_path: Path) -> Iterator[Callable[..., list[Host]]]:
    """Make a network of some hosts; ``v6`` for one that has link-local IPv6 alone."""
    namespaces.require()
    places: list[Place] = []
    hosts: list[Host] = []

    def make(count: int, *, v6: bool = False) -> list[Host]:
        switch = Place()
        places.append(switch)
        switch.ip("link add lan type bridge mcast_snooping 0", "link set lan up")
        for number in range(1, count + 1):
            place = Place()
            places.append(place)
            switch.ip(
                f"link add h{number} type veth peer name eth0 netns {place.pid}",
                f"link set h{number} master lan up",
            )
            address = f"fe80::{number}" if v6 else f"192.168.77.{number}"
            place.ip(
                "link set eth0 addrgenmode none",
                "link set eth0 up",
                f"addr add {address}/{64 if v6 else 24} dev eth0 {'nodad' if v6 else ''}",
            )
            hosts.append(Host(tmp_path / f"host{number}", place, address))
        return hosts

    try:
        yield make
    finally:
        for host in hosts:
            host.close()
        for place in places:
            place.close()
