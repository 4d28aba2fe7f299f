"""Plain aiortc, as anybody would write it. ``--uvloop`` has it run on that loop."""

from __future__ import annotations

import asyncio
import sys
import time

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from tests.interop.driver import HIGH_WATER, Inbox, messages, obey, report, tell


class Peer:
    def __init__(self) -> None:
        self.rtc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.rtc.on("datachannel", self.listen)
        self.rtc.on("connectionstatechange", self.state_changed)
        self.inbox = Inbox()
        self.room = asyncio.Event()

    def state_changed(self) -> None:
        tell({"event": "state", "state": self.rtc.connectionState})

    def listen(self, channel) -> None:
        self.channel = channel
        channel.bufferedAmountLowThreshold = HIGH_WATER // 2
        channel.on("message", self.inbox.take)
        channel.on("bufferedamountlow", self.room.set)
        channel.on("close", lambda: tell({"event": "closed"}))
        if channel.readyState == "open":
            self.opened()
        else:
            channel.on("open", self.opened)

    def opened(self) -> None:
        channel = self.channel
        tell(
            {
                "event": "open",
                "label": channel.label,
                "protocol": channel.protocol,
                "ordered": channel.ordered,
            }
        )

    async def start(self, command: dict) -> None:
        if command["offerer"]:
            options = {"label": "p2pxfer", **command.get("channel", {})}
            self.listen(self.rtc.createDataChannel(**options))
            await self.describe()

    async def describe(self) -> None:
        await self.rtc.setLocalDescription()
        local = self.rtc.localDescription
        tell({"kind": "description", "type": local.type, "sdp": local.sdp})
        tell({"kind": "end"})

    async def description(self, command: dict) -> None:
        description = RTCSessionDescription(command["sdp"], command["type"])
        await self.rtc.setRemoteDescription(description)
        if command["type"] == "offer":
            await self.describe()

    async def candidate(self, command: dict) -> None:
        candidate = candidate_from_sdp(command["candidate"].removeprefix("candidate:"))
        candidate.sdpMLineIndex = 0
        await self.rtc.addIceCandidate(candidate)

    async def end(self, _command: dict) -> None:
        await self.rtc.addIceCandidate(None)

    async def send(self, command: dict) -> None:
        sent = []
        for message in messages(command["count"], command["size"], command.get("vary", False)):
            while self.channel.bufferedAmount > HIGH_WATER:
                self.room.clear()
                await self.room.wait()
            self.channel.send(message)
            sent.append((time.monotonic(), message))
        report("sent", sent)

    async def expect(self, command: dict) -> None:
        self.inbox.expect(command["count"])

    async def text(self, command: dict) -> None:
        self.channel.send(command["text"])

    async def another(self, command: dict) -> None:
        self.rtc.createDataChannel(command["label"])

    async def close(self, _command: dict) -> None:
        self.channel.close()

    async def hangup(self, _command: dict) -> None:
        await self.rtc.close()


async def main() -> None:
    peer = Peer()
    names = ("start", "description", "candidate", "end", "send", "expect", "text", "another")
    await obey({name: getattr(peer, name) for name in (*names, "close", "hangup")})
    await peer.rtc.close()


if "--uvloop" in sys.argv:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
