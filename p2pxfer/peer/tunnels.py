"""Which addresses of this machine lead into tunnels, such as a VPN's.

They make direct paths as others do, but longer ones, through whoever runs the tunnel: where there
is another way, that is tried first (RFC 8445 section 5.1.2 leaves the preference to the agent).
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable
from typing import Any, Final

import ifaddr
from aioice.candidate import candidate_priority

PREFERENCE: Final = 32_767  # of 65,535, which all others have

_POINT_TO_POINT: Final = 0x10  # IFF_POINTOPOINT, on Linux as on macOS
_GET_FLAGS: Final = {"linux": 0x8913, "darwin": 0xC0206911}  # SIOCGIFFLAGS
_REQUEST: Final = struct.Struct("16sH14x")  # struct ifreq


def prefer_others(candidates: Iterable[Any]) -> None:
    """Lower the priority of those of aioice's host ``candidates`` that lead into a tunnel."""
    found = _addresses()
    for candidate in candidates:
        if candidate.host in found:
            priority = candidate_priority(candidate.component, "host", PREFERENCE)
            candidate.priority = priority


def _addresses() -> set[str]:
    return {
        entry.ip if isinstance(entry.ip, str) else entry.ip[0]
        for adapter in ifaddr.get_adapters()
        if _leads_to_one(str(adapter.name))
        for entry in adapter.ips
    }


def _leads_to_one(interface: str) -> bool:
    """Whether only one other machine is on it; False where the system doesn't tell."""
    if sys.platform not in _GET_FLAGS:
        return False
    import fcntl  # noqa: PLC0415  # not everywhere

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = _REQUEST.pack(interface.encode()[:15], 0)
        try:
            answer = fcntl.ioctl(any_socket, _GET_FLAGS[sys.platform], request)
        except OSError:
            return False
    return bool(_REQUEST.unpack(answer)[1] & _POINT_TO_POINT)
