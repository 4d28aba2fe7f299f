"""The faults of the soak: what each does to a transfer under way."""

# ruff: noqa: ARG001  # all of them are called alike

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from soaking.cargo import TEMPORARY

if TYPE_CHECKING:
    from soaking.commands import Run
    from soaking.plan import Fault
    from soaking.transfer import Transfer


def kill_sender(transfer: Transfer, fault: Fault) -> None:
    transfer.sender.end()
    if fault.waits:
        transfer.both_end()


def kill_receiver(transfer: Transfer, fault: Fault) -> None:
    transfer.receiver.end()
    if fault.waits:
        transfer.both_end()


def kill_both(transfer: Transfer, fault: Fault) -> None:
    transfer.sender.end()
    transfer.receiver.end()


def interrupt_sender(transfer: Transfer, fault: Fault) -> None:
    transfer.sender.send_signal(signal.SIGINT)
    transfer.both_end()


def interrupt_receiver(transfer: Transfer, fault: Fault) -> None:
    transfer.receiver.send_signal(signal.SIGINT)
    transfer.both_end()


def stop_sender(transfer: Transfer, fault: Fault) -> None:
    stop(transfer, transfer.sender, fault)


def stop_receiver(transfer: Transfer, fault: Fault) -> None:
    stop(transfer, transfer.receiver, fault)


def cut(transfer: Transfer, fault: Fault) -> None:
    transfer.place.cut(out=True)
    let_pass(transfer, fault.lasts)
    transfer.place.cut(out=False)


def rendezvous_restarts(transfer: Transfer, fault: Fault) -> None:
    transfer.place.kill("rendezvous")
    let_pass(transfer, fault.lasts)
    transfer.place.start("rendezvous")


def turn_restarts(transfer: Transfer, fault: Fault) -> None:
    transfer.place.kill("turn")
    let_pass(transfer, fault.lasts)
    transfer.place.start("turn")


def rendezvous_gone(transfer: Transfer, fault: Fault) -> None:
    transfer.place.kill("rendezvous")
    transfer.gone = True


def fill_disk(transfer: Transfer, fault: Fault) -> None:
    transfer.broken_disk = True
    transfer.place.fill()
    transfer.place.later(fault.lasts, transfer.place.empty)


def remove_target(transfer: Transfer, fault: Fault) -> None:
    target = transfer.received()
    if not target.exists():
        return
    transfer.broken_disk = transfer.again = True
    shutil.rmtree(target, ignore_errors=True)
    target.unlink(missing_ok=True)


def change_source(transfer: Transfer, fault: Fault) -> None:
    transfer.again = True
    transfer.cargo.change(random.Random(fault.dice))  # noqa: S311


def spoil_journal(transfer: Transfer, fault: Fault) -> None:
    transfer.receiver.end()
    transfer.spoilt = True
    spoil(transfer.place.work / "home-receiver", "*.journal", fault)


def spoil_partial(transfer: Transfer, fault: Fault) -> None:
    transfer.receiver.end()
    spoil(transfer.place.there, f"*{TEMPORARY}*", fault)


def stop(transfer: Transfer, run: Run, fault: Fault) -> None:
    run.send_signal(signal.SIGSTOP)
    let_pass(transfer, fault.lasts)
    run.send_signal(signal.SIGCONT)


def let_pass(transfer: Transfer, seconds: float) -> None:
    """Let time go by; silence counts from its end."""
    time.sleep(seconds)
    for run in (transfer.sender, transfer.receiver):
        if run is not None:
            run.heard = time.monotonic()


def spoil(folder: Path, pattern: str, fault: Fault) -> None:
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
    "kill-sender": kill_sender,
    "kill-receiver": kill_receiver,
    "kill-both": kill_both,
    "interrupt-sender": interrupt_sender,
    "interrupt-receiver": interrupt_receiver,
    "stop-sender": stop_sender,
    "stop-receiver": stop_receiver,
    "cut": cut,
    "rendezvous-restarts": rendezvous_restarts,
    "rendezvous-gone": rendezvous_gone,
    "turn-restarts": turn_restarts,
    "fill-disk": fill_disk,
    "remove-target": remove_target,
    "change-source": change_source,
    "spoil-journal": spoil_journal,
    "spoil-partial": spoil_partial,
}
ENDING = {
    "kill-sender", "kill-receiver", "kill-both", "interrupt-sender", "interrupt-receiver",
    "spoil-journal", "spoil-partial",
}  # fmt: skip
