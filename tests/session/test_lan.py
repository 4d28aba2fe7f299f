"""What a sender on its own network shows, and what a receiver makes of what it is given."""

from __future__ import annotations

import asyncio
import socket

import pytest

from p2pxfer.errors import RendezvousUnreachable, UsageError
from p2pxfer.progress import NullProgress
from p2pxfer.rendezvous import interfaces
from p2pxfer.rendezvous.address import DEFAULT_PORT
from p2pxfer.rendezvous.client import RendezvousClient
from p2pxfer.session import lan


@pytest.fixture
async def host():
    """A sender's rendezvous, open."""
    host = lan.Host(NullProgress())
    await host.open()
    yield host
    await host.close()


@pytest.mark.parametrize("count", [1, 3])
async def test_the_number_that_is_shown_first_is_the_first_that_is_given(host, count):
    """The code is on the screen before the rendezvous runs; later ones are of its kind, too."""
    async with RendezvousClient(host.url) as client:
        numbers = [(await client.allocate()).nameplate for _ in range(count)]
    assert numbers[0] == host.nameplate
    assert len(set(numbers)) == count
    assert all(lan.is_local(number) for number in numbers)


@pytest.mark.parametrize(
    ("known", "located"),
    [
        (["192.168.1.5"], ["412-a-b@192.168.1.5:{}"]),
        (["10.0.0.1", "fd00::1", "fe80::1"], ["412-a-b@10.0.0.1:{}", "412-a-b@[fd00::1]:{}"]),
        (["8.8.8.8", "192.168.1.5"], ["412-a-b@192.168.1.5:{}"]),
        (["8.8.8.8"], ["http://8.8.8.8:{}/#412-a-b"]),
        ([], []),
    ],
)
async def test_the_longer_codes_lead_to_addresses_of_this_machine(monkeypatch, known, located):
    """At most two; a public address is given as a URL, since it would be taken for https."""
    monkeypatch.setattr(
        interfaces, "reachable", lambda _: [interfaces.ip_address(each) for each in known]
    )
    host = lan.Host(NullProgress())
    port = host.url.rpartition(":")[2]
    assert list(host.located("412-a-b")) == [each.format(port) for each in located]
    await host.close()


async def test_two_senders_on_one_machine_take_two_ports():
    """The usual one is for whoever comes first."""
    one, two = lan.Host(NullProgress()), lan.Host(NullProgress())
    assert one.url != two.url
    await one.close()
    await two.close()


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("192.168.1.5", f"http://192.168.1.5:{DEFAULT_PORT}"),
        ("[fd00::1]:9", "http://[fd00::1]:9"),
        ("[fe80::1%eth0]:9", "http://[fe80::1%eth0]:9"),
        ("8.8.8.8", "https://8.8.8.8"),
        ("example.org:9", "https://example.org:9"),
        ("http://8.8.8.8:9/", "http://8.8.8.8:9"),
    ],
)
async def test_plain_http_is_for_near_addresses_alone(typed, url):
    """Unless the URL says otherwise."""
    assert await lan.reach(typed) == url


@pytest.mark.parametrize("typed", ["", "two words", "http://", "192.168.1.5:http", "[fe80::1"])
async def test_what_is_no_address_is_refused(typed):
    """Before anything is sent anywhere."""
    with pytest.raises(UsageError):
        await lan.reach(typed)


async def test_the_first_place_that_answers_is_taken():
    """A closed port beside an open one costs nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = interfaces.Place("127.0.0.1", 1)
        opened = interfaces.Place("127.0.0.1", server.getsockname()[1])
        assert await lan._first_open([closed, opened]) == opened
        with pytest.raises(RendezvousUnreachable, match=r"no connection at 127\.0\.0\.1:1"):
            await lan._first_open([closed])


async def test_a_host_that_never_opened_closes():
    """Somebody pressed Ctrl-C at once."""
    host = lan.Host(NullProgress())
    host.announce(host.nameplate)
    await asyncio.sleep(0)
    await host.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(host.url.rpartition(":")[2])))
