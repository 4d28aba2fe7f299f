"""Network namespaces: what most tests of networks live in, where they can be made."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable

import pytest

CLONE_NEWNET = 0x40000000
NONE = "network namespaces need Linux and root"


@functools.cache
def allowed() -> bool:
    """Whether this process may make them; a container's root may not always."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return tried.returncode == 0


def require() -> None:
    """Skip the test where there are none."""
    if not allowed():
        pytest.skip(NONE)


def run(
    work: Callable[[], Awaitable[None]],
    *commands: str,
    patience: float,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Run a coroutine function in a thread with a network of its own, made by ``ip`` commands.

    Args:
        work: the function.
        commands: what ``ip`` is told, after ``lo`` is up.
        patience: seconds until it is called hung.
        loop_factory: makes its event loop; asyncio's usual one unless given.
    """
    failures: list[BaseException] = []

    def inside() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            for command in ("link set lo up", *commands):
                subprocess.run(["ip", *command.split()], check=True)
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(asyncio.wait_for(work(), patience))
        except BaseException as error:  # noqa: BLE001  # raised again in the test's thread
            failures.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
