"""A far end that says anything: a program of bytes becomes packets, near enough to what is right.

Each program is played against one end with data channels. It chooses how much of a recorded
conversation goes first, so that the end is in any of its states, and then mixes packets of that
conversation, whole or damaged, chunks made up around the sequence numbers in use, plain noise, time
that passes, and what the application does. Checksums are made right most of the time, since all
else ends at once. After each step the properties are looked at that hold whatever comes.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from functools import cache

from p2pxfer.sctp import chunks as c
from p2pxfer.sctp.association import Association, Config
from p2pxfer.sctp.datachannel import MAX_CHANNELS, MAX_REFUSED, DataChannels
from p2pxfer.sctp.packets import CHECKSUM, checksum, checksum_valid, encode, parse
from p2pxfer.sctp.parameters import zero_checksum_acceptable
from tests.sctp.controllers import CONTROLLERS

WINDOW = 60_000
LIMIT = 20_000
SIZES = (600, 700, 900)
OVERHEAD = 300  # bytes that keeping one thing may cost beside what is counted
MOST_STEPS = 60
MOST_CONTROL = 256
MOST_OWN = 40
SEED = 7

CONTROLS = ("fixed",) * 10 + ("bbr",) * 3 + ("cubic", "ledbat", "limited")

_U32 = struct.Struct(">I")


class Draw:
    """Numbers out of bytes; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether there is more."""
        return self._at < len(self._data)

    def byte(self) -> int:
        """0 to 255."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, limit: int) -> int:
        """0 to one less than a limit up to 2^16."""
        number = self.byte()
        if limit > 256:
            number = number << 8 | self.byte()
        return number % limit

    def bytes(self, most: int) -> bytes:
        """A length and as many bytes, as far as there are."""
        size = self.below(most + 1)
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def near(self, base: int) -> int:
        """A 32-bit number: mostly within a few of a base, sometimes anywhere."""
        how = self.byte()
        if how < 240:
            return (base + how - 100) & 0xFFFFFFFF if how & 1 else (base + (how >> 5)) & 0xFFFFFFFF
        if how < 250:
            return (base + (1 << (self.byte() & 31))) & 0xFFFFFFFF
        return int.from_bytes(bytes(self.byte() for _ in range(4)), "big")


def end(role: int, *, own_peer: bool, control: str = "fixed") -> tuple[Association, DataChannels]:
    """One of the two ends of the conversation."""
    config = Config(
        max_message=LIMIT, receive_window=WINDOW, packet_sizes=SIZES, own_peer=own_peer, streams=200
    )
    association = Association(config, CONTROLLERS[control](), rng=random.Random(SEED + role))
    return association, DataChannels(association, client=role == 0)


@cache
def recorded(
    role: int, own_peer: bool, initiates: int, control: str = "fixed"
) -> list[tuple[str, object, float]]:
    """What happens to one end in a conversation with everything in it, in order.

    Args:
        role: which of the two ends.
        own_peer: whether both know each other to be of this project.
        initiates: 1: the one end sends INIT, 2: the other, 3: both.
        control: the congestion control of both.
    """
    ends = [end(at, own_peer=own_peer, control=control) for at in (0, 1)]
    log: list[tuple[str, object, float]] = []
    chance = random.Random(3)
    now = 10.0

    def do(at: int, name: str, *arguments: object) -> None:
        if at == role:
            log.append((name, arguments, now))
        act(*ends[at], name, arguments, now)

    plan = {
        0: [(0, "connect")] * (initiates & 1) + [(1, "connect")] * (initiates >> 1),
        2: [(0, "open", "first"), (1, "open", "second"), (0, "send", 0, b"a" * 9000)],
        4: [(1, "send", 1, "text"), (1, "send", 0, b""), (0, "send", 1, b"b" * 5000)],
        9: [(0, "open", "third"), (1, "close", 0), (0, "send", 2, b"c" * 15000)],
        14: [(1, "close", 1), (0, "reset", 5), (1, "send", 2, b"d" * 3000)],
        20: [(0, "shutdown")],
    }
    for step in range(30):
        for at, name, *arguments in plan.get(step, []):
            do(at, name, *arguments)
        for at in (0, 1):
            batch: list[bytes] = []
            while (transmit := ends[at][0].transmit(now)) is not None:
                batch += transmit.packets
            if at == role:
                log.append(("transmit", (), now))
            if 5 < step < 18:
                batch = [packet for packet in batch if chance.random() > 0.2]
            if batch:
                do(1 - at, "receive", batch)
            do(1 - at, "events")
        now += 0.3 if step > 17 else 0.05
        for at in (0, 1):
            do(at, "timer")
    return log


def act(
    association: Association,
    channels: DataChannels,
    name: str,
    arguments: tuple,  # type: ignore[type-arg]  # of what the name says
    now: float,
) -> None:
    """Do one thing to an end; what an application may not do is refused with ValueError."""
    if name in _DRAINS:
        drain = association.transmit if name == "transmit" else _events(channels)
        while drain(now) is not None:
            pass
        return
    try:
        _ACTS[name](association, channels, now, *arguments)
    except ValueError:
        assert name in ("open", "send")


