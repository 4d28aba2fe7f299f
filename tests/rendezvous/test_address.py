"""Where a rendezvous is, in every form that people write it."""

from __future__ import annotations

import pytest

from p2pxfer.errors import UsageError
from p2pxfer.rendezvous import address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.org", "https://example.org"),
        ("https://example.org/", "https://example.org"),
        (" HTTPS://Example.org:8443/p2p/ ", "https://example.org:8443/p2p"),
        ("ws://example.org", "http://example.org"),
        ("wss://example.org:9", "https://example.org:9"),
        ("example.org", "https://example.org"),
        ("example.org:8443", "https://example.org:8443"),
        ("example.org/p2p", "https://example.org/p2p"),
        ("localhost", "http://localhost:8765"),
        ("127.0.0.1:80", "http://127.0.0.1:80"),
        ("192.168.1.5", "http://192.168.1.5:8765"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("[fe80::1%eth0]:9000", "http://[fe80::1%eth0]:9000"),
        ("8.8.8.8:8765", "https://8.8.8.8:8765"),
        ("http://192.168.1.5", "http://192.168.1.5"),
    ],
)
def test_a_place_becomes_a_url(text, url):
    """Encrypted unless it is near or somebody said otherwise."""
    assert address.parse(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "ftp://example.org",
        "https://",
        "https://user:secret@example.org",
        "https://example.org/?x",
        "https://example.org/#x",
        "example.org:0",
        "example.org:99999",
        "example.org:port",
        "[::1",
        "two words",
        "bell\a",
        "x" * 3000,
    ],
)
def test_what_is_no_place_is_refused(text):
    """With a hint, and without repeating a password."""
    with pytest.raises(UsageError) as error:
        address.parse(text)
    assert "secret" not in error.value.message + error.value.hint
    assert "looks like" in error.value.hint
