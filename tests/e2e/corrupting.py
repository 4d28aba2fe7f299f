"""The real ``p2pxfer`` where memory is bad: a bit of a block flips after it was hashed."""

from __future__ import annotations

import runpy

from p2pxfer.transfer.outbox import Outbox

GOOD = 3  # blocks before the bad one

genuine = Outbox.add_block
blocks = 0


def add_block(self, block, data):
    """What `Outbox.add_block` does, with a bad bit in one block."""
    global blocks  # noqa: PLW0603  # one process, one count
    blocks += 1
    if blocks == GOOD + 1:
        data = bytearray(data)
        data[len(data) // 2] ^= 0x10
    return genuine(self, block, data)


Outbox.add_block = add_block
runpy.run_module("p2pxfer", run_name="__main__", alter_sys=True)
