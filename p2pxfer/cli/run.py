"""Run: one command's work on an event loop, the signals that end it, and its exit code.

Every way to end comes together here: done, an error of the tree, a signal, something unexpected.
It knows nothing of what the work is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

from p2pxfer.cli.render import Renderer
from p2pxfer.cli.sentences import go_on, kept
from p2pxfer.errors import ExitCode, Interrupted, TransferError
from p2pxfer.files.escaping import escaped
from p2pxfer.peer.udp import new_event_loop
from p2pxfer.progress import Note

MAX_OVERHEARD = 500  # characters of a library's line
TICK = 0.1  # seconds between frames
ENDING_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)
)
Work = Callable[[], Coroutine[object, object, object]]


def run(renderer: Renderer, work: Work) -> ExitCode:
    """Do ``work``, tell how it ended through ``renderer``, and close that.

    Returns:
        What the process should exit with.
    """
    with _libraries(renderer):
        return _done(renderer, work)


def _done(renderer: Renderer, work: Work) -> ExitCode:
    try:
        try:
            _on_a_loop(renderer, work)
        except KeyboardInterrupt:  # where the loop can't watch signals, as on Windows
            raise interrupted(renderer) from None
        except Exception as error:
            known = _known(error)
            if known is not None:
                raise known from error
            if renderer.scene.verbose:
                renderer.screen.write(_trace())
            raise unexpected(error) from error
    except TransferError as error:
        renderer.fail(error)
        return error.exit_code
    finally:
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C: nobody reads, let it go
            renderer.close()
    return ExitCode.DONE


class Overheard(logging.Handler):
    """What libraries log, as details: a line each, never a traceback."""

    def __init__(self, renderer: Renderer) -> None:
        super().__init__(logging.WARNING)
        self._renderer = renderer

    def emit(self, record: logging.LogRecord) -> None:
        """Tell it with ``--verbose``, and never fail."""
        text = f"{record.name}: {record.getMessage()}"[:MAX_OVERHEARD]
        self._renderer.emit(Note(text, detail=True))


@contextlib.contextmanager
def _libraries(renderer: Renderer) -> Iterator[None]:
    """Keep libraries from writing over what is shown."""
    root, handler = logging.getLogger(), Overheard(renderer)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def interrupted(renderer: Renderer) -> Interrupted:
    """What to say when somebody ended it."""
    scene, tally = renderer.scene, renderer.tally
    return Interrupted(f"interrupted; {kept(scene, tally)}", go_on(scene, tally))


def unexpected(error: BaseException) -> TransferError:
    """What to say of a fault of our own: where it is, and nothing that might be a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return TransferError(f"unexpected {type(error).__name__}{place}")


def _on_a_loop(renderer: Renderer, work: Work) -> None:
    # Not asyncio.run: that waits for every worker thread, and one may be in a read of standard
    # input that nothing can end.
    loop = new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_watched(renderer, work))
    finally:
        with contextlib.suppress(Exception):
            _cancel_the_rest(loop)
        asyncio.set_event_loop(None)
        loop.close()


async def _watched(renderer: Renderer, work: Work) -> None:
    loop = asyncio.get_running_loop()
    working = asyncio.ensure_future(work())
    ticking = asyncio.create_task(_ticking(renderer))
    ended = False

    def end() -> None:
        nonlocal ended
        if ended:  # asked twice: whatever is being tidied up takes too long
            os._exit(ExitCode.INTERRUPTED)
        ended = True
        working.cancel()

    watched = [number for number in ENDING_SIGNALS if _watch(loop, number, end)]
    try:
        await working
    except asyncio.CancelledError:
        if ended:
            raise interrupted(renderer) from None
        raise
    finally:
        ticking.cancel()
        for number in watched:
            loop.remove_signal_handler(number)


def _watch(loop: asyncio.AbstractEventLoop, number: int, end: Callable[[], None]) -> bool:
    if signal.getsignal(number) is signal.SIG_IGN:  # nohup and the like ask for that
        return False
    try:
        loop.add_signal_handler(number, end)
    except (NotImplementedError, RuntimeError):
        return False
    return True


async def _ticking(renderer: Renderer) -> None:
    while True:
        renderer.tick(time.monotonic())
        await asyncio.sleep(TICK)


def _cancel_the_rest(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())


def _known(error: BaseException) -> TransferError | None:
    """The first error of the tree in ``error``, which may be a group of several."""
    if isinstance(error, TransferError):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = (_known(inner) for inner in error.exceptions)
        return next((inner for inner in found if inner is not None), None)
    return None


def _trace() -> str:
    return "".join(escaped(line) + "\n" for line in traceback.format_exc().splitlines())
