"""Peer programs joined by a wire: starts them, carries their signals, waits for what they tell.

README.md beside this file has the protocol they all speak. Nothing here knows a WebRTC stack.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PATIENCE = 120.0  # seconds until a program that says nothing is called hung

PYTHON = (sys.executable, "-m")
PROGRAMS: dict[str, tuple[str, ...]] = {
    "p2pxfer": (*PYTHON, "tests.interop.peer_p2pxfer"),
    "aiortc": (*PYTHON, "tests.interop.peer_aiortc"),
    "aiortc-uvloop": (*PYTHON, "tests.interop.peer_aiortc", "--uvloop"),
    "chromium": (*PYTHON, "tests.interop.peer_chromium"),
    "libdatachannel": ("node", str(HERE / "peer_libdatachannel.mjs")),
    "werift": ("node", str(HERE / "peer_werift.mjs")),
}
# A network of its own: one interface that reaches nobody, with an address that no stack leaves out.
NETWORK = (
    "link set lo up",
    "link add here type veth peer name there",
    "addr add 10.77.0.1/24 dev here",
    "link set here up",
    "link set there up",
    "route add 8.8.8.8 dev here",  # Chromium uses the address it would go there from
)
NETWORK_COMMAND = " && ".join(f"ip {command}" for command in NETWORK)


class Program:
    """A running peer program: ``say`` to it, and wait for an ``event`` of it."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.other: Program | None = None
        self.signals: list[dict] = []  # all that it signalled
        self._events: list[dict] = []
        self._told = asyncio.Event()
        self._ended = False
        self._reading = asyncio.create_task(self._read())

    def say(self, command: dict) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self.process.stdin.write(json.dumps(command).encode() + b"\n")

    def do(self, command: str, **options: object) -> None:
        self.say({"do": command, **options})

    async def event(self, kind: str, patience: float = PATIENCE, **wanted: object) -> dict:
        """The next event of a kind, with the values that are wanted; others wait for their turn."""
        try:
            async with asyncio.timeout(patience):
                while True:
                    for event in self._events:
                        if event["event"] == kind and wanted.items() <= event.items():
                            self._events.remove(event)
                            return event
                    self._check_for_errors(kind)
                    assert not self._ended, (
                        f"{self.name} ended ({await self.process.wait()}) before it told {kind!r}"
                    )
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            message = f"{self.name} did not tell {kind!r} in {patience:g} s, but {self._events}"
            raise AssertionError(message) from None

    def told(self, kind: str) -> list[dict]:
        """The events of a kind that nobody waited for yet."""
        return [event for event in self._events if event["event"] == kind]

    def _check_for_errors(self, kind: str) -> None:
        for event in self._events:
            if event["event"] == "failed" and kind == "open":
                raise AssertionError(f"{self.name}: {event}")
            if event["event"] == "error":
                raise AssertionError(f"{self.name}: {event['error']}")

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            told = json.loads(line)
            if "kind" in told:
                self.signals.append(told)
                if self.other is not None:
                    self.other.say(told)
            else:
                self._events.append(told)
            self._told.set()
        self._ended = True
        self._told.set()

    async def end(self) -> None:
        """Have it stop in good order; kill it if it will not."""
        self.do("quit")
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 30)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        self._reading.cancel()


@asynccontextmanager
async def running(
    *names: str,
    environment: dict[str, str] | None = None,
    hosts: Sequence[Sequence[str]] | None = None,
) -> AsyncIterator[list[Program]]:
    """Programs that run; p2pxfer must end without a word on its stderr.

    Args:
        names: of `PROGRAMS`.
        environment: theirs, if not ours.
        hosts: the words that put a command where each shall run; one network for all else.
    """
    programs: list[Program] = []
    async with contextlib.AsyncExitStack() as stack:
        if hosts is None:
            room = await _room(stack)
            hosts = [("nsenter", f"--net=/proc/{room.pid}/ns/net")] * len(names)
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for number, (name, host) in enumerate(zip(names, hosts, strict=True)):
            with (place / str(number)).open("wb") as errors:
                process = await asyncio.create_subprocess_exec(
                    *host,
                    *PROGRAMS[name],
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=errors,
                    cwd=ROOT,
                    env=environment,
                    limit=1 << 20,
                )
            programs.append(Program(name, process))

        def complaint(number: int) -> str:
            return (place / str(number)).read_text(errors="replace")[-8000:]

        try:
            yield programs
        except BaseException as error:
            for number, program in enumerate(programs):
                error.add_note(f"{program.name} told {program.signals + program._events}")
                error.add_note(f"{program.name} complained: {complaint(number)}")
            raise
        finally:
            await asyncio.gather(*(program.end() for program in programs))
        for number, program in enumerate(programs):
            if program.name == "p2pxfer" and program.process.returncode != -signal.SIGKILL:
                assert complaint(number) == ""
                assert program.process.returncode == 0


async def _room(stack: contextlib.AsyncExitStack) -> asyncio.subprocess.Process:
    """A process that keeps a network namespace."""
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--net", "sh", "-c", f"{NETWORK_COMMAND} && echo up && exec cat"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )

    async def leave() -> None:
        process.stdin.close()
        await process.wait()

    stack.push_async_callback(leave)
    assert await process.stdout.readline() == b"up\n"
    return process


async def join(
    offerer: Program, answerer: Program, channel: dict | None = None, *, tap: bool = False
) -> tuple[dict, dict]:
    """Carry the signals of two programs to one another until their channel is open.

    Returns:
        What each of them tells of the channel.
    """
    start(offerer, answerer, channel, tap=tap)
    opened = await asyncio.gather(offerer.event("open"), answerer.event("open"))
    return opened[0], opened[1]


def start(
    offerer: Program, answerer: Program, channel: dict | None = None, *, tap: bool = False
) -> None:
    """Have two programs connect, the offerer with a channel of its own shape if one is given."""
    offerer.other, answerer.other = answerer, offerer
    options = {} if channel is None else {"channel": channel}
    answerer.do("start", offerer=False, tap=tap)
    offerer.do("start", offerer=True, tap=tap, **options)


async def carry(sender: Program, receiver: Program, **what: object) -> dict:
    """Send, and prove that what arrives is what was sent.

    Returns:
        What the receiver reports.
    """
    receiver.do("expect", count=what["count"])
    sender.do("send", **what)
    sent, received = await asyncio.gather(sender.event("sent"), receiver.event("received"))
    same = ("count", "bytes", "sha256")
    assert {k: sent[k] for k in same} == {k: received[k] for k in same}
    return received
