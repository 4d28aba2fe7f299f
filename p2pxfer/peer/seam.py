"""SCTP of ours where aiortc has its own: the face that its other parts look at.

`Connection` is aiortc's, but for the SCTP transport that it makes. `SctpTransport` answers to what
`RTCPeerConnection`, `RTCDataChannel` and `RTCDtlsTransport` call on theirs. Which layer a
connection gets is decided before anything is sent, by looking whether the names are there:
``batched`` is everything of ours, ``single`` our SCTP through aiortc's DTLS one packet at a time,
``stock`` aiortc's own. The environment variable ``P2PXFER_DATA_PATH`` names the best that is tried.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any, Literal, cast

from aiortc import (
    InvalidStateError,
    RTCConfiguration,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCPeerConnection,
)
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport
from pyee.asyncio import AsyncIOEventEmitter

from p2pxfer.peer import calm, lanes
from p2pxfer.peer.datapath import DataPath
from p2pxfer.peer.records import LONGEST_PLAIN, available
from p2pxfer.peer.restraint import FREE, Restraint, control
from p2pxfer.peer.sdp import Description
from p2pxfer.peer.udp import BatchLoop
from p2pxfer.sctp import channel_events as told
from p2pxfer.sctp import events
from p2pxfer.sctp.association import Association, Config
from p2pxfer.sctp.datachannel import DataChannels

Layer = Literal["batched", "single", "stock"]
VARIABLE = "P2PXFER_DATA_PATH"
LONGEST_MESSAGE = 256 * 1024  # bytes that are taken; `RtcChannel` takes no more
LONGEST_SINGLE = 1400  # bytes of a packet that aiortc's reading of 1,500 takes for certain

_SCTP = "_RTCPeerConnection__sctp"
_CREATE = "_RTCPeerConnection__createSctpTransport"
_DTLS_NAMES = ("_register_data_receiver", "_send_data", "_unregister_data_receiver")
_CHANNEL_NAMES = ("_addBufferedAmount", "_setId", "_setReadyState")


def best_layer() -> Layer:
    """What can be tried here; the rest is decided by what the other libraries have inside."""
    wanted = os.environ.get(VARIABLE, "batched")
    sound = (
        hasattr(RTCPeerConnection, _CREATE)
        and all(hasattr(RTCDtlsTransport, name) for name in _DTLS_NAMES)
        and all(hasattr(RTCDataChannel, name) for name in _CHANNEL_NAMES)
    )
    if wanted == "stock" or not sound:
        return "stock"
    batches = isinstance(asyncio.get_running_loop(), BatchLoop) and available()
    return "batched" if batches and wanted != "single" else "single"


class Connection(RTCPeerConnection):
    """aiortc's connection over our SCTP.

    Attributes:
        far_packet: bytes of SCTP that the far end reads in a packet if it is ours; 0: it isn't.
        restraint: how what this end sends is held back.
        far_restraint: how the far end wants it to be, its times in UTC.
        layer: what is under its channels; at most that, until DTLS is up.
    """

    def __init__(self, configuration: RTCConfiguration, restraint: Restraint = FREE) -> None:
        self.far_packet = 0
        self.restraint = restraint
        self.far_restraint = FREE
        self.layer = best_layer()
        super().__init__(configuration)

    def take(self, remote: Description) -> None:
        """Heed what the far end says of itself, before its channels begin."""
        self.far_packet = remote.max_packet
        self.far_restraint = remote.restraint

    @property
    def own_packet(self) -> int:
        """What the far end may be told of this one, as ``far_packet`` there."""
        if self.layer == "stock":
            return 0
        return LONGEST_PLAIN if self.layer == "batched" else LONGEST_SINGLE

    def _RTCPeerConnection__createSctpTransport(self) -> None:  # noqa: N802  # what aiortc calls
        super()._RTCPeerConnection__createSctpTransport()  # type: ignore[misc]  # not published
        stock = getattr(self, _SCTP, None)
        if self.layer == "stock" or not isinstance(stock, RTCSctpTransport):
            self.layer = "stock"
            return
        own = SctpTransport(self, stock)
        if lanes.ice_connection(own.transport) is None:
            self.layer = "single"
        own.on("datachannel", lambda channel: self.emit("datachannel", channel))
        setattr(self, _SCTP, own)


class SctpTransport(AsyncIOEventEmitter):
    """Looks like aiortc's transport, and has an association of ours behind it.

    Args:
        owner: knows what the far end has said by the time this starts.
        stock: what it stands in for.
    """

    def __init__(self, owner: Connection, stock: RTCSctpTransport) -> None:
        super().__init__()
        self._bundled: bool = stock._bundled
        self.mid: str | None = None
        self.port = stock.port
        self.state = "new"
        self.transport: Any = stock.transport
        self._owner = owner
        self._outbound_streams_count = 65_535
        self._unnumbered: list[RTCDataChannel] = []
        self._by_id: dict[int, RTCDataChannel] = {}
        self._far_message = 0
        self._path: DataPath | None = None
        self._association: Association | None = None
        self._channels: DataChannels | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._outstanding = False

    # For RTCPeerConnection

    @property
    def maxChannels(self) -> int | None:  # noqa: N802  # aiortc's name
        """How many channels there can be, once that is known."""
        return self._outbound_streams_count if self.state == "connected" else None

    @classmethod
    def getCapabilities(cls) -> RTCSctpCapabilities:  # noqa: N802  # aiortc's name
        """What is said of this end."""
        return RTCSctpCapabilities(maxMessageSize=LONGEST_MESSAGE)

    def setTransport(self, transport: RTCDtlsTransport) -> None:  # noqa: N802  # aiortc's name
        """Bundled with other media after all."""
        self.transport = transport

    async def start(self, remote: RTCSctpCapabilities | None, port: int) -> None:
        """DTLS is up: choose a lane and begin. Called again, it does nothing."""
        if self.state != "new":
            return
        self.state = "connecting"
        dtls = self.transport
        self._far_message = remote.maxMessageSize if remote is not None else 65_536
        batched = self._owner.layer == "batched" and lanes.can_batch(dtls)
        lane: lanes.Lane
        if batched:
            lane = lanes.BatchLane(dtls, self._receive, self._flush, self._lost, self._moved)
        else:
            self._owner.layer = "single"
            lane = lanes.SingleLane(dtls, self._flush)
        config = Config(
            port=self.port,
            remote_port=port,
            max_message=LONGEST_MESSAGE,
            own_peer=self._owner.far_packet > 0,
            packet_sizes=_ladder(lane.sizes, self._owner.far_packet),
        )
        rng = random.SystemRandom()
        held = control(self._owner.restraint, self._owner.far_restraint)
        self._association = Association(config, held, rng=rng)
        self._channels = DataChannels(self._association, client=dtls._role == "client")
        self._path = DataPath(self._association, self._channels, self._tell)
        for channel in self._unnumbered:
            self._open(channel)
        self._unnumbered.clear()
        dtls.on("statechange", self._dtls_changed)
        dtls._register_data_receiver(self)
        calm.begin()
        self._path.start(lane)

    async def stop(self) -> None:
        """Tell the far end that all is over, and close what is open."""
        if self._path is not None and self.state != "closed":
            await self._path.stop("closed on this side")
        self._end()

    # For RTCDtlsTransport

    async def _handle_data(self, data: bytes) -> None:
        """A packet came by aiortc's own way; whatever is in it, this doesn't raise."""
        if self._path is not None:
            self._path.receive_single(data)

    # For RTCDataChannel

    def _data_channel_open(self, channel: RTCDataChannel) -> None:
        if self.state == "closed":
            raise InvalidStateError
        if self._channels is None:
            self._unnumbered.append(channel)
        else:
            self._open(channel)

    def _data_channel_add_negotiated(self, channel: RTCDataChannel) -> None:
        self._data_channel_open(channel)

    def _data_channel_close(self, channel: RTCDataChannel) -> None:
        if channel.readyState in ("closing", "closed"):
            return
        channel._setReadyState("closing")
        if channel.id is not None and self._channels is not None and self.state != "closed":
            self._channels.close(channel.id)
            self._soon()
            return
        if channel in self._unnumbered:
            self._unnumbered.remove(channel)
        channel._setReadyState("closed")

    def _data_channel_send(self, channel: RTCDataChannel, data: bytes | str) -> None:
        size = len(data.encode() if isinstance(data, str) else data)
        if self._far_message and size > self._far_message:
            message = f"a message of {size} bytes; the far end takes {self._far_message}"
            raise ValueError(message)
        assert self._channels is not None
        assert channel.id is not None
        channel._addBufferedAmount(size)
        self._outstanding = True
        self._channels.send(channel.id, data)
        self._soon()

    # For channel.py

    @property
    def arriving(self) -> int:
        """Bytes of messages that have not come whole."""
        inbound = self._association.inbound if self._association is not None else None
        return inbound.arriving if inbound is not None else 0

    async def acknowledged(self) -> None:
        """Wait until the far end has acknowledged all that was sent, or nothing more can be."""
        while self._outstanding and self.state != "closed":
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.add(waiting)
            try:
                await waiting
            finally:
                self._waiting.discard(waiting)

    # What happens

    def _receive(self, packets: list[bytes], now: float) -> None:
        if self._path is not None:
            self._path.receive(packets, now)

    def _flush(self) -> None:
        if self._path is not None:
            self._path.flush()

    def _soon(self) -> None:
        if self._path is not None:
            self._path.soon()

    def _open(self, channel: RTCDataChannel) -> None:
        assert self._channels is not None
        number = self._channels.open(
            channel.label,
            channel.protocol,
            ordered=channel.ordered,
            id=channel.id,
            negotiated=channel.negotiated,
        )
        channel._setId(number)
        self._by_id[number] = channel
        if channel.negotiated and self.state == "connected":
            channel._setReadyState("open")
        self._soon()

    def _tell(self, event: told.ChannelEvent) -> None:
        match event:
            case told.ChannelMessage(number, data):
                self._by_id[number].emit("message", data)
            case told.ChannelSent(number, size):
                self._by_id[number]._addBufferedAmount(-size)
            case events.AllAcknowledged():
                assert self._association is not None
                if not self._association.pending:  # nothing was queued since that was true
                    self._outstanding = False
                    self._wake()
            case told.ChannelAccepted(number):
                self._by_id[number]._setReadyState("open")
            case told.ChannelOpened():
                self._opened(event)
            case told.ChannelClosing(number):
                self._by_id[number]._setReadyState("closing")
            case told.ChannelClosed(number):
                self._by_id.pop(number)._setReadyState("closed")
            case events.Established():
                self._established(event)
            case events.Closed():
                self._end()

    def _established(self, event: events.Established) -> None:
        self.state = "connected"
        self._outbound_streams_count = event.outbound_streams
        for channel in self._by_id.values():
            if channel.negotiated:
                channel._setReadyState("open")

    def _opened(self, event: told.ChannelOpened) -> None:
        parameters = RTCDataChannelParameters(
            label=event.label,
            protocol=event.protocol,
            ordered=event.ordered,
            maxRetransmits=event.max_retransmits,
            maxPacketLifeTime=event.max_lifetime,
            id=event.id,
        )
        channel = RTCDataChannel(cast("RTCSctpTransport", self), parameters, send_open=False)
        channel._setReadyState("open")
        self._by_id[event.id] = channel
        self.emit("datachannel", channel)

    def _dtls_changed(self) -> None:
        if self.transport.state in ("closed", "failed"):
            self._end()

    def _lost(self) -> None:
        """Nothing can be read any more; aiortc learns of it by its own way, or not at all."""
        self._end()

    def _moved(self) -> None:
        """The path in use is another one: what was learnt of the old one is void."""
        if self._association is not None:
            self._association.path_changed(asyncio.get_running_loop().time())

    def _end(self) -> None:
        if self.state == "closed":
            return
        started, self.state = self._path is not None, "closed"
        if self._path is not None:
            self._path.halt()
        if started:
            calm.end()
            self.transport._unregister_data_receiver(self)
        channels, self._by_id = [*self._by_id.values(), *self._unnumbered], {}
        self._unnumbered.clear()
        for channel in channels:
            channel._setReadyState("closed")
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)


def _ladder(sizes: tuple[int, ...], far: int) -> tuple[int, ...]:
    """Sizes of packets to try: those that every stack reads, or that the far end says it takes."""
    most = far or sizes[0] + lanes.COMMON[-1] - lanes.SMALLEST
    return tuple(size & ~3 for size in sizes if size <= max(most, sizes[0]))
