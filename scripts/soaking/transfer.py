"""One transfer of the soak: the commands, its faults as they come, and what a user then types."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from soaking.cargo import TEMPORARY, Cargo
from soaking.commands import PATIENCE, Run, environment
from soaking.faults import ENDING, FAULTS
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
        sender, receiver: the commands under way; None once they are over.
        broken_disk: the receiver's disk was filled, or a folder removed.
        gone: the rendezvous is, until somebody mends it.
        spoilt: a journal was; what it told of is nobody's now.
        again: what this run was about has changed under it: once more, however it ends.
        faults: how many of each kind came.
        ends: how commands ended by themselves.
        moved: content bytes that the receivers had.
    """

    def __init__(self, plan: Plan, place: Place, cargo: Cargo) -> None:
        self.plan = plan
        self.place = place
        self.cargo = cargo
        self.sender: Run | None = None
        self.receiver: Run | None = None
        self._faults = list(plan.faults)
        self.broken_disk = False
        self.gone = False
        self.spoilt = False
        self.again = False
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
            self.again = False
            self._start()
            while self._until(self._faults[0] if self._faults else None):
                fault = self._faults.pop(0)
                self.faults[fault.kind] += 1
                FAULTS[fault.kind](self, fault)
                if fault.kind in ENDING:
                    break
            ended_well, again = self._ended_well(), self.again
            if ended_well and not again:
                self._judge()
                return
            self._tidy()
        raise Failed("the same commands again do not finish it")

    def close(self) -> None:
        for run in (self.sender, self.receiver):
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
        if self.sender is None:
            self.sender = self._send()
            sender = self.sender
            self._wait(lambda: sender.told("code") or sender.ended)
        if self.receiver is None and not self.sender.ended:
            self.receiver = self._receive(self.sender.told("code")[-1]["code"])

    def _options(self) -> list[str]:
        patience = self.plan.give_up_after
        words = ["--json", "--give-up-after", patience, "-r", self.place.rendezvous]
        if self.plan.relayed:
            server = f"turn:{self.place.far.address}:{TURN_PORT}"
            words += ["--relay-only", "--ice-server", server]
        return words

    def _env(self, side: str, **more: str) -> dict[str, str]:
        home = self.place.work / f"home-{side}"
        home.mkdir(exist_ok=True)
        return environment(home, P2PXFER_ICE_CREDENTIALS=f"{USER}:{PASSWORD}", **more)

    def _run(self, words: list[str], side: str, **options: object) -> Run:
        host = self.place.near if side == "sender" else self.place.far
        log = self.place.work / f"{side}.log"
        run = Run(words, log=log, before=host.inside, **options)
        self.runs.append(run)
        return run

    def _send(self) -> Run:
        words = ["send", *self._options(), "--limit", str(self.plan.limit)]
        env = self._env("sender")
        if self.plan.cargo != "stream":
            return self._run([*words, str(self.cargo.source)], "sender", env=env)
        with self.cargo.source.open("rb") as stdin:
            return self._run([*words, "-"], "sender", env=env, stdin=stdin)

    def _receive(self, code: str) -> Run:
        existing = "fail" if self.plan.cargo in {"file", "folder"} else "update"
        changed = any(fault.kind == "change-source" for fault in self.plan.faults)
        if changed or self.plan.cargo == "update":
            existing = "update"
        words = ["receive", *self._options(), "--yes", "--existing", existing]
        env = self._env("receiver", P2PXFER_CODE=code)
        if self.plan.cargo == "stream" and self.plan.seed % 2:
            with (self.place.there / "stream").open("wb") as out:
                return self._run([*words, "-o", "-"], "receiver", env=env, out=out)
        if self.plan.cargo == "stream":
            words[words.index("update")] = "overwrite"
            return self._run([*words, "-o", str(self.place.there / "stream")], "receiver", env=env)
        return self._run([*words, "-o", str(self.place.there)], "receiver", env=env)

    # ---- waiting

    def _until(self, fault: Fault | None) -> bool:
        """Until the fault is due, or both have ended; whether it is due."""
        began, first = time.monotonic(), None
        sender, receiver = self.sender, self.receiver

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
        self.both_end()
        return False

    def _one_ended(self) -> bool:
        return any(run is None or run.ended for run in (self.sender, self.receiver))

    def both_end(self) -> None:
        """One has ended by itself: the other has to notice."""
        runs = [run for run in (self.sender, self.receiver) if run is not None]
        deadline = time.monotonic() + NOTICING
        while not all(run.ended for run in runs):
            if time.monotonic() > deadline:
                return  # a live sender waits for its receiver, and the other way round
            time.sleep(0.05)

    def _wait(self, come: Callable[[], object]) -> None:
        """Until that, and no longer than something is heard from either side."""
        while not come():
            for run in (self.sender, self.receiver):
                if run is not None and not run.ended:
                    self._expect_words(run)
            time.sleep(0.02)

    def _expect_words(self, run: Run) -> None:
        """A side that hears from the other may be silent for longer: what it sent is on its way."""
        runs = [other for other in (self.sender, self.receiver) if other is not None]
        silence, both = run.silence, min(other.silence for other in runs)
        if run.signalled == signal.SIGSTOP or (both < SILENT and silence < 3 * SILENT):
            return
        last = next((event["event"] for event in reversed(run.events)), None)
        if both > PATIENCE:
            raise Failed(f"{run.words[0]} hangs")
        if last not in STATUS and last is not None and last != "code":
            raise Failed(f"{run.words[0]} says nothing for {silence:.0f} s, after {last}")

    # ---- after a fault

    def _ended_well(self) -> bool:
        """Whether it is all there: one side has said so, and the other does not deny it."""
        runs = [run for run in (self.sender, self.receiver) if run is not None]
        for run in runs:
            if run.ended or any(event["failed"] == 0 for event in run.told("done")):
                run.join()
        ends = [run.process.poll() for run in runs]
        if ends == [9, 9] and self.spoilt and self.faults["change-source"]:
            # What the journal told of is there, and nobody's: it is not what is sent any more.
            return not self.cargo.missing(self.received())
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
        sender, receiver = self.sender, self.receiver
        wrong = self._wrong()
        if wrong:
            raise Failed(f"wrong bytes: {wrong}")
        for side, run in (("sender", sender), ("receiver", receiver)):
            if run is not None and run.ended:
                self._judge_end(side, run)
        if receiver is not None and (sender is None or sender.ended):
            receiver.end(signal.SIGTERM)
            self._have(receiver)
            self.sender = self.receiver = None
        elif receiver is None or receiver.ended:
            self.receiver = None
        if self.broken_disk or self.gone:
            self.place.mend()

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
        allowed = CODES | (DISK_CODES if self.broken_disk else set())
        if self.faults["kill-sender"] + self.faults["kill-both"] and side == "receiver":
            allowed |= PAIRING_CODES
        if code not in allowed:
            raise Failed(f"{side} ended with {code}: {run.told('error')[-1:]}")

    def _have(self, run: Run) -> None:
        self.moved += max((event["moved"] for event in run.told("progress")), default=0)

    def received(self) -> Path:
        stream = self.plan.cargo == "stream"
        return self.place.there / ("stream" if stream else self.cargo.source.name)

    def _wrong(self) -> list[str]:
        if (
            self.plan.cargo == "stream"
        ):  # what was piped on can't be taken back: only its end counts
            return []
        return self.cargo.wrong(self.received())

    def _judge(self) -> None:
        """It is all done: every byte is right, and nothing is left."""
        for side, run in (("sender", self.sender), ("receiver", self.receiver)):
            self._judge_end(side, run)
        self.place.mend()
        wrong = self._wrong()
        missing = self.cargo.missing(self.received())
        if self.plan.cargo == "stream":
            content = self.received().read_bytes() == self.cargo.source.read_bytes()
            missing = [] if content else ["."]
        ends = [run.process.returncode for run in (self.sender, self.receiver)]
        left = self._left()
        if self.spoilt or ends != [0, 0]:  # nobody knows of it, or types that command again
            left = []
        elif left and self.plan.cargo == "stream":  # nobody can go on with a stream
            self._run(["clean", "--yes", "--all"], "receiver", env=self._env("receiver")).join()
            left = self._left()
        if wrong or missing or left:
            raise Failed(f"wrong {wrong}, missing {missing}, left {left}")

    def _left(self) -> list[str]:
        """Names of temporaries, and of what either side remembers."""
        work = self.place.work
        there = [path for path in self.place.there.rglob("*") if TEMPORARY in path.name]
        homes = [*work.glob("home-*/**/*.journal"), *work.glob("home-*/**/*.sending")]
        return [path.name for path in (*there, *homes)]
