"""One end of a connection with pictures beside data; run by `pictures`, a process each.

Descriptions go over standard input and output, a JSON object a line. The offerer shows the test
pattern throughout, and sends data at full speed in the second half. The answerer tells what it saw
in each half: numbers of pictures, how late they were, and how long stills took.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from msgspec.structs import replace

from p2pxfer.media.feeding import FedTrack
from p2pxfer.media.pattern import Pattern
from p2pxfer.peer.candidates import Candidate
from p2pxfer.peer.connection import PeerConnection
from p2pxfer.peer.sdp import Description, parse_sdp
from p2pxfer.peer.signals import EndOfCandidates, decode, encode
from p2pxfer.peer.tracks import Tracks
from p2pxfer.peer.udp import new_event_loop

RATE = 30  # pictures a second
SETTLE = 3.0  # seconds before anything is counted
STILL_EVERY = 1.0  # seconds between two stills
BITS = 16


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


async def hear() -> dict[str, str]:
    return json.loads(await asyncio.to_thread(sys.stdin.readline))


def number(frame: object) -> int:
    """What the pattern's blocks say, from the luma alone."""
    plane = frame.planes[0]
    row = memoryview(plane)[frame.height * 7 // 8 * plane.line_size :]
    shown = 0
    for bit in range(BITS):
        middle = bit * frame.width // BITS + frame.width // BITS // 2
        shown = shown * 2 + (row[middle] > 127)
    return shown


async def connected(tracks: Tracks, *, offerer: bool) -> tuple[PeerConnection, object]:
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

    peer = PeerConnection(
        offerer=offerer, ice_servers=(), relay_only=False, signal=signal, tracks=tracks
    )
    await peer.start()
    heard = await hear()
    await peer.receive(encode(parse_sdp(heard["type"], heard["sdp"])))
    return peer, await peer.open(30)


async def show(seconds: float) -> None:
    """The offerer: the pattern, and data in the second half."""
    track = FedTrack("video")
    peer, channel = await connected(Tracks([track]), offerer=True)
    began = asyncio.Event()
    over = asyncio.Event()
    channel.on_message(lambda message: (began if message == b"data" else over).set())
    pattern = Pattern(640, 480, RATE)
    pattern.start({"video": track})
    await channel.send(json.dumps(time.time()).encode())
    await began.wait()
    content = os.urandom(64 * 1024)
    until = time.monotonic() + seconds
    while time.monotonic() < until and not over.is_set():
        await channel.send(content)
    await over.wait()
    await pattern.stop()
    say(skipped=track.skipped)
    await peer.close()


async def watch(seconds: float) -> None:
    """The answerer: looks, and tells."""
    tracks = Tracks(receives=("video",))
    peer, channel = await connected(tracks, offerer=False)
    start: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    arrived = 0

    def take(message: bytes) -> None:
        nonlocal arrived
        arrived += len(message)
        if not start.done():
            start.set_result(json.loads(message))

    channel.on_message(take)
    shown = await start
    (track,) = tracks.received
    for half in ("alone", "beside data"):
        if half != "alone":
            await channel.send(b"data")
        begin = time.time() + SETTLE
        numbers, late, stills, size, asked = set(), [], [], 0, 0.0
        while (now := time.time()) < begin + seconds - 2 * SETTLE:
            received = await track.frame()
            if now < begin:
                size = arrived
                continue
            seen = number(received.frame)
            numbers.add(seen)
            late.append(received.arrived - shown - seen / RATE)
            if received.key and asked:
                stills.append(received.arrived - asked)
                asked = 0.0
                due = now + STILL_EVERY
            if not asked and now >= (due if stills else begin):
                asked = time.time()
                await track.ask_for_key_frame()
        expected = max(numbers) - min(numbers) + 1
        rate = (arrived - size) / 1e6 / (time.time() - begin)
        say(half=half, seen=len(numbers), expected=expected, late=late, stills=stills, rate=rate)
    await channel.send(b"over")
    await asyncio.sleep(0.5)
    await peer.close()


def main() -> None:
    role, seconds = sys.argv[1], float(sys.argv[2])
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(show(seconds) if role == "shows" else watch(seconds))


main()
