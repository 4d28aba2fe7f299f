"""How long packets wait in a queue: echoes datagrams, or sends some and prints what they waited."""

from __future__ import annotations

import json
import socket
import sys
import time

PORT = 7007
EVERY = 0.05  # seconds


def serve() -> None:
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    echo.bind(("", PORT))
    while True:
        data, sender = echo.recvfrom(100)
        echo.sendto(data, sender)


def ask(address: str, seconds: float) -> None:
    """Print the round trips above the shortest one, in milliseconds, as a JSON list."""
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.settimeout(2)
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        asking.sendto(b"echo", (address, PORT))
        try:
            asking.recv(100)
        except TimeoutError:
            continue
        took.append((time.monotonic() - began) * 1e3)
        time.sleep(EVERY)
    print(json.dumps([one - min(took) for one in took]))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        ask(sys.argv[1], float(sys.argv[2]))
