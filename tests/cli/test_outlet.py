"""Text leaves on a thread of its own."""

from __future__ import annotations

import io
import os
import threading

from p2pxfer.cli.outlet import BEHIND, MAX_PENDING, Outlet


def piped() -> tuple[io.TextIOWrapper, io.FileIO]:
    """A stream to write to, and where it comes out."""
    reading, writing = os.pipe()
    return io.TextIOWrapper(io.FileIO(writing, "w"), "utf-8"), io.FileIO(reading)


def test_everything_comes_out_in_order():
    """Closing waits for the last of it."""
    stream, out = piped()
    outlet = Outlet(stream)
    for number in range(100):
        outlet.write(f"{number}\n")
    outlet.close()
    stream.close()
    assert out.read().decode() == "".join(f"{number}\n" for number in range(100))


def test_a_reader_who_does_not_read_stops_nobody():
    """Far more than a pipe holds is taken at once, and told to be behind."""
    stream, out = piped()
    outlet = Outlet(stream)
    writer = threading.Thread(target=outlet.write, args=("x" * 1_000_000,), daemon=True)
    writer.start()
    writer.join(30)
    assert not writer.is_alive()
    assert outlet.behind
    reader = threading.Thread(target=lambda: [None for _ in iter(lambda: out.read(65536), b"")])
    reader.start()
    outlet.close()
    assert not outlet.behind
    stream.close()
    reader.join()


def test_what_is_held_is_bounded():
    """Past `MAX_PENDING` the writer waits for the reader."""
    stream, out = piped()
    outlet = Outlet(stream)
    outlet.write("x" * (MAX_PENDING + 1))
    done = threading.Event()
    writer = threading.Thread(target=lambda: (outlet.write("end"), done.set()))
    writer.start()
    assert not done.wait(0.1)
    read = 0
    while not done.is_set():
        read += len(out.read(1 << 20))
    writer.join()
    closing = threading.Thread(target=lambda: (outlet.close(), stream.close()))
    closing.start()
    while data := out.read(1 << 20):
        read += len(data)
    closing.join()
    assert read == MAX_PENDING + 4


def test_a_reader_who_left_is_not_missed():
    """Nothing is raised, nothing is kept."""
    stream, out = piped()
    out.close()
    outlet = Outlet(stream)
    for _ in range(50):
        assert outlet.write("x" * BEHIND) == BEHIND
    outlet.close()
    assert not outlet.behind


def test_characters_that_the_stream_lacks_are_escaped():
    """A name in another script reaches an ASCII terminal readable."""
    stream, out = piped()
    outlet = Outlet(stream, encoding="ascii")
    outlet.write("Ünder\udc80")
    outlet.close()
    stream.close()
    assert out.read() == b"\\xdcnder\\udc80"
