"""Outlet: where text leaves the process, on a thread of its own.

A terminal stopped with Ctrl-S, or a program that reads our events slowly, must not stop the
transfer: the peer would take the silence for a lost connection. So `write` only appends, and a
thread does the writing. Whoever redraws asks `behind` first and leaves a frame out. It knows
nothing of what the text says.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from typing import TextIO

MAX_PENDING = 8 * 1024 * 1024  # characters held for a slow reader before `write` waits for it
BEHIND = 4096  # characters; more than one frame of progress


class Outlet:
    """A text stream that never blocks its writer, and never raises when nobody reads it."""

    def __init__(self, stream: TextIO, *, encoding: str | None = None) -> None:
        self._fd = stream.fileno()
        self._encoding = encoding or stream.encoding or "utf-8"
        self._pending: list[str] = []
        self._held = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._broken = False

    @property
    def encoding(self) -> str:
        """What the stream's characters become."""
        return self._encoding

    @property
    def behind(self) -> bool:
        """Whether the reader has not kept up, so that a frame had better be left out."""
        return self._held > BEHIND

    def fileno(self) -> int:
        """The descriptor underneath, for its size as a terminal."""
        return self._fd

    def write(self, text: str) -> int:
        """Take ``text``; it is written soon, in order."""
        with self._changed:
            if self._broken or self._closing:
                return len(text)
            while self._held > MAX_PENDING and not self._broken:
                self._changed.wait()
            self._pending.append(text)
            self._held += len(text)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Nothing to do: what was written is under way."""

    def close(self) -> None:
        """Wait until everything is written. A signal may cut the wait short."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(0.1)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._pending and not self._closing:
                    self._changed.wait()
                if not self._pending:
                    return
                text = "".join(self._pending)
                self._pending.clear()
            try:
                _write_all(self._fd, text.encode(self._encoding, "backslashreplace"))
            except OSError:  # the reader is gone, or the terminal is: nobody is left to tell
                with self._changed:
                    self._broken = True
                    self._pending.clear()
                    self._held = 0
                    self._changed.notify_all()
                return
            with self._changed:
                self._held -= len(text)
                self._changed.notify_all()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EWOULDBLOCK}:
                raise
            select.select([], [fd], [])  # somebody who shares the terminal made it non-blocking
