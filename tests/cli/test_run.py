"""How a command's work begins and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from p2pxfer.cli.render import Renderer
from p2pxfer.cli.run import run
from p2pxfer.cli.scene import Scene
from p2pxfer.cli.screen import Screen
from p2pxfer.errors import ExitCode, NoSpace, TransferError


class Told(Renderer):
    """Remembers how it ended."""

    error: TransferError | None = None

    def fail(self, error: TransferError) -> None:
        """Keep it."""
        self.error = error


@pytest.fixture
def told(tmp_path):
    """A renderer whose screen is a file."""
    with (tmp_path / "screen").open("w") as stream:
        yield Told(Screen(stream, {}), Scene(sending=True))


def test_work_that_is_done_is_zero(told):
    """And nothing is said to have failed."""

    async def work() -> None:
        await asyncio.sleep(0)

    assert run(told, work) is ExitCode.DONE
    assert told.error is None


def test_an_error_of_the_tree_decides_the_code(told):
    """Alone or in a group with others."""

    async def work() -> None:
        raise ExceptionGroup("two tasks", [ValueError("x"), NoSpace("the disk is full")])

    assert run(told, work) is ExitCode.LOCAL_FILES
    assert told.error is not None
    assert told.error.message == "the disk is full"


def test_anything_else_is_unexpected_and_tells_no_values(told):
    """The class and the place, never the text that may hold a secret."""

    async def work() -> None:
        raise ValueError("hunter2")

    assert run(told, work) is ExitCode.UNEXPECTED
    assert told.error is not None
    assert told.error.message.startswith("unexpected ValueError at test_run.py:")
    assert "hunter2" not in str(told.error)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_work_tidy_up_and_is_130(told, number):
    """The work is cancelled, not killed."""
    tidied = []

    async def work() -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.sleep(600)
        finally:
            tidied.append(True)

    before = signal.getsignal(number)
    assert run(told, work) is ExitCode.INTERRUPTED
    assert tidied == [True]
    assert signal.getsignal(number) is before or signal.getsignal(number) in {
        signal.SIG_DFL,
        signal.default_int_handler,
    }


def test_a_worker_that_never_returns_holds_nobody(told):
    """A thread may be in a read of standard input that nothing can end."""
    release = threading.Event()

    async def work() -> None:
        asyncio.get_running_loop().run_in_executor(None, release.wait)
        await asyncio.sleep(0)

    late = threading.Timer(30, release.set)
    late.start()
    assert run(told, work) is ExitCode.DONE
    assert not release.is_set()
    late.cancel()
    release.set()


def test_a_second_request_to_end_is_obeyed_at_once(tmp_path):
    """When tidying up takes too long for the person who waits."""
    script = """
import asyncio, os, signal, sys
from p2pxfer.cli.render import Quiet
from p2pxfer.cli.scene import Scene
from p2pxfer.cli.run import run
from p2pxfer.cli.screen import Screen

async def work():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(600)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(600)

sys.exit(run(Quiet(Screen(sys.stderr), Scene(sending=True)), work))
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 130
