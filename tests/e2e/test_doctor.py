"""``p2pxfer doctor`` on machines that have this or that, each told as it is."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pxfer.errors import ExitCode
from tests.e2e.conftest import Machine
from tests.e2e.hosts import Host, Place, network

INSIDE, GATEWAY, OUTSIDE = "10.1.0.2", "10.1.0.1", "203.0.113.1"
SERVERS = ("203.0.113.2", "203.0.113.3")
PATIENCE = 60.0  # seconds


def examine(machine: Machine, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code, and the findings by subject; of several the last."""
    command = machine.run("doctor", "--json", *words)
    code = command.end()
    return code, {
        finding["subject"]: finding for finding in map(json.loads, command.out.split(b"\n")[:-1])
    }


def test_a_machine_alone(machine):
    """Nothing is configured: limits are told with what to do, and nothing is bad."""
    machine.env.pop("P2PXFER_RENDEZVOUS")
    code, found = examine(machine)
    assert code == 0
    for subject in ("rendezvous", "STUN", "TURN"):
        assert found[subject]["verdict"] == "limited"
        assert found[subject]["meaning"]
        assert found[subject]["advice"]
    assert found["disk"]["verdict"] == "good"
    assert "KiB" in found["sockets"]["found"]


def test_a_rendezvous_that_answers(machine):
    """It is found, and its clock is ours."""
    code, found = examine(machine)
    assert code == 0
    assert found["rendezvous"]["verdict"] == found["clock"]["verdict"] == "good"


def test_a_rendezvous_that_does_not(machine):
    """The exit code is that of a transfer which fails for the same reason."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    code, found = examine(machine, "-r", f"http://127.0.0.1:{port}")
    assert code == ExitCode.RENDEZVOUS
    assert found["rendezvous"]["verdict"] == "bad"
    assert found["rendezvous"]["advice"]


def test_a_folder_that_can_not_be_written(machine):
    """What arrives would go there."""
    code, found = examine(machine, "-o", "/proc/nothing")
    assert code == ExitCode.LOCAL_FILES
    del found


def test_for_people(machine):
    """Subject, verdict, what was found; what it means and what to do stand under it."""
    command = machine.run("doctor")
    assert command.end() == 0
    text = command.out.decode()
    assert "rendezvous  good" in text
    assert "TURN        limited" in text
    assert max(map(len, text.splitlines())) <= 100


@contextmanager
def turn_server(place: Place, path: Path) -> Iterator[None]:
    """A coturn on both addresses, so that it answers as RFC 5780 says."""
    program = shutil.which("turnserver")
    assert program is not None
    command = [*place.inside, program, "-n", "--no-tls", "--no-dtls", "--no-cli", "--realm", "test"]
    command += ["--userdb", str(path / "db"), "--pidfile", str(path / "pid"), "--lt-cred-mech"]
    command += ["--user", "alice:s3cret", "--log-file", "stdout"]
    for address in SERVERS:
        command += ["-L", address]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        probe = [
            "python3",
            "-c",
            f"import socket; socket.create_connection(('{SERVERS[0]}', 3478))",
        ]
        late = time.monotonic() + PATIENCE
        while subprocess.run([*place.inside, *probe], capture_output=True, check=False).returncode:
            assert server.poll() is None
            assert time.monotonic() < late
            time.sleep(0.05)
        yield
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def behind_a_router(tmp_path: Path) -> Iterator[tuple[Host, Place]]:
    """A host inside, its router, and STUN and TURN servers outside."""
    with network(tmp_path):  # skips where there are no namespaces
        inside, router, outside = Place(), Place(), Place()
    host = Host(tmp_path / "inside", inside, INSIDE)
    try:
        inside.ip(f"link add eth0 type veth peer name lan netns {router.pid}")
        outside.ip(f"link add eth0 type veth peer name wan netns {router.pid}")
        for place, name, *addresses in (
            (inside, "eth0", INSIDE),
            (router, "lan", GATEWAY),
            (router, "wan", OUTSIDE),
            (outside, "eth0", *SERVERS),
        ):
            for address in addresses:
                place.ip(f"addr add {address}/24 dev {name}")
            place.ip(f"link set {name} up")
        inside.ip(f"route add default via {GATEWAY}")
        subprocess.run(
            [*router.inside, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"], check=True
        )
        router.nft("add table ip nat")
        router.nft("add chain ip nat out { type nat hook postrouting priority 100; }")
        with turn_server(outside, tmp_path):
            yield host, router
    finally:
        host.close()
        for place in (inside, router, outside):
            place.close()


@pytest.mark.parametrize(
    ("rule", "verdict", "mapping"),
    [
        ("masquerade", "good", "mapping endpoint-independent"),
        ("masquerade fully-random", "limited", "mapping address and port-dependent"),
    ],
)
def test_what_a_router_does(behind_a_router, rule, verdict, mapping):
    """Its mapping decides whether direct paths will do; a TURN server is tried for real."""
    host, router = behind_a_router
    router.nft(f"add rule ip nat out oifname wan {rule}")
    credentials = host.path / "credentials"
    credentials.write_text("alice:s3cret")
    credentials.chmod(0o600)
    servers = ["--ice-server", f"stun:{SERVERS[0]}", "--ice-server", f"turn:{SERVERS[0]}"]
    code, found = examine(host, *servers, "--ice-credentials-file", str(credentials))
    assert code == 0, found
    assert OUTSIDE in found["UDP"]["found"]
    assert found["NAT"]["verdict"] == verdict
    assert mapping in found["NAT"]["found"]
    assert "filtering address and port-dependent" in found["NAT"]["found"]
    assert found["TURN"]["verdict"] == "good"
    credentials.write_text("alice:guess")
    code, found = examine(host, *servers, "--ice-credentials-file", str(credentials))
    assert code == ExitCode.NO_CONNECTION
    assert "refused the username or password" in found["TURN"]["found"]


def test_udp_that_does_not_pass(behind_a_router):
    """No answer from a STUN server, though TCP passes."""
    host, router = behind_a_router
    router.nft("add table ip no")
    router.nft("add chain ip no datagrams { type filter hook forward priority 0; }")
    router.nft("add rule ip no datagrams meta l4proto udp drop")
    router.nft("add rule ip nat out oifname wan masquerade")
    code, found = examine(host, "--ice-server", f"stun:{SERVERS[0]}")
    assert code == ExitCode.NO_CONNECTION
    assert "blocked" in found["UDP"]["meaning"]
