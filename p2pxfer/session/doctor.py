"""What of all that a transfer needs works here: looked at one by one, told with what it means.

Nothing is left behind, and nothing is sent to anybody but the servers that transfers use and this
network's multicast. No terminal: a finding is a value, and the command shows it.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from p2pxfer.errors import ExitCode, LocalFileError, TransferError
from p2pxfer.files.space import free_space
from p2pxfer.peer import sockets, survey
from p2pxfer.peer.servers import Endpoint, IceServer
from p2pxfer.peer.survey import Dependence, Nat
from p2pxfer.rendezvous import interfaces, lan
from p2pxfer.rendezvous.client import RendezvousClient

ROOM: Final = 100 << 20  # bytes below which a disk counts as full
CLOCK: Final = 60.0  # seconds that clocks may differ; certificates and credentials bear that
BUFFERS: Final = 1 << 20  # bytes of a socket's buffer that fast transfers want
LAN_WAIT: Final = 1.5  # seconds for this network to answer


class Verdict(StrEnum):
    """How a finding is."""

    GOOD = "good"
    LIMITED = "limited"
    BAD = "bad"
    UNKNOWN = "unknown"


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        subject: what.
        verdict: how it is.
        found: what was seen.
        meaning: what follows from it for transfers.
        advice: what to do; empty where nothing needs doing.
        exit_code: what a command that found this bad ends with.
    """

    subject: str
    verdict: Verdict
    found: str
    meaning: str = ""
    advice: str = ""
    exit_code: ExitCode = ExitCode.NO_CONNECTION


class Patient(Struct, frozen=True, kw_only=True):
    """What to look at.

    Attributes:
        rendezvous: its URL; None where transfers stay on this network.
        ice_servers: those of the user, before those that the rendezvous names.
        folders: where what arrives goes, and where state is kept.
    """

    rendezvous: str | None
    ice_servers: tuple[IceServer, ...]
    folders: tuple[Path, ...]


async def examine(patient: Patient) -> AsyncIterator[Finding]:
    """Look at everything, the likeliest trouble first; each finding comes when it is known."""
    servers = list(patient.ice_servers)
    if patient.rendezvous is None:
        yield Finding(
            "rendezvous",
            Verdict.LIMITED,
            "none is configured",
            "two machines find each other on one network only",
            "name one: p2pxfer doctor -r https://…, or rendezvous = … in the configuration",
        )
    else:
        async for finding in _rendezvous(patient.rendezvous, servers):
            yield finding
    endpoints = [endpoint for server in servers for endpoint in server.endpoints()]
    stun = [endpoint for endpoint in endpoints if endpoint.kind == "stun"]
    turn = [endpoint for endpoint in endpoints if endpoint.kind == "turn"]
    looks: list[Callable[[], Coroutine[Any, Any, list[Finding]]]] = [
        lambda: _nat(stun or [e for e in turn if e.transport == "udp"]),
        lambda: _turn(turn),
        _ipv6,
        _mdns,
    ]
    for look in looks:
        for finding in await look():
            yield finding
    for folder in patient.folders:
        yield await asyncio.to_thread(_disk, folder)
    yield _sockets()
    yield _cameras()


async def _rendezvous(url: str, servers: list[IceServer]) -> AsyncIterator[Finding]:
    loop = asyncio.get_running_loop()
    async with RendezvousClient(url) as client:
        began = loop.time()
        try:
            offered = await client.config()
        except TransferError as error:
            yield Finding(
                "rendezvous",
                Verdict.BAD,
                error.message,
                "two machines can't find each other there",
                error.hint or "check its address, and that it runs",
                ExitCode(error.exit_code),
            )
            return
        took = (loop.time() - began) * 1e3
        relays = ", and relays where nothing else works" if offered.relay_bytes else ""
        yield Finding("rendezvous", Verdict.GOOD, f"{client.url} answers in {took:.0f} ms{relays}")
        servers += [IceServer.from_config(entry) for entry in offered.ice_servers]
        if client.date is not None:
            yield _clock((client.date - datetime.now(UTC)).total_seconds())


def _clock(ahead: float) -> Finding:
    if abs(ahead) <= CLOCK:
        return Finding("clock", Verdict.GOOD, "agrees with the rendezvous'")
    side = "behind" if ahead > 0 else "ahead of"
    return Finding(
        "clock",
        Verdict.LIMITED,
        f"{abs(ahead):.0f} s {side} the rendezvous'",
        "certificates and TURN credentials may seem to have expired, or not to be valid yet",
        "have this machine set its clock: timedatectl set-ntp true",
    )


async def _nat(stun: Sequence[Endpoint]) -> list[Finding]:
    if not stun:
        return [
            Finding(
                "STUN",
                Verdict.LIMITED,
                "no server is known",
                "this machine can't learn its public address: behind a NAT, no direct path to"
                " other networks",
                "give one: --ice-server stun:HOST, or have the rendezvous name one",
            )
        ]
    found = await survey.nat(stun)
    names = ", ".join(map(str, stun[:3]))
    if found is None:
        found = await survey.nat(stun, socket.AF_INET6)
    if found is None:
        return [
            Finding(
                "UDP",
                Verdict.BAD,
                f"no answer from {names}",
                "UDP seems to be blocked here: only a TURN server over TCP or TLS helps",
                "let UDP out in the firewall, or give one: --ice-server turns:HOST:443",
            )
        ]
    where = f"{found.public[0]} port {found.public[1]}"
    return [
        Finding("UDP", Verdict.GOOD, f"{names} sees this machine as {where}"),
        _behaviour(found),
    ]


