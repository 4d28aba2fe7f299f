"""Announcing and finding, with real mDNS on networks that a test owns, and what a liar gets."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from p2pxfer.rendezvous import interfaces, lan
from p2pxfer.rendezvous.interfaces import Place
from tests import namespaces

PATIENCE = 120.0  # seconds until a test is called hung
CABLE = (
    "link add d0 type veth peer name d1",
    "addr add 192.168.77.1/24 dev d0",
    "link set d0 up",
    "link set d1 up",
)


@pytest.fixture
def in_namespace():
    """`namespaces.run`, where that can be."""
    namespaces.require()
    return functools.partial(namespaces.run, patience=PATIENCE)


@asynccontextmanager
async def lying(*records: dict):
    """Announce anything, under names of no meaning."""
    responder = AsyncZeroconf()
    for number, record in enumerate(records):
        info = AsyncServiceInfo(lan.SERVICE, f"liar{number}.{lan.SERVICE}", **record)
        await responder.async_register_service(info, cooperating_responders=True)
    yield
    await responder.async_close()


def record(nameplate: bytes, *addresses: str, port: int = 9) -> dict:
    return {"port": port, "properties": {"nameplate": nameplate}, "parsed_addresses": [*addresses]}


def test_what_is_announced_is_found_until_it_is_withdrawn(in_namespace):
    """On a machine that has loopback alone, too; other numbers stay unknown."""

    async def work() -> None:
        addresses = interfaces.reachable(interfaces.own())
        announcement = await lan.announce(412, 4711, addresses)
        service = (Place("127.0.0.1", 4711), Place("::1", 4711))
        assert await lan.find(412, 5) == (service,)
        assert await lan.find(413, 0.6) == ()
        await announcement.withdraw()
        assert await lan.find(412, 0.6) == ()

    in_namespace(work)


def test_two_of_one_number_are_both_found(in_namespace):
    """Whoever asks must know that there is a choice."""

    async def work() -> None:
        for port in (1, 2):
            await lan.announce(412, port, [ip_address("192.168.77.1")])
        found = await lan.find(412, 5)
        assert found == ((Place("192.168.77.1", 1),), (Place("192.168.77.1", 2),))

    in_namespace(work, *CABLE)


def test_nothing_but_the_nameplate_is_announced(in_namespace, monkeypatch):
    """No words, no name of the machine or its user."""
    seen: list[AsyncServiceInfo] = []
    register = AsyncZeroconf.async_register_service

    async def watch(self, info, **options):
        seen.append(info)
        return await register(self, info, **options)

    monkeypatch.setattr(AsyncZeroconf, "async_register_service", watch)

    async def work() -> None:
        for _ in range(2):
            await (await lan.announce(412, 1, [ip_address("127.0.0.1")])).withdraw()

    in_namespace(work)
    one, two = seen
    assert one.properties == {b"nameplate": b"412"}
    assert one.server == one.name != two.name
    assert len(one.get_name()) == 16
    assert int(one.get_name(), 16) >= 0


LIES = (
    record(b"412", port=9),
    record(b"412", "192.168.77.9", port=0),
    record(b"0412", "192.168.77.9"),
    record(b"412\0", "192.168.77.9"),
    record(b"4" * 240, "192.168.77.9"),
    record(b"412", "127.0.0.1"),
    record(b"412", "0.0.0.0"),
    record(b"412", "224.0.0.251"),
    record(b"412", "255.255.255.255"),
    record(b"412", "8.8.8.8"),
    record(b"412", "2606:4700::1"),
    record(b"412", "::ffff:127.0.0.1"),
    {"port": 9, "properties": {}, "parsed_addresses": ["192.168.77.9"]},
    {"port": 9, "properties": b"\xff" * 300, "parsed_addresses": ["192.168.77.9"]},
)


def test_lies_lead_nowhere(in_namespace):
    """Not to this machine itself, nor into the world, nor to no place at all."""

    async def work() -> None:
        honest = record(b"412", "192.168.77.8", port=8)
        async with lying(*LIES, honest):
            assert await lan.find(412, 5) == ((Place("192.168.77.8", 8),),)

    in_namespace(work, *CABLE)


def test_a_flood_is_bounded(in_namespace):
    """Neither a hundred addresses nor a hundred machines take more than their share."""
    many = [f"192.168.77.{number}" for number in range(2, 102)]

    async def work() -> None:
        async with lying(record(b"412", *many)):
            (service,) = await lan.find(412, 5)
            assert len(service) <= 16
        async with lying(*(record(b"413", address) for address in many[:40])):
            assert 1 < len(await lan.find(413, 5)) <= 16

    in_namespace(work, *CABLE)


def test_the_best_address_comes_first(in_namespace):
    """What leads to the world, then private ones; what needs a zone comes last."""

    async def work() -> None:
        addresses = [str(each) for each in interfaces.reachable(interfaces.own())]
        assert addresses[:3] == ["10.1.2.3", "192.168.77.1", "fd00::1"]
        assert all(address.startswith("fe80:") for address in addresses[3:])

    in_namespace(
        work,
        *CABLE,
        "addr add fd00::1/64 dev d0 nodad",
        "addr add 10.1.2.3/24 dev d1",
        "route add default via 10.1.2.1",
    )
