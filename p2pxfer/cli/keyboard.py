"""Keyboard: what a person types, key by key, while the event loop goes on.

A thread reads, since not every system's loop can watch a terminal. The terminal's modes are put
back however it ends: answered, Ctrl-C, killed by a request to end, stopped and continued.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Final

ELSEWHERE: Final = 0.5  # seconds until a terminal that is for others is looked at again


def in_front(fd: int) -> bool:
    """Whether this process is the one that the terminal is for now, and no shell's background."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:  # a terminal without jobs
        return True


def terminal(*, input_is_data: bool) -> int | None:
    """A descriptor of the terminal at which somebody can answer, or None.

    It is standard input. Where that carries the data to send it is the controlling terminal.
    """
    if not sys.stderr.isatty():
        return None
    if not input_is_data:
        return sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None


if sys.platform == "win32":

    @contextlib.asynccontextmanager
    async def keys(
        fd: int,  # noqa: ARG001  # the shape of the other systems' one
        *,
        drop_typed: bool,  # noqa: ARG001  # likewise
        again: Callable[[], None],  # noqa: ARG001  # likewise
        yielding: bool = False,  # noqa: ARG001  # likewise
    ) -> AsyncIterator[asyncio.Queue[str]]:
        """Whole lines, as the console edits them itself."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def pump() -> None:
            while line := sys.stdin.readline():
                loop.call_soon_threadsafe(queue.put_nowait, line)
            loop.call_soon_threadsafe(queue.put_nowait, "")

        threading.Thread(target=pump, name="keyboard", daemon=True).start()
        yield queue

else:
    import termios
    import tty

    @contextlib.asynccontextmanager
    async def keys(
        fd: int, *, drop_typed: bool, again: Callable[[], None], yielding: bool = False
    ) -> AsyncIterator[asyncio.Queue[str]]:
        """Keys as they are typed, unseen on the screen; an empty string when the terminal is gone.

        Args:
            fd: the terminal.
            drop_typed: forget what was typed before, so that no question is answered unread.
            again: called when the process goes on after it was stopped (Ctrl-Z).
            yielding: leave the terminal alone while it is for others, who would stop this process
                otherwise; keys that can be done without are read so.
        """

        def ours() -> bool:
            return not yielding or in_front(fd)

        queue: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        before = termios.tcgetattr(fd)
        wake_read, wake_write = os.pipe()

        def tell(text: str) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, text)

        def continued() -> None:
            if ours():
                tty.setcbreak(fd, termios.TCSADRAIN)
                again()

        reader = threading.Thread(
            target=_pump,
            args=(fd, wake_read, tell),
            kwargs={"yielding": yielding},
            name="keyboard",
            daemon=True,
        )
        if ours():
            tty.setcbreak(fd, termios.TCSAFLUSH if drop_typed else termios.TCSADRAIN)
        try:
            loop.add_signal_handler(signal.SIGCONT, continued)
            reader.start()
            yield queue
        finally:
            loop.remove_signal_handler(signal.SIGCONT)
            os.write(wake_write, b"\0")
            reader.join()
            os.close(wake_read)
            os.close(wake_write)
            with contextlib.suppress(termios.error):  # the terminal may be gone
                if ours():
                    termios.tcsetattr(fd, termios.TCSADRAIN, before)

    def _pump(fd: int, wake: int, tell: Callable[[str], None], *, yielding: bool) -> None:
        """Tell what is typed, until there is something at ``wake``."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        ours, pause = True, ELSEWHERE if yielding else None
        while True:
            ready, _, _ = select.select([fd, wake] if ours else [wake], [], [], pause)
            if wake in ready:
                return
            if yielding:
                before, ours = ours, in_front(fd)
                if ours and not before:  # no signal tells that
                    tty.setcbreak(fd, termios.TCSADRAIN)
            if not ours or fd not in ready:
                continue
            try:
                data = os.read(fd, 1024)
            except OSError:  # the terminal was closed
                data = b""
            text = decoder.decode(data)
            if text or not data:
                tell(text)
            if not data:
                return
