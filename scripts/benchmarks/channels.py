"""Bare data channels between two processes: how fast each stack is, without files."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from benchmarks.lab import Lab
from benchmarks.measure import Run, wait
from benchmarks.peers import PYTHON

END = Path(__file__).with_name("raw_end.py")
MESSAGE = 64 * 1024  # bytes, the most that stock aiortc announces


def transfer(
    lab: Lab, sender: str, receiver: str, size: int, *, limit: float = 300.0, message: int = MESSAGE
) -> Run:
    """Move ``size`` bytes from one stack to another, or what crosses in ``limit`` seconds.

    Stacks are ``p2pxfer``, ``aiortc`` and ``libdatachannel``.
    """
    ends = []
    for host, stack, role in ((lab.sender, sender, "sender"), (lab.receiver, receiver, "receiver")):
        python = sys.executable if stack == "p2pxfer" else PYTHON
        words = [python, END, stack, role, size, message]
        ends.append(host.popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    offerer, answerer = ends
    killer = threading.Timer(limit, lambda: [end.kill() for end in ends])
    killer.start()
    try:
        answerer.stdin.write(offerer.stdout.readline())
        answerer.stdin.flush()
        offerer.stdin.write(answerer.stdout.readline())
        offerer.stdin.flush()
        arrivals = [(said["at"], said["bytes"]) for said in map(json.loads, answerer.stdout)]
        in_time = killer.is_alive()
        usages = [wait(end, fine=lambda code: code == 0 or not in_time) for end in ends]
    finally:
        killer.cancel()
    (began, first), (ended, last) = arrivals[0], arrivals[-1]
    return Run(last - first, max(ended - began, 1e-9), usages, arrivals)
