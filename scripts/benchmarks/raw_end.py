"""One end of a bare data channel, on one of several stacks; run by `channels`, a process each.

Descriptions go over standard input and output, a JSON object a line. The offerer sends; the
answerer says every tenth of a second how much has arrived, and both end when all has.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

WATER = 1 << 20
TICK = 0.1  # seconds between two reports


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


async def hear() -> dict[str, str]:
    return json.loads(await asyncio.to_thread(sys.stdin.readline))


class Counter:
    """Counts what arrives, and tells."""

    def __init__(self, size: int, done: Callable[[], None]) -> None:
        self._size = size
        self._done = done
        self._bytes = 0
        self._told = 0.0

    def take(self, message: bytes) -> None:
        self._bytes += len(message)
        now = time.monotonic()
        if now >= self._told + TICK or self._bytes >= self._size:
            self._told = now
            say(at=now, bytes=self._bytes)
            if self._bytes >= self._size:
                self._done()


# --- aiortc as it is -----------------------------------------------------------------------------


async def aiortc_end(*, sends: bool, size: int, message: int) -> None:
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    done = asyncio.Event()

    def say_description() -> None:
        say(sdp=peer.localDescription.sdp, type=peer.localDescription.type)

    if sends:
        channel = peer.createDataChannel("p2pxfer")
        opened, low = asyncio.Event(), asyncio.Event()
        channel.on("open", opened.set)
        channel.on("bufferedamountlow", low.set)
        channel.on("message", lambda _: done.set())
        channel.bufferedAmountLowThreshold = WATER // 2
        await peer.setLocalDescription()
        say_description()
        await peer.setRemoteDescription(RTCSessionDescription(**await hear()))
        await opened.wait()
        content = os.urandom(message)
        for _ in range(size // message):
            if channel.bufferedAmount > WATER:
                low.clear()
                await low.wait()
            channel.send(content)
        await done.wait()
    else:

        @peer.on("datachannel")
        def found(channel: object) -> None:
            counter = Counter(size // message * message, lambda: channel.send(b"all"))
            channel.on("message", counter.take)
            channel.on("close", done.set)

        await peer.setRemoteDescription(RTCSessionDescription(**await hear()))
        await peer.setLocalDescription()
        say_description()
        await done.wait()
    await peer.close()


# --- p2pxfer -------------------------------------------------------------------------------------


async def p2pxfer_end(*, sends: bool, size: int, message: int) -> None:
    from msgspec.structs import replace

    from p2pxfer.peer.candidates import Candidate
    from p2pxfer.peer.connection import PeerConnection
    from p2pxfer.peer.sdp import Description, parse_sdp
    from p2pxfer.peer.signals import EndOfCandidates, decode, encode

    own: list[Description] = []

    def signal(body: bytes) -> None:
        said = decode(body)
        if isinstance(said, Description):
            own.append(said)
        elif isinstance(said, Candidate):
            own[0] = replace(own[0], candidates=(*own[0].candidates, said))
        elif isinstance(said, EndOfCandidates):
            whole = replace(own[0], complete=True)
            say(sdp=whole.sdp(), type=whole.type)

    done = asyncio.Event()
    peer = PeerConnection(offerer=sends, ice_servers=(), relay_only=False, signal=signal)
    await peer.start()
    heard = await hear()
    await peer.receive(encode(parse_sdp(heard["type"], heard["sdp"])))
    channel = await peer.open(30)
    if sends:
        channel.on_message(lambda _: done.set())
        message = min(message, channel.max_message)
        content = os.urandom(message)
        for _ in range(size // message):
            await channel.send(content)
        await done.wait()
    else:
        tasks = set()

        def all_here() -> None:
            tasks.add(asyncio.ensure_future(channel.send(b"all")))

        channel.on_closed(done.set)
        channel.on_message(Counter(size // message * message, all_here).take)
        await done.wait()
    await peer.close()


# --- libdatachannel ------------------------------------------------------------------------------


def libdatachannel_end(*, sends: bool, size: int, message: int) -> None:
    import threading

    import pylibdatachannel as rtc

    peer = rtc.PeerConnection(rtc.Configuration([]))
    gathered, opened, done = (threading.Event() for _ in range(3))
    kept = []

    def gathering(state: object) -> None:
        if state == rtc.GatheringState.COMPLETE:
            gathered.set()

    def describe() -> None:
        gathered.wait()
        own = peer.local_description
        say(sdp=own.description, type=own.type.name.lower())

    def remote() -> None:
        heard = json.loads(sys.stdin.readline())
        kind = getattr(rtc.DescriptionType, heard["type"].upper())
        peer.set_remote_description(rtc.Description(heard["sdp"], kind))

    def found(channel: object) -> None:
        kept.append(channel)
        counter = Counter(size // message * message, lambda: channel.send(b"all"))
        channel.on_message(counter.take)
        channel.on_closed(done.set)

    peer.on_gathering_state_change(gathering)
    if sends:
        channel = peer.create_data_channel("p2pxfer")
        channel.on_open(opened.set)
        channel.on_message(lambda _: done.set())
        describe()
        remote()
        opened.wait()
        content = os.urandom(message)
        for _ in range(size // message):  # its binding tells nothing of what is buffered
            channel.send(content)
        done.wait()
        channel.close()
    else:
        peer.on_data_channel(found)
        remote()
        describe()
        done.wait()
    os._exit(0)


def main() -> None:
    stack, role, size, message = sys.argv[1:]
    options = {"sends": role == "sender", "size": int(size), "message": int(message)}
    if stack == "libdatachannel":
        libdatachannel_end(**options)
    elif stack == "aiortc":
        import uvloop

        uvloop.run(aiortc_end(**options))
    else:
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
        from p2pxfer.peer.udp import new_event_loop

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(p2pxfer_end(**options))


if __name__ == "__main__":
    main()
