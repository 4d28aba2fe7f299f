"""The real commands on hosts of a network of their own: a bridge, multicast, and no server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2pxfer.errors import ExitCode
from tests.e2e.conftest import Command
from tests.e2e.hosts import Host, network


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Callable[..., list[Host]]]:
    """Makes a network of some hosts, see `network`."""
    with network(tmp_path) as make:
        yield make


def offer(host: Host, *words: str) -> tuple[Command, dict]:
    """Send the host's file; the command, and the event that has its code."""
    command = host.send(*words, host.file)
    return command, command.event("code")


def test_two_hosts_and_nothing_else(lan):
    """The two commands just work, and the code says how to reach the sender otherwise."""
    here, there = lan(2)
    sender, code = offer(here)
    receiver = there.receive(code["code"], "-o", there.there)
    assert (sender.end(), receiver.end()) == (0, 0), sender.err + receiver.err
    assert there.received("host1.bin") == here.file.read_bytes()
    number = int(code["code"].split("-")[0])
    assert 100 <= number <= 999
    assert code["located"] == [f"{code['code']}@192.168.77.1:8765"]


def slowness() -> float:
    """How much longer than on an idle machine of 2024 a program takes to load; 1 at the least."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import aiohttp.web"], check=True)
    return max(1.0, (time.monotonic() - began) / 0.25)


def test_a_code_within_half_a_second_and_found_within_one(lan):
    """From the start of the commands: the best of eight, on a machine that has other work, too.

    Each try is measured in what loading a library takes just before and after it, and may take
    twice as long as it should.
    """
    here, there = lan(2)
    tries: list[tuple[float, float]] = []
    while len(tries) < 8 and not any(code < 1.0 and found < 2.0 for code, found in tries):
        slow = slowness()
        began = time.monotonic()
        sender, code = offer(here)
        to_code = time.monotonic() - began
        words = ("--verbose", "-o", there.there, "--existing", "overwrite")
        began = time.monotonic()
        receiver = there.receive(code["code"], *words)
        receiver.event("note", lambda event: event["text"].startswith("found the sender"))
        to_found = time.monotonic() - began
        slow = max(slow, slowness())
        tries.append((to_code / slow, to_found / slow))
        assert (sender.end(), receiver.end()) == (0, 0), sender.err + receiver.err
    assert any(code < 1.0 and found < 2.0 for code, found in tries), tries


def test_five_hosts_two_senders_at_once(lan):
    """Each receiver finds its own sender; a number that nobody offers is nobody's."""
    one, two, three, four, five = lan(5)
    first, first_code = offer(one)
    second, second_code = offer(two)
    numbers = {code["code"].split("-")[0] for code in (first_code, second_code)}
    other = next(number for number in range(100, 999) if str(number) not in numbers)
    receivers = [
        three.receive(second_code["code"], "-o", three.there),
        four.receive(first_code["code"], "-o", four.there),
    ]
    lost = five.receive(f"{other}-orbit-lamp")
    assert [command.end() for command in (first, second, *receivers)] == [0, 0, 0, 0]
    assert three.received("host2.bin") == two.file.read_bytes()
    assert four.received("host1.bin") == one.file.read_bytes()
    assert lost.end() == ExitCode.PEER_GONE
    error = lost.event("error")
    assert error["message"] == f"nobody on this network offers {other}"
    assert "type the longer code with @" in error["hint"]


def test_ipv6_link_local_alone(lan):
    """Hosts that nobody ever gave an address."""
    here, there = lan(2, v6=True)
    sender, code = offer(here)
    receiver = there.receive(code["code"], "-o", there.there)
    assert (sender.end(), receiver.end()) == (0, 0), sender.err + receiver.err
    assert there.received("host1.bin") == here.file.read_bytes()


