"""The real commands as processes, with and without a terminal, where loopback is the only network.

Nothing here waits by sleeping: a test follows a command's own events, its screen or its end.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from tests.terminal import Terminal

PATIENCE = 240.0  # seconds until something that does not come fails the test
COMMAND = (sys.executable, "-m", "p2pxfer")
ROOT = Path(__file__).parents[2]

Event = dict[str, Any]
Listing = dict[bytes, tuple[object, ...]]


def leads_elsewhere() -> bool:
    """Whether this process has a way to other machines. Connecting UDP sends nothing."""
    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((address, 9))
            except OSError:
                continue
            return True
    return False


@pytest.fixture(scope="session")
def isolation() -> Iterator[tuple[str, ...]]:
    """The words before a command that put it where loopback is the only network."""
    if not sys.platform.startswith("linux") or not leads_elsewhere():
        yield ()
        return
    if os.geteuid() != 0:
        pytest.exit("run this with scripts/test, which makes a network namespace", 2)
    room = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with room:
        assert room.stdin is not None
        assert room.stdout is not None
        assert room.stdout.readline() == b"up\n"
        yield ("nsenter", f"--net=/proc/{room.pid}/ns/net")


class Pipe:
    """What comes out of a pipe, kept, and a way to wait for more of it."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._lines: list[bytes] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def line(self, wanted: Callable[[bytes], bool]) -> bytes:
        """The first line that is wanted, as soon as it is there."""
        at = 0
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while True:
                while at < len(self._lines):
                    at += 1
                    if wanted(self._lines[at - 1]):
                        return self._lines[at - 1]
                left = deadline - time.monotonic()
                assert not self._ended, f"it ended before that line came: {self._shown}"
                assert self._news.wait(left), f"that line never came: {self._shown}"

    def everything(self) -> bytes:
        """All of it, once it has ended."""
        self._reader.join(PATIENCE)
        assert self._ended, f"it is still open: {self._shown}"
        return b"".join(self._lines)

    @property
    def _shown(self) -> str:
        return b"".join(self._lines[-20:]).decode(errors="replace")

    def _read(self) -> None:
        for line in self._source:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