def _events(channels: DataChannels) -> Callable[[float], object]:
    return lambda _now: channels.next_event()


_DRAINS = ("transmit", "events")
_ACTS: dict[str, Callable[..., object]] = {
    "connect": lambda a, _c, now: a.connect(now),
    "receive": lambda a, _c, now, batch: a.receive(list(batch), now),
    "timer": lambda a, _c, now: a.handle_timer(now),
    "open": lambda _a, c, _now, label: c.open(label),
    "send": lambda _a, c, _now, number, data: c.send(number, data),
    "close": lambda _a, c, _now, number: c.close(number),
    "reset": lambda a, _c, _now, number: a.reset_streams((number,)),
    "shutdown": lambda a, _c, now: a.shutdown(now),
    "abort": lambda a, _c, now: a.abort(now, "enough"),
    "path": lambda a, _c, now: a.path_changed(now),
}


class Game:
    """One program being played."""

    def __init__(self, program: bytes) -> None:
        self.draw = Draw(program)
        how = self.draw.byte()
        role, own_peer, initiates = how & 1, bool(how & 2), (how >> 2) % 3 + 1
        control = CONTROLS[how >> 4]
        self.log = recorded(role, own_peer, initiates, control)
        self.association, self.channels = end(role, own_peer=own_peer, control=control)
        self.now = 10.0
        self.captured = [
            packet for name, (batch, *_) in self._received() for packet in batch if name
        ]
        self.opened = 3
        for name, arguments, now in self.log[: self.draw.below(len(self.log) + 1)]:
            self.now = now
            act(self.association, self.channels, name, arguments, now)  # type: ignore[arg-type]
        self.next = 0

    def _received(self) -> list[tuple[str, tuple[list[bytes]]]]:
        return [(name, arguments) for name, arguments, _ in self.log if name == "receive"]  # type: ignore[misc]

    def play(self) -> None:
        """Every step, and what must hold after it."""
        for _ in range(MOST_STEPS):
            if not self.draw:
                break
            self.step()
            self.settle()
        self.after(20.0)

    def step(self) -> None:
        """One thing that happens."""
        draw = self.draw
        what = draw.byte()
        if what < 100:
            batch = [self.packet() for _ in range(1 + (what & 3 if what & 4 else 0))]
            self.association.receive(batch, self.now)
        elif what < 190:
            self.association.receive([self.made()], self.now)
        elif what < 200:
            self.association.receive([draw.bytes(300) for _ in range(1 + what % 3)], self.now)
        elif what < 225:
            self.after((0.0, 0.001, 0.03, 0.3, 2.0)[draw.below(5)])
        else:
            self.application(what)

    def packet(self) -> bytes:
        """One of the conversation's, perhaps damaged."""
        draw = self.draw
        if not self.captured:
            return draw.bytes(100)
        self.next = (self.next + 1 if draw.byte() & 1 else draw.below(1000)) % len(self.captured)
        packet = bytearray(self.captured[self.next])
        for _ in range(draw.below(4)):
            packet[draw.below(min(len(packet), 300))] = draw.byte()
        if not draw.below(8):
            del packet[draw.below(len(packet)) :]
        return self.signed(bytes(packet))

    def signed(self, packet: bytes) -> bytes:
        """With a right checksum, mostly."""
        how = self.draw.byte() & 15
        if how < 14 and len(packet) >= 12:
            return packet[:8] + CHECKSUM.pack(checksum(packet)) + packet[12:]
        return packet if how == 14 else packet[:8] + bytes(4) + packet[12:]

    def made(self) -> bytes:
        """Chunks that are made up, in a packet to this end."""
        draw = self.draw
        how = draw.byte()
        tag = 0 if how < 16 else self.association.handshake.tag
        if how > 250:
            tag = self.association.peer_tag or draw.near(0)
        chunks = [self.chunk() for _ in range(1 + (how & 1) * draw.below(5))]
        return self.signed(encode(tag, chunks))

    def chunk(self) -> c.Chunk:  # noqa: C901, PLR0911, PLR0912  # one case a type
        """Any chunk, its numbers near those in use."""
        draw = self.draw
        association = self.association
        came = association.inbound.cumulative & 0xFFFFFFFF if association.inbound else 5
        sent = association.sending.board.una & 0xFFFFFFFF if association.sending else 5
        match draw.byte() % 20:
            case 0 | 1 | 2 | 3 | 4:
                return c.Data(
                    draw.byte() & 15 if draw.byte() & 1 else 3,
                    draw.near(came),
                    draw.below(8) if draw.byte() else draw.below(65536),
                    draw.below(6) if draw.byte() else draw.below(65536),
                    draw.below(12) + 48,
                    draw.bytes(80) * (1 + 12 * (draw.byte() & 1)),
                )
            case 5 | 6 | 7:
                pairs = [(draw.below(60), draw.below(60)) for _ in range(draw.below(5))]
                ends = sorted(end for pair in pairs for end in pair)
                gaps = list(zip(ends[::2], ends[1::2], strict=True))
                return c.Sack(
                    draw.near(sent),
                    draw.below(65536) * draw.byte(),
                    tuple(gaps if draw.byte() & 3 else pairs),
                    tuple(draw.near(sent) for _ in range(draw.below(4))),
                )
            case 8:
                return c.ForwardTsn(
                    draw.near(came),
                    tuple((draw.below(8), draw.below(65536)) for _ in range(draw.below(4))),
                )
            case 9 | 10:
                return c.Reconfig(tuple(self.request(came) for _ in range(draw.below(3))))
            case 11:
                return c.Heartbeat(draw.bytes(60))
            case 12:
                return c.HeartbeatAck(draw.bytes(60))
            case 13:
                kind = c.Init if draw.byte() & 1 else c.InitAck
                fields = (draw.near(0), draw.near(9000), draw.below(300), draw.below(300))
                tlvs = [(draw.below(65536), draw.bytes(30)) for _ in range(draw.below(3))]
                tlvs += [(7, draw.bytes(80)), zero_checksum_acceptable()][: draw.below(3)]
                return kind(*fields, draw.near(came), tuple(tlvs))
            case 14:
                return c.CookieEcho(draw.bytes(80))
            case 15:
                return (c.CookieAck(), c.ShutdownAck(), c.ShutdownComplete())[draw.below(3)]
            case 16:
                return c.Shutdown(draw.near(sent))
            case 17:
                tlvs = [(draw.below(15), draw.bytes(30)) for _ in range(draw.below(3))]
                return c.Error(tuple(tlvs)) if draw.byte() else c.Abort(tuple(tlvs))
            case 18:
                return c.Pad(4 + draw.below(300))
            case _:
                return c.Unknown(16 + draw.below(100), draw.byte(), draw.bytes(30))

    def request(self, came: int) -> tuple[int, bytes]:
        """A parameter of RE-CONFIG."""
        draw = self.draw
        if draw.byte() & 1:
            sequence = draw.near(self.association.handshake.tsn)
            return 16, _U32.pack(sequence) + _U32.pack(draw.below(8))
        peer = self.association._peer
        sequence = draw.near(peer.tsn if peer is not None else 0)
        ids = b"".join(struct.pack(">H", draw.below(12)) for _ in range(draw.below(4)))
        kind = 13 if draw.byte() & 7 else 12 + draw.below(8)
        body = _U32.pack(sequence)
        if kind == 13:
            body += _U32.pack(0) + _U32.pack(draw.near(came))
        return kind, body + ids

    def application(self, what: int) -> None:
        """What its owner does."""
        draw = self.draw
        if what < 230 and self.opened < MOST_OWN:
            self.opened += 1
            self.act("open", "x")
        elif what < 240:
            size = draw.below(3000)
            self.act("send", draw.below(8), b"y" * size if draw.byte() & 1 else "z" * size)
        elif what < 246:
            self.act("close", draw.below(8))
        elif what < 249:
            self.act("reset", draw.below(8))
        elif what < 251:
            self.act("path")
        elif what < 253:
            self.act("connect")
        else:
            self.act("shutdown" if draw.byte() & 7 else "abort")

    def act(self, name: str, *arguments: object) -> None:
        """Do it."""
        act(self.association, self.channels, name, arguments, self.now)

    # what must hold

    def settle(self) -> None:
        """Take everything, and look at what must hold."""
        association = self.association
        sent = 0
        for _ in range(2):  # what is told may be answered
            while (transmit := association.transmit(self.now)) is not None:
                sent += 1
                assert sent < 1000, "it never stops sending"
                assert len(transmit.packets) <= MOST_CONTROL
                for packet in transmit.packets:
                    assert len(packet) <= SIZES[-1] or transmit.fragmentable
                    assert checksum_valid(packet) or packet[8:12] == bytes(4)
                    assert parse(packet).chunks
            told = 0
            while self.channels.next_event() is not None:
                told += 1
                assert told < 3000, "it never stops telling"
        inbound = association.inbound
        if inbound is not None:
            used = inbound.used
            assert 0 <= used <= WINDOW + LIMIT + OVERHEAD, used
            assert len(inbound._held) * 256 <= used + OVERHEAD
            assert inbound._ends.keys() <= inbound._held.keys()
            assert len(inbound._starts) == len(inbound._stops) <= 33_000
        assert len(self.channels._channels) <= MAX_CHANNELS + self.opened
        assert len(self.channels._refused) <= MAX_REFUSED
        if association.over:
            assert association.inbound is association.sending is None
            assert not association.pending

    def after(self, seconds: float) -> None:
        """Time passes, and every timer is served."""
        until = self.now + seconds
        served = 0
        while (at := self.association.deadline()) is not None and at <= until:
            assert math.isfinite(at)
            self.now = max(self.now, at)
            self.association.handle_timer(self.now)
            self.settle()
            served += 1
            assert served < 3000, "a timer runs wild"
        self.now = until


def play(program: bytes) -> None:
    """Play it.

    Raises:
        AssertionError: Something that must hold did not.
    """
    Game(program).play()