def test_where_multicast_is_blocked_the_address_leads_there(lan):
    """The plain code finds nobody; the longer one that the sender shows does, as does its URL."""
    here, there = lan(2)
    here.deafen()
    sender, code = offer(here)
    lost = there.receive(code["code"])
    assert lost.end() == ExitCode.PEER_GONE
    assert code["located"] == [f"{code['code']}@192.168.77.1:8765"]
    receiver = there.receive(code["located"][0], "-o", there.there)
    assert (sender.end(), receiver.end()) == (0, 0), sender.err + receiver.err
    assert there.received("host1.bin") == here.file.read_bytes()
    sender, code = offer(here)
    assert code["url"] == f"http://192.168.77.1:8765/#{code['code']}"
    receiver = there.receive(code["url"], "-o", there.there, "--existing", "overwrite")
    assert (sender.end(), receiver.end()) == (0, 0), sender.err + receiver.err


@pytest.mark.parametrize("zone", ["", "%eth0"])
def test_a_link_local_address_leads_there(lan, zone):
    """Without a zone, which the sender can't know, and with one, as other programs want it."""
    here, there = lan(2, v6=True)
    here.deafen()
    sender, code = offer(here)
    assert code["located"] == [f"{code['code']}@[fe80::1]:8765"]
    receiver = there.receive(f"{code['code']}@[fe80::1{zone}]:8765", "-o", there.there)
    assert (sender.end(), receiver.end()) == (0, 0), sender.err + receiver.err


def test_lan_and_an_address_override_what_is_configured(lan):
    """Neither side asks the rendezvous that it knows, nor a proxy."""
    here, there = lan(2)
    elsewhere = {
        "P2PXFER_RENDEZVOUS": "https://rendezvous.example.org",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }
    for form in (lambda code: code["code"], lambda code: code["located"][0]):
        here.env |= elsewhere
        there.env |= elsewhere
        sender, code = offer(here, "--lan")
        receiver = there.receive(form(code), "-o", there.there, "--existing", "overwrite")
        assert (sender.end(), receiver.end()) == (0, 0), sender.err + receiver.err


def test_two_with_one_number_cost_no_guess(lan):
    """The receiver lists both and asks which; with the right address it goes on."""
    here, impostor, there = lan(3)
    sender, code = offer(here)
    number = code["code"].split("-")[0]
    impostor.impersonate(number)
    lost = there.receive(code["code"])
    assert lost.end() == ExitCode.USAGE
    error = lost.event("error")
    assert error["message"] == f"2 machines on this network offer {number}"
    listed = {f"{number}-…@192.168.77.{host}:8765" for host in (1, 2)}
    assert listed <= set(error["hint"].split("\n"))
    assert code["code"].partition("-")[2] not in str(error)
    receiver = there.receive(f"{code['code']}@{here.address}", "-o", there.there)
    assert (sender.end(), receiver.end()) == (0, 0), sender.err + receiver.err
    assert sender.events("burnt") == []
    assert there.received("host1.bin") == here.file.read_bytes()


def test_a_spoofed_announcement_gets_one_guess(lan):
    """An impostor that alone is heard is a hostile rendezvous: a wrong guess, and that is all."""
    here, impostor, there = lan(3)
    here.deafen()
    sender, code = offer(here)
    said = impostor.impersonate(code["code"].split("-")[0])
    fooled = there.receive(code["code"], "-o", there.there)
    assert fooled.end() == ExitCode.WRONG_CODE
    assert os.listdir(there.there) == []
    receiver = there.receive(code["located"][0], "-o", there.there)
    assert (sender.end(), receiver.end()) == (0, 0), sender.err + receiver.err
    impostor.close()
    assert said.everything().count(b"guessed\n") == 1


def test_people_are_told_that_only_this_network_is_reached(lan):
    """What the screen says on the sending side, and what to type elsewhere."""
    here, there = lan(2)
    sender = here.run("send", here.file)
    sender.error_line(b"Only machines on this network can use it")
    longer = sender.error_line(b"@192.168.77.1:8765").decode().split()[-1]
    sender.error_line(b"p2pxfer send --rendezvous URL")
    receiver = there.receive(longer, "-o", there.there)
    assert (sender.end(), receiver.end()) == (0, 0), sender.err + receiver.err
