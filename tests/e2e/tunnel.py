"""A VPN between two network namespaces: ``tunnel.py PID ADDRESS PID ADDRESS`` carries packets."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
LONGEST = 65_536  # bytes of a packet


def end(pid: str, address: str) -> int:
    """Make ``vpn0`` where that process is; the descriptor of its packets."""
    with open(f"/proc/{pid}/ns/net", "rb") as namespace:
        assert ctypes.CDLL(None).setns(namespace.fileno(), CLONE_NEWNET) == 0
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH14x", b"vpn0", IFF_TUN | IFF_NO_PI))
    for command in (f"addr add {address}/24 dev vpn0", "link set vpn0 up"):
        subprocess.run(["ip", *command.split()], check=True)
    return descriptor


here, there = end(*sys.argv[1:3]), end(*sys.argv[3:5])
os.write(1, b"up\n")
while True:
    for ready in select.select([here, there], [], [])[0]:
        os.write(there if ready == here else here, os.read(ready, LONGEST))
