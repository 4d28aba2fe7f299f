"""The far end of an association, made of chunks that a test writes by hand."""

from __future__ import annotations

import random

from p2pxfer.sctp import chunks as c
from p2pxfer.sctp import events as e
from p2pxfer.sctp.association import Association, Config
from p2pxfer.sctp.packets import Packet, checksum_valid, encode, parse
from p2pxfer.sctp.parameters import ParameterType, find, supported_extensions
from tests.sctp.controllers import Fixed

TAG = 0xBBBB0001  # the far end's own, which packets to it bear
TSN = 0xFFFFFFF0  # its first, near the end of the circle
RWND = 100_000
WIDE = 1 << 20  # bytes that may be under way, and may leave at once
COOKIE = b"a cookie of the far end's"
EXTENSIONS = ((0xC000, b""), supported_extensions((130, 192)))


def only(kind, chunks):
    """Those of one kind."""
    return [chunk for chunk in chunks if isinstance(chunk, kind)]


def messages(far):
    """What the association under test gave its owner to read, since that was asked last."""
    return [event.data for event in far.events() if isinstance(event, e.Message)]


class FarEnd:
    """One association under test, and what reaches it and leaves it.

    Attributes:
        association: the one under test.
        now: its time.
        tag: the tag that packets to it bear, once its INIT or INIT ACK told it.
        tsn: its first TSN.
        probes: packets that asked whether their length passes.
    """

    def __init__(self, **config):
        config = {"packet_sizes": (1172,), "zero_checksum": False, **config}
        self.association = Association(Config(**config), Fixed(WIDE, WIDE), rng=random.Random(7))
        self.now = 100.0
        self.tag = 0
        self.tsn = 0
        self.probes: list[bytes] = []

    def take(self) -> list[Packet]:
        """What leaves now; probes of the path's packet size apart."""
        found = []
        for _ in range(1000):
            transmit = self.association.transmit(self.now)
            if transmit is None:
                break
            if transmit.probe:
                self.probes += transmit.packets
                continue
            found += [parse(packet) for packet in transmit.packets]
            for packet in transmit.packets:
                assert checksum_valid(packet) or not packet[8:12].strip(b"\0")
        else:
            raise AssertionError("it never stops sending")
        return found

    def chunks(self) -> list[c.Chunk]:
        """The chunks of what leaves now."""
        return [chunk for packet in self.take() for chunk in packet.chunks]

    def put(self, *packets: bytes) -> list[c.Chunk]:
        """Hand over a batch; what leaves for it."""
        self.association.receive(list(packets), self.now)
        return self.chunks()

    def give(self, *chunks: c.Chunk, tag: int | None = None, zero: bool = False) -> list[c.Chunk]:
        """Hand over one packet of these chunks; what leaves for it."""
        packet = encode(self.tag if tag is None else tag, chunks, zero_checksum=zero)
        return self.put(packet)

    def wait(self, seconds: float) -> list[c.Chunk]:
        """What leaves while time passes and every timer is served."""
        end = self.now + seconds
        found = self.chunks()
        for _ in range(10_000):
            at = self.association.deadline()
            if at is None or at > end:
                break
            self.now = max(self.now, at)
            self.association.handle_timer(self.now)
            found += self.chunks()
        else:
            raise AssertionError("a timer runs wild")
        self.now = end
        return found

    def events(self) -> list[object]:
        """What it told."""
        found = []
        while (event := self.association.next_event()) is not None:
            found.append(event)
        return found

    # the beginning

    def init(self, parameters=EXTENSIONS, **changes) -> c.Init:
        """An INIT of the far end."""
        values = {
            "tag": TAG,
            "rwnd": RWND,
            "outbound_streams": 100,
            "inbound_streams": 50,
            "tsn": TSN,
            "parameters": parameters,
        }
        return c.Init(**{**values, **changes})

    def init_ack(self, parameters=EXTENSIONS, **changes) -> c.InitAck:
        """An INIT ACK of the far end, with a cookie."""
        init = self.init(((ParameterType.STATE_COOKIE, COOKIE), *parameters), **changes)
        return c.InitAck(
            init.tag,
            init.rwnd,
            init.outbound_streams,
            init.inbound_streams,
            init.tsn,
            init.parameters,
        )

    def connect(self) -> c.Init:
        """Let it send its INIT."""
        self.association.connect(self.now)
        (init,) = self.chunks()
        assert isinstance(init, c.Init)
        self.tag, self.tsn = init.tag, init.tsn
        return init

    def establish(self, parameters=EXTENSIONS, **changes) -> FarEnd:
        """Bring it up, it being the one that begins."""
        self.connect()
        self.give(self.init_ack(parameters, **changes))
        self.give(c.CookieAck())
        self.events()
        return self

    def cookie_for(self, init: c.Init) -> bytes:
        """The cookie that it hands out for an INIT; its tag is taken over."""
        (ack,) = self.give(init, tag=0)
        assert isinstance(ack, c.InitAck)
        self.tag, self.tsn = ack.tag, ack.tsn
        cookie = find(ack.parameters, ParameterType.STATE_COOKIE)
        assert cookie is not None
        return cookie


def data(offset: int, payload: bytes = b"x", **changes) -> c.Data:
    """A whole message on stream 0, ``offset`` TSNs after the far end's first."""
    values = {
        "flags": c.BEGIN | c.END,
        "tsn": (TSN + offset) & 0xFFFFFFFF,
        "stream_id": 0,
        "ssn": offset & 0xFFFF,
        "ppid": 53,
        "payload": payload,
    }
    return c.Data(**{**values, **changes})


def sack(offset: int, rwnd: int = RWND, gaps=(), duplicates=(), *, first: int) -> c.Sack:
    """A report on what came, ``offset`` TSNs after the other end's first."""
    return c.Sack((first + offset) & 0xFFFFFFFF, rwnd, tuple(gaps), tuple(duplicates))
