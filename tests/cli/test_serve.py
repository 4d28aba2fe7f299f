"""``p2pxfer serve`` as a process: it serves, says where, and ends when it is told to."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import certificate

ONLY_SERVE = """
import sys, typer
from p2pxfer.cli.serve import serve
app = typer.Typer()
app.command()(serve)
sys.exit(app(standalone_mode=False))
"""
COMMAND = [sys.executable, "-c", ONLY_SERVE]


@contextlib.contextmanager
def serving(
    *arguments: str, descriptors: str = "", **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the URL that it names; ``descriptors`` are what `ulimit` is told."""
    limited = ["/bin/sh", "-c", f'ulimit {descriptors}; exec "$@"', "sh"] if descriptors else []
    process = subprocess.Popen(
        [*limited, *COMMAND, "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin", **environment},
    )
    try:
        assert process.stderr is not None
        lines = process.stderr.readline() + process.stderr.readline()
        url = re.search(r"-r (\S+)$", lines)
        assert url, lines
        yield process, url[1]
    finally:
        process.kill()
        process.communicate()


def refused(*arguments: str) -> tuple[int, str]:
    """Exit code and what was said of a start that fails."""
    ended = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


def config(url: str, context: ssl.SSLContext | None = None) -> dict:
    with urllib.request.urlopen(f"{url}/v1/config", context=context, timeout=120) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    return certificate(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(number, tmp_path):
    """What the flags say is what clients get; ending it is no failure, and says nothing."""
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef\n")
    secret.chmod(0o600)
    arguments = ["--motd", "hello", "--stun-url", "stun:s.example", "--turn-url", "turn:t.example"]
    with serving(*arguments, "--turn-secret-file", str(secret)) as (process, url):
        said = config(url)
        assert said["motd"] == "hello"
        assert said["ice_servers"][0] == {"urls": ["stun:s.example"]}
        assert said["ice_servers"][1]["urls"] == ["turn:t.example"]
        assert set(said["ice_servers"][1]) == {"urls", "username", "credential"}
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out, err) == (0, "", "")


def test_it_says_how_much_it_carries():
    """To its operator, and to clients, who get no more than all together do."""
    flags = ["--relay-bytes", "2G", "--relay-total", "1.5G", "--relay-rate", "5M"]
    with serving(*flags) as (process, url):
        assert config(url)["relay_bytes"] == 1_500_000_000
        assert process.stderr is not None
        line = process.stderr.readline()
        while "carries" not in line:
            assert line, "it was never said"
            line = process.stderr.readline()
        assert "2.00 GB a day for one address, 1.50 GB in all" in line


@pytest.mark.parametrize(
    ("descriptors", "most"),
    [("-S -n 256", 1024), ("-n 256", 32)],
    ids=["a low limit that may be raised", "few, whoever asks"],
)
def test_silent_connections_leave_it_descriptors(descriptors, most):
    """However many there are, the next one is served; those that came last stay."""
    with serving(descriptors=descriptors) as (process, url), contextlib.ExitStack() as held:
        port = int(url.rpartition(":")[2])
        silent = [
            held.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(400)
        ]
        assert config(url)["version"] == 1
        for each in silent:
            each.setblocking(False)
        assert sum(_is_open(each) for each in silent) >= min(most, 400) - 1
        assert process.poll() is None


def _is_open(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def test_two_colons_are_every_address():
    """IPv4, too: a rendezvous is for both."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving("--host", "::", "--port", str(port)):
        for host in ("127.0.0.1", "[::1]"):
            assert config(f"http://{host}:{port}")["version"] == 1


def test_it_serves_tls(tls):
    """With the operator's own certificate."""
    files = ("--tls-cert", str(tls[0]), "--tls-key", str(tls[1]))
    with serving("--host", "localhost", *files) as (_, url):
        assert url.startswith("https://localhost:")
        context = ssl.create_default_context(cafile=tls[0])
        assert config(url, context)["version"] == 1


def test_a_port_that_is_taken_is_said():
    """And what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = refused("--port", port)
    assert code == 2
    assert f"port {port}" in said
    assert "--port" in said


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--tls-cert", "cert.pem"], 2, "--tls-key"),
        (["--tls-cert", "/nowhere/c", "--tls-key", "/nowhere/k"], 8, "can't read /nowhere/c"),
        (["--tls-cert", __file__, "--tls-key", __file__], 2, "no certificate with its key"),
        (["--motd", "two\nlines"], 2, "--motd"),
        (["--relay-rate", "5M"], 2, "--relay-bytes"),
        (["--relay-total", "5G"], 2, "--relay-bytes"),
        (["--relay-bytes", "2G", "--relay-rate", "1k"], 2, "too slow"),
        (["--relay-bytes", "much"], 2, "not a size"),
        (["--relay-bytes", "0"], 2, "take a size"),
        (["--motd", "x" * 501], 2, "--motd"),
        (["--code-lifetime", "soon"], 2, "not a time"),
        (["--stun-url", "http://x"], 2, "STUN server"),
        (["--stun-url", "turn:t.example"], 2, "STUN server"),
        (["--turn-url", "turn:t.example"], 2, "--turn-secret-file"),
        (["--turn-url", "turn:t.example", "--turn-secret-file", "/nowhere/s"], 8, "/nowhere/s"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_what_makes_no_sense_is_refused_before_it_serves(arguments, code, complaint):
    """One line of what is wrong, and the exit code of the tree."""
    ended, said = refused(*arguments)
    assert ended == code
    assert complaint in said
    assert "hint:" in said
