"""What scripts/kills runs: transfers whose sides are killed at random moments, and started again.

Real commands on loopback. A killed receiver is started again with its code; for a killed sender
both commands are given again, under the code that it draws then. What arrived is compared, and what
travelled is counted by the side that lived.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from soaking.commands import COMMAND, PATIENCE, Run

LARGE = 280 * 10**6  # bytes of the largest file
SMALL = 500  # files of 40,000 bytes beside it
SPEED = "40M"  # bytes a second, so that a transfer takes a while
LATEST = 5.0  # seconds between a connection and a kill
SHARE = 0.05  # of the whole that a kill may cost
ANSWERING = 5.0  # seconds until somebody who was told no tries again
UNCONNECTED = 0.2  # of the kills come while the two sides look for each other


@dataclass
class Count:
    """What all of it came to."""

    size: int
    transfers: int = 0
    senders: int = 0
    receivers: int = 0
    again: int = 0  # commands that ended by themselves, and were given again
    twice: list[int] = field(default_factory=list)  # bytes, for each transfer with a kill
    kills_each: list[int] = field(default_factory=list)
    wrong: int = 0
    left: int = 0

    @property
    def kills(self) -> int:
        return self.senders + self.receivers

    def shares(self) -> list[float]:
        """What each kill cost, of the whole, on average of its transfer."""
        return [
            twice / kills / self.size
            for twice, kills in zip(self.twice, self.kills_each, strict=True)
        ]

    def lines(self) -> Iterator[str]:
        share = sum(self.twice) / self.size / max(self.kills, 1)
        worst = max(self.shares(), default=0.0)
        yield f"transfers of {self.size / 1e6:.0f} MB      {self.transfers}"
        yield f"senders killed           {self.senders}"
        yield f"receivers killed         {self.receivers}"
        yield f"commands given once more {self.again}"
        yield f"sent twice in all        {sum(self.twice) / 1e6:.1f} MB"
        yield f"sent twice for a kill    {100 * share:.2f} %"
        yield f"  in the worst transfer  {100 * worst:.2f} %"
        yield f"wrong files              {self.wrong}"
        yield f"temporaries left         {self.left}"


class Transfer:
    """One transfer with its kills."""

    def __init__(self, arguments: argparse.Namespace, work: Path, dice: random.Random) -> None:
        self._dice = dice
        self._work = work
        self._out = work / "received"
        self._rendezvous = arguments.rendezvous
        self._env = {
            **os.environ,
            "HOME": str(work / "home"),
            "P2PXFER_RENDEZVOUS": self._rendezvous,
        }
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            self._env.pop(name, None)
        self._sender: Run | None = None
        self._receiver: Run | None = None
        self._served = 0  # bytes that dead senders sent
        self._code = ""

    def carry_out(self, kills: int, count: Count) -> None:
        """Transfer it, with at most so many kills."""
        done = 0
        while True:
            self._start()
            moment = None
            if done < kills:
                moment = self._moment()
            if not self._go_on(moment):
                break
            if moment is None or not self._both_alive():
                count.again += 1
                self._give_up_dead()
                continue
            done += 1
            if self._dice.random() < 0.5:
                count.senders += 1
                self._kill_sender()
            else:
                count.receivers += 1
                self._kill_receiver()
        count.transfers += 1
        assert self._sender is not None
        moved = self._served + self._sender.told("done")[0]["moved"]
        if done:
            count.twice.append(moved - count.size)
            count.kills_each.append(done)

    def close(self) -> None:
        for run in (self._sender, self._receiver):
            if run is not None:
                run.end(signal.SIGKILL)

    def _start(self) -> None:
        log = self._work / "errors"
        if self._sender is None:
            folder = str(self._work / "sent")
            self._sender = Run(["send", "--json", "--limit", SPEED, folder], env=self._env, log=log)
            sender = self._sender
            self._until(lambda: sender.told("code") or sender.ended)
        self._code = self._sender.told("code")[-1]["code"]
        if self._receiver is None:
            env = {**self._env, "P2PXFER_CODE": self._code}
            words = ["receive", "--json", "--yes", "--output", str(self._out)]
            self._receiver = Run(words, env=env, log=log)

    def _moment(self) -> Callable[[], bool]:
        """When to kill: a while after the connection, or while there is none."""
        began = time.monotonic()
        since = None
        after = self._dice.uniform(0, LATEST)
        early = self._dice.random() < UNCONNECTED
        receiver = self._receiver
        assert receiver is not None

        def come() -> bool:
            nonlocal since
            now = time.monotonic()
            if early:
                return now > began + after / 2
            if since is None and receiver.told("progress"):
                since = now
            return since is not None and now > since + after

        return come

    def _go_on(self, moment: Callable[[], bool] | None) -> bool:
        """Until the moment, or an end; False: it is all done."""
        assert self._sender is not None
        assert self._receiver is not None
        sender, receiver = self._sender, self._receiver
        self._until(lambda: sender.ended or receiver.ended or (moment is not None and moment()))
        if not (sender.told("done") or receiver.told("done")):
            return True
        for run in (receiver, sender):
            run.join()
        return (sender.process.returncode, receiver.process.returncode) != (0, 0)

    def _both_alive(self) -> bool:
        assert self._sender is not None
        assert self._receiver is not None
        return not (self._sender.ended or self._receiver.ended)

    def _give_up_dead(self) -> None:
        """One has ended by itself: somebody gives its command again, and the other's if need be."""
        assert self._sender is not None
        assert self._receiver is not None
        print(
            "  ended by itself:",
            *(
                f"{name} {run.process.returncode} {run.told('error')[-1:]}"
                for name, run in (("sender", self._sender), ("receiver", self._receiver))
                if run.ended
            ),
            flush=True,
        )
        if self._sender.ended:
            self._kill_sender()
        else:
            self._kill_receiver()
            time.sleep(ANSWERING)

    def _kill_receiver(self) -> None:
        assert self._receiver is not None
        self._receiver.end(signal.SIGKILL)
        self._receiver = None

    def _kill_sender(self) -> None:
        assert self._sender is not None
        assert self._receiver is not None
        self._sender.end(signal.SIGKILL)
        self._receiver.end(signal.SIGTERM)
        self._served += travelled(self._sender, self._receiver)
        self._sender = self._receiver = None

    def _until(self, come: Callable[[], object]) -> None:
        deadline, told = time.monotonic() + PATIENCE, 0
        while not come():
            more = sum(len(run.events) for run in (self._sender, self._receiver) if run is not None)
            if more != told:
                deadline, told = time.monotonic() + PATIENCE, more
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing happens any more: {self.story()}")
            time.sleep(0.005)

    def story(self) -> str:
        """The last events of both sides."""
        runs = (self._sender, self._receiver)
        return "\n".join(str(run.events[-5:]) for run in runs if run is not None)


