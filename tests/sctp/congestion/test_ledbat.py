"""The control that yields, fed with what paths bring."""

from __future__ import annotations

import math

from p2pxfer.sctp.congestion.ledbat import Ledbat
from tests.sctp.congestion.path import SIZE, Path


def begun(**path) -> Path:
    made = Path(Ledbat(), **path)
    made.control.on_packet_size(SIZE)
    return made


def test_alone_it_takes_nearly_all():
    """With a queue that it keeps below its target."""
    path = begun()
    path.run(60)
    assert path.share(300) > 0.8
    assert max(rtt for _, _, rtt in path.history[-1000:]) < 0.1 + 1.5 * 0.06


def test_beside_somebody_who_fills_the_queue_it_stops():
    """A round trip well beyond the target shrinks the window to the least."""
    path = begun()
    path.run(100)
    path.trip = 0.3  # somebody else's queue
    path.run(40)
    assert path.control.window == 2 * SIZE


def test_it_comes_back():
    """Once the queue is gone, the window grows again."""
    path = begun()
    path.run(100)
    path.trip = 0.3
    path.run(40)
    path.trip = 0.1
    path.run(300)
    assert path.control.window > 50 * SIZE


def test_it_lets_the_queue_run_empty_from_time_to_time():
    """A slowdown of two packets, no more often than a tenth of the time."""
    path = begun()
    path.run(400)
    low = [now for now, window, _ in path.history if window <= 2 * SIZE]
    assert low
    assert len(low) < 0.2 * len(path.history)


def test_a_loss_halves_once_a_window():
    """And a queue that overflows before the target lowers the target."""
    path = begun(queue=100_000)  # 40 ms
    path.run(200)
    assert path.control._target < 0.06
    path.queue = math.inf
    path.run(100)
    before = path.control.window
    path.loss = 0.05
    path.run(1)
    assert 0.4 * before < path.control.window < 0.75 * before


def test_a_timeout_begins_again_and_may_be_taken_back():
    """As with any other control."""
    path = begun()
    path.run(50)
    before = path.control.window
    path.control.on_timeout(path.now, 3000)
    assert path.control.window == 2 * SIZE
    path.control.on_spurious_loss(path.now)
    assert path.control.window == before
    path.control.on_path_change(path.now)
    assert path.control.window == 10 * SIZE
