"""One transfer of the soak: the commands, its faults as they come, and what a user then types."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from soaking.cargo import TEMPORARY, Cargo
from soaking.commands import PATIENCE, Run, environment
from soaking.place import PASSWORD, TURN_PORT, USER, Place
from soaking.plan import Fault, Plan

RUNS = 12  # times that somebody types the commands
SILENT = 20.0  # seconds without a word, after which it seems to hang
NOTICING = 60.0  # seconds for one side to end after the other
CODES = {0, 4, 5, 6, 9, 130}  # that a command may end with when others fail
DISK_CODES = {8}  # and where its own disk does
PAIRING_CODES = {3}  # and where the other side was killed before it proved to know the code
ENDING_SIGNALS = {signal.SIGKILL, signal.SIGINT, signal.SIGTERM}
DULL = {"file", "skipped", "waiting", "offer"}
STATUS = {"stalled", "reconnecting", "waiting"}  # after one of these silence is explained


class Failed(Exception):
    """The product did what it must not do."""


class Transfer:
    """One transfer, from its plan to the right bytes, or `Failed`.

    Attributes:
        faults: how many of each kind came.
        ends: how commands ended by themselves.
        moved: content bytes that the receivers had.
    """

    def __init__(self, plan: Plan, place: Place, cargo: Cargo) -> None:
        self._plan = plan
        self._place = place
        self._cargo = cargo
        self._sender: Run | None = None
        self._receiver: Run | None = None
        self._faults = list(plan.faults)
        self._broken_disk = False
        self._gone = False
        self._spoilt = False  # a journal: what it told of is nobody's now
        self._again = False  # what this run was about has changed under it
        self.faults: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.moved = 0
        self.runs: list[Run] = []

    def carry_out(self) -> None:
        """Until all is there.

        Raises:
            Failed: a wrong byte, a hang, a wrong exit code, or no end to it.
        """
        for number in range(RUNS):
            if number >= RUNS // 2:
                self._faults.clear()
            self._again = False
            self._start()
            while self._until(self._faults[0] if self._faults else None):
                fault = self._faults.pop(0)
                self.faults[fault.kind] += 1
                FAULTS[fault.kind](self, fault)
                if fault.kind in ENDING:
                    break
            ended_well, again = self._ended_well(), self._again
            if ended_well and not again:
                self._judge()
                return
            self._tidy()
        raise Failed("the same commands again do not finish it")

    def close(self) -> None:
        for run in (self._sender, self._receiver):
            if run is not None:
                run.send_signal(signal.SIGCONT)
                run.end()

    def story(self) -> str:
        """How it went."""
        lines = []
        for run in self.runs[-6:]:
            lines.append(f"  {run.words[0]}: ended {run.process.poll()}, signal {run.signalled}")
            telling = [event for event in run.events if event["event"] not in DULL]
            lines += [f"    {str(event)[:300]}" for event in telling[-4:]]
        return "\n".join(lines)

    # ---- commands

    def _start(self) -> None:
        if self._sender is None:
            self._sender = self._send()
            sender = self._sender
            self._wait(lambda: sender.told("code") or sender.ended)
        if self._receiver is None and not self._sender.ended:
            self._receiver = self._receive(self._sender.told("code")[-1]["code"])

    def _options(self) -> list[str]:
        patience = self._plan.give_up_after
        words = ["--json", "--give-up-after", patience, "-r", self._place.rendezvous]
        if self._plan.relayed:
            server = f"turn:{self._place.far.address}:{TURN_PORT}"
            words += ["--relay-only", "--ice-server", server]
        return words

    def _env(self, side: str, **more: str) -> dict[str, str]:
        home = self._place.work / f"home-{side}"
        home.mkdir(exist_ok=True)
        return environment(home, P2PXFER_ICE_CREDENTIALS=f"{USER}:{PASSWORD}", **more)

    def _run(self, words: list[str], side: str, **options: object) -> Run:
        host = self._place.near if side == "sender" else self._place.far
        log = self._place.work / f"{side}.log"
        run = Run(words, log=log, before=host.inside, **options)
        self.runs.append(run)
        return run

    def _send(self) -> Run:
        words = ["send", *self._options(), "--limit", str(self._plan.limit)]
        env = self._env("sender")
        if self._plan.cargo != "stream":
            return self._run([*words, str(self._cargo.source)], "sender", env=env)
        with self._cargo.source.open("rb") as stdin:
            return self._run([*words, "-"], "sender", env=env, stdin=stdin)

    def _receive(self, code: str) -> Run:
        existing = "fail" if self._plan.cargo in {"file", "folder"} else "update"
        changed = any(fault.kind == "change-source" for fault in self._plan.faults)
        if changed or self._plan.cargo == "update":
            existing = "update"
        words = ["receive", *self._options(), "--yes", "--existing", existing]
        env = self._env("receiver", P2PXFER_CODE=code)
        if self._plan.cargo == "stream" and self._plan.seed % 2:
            with (self._place.there / "stream").open("wb") as out:
                return self._run([*words, "-o", "-"], "receiver", env=env, out=out)
        if self._plan.cargo == "stream":
            words[words.index("update")] = "overwrite"
            return self._run([*words, "-o", str(self._place.there / "stream")], "receiver", env=env)
        return self._run([*words, "-o", str(self._place.there)], "receiver", env=env)

    # ---- waiting

    def _until(self, fault: Fault | None) -> bool:
        """Until the fault is due, or both have ended; whether it is due."""
        began, first = time.monotonic(), None
        sender, receiver = self._sender, self._receiver

        def due() -> bool:
            nonlocal first
            now = time.monotonic()
            if fault is None or sender is None or receiver is None:
                return False
            if fault.early:
                return now > began + fault.after
            if first is None and receiver.told("progress"):
                first = now
            return first is not None and now > first + fault.after

        self._wait(lambda: self._one_ended() or due())
        if not self._one_ended():
            return True
        self._both_end()
        return False

    def _one_ended(self) -> bool:
        return any(run is None or run.ended for run in (self._sender, self._receiver))

    def _both_end(self) -> None:
        """One has ended by itself: the other has to notice."""
        runs = [run for run in (self._sender, self._receiver) if run is not None]
        deadline = time.monotonic() + NOTICING
        while not all(run.ended for run in runs):
            if time.monotonic() > deadline:
                return  # a live sender waits for its receiver, and the other way round
            time.sleep(0.05)

    def _wait(self, come: Callable[[], object]) -> None:
        """Until that, and no longer than something is heard from either side."""
        while not come():
            for run in (self._sender, self._receiver):
                if run is not None and not run.ended:
                    self._expect_words(run)
            time.sleep(0.02)

    def _expect_words(self, run: Run) -> None:
        """A side that hears from the other may be silent for longer: what it sent is on its way."""
        runs = [other for other in (self._sender, self._receiver) if other is not None]
        silence, both = run.silence, min(other.silence for other in runs)
        if run.signalled == signal.SIGSTOP or (both < SILENT and silence < 3 * SILENT):
            return
        last = next((event["event"] for event in reversed(run.events)), None)
        if silence > PATIENCE:
            raise Failed(f"{run.words[0]} hangs")
        if last not in STATUS and last is not None and last != "code":
            raise Failed(f"{run.words[0]} says nothing for {silence:.0f} s, after {last}")

    # ---- after a fault

    def _ended_well(self) -> bool:
        """Whether it is all there: one side has said so, and the other does not deny it."""
        runs = [run for run in (self._sender, self._receiver) if run is not None]
        for run in runs:
            if run.ended or any(event["failed"] == 0 for event in run.told("done")):
                run.join()
        ends = [run.process.poll() for run in runs]
        return (
            len(runs) == 2
            and 0 in ends
            and all(
                end == 0 or (end is not None and run.signalled in ENDING_SIGNALS)
                for end, run in zip(ends, runs, strict=True)
            )
        )

    def _tidy(self) -> None:
        """What ended is judged; what still waits for a dead one goes on waiting, or is ended."""
        sender, receiver = self._sender, self._receiver
        wrong = self._wrong()
        if wrong:
            raise Failed(f"wrong bytes: {wrong}")
        for side, run in (("sender", sender), ("receiver", receiver)):
            if run is not None and run.ended:
                self._judge_end(side, run)
        if receiver is not None and (sender is None or sender.ended):
            receiver.end(signal.SIGTERM)
            self._have(receiver)
            self._sender = self._receiver = None
        elif receiver is None or receiver.ended:
            self._receiver = None
        if self._broken_disk or self._gone:
            self._place.mend()

    def _judge_end(self, side: str, run: Run) -> None:
        run.join()
        code = run.process.returncode
        if side == "receiver":
            self._have(run)
        if run.signalled == signal.SIGKILL and code == -signal.SIGKILL:
            return
        self.ends[f"{side} {code}"] += 1
        if run.signalled in {signal.SIGINT, signal.SIGTERM} and code in {130, 0, 4, 5, 6, 9}:
            return
        allowed = CODES | (DISK_CODES if self._broken_disk else set())
        if self.faults["kill-sender"] + self.faults["kill-both"] and side == "receiver":
            allowed |= PAIRING_CODES
        if code not in allowed:
            raise Failed(f"{side} ended with {code}: {run.told('error')[-1:]}")

    def _have(self, run: Run) -> None:
        self.moved += max((event["moved"] for event in run.told("progress")), default=0)

    def _received(self) -> Path:
        stream = self._plan.cargo == "stream"
        return self._place.there / ("stream" if stream else self._cargo.source.name)

    def _wrong(self) -> list[str]:
        if (
            self._plan.cargo == "stream"
        ):  # what was piped on can't be taken back: only its end counts
            return []
        return self._cargo.wrong(self._received())

    def _judge(self) -> None:
        """It is all done: every byte is right, and nothing is left."""
        for side, run in (("sender", self._sender), ("receiver", self._receiver)):
            self._judge_end(side, run)
        self._place.mend()
        wrong = self._wrong()
        missing = self._cargo.missing(self._received())
        if self._plan.cargo == "stream":
            content = self._received().read_bytes() == self._cargo.source.read_bytes()
            missing = [] if content else ["."]
        left = (
            []
            if self._spoilt
            else [path.name for path in self._place.there.rglob("*") if TEMPORARY in path.name]
        )
        homes = list(self._place.work.glob("home-*"))
        ends = [run.process.returncode for run in (self._sender, self._receiver)]
        if self._spoilt or ends != [0, 0]:  # nobody knows of it, or types that command again
            homes, left = [], []
        left += [p.name for home in homes for p in home.rglob("*.journal")]
        left += [p.name for home in homes for p in home.rglob("*.sending")]
        if wrong or missing or left:
            raise Failed(f"wrong {wrong}, missing {missing}, left {left}")

    # ---- faults

    def kill_sender(self, fault: Fault) -> None:
        self._sender.end()
        if fault.waits:
            self._both_end()

    def kill_receiver(self, fault: Fault) -> None:
        self._receiver.end()
        if fault.waits:
            self._both_end()

    def kill_both(self, fault: Fault) -> None:  # noqa: ARG002
        self._sender.end()
        self._receiver.end()

    def interrupt_sender(self, fault: Fault) -> None:  # noqa: ARG002
        self._sender.send_signal(signal.SIGINT)
        self._both_end()

    def interrupt_receiver(self, fault: Fault) -> None:  # noqa: ARG002
        self._receiver.send_signal(signal.SIGINT)
        self._both_end()

    def stop_sender(self, fault: Fault) -> None:
        self._stop(self._sender, fault)

    def stop_receiver(self, fault: Fault) -> None:
        self._stop(self._receiver, fault)

    def cut(self, fault: Fault) -> None:
        self._place.cut(out=True)
        self._pass(fault.lasts)
        self._place.cut(out=False)

    def rendezvous_restarts(self, fault: Fault) -> None:
        self._place.kill("rendezvous")
        self._pass(fault.lasts)
        self._place.start("rendezvous")

    def turn_restarts(self, fault: Fault) -> None:
        self._place.kill("turn")
        self._pass(fault.lasts)
        self._place.start("turn")

    def rendezvous_gone(self, fault: Fault) -> None:  # noqa: ARG002
        self._place.kill("rendezvous")
        self._gone = True

    def fill_disk(self, fault: Fault) -> None:
        self._broken_disk = True
        self._place.fill()
        self._place.later(fault.lasts, self._place.empty)

    def remove_target(self, fault: Fault) -> None:  # noqa: ARG002
        self._broken_disk = True
        self._again = True
        target = self._received()
        shutil.rmtree(target, ignore_errors=True)
        target.unlink(missing_ok=True)

    def change_source(self, fault: Fault) -> None:
        self._again = True
        self._cargo.change(random.Random(fault.dice))  # noqa: S311

    def spoil_journal(self, fault: Fault) -> None:
        self._receiver.end()
        self._spoilt = True
        self._spoil(self._place.work / "home-receiver", "*.journal", fault)

    def spoil_partial(self, fault: Fault) -> None:
        self._receiver.end()
        self._spoil(self._place.there, f"*{TEMPORARY}*", fault)

    def _stop(self, run: Run, fault: Fault) -> None:
        run.send_signal(signal.SIGSTOP)
        self._pass(fault.lasts)
        run.send_signal(signal.SIGCONT)

    def _pass(self, seconds: float) -> None:
        """Let time go by; silence counts from its end."""
        time.sleep(seconds)
        for run in (self._sender, self._receiver):
            if run is not None:
                run.heard = time.monotonic()

    def _spoil(self, folder: Path, pattern: str, fault: Fault) -> None:
        """Cut or alter what a dead receiver has left."""
        dice = random.Random(fault.dice)  # noqa: S311
        for path in folder.rglob(pattern):
            if not path.is_file():
                continue
            content = bytearray(path.read_bytes())
            if dice.random() < 0.4:
                del content[dice.randint(0, len(content)) :]
            elif content:
                for _ in range(dice.randint(1, 20)):
                    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
            with contextlib.suppress(OSError), path.open("r+b") as file:
                file.write(content)
                file.truncate(len(content))


FAULTS = {
    "kill-sender": Transfer.kill_sender,
    "kill-receiver": Transfer.kill_receiver,
    "kill-both": Transfer.kill_both,
    "interrupt-sender": Transfer.interrupt_sender,
    "interrupt-receiver": Transfer.interrupt_receiver,
    "stop-sender": Transfer.stop_sender,
    "stop-receiver": Transfer.stop_receiver,
    "cut": Transfer.cut,
    "rendezvous-restarts": Transfer.rendezvous_restarts,
    "rendezvous-gone": Transfer.rendezvous_gone,
    "turn-restarts": Transfer.turn_restarts,
    "fill-disk": Transfer.fill_disk,
    "remove-target": Transfer.remove_target,
    "change-source": Transfer.change_source,
    "spoil-journal": Transfer.spoil_journal,
    "spoil-partial": Transfer.spoil_partial,
}
ENDING = {
    "kill-sender", "kill-receiver", "kill-both", "interrupt-sender", "interrupt-receiver",
    "spoil-journal", "spoil-partial",
}  # fmt: skip
