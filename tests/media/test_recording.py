"""Recordings of frames that come as a network brings them."""

from __future__ import annotations

import contextlib
from collections import deque
from fractions import Fraction

import av
import pytest

from p2pxfer.errors import LocalFileError, UsageError
from p2pxfer.media.pattern import Canvas, samples
from p2pxfer.media.recording import Recording, container_of
from p2pxfer.session.record import Outlet
from p2pxfer.tracks import Received
from tests.media import seen

TONE = samples()


def picture(canvas: Canvas, number: int, at: float, arrived: float) -> Received:
    frame = canvas.picture(number)
    frame.pts, frame.time_base = round(at * 90_000), Fraction(1, 90_000)
    return Received(frame, at, arrived, key=number == 0)


def sound(at: float, arrived: float) -> Received:
    frame = av.AudioFrame("s16", "stereo", 960)
    frame.planes[0].update(TONE[: 960 * 4])
    frame.sample_rate = 48_000
    return Received(frame, at, arrived, key=False)


@pytest.mark.parametrize(
    ("container", "streamed"),
    [("mp4", False), ("mp4", True), ("matroska", False), ("webm", False)],
)
def test_lost_sound_leaves_silence_not_a_shift(tmp_path, container, streamed):
    """Half a second of it got lost: what follows is still heard when it was said."""
    path, canvas = tmp_path / "film", Canvas(320, 240)
    with path.open("w+b") as file:
        film = Recording(file, container, audio=True, streamed=streamed)
        film.add("audio", sound(0.0, 99.9))  # before there was a picture: to nobody's use
        for number in range(20):
            film.add("video", picture(canvas, number, number / 10, 100 + number / 10))
        for number in (*range(25), *range(50, 100)):
            film.add("audio", sound(number / 50, 100 + number / 50))
        film.finish()
    assert film.pictures == 20
    heard, rate = seen.heard(path)
    quiet = heard[int(0.65 * rate) : int(0.9 * rate)]
    assert max(map(abs, quiet)) < 500
    assert max(map(abs, heard[int(1.2 * rate) : int(1.8 * rate)])) > 2000
    with av.open(str(path)) as played:
        frames = list(played.decode(video=0))
    assert [seen.number(seen.pixels(f), 320, 240) for f in frames] == list(range(20))
    assert frames[-1].time == pytest.approx(1.9, abs=0.05)


def test_a_track_that_was_off_for_long_comes_back_in_time(tmp_path):
    """Silence until then, whatever its clock says; and the pictures go on meanwhile."""
    path, canvas = tmp_path / "film", Canvas(320, 240)
    with path.open("w+b") as file:
        film = Recording(file, "matroska", audio=True, streamed=False)
        for number in range(80):
            film.add("video", picture(canvas, number, number / 2, 100 + number / 2))
            if number == 76:
                for part in range(50):
                    film.add("audio", sound(9000 + part / 50, 138 + part / 50))
        film.finish()
    heard, rate = seen.heard(path)
    assert len(heard) == pytest.approx(39 * rate, abs=rate / 5)
    assert max(map(abs, heard[: int(37.9 * rate)])) < 500
    assert max(map(abs, heard[int(38.2 * rate) : int(38.8 * rate)])) > 2000


def test_pictures_that_change_their_size_are_recorded_in_the_first(tmp_path):
    """A browser makes them smaller when the network is slow."""
    path = tmp_path / "film"
    with path.open("w+b") as file:
        film = Recording(file, "matroska", audio=False, streamed=False, limit=1.0)
        for number in range(12):
            canvas = Canvas(320, 240) if number < 5 else Canvas(160, 120)
            film.add("video", picture(canvas, number, number / 10, 100 + number / 10))
        film.finish()
    assert film.full
    with av.open(str(path)) as played:
        sizes = {(f.width, f.height) for f in played.decode(video=0)}
    assert sizes == {(320, 240)}
    assert film.pictures == 10


