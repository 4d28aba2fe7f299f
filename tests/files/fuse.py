"""A filesystem in memory, served over /dev/fuse as sshfs and gocryptfs are: ``fuse.py DIR``.

It says ``up`` once it is mounted, in the mount namespace that it runs in. From then on a line tells
of each request that counts for what is on the disk: the kernel's word for it and the name of what
it is about, as it was when it was asked for; for a name that is given the new one and the file's
size.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys

# linux/fuse.h
LOOKUP, FORGET, GETATTR, SETATTR, MKDIR, UNLINK, OPEN, READ, WRITE = 1, 2, 3, 4, 9, 10, 14, 15, 16
STATFS, RELEASE, FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = 17, 18, 20, 25, 26, 27, 28, 29
FSYNCDIR, CREATE, INTERRUPT, BATCH_FORGET, RENAME, SYNCFS = 30, 35, 36, 42, 45, 50
BIG_WRITES, WRITEBACK = 1 << 5, 1 << 16
SIZE, MODE = 8, 1  # bits of SETATTR
ROOT, HEADER = 1, 40
LONG = 1000  # seconds for which the kernel may believe an answer


class Node:
    """A file or a folder."""

    def __init__(self, mode: int, name: str) -> None:
        self.mode = mode
        self.name = name
        self.data = bytearray()
        self.below: dict[bytes, int] = {}


nodes = {ROOT: Node(stat.S_IFDIR | 0o755, "/")}


def tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def attributes(number: int) -> bytes:
    node = nodes[number]
    size = len(node.data)
    times = (0,) * 6
    return struct.pack("<QQQ3Q3I7I", number, size, 0, *times, node.mode, 1, 0, 0, 0, 4096, 0)


def found(number: int) -> bytes:
    return struct.pack("<QQQQII", number, 0, LONG, LONG, 0, 0) + attributes(number)


def make(parent: int, name: bytes, mode: int) -> bytes:
    if name in nodes[parent].below:
        raise FileExistsError(errno.EEXIST, "")
    number = max(nodes) + 1
    nodes[number] = Node(mode, name.decode())
    nodes[parent].below[name] = number
    return found(number)


def lookup(number: int, body: bytes) -> bytes:
    name = body.rstrip(b"\0")
    if name not in nodes[number].below:
        raise FileNotFoundError(errno.ENOENT, "")
    return found(nodes[number].below[name])


def set_attributes(number: int, body: bytes) -> bytes:
    valid, _, _, size = struct.unpack_from("<IIQQ", body)
    node = nodes[number]
    if valid & MODE:
        (mode,) = struct.unpack_from("<I", body, 68)
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
    if valid & SIZE:
        node.data[:] = node.data[:size].ljust(size, b"\0")
    return get_attributes(number, body)


def get_attributes(number: int, _body: bytes) -> bytes:
    return struct.pack("<QII", LONG, 0, 0) + attributes(number)


def make_folder(number: int, body: bytes) -> bytes:
    (mode,) = struct.unpack_from("<I", body)
    return make(number, body[8:].rstrip(b"\0"), stat.S_IFDIR | stat.S_IMODE(mode))


def unlink(number: int, body: bytes) -> bytes:
    del nodes[number].below[body.rstrip(b"\0")]
    return b""


def rename(number: int, body: bytes) -> bytes:
    (target,) = struct.unpack_from("<Q", body)
    old, new = body[16:].split(b"\0")[:2]
    if new in nodes[target].below:
        raise FileExistsError(errno.EEXIST, "")
    moved = nodes[target].below[new] = nodes[number].below.pop(old)
    tell("RENAME", nodes[moved].name, new.decode(), len(nodes[moved].data))
    nodes[moved].name = new.decode()
    return b""


def create(number: int, body: bytes) -> bytes:
    (mode,) = struct.unpack_from("<I", body, 4)
    made = make(number, body[16:].rstrip(b"\0"), stat.S_IFREG | stat.S_IMODE(mode))
    return made + opened(number, body)


def opened(_number: int, _body: bytes) -> bytes:
    return struct.pack("<QII", 0, 0, 0)


def read(number: int, body: bytes) -> bytes:
    _, offset, size = struct.unpack_from("<QQI", body)
    return bytes(nodes[number].data[offset : offset + size])


def write(number: int, body: bytes) -> bytes:
    _, offset, size = struct.unpack_from("<QQI", body)
    data = nodes[number].data
    data.extend(bytes(max(0, offset + size - len(data))))
    data[offset : offset + size] = body[40 : 40 + size]
    return struct.pack("<II", size, 0)


def room(_number: int, _body: bytes) -> bytes:
    much = 1 << 20
    return struct.pack("<5Q4I24x", much, much, much, much, much, 4096, 255, 4096, 0)


def nothing(_number: int, _body: bytes) -> bytes:
    return b""


def synced(word: str):
    def answer(number: int, _body: bytes) -> bytes:
        tell(word, nodes[number].name)
        return b""

    return answer


def begin(_number: int, body: bytes) -> bytes:
    _, minor, ahead, _ = struct.unpack_from("<4I", body)
    flags = BIG_WRITES | WRITEBACK
    return struct.pack(
        "<4I2H2I2H2I24x", 7, min(minor, 38), ahead, flags, 12, 9, 1 << 17, 1, 32, 0, 0, 0
    )


ANSWERS = {
    INIT: begin,
    LOOKUP: lookup,
    GETATTR: get_attributes,
    SETATTR: set_attributes,
    MKDIR: make_folder,
    UNLINK: unlink,
    RENAME: rename,
    CREATE: create,
    OPEN: opened,
    OPENDIR: opened,
    READ: read,
    WRITE: write,
    STATFS: room,
    FSYNC: synced("FSYNC"),
    FSYNCDIR: synced("FSYNCDIR"),
    SYNCFS: synced("SYNCFS"),
    **dict.fromkeys((RELEASE, FLUSH, READDIR, RELEASEDIR), nothing),
}


def main() -> None:
    fd = os.open("/dev/fuse", os.O_RDWR)
    library = ctypes.CDLL(None, use_errno=True)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    if library.mount(b"memory", os.fsencode(sys.argv[1]), b"fuse", 0, options) != 0:
        raise OSError(ctypes.get_errno(), "it can't be mounted")
    tell("up")
    while True:
        request = os.read(fd, 1 << 20)
        length, kind, unique, number = struct.unpack_from("<IIQQ", request)
        if kind in (FORGET, BATCH_FORGET, INTERRUPT):
            continue
        answer, error = b"", errno.ENOSYS
        if kind in ANSWERS:
            try:
                answer, error = ANSWERS[kind](number, request[HEADER:length]), 0
            except OSError as failed:
                error = failed.errno
        os.write(fd, struct.pack("<IiQ", 16 + len(answer), -error, unique) + answer)


main()