class Command:
    """A command that runs without a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], *, read_output: bool, told: str) -> None:
        self.process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self._err = Pipe(process.stderr)
        self._out = Pipe(process.stdout) if read_output else None
        self._told = self._err if told == "err" else self._out

    def event(self, name: str, wanted: Callable[[Event], bool] = lambda _: True) -> Event:
        """The first event of that name that is wanted, as soon as it is told."""
        assert self._told is not None

        def match(line: bytes) -> bool:
            event = json.loads(line)
            return event["event"] == name and wanted(event)

        return json.loads(self._told.line(match))

    def events(self, name: str | None = None) -> list[Event]:
        """All events, or all of one name, once the command has ended."""
        assert self._told is not None
        found = [json.loads(line) for line in self._told.everything().splitlines()]
        return [event for event in found if name in {None, event["event"]}]

    def skipped(self) -> dict[str, str]:
        """What was told not to have arrived, and why."""
        return {event["path"]: event["reason"] for event in self.events("skipped")}

    def error_line(self, wanted: bytes) -> bytes:
        """The first line on standard error with ``wanted`` in it."""
        return self._err.line(lambda line: wanted in line)

    @property
    def out(self) -> bytes:
        """Standard output, once the command has ended."""
        assert self._out is not None
        return self._out.everything()

    @property
    def err(self) -> str:
        """Standard error, once the command has ended."""
        return self._err.everything().decode()

    def end(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self.process.kill()
        self.process.wait(PATIENCE)


class Watched(Terminal):
    """A command in a terminal of its own."""

    def until(self, wanted: str) -> str:
        """Watch until the screen shows ``wanted``, a regular expression; returns what it found."""
        self.wait(lambda: re.search(wanted, self.text), repr(wanted))
        found = re.search(wanted, self.text)
        assert found is not None
        return found.group(found.lastindex or 0)


class Machine:
    """Where commands run: a home of their own, loopback, and a rendezvous that they know.

    Attributes:
        path: the folder that commands start in.
        there: an empty folder below it to receive into.
        env: what they find in their environment.
    """

    def __init__(self, path: Path, isolation: tuple[str, ...]) -> None:
        self.path = path
        self.there = path / "there"
        self.there.mkdir()
        self.isolation = isolation
        home = path / ".home"
        home.mkdir()
        commands = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
        self.env = {"PATH": commands, "HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "xterm"}
        self._commands: list[Command] = []
        self._terminals: list[Watched] = []

    def run(
        self,
        *words: str | bytes | Path,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        env: dict[str, str] | None = None,
        before: Sequence[str] = (),
        program: Sequence[str] = COMMAND,
        read_output: bool = True,
        told: str = "out",
    ) -> Command:
        """Start a command, ``p2pxfer`` by default.

        Args:
            words: the command line.
            stdin: for the command.
            env: what it finds in its environment beside the usual.
            before: words before the program, such as ``setpriv``.
            program: another than p2pxfer.
            read_output: take what comes from standard output; else the test does.
            told: where events come out, ``out`` or ``err``.
        """
        process = subprocess.Popen(
            [*self.isolation, *before, *program, *words],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env | (env or {}),
            cwd=self.path,
        )
        self._commands.append(Command(process, read_output=read_output, told=told))
        return self._commands[-1]

    def send(self, *words: str | bytes | Path, **options: Any) -> Command:
        """Start ``p2pxfer send --json``."""
        return self.run("send", "--json", *words, **options)

    def receive(self, code: str, *words: str | bytes | Path, **options: Any) -> Command:
        """Start ``p2pxfer receive --json --yes`` with that code."""
        options["env"] = {"P2PXFER_CODE": code} | options.get("env", {})
        return self.run("receive", "--json", "--yes", *words, **options)

    def transfer(
        self, sent: Sequence[str | bytes | Path], *received: str | bytes | Path, **options: Any
    ) -> tuple[Command, Command]:
        """Send and receive to the end: both commands, ended."""
        sender = self.send(*sent, **options)
        receiver = self.receive(sender.event("code")["code"], *received)
        receiver.end()
        sender.end()
        return sender, receiver

    def terminal(self, *words: str, env: dict[str, str] | None = None) -> Watched:
        """Start ``p2pxfer`` in a pseudo-terminal."""
        words = (*self.isolation, *COMMAND, *words)
        env = self.env | (env or {})
        self._terminals.append(Watched(words, env=env, patience=PATIENCE, cwd=self.path))
        return self._terminals[-1]

    def close(self) -> None:
        """End what still runs."""
        for command in self._commands:
            if command.process.poll() is None:
                command.kill()
            if command.process.stdin is not None:
                command.process.stdin.close()
        for terminal in self._terminals:
            terminal.process.close(force=True)


@pytest.fixture(scope="module")
def rendezvous(
    isolation: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a ``p2pxfer serve``; one a module, since it limits how many rooms one asks for."""
    machine = Machine(tmp_path_factory.mktemp("rendezvous"), isolation)
    server = machine.run("serve", "--port", "0")
    url = server.error_line(b"-r http").decode().split()[-1]
    yield url
    server.interrupt()
    assert server.end() == 0, server.err
    machine.close()


@pytest.fixture
def machine(tmp_path: Path, isolation: tuple[str, ...], rendezvous: str) -> Iterator[Machine]:
    """A place to run commands that know the rendezvous."""
    machine = Machine(tmp_path, isolation)
    machine.env["P2PXFER_RENDEZVOUS"] = rendezvous
    yield machine
    machine.close()


@pytest.fixture
def listed() -> Callable[[Path], Listing]:
    """What makes two trees equal: kinds, modes, times in nanoseconds, content, targets."""

    def listed(folder: Path) -> Listing:
        top = os.fsencode(folder)
        found: Listing = {b".": facts(top)}
        for directory, folders, files in os.walk(top):
            for name in folders + files:
                path = os.path.join(directory, name)
                found[os.path.relpath(path, top)] = facts(path)
        return found

    return listed


def facts(path: bytes) -> tuple[object, ...]:
    """What makes two entries equal."""
    status = os.lstat(path)
    mode, mtime = stat.S_IMODE(status.st_mode), status.st_mtime_ns
    if stat.S_ISLNK(status.st_mode):
        return "symlink", os.readlink(path), mtime
    if stat.S_ISDIR(status.st_mode):
        return "directory", mode, mtime
    with open(path, "rb") as content:
        digest = hashlib.file_digest(content, "blake2b").hexdigest()
    return "file", mode, mtime, status.st_size, digest
