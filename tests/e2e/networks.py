"""Pairs of networks between which a folder is sent, and what is expected of each."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Command, facts
from tests.e2e.hosts import Host
from tests.e2e.internet import RENDEZVOUS, RENDEZVOUS6, UDP_BLOCKED, WEB_ONLY, Internet, Router

SIZE = 20_000_000  # bytes of the folder
LARGE = 12_000_000  # of its largest file
SMALL = 40  # files that make up the rest
DIRECT, RELAY = 2.0, 5.0  # seconds that connecting may take

PLAIN, NGINX, NGINX6 = (
    f"http://{RENDEZVOUS}:8765",
    f"https://{RENDEZVOUS}",
    f"https://[{RENDEZVOUS6}]",
)


@dataclass(frozen=True, kw_only=True)
class Side:
    """The network of one host.

    Attributes:
        nat: see `Router.translate`.
        rules: more of what its router forwards or drops.
        double: its router is behind another one.
        v4: whether the host has an IPv4 address.
        v6: whether it has one of IPv6, in the open.
        proxy: through which the rendezvous is to be reached: ``web`` or ``socks``; the router
            lets nothing else of TCP out.
    """

    nat: str = "cone"
    rules: tuple[str, ...] = ()
    double: bool = False
    v4: bool = True
    v6: bool = False
    proxy: str = ""


CONE = Side()
RESTRICTED = Side(nat="restricted")
SYMMETRIC = Side(nat="symmetric")
NO_UDP = Side(rules=(UDP_BLOCKED,))


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two networks.

    Attributes:
        name: for people.
        here: the sender's.
        there: the receiver's; None for the same one.
        path: ``direct`` or ``relay``.
        family: of the addresses of the path: 4, 6, or 0 where it doesn't matter.
        rendezvous: its URL, for hosts with IPv4.
        carried: there is no TURN, and the rendezvous relays.
        often: whether every run of the tests tries it.
    """

    name: str
    here: Side
    there: Side | None
    path: str
    family: int = 0
    rendezvous: str = PLAIN
    carried: bool = False
    often: bool = False


CASES = (
    Case(name="cone, cone", here=CONE, there=CONE, path="direct", often=True),
    Case(name="cone, symmetric", here=CONE, there=SYMMETRIC, path="direct", often=True),
    Case(name="symmetric, cone", here=SYMMETRIC, there=CONE, path="direct"),
    Case(name="restricted, restricted", here=RESTRICTED, there=RESTRICTED, path="direct"),
    Case(name="restricted, symmetric", here=RESTRICTED, there=SYMMETRIC, path="relay"),
    Case(name="same network", here=SYMMETRIC, there=None, path="direct", often=True),
    Case(name="IPv6 on one side", here=Side(v6=True), there=CONE, path="direct", often=True),
    Case(
        name="dual stack",
        here=Side(nat="symmetric", v6=True),
        there=Side(nat="symmetric", v6=True),
        path="direct",
        family=6,
        often=True,
    ),
    Case(
        name="IPv6 alone, both",
        here=Side(v4=False, v6=True),
        there=Side(v4=False, v6=True),
        path="direct",
        family=6,
        rendezvous=NGINX,
    ),
    Case(
        name="IPv6 alone, IPv4 alone",
        here=Side(v4=False, v6=True),
        there=CONE,
        path="relay",
        rendezvous=NGINX,
    ),
    Case(name="symmetric, symmetric", here=SYMMETRIC, there=SYMMETRIC, path="relay", often=True),
    Case(name="no UDP here", here=NO_UDP, there=CONE, path="relay"),
    Case(name="no UDP there, symmetric here", here=SYMMETRIC, there=NO_UDP, path="relay"),
    Case(name="no UDP, both", here=NO_UDP, there=NO_UDP, path="relay", often=True),
    Case(name="double NAT, both", here=Side(double=True), there=Side(double=True), path="direct"),
    Case(
        name="double NAT, symmetric",
        here=Side(double=True),
        there=SYMMETRIC,
        path="direct",
        often=True,
    ),
    Case(name="nginx with TLS", here=CONE, there=CONE, path="direct", rendezvous=NGINX, often=True),
    Case(
        name="web proxy, SOCKS proxy",
        here=Side(proxy="web"),
        there=Side(proxy="socks"),
        path="direct",
        rendezvous=NGINX,
        often=True,
    ),
    Case(
        name="SOCKS proxy, web proxy, no TLS",
        here=Side(proxy="socks"),
        there=Side(proxy="web"),
        path="direct",
    ),
    Case(
        name="proxies, no UDP here",
        here=Side(proxy="web", rules=(UDP_BLOCKED, "tcp dport 443 accept")),
        there=CONE,
        path="relay",
        rendezvous=NGINX,
    ),
    Case(name="no UDP here, no TURN", here=NO_UDP, there=CONE, path="relay", carried=True),
    Case(
        name="proxies, no UDP, no TURN",
        here=Side(proxy="web", rules=(UDP_BLOCKED,)),
        there=Side(proxy="socks", rules=(UDP_BLOCKED,)),
        path="relay",
        rendezvous=NGINX,
        carried=True,
    ),
)


