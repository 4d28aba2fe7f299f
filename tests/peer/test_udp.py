"""Datagrams in batches: whole, in order, told apart, and kept while there is no room."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from p2pxfer.peer import sockets, udp
from p2pxfer.peer.outgoing import Outgoing

STUN = b"\x00\x01" + bytes(18)
RECORD = b"\x17\xfe\xfd"


class Taker(asyncio.DatagramProtocol):
    """Keeps what reaches a protocol."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self.errors: asyncio.Queue[Exception] = asyncio.Queue()
        self.lost = asyncio.Event()

    def datagram_received(self, data, _addr) -> None:
        self.arrived.put_nowait(data)

    def error_received(self, exc) -> None:
        self.errors.put_nowait(exc)

    def connection_lost(self, _exc) -> None:
        self.lost.set()


@contextlib.asynccontextmanager
async def endpoint(**options) -> AsyncIterator[tuple[udp.BatchTransport, Taker]]:
    """An endpoint of the running loop, closed in the end."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Taker, **options)
    try:
        yield transport, protocol
    finally:
        transport.close()
        await protocol.lost.wait()


@contextlib.asynccontextmanager
async def two(host: str = "127.0.0.1"):
    """A sender, and a receiver with its protocol and address."""
    async with endpoint(local_addr=(host, 0)) as (one, _), endpoint(local_addr=(host, 0)) as other:
        yield one, *other, other[0].get_extra_info("sockname")


@pytest.fixture(params=["as it is", "no batches out", "no batches in"])
def limits(request, monkeypatch) -> None:
    """The same without what a system may lack."""
    if request.param == "no batches out":
        monkeypatch.setattr(sockets, "_UDP_SEGMENT", -1)
    elif request.param == "no batches in":
        monkeypatch.setattr(sockets, "_UDP_GRO", -1)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(("size", "last"), [(1200, 1200), (1200, 700), (1, 1), (9000, 4)])
@pytest.mark.usefixtures("limits")
async def test_a_batch_arrives_as_datagrams(host, size, last):
    """Each of its own size, in order, whatever this system can do at once."""
    packets = [bytes([number]) * size for number in range(6)] + [b"z" * last]
    async with two(host) as (sender, _, taker, address):
        joined = b"".join(packets)
        sender.send_batch([joined[:100], memoryview(joined)[100:]], size, address)
        assert [await taker.arrived.get() for _ in packets] == packets
        assert not sender.blocked


@pytest.mark.usefixtures("limits")
async def test_each_datagram_of_a_batch_goes_where_its_kind_belongs():
    """A shorter one of another kind may end a batch: STUN is never taken for data."""
    async with two() as (sender, receiver, taker, address):
        diverted: asyncio.Queue[bytes] = asyncio.Queue()
        receiver.divert(b"\x17", lambda packets, _: [*map(diverted.put_nowait, packets)])
        data = [RECORD + bytes([number]) * 900 for number in range(5)]
        sender.send_batch(data, len(data[0]), address)
        sender.sendto(STUN, address)
        sender.send_batch([*data[:2], STUN], len(data[0]), address)
        sender.sendto(RECORD, address)
        assert [await taker.arrived.get() for _ in range(2)] == [STUN, STUN]
        expected = [*data, *data[:2], RECORD]
        assert [await diverted.get() for _ in expected] == expected


class Choking(Taker):
    """Raises over everything, as parsers do over what strangers send."""

    def datagram_received(self, data, addr) -> None:
        super().datagram_received(data, addr)
        raise (struct.error, IndexError, KeyError, UnicodeError)[len(data) % 4]


async def test_a_datagram_that_cannot_be_read_is_lost_alone():
    """Not what was read together with it; nor is it worth a line in the log."""
    loop = asyncio.get_running_loop()
    receiver, taker = await loop.create_datagram_endpoint(Choking, local_addr=("127.0.0.1", 0))
    async with endpoint(remote_addr=receiver.get_extra_info("sockname")) as (sender, _):
        lists: asyncio.Queue[list[bytes]] = asyncio.Queue()
        receiver.divert(b"\x17", lambda packets, _: lists.put_nowait(packets))
        strange = [STUN + bytes(number) for number in range(4)]
        for datagram in strange:
            sender.sendto(RECORD)
            sender.sendto(datagram)
        assert [await taker.arrived.get() for _ in strange] == strange
        assert lists.get_nowait() == [RECORD] * 4
    receiver.close()
    await taker.lost.wait()


async def test_what_nobody_diverts_any_more_reaches_the_protocol():
    """Taking the diversion away is all that is needed."""
    async with two() as (sender, receiver, taker, address):
        receiver.divert(b"\x17", lambda _packets, _now: pytest.fail("diverted"))
        receiver.divert(b"\x17", None)
        sender.sendto(RECORD, address)
        assert await taker.arrived.get() == RECORD


async def test_buffers_are_large_and_nobody_makes_them_small():
    """ICE's library sets a small buffer on every socket that it is told of."""
    async with two() as (sender, *_):
        assert sender.get_extra_info("socket") is None
        assert sender.abilities.receive_buffer >= sockets.LONGEST
        assert sender.get_extra_info("sockname")[0] == "127.0.0.1"
        assert sender.get_extra_info("peername") is None


