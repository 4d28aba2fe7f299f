"""Names of STUN and TURN servers."""

from __future__ import annotations

import pytest

from p2pxfer.errors import UsageError
from p2pxfer.peer.servers import Endpoint, IceServer


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("stun:stun.example.org", Endpoint("stun", "stun.example.org", 3478)),
        ("stun:192.0.2.1:19302", Endpoint("stun", "192.0.2.1", 19302)),
        ("stun:[2001:db8::1]:7", Endpoint("stun", "2001:db8::1", 7)),
        ("turn:t.example", Endpoint("turn", "t.example", 3478, "udp", False, "u", "p")),
        ("turn:t:1?transport=udp", Endpoint("turn", "t", 1, "udp", False, "u", "p")),
        ("turn:t:1?transport=tcp", Endpoint("turn", "t", 1, "tcp", False, "u", "p")),
        ("turns:t", Endpoint("turn", "t", 5349, "tcp", True, "u", "p")),
    ],
)
def test_urls_of_the_two_rfcs_are_understood(url, endpoint):
    """Default ports and transports are those of RFC 7064 and 7065."""
    assert IceServer((url,), "u", "p").endpoints() == (endpoint,)


@pytest.mark.parametrize("url", ["stuns:s.example", "turns:t.example?transport=udp"])
def test_what_nothing_here_speaks_is_left_out(url):
    """A list made for browsers works as far as it goes."""
    assert IceServer((url, "stun:s"), None, None).endpoints() == (Endpoint("stun", "s", 3478),)


@pytest.mark.parametrize(
    "url",
    ["", "stun:", "http://s", "stun:s:0", "stun:s:65536", "turn:a@b", "stun:[::1", "stun:a b"],
)
def test_a_malformed_url_is_refused_by_name(url):
    """The user sees which one to mend."""
    with pytest.raises(UsageError) as caught:
        IceServer((url,))
    assert repr(url) in str(caught.value)


def test_a_configuration_entry_has_the_shape_of_the_w3c():
    """One URL or a list of them, and keys of other programs are no error."""
    entry = {"urls": "stun:s", "credentialType": "password"}
    assert IceServer.from_config(entry) == IceServer(("stun:s",))
    entry = {"urls": ["turn:t"], "username": "u", "credential": "p"}
    assert IceServer.from_config(entry) == IceServer(("turn:t",), "u", "p")


@pytest.mark.parametrize(
    "entry",
    [{}, {"urls": []}, {"urls": [1]}, {"urls": ["stun:s"] * 17}, {"urls": "stun:s", "username": 1}],
)
def test_an_entry_of_another_shape_is_refused(entry):
    """What a rendezvous sends is not trusted to be well-formed."""
    with pytest.raises(UsageError):
        IceServer.from_config(entry)


def test_a_credential_is_never_shown():
    """Neither in a log line that shows a server, nor in one that shows an endpoint."""
    server = IceServer(("turn:t",), "u", "hush")
    shown = f"{server!r} {server.endpoints()!r} {server.endpoints()[0]}"
    assert "hush" not in shown
