"""The addresses of this machine, and which of other machines' are on its networks.

It asks the system once a call and keeps nothing. What an address is used for is not known here.
"""

from __future__ import annotations

import contextlib
import socket
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address
from typing import Final

import ifaddr
from msgspec import Struct

Address = IPv4Address | IPv6Address

# Addresses for documentation, which are nobody's (RFC 5737, RFC 3849).
_ELSEWHERE: Final = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))


class Own(Struct, frozen=True):
    """One address of this machine, without a zone, and its network; ``name`` is the interface's."""

    interface: IPv4Interface | IPv6Interface
    name: str

    @property
    def address(self) -> Address:
        """The address alone."""
        return self.interface.ip


class Place(Struct, frozen=True, order=True):
    """Where something listens: an IP address, with its zone if it needs one, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def own() -> list[Own]:
    """Every unicast address of this machine, loopback ones included, in the system's order."""
    found = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            kind = IPv4Interface if isinstance(entry.ip, str) else IPv6Interface
            bare = text.split("%", 1)[0]
            found.append(Own(kind(f"{bare}/{entry.network_prefix}"), str(adapter.name)))
    return found


def reachable(known: list[Own]) -> list[Address]:
    """Those of ``known`` that another machine may reach, the likeliest first.

    First comes what leads to the default route, then private IPv4, private IPv6, link-local, the
    rest. On a machine that has nothing else these are its loopback addresses.
    """
    usable = [each.address for each in known if not each.address.is_loopback]
    addresses = list(dict.fromkeys(usable or [each.address for each in known]))
    leading = _leading()
    return sorted(addresses, key=lambda address: _distance(address, leading))


def is_near(address: Address, known: list[Own]) -> bool:
    """Whether ``address`` can be another machine's on a network of this one.

    Loopback counts only where ``known`` has nothing else: anywhere else it would mean that
    somebody points this machine at itself.
    """
    if address.is_loopback:
        return all(each.address.is_loopback for each in known)
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return False
    return address.is_private or address.is_link_local or _on_link(address, known)


def _on_link(address: Address, known: list[Own]) -> bool:
    return any(
        each.interface.version == address.version and address in each.interface.network
        for each in known
    )


def _leading() -> set[Address]:
    """The addresses that packets to far machines come from. Connecting UDP sends nothing."""
    found: set[Address] = set()
    for far, family in _ELSEWHERE:
        with (
            contextlib.suppress(OSError, ValueError),
            socket.socket(family, socket.SOCK_DGRAM) as probe,
        ):
            probe.connect((far, 9))
            found.add(ip_address(probe.getsockname()[0]))
    return found


def _distance(address: Address, leading: set[Address]) -> tuple[bool, int]:
    if address.is_link_local:
        rank = 2 if address.version == 4 else 3  # noqa: PLR2004  # its zone has to be guessed
    elif address.is_private:
        rank = 0 if address.version == 4 else 1  # noqa: PLR2004
    else:
        rank = 4
    return address not in leading, rank
