"""What a command starts with: what a transfer of files does not need is not even looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.certificates import certificate

UNUSED = {
    *("PIL", "aiohttp", "attr", "av", "dns", "idna", "multidict", "pydantic"),
    *("python_socks", "rich", "tqdm", "yarl", "zeroconf"),
}
OTHERS = {f"p2pxfer.cli.{command}" for command in ("camera", "clean", "doctor", "serve")}


def test_a_transfer_loads_no_more_than_it_uses(machine):
    """No codecs, no server and no DNS; and no certificates, since the rendezvous is without TLS."""
    (machine.path / "data").write_text("x")
    trusted = machine.path / "trusted.pem"
    os.mkfifo(trusted)  # whoever reads it waits for ever
    env = {"PYTHONPROFILEIMPORTTIME": "1", "SSL_CERT_FILE": str(trusted)}
    sender = machine.send("data", env=env)
    receiver = machine.receive(sender.event("code")["code"], "-o", "there", env=env)
    assert (sender.end(), receiver.end()) == (0, 0)
    for command in (sender, receiver):
        names = [line.rpartition("|")[2].strip() for line in command.err.splitlines()]
        loaded = {name.partition(".")[0] for name in names}
        assert loaded > {"aioice", "aiortc", "h11", "wsproto"}
        assert loaded & UNUSED == set()
        assert OTHERS.isdisjoint(names)
        assert names.index("wsproto") < names.index("spake2")  # which computes: a code comes first


def test_whom_the_system_trusts_is_trusted_and_nobody_else(machine):
    """A rendezvous with a certificate that nobody vouches for gets no word."""
    (machine.path / "data").write_text("x")
    paths = certificate(machine.path, "127.0.0.1")
    tls = ("--tls-cert", str(paths[0]), "--tls-key", str(paths[1]))
    server = machine.run("serve", "--host", "127.0.0.1", "--port", "0", *tls)
    url = server.error_line(b"-r https").decode().split()[-1]
    refused = machine.send("-r", url, "data")
    assert refused.end() == 6
    assert "does not prove who it is" in refused.events("error")[0]["message"]
    believed = machine.send("-r", url, "data", env={"SSL_CERT_FILE": str(paths[0])})
    assert believed.event("code")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="nothing tells what is loaded")
def test_what_takes_long_is_loaded_while_the_code_is_typed(machine):
    """Nothing is left of it to wait for when somebody presses Enter."""
    asked = machine.terminal("receive")
    asked.until("Code:")
    loaded = Path(f"/proc/{asked.process.pid}/maps")
    asked.wait(lambda: "pylibsrtp" in loaded.read_text(), "what aiortc loads")
    asked.type("\x03")
    assert asked.end() == 130
