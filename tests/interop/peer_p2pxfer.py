"""p2pxfer's own connection, as a session makes it."""

from __future__ import annotations

import asyncio
import json
import time

from p2pxfer.peer import loading

loading.load()  # first, as a session does: what looks names up waits for one

# ruff: noqa: E402

from p2pxfer.errors import TransferError
from p2pxfer.peer.channel import Channel
from p2pxfer.peer.connection import PeerConnection
from p2pxfer.peer.udp import new_event_loop
from tests.interop.driver import Inbox, messages, obey, report, tell
from tests.interop.media import Media
from tests.interop.tap import Tap

PATIENCE = 120.0  # seconds until a channel that does not open is given up


class Peer:
    connection: PeerConnection
    channel: Channel
    opening: asyncio.Task

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.tap: Tap | None = None
        self.media: Media | None = None

    async def start(self, command: dict) -> None:
        if command.get("tap"):
            self.tap = Tap()
        if "media" in command:
            self.media = Media(command["media"])
        self.connection = PeerConnection(
            offerer=command["offerer"],
            ice_servers=(),
            relay_only=False,
            signal=lambda body: tell(json.loads(body)),
            on_state=lambda state: tell({"event": "state", "state": state}),
            tracks=self.media.tracks if self.media is not None else None,
        )
        await self.connection.start()
        self.opening = asyncio.create_task(self.open())

    async def open(self) -> None:
        try:
            self.channel = channel = await self.connection.open(PATIENCE)
        except TransferError as error:
            tell({"event": "failed", "error": type(error).__name__, "why": error.message})
            return
        closed = asyncio.Event()
        channel.on_closed(closed.set)
        channel.on_message(self.inbox.take)
        under = self.connection._peer
        assert under is not None
        tell(
            {
                "event": "open",
                "maxMessage": channel.max_message,
                "layer": under.layer,
                "ours": under.far_packet > 0,
            }
        )
        if self.media is not None:
            await self.media.begin()
        await closed.wait()
        if self.media is not None:
            await self.media.end()
        try:
            await channel.send(b"?")
        except TransferError as error:
            tell({"event": "closed", "error": type(error).__name__, "why": error.message})

    async def signal(self, command: dict) -> None:
        if self.media is not None and hasattr(self, "channel"):
            if command["kind"] != "description":
                return
            answer = await self.connection.renegotiate(command["sdp"])
            tell({"kind": "description", "type": "answer", "sdp": answer})
            tell({"event": "tracks", "mids": [track.mid for track in self.media.tracks.received]})
            return
        await self.connection.receive(json.dumps({"v": 1, **command}).encode())

    async def send(self, command: dict) -> None:
        sent = []
        try:
            for message in messages(command["count"], command["size"], command.get("vary", False)):
                await self.channel.send(message)
                sent.append((time.monotonic(), message))
            await self.channel.drain()
        except TransferError as error:
            tell({"event": "unsent", "error": type(error).__name__, "why": error.message})
            return
        report("sent", sent)

    async def expect(self, command: dict) -> None:
        self.inbox.expect(command["count"])

    async def mute(self, command: dict) -> None:
        assert self.media is not None
        await self.media.mute(command)

    async def look(self, command: dict) -> None:
        assert self.media is not None
        await self.media.look(command)

    async def wire(self, _command: dict) -> None:
        assert self.tap is not None
        tap = self.tap
        tell({"event": "wire", "sent": tap.sent, "taken": tap.taken, "longest": tap.longest})

    async def hangup(self, _command: dict) -> None:
        await self.connection.close()


async def main() -> None:
    peer = Peer()
    signals = dict.fromkeys(("description", "candidate", "end"), peer.signal)
    names = ("start", "send", "expect", "wire", "mute", "look", "hangup")
    commands = {name: getattr(peer, name) for name in names}
    await obey({**signals, **commands, "close": peer.hangup})
    await peer.connection.close()
    await peer.opening
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=1)
    assert not left, left


with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