def test_a_camera_that_shows_nothing_holds_nothing_up(tmp_path):
    """What the other one shows is on the disk meanwhile, as far as that is still to come."""
    path, canvas = tmp_path / "film", Canvas(320, 240)
    with path.open("w+b", buffering=0) as file:
        film = Recording(file, "webm", audio=False, streamed=False, titles=("a", "b"))
        for number in range(150):
            film.add("video", picture(canvas, number % 64, number / 5, 100 + number / 5))
        before = path.stat().st_size
        film.finish()
    assert before > path.stat().st_size / 3
    with av.open(str(path)) as played:
        times = [frame.time for frame in played.decode(video=1)]
    assert times[-1] > 20


def test_a_picture_is_recorded_as_it_came_and_stays_so(tmp_path):
    """Whoever gave it finds its times as they were, and may show it elsewhere."""
    path = tmp_path / "film"
    frame = Canvas(320, 240).picture(5).reformat(format="yuv420p")
    frame.pts, frame.time_base = 630_000, Fraction(1, 90_000)
    with path.open("w+b") as file:
        film = Recording(file, "matroska", audio=False, streamed=False)
        film.add("video", Received(frame, 7.0, 100.0, key=True))
        film.finish()
    assert (frame.pts, frame.time_base) == (630_000, Fraction(1, 90_000))
    with av.open(str(path)) as played:
        (shown,) = played.decode(video=0)
    assert shown.pts == 0
    assert seen.number(seen.pixels(shown), 320, 240) == 5


def test_a_recording_ends_in_time_also_if_nothing_comes_any_more(tmp_path):
    """As of a camera that a browser has muted; what is on its way is waited for."""
    path, canvas = tmp_path / "film", Canvas(320, 240)
    with path.open("w+b") as file:
        film = Recording(file, "webm", audio=False, streamed=False, limit=5.0)
        film.advance(300.0)
        film.add("video", picture(canvas, 0, 0.0, 100.0))
        film.advance(105.0)
        assert not film.full
        film.advance(110.0)
        assert film.full
        film.finish()


@pytest.fixture
def full_disk():
    """No file gets longer than 20 kB."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("container", ["mp4", "matroska", "webm"])
def test_what_came_before_the_disk_was_full_plays(tmp_path, container):
    """A recording that gets no end is not lost."""
    path, canvas = tmp_path / "film", Canvas(320, 240)
    outlet = Outlet(str(path), overwrite=False)
    film = outlet.film(container, audio=False, limit=None)
    pictures = (picture(canvas, n, n / 10, 100 + n / 10) for n in range(1000))
    with pytest.raises(LocalFileError):
        deque((film.add("video", each) for each in pictures), maxlen=0)
    with pytest.raises(LocalFileError, match="recording"):
        outlet.place(film)
    assert list(tmp_path.iterdir()) == [path]
    frames = []
    with av.open(str(path)) as played, contextlib.suppress(av.error.InvalidDataError):
        frames.extend(played.decode(video=0))  # all but one that was cut
    assert len(frames) > film.pictures / 2


def test_wherever_the_end_is_missing_the_rest_plays(tmp_path):
    """Also within the head of a fragment, with which players would take none of it."""
    path, canvas = tmp_path / "film", Canvas(320, 240)
    with path.open("w+b", buffering=0) as file:
        film = Recording(file, "mp4", audio=False, streamed=False)
        for number in range(200):
            film.add("video", picture(canvas, number, number / 10, 100 + number / 10))
        taken = path.read_bytes()
        film.finish()
    for missing in range(1, 1200, 47):
        path.write_bytes(taken[:-missing])
        with path.open("r+b") as file:
            film.leave_whole(file)
        with av.open(str(path)) as played:
            assert len(list(played.decode(video=0))) > 50


def test_a_picture_too_narrow_for_an_encoder_is_recorded(tmp_path):
    """Whoever sends it may choose any size."""
    path = tmp_path / "film"
    with path.open("w+b") as file:
        film = Recording(file, "mp4", audio=False, streamed=False)
        film.add("video", Received(av.VideoFrame(1, 300, "yuv420p"), 0.0, 100.0, key=True))
        film.finish()
    with av.open(str(path)) as played:
        assert len(list(played.decode(video=0))) == 1


def test_the_format_is_what_the_name_says():
    """Or the option; a stream is Matroska."""
    assert container_of("a.webm", None) == "webm"
    assert container_of("a.webm", "mkv") == "matroska"
    assert container_of("-", None) == "matroska"
    with pytest.raises(UsageError):
        container_of("a.avi", None)
