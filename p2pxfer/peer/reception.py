"""Received media: decoded frames, bounded on their way, and which of the pictures are whole.

aiortc queues what comes without a bound, decodes pictures of any size, and does not tell a picture
that needs no other from one that was decoded from what is missing. So a gate stands in front of
its decoder, and a short queue behind it. Uses private names, which are checked first; where one is
missing there is no reception at all: no picture is better than a wrong one.
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpDecodingParameters, RTCRtpReceiveParameters
from aiortc.rtp import RtcpByePacket

from p2pxfer.errors import TransferError
from p2pxfer.peer import keyframes
from p2pxfer.tracks import Kind, Received, TrackEnded

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack, RTCRtpReceiver

MAX_ENCODED = {"video": 64, "audio": 256}  # frames in front of the decoder
MAX_DECODED = {"video": 8, "audio": 128}  # frames behind it: a quarter of a second, 2.5 s
MAX_KEYS = 256  # pictures that are told whole, and not yet taken
ASK_EVERY = 0.5  # seconds between two requests for a key frame

_QUEUE = "_RTCRtpReceiver__decoder_queue"
_REPEATS = "_RTCRtpReceiver__rtx_ssrc"  # sources that repeat others
_NAMES = (_QUEUE, _REPEATS, "_handle_rtcp_packet", "_send_rtcp_pli")


class ReceivedTrack:
    """One track of the other side; see `tracks.IncomingTrack`.

    Args:
        receiver: aiortc's, which has not begun.
        track: what it fills.
        mid: of its section.

    Raises:
        TransferError: aiortc is not as expected inside.
    """

    def __init__(self, receiver: RTCRtpReceiver, track: MediaStreamTrack, mid: str) -> None:
        known = all(hasattr(receiver, name) for name in _NAMES)
        if not (known and hasattr(receiver.transport, "_register_rtp_receiver")):
            raise TransferError("this version of aiortc is not known here")
        self.kind: Kind = "video" if track.kind == "video" else "audio"
        self.mid = mid
        self.active = True  # whether the far end says that it sends
        self.dropped = 0  # frames that nobody took in time
        self._receiver: Any = receiver
        self._track = track
        self._gate = _Gate(self.kind, self._needs_key_frame)
        setattr(receiver, _QUEUE, self._gate)
        self._leave_open()
        self._sources: tuple[int, ...] = ()
        self._frames: deque[Received] = deque()
        self._news = asyncio.Event()
        self.ended = False
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._reading = asyncio.create_task(self._read())

    async def frame(self) -> Received:
        """The next frame; the oldest go where nobody takes them in time.

        Raises:
            TrackEnded: there is none.
        """
        while not self._frames:
            if self.ended:
                raise TrackEnded
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()

    async def ask_for_key_frame(self) -> None:
        """Have the other side send a picture that needs no other (RFC 4585 section 6.3.1)."""
        self._asked = time.monotonic()
        for source in self._receiver.getSynchronizationSources():
            await self._receiver._send_rtcp_pli(source.source)

    def take_sources(self, ssrcs: Sequence[int]) -> None:
        """Take what comes from these sources, of which the second repeats the first."""
        if self._sources and self._sources != tuple(ssrcs):
            self._gate.begin_anew()
        self._sources = tuple(ssrcs)
        encodings = [RTCRtpDecodingParameters(ssrc=ssrc, payloadType=0) for ssrc in ssrcs]
        named = RTCRtpReceiveParameters(encodings=encodings, muxId=self.mid)
        self._receiver.transport._register_rtp_receiver(self._receiver, named)
        if len(ssrcs) > 1:
            getattr(self._receiver, _REPEATS)[ssrcs[1]] = ssrcs[0]

    async def close(self) -> None:
        """Take nothing more."""
        tasks = [self._reading, *([self._asking] if self._asking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _leave_open(self) -> None:
        """Have aiortc not end the track when a source says goodbye: that mutes it.

        It may come back: W3C WebRTC section 5.3. A track ends with its section or its connection.
        """
        receiver = self._receiver
        handle = receiver._handle_rtcp_packet

        async def take(packet: Any) -> None:
            if isinstance(packet, RtcpByePacket):
                self._gate.begin_anew()
            else:
                await handle(packet)

        receiver._handle_rtcp_packet = take

    def _needs_key_frame(self) -> None:
        if time.monotonic() - self._asked >= ASK_EVERY:
            self._asking = asyncio.create_task(self.ask_for_key_frame())

    async def _read(self) -> None:
        try:
            while True:
                frame: Any = await self._track.recv()  # decoded, and its time is known
                key = frame.pts in self._gate.keys
                seconds = float(frame.pts * frame.time_base)
                self._frames.append(Received(frame, seconds, time.time(), key))
                if len(self._frames) > MAX_DECODED[self.kind]:
                    self._frames.popleft()
                    self.dropped += 1
                self._news.set()
        except MediaStreamError:
            pass
        finally:
            self.ended = True
            self._news.set()


class _Gate(queue.Queue[Any]):
    """What aiortc's decoder takes its work from: nothing too large, too much, or not decodable.

    Attributes:
        keys: times of pictures that need no other, as the decoder will give them back.
    """

    def __init__(self, kind: Kind, needs_key: Callable[[], None]) -> None:
        super().__init__()
        self.keys: deque[int] = deque(maxlen=MAX_KEYS)
        self._kind = kind
        self._needs_key = needs_key
        self._waits = kind == "video"  # for a picture that needs no other

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Let it in, or not; called on the loop, which waits for the decoder after None."""
        if item is None:
            with self.mutex:
                self.queue.clear()
        if item is None or self._lets_in(*item):
            super().put(item, block, timeout)

    def begin_anew(self) -> None:
        """What comes next has nothing to do with what came before."""
        self._waits = self._kind == "video"

    def _lets_in(self, codec: Any, encoded: Any) -> bool:
        crowded = self.qsize() >= MAX_ENCODED[self._kind]
        if self._kind == "audio":
            return not crowded
        picture = keyframes.inspect(codec.name, encoded.data)
        if picture is None or not picture.bounded or crowded or (self._waits and not picture.key):
            self._waits = True
            self._needs_key()
            return False
        if picture.key:
            self._waits = False
            self.keys.append(encoded.timestamp)
        return True