def travelled(sender: Run, receiver: Run) -> int:
    """Bytes of a dead sender: what it told of earlier receivers, and what the last one had."""
    if sender.told("done") or sender.told("error"):
        return max((event["moved"] for event in sender.events if "moved" in event), default=0)
    events = sender.events
    begun = max((at for at, event in enumerate(events) if event["event"] == "restarted"), default=0)
    before = [event["moved"] for event in events[:begun] if event["event"] == "progress"][-1:]
    last = [event["moved"] for event in receiver.told("progress")][-1:]
    if not last:  # that receiver never had any: what this sender told is about an earlier one
        before = [event["moved"] for event in sender.told("progress")][-1:]
    return sum(before) + sum(last)


def generate(folder: Path, size: int) -> int:
    """A large file and many small ones; returns their bytes."""
    folder.mkdir()
    left, step = size, 10**6
    with (folder / "large").open("wb") as large:
        while left > 0:
            large.write(os.urandom(min(step, left)))
            left -= step
    (folder / "small").mkdir()
    for number in range(SMALL):
        (folder / "small" / f"{number:03}").write_bytes(os.urandom(40_000))
    return size + SMALL * 40_000


def content(folder: Path) -> dict[str, str]:
    """Digests by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "blake2b").hexdigest()
            found[str(path.relative_to(folder))] = digest
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/kills", description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the moments and sides")
    parser.add_argument("--count", type=int, default=20, help="kills in all")
    parser.add_argument("--each", type=int, default=4, help="kills in a transfer, at most")
    arguments = parser.parse_args()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))  # with the counts so far
    began = time.monotonic()
    dice = random.Random(arguments.seed)  # noqa: S311  # to be repeated, not to be secret
    with tempfile.TemporaryDirectory(prefix="p2pxfer-kills-") as directory:
        work = Path(directory)
        count = Count(generate(work / "sent", LARGE))
        sent = content(work / "sent")
        server = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True
        )
        assert server.stderr is not None
        arguments.rendezvous = next(line.split()[-1] for line in server.stderr if "-r http" in line)
        threading.Thread(target=server.stderr.read, daemon=True).start()
        try:
            while count.kills < arguments.count:
                transfer = Transfer(arguments, work, dice)
                try:
                    transfer.carry_out(min(arguments.each, arguments.count - count.kills), count)
                finally:
                    transfer.close()
                judge(work, sent, count)
                print(f"{count.kills} kills, {sum(count.twice) / 1e6:.1f} MB twice", flush=True)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
            print(f"seed {arguments.seed}, {(time.monotonic() - began) / 60:.0f} minutes")
            print(*count.lines(), sep="\n")
    bad = count.wrong or count.left or max(count.shares(), default=0) > SHARE
    return 1 if bad else 0


def judge(work: Path, sent: dict[str, str], count: Count) -> None:
    """Compare what arrived, look for what should be gone, and remove it."""
    arrived = content(work / "received" / "sent")
    strays = [name for name in arrived if ".p2pxfer-" in name]
    journals = [*(work / "home").rglob("*.journal"), *(work / "home").rglob("*.sending")]
    count.left += len(strays) + len(journals)
    names = (sent.keys() | arrived.keys()) - set(strays)
    count.wrong += sum(sent.get(name) != arrived.get(name) for name in names)
    subprocess.run(["rm", "-rf", work / "received"], check=True)


if __name__ == "__main__":
    sys.exit(main())