async def test_a_refusal_told_by_icmp_is_survived():
    """A connected socket hears of it, and goes on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        late.bind(("127.0.0.1", 0))
        address = late.getsockname()
    async with endpoint(remote_addr=address) as (sender, taker):
        sender.sendto(b"anybody?")
        assert isinstance(await taker.errors.get(), ConnectionRefusedError)
        async with endpoint(local_addr=address) as (_, there):
            sender.send_batch([b"ab"], 1, ("0.0.0.0", 9))
            assert [await there.arrived.get() for _ in "ab"] == [b"a", b"b"]


async def test_other_endpoints_are_asyncios_own():
    """A socket that somebody brings along is none of ours."""
    loop = asyncio.get_running_loop()
    brought = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    brought.bind(("127.0.0.1", 0))
    transport, protocol = await loop.create_datagram_endpoint(Taker, sock=brought)
    assert transport.get_extra_info("socket") is not None
    transport.close()
    await protocol.lost.wait()


async def test_a_name_is_looked_up_and_an_impossible_address_refused():
    """As from any loop."""
    async with endpoint(local_addr=("localhost", 0)) as (transport, _):
        assert transport.get_extra_info("sockname")[0] in ("127.0.0.1", "::1")
    with pytest.raises(OSError, match="assign"):
        async with endpoint(local_addr=("192.0.2.1", 0)):
            pass


def test_datagrams_are_whole_or_not_as_asked(in_namespace):
    """Too long for the link: lost if it must be whole, cut and joined again if it may."""

    async def work() -> None:
        async with two() as (sender, _, taker, address):
            sender.send_batch([b"x" * 1473], 1473, address)
            sender.send_batch([b"y" * 4000], 2000, address, whole=False)
            sender.send_batch([b"z" * 1472], 1472, address)
            assert [len(await taker.arrived.get()) for _ in range(3)] == [2000, 2000, 1472]

    in_namespace(work, "link set lo mtu 1500")


class Narrow:
    """Stands for a socket: takes what ``room`` allows, refuses as ``refusal`` says."""

    def __init__(self, sock: socket.socket) -> None:
        self.fileno = sock.fileno
        self.room = 0
        self.refusal: dict[int, int] = {}  # by datagrams in a call
        self.sent: list[bytes] = []
        self.took = asyncio.Event()

    def _take(self, data: bytes, count: int) -> None:
        if count in self.refusal:
            raise OSError(self.refusal[count], "no")
        if self.room < len(data):
            raise BlockingIOError(errno.EAGAIN, "full")
        self.room -= len(data)
        self.sent.append(data)
        self.took.set()

    def sendto(self, data, _target) -> None:
        self._take(bytes(data), 1)

    def sendmsg(self, buffers, ancillary, *_) -> None:
        data = b"".join(buffers)
        segment = int.from_bytes(ancillary[0][2], "little")
        self._take(data, -(-len(data) // segment))


@pytest.fixture
async def narrow():
    """A sending half over `Narrow`, and what it told."""
    one, other = socket.socketpair()
    sock, errors, emptied = Narrow(one), [], asyncio.Event()
    outgoing = Outgoing(
        asyncio.get_running_loop(),
        sock,
        segmentation=True,
        on_error=errors.append,
        on_empty=emptied.set,
    )
    yield sock, outgoing, errors, emptied
    outgoing.stop()
    one.close()
    other.close()


async def test_what_finds_no_room_waits_and_stun_goes_ahead(narrow):
    """Order is kept within each kind, and room is told once all is gone."""
    sock, outgoing, _, emptied = narrow
    outgoing.send_batch([b"\x17" * 30], 10, ("host", 1))
    outgoing.send(b"\x17late", ("host", 1))
    outgoing.send(STUN, ("host", 1))
    assert outgoing.waiting == 30 + 5 + 20
    assert not sock.sent
    sock.room = 20
    await sock.took.wait()
    assert sock.sent == [STUN]
    assert not emptied.is_set()
    sock.room = 1000
    await emptied.wait()
    assert sock.sent == [STUN, b"\x17" * 30, b"\x17late"]
    assert outgoing.waiting == 0


async def test_stun_is_not_held_up_by_what_waits(narrow):
    """It goes out at once when there is room for it alone."""
    sock, outgoing, _, _ = narrow
    outgoing.send_batch([b"\x17" * 3000], 1000, ("host", 1))
    sock.room = 20
    outgoing.send(STUN, ("host", 1))
    assert sock.sent == [STUN]


@pytest.mark.parametrize("problem", [errno.EIO, errno.EINVAL, errno.EMSGSIZE])
async def test_where_batches_are_refused_they_go_singly(narrow, problem):
    """That batch is not lost, and later ones to that target aren't tried together."""
    sock, outgoing, errors, _ = narrow
    sock.room, sock.refusal = 10_000, {3: problem}
    for _ in range(2):
        outgoing.send_batch([b"aabbc"], 2, ("host", 1))
    assert sock.sent == [b"aa", b"bb", b"c"] * 2
    sock.refusal = {}
    outgoing.send_batch([b"aabbc"], 2, ("host", 1))
    outgoing.send_batch([b"aabbc"], 2, ("other", 1))
    assert sock.sent[6:] == [b"aa", b"bb", b"c", b"aabbc"]
    assert not errors