def _behaviour(found: Nat) -> Finding:
    if not found.translates:
        return Finding("NAT", Verdict.GOOD, "none", "others reach this machine directly")
    filtering = f", filtering {found.filtering}" if found.filtering else ""
    if found.mapping is None:
        return Finding(
            "NAT",
            Verdict.UNKNOWN,
            "there is one; its kind takes a second STUN server to tell",
            advice="give another one: --ice-server stun:HOST",
        )
    shown = f"mapping {found.mapping}{filtering}"
    if found.mapping is Dependence.NONE:
        return Finding("NAT", Verdict.GOOD, shown, "direct paths work with nearly everybody")
    return Finding(
        "NAT",
        Verdict.LIMITED,
        shown,
        "direct paths work only with machines whose NAT is easier; the rest takes a TURN server",
        "have a TURN server at hand, or forward a UDP port in the router",
    )


async def _turn(turn: Sequence[Endpoint]) -> list[Finding]:
    if not turn:
        return [
            Finding(
                "TURN",
                Verdict.LIMITED,
                "no server is known",
                "where no direct path exists, there is no connection",
                "give one: --ice-server turn:HOST, or have the rendezvous name one",
            )
        ]
    answers = await asyncio.gather(*(survey.turn(endpoint) for endpoint in turn))
    return [
        Finding("TURN", Verdict.GOOD, f"{endpoint} relays")
        if answer is None
        else Finding(
            "TURN",
            Verdict.BAD,
            answer,
            "it relays nothing for this machine",
            "check its address, the username and the password, and its certificate",
        )
        for endpoint, answer in zip(turn, answers, strict=True)
    ]


async def _ipv6() -> list[Finding]:
    address = survey.source()
    if address is None:
        meaning = "one way less for direct paths; IPv4 does, too"
        return [Finding("IPv6", Verdict.LIMITED, "no way to the internet", meaning)]
    return [Finding("IPv6", Verdict.GOOD, f"reaches out from {address}")]


async def _mdns() -> list[Finding]:
    known = interfaces.own()
    addresses = interfaces.reachable(known)
    if not addresses:
        return [Finding("mDNS", Verdict.LIMITED, "no network but this machine itself")]
    nameplate = random.SystemRandom().randint(100, 999)
    try:
        announcement = await lan.announce(nameplate, 9, addresses)
        try:
            services = await lan.find(nameplate, LAN_WAIT)
        finally:
            await announcement.withdraw()
    except TransferError as error:
        return [_deaf(error.message)]
    if not services:
        return [_deaf("what this machine announces does not come back")]
    shown = ", ".join(str(address) for address in addresses[:3])
    return [Finding("mDNS", Verdict.GOOD, f"multicast works; announced at {shown}")]


def _deaf(found: str) -> Finding:
    return Finding(
        "mDNS",
        Verdict.LIMITED,
        found,
        "on this network, machines don't find each other by themselves",
        "let UDP port 5353 through the firewall, or give the address: p2pxfer receive CODE@ADDRESS",
    )


def _disk(folder: Path) -> Finding:
    try:
        space = free_space(folder)
    except LocalFileError as error:
        return Finding("disk", Verdict.BAD, error.message, "nothing can be kept there", "",
                       ExitCode.LOCAL_FILES)  # fmt: skip
    near = folder
    while not near.exists() and near != near.parent:
        near = near.parent
    if not os.access(near, os.W_OK):
        return Finding(
            "disk", Verdict.BAD, f"{folder} can't be written to", "nothing can arrive there",
            "choose another folder with -o, or change its permissions", ExitCode.LOCAL_FILES,
        )  # fmt: skip
    shown = f"{folder} has {space.size / 1e9:.1f} GB left"
    if space.size < ROOM or (space.inodes is not None and not space.inodes):
        advice = "make room, or choose another folder with -o"
        return Finding(
            "disk", Verdict.BAD, shown, "little can arrive", advice, ExitCode.LOCAL_FILES
        )
    return Finding("disk", Verdict.GOOD, shown)


def _sockets() -> Finding:
    found = sockets.abilities()
    if found is None:
        return Finding("sockets", Verdict.BAD, "no UDP over IPv4")
    batches = found.segmentation and found.coalescing
    least = min(found.receive_buffer, found.send_buffer)
    shown = (
        f"{'datagrams in batches' if batches else 'one datagram at a time'},"
        f" buffers of {found.receive_buffer >> 10} KiB in and {found.send_buffer >> 10} KiB out"
    )
    if batches and least >= BUFFERS:
        return Finding("sockets", Verdict.GOOD, shown)
    advice = ""
    if sys.platform == "linux" and least < BUFFERS:
        advice = "sudo sysctl -w net.core.rmem_max=8388608 net.core.wmem_max=8388608"
    return Finding(
        "sockets", Verdict.LIMITED, shown, "transfers are slower than they could", advice
    )


def _cameras() -> Finding:
    if sys.platform != "linux":
        return Finding("cameras", Verdict.UNKNOWN, "not looked for on this system")
    devices = sorted(Path("/dev").glob("video*"))
    if not devices:
        return Finding("cameras", Verdict.UNKNOWN, "none", "files need none")
    closed = [device for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    names = ", ".join(device.name for device in devices)
    if closed:
        advice = "sudo usermod -aG video $USER, and log in again"
        return Finding("cameras", Verdict.LIMITED, f"{names}: not yours to open", "", advice)
    return Finding("cameras", Verdict.GOOD, names)
