#!/usr/bin/env python3
"""The library, both sides in one program: sends this file to a folder, and shows what happens.

scripts/demo && .venv/bin/python scripts/example.py
"""

import asyncio
import tempfile
from pathlib import Path

import p2pxfer
from p2pxfer.progress import CodeReady
from p2pxfer.rendezvous.server.app import start


class ShowEvents:
    """A `p2pxfer.Progress` that prints each event, and keeps the code for the other side."""

    def __init__(self, side: str) -> None:
        self.side = side
        self.code: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def emit(self, event: p2pxfer.Event) -> None:
        print(f"{self.side:8} {event}")
        if isinstance(event, CodeReady):
            self.code.set_result(event.code)


async def main() -> None:
    server = await start("127.0.0.1", 0)
    network = p2pxfer.Network(rendezvous=f"http://127.0.0.1:{server.port}")
    sender, receiver = ShowEvents("sender"), ShowEvents("receiver")
    with tempfile.TemporaryDirectory() as folder:
        sending = asyncio.create_task(p2pxfer.send([__file__], network=network, progress=sender))
        summary = await p2pxfer.receive(
            await sender.code, network=network, output=folder, accept=True, progress=receiver
        )
        await sending
        print(summary.size, "bytes in", [path.name for path in Path(folder).iterdir()])
    await server.close()


if __name__ == "__main__":
    asyncio.run(main())