async def test_a_size_that_no_longer_fits_does_not_end_batches(narrow):
    """Nor anything else: the datagrams are lost, as on any other link."""
    sock, outgoing, errors, _ = narrow
    sock.room, sock.refusal = 10_000, {1: errno.EMSGSIZE, 3: errno.EMSGSIZE}
    outgoing.send_batch([b"aabbc"], 2, ("host", 1))
    assert len(errors) == 3
    sock.refusal = {}
    outgoing.send_batch([b"abc"], 1, ("host", 1))
    assert sock.sent == [b"abc"]


async def test_a_full_interface_is_tried_again(narrow):
    """Some systems say that there is room when there is none."""
    sock, outgoing, errors, emptied = narrow
    sock.room, sock.refusal = 10_000, {1: errno.ENOBUFS, 2: errno.ENOBUFS}
    outgoing.send_batch([b"ab"], 1, ("host", 1))
    await asyncio.sleep(0.005)
    assert outgoing.waiting == 2
    sock.refusal = {}
    await emptied.wait()
    assert sock.sent == [b"ab"]
    assert not errors


async def test_nobody_fills_the_memory(narrow):
    """Whoever heeds nothing loses datagrams."""
    _, outgoing, _, _ = narrow
    for _ in range(300):
        outgoing.send_batch([bytes([23]) * 60_000], 1200, ("host", 1))
    assert outgoing.waiting <= 8 << 20


async def test_closing_sends_what_waits_first(monkeypatch):
    """A last word is not lost because the socket was full."""
    async with two() as (sender, _, taker, address):
        full = True

        def transmit(self, data, segment, target):
            return 0 if full else original(self, data, segment, target)

        original = Outgoing._transmit
        monkeypatch.setattr(Outgoing, "_transmit", transmit)
        sender.sendto(b"\xffbye", address)
        assert sender.blocked
        sender.close()
        sender.sendto(b"\xfftoo late", address)
        await asyncio.sleep(0.005)
        full = False
        assert await taker.arrived.get() == b"\xffbye"


def test_a_loop_of_somebody_elses_is_kept(monkeypatch):
    """Batches need a loop that watches sockets; a foreign policy's loops may not."""
    loop = udp.new_event_loop()
    assert isinstance(loop, udp.BatchLoop)
    loop.close()
    monkeypatch.setattr(udp, "_watching_policies", tuple)
    loop = udp.new_event_loop()
    assert not isinstance(loop, udp.BatchLoop)
    loop.close()
