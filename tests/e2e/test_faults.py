"""What machines, networks and people do to a transfer: it goes on, or ends with a word and a code.

Nothing hangs without a word, nothing wrong has its name, and the same commands finish it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pxfer.files.framing import decoded, encoded
from tests.e2e.conftest import Command, Machine
from tests.e2e.disks import MEBIBYTE
from tests.e2e.hosts import Host, network

SIZE = 16 * MEBIBYTE
PART = SIZE // 4  # bytes after which something happens
SLOWLY = "4M"  # bytes a second
CUT = 2.0  # seconds
PORT, TURN_PORT = "8765", "3478"
CORRUPTING = (sys.executable, str(Path(__file__).with_name("corrupting.py")))
BUSY = "while True: pass"
DEAF = (  # a name server that is there and answers nothing
    "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
    " s.bind(('127.0.0.1', 53)); print(flush=True); input()"
)
RESOLV = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
LISTENS = """
import socket, sys, time
while True:
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()
        break
    except OSError:
        time.sleep(0.05)
"""


@pytest.fixture
def data(machine: Machine) -> Path:
    """A file to send."""
    path = machine.path / "data"
    path.write_bytes(os.urandom(SIZE))
    return path


def begin(machine: Machine, data: Path, *words: str, **options) -> tuple[Command, Command]:
    """Both commands, once a part has arrived."""
    sender = machine.send(data, "--limit", SLOWLY, **options)
    receiver = machine.receive(sender.event("code")["code"], "-o", "there", *words, **options)
    receiver.event("progress", lambda event: event["bytes"] >= PART)
    return sender, receiver


def done(machine: Machine, data: Path, sender: Command, receiver: Command) -> int:
    """Both ended well, and all is right, with nothing beside it; returns what travelled."""
    assert (sender.end(), receiver.end()) == (0, 0), sender.out + receiver.out
    assert (machine.there / data.name).read_bytes() == data.read_bytes()
    assert os.listdir(machine.there) == [data.name]
    home = Path(machine.env["HOME"])
    assert [*home.rglob("*.journal"), *home.rglob("*.sending")] == []
    return sender.events("done")[0]["moved"]


def reconnected(side: Command) -> list[str]:
    return [event["what"] for event in side.events("reconnecting")]


@contextmanager
def beside(count: int, *command: str) -> Iterator[None]:
    """Programs that run meanwhile."""
    running = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Callable[..., list[Host]]]:
    """Makes a network of some hosts, see `network`."""
    with network(tmp_path) as make:
        yield make


def test_a_side_that_is_stopped(machine, data):
    """As by Ctrl-Z, or a lid: the other one tells so, waits, and goes on from where it was."""
    other = machine.path / "other"
    other.write_bytes(os.urandom(SIZE))
    machine.there.joinpath("b").mkdir()
    sender, receiver = begin(machine, data)
    sender.process.send_signal(signal.SIGSTOP)
    streamer = machine.send(other, "--limit", SLOWLY)
    taker = machine.receive(streamer.event("code")["code"], "-o", "there/b")
    taker.event("progress", lambda event: event["bytes"] >= PART)
    taker.process.send_signal(signal.SIGSTOP)
    for waiting in (receiver, streamer):
        waiting.event("stalled")
        waiting.event("reconnecting", lambda event: event["what"] == "peer")
    for stopped in (sender, taker):
        stopped.process.send_signal(signal.SIGCONT)
    assert (streamer.end(), taker.end()) == (0, 0), streamer.out + taker.out
    assert taker.events("done")[0]["moved"] == SIZE
    assert (machine.there / "b/other").read_bytes() == other.read_bytes()
    shutil.rmtree(machine.there / "b")
    assert done(machine, data, sender, receiver) == SIZE


def test_a_machine_that_is_busy(machine, data):
    """Twice as many programs as processors compute beside it: slower, and nothing breaks."""
    with beside(2 * (os.cpu_count() or 1), sys.executable, "-c", BUSY):
        sender, receiver = begin(machine, data)
        assert done(machine, data, sender, receiver) == SIZE


def test_a_machine_with_little_memory(machine, data):
    """200 MB for each side are enough, however much is sent."""
    with data.open("ab") as file:
        for _ in range(8):
            file.write(os.urandom(SIZE))
    before = ("prlimit", "--data=200000000")
    sender = machine.send(data, before=before)
    receiver = machine.receive(sender.event("code")["code"], "-o", "there", before=before)
    assert done(machine, data, sender, receiver) == 9 * SIZE


def test_a_process_with_few_descriptors(machine, listed):
    """A deep tree and hardly a descriptor: it arrives, or what does not is named."""
    folder = machine.path / "tree"
    for number in range(30):
        folder = folder / f"level {number:02}"
    folder.mkdir(parents=True)
    for above in (*folder.parents[:30], folder):
        (above / "file").write_bytes(os.urandom(1000))
    few = ("prlimit", "--nofile=20")
    sender = machine.send("tree", before=few)
    receiver = machine.receive(sender.event("code")["code"], "-o", "there", before=few)
    assert receiver.end() in {8, 9}
    assert sender.end() in {4, 9}
    reasons = [*receiver.skipped().values(), receiver.events("error")[0]["message"]]
    assert any("too many open files" in reason.lower() for reason in reasons)
    sender, receiver = machine.transfer(["tree"], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0), receiver.out
    assert listed(machine.there / "tree") == listed(machine.path / "tree")


def test_the_clock_jumps(machine, data):
    """By a day ahead and then two years back, on both sides: nobody waits, or gives up, by it."""
    program = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if program is None:
        pytest.skip("faketime is not installed")
    clock = machine.path / "clock"
    clock.write_text("+0")
    env = {
        "LD_PRELOAD": str(program),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as the kernel's own does not jump
        "NO_FAKE_STAT": "1",
    }
    sender, receiver = begin(machine, data, env=env)
    clock.write_text("+1d")
    receiver.event("progress", lambda event: event["bytes"] >= 2 * PART)
    clock.write_text("-2y")
    assert done(machine, data, sender, receiver) == SIZE
    assert reconnected(sender) == reconnected(receiver) == []
    times = [event["time"] for event in receiver.events()]
    assert min(times)[:4] != max(times)[:4]  # the clock did jump


@pytest.mark.parametrize("server", ["absent", "silent"])
def test_names_are_not_resolved(machine, data, server):
    """Neither the rendezvous' nor, beside one that is found, a STUN server's."""
    resolv = machine.path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    before = ("unshare", "--mount", "sh", "-c", RESOLV, "sh", str(resolv))
    if server == "silent":
        deaf = machine.run(
            program=(sys.executable, "-c", DEAF), stdin=subprocess.PIPE, read_output=False
        )
        deaf.process.stdout.readline()
    lost = machine.send(data, "-r", "http://rendezvous.invalid:8765", before=before)
    stun = ("--ice-server", "stun:stun.invalid")
    sender = machine.send(data, *stun, before=before)
    receiver = machine.receive(sender.event("code")["code"], "-o", "there", *stun, before=before)
    assert done(machine, data, sender, receiver) == SIZE
    assert lost.end() == 6
    assert "rendezvous.invalid" in lost.events("error")[0]["message"]


def test_a_block_that_was_damaged_after_it_was_hashed(machine, data):
    """Exit 7 where it arrives, no file, and a word to the sender; then it is sent again."""
    sender = machine.send(data, program=CORRUPTING)
    receiver = machine.receive(sender.event("code")["code"], "-o", "there")
    assert (receiver.end(), sender.end()) == (7, 7), sender.out
    assert receiver.events("error")[0]["name"] == "IntegrityError"
    assert os.listdir(machine.there) == []
    assert done(machine, data, *machine.transfer([data], "-o", "there")) == SIZE


@pytest.mark.parametrize("harm", ["cut", "spoilt", "older"])
def test_a_journal_that_is_no_good(machine, data, harm):
    """The receiver was killed, and what it took down is lost: it is sent again, and is right."""
    sender, receiver = begin(machine, data)
    receiver.kill()
    (journal,) = Path(machine.env["HOME"]).rglob("*.journal")
    content = bytearray(journal.read_bytes())
    if harm == "cut":
        del content[-7:]
    elif harm == "spoilt":
        content[len(content) // 2] ^= 1
    else:
        (kind, header), *rest = decoded(bytes(content))
        records = [(kind, bytes([header[0] - 1]) + header[1:]), *rest]  # its version comes first
        content = b"".join(encoded(kind, body) for kind, body in records)
    journal.write_bytes(content)
    sender.interrupt()
    sender.end()
    sender, receiver = machine.transfer([data], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0), receiver.out
    assert (machine.there / data.name).read_bytes() == data.read_bytes()


@pytest.mark.parametrize("harm", ["deleted", "garbage"])
def test_a_folder_whose_journal_is_lost(machine, harm):
    """What is in place counts as done once it was compared; what only has its name is kept."""
    folder = machine.path / "folder"
    (folder / "sub").mkdir(parents=True)
    for number in range(20):
        (folder / "sub" / f"{number:02}").write_bytes(os.urandom(100_000))
    (folder / "sub" / "link").symlink_to("00")
    (folder / "zz").write_bytes(os.urandom(SIZE // 2))
    sender = machine.send(folder, "--limit", SLOWLY)
    receiver = machine.receive(sender.event("code")["code"], "-o", "there")
    receiver.event("progress", lambda event: event["bytes"] >= PART)
    receiver.kill()
    sender.interrupt()
    sender.end()
    placed = {path.name for path in (machine.there / "folder" / "sub").iterdir()}
    assert {"00", "19", "link"} <= placed
    (journal,) = Path(machine.env["HOME"]).rglob("*.journal")
    if harm == "deleted":
        journal.unlink()
    else:
        journal.write_bytes(os.urandom(journal.stat().st_size))
    mine = machine.there / "folder" / "sub" / "07"
    kept = mine.stat()
    mine.write_bytes(changed := os.urandom(100_000))
    os.utime(mine, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    sender, receiver = machine.transfer([folder], "-o", "there")
    assert (sender.end(), receiver.end()) == (9, 9), receiver.out
    for side in (sender, receiver):
        assert [event["path"] for event in side.events("skipped")] == ["folder/sub/07"]
    assert mine.read_bytes() == changed
    mine.unlink()
    sender, receiver = machine.transfer([folder], "-o", "there")
    assert (sender.end(), receiver.end()) == (0, 0), receiver.out
    arrived = machine.there / "folder"
    for path in folder.rglob("*"):
        there = arrived / path.relative_to(folder)
        assert there.is_symlink() == path.is_symlink()
        if path.is_file():
            assert there.read_bytes() == path.read_bytes()


def test_nobody_reads_and_nobody_writes(machine):
    """A pipe at either end stands still: both sides say which, and go on when it does."""
    sender = machine.send("-", stdin=subprocess.PIPE)
    code = sender.event("code")["code"]
    receiver = machine.receive(code, "-o", "-", read_output=False, told="err")
    content = os.urandom(4 * MEBIBYTE)
    source, sink = sender.process.stdin, receiver.process.stdout
    source.write(content[:MEBIBYTE])
    source.flush()
    arrived = sink.read(MEBIBYTE)
    assert "reading" in receiver.event("stalled")["cause"]
    source.write(content[MEBIBYTE:])
    source.close()
    assert "writing" in sender.event("stalled", lambda event: "writing" in event["cause"])["cause"]
    while some := sink.read(MEBIBYTE):
        arrived += some
    assert (sender.end(), receiver.end()) == (0, 0), sender.out
    assert arrived == content


def test_two_receivers_with_one_code(machine, data):
    """The first has it; the second is told so, and disturbs nobody."""
    sender, receiver = begin(machine, data)
    late = machine.receive(sender.event("code")["code"], "-o", "late")
    assert late.end() == 6
    assert late.events("error")[0]["message"]
    assert done(machine, data, sender, receiver) == SIZE


def test_two_senders_with_one_code(machine, data):
    """One at least is refused, and nobody waits longer than asked to."""
    code = machine.path / "code"
    code.write_text("mb9TOwUqYTbJ0FuIQJUbRrkh0yyVYhBiX1ZlcEYx\n")
    words = ("--code-file", code, "--wait", "10s")
    senders = [machine.send(data, *words), machine.send(data, *words)]
    ends = sorted(sender.end() for sender in senders)
    assert ends[0] == 3
    assert ends[1] in {3, 4}  # one may find itself alone, and wait for a receiver
    for sender in senders:
        (error,) = sender.events("error")
        if sender.end() == 3:
            assert "both sides are sending" in error["message"] or "compared" in error["message"]
            assert "one of the two should run" in error["hint"]
        else:
            assert error["hint"]


def test_a_turn_server_that_dies(lan):
    """Killed under a transfer that goes through it, and started again: the transfer goes on."""
    server, here, there = lan(3)
    rendezvous = server.run("serve", "--host", server.address, "--port", PORT)
    rendezvous.error_line(b"-r http")
    for host in (here, there):
        host.env["P2PXFER_RENDEZVOUS"] = f"http://{server.address}:{PORT}"
        host.env["P2PXFER_ICE_CREDENTIALS"] = "alice:s3cret"
    turn = start_turn(server)
    here.file.write_bytes(content := os.urandom(SIZE))
    relayed = ("--relay-only", "--ice-server", f"turn:{server.address}:{TURN_PORT}")
    sender = here.send(here.file, "--limit", SLOWLY, *relayed)
    receiver = there.receive(sender.event("code")["code"], "-o", there.there, *relayed)
    receiver.event("progress", lambda event: event["bytes"] >= PART)
    turn.kill()
    for side in (sender, receiver):
        side.event("reconnecting", lambda event: event["what"] == "peer")
    start_turn(server)
    assert (sender.end(), receiver.end()) == (0, 0), sender.out + receiver.out
    assert sender.events("done")[0]["moved"] == SIZE
    assert {event["path"] for event in sender.events("connected")} == {"relay"}
    assert there.received(here.file.name) == content


def test_a_short_cut_without_a_rendezvous(lan):
    """It is gone once the two are connected, and the cable is out for two seconds: no matter."""
    server, here, there = lan(3)
    rendezvous = server.run("serve", "--host", server.address, "--port", PORT)
    rendezvous.error_line(b"-r http")
    for host in (here, there):
        host.env["P2PXFER_RENDEZVOUS"] = f"http://{server.address}:{PORT}"
    here.file.write_bytes(content := os.urandom(SIZE))
    sender = here.send(here.file, "--limit", SLOWLY)
    receiver = there.receive(sender.event("code")["code"], "-o", there.there)
    receiver.event("progress", lambda event: event["bytes"] >= PART)
    rendezvous.kill()
    there.plug(in_=False)
    time.sleep(CUT)
    there.plug(in_=True)
    assert (sender.end(), receiver.end()) == (0, 0), sender.out + receiver.out
    assert reconnected(sender) == reconnected(receiver) == []
    assert sender.events("done")[0]["moved"] == SIZE
    assert there.received(here.file.name) == content


def start_turn(server: Host) -> Command:
    """Run coturn there, for user ``alice``."""
    program = shutil.which("turnserver")
    assert program is not None
    turn = server.run(
        "-n", "--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout", "--realm", "test",
        "--lt-cred-mech", "--user", "alice:s3cret", "--userdb", server.path / "turn.db",
        "--pidfile", server.path / "turn.pid", "-L", server.address, "-p", TURN_PORT,
        "--min-port", "50000", "--max-port", "50099", program=(program,),
    )  # fmt: skip
    listens = server.run(server.address, TURN_PORT, program=(sys.executable, "-c", LISTENS))
    assert listens.end() == 0
    return turn