@dataclass
class Outcome:
    """What came of a case.

    Attributes:
        wrong: what is not as expected, for people; empty if all is.
        path: of the sender's connection.
        seconds: that connecting took, of the side that took longer.
        parts: of the same side, in milliseconds.
        rate: bytes per second of the transfer.
    """

    wrong: list[str] = field(default_factory=list)
    path: str = ""
    seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0


def carry_out(case: Case, path: Path) -> Outcome:
    """Send a folder between the two networks."""
    internet = Internet(path)
    try:
        return _carry_out(case, internet)
    finally:
        internet.close()


def _carry_out(case: Case, internet: Internet) -> Outcome:
    here, there = hosts(case, internet)
    if not case.carried:
        internet.turn()
    more = ("--relay-bytes", "1G") if case.carried else ()
    if case.rendezvous == PLAIN:
        internet.serve(*more, servers=not case.carried)
    else:
        internet.serve("--trust-proxy", *more, host="127.0.0.1", servers=not case.carried)
        internet.nginx()
    generate(here.path / "folder")
    sender = here.send("folder")
    receiver = there.receive(sender.event("code")["code"], "-o", there.there)
    outcome = Outcome()
    if receiver.end() != 0:
        sender.kill()  # it would wait for another one
    if (sender.end(), receiver.end()) != (0, 0):
        for side in (sender, receiver):
            told = [event for event in side.events() if event["event"] != "progress"]
            outcome.wrong.append(f"exit code {side.end()}: {told} {side.err}")
        return outcome
    if listed(here.path / "folder") != listed(there.there / "folder"):
        outcome.wrong.append("what arrived differs from what was sent")
    _judge(case, sender, receiver, outcome)
    return outcome


def hosts(case: Case, internet: Internet) -> tuple[Host, Host]:
    """The two hosts of a case, each behind its router."""
    here = _host(case, case.here, internet, None, "alice")
    there = _host(case, case.there or case.here, internet, None if case.there else here[1], "bob")
    return here[0], there[0]


def _host(
    case: Case, side: Side, internet: Internet, router: Router | None, name: str
) -> tuple[Host, Router]:
    proxies: dict[str, Callable[[], str]] = {
        "web": internet.web_proxy,
        "socks": internet.socks_proxy,
    }
    rules = (*side.rules, WEB_ONLY) if side.proxy else side.rules
    if router is None:
        router = internet.router(side.nat, *rules, double=side.double)
        if side.v6:
            internet.give_ipv6(router)
    host = internet.host(router, name, v4=side.v4, v6=side.v6)
    host.env["P2PXFER_RENDEZVOUS"] = case.rendezvous if side.v4 else NGINX6
    if side.proxy:
        host.env["ALL_PROXY"] = proxies[side.proxy]()
    return host, router


def _judge(case: Case, sender: Command, receiver: Command, outcome: Outcome) -> None:
    sides = [side.events("connected") for side in (sender, receiver)]
    if [len(side) for side in sides] != [1, 1]:
        outcome.wrong.append(f"connected {[len(side) for side in sides]} times")
    told: list[dict[str, Any]] = [side[-1] for side in sides]
    slower = max(told, key=lambda event: sum(event["took_ms"].values()))
    outcome.path, outcome.parts = told[0]["path"], slower["took_ms"]
    outcome.seconds = sum(outcome.parts.values()) / 1000
    done = sender.events("done")[0]
    outcome.rate = done["bytes"] / done["seconds"]
    for event in told:
        if case.path == "relay" and (event["via"] == "rendezvous") != case.carried:
            outcome.wrong.append(f"{event['via']} relays: {event}")
        if event["path"] != case.path:
            outcome.wrong.append(f"the path is {event['path']}: {event}")
        if case.family and ("[" in event["local"]) != (case.family == 6):
            outcome.wrong.append(f"the path is not of IPv{case.family}: {event}")


def generate(folder: Path) -> None:
    """A folder of `SIZE` bytes: one large file, many small ones, an empty one."""
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(LARGE))
    (folder / "some" / "deeper").mkdir(parents=True)
    for number in range(SMALL):
        name = folder / "some" / ("deeper" if number % 2 else "") / f"{number:02}"
        name.write_bytes(os.urandom((SIZE - LARGE) // SMALL))
    (folder / "empty").touch()


def listed(folder: Path) -> dict[str, tuple[object, ...]]:
    """What makes two trees equal."""
    return {
        str(path.relative_to(folder)): facts(os.fsencode(path))
        for path in sorted(folder.rglob("*"))
    }
