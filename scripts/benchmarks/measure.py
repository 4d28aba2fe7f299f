"""Figures of one run: bytes over time, processor seconds and memory of a process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Usage:
    """What a process took until it ended: processor seconds, peak memory in megabytes."""

    cpu: float
    peak: float


@dataclass
class Run:
    """One transfer.

    Attributes:
        size: bytes that crossed.
        seconds: how long that took.
        usages: of the sender and the receiver, where they are single processes.
        arrivals: ``(seconds, bytes)`` as it went on.
    """

    size: int
    seconds: float
    usages: list[Usage] = field(default_factory=list)
    arrivals: list[tuple[float, int]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Megabytes a second."""
        return self.size / 1e6 / self.seconds

    @property
    def cpu(self) -> float:
        """Processor milliseconds for a megabyte, both ends."""
        return sum(usage.cpu for usage in self.usages) * 1e9 / self.size

    @property
    def peak(self) -> float:
        """Megabytes of memory of the larger side."""
        return max((usage.peak for usage in self.usages), default=0.0)

    def between(self, begin: float, end: float) -> float:
        """Megabytes a second from one second to another after the first byte."""
        if not self.arrivals:
            return 0.0
        first = self.arrivals[0][0]
        inner = [(at - first, done) for at, done in self.arrivals if begin <= at - first <= end]
        if len(inner) < 2 or inner[-1][0] == inner[0][0]:
            return 0.0
        return (inner[-1][1] - inner[0][1]) / 1e6 / (inner[-1][0] - inner[0][0])


def wait(
    process: subprocess.Popen, *, fine: Callable[[int], bool] = lambda code: code == 0
) -> Usage:
    """Wait for the end of a process that must succeed."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if not fine(process.returncode):
        raise SystemExit(f"{process.args} exited {process.returncode}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale / 1e6)


def spread(values: list[float], digits: int = 1) -> str:
    """Median, and the range around it."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Pair by pair."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True) if other]
