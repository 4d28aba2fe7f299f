"""Runs a command whose system calls fail: ``failing.py CALL ERRNO FROM COMMAND …``.

The kernel itself refuses them, by a seccomp filter, as it does for a broken disk: below Python
and the C library, for the whole of the command, on every Linux. CALL is ``read``, ``write``,
``sync`` or ``name``. FROM is the offset in a file from which reads and writes fail; what is read
or written without an offset, as programs and journals are, is left alone. For the others it is 0.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

NUMBERS = {  # of p(read|write)(64|v|v2); fsync, fdatasync, syncfs; renames and links: asm/unistd.h
    "x86_64": {
        "read": (17, 295, 327),
        "write": (18, 296, 328),
        "sync": (74, 75, 306),
        "name": (82, 264, 316, 86, 265),
    },
    "aarch64": {
        "read": (67, 69, 286),
        "write": (68, 70, 287),
        "sync": (82, 83, 267),
        "name": (38, 276, 37),
    },
}
OFFSET_AT = 16 + 8 * 3  # of the fourth argument in struct seccomp_data (linux/seccomp.h)
LOAD, IF_EQUAL, IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h
ALLOW, FAIL = 0x7FFF0000, 0x00050000
NO_NEW_PRIVS, SET_SECCOMP, FILTER = 38, 22, 2  # linux/prctl.h


def program(calls: tuple[int, ...], number: int, start: int) -> bytes:
    """The filter: any of the calls at ``start`` or later fails with ``number``."""
    lines = [(LOAD, 0, 0, 0)]
    lines += [(IF_EQUAL, len(calls) - at, 0, call) for at, call in enumerate(calls)]
    lines += [
        (RETURN, 0, 0, ALLOW),
        (LOAD, 0, 0, OFFSET_AT),
        (IF_AT_LEAST, 1, 0, start),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, FAIL | number),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def main() -> None:
    call, error, start, *command = sys.argv[1:]
    calls = NUMBERS[platform.machine()][call]
    code = program(calls, getattr(errno, error), int(start))
    buffer = ctypes.create_string_buffer(code, len(code))
    given = struct.pack("HP", len(code) // 8, ctypes.addressof(buffer))
    library = ctypes.CDLL(None, use_errno=True)
    for words in (
        (NO_NEW_PRIVS, 1, 0, 0, 0),
        (SET_SECCOMP, FILTER, ctypes.create_string_buffer(given, len(given)), 0, 0),
    ):
        if library.prctl(*words) != 0:
            raise OSError(ctypes.get_errno(), "the filter is refused")
    os.execvp(command[0], command)


main()
