"""Certificates that are read late are read all the same, before anybody is believed."""

from __future__ import annotations

import ssl

import pytest

from p2pxfer.rendezvous.certificates import read_late, trusted


def known(context: ssl.SSLContext) -> int:
    return context.cert_store_stats()["x509"]


@pytest.fixture(autouse=True)
def one_is_trusted(tls, monkeypatch):
    """By the system, as far as this process knows."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.certificate))


def test_they_are_read_for_the_first_connection():
    """Until then a context trusts nobody; what it demands of the other side stays as it is."""
    with read_late():
        late = ssl.create_default_context()
    at_once = ssl.create_default_context()
    assert (known(late), known(at_once)) == (0, 1)
    late.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="rendezvous.test")
    assert known(late) == 1
    assert (late.verify_mode, late.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_they_are_read_at_once_for_who_asks_for_that():
    """Also while another thread loads what reads late."""
    with read_late():
        assert known(trusted.__wrapped__()) == 1


def test_another_kind_of_context_is_left_alone():
    """Such as those of libraries that ask the system instead."""

    class Other(ssl.SSLContext):
        pass

    with read_late():
        other = Other(ssl.PROTOCOL_TLS_CLIENT)
        other.set_default_verify_paths()
    assert known(other) == 1
