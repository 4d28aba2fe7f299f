"""Which proxy the environment names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from p2pxfer.errors import UsageError
from p2pxfer.rendezvous import proxy


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("text", "shown", "socks", "resolves"),
    [
        ("http://10.0.0.1:3128", "http://10.0.0.1:3128", 0, True),
        ("proxy.example", "http://proxy.example:80", 0, True),
        ("https://proxy.example", "https://proxy.example:443", 0, True),
        ("socks5://proxy.example", "socks5://proxy.example:1080", 5, False),
        ("socks5h://[2001:db8::1]:9", "socks5h://[2001:db8::1]:9", 5, True),
        ("socks4://proxy.example", "socks4://proxy.example:1080", 4, False),
        ("socks4a://proxy.example", "socks4a://proxy.example:1080", 4, True),
        ("socks://me:secret@proxy.example/", "socks://proxy.example:1080", 5, True),
    ],
)
def test_a_proxy_is_read(text, shown, socks, resolves):
    """With the usual port where none is given, and without its secrets when shown."""
    found = proxy.parse(text)
    assert (str(found), found.socks, found.resolves) == (shown, socks, resolves)
    assert "secret" not in repr(found)


def test_credentials_are_unquoted():
    """As they were meant."""
    assert proxy.parse("socks5://a%40b:c%2Fd@h").credentials() == ("a@b", "c/d")
    assert proxy.parse("socks5://h").credentials() == (None, None)


@pytest.mark.parametrize("text", ["gopher://h", "socks5://", "http://h:0", "http://h:x", "://"])
def test_what_is_no_proxy_is_refused(text):
    """It is the user's mistake."""
    with pytest.raises(UsageError):
        proxy.parse(text)


def test_the_scheme_decides_and_the_rest_is_for_all(monkeypatch):
    """As curl has it; upper or lower case."""
    assert proxy.towards("https://meet.example") is None
    monkeypatch.setenv("all_proxy", "socks5h://all")
    monkeypatch.setenv("HTTPS_PROXY", "http://web:3128")
    monkeypatch.setenv("no_proxy", "near.example,.internal")
    assert str(proxy.towards("https://meet.example")) == "http://web:3128"
    assert str(proxy.towards("http://meet.example:8765")) == "socks5h://all:1080"
    for near in ("https://near.example", "http://a.internal"):
        assert proxy.towards(near) is None


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("https://near.example:8443", True),
        ("https://near.example", False),
        ("https://usual.example", True),
        ("http://usual.example", False),
        ("http://[2001:db8::1]:8765", True),
        ("http://[2001:db8::2]:8765", False),
    ],
)
def test_no_proxy_for_a_port(monkeypatch, url, near):
    """Only that port of the host is reached directly; an address of IPv6 is none of a port."""
    monkeypatch.setenv("all_proxy", "socks5h://all")
    monkeypatch.setenv("no_proxy", "near.example:8443,usual.example:443,2001:db8::1")
    assert (proxy.towards(url) is None) == near


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="its settings are asked for, too")
def test_where_none_is_set_nothing_is_loaded_to_read_it():
    """It takes longer than all else that is done before a connection."""
    script = (
        "import sys\nfrom p2pxfer.rendezvous import proxy\nfound = proxy.towards('http://h')\n"
        "sys.exit(found is not None or 'urllib.request' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
