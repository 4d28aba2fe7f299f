"""Chunks with their bytes, and strategies that draw any of them."""

from __future__ import annotations

from hypothesis import strategies as st

from p2pxfer.sctp import chunks as c

VECTORS: dict[str, tuple[c.Chunk, str]] = {
    "DATA": (
        c.Data(c.BEGIN | c.END, 0x10203040, 5, 6, 51, b"hello"),
        "00030015 10203040 0005 0006 00000033 68656c6c 6f000000",
    ),
    "DATA, unordered, immediate, first part": (
        c.Data(c.BEGIN | c.UNORDERED | c.IMMEDIATE, 0xFFFFFFFF, 65535, 0, 53, b"abcd"),
        "000e0014 ffffffff ffff 0000 00000035 61626364",
    ),
    "DATA without a byte": (c.Data(3, 1, 0, 0, 0, b""), "00030010 00000001 0000 0000 00000000"),
    "INIT": (
        c.Init(
            0xA1B2C3D4,
            131072,
            65535,
            65534,
            0x01020304,
            ((0xC000, b""), (0x8008, b"\xc0\x82"), (0x8001, b"\0\0\0\1")),
        ),
        (
            "01000028 a1b2c3d4 00020000 ffff fffe 01020304 "
            "c0000004 80080006 c0820000 80010008 00000001"
        ),
    ),
    "INIT without parameters": (
        c.Init(1, 1500, 1, 1, 0),
        "01000014 00000001 000005dc 0001 0001 00000000",
    ),
    "INIT ACK": (
        c.InitAck(0xA1B2C3D4, 131072, 10, 2048, 9, ((7, b"cookie"), (0x8008, b"\x82"))),
        (
            "02000025 a1b2c3d4 00020000 000a 0800 00000009 "
            "0007000a 636f6f6b 69650000 80080005 82000000"
        ),
    ),
    "SACK": (c.Sack(0x01020304, 65536), "03000010 01020304 00010000 0000 0000"),
    "SACK with gaps and duplicates": (
        c.Sack(16, 4096, ((2, 3), (5, 65535)), (15, 16, 4294967295)),
        "03000024 00000010 00001000 0002 0003 0002 0003 0005 ffff 0000000f 00000010 ffffffff",
    ),
    "HEARTBEAT": (c.Heartbeat(b"12345"), "0400000d 00010009 31323334 35000000"),
    "HEARTBEAT of nothing": (c.Heartbeat(b""), "04000008 00010004"),
    "HEARTBEAT ACK": (c.HeartbeatAck(b"1234"), "0500000c 00010008 31323334"),
    "ABORT": (c.Abort(), "06000004"),
    "ABORT with the T bit and a cause": (
        c.Abort(((12, b"bye"),), reflected_tag=True),
        "0601000b 000c0007 62796500",
    ),
    "SHUTDOWN": (c.Shutdown(0x01020304), "07000008 01020304"),
    "SHUTDOWN ACK": (c.ShutdownAck(), "08000004"),
    "ERROR": (
        c.Error(((1, b"\0\5\0\0"), (6, b"\xff\0\0\4"))),
        "09000014 00010008 0005 0000 00060008 ff000004",
    ),
    "COOKIE ECHO": (c.CookieEcho(b"cookie"), "0a00000a 636f6f6b 69650000"),
    "COOKIE ACK": (c.CookieAck(), "0b000004"),
    "SHUTDOWN COMPLETE": (c.ShutdownComplete(), "0e000004"),
    "SHUTDOWN COMPLETE with the T bit": (c.ShutdownComplete(reflected_tag=True), "0e010004"),
    "RE-CONFIG, RFC 6525 section 4.1": (
        c.Reconfig(((13, bytes.fromhex("00000001000000020000000300050007")),)),
        "82000018 000d0014 00000001 00000002 00000003 0005 0007",
    ),
    "RE-CONFIG, RFC 6525 section 4.4": (
        c.Reconfig(((16, bytes.fromhex("0000000100000006")),)),
        "82000010 0010000c 00000001 00000006",
    ),
    "PAD, RFC 4820": (c.Pad(10), "8400000a 00000000 00000000"),
    "PAD of its header alone": (c.Pad(4), "84000004"),
    "FORWARD-TSN, RFC 3758": (
        c.ForwardTsn(0x01020304, ((1, 2), (65535, 0))),
        "c0000010 01020304 0001 0002 ffff 0000",
    ),
    "FORWARD-TSN of no stream": (c.ForwardTsn(1), "c0000008 00000001"),
    "a chunk that is not spoken": (c.Unknown(0xC1, 7, b"\1\2\3"), "c1070007 01020300"),
}

_U16 = st.integers(0, 0xFFFF)
_U32 = st.integers(0, 0xFFFFFFFF)
_BYTES = st.binary(max_size=40)
_TLVS = st.lists(st.tuples(_U16, _BYTES), max_size=4).map(tuple)
_PAIRS = st.lists(st.tuples(_U16, _U16), max_size=5).map(tuple)
_SPOKEN = {int(kind) for kind in c.ChunkType}

ALONE = st.one_of(
    st.builds(c.Init, _U32, _U32, _U16, _U16, _U32, _TLVS),
    st.builds(c.InitAck, _U32, _U32, _U16, _U16, _U32, _TLVS),
    st.builds(c.ShutdownComplete, st.booleans()),
)
BUNDLED = st.one_of(
    st.builds(c.Data, st.integers(0, 15), _U32, _U16, _U16, _U32, _BYTES),
    st.builds(c.Sack, _U32, _U32, _PAIRS, st.lists(_U32, max_size=5).map(tuple)),
    st.builds(c.Heartbeat, _BYTES),
    st.builds(c.HeartbeatAck, _BYTES),
    st.builds(c.Abort, _TLVS, st.booleans()),
    st.builds(c.Shutdown, _U32),
    st.just(c.ShutdownAck()),
    st.builds(c.Error, _TLVS),
    st.builds(c.CookieEcho, _BYTES),
    st.just(c.CookieAck()),
    st.builds(c.Reconfig, _TLVS),
    st.builds(c.Pad, st.integers(4, 60)),
    st.builds(c.ForwardTsn, _U32, _PAIRS),
    st.builds(
        c.Unknown,
        st.integers(0, 255).filter(lambda kind: kind not in _SPOKEN),
        st.integers(0, 255),
        _BYTES,
    ),
)


def packets() -> st.SearchStrategy[tuple[int, tuple[c.Chunk, ...]]]:
    """A tag and chunks that may travel together."""
    alone = ALONE.map(lambda chunk: (chunk,))
    together = st.lists(BUNDLED, min_size=1, max_size=5).map(tuple)
    return st.tuples(_U32, alone | together)
